"""Marker genes of one or two sets of cells: dot plot, matrix plot, and mean against mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from scdiff_core.analysis.metrics import pearson
from scdiff_core.figures.base import AXIS, GAP, KINDS, Kind, frame, short_names
from scdiff_core.figures.palette import GENERATED, REAL, stops
from scdiff_core.figures.tables import groups_of, panel_matrix, scaled_means

SIDE_BY_SIDE = 14  # more genes than this, and the panels stand one above the other
DOT = 15  # diameter in pixels of a dot for all cells
WIDE = 720  # pixels that the genes of one panel may take at the least


def dot_plot(real: pd.DataFrame, generated: pd.DataFrame | None = None, genes: Sequence[str] | None = None,
             groups: Sequence[str] | None = None, *, kinds: Sequence[Kind] = KINDS, scaled: bool = False,
             colour_map: str | None = None) -> go.Figure:
    """Return dots of gene by group: the size says how many cells express, the colour how much (log1p).

    `real` and `generated` are tables of `markers.mean_fraction` (fraction 0 to 1) of the two `kinds`; each has
    a panel of its own, with one colour scale. `scaled` colours by the mean between the least and the
    largest of the gene. At most 14 genes stand side by side, more one above the other.
    """
    figure, panels, genes, groups, height = _panels(real, generated, genes, groups, kinds)
    names = short_names(groups)
    column = "scaled" if scaled else "mean"
    largest = min(DOT, WIDE / max(1, len(genes)))
    for (kind, table), (row, col) in panels:
        shown = table[table["gene"].isin(genes) & table["group"].isin(groups)]
        figure.add_scatter(
            x=shown["gene"], y=shown["group"].map(names), mode="markers", row=row, col=col, showlegend=False,
            marker={"size": largest * np.sqrt(shown["fraction"]), "color": shown[column], "coloraxis": "coloraxis",
                    "line": {"width": 0.6, "color": AXIS}, "opacity": 1},
            customdata=np.column_stack([shown["fraction"] * 100, shown["group"], shown["n"], shown["mean"]]),
            hovertemplate="%{customdata[1]}, %{x}<br>mean %{customdata[3]:.2f} (log1p)<br>"
                          "%{customdata[0]:.0f} % of %{customdata[2]:,} cells express it<extra>" + kind.words
                          + "</extra>")
    for share in (0.25, 0.5, 1.0):
        figure.add_scatter(x=[None], y=[None], mode="markers", name=f"{share:.0%} of cells",
                           marker={"size": largest * np.sqrt(share), "color": "rgba(0,0,0,0)",
                                   "line": {"width": 1, "color": AXIS}})
    figure.update_xaxes(categoryorder="array", categoryarray=genes, range=[-0.6, len(genes) - 0.4],
                        tickmode="array", tickvals=genes)
    figure.update_yaxes(categoryorder="array", categoryarray=[names[g] for g in groups][::-1],
                        range=[-0.7, len(groups) - 0.3])
    return frame(figure, height, legend={"orientation": "h", "y": 1, "yanchor": "top", "yref": "container", "x": 1,
                                         "xanchor": "right", "itemsizing": "trace"},
                 margin={"l": 10, "r": 10, "t": 64, "b": 10}, coloraxis=mean_axis(height, scaled, colour_map))


def matrix_plot(real: pd.DataFrame, generated: pd.DataFrame | None = None, genes: Sequence[str] | None = None,
                groups: Sequence[str] | None = None, *, kinds: Sequence[Kind] = KINDS, scaled: bool = False,
                colour_map: str | None = None) -> go.Figure:
    """Return the mean (log1p) of each gene in each group as coloured squares; arguments as of `dot_plot`.

    A group without cells stays empty.
    """
    figure, panels, genes, groups, height = _panels(real, generated, genes, groups, kinds)
    names = short_names(groups)
    for (kind, table), (row, col) in panels:
        share = panel_matrix(table, genes, groups, "fraction") * 100
        figure.add_heatmap(
            z=panel_matrix(table, genes, groups, "scaled" if scaled else "mean"), x=list(genes),
            y=[names[g] for g in groups], coloraxis="coloraxis", xgap=1, ygap=1, hoverongaps=False, row=row, col=col,
            customdata=np.dstack([panel_matrix(table, genes, groups, "mean"), share]),
            hovertemplate="%{y}, %{x}<br>mean %{customdata[0]:.2f} (log1p)<br>%{customdata[1]:.0f} % of the cells "
                          "express it<extra>" + kind.words + "</extra>")
    figure.update_xaxes(showgrid=False, tickmode="array", tickvals=list(range(len(genes))), ticktext=genes)
    figure.update_yaxes(showgrid=False, autorange="reversed", tickmode="array", tickvals=list(range(len(groups))),
                        ticktext=[names[g] for g in groups])
    return frame(figure, height, coloraxis=mean_axis(height, scaled, colour_map))


def _panels(real: pd.DataFrame, generated: pd.DataFrame | None, genes: Sequence[str] | None,
            groups: Sequence[str] | None, kinds: Sequence[Kind]) -> Any:
    """Return an empty figure, its panels with their places, the genes, the groups, and its height."""
    genes = list(genes) if genes is not None else list(dict.fromkeys(real["gene"]))
    groups = list(groups) if groups is not None else groups_of(real, generated)
    tables = list(zip(kinds, scaled_means(real, generated), strict=False))
    beside = len(tables) == 2 and len(genes) <= SIDE_BY_SIDE
    rows, cols = (1, len(tables)) if beside else (len(tables), 1)
    height = (21 * len(groups) + GAP) * rows + 130
    figure = make_subplots(rows, cols, shared_yaxes=beside, shared_xaxes=not beside,
                           subplot_titles=[kind.words for kind, _ in tables], horizontal_spacing=0.02,
                           vertical_spacing=GAP / height if rows > 1 else 0)
    small = WIDE / max(1, len(genes)) < 16
    figure.update_xaxes(tickangle=-90 if small else -60, tickfont={"size": 9 if small else 12})
    places = [(1, i + 1) if beside else (i + 1, 1) for i in range(len(tables))]
    return figure, list(zip(tables, places, strict=True)), genes, groups, height


def mean_vs_mean(table: pd.DataFrame, highlight: Sequence[str] = (), height: int = 460, *,
                 kinds: Sequence[Kind] = KINDS) -> go.Figure:
    """Return each gene's mean in generated against real cells (log1p), equal means on the line.

    The first of `kinds` lies on x (column `real` of the table), the second on y. `table` is of
    `tables.mean_table`; `highlight` names the genes drawn as diamonds (markers). Of those, and of all genes, the
    ones farthest from the line have their names written.
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
                                 text=part["gene"], hovertemplate=f"%{{text}}<br>{kinds[0].words} %{{x:.2f}}, "
                                                                  f"{kinds[1].words} %{{y:.2f}}<extra></extra>")
    for gene in named_genes(table, top - low):
        one = table[table["gene"] == gene].iloc[0]
        above = one["generated"] > one["real"]
        figure.add_annotation(x=one["real"], y=one["generated"], text=gene, showarrow=True, arrowhead=0, arrowwidth=0.7,
                              arrowcolor=AXIS, ax=-26 if above else 26, ay=-16 if above else 16, font={"size": 11},
                              xanchor="right" if above else "left")
    agree = pearson(table["real"].to_numpy(), table["generated"].to_numpy())
    figure.update_xaxes(title=mean_title(kinds[0], "log1p"), range=[low, top])
    figure.update_yaxes(title=mean_title(kinds[1], "log1p"), range=[low, top])
    return frame(figure, height, title={"text": f"Pearson r {agree:.3f}" if np.isfinite(agree) else "", "x": 0.01,
                                        "font": {"size": 13}},
                 legend={"orientation": "h", "y": 1.01, "yanchor": "bottom", "x": 1, "xanchor": "right",
                         "itemsizing": "constant"})


def mean_title(kind: Kind, unit: str) -> str:
    """Return the title of an axis of means: the stamp says the rest of generated ones."""
    return f"mean in {kind.words.removesuffix(' (synthetic)')} cells ({unit})"


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


def mean_axis(height: int, scaled: bool = False, colour_map: str | None = None) -> dict[str, Any]:
    """Return the one colour scale of means for all panels; scaled ones run from 0 to 1."""
    title = "mean,<br>0 to 1<br>by gene" if scaled else "mean<br>log1p"
    return colour_axis(title, height, colour_map) | ({"cmax": 1} if scaled else {})


def colour_axis(title: str, height: int, colour_map: str | None = None) -> dict[str, Any]:
    """Return the one colour scale of all panels, from 0 on, its bar at most 220 pixels high."""
    bar = {"title": {"text": title}, "thickness": 12, "len": min(1.0, 220 / height)}
    return {"colorscale": stops(colour_map), "cmin": 0, "colorbar": bar}
