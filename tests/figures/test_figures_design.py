"""Figures of inverse design: what they draw is what they were given, on the screen and as files."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import gaussian_kde

from scdiff_core.analysis.design.candidates import NOTHING, PART, THERE, Route
from scdiff_core.errors import ScdiffError
from scdiff_core.figures import design, design_effects
from scdiff_core.figures.base import STAMP


@pytest.fixture
def rows() -> list[design.RowLevels]:
    rng = np.random.default_rng(0)
    return [design.RowLevels("CD3D", "CD3D high at least 2", rng.normal(1, 0.5, 900), rng.normal(2.4, 0.2, 200), (2.0,),
                             0.98),
            design.RowLevels("CST3", "CST3 between 1 and 2", rng.normal(2, 0.5, 900), np.zeros(0), (1.0, 2.0), 0.5)]


@pytest.fixture
def changes() -> pd.DataFrame:
    return pd.DataFrame({"gene": ["A", "B", "C", "D"], "log2fc": [2.0, -1.0, 0.5, 3.0], "score": [9.0, -7.0, 0.1, 3.0],
                         "pval_adj": [1e-9, 1e-6, 0.9, 1e-3], "asked": [True, False, False, False]})


def route(name: str, way: float | None, word: str) -> Route:
    plain: dict[str, Any] = {f.name: () if "tuple" in str(f.type) else "" if f.type == "str" else 0.0
                             for f in fields(Route)}
    low, high = (None, None) if way is None else (way - 0.1, way + 0.2)
    return Route(**{**plain, "perturbation": name, "dose": None, "way": way, "way_low": low, "way_high": high,
                    "word": word})


def test_a_density_is_that_of_a_gaussian_kernel() -> None:
    values = np.random.default_rng(1).normal(2, 0.7, 4000)
    x, y = design.density(values, 0, 4)
    kde = gaussian_kde(values, bw_method=4 * design.SMOOTH / values.std(ddof=1))(x)
    inner = (x > 0.4) & (x < 3.6)  # beyond, the kernel of the figure is mirrored at the edge
    assert np.abs(y - kde / kde.max())[inner].max() < 0.02


def test_levels_of_each_row_are_drawn_with_what_is_asked(rows: list[design.RowLevels]) -> None:
    figure = design.levels(rows)
    assert [t.name for t in figure.data] == ["real cells", "designed (synthetic)", "real cells"]
    assert sorted(s.x0 for s in figure.layout.shapes) == [1.0, 2.0, 2.0]
    assert any("98 %" in a.text for a in figure.layout.annotations) and STAMP in str(figure.layout.xaxis2.title.text)
    table = design.levels_table(rows)
    assert table["n"].tolist() == [900, 200, 900]
    assert table.loc[0, "median"] == pytest.approx(np.median(rows[0].real), abs=1e-4)


def test_two_rows_together_are_the_real_cells_that_were_counted() -> None:
    told = {"names": ["A", "B"], "x": [0, 1, 2], "y": [0, 1, 2, 3], "counts": [[4, 0, 9], [0, 0, 1]],
            "levels": [1.5, None]}
    figure = design.joint(told)
    z = np.asarray(figure.data[0].z, float)
    assert z.shape == (3, 2) and z[2, 0] == 3 and np.isnan(z[1, 1]) and len(figure.layout.shapes) == 1
    table = design.joint_table(told)
    assert table["real cells"].tolist() == [4, 9, 1] and table["B from"].tolist() == [0, 2, 2]


def test_side_effects_leave_out_what_was_asked_for(changes: pd.DataFrame) -> None:
    assert design_effects.strongest(changes)["gene"].tolist() == ["D", "C", "B"]
    assert design_effects.strongest(changes, asked=True)["gene"].tolist() == ["D", "A", "C", "B"]
    assert design_effects.strongest(changes, most=1)["gene"].tolist() == ["D", "B"]
    with pytest.raises(ScdiffError, match="No other gene changed"):
        design_effects.strongest(changes[changes["asked"]])


def test_routes_stand_in_their_order_with_their_intervals() -> None:
    found = [route("A+B", 0.9, THERE), route("C", 0.4, PART), route("D", None, ""), route("E", -0.1, NOTHING)]
    figure = design_effects.routes(found)
    assert [t.name for t in figure.data] == [THERE, PART, NOTHING]
    assert list(figure.layout.yaxis.ticktext) == ["A+B", "C", "E"]
    assert figure.data[1].error_x.array[0] == pytest.approx(0.2)
    with pytest.raises(ScdiffError, match="nothing to draw"):
        design_effects.routes([replace(found[0], way=None)])


@pytest.mark.parametrize("fmt", ["svg", "pdf", "png"])
def test_every_figure_is_a_file(rows: list[design.RowLevels], changes: pd.DataFrame, fmt: str) -> None:
    far, near = np.random.default_rng(2).gamma(9, 0.2, (2, 300))
    files = [design.export_levels(rows, fmt=fmt), design.export_realism(far, near, 3.0, fmt=fmt),
             design_effects.export_side_effects(changes, fmt=fmt),
             design_effects.export_routes([route("A", 0.5, PART)], fmt=fmt),
             design.export_joint({"names": ["A", "B"], "x": [0, 1], "y": [0, 1], "counts": [[3]], "levels": [0.5, 0.5]},
                                 fmt=fmt)]
    start = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}[fmt]
    assert all(f.startswith(start) for f in files)
    if fmt == "svg":
        assert all(STAMP.encode() in f for f in files[:4]) and STAMP.encode() not in files[4]  # real cells alone


def test_how_far_cells_lie_is_drawn_beside_the_limit() -> None:
    far, near = np.random.default_rng(2).gamma(9, 0.2, (2, 300))
    figure = design.realism(far, near, 3.0, far + 1)
    assert [t.name for t in figure.data][:2] == ["real cells, held out", "designed (synthetic)"]
    assert figure.layout.shapes[0].x0 == 3.0
