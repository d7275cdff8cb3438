"""The panel of marker figures: genes and groups as lists that can be ordered, undone, pasted; and its files."""

from __future__ import annotations

import io
import time
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from PIL import Image
from streamlit.testing.v1 import AppTest

from pages._shared.marker_data import DOTS, HEAT, KINDS, MATRIX, MEANS, VIOLIN, CellSet, Markers
from pages._shared.marker_lists import moved
from scdiff_core.errors import ScdiffError
from scdiff_core.figures.paper import Size


def _page() -> None:
    import numpy as np
    import scipy.sparse as sp
    import streamlit as st

    from pages._shared.marker_panel import CellSet, show_markers, take_genes

    rng = np.random.default_rng(0)
    genes = np.array([f"G{i}" for i in range(30)])
    labels = np.array(["T", "B", "NK", ""])[rng.integers(4, size=300)]
    x = rng.poisson(0.5 + 3 * (np.arange(30) % 3 == np.array([{"T": 0, "B": 1}.get(g, 2) for g in labels])[:, None]))
    real = CellSet("real", sp.csc_matrix(np.log1p(x).astype(np.float32)), labels)
    made = CellSet("generated", sp.csr_matrix(real.log1p[:90]), labels[:90], synthetic=True)
    both = st.toggle("both", key="both")
    st.button("take", on_click=take_genes, args=("m", ["G9", "G8"]))
    show_markers([real, made] if both else [real], genes, suggested=["G3", "G1", "G2", "G0"],
                 group_order=st.session_state.get("order", ["T", "B", "NK"]), key="m", stem="test")


@pytest.fixture
def panel() -> AppTest:
    return run(AppTest.from_function(_page, default_timeout=30))


def run(at: AppTest) -> AppTest:
    at.run()
    assert not at.exception and not at.error, [*at.exception, *at.error]
    return at


def press(at: AppTest, key: str) -> AppTest:
    at.button(key).click()
    return run(at)


def chart(at: AppTest) -> dict[str, Any]:
    import json

    found = at.get("plotly_chart")
    assert len(found) == 1
    return json.loads(found[0].proto.spec)


def genes(at: AppTest) -> list[str]:
    return at.multiselect(key="m-genes").value


def test_it_begins_with_the_suggested_genes_and_every_figure_draws(panel: AppTest) -> None:
    assert genes(panel) == ["G3", "G1", "G2", "G0"]
    assert chart(panel)["layout"]["xaxis"]["tickvals"] == ["G3", "G1", "G2", "G0"]
    assert any("Dot size" in c.value and "log1p" in c.value for c in panel.caption)
    panel.toggle(key="both").set_value(True)
    for kind in KINDS:
        panel.segmented_control(key="m-kind").set_value(kind)
        run(panel)
        assert len(chart(panel)["data"]) >= 1, kind
    assert MEANS in panel.segmented_control(key="m-kind").options
    panel.toggle(key="both").set_value(False)  # one set has no means against each other
    run(panel)
    assert panel.segmented_control(key="m-kind").value == DOTS


def test_lists_are_ordered_moved_and_undone(panel: AppTest) -> None:
    press(panel, "m-name")
    assert genes(panel) == ["G0", "G1", "G2", "G3"]
    panel.selectbox(key="m-move-genes").set_value("G3")
    run(panel)
    press(panel, "m-move-first")
    assert genes(panel) == ["G3", "G0", "G1", "G2"]
    press(panel, "m-move-1")
    assert genes(panel) == ["G0", "G3", "G1", "G2"]
    press(panel, "m-undo")
    assert genes(panel) == ["G3", "G0", "G1", "G2"]
    press(panel, "m-redo")
    assert genes(panel) == ["G0", "G3", "G1", "G2"]
    press(panel, "m-cluster")  # G0 and G3 mark T: they stand together
    ordered = genes(panel)
    assert abs(ordered.index("G0") - ordered.index("G3")) == 1
    press(panel, "m-data")
    assert genes(panel) == ["G0", "G1", "G2", "G3"]


def test_a_list_is_pasted_and_no_reset_loses_it(panel: AppTest) -> None:
    panel.text_area(key="m-pasted").set_value("g7, G5;NOPE\nG6")
    press(panel, "m-show")
    assert genes(panel) == ["G7", "G5", "G6"]
    assert any("'NOPE' is not among the genes" in w.value for w in panel.warning)
    press(panel, "m-markers")
    assert genes(panel) == ["G3", "G1", "G2", "G0"]
    press(panel, "m-undo")
    assert genes(panel) == ["G7", "G5", "G6"]
    panel.text_area(key="m-pasted").set_value("G1 G7")
    press(panel, "m-add")
    assert genes(panel) == ["G7", "G5", "G6", "G1"]
    press(panel, next(b.key for b in panel.button if b.label == "take"))  # from another part of the page
    assert genes(panel) == ["G9", "G8"]
    panel.multiselect(key="m-genes").set_value([])
    run(panel)
    assert any("at least one gene" in i.value for i in panel.info)
    press(panel, "m-undo")
    assert genes(panel) == ["G9", "G8"]


def test_groups_are_taken_out_ordered_and_kept_where_the_data_changes(panel: AppTest) -> None:
    panel.multiselect(key="m-groups").set_value(["NK", "T"])
    run(panel)
    assert chart(panel)["layout"]["yaxis"]["categoryarray"] == ["T", "NK"]  # drawn from below
    panel.session_state["order"] = ["T", "B", "NK", "DC"]
    run(panel)
    assert panel.multiselect(key="m-groups").value == ["NK", "T", "DC"]  # B stays out, what is new comes last
    panel.segmented_control(key="m-what").set_value("groups")
    run(panel)
    press(panel, "m-all")
    assert panel.multiselect(key="m-groups").value == ["T", "B", "NK", "DC"]


def test_files_have_the_chosen_size_and_say_what_does_not_fit(panel: AppTest) -> None:
    labels = [b.label for b in panel.get("download_button")]
    assert labels[:4] == ["SVG", "PDF", "PNG", "CSV"]
    panel.number_input(key="m-file-0-width").set_value(12.0)
    panel.number_input(key="m-file-0-height").set_value(9.0)
    run(panel)
    assert not panel.error
    panel.number_input(key="m-file-0-width").set_value(2.0)
    panel.number_input(key="m-file-0-height").set_value(2.0)
    panel.run()
    assert any("does not fit into 2.0 × 2.0 cm" in e.value for e in panel.error)


def markers(n: int, g: int, *, two: bool = True, seed: int = 0) -> Markers:
    rng = np.random.default_rng(seed)
    names = np.array([f"G{i}" for i in range(g)])
    groups = tuple(f"type {i}" for i in range(12))
    x = sp.random(n, g, 0.1, format="csc", dtype=np.float32, random_state=rng)
    labels = np.array([*groups, ""])[rng.integers(13, size=n)]
    sets = (CellSet("real", x, labels), CellSet("generated", x[:2000], labels[:2000], synthetic=True))
    return Markers(sets[: 1 + two], names, tuple(names[:24]), groups)


@pytest.mark.slow
def test_every_figure_of_50000_cells_is_ready_in_a_second() -> None:
    drawn = markers(50_000, 2000)
    for kind in KINDS:
        again = Markers(drawn.sets, drawn.all_genes, drawn.genes, drawn.groups).few(kind)
        before = time.process_time()
        sent = again.figure(kind).to_json()
        assert time.process_time() - before < 1, kind
        assert len(sent) < 3e6, kind


def test_means_tables_and_files_of_two_sets() -> None:
    drawn = markers(400, 40)
    real, made = drawn.sets
    inside = np.flatnonzero(real.groups != "")
    np.testing.assert_allclose(drawn.means["real"], np.asarray(real.log1p[inside].mean(0)).ravel(), rtol=1e-5)
    assert list(drawn.table(MEANS).columns) == ["gene", "real", "generated", "difference"]
    assert set(drawn.table(DOTS)["cells"]) == {"real", "generated (synthetic)"}
    assert set(drawn.files()) == {"dot-plot", "matrix", "violin", "heat-map", "mean-against-mean"}
    for kind in (MATRIX, VIOLIN, HEAT):
        image = Image.open(io.BytesIO(drawn.few(kind).file(kind, "png", Size(18, 24, 100))))
        assert image.width == pytest.approx(18 / 2.54 * 100, abs=1)
    with pytest.raises(ScdiffError, match="one or two sets"):
        Markers((real, made, real), drawn.all_genes, drawn.genes, drawn.groups)
    with pytest.raises(ScdiffError, match="cannot be drawn"):
        Markers((CellSet("real", real.log1p, real.groups[:5]),), drawn.all_genes, drawn.genes, drawn.groups)


def test_moving_one_item() -> None:
    assert moved("abcd", "c", -1) == list("acbd") and moved("abcd", "c", 1) == list("abdc")
    assert moved("abcd", "a", -1) == list("abcd") and moved("abcd", "d", 1) == list("abcd")
    assert moved("abcd", "c", "first") == list("cabd") and moved("abcd", "a", "last") == list("bcda")
