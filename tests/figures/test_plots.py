"""Figures of the screen: what they show, that the page's theme rules, and odd inputs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from scdiff_core.analysis import verdict
from scdiff_core.analysis.markers import mean_fraction
from scdiff_core.config import QC
from scdiff_core.errors import ScdiffError
from scdiff_core.figures import base, plots

SYNTHETIC = "generated (synthetic)"


@pytest.fixture
def metrics() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({"total_counts": rng.lognormal(7, 0.5, 200).round(),
                         "n_genes_by_counts": rng.integers(200, 2000, 200), "pct_counts_mt": rng.gamma(2, 1.5, 200)})


def titles(figure: go.Figure) -> list[str]:
    return [a.text for a in figure.layout.annotations]


def differential() -> pd.DataFrame:
    return pd.DataFrame({"gene": [f"g{i}" for i in range(40)], "log2fc": np.linspace(-4, 4, 40),
                         "pval_adj": 10.0 ** -np.abs(np.linspace(-30, 30, 40)), "score": np.linspace(-9, 9, 40)})


def every_figure(real, made, genes, metrics) -> dict[str, go.Figure]:
    tables = [mean_fraction(c.x, c.labels, np.arange(4), np.array(genes)) for c in (real, made)]
    both = (real.x, real.labels, made.x, made.labels, genes)
    xy, kind = np.vstack([real.xy, made.xy]), np.repeat([False, True], [90, 60])
    row = replace(verdict.METRICS["rf_genes"], value=0.6, floor=0.5, baselines={"gene-wise shuffle": 0.9})
    return {
        "violins": plots.qc_violins(metrics, QC()), "scatter": plots.qc_scatter(metrics, QC(), np.ones(200, bool)),
        "umap": plots.umap_scatter(xy, np.concatenate([real.labels, made.labels]), generated=kind),
        "dot": plots.dot_plot(*tables), "violin": plots.violin_plot(*both), "heat": plots.heat_map(*both),
        "mean": plots.mean_vs_mean(plots.mean_table(real.x, made.x, np.array(genes)), ["LYZ"]),
        "matrix": plots.matrix_plot(*tables, scaled=True), "volcano": plots.volcano(differential()),
        "report": plots.report_bars([verdict.judge(row, 500)]),
    }


def test_the_theme_is_the_pages_and_heights_are_fixed(real, made, genes, metrics) -> None:
    for name, figure in every_figure(real, made, genes, metrics).items():
        assert figure.layout.paper_bgcolor == figure.layout.plot_bgcolor == base.CLEAR, name
        assert figure.layout.font.color is None and figure.layout.height >= 100, name
        assert len(figure.to_json()) > 500, name  # serialises as the page sends it


def test_figures_import_no_heavy_package() -> None:
    code = ("import sys, scdiff_core.figures.plots, scdiff_core.figures.export, scdiff_core.analysis.report_card, "
            "scdiff_core.analysis.markers; print([m for m in ('torch', 'scanpy', 'umap', 'streamlit', 'matplotlib') "
            "if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_qc_thresholds_stand_where_they_are_set(metrics: pd.DataFrame) -> None:
    figure = plots.qc_violins(metrics, QC(min_genes=300, max_counts=5000, max_pct_mt=8))
    lines = [s for s in figure.layout.shapes if s.type == "line"]
    assert [round(float(line.y0), 6) for line in lines] == [round(np.log10(300), 6), round(np.log10(5000), 6), 8.0]
    assert {"min 300", "max 5,000", "max 8"} <= set(titles(figure))
    assert len([s for s in figure.layout.shapes if s.type == "rect"]) == 3
    np.testing.assert_allclose(figure.data[2].y, metrics["pct_counts_mt"])


def test_qc_scatter_counts_kept_and_lost_and_marks_them_by_shape(metrics: pd.DataFrame) -> None:
    keep = (metrics["n_genes_by_counts"] > 500).to_numpy()
    figure = plots.qc_scatter(metrics, QC(min_genes=500, min_counts=400), keep)
    assert [t.name for t in figure.data] == [f"kept ({keep.sum():,})", f"left out ({(~keep).sum():,})"]
    assert len(figure.data[0].x) == keep.sum() and figure.data[0].marker.symbol != figure.data[1].marker.symbol
    assert sorted((s.x0, s.y0) for s in figure.layout.shapes) == [(0, 500), (400, 0)]


def test_qc_of_three_cells_of_none_and_without_mitochondria(metrics: pd.DataFrame) -> None:
    assert plots.qc_violins(metrics.head(3), QC(min_genes=10)).data[0].points == "all"
    none = metrics.head(0)
    assert len(plots.qc_violins(none, QC()).data) == 3
    assert [len(t.x) for t in plots.qc_scatter(none, QC(), np.zeros(0, bool)).data] == [0, 0]
    assert len(plots.qc_violins(metrics.drop(columns="pct_counts_mt"), QC()).data) == 2


def test_umap_tells_generated_cells_by_shape_and_names_each_label_once(real, made) -> None:
    labels = np.concatenate([real.labels, made.labels])
    kind = np.repeat([False, True], [90, 60])
    figure = plots.umap_scatter(np.vstack([real.xy, made.xy]), labels, generated=kind,
                                colour={"T2": "#111111", "T10": "#222222"})
    named = [t.name for t in figure.data if t.showlegend is not False]
    assert sorted(named) == sorted(["T2", "T10", "no label", "real", SYNTHETIC])
    points = [t for t in figure.data if t.x[0] is not None]
    assert sum(len(t.x) for t in points) == 150
    for trace in points:
        assert (trace.marker.symbol == "diamond") == (SYNTHETIC in trace.hovertemplate)
    assert {t.marker.color for t in points if t.name == "T2"} == {"#111111"}


def test_umap_by_value_many_cells_and_wrong_lengths(real) -> None:
    figure = plots.umap_scatter(real.xy, values=np.arange(90.0), title="LYZ")
    assert figure.layout.coloraxis.colorbar.title.text == "LYZ" and len(figure.data) == 1
    rng = np.random.default_rng(0)
    assert len(plots.umap_scatter(rng.normal(size=(30_000, 2))).data[0].x) == 20_000
    with pytest.raises(ScdiffError, match="3 labels for 90 cells"):
        plots.umap_scatter(real.xy, np.array(["a"] * 3))


def test_dot_plot_shows_both_tables_on_one_scale(real, made, genes) -> None:
    tables = [mean_fraction(c.x, c.labels, np.arange(4), np.array(genes)) for c in (real, made)]
    figure = plots.dot_plot(*tables)
    assert titles(figure) == ["real", SYNTHETIC]
    assert {t.marker.coloraxis for t in figure.data[:2]} == {"coloraxis"}
    np.testing.assert_allclose(figure.data[0].marker.size, 15 * np.sqrt(tables[0]["fraction"]))
    np.testing.assert_allclose(figure.data[1].marker.color, tables[1]["mean"])
    assert list(figure.layout.yaxis.categoryarray) == ["T10", "T2"]  # drawn from below: T2 stands above T10
    assert titles(plots.dot_plot(tables[0], genes=["LYZ"])) == ["real"]
    table = plots.dot_table(*tables)
    assert len(table) == 16 and set(table["cells"]) == {"real", SYNTHETIC}


def test_many_genes_stand_one_above_the_other(real, made) -> None:
    names = np.array([f"g{i}" for i in range(4)] * 5) + np.repeat([f"_{i}" for i in range(5)], 4)
    wide = [mean_fraction(np.tile(c.x.toarray(), 5), c.labels, np.arange(20), names) for c in (real, made)]
    few, many = plots.dot_plot(wide[0], wide[1], genes=names[:3].tolist()), plots.dot_plot(*wide)
    assert few.layout.yaxis.domain == few.layout.yaxis2.domain and many.layout.yaxis.domain != many.layout.yaxis2.domain
    assert many.layout.height > few.layout.height


def test_violins_put_real_left_and_generated_right(real, made, genes) -> None:
    figure = plots.violin_plot(real.x, real.labels, made.x, made.labels, genes)
    outlines = [t for t in figure.data if t.fill == "toself"]
    assert [t.name for t in outlines[:2]] == ["real", SYNTHETIC] and len(outlines) == 8

    def sides(trace: go.Scatter) -> list[float]:
        return [x - round(x) for x in trace.x if np.isfinite(x)]

    assert max(sides(outlines[0])) == 0 > min(sides(outlines[0])) and min(sides(outlines[1])) == 0
    whole = plots.violin_plot(real.x, real.labels, genes=genes)
    assert [min(sides(whole.data[0])), max(sides(whole.data[0]))] == pytest.approx([-0.42, 0.42], abs=1e-3)
    coloured = plots.violin_plot(real.x, real.labels, genes=genes[:1], colour={"T2": "#111111", "T10": "#222222"})
    assert [t.fillcolor for t in coloured.data[:2]] == ["#111111", "#222222"]
    means = next(t for t in figure.data if t.name == "mean, real")
    np.testing.assert_allclose(means.y[0], real.x.toarray()[real.labels == "T2", 0].mean(), rtol=1e-5)


def test_the_outline_is_a_kernel_density_of_all_cells() -> None:
    from scipy.stats import gaussian_kde

    from scdiff_core.figures.violins import SMOOTH, WIDEST, rows_of, violins

    values = np.random.default_rng(0).gamma(2, 1, 20_000).astype(np.float32)
    top = float(values.max())
    one = violins(values, rows_of(np.repeat("T", 20_000), ["none", "T"]), top)
    assert [(v.at, v.n) for v in one] == [(1, 20_000)] and one[0].mean == pytest.approx(values.mean(), rel=1e-4)
    other = gaussian_kde(values, bw_method=SMOOTH * top / values.std(ddof=1))(one[0].grid)
    np.testing.assert_allclose(one[0].width / WIDEST, other / other.max(), atol=0.02)


def test_matrix_plot_and_dots_scaled_by_gene_over_both_sets(real, made, genes) -> None:
    tables = [mean_fraction(c.x, c.labels, np.arange(4), np.array(genes)) for c in (real, made)]
    order = ["NKG7", "CD3D"]
    figure = plots.matrix_plot(*tables, genes=order, groups=["T10", "T2"])
    first = tables[0].set_index(["group", "gene"])["mean"]
    np.testing.assert_allclose(figure.data[0].z, [[first[g, k] for k in order] for g in ("T10", "T2")])
    assert list(figure.data[0].x) == order and list(figure.layout.yaxis.ticktext) == ["T10", "T2"]
    scaled = np.concatenate([t.z for t in plots.matrix_plot(*tables, genes=order, scaled=True).data])
    np.testing.assert_allclose([scaled.min(0), scaled.max(0)], [[0, 0], [1, 1]])
    assert plots.dot_plot(*tables, scaled=True).layout.coloraxis.cmax == 1
    table = plots.dot_table(*tables, scaled=True)
    assert table.groupby("gene")["scaled"].max().eq(1).all() and "scaled" not in plots.dot_table(*tables)
    flat = tables[0].assign(mean=2.0)
    assert plots.dot_table(flat, scaled=True)["scaled"].eq(0).all()


def test_a_set_may_be_called_otherwise(real, genes) -> None:
    table = mean_fraction(real.x, real.labels, np.arange(4), np.array(genes))
    kinds = [base.Kind.of("selected"), base.Kind.of("made", synthetic=True)]
    assert titles(plots.dot_plot(table, table, kinds=kinds)) == ["selected", "made (synthetic)"]
    means = plots.mean_vs_mean(plots.mean_table(real.x, real.x, np.array(genes)), kinds=kinds)
    assert means.layout.yaxis.title.text == "mean in made cells (log1p)"


def test_heat_map_has_the_cells_themselves_group_over_group(real, made, genes) -> None:
    first, second = plots.heat_blocks(real.x, real.labels, made.x, made.labels, per_group=10)
    assert first.groups == second.groups == ("T2", "T10")
    assert first.values.shape == (4, 20) and first.edges[0] == 0 and first.edges[-1] == 2
    columns = {tuple(c) for c in real.x.toarray()[real.labels == "T2"]}
    assert {tuple(c) for c in first.values[:, first.of == 0].T} <= columns
    turned = plots.heat_blocks(real.x, real.labels, None, None, groups=["T10", "T2"])
    assert turned[0].groups == ("T10", "T2") and turned[1] is None
    figure = plots.heat_map(real.x, real.labels, made.x, made.labels, genes)
    assert titles(figure) == ["real", SYNTHETIC] and list(figure.data[0].y) == genes
    assert list(figure.layout.xaxis2.ticktext) == ["T2", "T10"]


def test_heat_map_leaves_a_group_without_generated_cells_empty(real, made, genes) -> None:
    first, second = plots.heat_blocks(real.x, real.labels, made.x, np.where(made.labels == "T2", "", made.labels))
    assert np.isnan(second.values[:, second.of == 0]).all() and np.isfinite(first.values).all()
    assert second.edges[-1] == 2
    bare = plots.heat_map(real.x, np.repeat("", 90), genes=genes)
    assert bare.data[0].z.shape == (4, 0)


def test_mean_table_and_its_figure(real, made, genes) -> None:
    table = plots.mean_table(real.x, made.x.toarray(), np.array(genes))
    np.testing.assert_allclose(table["real"], real.x.toarray().mean(0), rtol=1e-6)
    np.testing.assert_allclose(table["difference"], table["generated"] - table["real"])
    figure = plots.mean_vs_mean(table, ["LYZ"])
    assert figure.layout.title.text.startswith("Pearson r ")
    assert [t.name for t in figure.data[1:]] == ["genes", "marker genes"] and list(figure.data[2].text) == ["LYZ"]
    with pytest.raises(ScdiffError, match="cannot be compared"):
        plots.mean_table(real.x, made.x[:, :2], np.array(genes))


def test_the_farthest_genes_are_named_but_not_one_over_another() -> None:
    from scdiff_core.figures.markers import named_genes

    table = pd.DataFrame({"gene": ["far", "beside", "near"], "real": [1.0, 1.0, 2.0], "generated": [3.0, 2.99, 2.01]})
    table["difference"] = table["generated"] - table["real"]
    assert named_genes(table, 3.0) == ["far"]


def test_report_bars_put_every_metric_on_one_scale() -> None:
    rows = [replace(verdict.METRICS["rf_genes"], value=0.6, floor=0.5, baselines={"gene-wise shuffle": 0.9}),
            replace(verdict.METRICS["label_agreement"], value=0.95, floor=0.9, baselines={"gene-wise shuffle": 0.3}),
            replace(verdict.METRICS["mmd"], value=9.0, floor=0.1, baselines={"gene-wise shuffle": 1.1})]
    figure = plots.report_bars(rows)
    assert list(figure.data[0].x) == pytest.approx([0.25, 0.0, 1.6])
    assert list(figure.data[1].x) == pytest.approx([1, 1, 1])
    assert figure.data[0].marker.pattern.shape == "/" and "<b>0.60</b> · real 0.50" in titles(figure)


def test_long_names_are_cut_and_stay_apart() -> None:
    start = "CD4+ CD25+ CD45RO+ regulatory memory T cell, donor "
    cut = base.short_names([start + "A", start + "B", "B"])
    assert len(set(cut.values())) == 3 and max(map(len, cut.values())) <= 28 and cut["B"] == "B"
    middle = [f"{'x' * 30}{i}{'y' * 30}" for i in range(3)]
    assert base.short_names(middle) == {n: n for n in middle}
    assert sorted(["T10", "T2", "B"], key=base.natural) == ["B", "T2", "T10"]
    assert base.log_ticks(120, 4000) == [300, 1000, 3000] and base.tick_text(3000) == "3k"
