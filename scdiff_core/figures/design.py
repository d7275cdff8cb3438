"""Figures of inverse design: levels of designed cells against real ones, two rows together, how real the cells look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from scdiff_core.errors import ScdiffError
from scdiff_core.figures.base import AXIS, GENERATED_WORDS, STAMP, frame, short
from scdiff_core.figures.palette import GENERATED, OKABE_ITO, REAL, matplotlib_map, stops
from scdiff_core.figures.paper import Size, new_figure, save_figure

POINTS = 120  # of a density
SMOOTH = 0.02  # width of its kernel, as a share of the range
ROW, GAP = 62, 50  # pixels of a row, and between two
DESIGNED_WORDS = "designed (synthetic)"
LEVEL = "#555555"


@dataclass(frozen=True)
class RowLevels:
    """One row of a target: what it asks, and the levels of real and of designed cells, log1p."""

    name: str
    words: str
    real: np.ndarray
    designed: np.ndarray
    ends: tuple[float, ...]  # the level, or both of "between"
    share: float  # of the designed cells that meet it


def density(values: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a grid [POINTS] over a range and the smoothed density of the values in it, its highest point 1."""
    from scipy.ndimage import gaussian_filter1d

    bins = 4 * POINTS
    counts, edges = np.histogram(values, bins, (low, high))
    smooth = gaussian_filter1d(counts.astype(float), SMOOTH * bins, mode="nearest")
    grid = np.linspace(low, high, POINTS)
    y = np.interp(grid, (edges[:-1] + edges[1:]) / 2, smooth)
    return grid, y / max(float(y.max()), 1e-12)


def _span(row: RowLevels) -> tuple[float, float]:
    every = np.concatenate([row.real, row.designed, row.ends]) if len(row.ends) else np.concatenate(
        [row.real, row.designed])
    low, high = (float(every.min()), float(every.max())) if len(every) else (0.0, 1.0)
    wide = 0.04 * max(high - low, 0.1)
    return low - wide, high + wide


def levels(rows: Sequence[RowLevels]) -> go.Figure:
    """Return one line a row: the levels of real cells in grey, of designed ones in colour, and the level asked for.

    Raises
    ------
    ScdiffError
        There is no row.
    """
    _check(rows)
    inner = ROW * len(rows) + GAP * (len(rows) - 1)
    figure = make_subplots(len(rows), 1, vertical_spacing=GAP / inner if len(rows) > 1 else 0.0)
    for i, row in enumerate(rows, 1):
        low, high = _span(row)
        for values, words, line, fill, dash in (
                (row.real, "real cells", REAL, "rgba(140,140,140,0.35)", "solid"),
                (row.designed, DESIGNED_WORDS, GENERATED, "rgba(213,94,0,0.18)", "dash")):
            if not len(values):
                continue
            x, y = density(values, low, high)
            figure.add_scatter(x=x, y=y, mode="lines", fill="tozeroy", fillcolor=fill, name=words, legendgroup=words,
                               line={"color": line, "width": 1.8, "dash": dash}, showlegend=i == 1, row=i, col=1,
                               hovertemplate=f"{row.name} %{{x:.2f}}<extra>{words}</extra>")
        for end in row.ends:
            figure.add_vline(x=end, line={"color": AXIS, "width": 1.6, "dash": "dot"}, row=i, col=1)
        figure.update_yaxes(title={"text": f"<b>{short(row.name, 16)}</b>", "font": {"size": 11}}, range=[0, 1.12],
                            showticklabels=False, ticks="", showgrid=False, row=i, col=1)
        figure.update_xaxes(range=[low, high], row=i, col=1)
        figure.add_annotation(x=1, y=1.02, xref="x domain", yref="y domain", xanchor="right", yanchor="bottom",
                              showarrow=False, font={"size": 11}, row=i, col=1,
                              text=f"{short(row.words, 60)} · <b>{100 * row.share:.4g} %</b>")
    figure.update_xaxes(title=f"level (log1p, without the noise of counting)<br><i>{STAMP}</i>", row=len(rows), col=1)
    return frame(figure, inner + 120, margin={"l": 10, "r": 10, "t": 56, "b": 64}, legend={
        "orientation": "h", "y": 1, "yref": "container", "yanchor": "top", "x": 0})


def export_levels(rows: Sequence[RowLevels], *, fmt: str = "svg", size: Size | None = None) -> bytes:
    """Return `levels` as a file."""
    _check(rows)
    figure, axes = new_figure(4.4, 0.85 * len(rows) + 0.6, len(rows), 1)
    for place, row in zip(axes[:, 0], rows, strict=True):
        low, high = _span(row)
        for values, words, line, dash in ((row.real, "real cells", REAL, "-"),
                                          (row.designed, DESIGNED_WORDS, GENERATED, "--")):
            if len(values):
                x, y = density(values, low, high)
                place.fill_between(x, y, alpha=0.25, color=line, linewidth=0)
                place.plot(x, y, dash, color=line, linewidth=1, label=words)
        for end in row.ends:
            place.axvline(end, color=LEVEL, linewidth=0.8, linestyle=":")
        place.set(yticks=[], xlim=(low, high), ylim=(0, 1.12))
        place.set_ylabel(short(row.name, 14), style="italic", fontsize=7)
        place.set_title(f"{short(row.words, 60)}: {100 * row.share:.4g} %", fontsize=6.5, loc="right", pad=2)
    axes[-1, 0].set_xlabel("level (log1p, denoised)")
    axes[0, 0].legend(loc="lower left", bbox_to_anchor=(0, 1.0), fontsize=6, ncols=2)
    return save_figure(figure, fmt, True, size)


def levels_table(rows: Sequence[RowLevels]) -> pd.DataFrame:
    """Return quantiles of each row's levels in real and designed cells."""
    out = []
    for row in rows:
        for cells, values in (("real", row.real), ("designed (synthetic)", row.designed)):
            if len(values):
                q = np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95))
                out.append({"row": row.name, "asked": row.words, "cells": cells, "n": len(values),
                            **dict(zip(("q05", "q25", "median", "q75", "q95"), q.round(4), strict=True))})
    return pd.DataFrame(out)


def _check(rows: Sequence[RowLevels]) -> None:
    if not rows:
        raise ScdiffError("The levels cannot be drawn.", "The target has no rows.", "Add a gene or a program.")


def joint(told: Mapping[str, Any]) -> go.Figure:
    """Return how many real cells have two rows of a target at once, with lines at the levels asked for.

    Parameters
    ----------
    told
        names [2], x and y (edges), counts [x][y], levels [2] (None where there is none).
    """
    x, y, counts = (np.asarray(told[k], float) for k in ("x", "y", "counts"))
    shown = np.where(counts > 0, np.sqrt(counts), np.nan)  # by square roots: single cells still show
    figure = go.Figure(go.Heatmap(
        x=(x[:-1] + x[1:]) / 2, y=(y[:-1] + y[1:]) / 2, z=shown.T, customdata=counts.T, showscale=False,
        colorscale=stops(), hovertemplate=f"{told['names'][0]} %{{x:.2f}}, {told['names'][1]} %{{y:.2f}}"
                                          "<br>%{customdata} real cells<extra></extra>"))
    for value, line in zip(told["levels"], (figure.add_vline, figure.add_hline), strict=True):
        if value is not None:
            line(value, line={"color": GENERATED, "width": 2, "dash": "dot"})
    figure.update_xaxes(title=f"{told['names'][0]} (log1p)")
    figure.update_yaxes(title=f"{told['names'][1]} (log1p)")
    return frame(figure, 300, showlegend=False, margin={"l": 10, "r": 10, "t": 10, "b": 10})


def export_joint(told: Mapping[str, Any], *, fmt: str = "svg", size: Size | None = None) -> bytes:
    """Return `joint` as a file."""
    x, y, counts = (np.asarray(told[k], float) for k in ("x", "y", "counts"))
    figure, axes = new_figure(3.2, 2.8)
    place = axes[0, 0]
    place.pcolormesh(x, y, np.where(counts > 0, np.sqrt(counts), np.nan).T, cmap=matplotlib_map(), rasterized=True)
    if told["levels"][0] is not None:
        place.axvline(told["levels"][0], color=GENERATED, linewidth=1, linestyle=":")
    if told["levels"][1] is not None:
        place.axhline(told["levels"][1], color=GENERATED, linewidth=1, linestyle=":")
    place.set(xlabel=f"{told['names'][0]} (log1p)", ylabel=f"{told['names'][1]} (log1p)", title="real cells")
    return save_figure(figure, fmt, False, size)


def joint_table(told: Mapping[str, Any]) -> pd.DataFrame:
    """Return the numbers behind `joint`: a row for each field with a real cell in it."""
    counts = np.asarray(told["counts"])
    i, j = np.nonzero(counts)
    x, y = np.asarray(told["x"]), np.asarray(told["y"])
    a, b = told["names"]
    return pd.DataFrame({f"{a} from": x[i], f"{a} to": x[i + 1], f"{b} from": y[j], f"{b} to": y[j + 1],
                         "real cells": counts[i, j]})


def realism(designed: np.ndarray, real: np.ndarray, limit: float, edited: np.ndarray | None = None) -> go.Figure:
    """Return how far cells lie from real ones: held-out real cells, designed ones, and the limit beyond which they look
    unreal.

    Parameters
    ----------
    designed, real
        Mean distance to the ten nearest training cells, [n] and [m].
    limit
        The 95th percentile of `real`.
    """
    low, high = _reach(designed, real, limit)
    figure = go.Figure()
    sets = [(real, "real cells, held out", REAL, "solid", "rgba(140,140,140,0.35)"),
            (designed, DESIGNED_WORDS, GENERATED, "dash", "rgba(213,94,0,0.18)")]
    if edited is not None and len(edited):
        sets.append((edited, "plain latent editing (synthetic)", OKABE_ITO[0], "dot", "rgba(0,114,178,0.10)"))
    for values, words, line, dash, fill in sets:
        x, y = density(values, low, high)
        figure.add_scatter(x=x, y=y, mode="lines", fill="tozeroy", fillcolor=fill, name=words,
                           line={"color": line, "dash": dash, "width": 1.8},
                           hovertemplate="distance %{x:.2f}<extra>" + words + "</extra>")
    figure.add_vline(x=limit, line={"color": AXIS, "width": 1.6, "dash": "dot"},
                     annotation={"text": "beyond: looks unreal", "font": {"size": 11}, "yanchor": "bottom"})
    figure.update_yaxes(showticklabels=False, ticks="", showgrid=False, range=[0, 1.1])
    figure.update_xaxes(title=f"distance to the ten nearest real cells<br><i>{STAMP}</i>", range=[low, high])
    return frame(figure, 300, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0})


def export_realism(designed: np.ndarray, real: np.ndarray, limit: float, *, fmt: str = "svg",
                   size: Size | None = None) -> bytes:
    """Return `realism` as a file."""
    low, high = _reach(designed, real, limit)
    figure, axes = new_figure(4.0, 2.0)
    place = axes[0, 0]
    for values, words, line, dash in ((real, "real cells, held out", REAL, "-"),
                                      (designed, GENERATED_WORDS.replace("generated", "designed"), GENERATED, "--")):
        x, y = density(values, low, high)
        place.fill_between(x, y, alpha=0.25, color=line, linewidth=0)
        place.plot(x, y, dash, color=line, linewidth=1, label=words)
    place.axvline(limit, color=LEVEL, linewidth=0.8, linestyle=":")
    place.set(yticks=[], xlim=(low, high), ylim=(0, 1.1), xlabel="distance to the ten nearest real cells")
    place.legend(fontsize=6.5)
    return save_figure(figure, fmt, True, size)


def _reach(designed: np.ndarray, real: np.ndarray, limit: float) -> tuple[float, float]:
    every = np.concatenate([designed, real, [limit]])
    low, high = float(every.min()), max(float(np.quantile(every, 0.995)), limit)
    wide = 0.05 * max(high - low, 1e-3)
    return max(0.0, low - wide), high + wide
