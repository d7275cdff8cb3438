"""All figures of the screen by one name: plotly figures from plain arrays, neutral to the page's theme."""

from scdiff_core.figures.markers import dot_plot, heat_map, mean_vs_mean, violin_plot
from scdiff_core.figures.qc import qc_scatter, qc_violins
from scdiff_core.figures.report import report_bars
from scdiff_core.figures.tables import dot_table, heat_blocks, mean_table
from scdiff_core.figures.umap import umap_scatter

__all__ = ["dot_plot", "dot_table", "heat_blocks", "heat_map", "mean_table", "mean_vs_mean", "qc_scatter", "qc_violins",
           "report_bars", "umap_scatter", "violin_plot"]
