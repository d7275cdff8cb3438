"""Figures as files: they open, their text is text, and what is synthetic says so."""

from __future__ import annotations

import io
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
            "violins": lambda fmt: export.export_violin(*both, fmt=fmt),
            "heat": lambda fmt: export.export_heat_map(*both, fmt=fmt),
            "means": lambda fmt: export.export_mean_vs_mean(means, ["LYZ"], fmt=fmt)}


def words(svg: bytes) -> str:
    return " ".join(t for e in ET.fromstring(svg).iter() if e.tag.endswith("text") for t in e.itertext())


def test_every_figure_is_stamped_and_its_text_is_text(figures) -> None:
    shown = {"umap": "T10", "gene": "LYZ", "dots": "NKG7", "violins": "MS4A1", "heat": "CD3D", "means": "Pearson r"}
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
