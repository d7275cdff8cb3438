"""Quality control as people know it: violins and a scatter of the cells, with the thresholds drawn on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from scdiff_core import keys
from scdiff_core.config import QC
from scdiff_core.figures.base import SHADE, frame, log_ticks, thin, tick_text
from scdiff_core.figures.palette import KEPT, LOST

PANELS = (  # key, title, lower and upper bound of QC, log axis
    (keys.N_GENES, "Genes a cell", "min_genes", "max_genes", True),
    (keys.TOTAL_COUNTS, "Counts a cell", "min_counts", "max_counts", True),
    (keys.PCT_MT, "Mitochondrial counts (%)", None, "max_pct_mt", False),
)
MAX_VIOLIN, MAX_SCATTER = 5_000, 20_000


def qc_violins(metrics: pd.DataFrame, qc: QC, height: int = 340) -> go.Figure:
    """Return violins of genes, counts (log axes) and mitochondrial share, the thresholds as dashed lines.

    `metrics` has one row a cell with `n_genes_by_counts`, `total_counts`, `pct_counts_mt` (percent); at most
    5,000 of the cells are drawn. What a threshold leaves out is shaded.
    """
    panels = [p for p in PANELS if p[0] in metrics]
    figure = make_subplots(1, len(panels), subplot_titles=[p[1] for p in panels], horizontal_spacing=0.09)
    drawn = metrics.iloc[thin(len(metrics), MAX_VIOLIN)]
    for i, (key, title, low, high, log) in enumerate(panels, start=1):
        values = drawn[key].to_numpy(float)
        values = values[np.isfinite(values)]
        shown = np.log10(np.maximum(values, 1)) if log else values
        figure.add_violin(y=shown, name=title, row=1, col=i, line={"color": KEPT, "width": 1.5}, box_visible=True,
                          points="all" if len(values) < 50 else False, spanmode="hard", hoverinfo="skip",
                          showlegend=False, marker={"size": 4})
        bounds = [(getattr(qc, b) if b else None, side) for b, side in ((low, "min"), (high, "max"))]
        _violin_axis(figure, i, values, bounds, log)
        for bound, side in bounds:
            if bound is not None:
                _bound(figure, i, np.log10(max(bound, 1)) if log else bound, f"{side} {bound:,g}", side)
    figure.update_xaxes(showticklabels=False)
    return frame(figure, height, showlegend=False)


def _violin_axis(figure: go.Figure, col: int, values: np.ndarray, bounds: list[tuple[Any, str]],
                 log: bool) -> None:
    """Set a range that holds the cells and the thresholds, and ticks in plain numbers."""
    every = [*values.tolist(), *[float(b) for b, _ in bounds if b is not None]] or [1.0]
    if not log:
        figure.update_yaxes(range=[0, max(1.0, max(every)) * 1.08], row=1, col=col)
        return
    low, high = max(1.0, min(every)), max(10.0, max(every))
    ticks = log_ticks(low / 1.3, high * 1.3)
    figure.update_yaxes(range=[np.log10(low / 1.3), np.log10(high * 1.4)], tickvals=np.log10(ticks).tolist(),
                        ticktext=[tick_text(t) for t in ticks], row=1, col=col)


def _bound(figure: go.Figure, col: int, at: float, words: str, side: str) -> None:
    """Draw one threshold of a violin, its value beside it, and shade what lies beyond."""
    low, high = figure.get_subplot(1, col).yaxis.range
    figure.add_hrect(y0=low if side == "min" else at, y1=at if side == "min" else high, fillcolor=SHADE,
                     line_width=0, layer="below", row=1, col=col)
    figure.add_hline(y=at, line={"color": LOST, "dash": "dash", "width": 1.5}, row=1, col=col,
                     annotation={"text": words, "xanchor": "right", "yanchor": "top" if side == "min" else "bottom"})


def qc_scatter(metrics: pd.DataFrame, qc: QC, keep: np.ndarray, height: int = 380) -> go.Figure:
    """Return counts against genes a cell on log axes, kept cells as dots, the others as crosses.

    `keep` [N] says which cells pass. At most 20,000 cells are drawn; the legend counts all of them.
    """
    keep = np.asarray(keep, dtype=bool)
    drawn = thin(len(metrics), MAX_SCATTER)
    x = np.maximum(metrics[keys.TOTAL_COUNTS].to_numpy(float), 1)
    y = np.maximum(metrics[keys.N_GENES].to_numpy(float), 1)
    share = metrics[keys.PCT_MT].to_numpy(float) if keys.PCT_MT in metrics else np.zeros(len(metrics))
    figure = go.Figure()
    for kept, words, colour, symbol in ((True, "kept", KEPT, "circle"), (False, "left out", LOST, "x-thin-open")):
        rows = drawn[keep[drawn] == kept]
        figure.add_scattergl(
            x=x[rows], y=y[rows], mode="markers", name=f"{words} ({int((keep == kept).sum()):,})",
            marker={"color": colour, "symbol": symbol, "size": 4 if kept else 6, "opacity": 0.55 if kept else 0.9,
                    "line": {"width": 0 if kept else 1, "color": colour}},
            customdata=share[rows],
            hovertemplate="%{x:,.0f} counts, %{y:,.0f} genes<br>mitochondrial %{customdata:.1f} %<extra></extra>")
    line = {"color": LOST, "dash": "dash", "width": 1.5}
    for bound in (qc.min_counts, qc.max_counts):
        if bound is not None:
            figure.add_vline(x=max(bound, 1), line=line)
    for bound in (qc.min_genes, qc.max_genes):
        if bound is not None:
            figure.add_hline(y=max(bound, 1), line=line)
    for update, values, title in ((figure.update_xaxes, x, "Counts a cell"), (figure.update_yaxes, y, "Genes a cell")):
        low, high = (float(values.min()), float(values.max())) if len(values) else (1.0, 10.0)
        ticks = log_ticks(low / 1.2, high * 1.2)
        update(type="log", title=title, tickvals=ticks, ticktext=[tick_text(t) for t in ticks])
    return frame(figure, height, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0,
                                         "itemsizing": "constant"})
