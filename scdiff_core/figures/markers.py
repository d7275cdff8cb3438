"""Marker genes, generated beside real: dot plot, violins, heat map, and mean against mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from scipy import sparse

from scdiff_core.analysis.metrics import pearson
from scdiff_core.figures.base import (
    AXIS,
    GAP,
    GENERATED_WORDS,
    REAL_WORDS,
    SEQUENTIAL,
    frame,
    natural,
    short,
    short_names,
    thin,
)
from scdiff_core.figures.palette import GENERATED, REAL
from scdiff_core.figures.tables import groups_of, heat_blocks

SIDE_BY_SIDE = 14  # more genes than this, and the panels stand one above the other
DOT = 15  # diameter in pixels of a dot for all cells
PER_VIOLIN = 300


def dot_plot(real: pd.DataFrame, generated: pd.DataFrame | None = None, genes: Sequence[str] | None = None,
             groups: Sequence[str] | None = None) -> go.Figure:
    """Return dots of gene by group: the size says how many cells express, the colour how much (log1p).

    `real` and `generated` are tables of `markers.mean_fraction` (fraction 0 to 1); each has a panel of its
    own, with one colour scale. At most 14 genes stand side by side, more one above the other.
    """
    genes = list(genes) if genes is not None else list(dict.fromkeys(real["gene"]))
    groups = list(groups) if groups is not None else groups_of(real, generated)
    panels = [(REAL_WORDS, real)] + ([(GENERATED_WORDS, generated)] if generated is not None else [])
    beside = len(panels) == 2 and len(genes) <= SIDE_BY_SIDE
    rows, cols = (1, len(panels)) if beside else (len(panels), 1)
    height = (21 * len(groups) + GAP) * rows + 130
    figure = make_subplots(rows, cols, shared_yaxes=beside, shared_xaxes=not beside,
                           subplot_titles=[words for words, _ in panels], horizontal_spacing=0.02,
                           vertical_spacing=GAP / height if rows > 1 else 0)
    names = short_names(groups)
    for i, (words, table) in enumerate(panels):
        row, col = (1, i + 1) if beside else (i + 1, 1)
        shown = table[table["gene"].isin(genes) & table["group"].isin(groups)]
        figure.add_scatter(
            x=shown["gene"], y=shown["group"].map(names), mode="markers", row=row, col=col, showlegend=False,
            marker={"size": DOT * np.sqrt(shown["fraction"]), "color": shown["mean"], "coloraxis": "coloraxis",
                    "line": {"width": 0.6, "color": AXIS}, "opacity": 1},
            customdata=np.column_stack([shown["fraction"] * 100, shown["group"], shown["n"]]),
            hovertemplate="%{customdata[1]}, %{x}<br>mean %{marker.color:.2f} (log1p)<br>"
                          "%{customdata[0]:.0f} % of %{customdata[2]:,} cells express it<extra>" + words + "</extra>")
    for share in (0.25, 0.5, 1.0):
        figure.add_scatter(x=[None], y=[None], mode="markers", name=f"{share:.0%} of cells",
                           marker={"size": DOT * np.sqrt(share), "color": "rgba(0,0,0,0)",
                                   "line": {"width": 1, "color": AXIS}})
    figure.update_xaxes(categoryorder="array", categoryarray=genes, tickangle=-60, range=[-0.6, len(genes) - 0.4],
                        tickmode="array", tickvals=genes)
    figure.update_yaxes(categoryorder="array", categoryarray=[names[g] for g in groups][::-1],
                        range=[-0.7, len(groups) - 0.3])
    return frame(figure, height, legend={"orientation": "h", "y": 1, "yanchor": "top", "yref": "container", "x": 1,
                                         "xanchor": "right", "itemsizing": "trace"},
                 margin={"l": 10, "r": 10, "t": 64, "b": 10},
                 coloraxis=_colour_axis("mean<br>log1p", height))


def violin_plot(real: Any, real_labels: np.ndarray, generated: Any | None = None,
                generated_labels: np.ndarray | None = None, genes: Sequence[str] = (),
                groups: Sequence[str] | None = None) -> go.Figure:
    """Return one row of violins for each gene, real cells on the left half, generated ones on the right.

    Real halves are filled, generated ones outlined. Both are smoothed by one width.

    Parameters
    ----------
    real, generated
        Cells by the drawn genes, log1p [N, K] and [M, K]; at most 300 cells of a group are used.
    real_labels, generated_labels
        Their groups; "" takes no part.
    """
    sets = [(REAL_WORDS, _dense(real), np.asarray(real_labels).astype(str))]
    if generated is not None and generated_labels is not None:
        sets.append((GENERATED_WORDS, _dense(generated), np.asarray(generated_labels).astype(str)))
    groups = list(groups) if groups is not None else sorted({str(g) for s in sets for g in s[2]} - {""}, key=natural)
    names = short_names(groups, 20)
    figure = make_subplots(max(1, len(genes)), 1, shared_xaxes=True, vertical_spacing=0.12 / max(1, len(genes)))
    for words, x, labels in sets:
        rows = np.concatenate([np.flatnonzero(labels == g)[thin(int((labels == g).sum()), PER_VIOLIN)]
                               for g in groups]).astype(int) if groups else np.zeros(0, int)
        made = words == GENERATED_WORDS
        for i, gene in enumerate(genes):
            top = float(max(s[1][:, i].max() for s in sets if len(s[1])) or 1.0)
            figure.add_violin(
                x=[names[g] for g in labels[rows]], y=x[rows, i], row=i + 1, col=1, name=words, legendgroup=words,
                showlegend=i == 0, side=("both" if len(sets) == 1 else "positive" if made else "negative"),
                line={"color": GENERATED if made else REAL, "width": 1.6 if made else 1},
                fillcolor="rgba(213,94,0,0.06)" if made else "rgba(140,140,140,0.55)", points=False,
                bandwidth=0.06 * top, spanmode="hard", scalemode="width", width=0.9, meanline_visible=True,
                hoveron="violins", hovertemplate=f"{gene}<br>%{{x}}<extra>{words}</extra>")
            figure.update_yaxes(title={"text": short(gene, 13), "font": {"size": 11}}, range=[0, top * 1.05], nticks=3,
                                row=i + 1, col=1)
    figure.update_xaxes(categoryorder="array", categoryarray=[names[g] for g in groups], showgrid=False)
    figure.update_xaxes(tickangle=-45 if len(groups) > 4 else 0, row=max(1, len(genes)), col=1)
    return frame(figure, 84 * max(1, len(genes)) + 150, violinmode="overlay", violingap=0.1,
                 legend={"orientation": "h", "y": 1, "yanchor": "top", "yref": "container", "x": 0},
                 margin={"l": 10, "r": 10, "t": 40, "b": 10})


def heat_map(real: Any, real_labels: np.ndarray, generated: Any | None = None,
             generated_labels: np.ndarray | None = None, genes: Sequence[str] = (),
             groups: Sequence[str] | None = None, *, per_group: int = 30, seed: int = 0) -> go.Figure:
    """Return gene by cell heat maps (log1p), real cells above generated ones, group over group.

    Arrays as for `violin_plot`; at most `per_group` cells of a group, drawn by `seed`. Every group is equally
    wide, so a column of a group with few cells is broad; a group without cells stays empty.
    """
    blocks = heat_blocks(real, real_labels, generated, generated_labels, per_group, seed, groups)
    panels = [(w, b) for w, b in zip((REAL_WORDS, GENERATED_WORDS), blocks, strict=True) if b is not None]
    height = (15 * len(genes) + GAP) * len(panels) + 130
    figure = make_subplots(len(panels), 1, shared_xaxes=True, subplot_titles=[w for w, _ in panels],
                           vertical_spacing=GAP / height if len(panels) > 1 else 0)
    names = short_names(panels[0][1].groups, 24)
    for i, (words, block) in enumerate(panels, start=1):
        of = np.array(block.groups)[block.of]
        figure.add_heatmap(z=block.values, x=block.edges, y=list(genes), coloraxis="coloraxis", row=i, col=1,
                           hoverongaps=False, customdata=np.broadcast_to(of, block.values.shape),
                           hovertemplate="%{y}: %{z:.2f} (log1p)<br>%{customdata}<extra>" + words + "</extra>")
        for edge in range(1, len(block.groups)):
            figure.add_vline(x=edge, line={"color": "white", "width": 1.2}, row=i, col=1)
    block = panels[0][1]
    figure.update_xaxes(showgrid=False, tickvals=np.arange(len(block.groups)) + 0.5,
                        ticktext=[names[g] for g in block.groups],
                        tickangle=-45 if len(block.groups) > 4 else 0)
    figure.update_yaxes(autorange="reversed", showgrid=False, tickfont={"size": 10}, dtick=1)
    return frame(figure, height, coloraxis=_colour_axis("log1p", height))


def mean_vs_mean(table: pd.DataFrame, highlight: Sequence[str] = (), height: int = 460) -> go.Figure:
    """Return each gene's mean in generated against real cells (log1p), equal means on the line.

    `table` is of `tables.mean_table`; `highlight` names the genes drawn as diamonds (markers). Of those, and
    of all genes, the ones farthest from the line have their names written.
    """
    marked = table["gene"].isin(set(highlight)).to_numpy()
    low, top = means_range(table)
    figure = go.Figure()
    figure.add_scatter(x=[low, top], y=[low, top], mode="lines", line={"color": AXIS, "dash": "dash", "width": 1},
                       hoverinfo="skip", showlegend=False)
    for these, words, marker in (
        (~marked, "genes", {"color": REAL, "size": 5, "opacity": 0.6}),
        (marked, "marker genes", {"color": GENERATED, "size": 8, "symbol": "diamond",
                                  "line": {"width": 0.7, "color": AXIS}}),
    ):
        if these.any():
            part = table[these]
            figure.add_scattergl(x=part["real"], y=part["generated"], mode="markers", name=words, marker=marker,
                                 text=part["gene"], hovertemplate="%{text}<br>real %{x:.2f}, generated %{y:.2f}"
                                                                  "<extra></extra>")
    for gene in named_genes(table, top - low):
        one = table[table["gene"] == gene].iloc[0]
        above = one["generated"] > one["real"]
        figure.add_annotation(x=one["real"], y=one["generated"], text=gene, showarrow=True, arrowhead=0, arrowwidth=0.7,
                              arrowcolor=AXIS, ax=-26 if above else 26, ay=-16 if above else 16, font={"size": 11},
                              xanchor="right" if above else "left")
    agree = pearson(table["real"].to_numpy(), table["generated"].to_numpy())
    figure.update_xaxes(title="mean in real cells (log1p)", range=[low, top])
    figure.update_yaxes(title="mean in generated cells (log1p)", range=[low, top])
    return frame(figure, height, title={"text": f"Pearson r {agree:.3f}" if np.isfinite(agree) else "", "x": 0.01,
                                        "font": {"size": 13}},
                 legend={"orientation": "h", "y": 1.01, "yanchor": "bottom", "x": 1, "xanchor": "right",
                         "itemsizing": "constant"})


def means_range(table: pd.DataFrame) -> tuple[float, float]:
    """Return the ends of both axes: a little below 0, or below the least mean where values may be negative."""
    values = table[["real", "generated"]].to_numpy(float)
    least, top = float(values.min(initial=0.0)), float(values.max(initial=0.1))
    margin = 0.05 * (top - least)
    return least - (margin if least < 0 else 0.02 * top), top + margin


def named_genes(table: pd.DataFrame, top: float, most: int = 8) -> list[str]:
    """Return the genes farthest from the line, leaving out those whose names would lie over another's."""
    order = table.reindex(table["difference"].abs().sort_values(ascending=False, kind="stable").index)
    chosen: list[tuple[str, float, float]] = []
    for gene, x, y in order[["gene", "real", "generated"]].itertuples(index=False):
        if abs(y - x) < 0.03 * top or len(chosen) == most:
            break
        if all(abs(y - b) > 0.05 * top or abs(x - a) > 0.2 * top for _, a, b in chosen):
            chosen.append((gene, x, y))
    return [c[0] for c in chosen]


def _colour_axis(title: str, height: int) -> dict[str, Any]:
    """Return the one colour scale of all panels, its bar at most 220 pixels high."""
    bar = {"title": {"text": title}, "thickness": 12, "len": min(1.0, 220 / height)}
    return {"colorscale": SEQUENTIAL, "cmin": 0, "colorbar": bar}


def _dense(x: Any) -> np.ndarray:
    return np.asarray(x.toarray() if sparse.issparse(x) else x, dtype=np.float32)


