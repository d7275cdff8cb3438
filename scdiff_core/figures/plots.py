"""All figures of the screen by one name: plotly figures from plain arrays, neutral to the page's theme."""

from scdiff_core.figures.heat import heat_map
from scdiff_core.figures.markers import dot_plot, matrix_plot, mean_vs_mean
from scdiff_core.figures.order import order_by_clustering
from scdiff_core.figures.qc import qc_scatter, qc_violins
from scdiff_core.figures.report import report_bars
from scdiff_core.figures.tables import dot_table, heat_blocks, mean_matrix, mean_table
from scdiff_core.figures.umap import umap_scatter
from scdiff_core.figures.violins import violin_plot
from scdiff_core.figures.volcano import volcano

__all__ = ["dot_plot", "dot_table", "heat_blocks", "heat_map", "matrix_plot", "mean_matrix", "mean_table",
           "mean_vs_mean", "order_by_clustering", "qc_scatter", "qc_violins", "report_bars", "umap_scatter",
           "violin_plot", "volcano"]
