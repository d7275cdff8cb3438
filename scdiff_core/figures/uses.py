"""Figures of denoised and of odd cells."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from scdiff_core.figures.base import frame, natural, thin
from scdiff_core.figures.palette import KEPT, LOST, MISSING, REAL, colour_map

MOST = 4000
BEFORE, AFTER = "as measured", "denoised (estimated by the model)"


def before_after(before: np.ndarray, after: np.ndarray, genes: tuple[str, str], labels: np.ndarray | None = None,
                 colour: dict[str, str] | None = None, height: int = 430) -> go.Figure:
    """Return two genes of each cell against each other, log1p [n, 2] before and after denoising, cells by label."""
    figure = make_subplots(1, 2, subplot_titles=(BEFORE, AFTER), shared_xaxes="all", shared_yaxes="all",
                           horizontal_spacing=0.06)
    rows = thin(len(before), MOST)
    names = np.full(len(before), "") if labels is None else np.asarray(labels).astype(str)
    colour = colour or colour_map(sorted(set(names.tolist()) - {""}, key=natural))
    for name in [*(n for n in colour if n), ""]:
        some = rows[names[rows] == name]
        if not len(some):
            continue
        for i, values in enumerate((before, after), 1):
            figure.add_scattergl(
                x=values[some, 0], y=values[some, 1], mode="markers", row=1, col=i, name=name or "cells",
                legendgroup=name, showlegend=i == 1 and labels is not None,
                marker={"size": 4, "color": colour.get(name, REAL if labels is None else MISSING), "opacity": 0.7})
    figure.update_xaxes(title_text=f"{genes[0]} (log1p)")
    figure.update_yaxes(title_text=f"{genes[1]} (log1p)", col=1)
    return frame(figure, height)


def score_histogram(ordinary: np.ndarray, scores: np.ndarray, cut: float, title: str, height: int = 260) -> go.Figure:
    """Return the scores of cells [n] as bars over those of ordinary cells [m] as a line, and where the cut lies."""
    both = np.concatenate([ordinary, scores])
    low, high = np.quantile(both, [0.002, 0.998])
    edges = np.linspace(low, max(high, cut * 1.05, low + 1e-6), 50)
    middle, wide = (edges[:-1] + edges[1:]) / 2, edges[1] - edges[0]
    bars = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)[0]
    line = np.histogram(np.clip(ordinary, edges[0], edges[-1]), edges)[0] * (len(scores) / max(1, len(ordinary)))
    figure = go.Figure()
    figure.add_bar(x=middle, y=bars, width=wide, name="cells", marker={"color": np.where(middle >= cut, LOST, KEPT)})
    figure.add_scatter(x=middle, y=line, mode="lines", name="ordinary training cells (scaled)",
                       line={"color": "rgba(128,128,128,0.9)", "shape": "hvh"})
    figure.add_vline(cut, line={"dash": "dash", "color": LOST})
    figure.update_xaxes(title_text=title)
    figure.update_yaxes(title_text="cells")
    return frame(figure, height, margin={"l": 10, "r": 10, "t": 10, "b": 10},
                 legend={"orientation": "h", "y": 1.08, "bgcolor": "rgba(0,0,0,0)"})
