"""Figures of what else changed in designed cells, and of what would move real cells there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scdiff_core.analysis.design.candidates import PART, THERE, Route
from scdiff_core.errors import ScdiffError
from scdiff_core.figures.base import AXIS, STAMP, frame, short_names
from scdiff_core.figures.palette import HIGHER, LOWER, OKABE_ITO, REAL
from scdiff_core.figures.paper import Size, new_figure, save_figure

ROW = 17  # pixels of a gene


def strongest(table: pd.DataFrame, most: int = 10, asked: bool = False) -> pd.DataFrame:
    """Return the genes that changed most surely besides those asked for, the most raised first.

    Parameters
    ----------
    table
        gene, log2fc, score (z of the rank-sum test), asked.
    asked
        With those that were asked for.

    Raises
    ------
    ScdiffError
        No gene is left.
    """
    some = table if asked or not len(table) else table[~table["asked"].astype(bool)]
    if not len(some):
        raise ScdiffError("There are no side effects to draw.", "No other gene changed.", "Nothing is to be done.")
    order = some.sort_values("score", key=lambda c: -c.abs(), kind="stable")
    kept = pd.concat([order[order["log2fc"] > 0].head(most), order[order["log2fc"] <= 0].head(most)])
    return kept.sort_values("log2fc", ascending=False, kind="stable").reset_index(drop=True)


def side_effects(table: pd.DataFrame, *, most: int = 10, asked: bool = False) -> go.Figure:
    """Return bars of the log2 fold changes of the genes of `strongest`; those asked for are hatched."""
    some = strongest(table, most, asked)
    rows = np.arange(len(some))
    wanted = some["asked"].to_numpy(bool)
    figure = go.Figure(go.Bar(
        x=some["log2fc"], y=rows, orientation="h",
        marker={"color": [HIGHER if v > 0 else LOWER for v in some["log2fc"]],
                "pattern": {"shape": ["/" if w else "" for w in wanted], "size": 5}},
        customdata=np.column_stack([some["gene"], [f"{p:.1e}" for p in some["pval_adj"]]]),
        hovertemplate="<b>%{customdata[0]}</b><br>log2 fold change %{x:.2f}, adjusted p %{customdata[1]}"
                      "<extra></extra>"))
    figure.add_vline(x=0, line={"color": AXIS, "width": 1})
    hatched = "; hatched: asked for" if wanted.any() else ""
    figure.update_xaxes(title=f"log2 fold change{hatched}<br><i>{STAMP}</i>")
    figure.update_yaxes(tickmode="array", tickvals=rows, ticktext=[f"<i>{g}</i>" for g in some["gene"]],
                        range=[len(rows) - 0.4, -0.6], showgrid=False, tickfont={"size": 11})
    return frame(figure, ROW * len(rows) + 100, bargap=0.25, showlegend=False,
                 margin={"l": 10, "r": 10, "t": 10, "b": 10})


def export_side_effects(table: pd.DataFrame, *, most: int = 10, asked: bool = False, fmt: str = "svg",
                        size: Size | None = None) -> bytes:
    """Return `side_effects` as a file."""
    some = strongest(table, most, asked)
    rows = np.arange(len(some))
    figure, axes = new_figure(3.6, 0.13 * len(rows) + 0.8)
    place = axes[0, 0]
    for i, (value, wanted) in enumerate(zip(some["log2fc"], some["asked"].astype(bool), strict=True)):
        place.barh(i, value, color=HIGHER if value > 0 else LOWER, height=0.75, hatch="///" if wanted else None)
    place.axvline(0, color="#777777", linewidth=0.6)
    place.set(yticks=rows, ylim=(len(rows) - 0.4, -0.6), xlabel="log2 fold change, designed against real cells")
    place.set_yticklabels(some["gene"], style="italic", fontsize=6.5)
    return save_figure(figure, fmt, True, size)


LOOKS = {THERE: (OKABE_ITO[2], "circle", "o"), PART: (OKABE_ITO[0], "diamond", "D")}  # colour and shape by the answer
OTHER = (REAL, "x", "x")


def _ways(rows: Sequence[Route], most: int) -> list[Route]:
    found = [r for r in rows if r.way is not None][:most]
    if not found:
        raise ScdiffError("There is nothing to draw.", "No candidate's cells were made.", "Rank fewer of them.")
    return found


def routes(rows: Sequence[Route], *, most: int = 15) -> go.Figure:
    """Return which share of the way to the designed cells each candidate is predicted to go, with 90 % intervals.

    Raises
    ------
    ScdiffError
        No candidate has a figure.
    """
    found = _ways(rows, most)
    names = short_names([r.name for r in found], 34)
    figure = go.Figure()
    for word in dict.fromkeys(r.word for r in found):
        colour, symbol, _ = LOOKS.get(word, OTHER)
        own = [(i, r) for i, r in enumerate(found) if r.word == word]
        x = np.array([r.way for _, r in own], float)
        low, high = (np.array([x_ if v is None else v for x_, v in zip(x, values, strict=True)], float) for values in (
            [r.way_low for _, r in own], [r.way_high for _, r in own]))
        figure.add_scatter(
            x=x, y=[i for i, _ in own], mode="markers", name=word or "not told",
            marker={"color": colour, "symbol": symbol, "size": 10},
            error_x={"type": "data", "symmetric": False, "array": np.maximum(high - x, 0),
                     "arrayminus": np.maximum(x - low, 0), "thickness": 1.5, "width": 4},
            customdata=np.column_stack([[r.name for _, r in own], low.round(2), high.round(2)]),
            hovertemplate="<b>%{customdata[0]}</b><br>%{x:.2f} of the way (%{customdata[1]} to %{customdata[2]})"
                          "<extra></extra>")
    figure.add_vline(x=0, line={"color": AXIS, "width": 1})
    figure.add_vline(x=1, line={"color": AXIS, "width": 1, "dash": "dot"})
    figure.update_xaxes(title=f"share of the way (0: as they are, 1: the designed cells)<br><i>{STAMP}</i>")
    figure.update_yaxes(tickmode="array", tickvals=list(range(len(found))), ticktext=[names[r.name] for r in found],
                        range=[len(found) - 0.4, -0.6], showgrid=False, tickfont={"size": 11})
    return frame(figure, 24 * len(found) + 130, legend={"orientation": "h", "y": 1.01, "yanchor": "bottom", "x": 0})


def export_routes(rows: Sequence[Route], *, most: int = 15, fmt: str = "svg", size: Size | None = None) -> bytes:
    """Return `routes` as a file."""
    found = _ways(rows, most)
    figure, axes = new_figure(3.8, 0.17 * len(found) + 1.0)
    place = axes[0, 0]
    said = set()
    for i, r in enumerate(found):
        colour, _, marker = LOOKS.get(r.word, OTHER)
        way = float(r.way or 0.0)
        low, high = (way if v is None else v for v in (r.way_low, r.way_high))
        place.errorbar(way, i, xerr=[[max(way - low, 0)], [max(high - way, 0)]], fmt=marker, color=colour, markersize=4,
                       elinewidth=0.8, capsize=1.6, label=None if r.word in said else r.word or "not told")
        said.add(r.word)
    place.axvline(0, color="#777777", linewidth=0.6)
    place.axvline(1, color="#777777", linewidth=0.6, linestyle=":")
    place.set(yticks=range(len(found)), ylim=(len(found) - 0.4, -0.6), xlabel="share of the way to the designed cells")
    names = short_names([r.name for r in found], 34)
    place.set_yticklabels([names[r.name] for r in found], fontsize=6.5)
    place.legend(loc="lower left", bbox_to_anchor=(0, 1.0), fontsize=6, ncols=2)
    return save_figure(figure, fmt, True, size)
