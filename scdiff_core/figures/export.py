"""The same figures for a paper: SVG, PDF and PNG by matplotlib, with a stamp on all that is synthetic."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from scdiff_core.figures.base import KINDS, STAMP, Kind
from scdiff_core.figures.export_cells import export_umap
from scdiff_core.figures.export_markers import export_dot_plot, export_heat_map, export_matrix_plot, export_violin
from scdiff_core.figures.palette import GENERATED, REAL
from scdiff_core.figures.paper import DPI, FORMATS, RASTER, Size, new_figure, save_figure
from scdiff_core.figures.volcano import export_volcano

__all__ = ["DPI", "FORMATS", "RASTER", "STAMP", "Size", "export_dot_plot", "export_heat_map", "export_matrix_plot",
           "export_mean_vs_mean", "export_umap", "export_violin", "export_volcano", "figure_bundle", "new_figure",
           "save_figure"]

README = ("Figures of scDiff Studio. Panels, points and columns named 'generated' show " + STAMP + ".\n"
          "Real cells are the held-out or chosen cells of the data set. Values are log1p of counts scaled to 10,000.\n")


def export_mean_vs_mean(table: pd.DataFrame, highlight: Sequence[str] = (), *, unit: str = "log1p",
                        kinds: Sequence[Kind] = KINDS, fmt: str = "svg", size: Size | None = None) -> bytes:
    """Return `markers.mean_vs_mean` as a file."""
    from scdiff_core.analysis.metrics import pearson
    from scdiff_core.figures.markers import mean_title, means_range, named_genes

    figure, axes = new_figure(3.6, 3.6)
    place = axes[0, 0]
    marked = table["gene"].isin(set(highlight)).to_numpy()
    low, top = means_range(table)
    place.plot([low, top], [low, top], linestyle="--", color="#777777", linewidth=0.7)
    place.scatter(table["real"][~marked], table["generated"][~marked], s=5, color=REAL, linewidths=0, alpha=0.7,
                  label="genes", rasterized=len(table) > RASTER)
    if marked.any():
        place.scatter(table["real"][marked], table["generated"][marked], s=16, color=GENERATED, marker="D",
                      linewidths=0.3, edgecolors="#444444", label="marker genes")
    for gene in named_genes(table, top - low):
        one = table[table["gene"] == gene].iloc[0]
        above = one["generated"] > one["real"]
        place.annotate(gene, (one["real"], one["generated"]), xytext=(-14, 9) if above else (14, -9), fontsize=7,
                       textcoords="offset points", style="italic", ha="right" if above else "left",
                       va="bottom" if above else "top", arrowprops={"arrowstyle": "-", "linewidth": 0.4})
    place.set(xlabel=mean_title(kinds[0], unit), ylabel=mean_title(kinds[1], unit), xlim=(low, top),
              ylim=(low, top), aspect="equal",
              title=f"Pearson r {pearson(table['real'].to_numpy(), table['generated'].to_numpy()):.3f}")
    place.legend(loc="lower right")
    return save_figure(figure, fmt, any(kind.synthetic for kind in kinds), size)


def figure_bundle(figures: Mapping[str, Callable[[str], bytes]], tables: Mapping[str, pd.DataFrame] | None = None,
                  formats: Sequence[str] = FORMATS) -> bytes:
    """Return a zip of every figure in every format and every table as csv, with a note on what is synthetic.

    `figures` maps a file's name to a function of the format, such as
    `lambda fmt: export_dot_plot(real, generated, fmt=fmt)`.
    """
    files = {f"{name}.{fmt}": draw(fmt) for name, draw in figures.items() for fmt in formats}
    files |= {f"{name}.csv": table.to_csv(index=False).encode() for name, table in (tables or {}).items()}
    files["README.txt"] = README.encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()
