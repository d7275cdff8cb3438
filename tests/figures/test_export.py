"""Figures as files: they open, their text is text, and what is synthetic says so."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from scdiff_core.analysis.markers import mean_fraction
from scdiff_core.errors import ScdiffError
from scdiff_core.figures import export
from scdiff_core.figures.tables import mean_table


@pytest.fixture
def figures(real, made, genes):
    """Name -> function of the format, for every figure that shows generated cells."""
    tables = [mean_fraction(c.x, c.labels, np.arange(4), np.array(genes)) for c in (real, made)]
    both = (real.x, real.labels, made.x, made.labels, genes)
    xy, kind = np.vstack([real.xy, made.xy]), np.repeat([False, True], [90, 60])
    labels = np.concatenate([real.labels, made.labels])
    means = mean_table(real.x, made.x, np.array(genes))
    return {"umap": lambda fmt: export.export_umap(xy, labels, generated=kind, fmt=fmt),
            "gene": lambda fmt: export.export_umap(xy, values=np.arange(150.0), generated=kind, title="LYZ", fmt=fmt),
            "dots": lambda fmt: export.export_dot_plot(*tables, fmt=fmt),
            "matrix": lambda fmt: export.export_matrix_plot(*tables, scaled=True, fmt=fmt),
            "violins": lambda fmt: export.export_violin(*both, fmt=fmt),
            "heat": lambda fmt: export.export_heat_map(*both, fmt=fmt),
            "means": lambda fmt: export.export_mean_vs_mean(means, ["LYZ"], fmt=fmt)}


def words(svg: bytes) -> str:
    return " ".join(t for e in ET.fromstring(svg).iter() if e.tag.endswith("text") for t in e.itertext())


def test_every_figure_is_stamped_and_its_text_is_text(figures) -> None:
    shown = {"umap": "T10", "gene": "LYZ", "dots": "NKG7", "matrix": "by gene",
             "violins": "MS4A1", "heat": "CD3D", "means": "Pearson r"}
    for name, draw in figures.items():
        text = words(draw("svg"))
        assert export.STAMP in text and shown[name] in text, name
        assert "generated" in text.replace(export.STAMP, ""), name


def test_png_and_pdf_open(figures) -> None:
    for draw in (figures["dots"], figures["heat"]):
        image = Image.open(io.BytesIO(draw("png")))
        assert image.width > 500 and image.height > 300 and image.info["Description"] == export.STAMP
        assert np.asarray(image.convert("L")).std() > 10
        assert draw("pdf").startswith(b"%PDF")
    with pytest.raises(ScdiffError, match="cannot be saved as 'gif'"):
        figures["means"]("gif")


def test_figures_of_real_cells_alone_bear_no_stamp(real, genes) -> None:
    table = mean_fraction(real.x, real.labels, np.arange(4), np.array(genes))
    for svg in (export.export_umap(real.xy, real.labels), export.export_dot_plot(table),
                export.export_violin(real.x, real.labels, genes=genes),
                export.export_heat_map(real.x, real.labels, genes=genes)):
        assert "not measured" not in words(svg)


def test_long_names_and_many_types_make_the_figure_wider(real) -> None:
    few = Image.open(io.BytesIO(export.export_umap(real.xy, real.labels, fmt="png")))
    names = np.array([f"a rather long name of a cell type {i}" for i in range(30)])[np.arange(90) % 30]
    many = Image.open(io.BytesIO(export.export_umap(real.xy, names, fmt="png")))
    assert many.width > few.width + 400 and many.height < 1.3 * few.height


def test_many_points_become_an_image_inside_the_vector_file() -> None:
    rng = np.random.default_rng(0)
    few, many = (export.export_umap(rng.normal(size=(n, 2)), np.repeat("T", n)) for n in (500, 5000))
    assert b"<image" not in few and b"<image" in many


def test_bundle_holds_every_format_the_tables_and_a_note(figures) -> None:
    some = {k: figures[k] for k in ("dots", "means")}
    bundle = export.figure_bundle(some, {"dots": pd.DataFrame({"gene": ["A"], "mean": [0.5]})})
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        assert sorted(archive.namelist()) == sorted(
            [f"{n}.{f}" for n in some for f in ("svg", "pdf", "png")] + ["dots.csv", "README.txt"])
        assert export.STAMP in archive.read("README.txt").decode()
        assert archive.read("dots.csv").decode() == "gene,mean\nA,0.5\n"
    again = export.figure_bundle(some, {"dots": pd.DataFrame({"gene": ["A"], "mean": [0.5]})}, formats=("svg",))
    assert again == export.figure_bundle(some, {"dots": pd.DataFrame({"gene": ["A"], "mean": [0.5]})}, formats=("svg",))


def test_a_size_is_kept_to_the_millimetre_in_every_format(real, made, genes) -> None:
    tables = [mean_fraction(c.x, c.labels, np.arange(4), np.array(genes)) for c in (real, made)]
    both = (real.x, real.labels, made.x, made.labels, genes)
    size = export.Size(12, 8.5, 300)
    means = mean_table(real.x, made.x, np.array(genes))
    volcano = pd.DataFrame({"gene": genes, "log2fc": [-2.0, 2, 0.1, 3], "pval_adj": [1e-9, 1e-8, 0.5, 0.0]})
    for draw in (lambda fmt: export.export_dot_plot(*tables, fmt=fmt, size=size),
                 lambda fmt: export.export_matrix_plot(*tables, fmt=fmt, size=size),
                 lambda fmt: export.export_violin(*both, fmt=fmt, size=size),
                 lambda fmt: export.export_heat_map(*both, fmt=fmt, size=size),
                 lambda fmt: export.export_mean_vs_mean(means, fmt=fmt, size=size),
                 lambda fmt: export.export_umap(real.xy, real.labels, fmt=fmt, size=size),
                 lambda fmt: export.export_volcano(volcano, fmt=fmt, size=size)):
        image = Image.open(io.BytesIO(draw("png")))
        assert image.size == pytest.approx((12 / 2.54 * 300, 8.5 / 2.54 * 300), abs=1)
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert ET.fromstring(draw("svg")).attrib["width"] == f"{12 / 2.54 * 72:.6f}".rstrip("0") + "pt"
        assert draw("svg") == draw("svg")


def test_resolution_alone_keeps_the_figure_and_one_side_keeps_the_other(real) -> None:
    plain, fine, wide = (Image.open(io.BytesIO(export.export_umap(real.xy, real.labels, fmt="png", size=s)))
                         for s in (None, export.Size(dpi=400), export.Size(width_cm=20)))
    assert fine.width == pytest.approx(2 * plain.width, abs=4) and wide.width == pytest.approx(20 / 2.54 * 200, abs=1)
    assert abs(wide.height - plain.height) < 0.1 * plain.height


def test_a_smaller_file_has_smaller_text_but_no_smaller_than_five_points(real, made, genes) -> None:
    tables = [mean_fraction(c.x, c.labels, np.arange(4), np.array(genes)) for c in (real, made)]
    svg = export.export_dot_plot(*tables, size=export.Size(7, 6)).decode()
    sizes = [float(size) for size in re.findall(r"font(?:-size)?:[^;\"]*?([\d.]+)px", svg)]
    assert 5 <= min(sizes) < 8 and export.STAMP in svg


def test_sizes_that_cannot_be_are_told() -> None:
    for wrong in ({"width_cm": 1}, {"height_cm": 500}, {"dpi": 5000}):
        with pytest.raises(ScdiffError, match="cannot have that"):
            export.Size(**wrong)
    names = np.array([f"a rather long name of a cell type {i}" for i in range(40)])
    xy = np.random.default_rng(0).normal(size=(40, 2))
    with pytest.raises(ScdiffError, match="does not fit into"):
        export.export_umap(xy, names, size=export.Size(3, 3))
    with pytest.raises(ScdiffError, match="too large"):
        export.export_umap(xy, fmt="png", size=export.Size(100, 100, 1200))


def test_map_of_any_two_columns_split_into_panels_with_chosen_cells(real, made) -> None:
    xy, kind = np.vstack([real.xy, made.xy]), np.repeat([False, True], [90, 60])
    labels = np.concatenate([real.labels, made.labels])
    half = np.arange(150) % 2 == 0
    said = words(export.export_umap(xy, labels, generated=kind, x="LYZ (log1p)", y="counts",
                                    colour={"T2": "#111111", "T10": "#222222"},
                                    panels=[("donor one", half), ("donor two", np.flatnonzero(~half))]))
    assert "donor one" in said and "donor two" in said and "LYZ (log1p)" in said and "counts" in said
    assert "real" in said and "generated (synthetic)" in said and export.STAMP in said
    assert "T2" in said and "UMAP" not in said
    assert any(word.lstrip("−").replace(".", "").isdigit() for word in said.split())  # numbers at both axes
    chosen = export.export_umap(real.xy, real.labels, chosen=real.labels == "T2").decode()
    assert "T10" not in words(chosen.encode()) and "#e2e2e2" in chosen.lower()
    grey = export.export_umap(xy, labels, generated=kind, grey=~kind, panels=[("", np.ones(150, bool))]).decode()
    assert grey.lower().count("#e2e2e2") >= 90


def test_values_have_a_range_a_map_and_gaps(real) -> None:
    values = np.linspace(0, 10, 90)
    values[3] = np.nan
    svg = export.export_umap(real.xy, values=values, title="LYZ", values_map="cividis", value_range=(2, 8)).decode()
    assert "#fee838" in svg and "#00224e" in svg and "#e2e2e2" in svg.lower()
    with pytest.raises(ScdiffError, match="3 values for 90 cells"):
        export.export_umap(real.xy, values=np.ones(3))


def test_names_at_the_centres_are_moved_apart() -> None:
    from scdiff_core.figures.export_cells import apart

    moved = apart({"CD14+ Mono": np.array([1.0, 1.0]), "FCGR3A+ Mono": np.array([1.1, 1.01])}, np.array([2.0, 2.0]))
    assert abs(moved["CD14+ Mono"][1] - moved["FCGR3A+ Mono"][1]) >= 0.05 * 2
