"""The volcano: which genes stand where, what is named, and what its file says."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from scdiff_core.errors import ScdiffError
from scdiff_core.figures import export, plots
from scdiff_core.figures.labels import place_labels
from scdiff_core.figures.volcano import arrange, best_genes


def table(n: int = 400, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    change = rng.normal(0, 1.5, n)
    p = 10.0 ** -(np.abs(change) * rng.gamma(4, 2, n))
    return pd.DataFrame({"gene": [f"GENE{i}" for i in range(n)], "score": change * 5, "log2fc": change, "pval": p / 2,
                         "pval_adj": p, "mean_a": rng.random(n), "mean_b": rng.random(n), "frac_a": rng.random(n),
                         "frac_b": rng.random(n)}).sort_values("score", ascending=False)


def words(svg: bytes) -> str:
    return " ".join(t for e in ET.fromstring(svg).iter() if e.tag.endswith("text") for t in e.itertext())


def test_genes_beyond_both_thresholds_are_up_or_down() -> None:
    genes = table()
    points = arrange(genes, 1.0, 0.05).points.set_index("gene")
    genes = genes.set_index("gene")
    strong = genes["pval_adj"] <= 0.05
    assert set(points.index[points["side"] == "up"]) == set(genes.index[strong & (genes["log2fc"] >= 1)])
    assert set(points.index[points["side"] == "down"]) == set(genes.index[strong & (genes["log2fc"] <= -1)])
    np.testing.assert_allclose(points["y"], -np.log10(genes["pval_adj"]))


def test_p_zero_stands_at_a_floor_that_says_so_and_one_sided_genes_at_the_edge() -> None:
    genes = table()
    genes.iloc[0, genes.columns.get_loc("pval_adj")] = 0.0
    genes.iloc[1, genes.columns.get_loc("log2fc")] = 28.0
    genes.iloc[1, genes.columns.get_loc("frac_b")] = 0.0
    v = arrange(genes, 1.0, 0.05)
    assert v.floor is not None and v.points["y"].max() == v.floor > v.points.loc[~v.points["zero"], "y"].max()
    assert v.points.loc[1, "capped"] and v.points["x"].abs().max() == v.reach < 10
    figure = plots.volcano(genes)
    assert any("p = 0" in (a.text or "") for a in figure.layout.annotations)
    assert "at the edge" in figure.layout.xaxis.title.text
    assert "p = 0" in words(export.export_volcano(genes))


def test_sides_differ_in_shape_and_colour_and_are_told_in_words() -> None:
    figure = plots.volcano(table(), names=("T cells", "generated B cells"))
    by = {t.name: t.marker for t in figure.data}
    up, down = by["higher in T cells"], by["higher in generated B cells (synthetic)"]
    assert up.symbol != down.symbol and up.color != down.color
    said = " ".join(a.text for a in figure.layout.annotations)
    assert "higher in T cells → ▲" in said and "▼ ← higher in generated B cells" in said
    assert export.STAMP in figure.layout.xaxis.title.text
    svg = words(export.export_volcano(table(), names=("T cells", "generated B cells")))
    assert export.STAMP in svg and "higher in" in svg and "GENE" in svg
    assert "not measured" not in words(export.export_volcano(table(), names=("T", "B")))
    assert "not measured" in words(export.export_volcano(table(), names=("T", "B"), synthetic=(False, True)))


def test_the_best_genes_of_both_sides_are_named_in_turn() -> None:
    v = arrange(table(), 1.0, 0.05)
    named = v.points.loc[best_genes(v.points, 6)]
    assert named["side"].tolist()[:4] == ["up", "down", "up", "down"] and len(named) == 12
    strongest = v.points[v.points["side"] == "up"].sort_values("y", ascending=False)["gene"].iloc[0]
    assert named["gene"].iloc[0] == strongest
    italics = [a for a in plots.volcano(table(), label=5).layout.annotations if a.text.startswith("<i>")]
    assert len(italics) == 5 and not [a for a in plots.volcano(table(), label=0).layout.annotations
                                      if a.text.startswith("<i>")]


def test_names_do_not_lie_over_one_another() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(100, 300, 30), rng.uniform(100, 200, 30)
    names = [f"GENE{i}" for i in range(30)]
    made = place_labels(names, x, y, range(30), 400, 300, 11, 12, blocked=[(0, 0, 400, 60)])
    boxes = []
    for one in made:
        long = 0.62 * 11 * len(one.text)
        left = x[one.row] + one.dx - (0 if one.anchor == "left" else long)
        boxes.append((left, y[one.row] + one.dy - 0.62 * 11, left + long, y[one.row] + one.dy + 0.62 * 11))
    assert 3 < len(made) <= 12
    for i, a in enumerate(boxes):
        assert a[0] >= 0 and a[2] <= 400 and a[1] >= 60
        assert not any(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for b in boxes[:i])


def test_many_genes_few_genes_and_none() -> None:
    assert {t.type for t in plots.volcano(table(20_000)).data} == {"scattergl"}
    assert {t.type for t in plots.volcano(table(400)).data} == {"scatter"}
    assert plots.volcano(table(1), alpha=0.0, fold=0.0).layout.height == 520
    unchanged = table(30).assign(log2fc=0.0, pval_adj=1.0)
    assert set(arrange(unchanged, 0.0, 1.0).points["side"]) == {"not"}
    with pytest.raises(ScdiffError, match="No gene has a fold change"):
        plots.volcano(table(5).assign(log2fc=np.nan))
    with pytest.raises(ScdiffError, match="no column pval_adj"):
        plots.volcano(table(5).drop(columns="pval_adj"))
