"""What the cell scatter is sent: read back here as the browser reads it."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from pages._shared.cell_canvas import Layer, gentle_range, memory, pack
from pages._shared.cell_canvas.colours import colour_stops
from pages._shared.cell_canvas.pack import frame
from pages._shared.cell_canvas.plain import masks_of, plain_scatter, rows_of

KINDS = {"i2": "<i2", "u1": "u1", "u2": "<u2", "u4": "<u4", "f4": "<f4"}


def unpack(raw: bytes) -> tuple[dict[str, Any], Any]:
    """The header, and what reads an array that the header names."""
    assert raw[:4] == b"CELL"
    start = 8 + int.from_bytes(raw[4:8], "little")
    assert start % 8 == 0
    meta = json.loads(raw[8:start])
    return meta, lambda ref: np.frombuffer(raw, KINDS[ref["t"]], ref["n"], start + meta["at"][ref["h"]][0])


def sent(*layers: Layer, **options: Any) -> tuple[dict[str, Any], Any]:
    return unpack(frame(*pack(layers, **options)))


def value_of(ref: dict[str, Any], codes: np.ndarray) -> np.ndarray:
    return ref["low"] + codes / (ref["none"] - 1) * (ref["high"] - ref["low"])


def positions(spec: dict[str, Any], take: Any) -> np.ndarray:
    x0, x1, y0, y1 = spec["box"]
    whole = take(spec["xy"]).reshape(-1, 2).astype(float)
    out = np.array([x0, y0]) + (whole + 32767) / 65534 * np.array([x1 - x0, y1 - y0])
    out[whole[:, 0] == -32768] = np.nan
    return out


@pytest.fixture
def xy() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(500, 2)) * [3, 20] + [100, -4]


def test_positions_come_back_to_a_65534th_of_the_frame(xy: np.ndarray) -> None:
    xy[7] = np.nan
    xy[9, 1] = np.inf
    meta, take = sent(Layer("real", xy))
    spec = meta["layers"][0]
    got = positions(spec, take)
    step = np.array([spec["box"][1] - spec["box"][0], spec["box"][3] - spec["box"][2]]) / 65534
    known = np.isfinite(xy).all(axis=1)
    assert np.isnan(got[~known]).all()
    # half a step of the grid, and float32's own rounding
    assert (np.abs(got[known] - xy[known]) <= 0.5 * step + 1e-5 * np.abs(xy[known])).all()


@pytest.mark.parametrize("n", [0, 1, 3])
def test_few_cells_and_equal_positions(n: int) -> None:
    meta, take = sent(Layer("real", np.full((n, 2), 5.0), codes=np.zeros(n, int)), categories=["a"])
    assert meta["layers"][0]["n"] == n
    np.testing.assert_allclose(positions(meta["layers"][0], take), np.full((n, 2), 5.0))
    assert meta["extent"][0] < meta["extent"][1]


@pytest.mark.parametrize(("n_categories", "kind"), [(3, "u1"), (255, "u1"), (256, "u2"), (4000, "u2")])
def test_codes_come_back_and_unknown_ones_are_missing(n_categories: int, kind: str) -> None:
    codes = np.array([0, n_categories - 1, -1, n_categories, 2])
    names = [f"type {i}" for i in range(n_categories)]
    meta, take = sent(Layer("real", np.zeros((5, 2)), codes=codes), categories=names)
    ref = meta["layers"][0]["codes"]
    assert ref["t"] == kind
    assert take(ref).tolist() == [0, n_categories - 1, n_categories, n_categories, 2]


def test_values_come_back_with_their_range_and_gaps(xy: np.ndarray) -> None:
    values = np.random.default_rng(1).gamma(2, 3, len(xy))
    values[[3, 4]] = np.nan, np.inf
    meta, take = sent(Layer("real", xy, values=values))
    ref = meta["layers"][0]["values"]
    codes = take(ref)
    got = value_of(ref, codes)
    known = np.isfinite(values)
    assert (codes[~known] == 65535).all()
    np.testing.assert_allclose(got[known], values[known], atol=(ref["high"] - ref["low"]) / 65534)
    assert meta["colour"]["range"] == pytest.approx([values[known].min(), values[known].max()])
    assert ref["cut"] == [False, False]


def test_an_outlier_does_not_eat_the_steps_of_the_shown_range() -> None:
    values = np.array([0.0, 0.001, 1.0, 1e9])
    meta, take = sent(Layer("real", np.zeros((4, 2)), values=values), value_range=(0, 1))
    ref = meta["layers"][0]["values"]
    got = value_of(ref, take(ref))
    np.testing.assert_allclose(got[:3], values[:3], atol=1e-4)
    assert ref["cut"] == [False, True]
    assert take(ref)[3] == 65534


@pytest.mark.parametrize("entries", [
    ["B", None, "T", "B"],
    pd.Categorical(["B", None, "T", "B"], categories=["T", "B", "NK"]),
    pd.Series(["B", np.nan, "T", "B"]),
])
def test_words_of_the_tooltip_come_back(entries: Any) -> None:
    meta, take = sent(Layer("real", np.zeros((4, 2)), hover={"type": entries}))
    column = meta["layers"][0]["hover"][0]
    words = [*column["vocab"], None]
    assert column["kind"] == "words"
    assert [words[min(code, len(column["vocab"]))] for code in take(column)] == ["B", None, "T", "B"]


def test_numbers_of_the_tooltip_come_back() -> None:
    meta, take = sent(Layer("real", np.zeros((3, 2)), hover={"genes": [200, 3000, 12], "flag": [True, False, True]}))
    genes, flag = meta["layers"][0]["hover"]
    assert take(genes).tolist() == [200, 3000, 12]
    assert [flag["vocab"][code] for code in take(flag)] == ["True", "False", "True"]


def test_hashes_change_with_what_they_stand_for_and_with_nothing_else(xy: np.ndarray) -> None:
    codes = np.arange(500) % 2
    real = Layer("real", xy, codes=codes)
    first, _ = pack([real, Layer("generated", xy[:9], "ring")], categories="ab")
    again, _ = pack([real, Layer("generated", xy[:9], "ring")], categories="ab")
    moved, _ = pack([real, Layer("generated", xy[9:18], "ring")], categories="ab")
    recoloured, _ = pack([Layer("real", xy, codes=1 - codes), Layer("generated", xy[:9], "ring")], categories="ab")
    other, _ = pack([Layer("real", 2 * xy, codes=codes), Layer("generated", xy[:9], "ring")], categories="ab")
    assert first == again
    assert len({m["hash"] for m in (first, moved, recoloured, other)}) == 4
    real_of = [m["layers"][0] for m in (first, moved, recoloured, other)]
    assert [spec["xy"]["h"] == real_of[0]["xy"]["h"] for spec in real_of] == [True, True, True, False]
    assert [spec["codes"]["h"] == real_of[0]["codes"]["h"] for spec in real_of] == [True, True, False, True]
    # the view starts anew with other real cells only
    assert [m["dataset"] == first["dataset"] for m in (moved, recoloured, other)] == [True, True, False]


def test_frame_is_that_of_the_dots_and_counts_what_lies_outside(xy: np.ndarray) -> None:
    made = np.array([[100.0, -4.0], [1000.0, 0.0], [100.0, 5000.0]])
    meta, _ = pack([Layer("real", xy), Layer("generated", made, "ring")])
    assert meta["extent"] == pytest.approx([xy[:, 0].min(), xy[:, 0].max(), xy[:, 1].min(), xy[:, 1].max()])
    assert [spec["outside"] for spec in meta["layers"]] == [0, 2]
    given, _ = pack([Layer("real", xy)], extent=(90, 110, -50, 50))
    assert given["extent"] == [90, 110, -50, 50]


def test_axes_of_very_different_size_are_not_kept_equal() -> None:
    assert pack([Layer("a", np.array([[0, 0], [1, 2.0]]))])[0]["equal"] is True
    assert pack([Layer("a", np.array([[0, 0], [1, 9.0]]))])[0]["equal"] is False


def test_grey_layers_do_not_decide_what_is_coloured(xy: np.ndarray) -> None:
    grey = Layer("real", xy, codes=np.zeros(500, int), values=np.arange(500), grey=True)
    distance = Layer("generated", xy[:3], "ring", values=np.array([0.1, 0.2, 0.3]))
    meta, _ = pack([grey, distance], categories=["a"])
    assert meta["colour"]["kind"] == "values"
    assert meta["colour"]["range"] == pytest.approx([0.1, 0.3])
    assert pack([grey])[0]["colour"]["kind"] == "one"


def test_summary_names_the_cells_and_the_colour() -> None:
    layers = [Layer("real cells", np.zeros((2638, 2))), Layer("generated", np.zeros((500, 2)), "ring")]
    summary = pack(layers, colour_title="cell type")[0]["summary"]
    assert summary == "Scatter plot of 2,638 real cells and 500 generated cells, coloured by cell type"


@pytest.mark.parametrize("layer", [
    Layer("real", np.zeros((3, 2)), codes=np.zeros(2, int)),
    Layer("real", np.zeros((3, 2)), values=np.zeros(4)),
    Layer("real", np.zeros((3, 2)), hover={"type": ["a"]}),
    Layer("real", np.zeros((3, 3))),
])
def test_arrays_of_the_wrong_length_are_refused(layer: Layer) -> None:
    with pytest.raises(ValueError, match="layer 'real'"):
        pack([layer])


def test_names_and_maps_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="same name"):
        pack([Layer("real", np.zeros((1, 2))), Layer("real", np.zeros((1, 2)))])
    with pytest.raises(ValueError, match="viridis"):
        colour_stops("jet")
    with pytest.raises(ValueError, match="two colours"):
        colour_stops(["#ffffff"])


@pytest.mark.parametrize("name", ["viridis", "magma", "cividis"])
def test_colour_maps_are_matplotlibs(name: str) -> None:
    import matplotlib

    stops = np.array([[int(s[i:i + 2], 16) for i in (1, 3, 5)] for s in colour_stops(name)])
    at = np.linspace(0, 1, 256)
    ours = np.stack([np.interp(at, np.linspace(0, 1, len(stops)), channel) for channel in stops.T], axis=1)
    theirs = matplotlib.colormaps[name](at)[:, :3] * 255
    off = np.abs(ours - theirs)
    assert off.max() < 12  # cividis has a kink
    assert off.mean() < 1.5


def test_plain_chart_has_a_trace_for_each_group(xy: np.ndarray) -> None:
    layers = [Layer("real", xy, grey=True), Layer("generated", xy[:4], "ring", codes=np.array([0, 1, 1, -1]))]
    figure = plain_scatter(layers, categories=["B", "T"], palette=["#000000", "#111111"])
    assert [(t.name, len(t.x), t.marker.symbol) for t in figure.data] == [
        ("real", 500, "circle"), ("B", 1, "circle-open"), ("T", 2, "circle-open"), ("no label", 1, "circle-open"),
    ]
    values = plain_scatter([Layer("real", xy, values=np.arange(500))], value_range=(0, 10), colour_map="rdbu")
    assert (values.data[0].marker.cmin, values.data[0].marker.cmax) == (0, 10)


def test_whole_numbers_that_fit_a_byte_travel_as_bytes() -> None:
    values = np.array([3.0, 200.0, np.nan, 4.0])
    meta, take = sent(Layer("real", np.zeros((4, 2)), values=values))
    ref = meta["layers"][0]["values"]
    assert (ref["t"], ref["none"]) == ("u1", 255)
    codes = take(ref)
    assert codes[2] == 255
    np.testing.assert_array_equal(value_of(ref, codes)[[0, 1, 3]], [3, 200, 4])


def test_arrays_that_are_held_are_left_out(xy: np.ndarray) -> None:
    meta, arrays = pack([Layer("real", xy, values=np.arange(500.0))])
    place, values = (meta["layers"][0][name]["h"] for name in ("xy", "values"))
    whole, rest = frame(meta, arrays), frame(meta, arrays, {place})
    assert len(whole) - len(rest) == pytest.approx(4 * 500, abs=64)
    assert list(unpack(rest)[0]["at"]) == [values]


def test_few_outliers_do_not_take_the_colours() -> None:
    rng = np.random.default_rng(0)
    plain, rare = rng.uniform(1, 3, 1000), np.where(rng.random(1000) < 0.03, 2.0, 0.0)
    assert gentle_range(plain) == (plain.min(), plain.max())
    assert gentle_range(rare) == (0, 2)  # a gene of few cells keeps its scale
    low, high = gentle_range(np.append(plain, 50.0))
    assert low == plain.min()
    assert high == pytest.approx(np.percentile(plain, 99), rel=0.02)
    assert gentle_range(np.array([np.nan])) == (0, 1)
    layer = Layer("real", np.zeros((1001, 2)), values=np.append(plain, 50.0))
    colour = pack([layer])[0]["colour"]
    assert colour["range"] == pytest.approx([low, 50])
    assert colour["first"] == pytest.approx([low, high])
    assert pack([layer], value_range=(0, 60))[0]["colour"]["first"] == [0, 60]


def test_selections_travel_as_bits_both_ways(xy: np.ndarray) -> None:
    mask = np.random.default_rng(1).random(500) < 0.3
    layers = [Layer("real", xy), Layer("generated", xy[:9], "ring")]
    meta, take = sent(*layers, selected={"real": mask, "generated": np.zeros(9, bool)})
    real, made = meta["layers"]
    bits = take(real["selected"])
    assert bits.size == 63
    np.testing.assert_array_equal(np.unpackbits(bits, count=500).astype(bool), mask)
    assert "selected" not in made
    cells = {spec["name"]: (spec["n"], spec["xy"]["h"]) for spec in meta["layers"]}
    said = {"real": {"of": real["xy"]["h"], "n": 500, "bits": base64.b64encode(bits.tobytes()).decode()}}
    got = memory.read(said, cells)
    assert got is not None
    np.testing.assert_array_equal(got["real"], mask)
    assert not got["generated"].any()
    assert len(got["generated"]) == 9
    with pytest.raises(ValueError, match="selected has 3 entries"):
        pack(layers, selected={"real": np.ones(3, bool)})


@pytest.mark.parametrize("change", [{"of": "other cells"}, {"n": 9}, {"bits": "AAAA"}, {"bits": "no base64"}])
def test_selections_of_other_cells_are_dropped(change: dict[str, Any]) -> None:
    cells = {"real": (8, "abc")}
    good = {"of": "abc", "n": 8, "bits": base64.b64encode(b"\xf0").decode()}
    got = memory.read({"real": good}, cells)
    assert got is not None
    assert got["real"].tolist() == [True] * 4 + [False] * 4
    assert memory.read({"real": {**good, **change}}, cells) is None
    assert memory.read({"another": good}, cells) is None
    assert memory.read(None, cells) is None


def test_plain_chart_knows_its_cells_and_fades_the_others(xy: np.ndarray) -> None:
    layers = [Layer("real", xy[:5], codes=np.array([1, 0, 1, -1, 0])), Layer("generated", xy[:3], "ring", grey=True)]
    assert [rows.tolist() for layer in layers for _, rows in rows_of(layer, 2)] == [[1, 4], [0, 2], [3], [0, 1, 2]]
    points = [{"curve_number": 1, "point_index": 1}, {"curve_number": 3, "point_index": 0}, {"curve_number": 9}]
    masks = masks_of(points, layers, 2)
    assert {name: np.flatnonzero(mask).tolist() for name, mask in masks.items()} == {"real": [2], "generated": [0]}
    figure = plain_scatter(layers, categories=["B", "T"], selected=masks)
    assert [list(trace.selectedpoints) for trace in figure.data] == [[], [1], [], [0]]
    assert plain_scatter(layers, categories=["B", "T"]).data[0].selectedpoints is None


def _page() -> None:
    import numpy as np
    import streamlit as st

    from pages._shared.cell_canvas import Layer, cell_canvas

    step = st.session_state.get("step", 0)
    cell_canvas([Layer("real", np.eye(2)), Layer("generated", np.eye(2) + step, "ring")], key="cells", height=300)
    if st.button("next"):
        st.session_state.step = 1


def test_page_sends_the_bytes_to_the_same_element() -> None:
    app = AppTest.from_function(_page).run()
    assert not app.exception
    element = app.get("bidi_component")[0].proto
    meta, take = unpack(element.bytes)
    assert [spec["name"] for spec in meta["layers"]] == ["real", "generated"]
    np.testing.assert_allclose(positions(meta["layers"][0], take), np.eye(2), atol=1e-4)
    assert "export default" in element.js_content
    app.button[0].click().run()
    app.run()
    after = app.get("bidi_component")[0].proto
    assert after.id == element.id
    again = unpack(after.bytes)[0]
    assert again["layers"][1]["xy"]["h"] != meta["layers"][1]["xy"]["h"]
    assert list(again["at"]) == [again["layers"][1]["xy"]["h"]]  # nothing that was sent before
    app.run()
    assert unpack(app.get("bidi_component")[0].proto.bytes)[0]["at"] == {}


def test_page_falls_back_to_plotly_when_asked() -> None:
    app = AppTest.from_function(_page)
    app.query_params["plain"] = "1"
    app.run()
    assert not app.exception
    assert len(app.get("plotly_chart")) == 1
    assert len(app.get("bidi_component")) == 0
