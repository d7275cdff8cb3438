"""Many perturbations at once: a heat map of their effects, a map of them, the genes of a pair that do not add up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scdiff_core.errors import ScdiffError
from scdiff_core.figures.base import AXIS, STAMP, frame, short_names
from scdiff_core.figures.labels import Label, place_labels
from scdiff_core.figures.order import order_by_clustering
from scdiff_core.figures.palette import DIVERGING, HIGHER, LOWER, REAL, matplotlib_map, stops
from scdiff_core.figures.paper import Size, new_figure, save_figure

SCREEN = (620, 400)  # pixels of the plot in which labels are placed
KINDS = {"synergy": (HIGHER, "triangle-up", "^"), "buffering": (LOWER, "triangle-down", "v"),
         "opposite": ("#CC79A7", "x", "x"), "additive": (REAL, "circle", "o")}


def top_genes(effects: pd.DataFrame, most: int = 40) -> list[str]:
    """Return the genes [columns] with the largest absolute change in any of the perturbations [rows], each in turn."""
    sizes = effects.abs().fillna(0.0)
    turns = [row.sort_values(ascending=False, kind="stable").index.astype(str).tolist() for _, row in sizes.iterrows()]
    mixed = dict.fromkeys(gene for rank in zip(*turns, strict=True) for gene in rank)
    return list(mixed)[:most]


def effect_heat(effects: pd.DataFrame, *, genes: Sequence[str] | None = None, most: int = 40, clustered: bool = True,
                value: str = "log2 fold change", reach: float | None = None) -> go.Figure:
    """Return perturbations by genes as coloured squares, blue lowered, red raised.

    Parameters
    ----------
    effects
        Values [perturbations, genes]; missing ones stay empty.
    genes
        Which genes (columns); left out, those that change most.
    clustered
        Put perturbations and genes that are alike beside one another.
    reach
        The value at which the colours end; left out, the 99th percentile of what is drawn.
    """
    shown, limit = heat_table(effects, genes, most, clustered, reach)
    short = short_names(shown.index.astype(str).tolist(), 26)
    figure = go.Figure(go.Heatmap(
        z=shown.to_numpy(float), x=shown.columns.astype(str).tolist(), y=[short[str(n)] for n in shown.index],
        colorscale=stops(DIVERGING), zmin=-limit, zmax=limit, hoverongaps=False, xgap=0.5, ygap=0.5,
        colorbar={"title": {"text": value.replace(" change", "<br>change")}, "thickness": 12, "len": 1.0},
        hovertemplate="%{y}, <b>%{x}</b><br>" + value + " %{z:.2f}<extra>predicted</extra>"))
    many = shown.shape[1] > 60
    figure.update_xaxes(showgrid=False, tickangle=-90, tickfont={"size": 8 if many else 10}, tickmode="array",
                        tickvals=shown.columns.astype(str).tolist(), title=f"<i>{STAMP}</i>")
    figure.update_yaxes(showgrid=False, autorange="reversed", tickfont={"size": 10}, tickmode="array",
                        tickvals=[short[str(n)] for n in shown.index])
    return frame(figure, int(np.clip(18 * len(shown) + 150, 230, 1200)))


def heat_table(effects: pd.DataFrame, genes: Sequence[str] | None = None, most: int = 40, clustered: bool = True,
               reach: float | None = None) -> tuple[pd.DataFrame, float]:
    """Return the values that `effect_heat` draws, in its order, and where its colours end."""
    if effects.empty:
        raise ScdiffError("The effects cannot be drawn.", "There is no perturbation to show.", "Choose some.")
    columns = [g for g in genes if g in effects.columns] if genes is not None else top_genes(effects, most)
    if not columns:
        raise ScdiffError("The effects cannot be drawn.", "None of these genes is in the data.", "Choose other genes.")
    shown = effects[columns]
    if clustered:
        shown = shown.loc[order_by_clustering(shown), order_by_clustering(shown.T)]
    values = np.abs(shown.to_numpy(float))
    values = values[np.isfinite(values)]
    found = float(np.quantile(values, 0.99)) if values.size else 1.0
    return shown, reach or max(found, 0.1)


def export_effect_heat(effects: pd.DataFrame, *, genes: Sequence[str] | None = None, most: int = 40,
                       clustered: bool = True, value: str = "log2 fold change", reach: float | None = None,
                       fmt: str = "svg", size: Size | None = None) -> bytes:
    """Return `effect_heat` as a file; arguments as there."""
    shown, limit = heat_table(effects, genes, most, clustered, reach)
    figure, axes = new_figure(0.115 * shown.shape[1] + 2.0, 0.14 * len(shown) + 1.3)
    place = axes[0, 0]
    mesh = place.pcolormesh(np.ma.masked_invalid(shown.to_numpy(float)), cmap=matplotlib_map(DIVERGING), vmin=-limit,
                            vmax=limit, linewidth=0, rasterized=shown.size > 4000)
    short = short_names(shown.index.astype(str).tolist(), 30)
    place.set(xticks=np.arange(shown.shape[1]) + 0.5, yticks=np.arange(len(shown)) + 0.5)
    place.set_xticklabels(shown.columns.astype(str), rotation=90, fontsize=6, style="italic")
    place.set_yticklabels([short[str(n)] for n in shown.index], fontsize=6.5)
    place.invert_yaxis()
    place.tick_params(length=0)
    figure.colorbar(mesh, ax=place, label=value, shrink=0.8, aspect=18)
    return save_figure(figure, fmt, True, size)


def perturbation_map(xy: np.ndarray, names: Sequence[str], values: np.ndarray, *, value: str = "strength",
                     measured: np.ndarray | None = None, chosen: str = "", label: int = 24,
                     height: int = 480) -> go.Figure:
    """Return perturbations as points [P, 2] that lie near one another where their predicted effects are alike.

    Parameters
    ----------
    values
        What colours them [P], such as the strength of the effect.
    measured
        Which of them the data has [P]: dots; the others are diamonds.
    chosen
        One that is ringed.
    label
        How many names at most, the largest values first.
    """
    xy, values, seen = _checked_map(xy, names, values, measured)
    figure = go.Figure()
    high = float(np.nanmax(values)) if np.isfinite(values).any() else 1.0
    for these, words, symbol in ((seen, "in the training data", "circle"), (~seen, "never trained on", "diamond")):
        if these.any():
            figure.add_scatter(
                x=xy[these, 0], y=xy[these, 1], mode="markers", name=words, text=np.asarray(names, object)[these],
                showlegend=False,  # its own colours are no colour of a legend
                marker={"symbol": symbol, "size": 10, "color": values[these], "coloraxis": "coloraxis",
                        "line": {"width": 0.7, "color": AXIS}}, customdata=values[these],
                hovertemplate="<b>%{text}</b><br>" + value + " %{customdata:.2f}<extra>" + words + "</extra>")
            figure.add_scatter(x=[None], y=[None], mode="markers", name=words, hoverinfo="skip",
                               marker={"symbol": symbol, "size": 10, "color": REAL})
    if chosen in list(names):
        at = list(names).index(chosen)
        figure.add_scatter(x=[xy[at, 0]], y=[xy[at, 1]], mode="markers", hoverinfo="skip", showlegend=False,
                           marker={"symbol": "circle-open", "size": 20, "color": AXIS, "line": {"width": 2.5}})
    for one in _names(xy, names, values, label, *SCREEN, 11):
        figure.add_annotation(x=xy[one.row, 0], y=xy[one.row, 1], text=one.text, ax=one.dx, ay=one.dy, arrowhead=0,
                              arrowwidth=0.6, arrowcolor=AXIS, font={"size": 11}, standoff=4, xanchor=one.anchor,
                              yanchor="middle")
    figure.update_xaxes(showticklabels=False, showgrid=False, title=f"alike in what they do<br><i>{STAMP}</i>",
                        range=_range(xy[:, 0]))
    figure.update_yaxes(showticklabels=False, showgrid=False, range=_range(xy[:, 1]))
    return frame(figure, height, coloraxis={"colorscale": stops(), "cmin": 0.0, "cmax": high, "colorbar": {
        "title": {"text": value}, "thickness": 12, "len": 0.8}},
        legend={"orientation": "h", "y": 1.01, "yanchor": "bottom", "x": 0})


def export_perturbation_map(xy: np.ndarray, names: Sequence[str], values: np.ndarray, *, value: str = "strength",
                            measured: np.ndarray | None = None, chosen: str = "", label: int = 24, fmt: str = "svg",
                            size: Size | None = None) -> bytes:
    """Return `perturbation_map` as a file; arguments as there."""
    xy, values, seen = _checked_map(xy, names, values, measured)
    natural = (5.0, 4.2)
    width, height = size.inches(natural) if size else natural
    figure, axes = new_figure(*natural)
    place = axes[0, 0]
    high = float(np.nanmax(values)) if np.isfinite(values).any() else 1.0
    points = None
    for these, words, marker in ((seen, "in the training data", "o"), (~seen, "never trained on", "D")):
        if these.any():
            points = place.scatter(xy[these, 0], xy[these, 1], c=values[these], cmap=matplotlib_map(), vmin=0,
                                   vmax=high, s=22, marker=marker, linewidths=0.4, edgecolors="#444444", label=words)
    if chosen in list(names):
        at = list(names).index(chosen)
        place.scatter(xy[at, 0], xy[at, 1], s=80, facecolors="none", edgecolors="#222222", linewidths=1.2)
    for one in _names(xy, names, values, label, width * 72 * 0.8, height * 72 * 0.8, 6.5):
        place.annotate(one.text, xy[one.row], xytext=(one.dx, -one.dy), textcoords="offset points", fontsize=6.5,
                       ha=one.anchor, va="center", arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": "#777777"})
    place.set(xticks=[], yticks=[], xlabel="alike in what they do", xlim=_range(xy[:, 0]), ylim=_range(xy[:, 1]))
    if points is not None:
        figure.colorbar(points, ax=place, label=value, shrink=0.7, aspect=20)
    place.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, fontsize=6.5)
    return save_figure(figure, fmt, True, size)


def _checked_map(xy: Any, names: Sequence[str], values: Any,
                 measured: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    xy, values = np.asarray(xy, float).reshape(-1, 2), np.asarray(values, float)
    seen = np.ones(len(xy), bool) if measured is None else np.asarray(measured, bool)
    if not len(xy) or not len(xy) == len(names) == len(values) == len(seen):
        raise ScdiffError("The map of perturbations cannot be drawn.",
                          f"There are {len(xy)} places, {len(names)} names, {len(values)} values.",
                          "Screen at least one perturbation.")
    return xy, values, seen


def _range(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = 0.08 * (high - low) or 0.5
    return low - margin, high + margin


def _names(xy: np.ndarray, names: Sequence[str], values: np.ndarray, label: int, width: float, height: float,
           font: float) -> list[Label]:
    (x0, x1), (y0, y1) = _range(xy[:, 0]), _range(xy[:, 1])
    places = np.column_stack([(xy[:, 0] - x0) / (x1 - x0) * width, (y1 - xy[:, 1]) / (y1 - y0) * height])
    order = np.argsort(-np.nan_to_num(values), kind="stable")[: 2 * label]
    return place_labels([str(names[i]) for i in order], places[order, 0], places[order, 1], order.tolist(), width,
                        height, font, label, places)


def synergy(table: pd.DataFrame, *, names: tuple[str, str] = ("A", "B"), label: int = 14,
            height: int = 460) -> go.Figure:
    """Return each gene's change by a pair against the sum of its two singles; what lies off the line does not add up.

    Parameters
    ----------
    table
        gene, additive (sum of the two changes of the log1p mean), predicted (of the pair), kind (synergy, buffering,
        opposite, additive).
    """
    table, limit = _checked_pair(table)
    figure = go.Figure()
    figure.add_scatter(x=[-limit, limit], y=[-limit, limit], mode="lines", hoverinfo="skip", showlegend=False,
                       line={"color": AXIS, "dash": "dash", "width": 1})
    for kind in ("additive", "buffering", "synergy", "opposite"):
        part = table[table["kind"] == kind]
        if len(part):
            colour, symbol, _ = KINDS[kind]
            figure.add_scatter(x=part["additive"], y=part["predicted"], mode="markers", name=f"{kind} ({len(part):,})",
                               text=part["gene"], marker={"color": colour, "symbol": symbol, "opacity": 0.85,
                                                          "size": 5 if kind == "additive" else 9},
                               hovertemplate="<b>%{text}</b><br>sum of singles %{x:.2f}, pair %{y:.2f}<extra>" + kind
                                             + "</extra>")
    for one in _pair_names(table, limit, label, *SCREEN, 11):
        row = table.iloc[one.row]
        figure.add_annotation(x=row["additive"], y=row["predicted"], text=f"<i>{one.text}</i>", ax=one.dx, ay=one.dy,
                              arrowhead=0, arrowwidth=0.6, arrowcolor=AXIS, font={"size": 11}, standoff=3,
                              xanchor=one.anchor, yanchor="middle")
    figure.update_xaxes(title=f"{names[0]} + {names[1]}, added up (change, log1p)<br><i>{STAMP}</i>",
                        range=[-limit, limit])
    figure.update_yaxes(title="the pair (change, log1p)", range=[-limit, limit])
    return frame(figure, height, legend={"orientation": "h", "y": 1.01, "yanchor": "bottom", "x": 0})


def export_synergy(table: pd.DataFrame, *, names: tuple[str, str] = ("A", "B"), label: int = 14, fmt: str = "svg",
                   size: Size | None = None) -> bytes:
    """Return `synergy` as a file; arguments as there."""
    table, limit = _checked_pair(table)
    natural = (4.4, 4.2)
    width, height = size.inches(natural) if size else natural
    figure, axes = new_figure(*natural)
    place = axes[0, 0]
    place.plot([-limit, limit], [-limit, limit], linestyle="--", color="#777777", linewidth=0.7)
    for kind in ("additive", "buffering", "synergy", "opposite"):
        part = table[table["kind"] == kind]
        if len(part):
            colour, _, marker = KINDS[kind]
            place.scatter(part["additive"], part["predicted"], s=6 if kind == "additive" else 18, color=colour,
                          marker=marker, linewidths=0.8 if marker == "x" else 0, alpha=0.85,
                          label=f"{kind} ({len(part):,})")
    for one in _pair_names(table, limit, label, width * 72 * 0.8, height * 72 * 0.8, 6.5):
        row = table.iloc[one.row]
        place.annotate(one.text, (row["additive"], row["predicted"]), xytext=(one.dx, -one.dy), fontsize=6.5,
                       textcoords="offset points", style="italic", ha=one.anchor, va="center",
                       arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": "#777777"})
    place.set(xlabel=f"{names[0]} + {names[1]}, added up (change, log1p)", ylabel="the pair (change, log1p)",
              xlim=(-limit, limit), ylim=(-limit, limit))
    place.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, fontsize=6.5)
    return save_figure(figure, fmt, True, size)


def _checked_pair(table: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    lacking = [c for c in ("gene", "additive", "predicted", "kind") if c not in table]
    found: pd.DataFrame = table
    if not lacking:
        found = table.loc[np.isfinite(table[["additive", "predicted"]].to_numpy(float)).all(axis=1)]
    if lacking or not len(found):
        raise ScdiffError("The pair cannot be drawn.", f"The table has no column {', '.join(lacking)}." if lacking
                          else "No gene has a predicted change.", "Screen the pair again.")
    limit = 1.08 * float(np.abs(found[["additive", "predicted"]].to_numpy(float)).max())
    return found.reset_index(drop=True), max(limit, 0.1)


def _pair_names(table: pd.DataFrame, limit: float, label: int, width: float, height: float, font: float) -> list[Label]:
    off = (table["predicted"] - table["additive"]).abs().where(table["kind"] != "additive", -1.0)
    rows = [i for i in np.argsort(-off.to_numpy(float), kind="stable")[: 2 * label] if off.iloc[i] > 0]
    x = (table["additive"].to_numpy(float) + limit) / (2 * limit) * width
    y = (limit - table["predicted"].to_numpy(float)) / (2 * limit) * height
    return place_labels([str(table["gene"].iloc[i]) for i in rows], x[rows], y[rows], rows, width, height, font, label,
                        np.column_stack([x, y]))
