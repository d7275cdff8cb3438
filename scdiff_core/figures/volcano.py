"""A volcano of a differential expression: fold change against p value, the best genes named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scdiff_core.errors import ScdiffError
from scdiff_core.figures.base import AXIS, STAMP, Kind, frame, short
from scdiff_core.figures.labels import Label, place_labels
from scdiff_core.figures.palette import HIGHER, LOWER, REAL
from scdiff_core.figures.paper import RASTER, Size, new_figure, save_figure

MADE = ("generated", "synthetic")
TINIEST = 1e-300
ONE_SIDED = 15.0  # a larger fold change is that of a gene which one side lacks
SHAPES = {"up": ("triangle-up", "^"), "down": ("triangle-down", "v"), "not": ("circle", "o")}
COLOURS = {"up": HIGHER, "down": LOWER, "not": REAL}
SVG_POINTS = 1_500  # more genes than this are drawn by WebGL
SCREEN = (640, 380)  # pixels of the plot in which labels are placed; a wider page only parts them
ZERO = "p = 0: smaller than can be computed"
NEEDED = ("gene", "log2fc", "pval_adj")


@dataclass(frozen=True)
class Volcano:
    """Where the genes stand: one row each with x, y, side, capped and zero, and the ends of both axes.

    `reach` is the largest fold change drawn where it is; farther genes stand at it (`capped`). `floor` is where
    genes with p = 0, which is smaller than a computer's numbers go, are drawn (`zero`); None without any.
    """

    points: pd.DataFrame
    reach: float
    floor: float | None
    top: float


def arrange(table: pd.DataFrame, fold: float, alpha: float) -> Volcano:
    """Return where each gene of a table of `differential.compare` stands on a volcano.

    Raises
    ------
    ScdiffError
        A column is missing, or no gene has a fold change and a p value.
    """
    lacking = [c for c in NEEDED if c not in table.columns]
    points = table if lacking else table[np.isfinite(table[["log2fc", "pval_adj"]].astype(float)).all(axis=1)]
    if lacking or not len(points):
        raise ScdiffError("The volcano cannot be drawn.",
                          f"The table has no column {', '.join(lacking)}." if lacking else
                          "No gene has a fold change and a p value.",
                          "Compare two groups of at least three cells each.")
    change, p = points["log2fc"].to_numpy(float), points["pval_adj"].to_numpy(float)
    zero = p <= 0
    y = -np.log10(np.where(zero, 1.0, np.minimum(p, 1.0)))
    best = max(float(y.max()), threshold(alpha) * 1.2)
    floor = best * 1.06 + 1 if zero.any() else None
    y = np.where(zero, floor or 0.0, y)
    # a gene that one side lacks has a fold change of 20 or more: it would press all others together
    both = np.abs(change) < ONE_SIDED
    if {"frac_a", "frac_b"} <= set(points.columns):
        both = (points["frac_a"] > 0).to_numpy() & (points["frac_b"] > 0).to_numpy()
    near = np.abs(change[both]) if both.any() else np.abs(change)
    usual = float(np.quantile(near, 0.998)) if len(near) > 20 else float(near.max())
    reach = max(usual * 1.1, 1.6 * fold, 1.0)
    side = np.select([(p <= alpha) & (change >= fold), (p <= alpha) & (change <= -fold)], ["up", "down"], "not")
    side = np.where(change == 0, "not", side)
    placed = points.assign(x=np.clip(change, -reach, reach), y=y, side=side, capped=np.abs(change) > reach, zero=zero)
    return Volcano(placed.reset_index(drop=True), reach, floor, (floor or best) * (1.08 if floor is None else 1.14))


def threshold(alpha: float) -> float:
    """Return the height of the line at an adjusted p value; of p = 0, that of the smallest number there is."""
    return -float(np.log10(np.clip(alpha, TINIEST, 1.0)))


def sides(names: Sequence[str], synthetic: Sequence[bool] | None) -> tuple[str, str, bool]:
    """Return what the two sides are called, and whether one of them was generated.

    Where `synthetic` is not given, a name that says "generated" or "synthetic" tells.
    """
    made = synthetic if synthetic is not None else [any(w in n.lower() for w in MADE) for n in names]
    a, b = (Kind.of(n, s).words for n, s in zip(names, made, strict=True))
    return a, b, any(made)


def best_genes(points: pd.DataFrame, label: int) -> list[int]:
    """Return the rows of the genes worth a name, best first, the two sides in turn.

    Smallest p first, then the largest score (or fold change).
    """
    strength = points["score"].abs() if "score" in points else points["log2fc"].abs()
    order = points.assign(strength=strength).sort_values(["y", "strength"], ascending=False, kind="stable")
    of_side = [order.index[order["side"] == s].tolist()[: max(label, 0)] for s in ("up", "down")]
    turns = [row for pair in zip(*(s + [-1] * (label - len(s)) for s in of_side), strict=True) for row in pair]
    return [row for row in turns if row >= 0]


def names_of(v: Volcano, label: int, width: float, height: float, font: float) -> list[Label]:
    """Return the names to write on a plot of so many pixels (or points), at most `label`, none over another."""
    rows = best_genes(v.points, label)
    x = (v.points["x"].to_numpy()[rows] / v.reach + 1.06) / 2.12 * width
    y = height - v.points["y"].to_numpy()[rows] / v.top * height
    strong = v.points[v.points["side"] != "not"]
    points = np.column_stack([(strong["x"] / v.reach + 1.06) / 2.12 * width, height - strong["y"] / v.top * height])
    line = height * (1 - (v.floor or 0.0) / v.top)
    said = (width - 0.55 * font * len(ZERO), line - 2 * font, width, line)
    return place_labels(list(v.points["gene"].iloc[rows]), x, y, rows, width, height, font, label, points,
                        [said] if v.floor is not None else [])


def volcano(table: pd.DataFrame, *, fold: float = 1.0, alpha: float = 0.05, label: int = 12,
            names: Sequence[str] = ("a", "b"), synthetic: Sequence[bool] | None = None,
            height: int = 520) -> go.Figure:
    """Return fold change against adjusted p of each gene, with lines at the thresholds and the best genes named.

    Parameters
    ----------
    table
        Of `differential.compare(a, b)`: gene, log2fc (positive: higher in a), pval_adj; and, for the hover,
        score, mean_a, mean_b (log1p), frac_a, frac_b (0 to 1).
    fold, alpha
        Thresholds of |log2 fold change| and of the adjusted p value.
    label
        How many names at most; fewer where they would lie over one another.
    names, synthetic
        What the sides a and b are called, and which of them were generated (None: as the names say).
    """
    v = arrange(table, fold, alpha)
    a, b, made = sides(names, synthetic)
    figure = go.Figure()
    add = figure.add_scattergl if len(v.points) > SVG_POINTS else figure.add_scatter
    for side in ("not", "down", "up"):
        part = v.points[v.points["side"] == side]
        words = {"up": f"higher in {a}", "down": f"higher in {b}", "not": "neither"}[side]
        add(x=part["x"], y=part["y"], mode="markers", name=words, text=_hover(part, a, b), showlegend=False,
            marker={"symbol": SHAPES[side][0], "color": COLOURS[side], "size": 5 if side == "not" else 8,
                    "opacity": 0.45 if side == "not" else 0.85}, hovertemplate="%{text}<extra></extra>")
    line = {"color": AXIS, "dash": "dash", "width": 1}
    for at in ((-fold, fold) if fold > 0 else (0.0,)):
        figure.add_vline(x=at, line=line)
    figure.add_hline(y=threshold(alpha), line=line)
    if v.floor is not None:
        figure.add_hline(y=v.floor, line={**line, "dash": "dot"}, annotation={
            "text": ZERO, "font": {"size": 10}, "xanchor": "right",
            "yanchor": "bottom", "yshift": 5})
    for one in names_of(v, label, *SCREEN, 11):
        row = v.points.iloc[one.row]
        figure.add_annotation(x=row["x"], y=row["y"], text=f"<i>{one.text}</i>", ax=one.dx, ay=one.dy, arrowhead=0,
                              arrowwidth=0.7, arrowcolor=AXIS, font={"size": 11}, showarrow=True, standoff=3,
                              xanchor=one.anchor, yanchor="middle")
    under = f"<br><i>{STAMP}</i>" if made else ""
    figure.update_xaxes(title=_fold_title(v) + under, range=[-1.06 * v.reach, 1.06 * v.reach])
    figure.update_yaxes(title="−log10 adjusted p", range=[-0.02 * v.top, v.top])
    n = v.points["side"].value_counts()
    for name, side, x, words in ((b, "down", 0.0, "▼ ← higher in {}<br>{:,} genes"),
                                 (a, "up", 1.0, "higher in {} → ▲<br>{:,} genes")):
        anchor = "left" if x == 0 else "right"
        figure.add_annotation(x=x, y=1.01, xref="paper", yref="paper", xanchor=anchor, yanchor="bottom", align=anchor,
                              showarrow=False, font={"size": 13, "color": COLOURS[side]},
                              text="<b>" + words.format(short(name, 40), int(n.get(side, 0))) + "</b>")
    return frame(figure, height, margin={"l": 10, "r": 10, "t": 56, "b": 10}, hovermode="closest")


def _fold_title(v: Volcano) -> str:
    return "log2 fold change" + (f" (beyond ±{v.reach:.1f}: at the edge)" if v.points["capped"].any() else "")


def _hover(part: pd.DataFrame, a: str, b: str) -> list[str]:
    """Return what the pointer tells of each gene."""
    said = []
    for row in part.to_dict("records"):
        p = "p = 0" if row["zero"] else f"p = {row['pval_adj']:.2g}"
        words = f"<b>{row['gene']}</b><br>log2 fold change {row['log2fc']:.2f}<br>adjusted {p}"
        for name, side in ((a, "a"), (b, "b")):
            if f"mean_{side}" in row and f"frac_{side}" in row:
                words += (f"<br>{short(name, 24)}: mean {row[f'mean_{side}']:.2f}, "
                          f"{row[f'frac_{side}']:.0%} of cells")
        said.append(words)
    return said


def export_volcano(table: pd.DataFrame, *, fold: float = 1.0, alpha: float = 0.05, label: int = 12,
                   names: Sequence[str] = ("a", "b"), synthetic: Sequence[bool] | None = None, fmt: str = "svg",
                   size: Size | None = None) -> bytes:
    """Return `volcano` as a file; arguments as there, `fmt` and `size` as of every figure for a paper."""
    v = arrange(table, fold, alpha)
    a, b, made = sides(names, synthetic)
    natural = (4.6, 4.0)
    width, height = size.inches(natural) if size else natural
    figure, axes = new_figure(*natural)
    place = axes[0, 0]
    for side in ("not", "down", "up"):
        part = v.points[v.points["side"] == side]
        place.scatter(part["x"], part["y"], s=6 if side == "not" else 16, marker=SHAPES[side][1], color=COLOURS[side],
                      alpha=0.5 if side == "not" else 0.85, linewidths=0,
                      rasterized=len(part) > RASTER, zorder=2 if side == "not" else 3)
    line: dict[str, Any] = {"color": "#777777", "linewidth": 0.6, "zorder": 1}
    for at in ((-fold, fold) if fold > 0 else (0.0,)):
        place.axvline(at, linestyle="--", **line)
    place.axhline(threshold(alpha), linestyle="--", **line)
    if v.floor is not None:
        place.axhline(v.floor, linestyle=":", **line)
        place.annotate(ZERO, (1.05 * v.reach, v.floor), xytext=(0, 4), textcoords="offset points", fontsize=6,
                       ha="right", va="bottom", color="#555555")
    # the plot takes about 85 % by 75 % of the figure, in points of which names are 6.5 high
    for one in names_of(v, label, width * 72 * 0.85, height * 72 * 0.75, 6.5):
        row = v.points.iloc[one.row]
        place.annotate(one.text, (row["x"], row["y"]), xytext=(one.dx, -one.dy), textcoords="offset points",
                       fontsize=6.5, style="italic", ha=one.anchor, va="center", zorder=4,
                       arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": "#777777", "shrinkB": 2})
    place.set(xlabel=_fold_title(v), ylabel="−log10 adjusted p", xlim=(-1.06 * v.reach, 1.06 * v.reach),
              ylim=(-0.02 * v.top, v.top))
    n = v.points["side"].value_counts()
    for name, side, loc, words in ((b, "down", "left", "▼ ← higher in\n{} ({:,})"),
                                   (a, "up", "right", "higher in → ▲\n{} ({:,})")):
        place.set_title(words.format(short(name, 24), int(n.get(side, 0))), loc=loc, fontsize=7.5, color=COLOURS[side])
    return save_figure(figure, fmt, made, size)
