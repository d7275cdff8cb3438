"""Violins of genes, smoothed here from all cells, so that the page is sent outlines and not cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from scipy import sparse

from scdiff_core.figures.base import AXIS, KINDS, Kind, frame, natural, short, short_names
from scdiff_core.figures.palette import GENERATED, MISSING, REAL

BINS, POINTS = 240, 60  # of the smoothing, and of an outline
WIDEST = 0.42  # half the width of a violin; groups stand 1 apart
SMOOTH = 0.06  # width of the Gaussian kernel, as a share of the gene's largest value
FILL_REAL, FILL_GENERATED = "#A6A6A6", "rgba(213,94,0,0.06)"
BAR = "#222222"  # the mean, on a fill that hides the page


@dataclass(frozen=True)
class Violin:
    """One group's values of one gene: outline `width` [POINTS] (0 to 0.42) at `grid` (log1p), and what it says."""

    at: int
    group: str
    grid: np.ndarray
    width: np.ndarray
    mean: float
    median: float
    fraction: float
    n: int

    def outline(self, side: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the polygon's x and y: both sides, or the `low` (left) or `high` (right) half."""
        left = self.at - self.width * (side != "high")
        right = self.at + self.width * (side != "low")
        return np.concatenate([left, right[::-1]]), np.concatenate([self.grid, self.grid[::-1]])


def side_of(i: int, n_sets: int) -> str:
    """Return which half of a violin the i-th of so many sets has."""
    return "both" if n_sets == 1 else ("low", "high")[i]


def rows_of(labels: np.ndarray, groups: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the rows of the cells of each group, so that names are compared once and not for each gene."""
    found, inverse = np.unique(labels, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    ends = np.searchsorted(inverse[order], np.arange(len(found) + 1))
    rows = {str(name): order[ends[i]: ends[i + 1]] for i, name in enumerate(found)}
    return {group: rows.get(group, np.zeros(0, int)) for group in groups}


def violins(values: np.ndarray, rows: Mapping[str, np.ndarray], top: float) -> list[Violin]:
    """Return the smoothed density of each group's values [N] of one gene, from its least to its largest value.

    `rows` are those of the groups (`rows_of`), in the order in which they are drawn; groups without cells have no
    violin. A Gaussian kernel of 0.06 · `top` (the gene's largest value in any set), over a histogram of 240 bins.
    The widest point of each is 0.42.
    """
    from scipy.ndimage import gaussian_filter1d

    made = []
    low = min(0.0, float(values.min(initial=0.0)))
    step = max(top - low, 1e-9) / BINS
    for at, (group, of) in enumerate(rows.items()):
        own = values[of]
        if not len(own):
            continue
        # one bin more at each end would cut the smoothing short: it is padded by four widths of the kernel
        pad = int(np.ceil(4 * SMOOTH * top / step)) + 1
        binned = np.bincount(np.clip(((own - low) / step).astype(int), 0, BINS - 1) + pad, minlength=BINS + 2 * pad)
        smooth = gaussian_filter1d(binned.astype(float), max(SMOOTH * top / step, 0.5), mode="constant")
        least, most = float(own.min()), float(own.max())
        grid = np.linspace(least, max(most, least + SMOOTH * top), POINTS)
        middles = low + (np.arange(BINS + 2 * pad) - pad + 0.5) * step
        width = np.interp(grid, middles, smooth)
        made.append(Violin(at, group, grid, WIDEST * width / max(float(width.max()), 1e-12), float(own.mean()),
                           float(np.median(own)), float((own != 0).mean()), len(own)))
    return made


def violin_sets(real: Any, real_labels: np.ndarray, generated: Any | None, generated_labels: np.ndarray | None,
                groups: Sequence[str] | None, kinds: Sequence[Kind]) -> tuple[list[tuple[Kind, Any, Any]], list[str]]:
    """Return the sets as (kind, values [N, K], rows of each group) and the groups to draw."""
    given = [(real, np.asarray(real_labels).astype(str))]
    if generated is not None and generated_labels is not None:
        given.append((generated, np.asarray(generated_labels).astype(str)))
    if groups is None:
        groups = sorted({str(g) for _, labels in given for g in np.unique(labels)} - {""}, key=natural)
    sets = [(kind, dense(x), rows_of(labels, groups)) for kind, (x, labels) in zip(kinds, given, strict=False)]
    return sets, list(groups)


def top_of(sets: Sequence[tuple[Kind, Any, Any]], i: int) -> float:
    """Return the largest value of the i-th gene in any set."""
    return float(max((x[:, i].max() for _, x, _ in sets if len(x)), default=1.0) or 1.0)


def low_of(sets: Sequence[tuple[Kind, Any, Any]], i: int) -> float:
    """Return the least value of the i-th gene in any set."""
    return float(min((x[:, i].min() for _, x, _ in sets if len(x)), default=0.0))


def violin_plot(real: Any, real_labels: np.ndarray, generated: Any | None = None,
                generated_labels: np.ndarray | None = None, genes: Sequence[str] = (),
                groups: Sequence[str] | None = None, *, kinds: Sequence[Kind] = KINDS,
                colour: Mapping[str, str] | None = None) -> go.Figure:
    """Return one row of violins for each gene, real cells on the left half, generated ones on the right.

    Real halves are filled, generated ones outlined; both are smoothed by one width, from all cells. A bar marks
    the mean. One set alone has whole violins, in the groups' own colours where `colour` gives them.

    Parameters
    ----------
    real, generated
        Cells by the drawn genes, log1p [N, K] and [M, K].
    real_labels, generated_labels
        Their groups; "" takes no part.
    """
    sets, groups = violin_sets(real, real_labels, generated, generated_labels, groups, kinds)
    names = short_names(groups, 20)
    figure = make_subplots(max(1, len(genes)), 1, shared_xaxes=True, vertical_spacing=0.12 / max(1, len(genes)))
    for i, gene in enumerate(genes):
        top, low = top_of(sets, i), min(0.0, low_of(sets, i))
        for s, (kind, x, rows) in enumerate(sets):
            shapes = violins(x[:, i], rows, top)
            own = colour if len(sets) == 1 and not kind.synthetic else None
            _draw(figure, i + 1, shapes, kind, side_of(s, len(sets)), gene, own)
        figure.update_yaxes(title={"text": short(gene, 13), "font": {"size": 11}}, range=[low, top * 1.05], nticks=3,
                            row=i + 1, col=1)
    figure.update_xaxes(showgrid=False, range=[-0.6, len(groups) - 0.4], tickmode="array",
                        tickvals=list(range(len(groups))), ticktext=[names[g] for g in groups])
    figure.update_xaxes(tickangle=-45 if len(groups) > 4 else 0, row=max(1, len(genes)), col=1)
    if len(sets) > 1 or sets[0][0].synthetic:
        for kind, _, _ in sets:
            figure.add_scatter(x=[None], y=[None], mode="markers", name=kind.words,
                               marker={"symbol": "square", "size": 13, **_look(kind)})
    return frame(figure, 84 * max(1, len(genes)) + 150, hovermode="closest",
                 legend={"orientation": "h", "y": 1, "yanchor": "top", "yref": "container", "x": 0},
                 margin={"l": 10, "r": 10, "t": 40, "b": 10})


def _look(kind: Kind) -> dict[str, Any]:
    return {"color": FILL_GENERATED if kind.synthetic else FILL_REAL,
            "line": {"color": GENERATED if kind.synthetic else REAL, "width": 1.6 if kind.synthetic else 1}}


def _draw(figure: go.Figure, row: int, shapes: list[Violin], kind: Kind, side: str, gene: str,
          colour: Mapping[str, str] | None) -> None:
    """Draw one gene's violins of one set: the outlines, and a bar at each mean that tells the numbers."""
    look = _look(kind)
    for fill in dict.fromkeys((colour or {}).get(v.group, MISSING) if colour else look["color"] for v in shapes):
        drawn = [v.outline(side) for v in shapes if not colour or colour.get(v.group, MISSING) == fill]
        gap = np.full(1, np.nan)  # between two outlines
        xs, ys = (np.concatenate([part for one in drawn for part in (one[i], gap)]).astype(np.float32) for i in (0, 1))
        figure.add_scatter(x=xs, y=ys, mode="lines", fill="toself", fillcolor=fill, name=kind.words, showlegend=False,
                           line={**look["line"], "color": AXIS if colour else look["line"]["color"]},
                           hoverinfo="skip", row=row, col=1)
    shift = {"low": -0.1, "high": 0.1, "both": 0.0}[side]
    figure.add_scatter(
        x=[v.at + shift for v in shapes], y=[v.mean for v in shapes], mode="markers", showlegend=False, row=row, col=1,
        name=f"mean, {kind.words}", marker={"symbol": "line-ew-open", "size": 11, "line": {"width": 2},
                                            "color": GENERATED if kind.synthetic else BAR},
        text=[f"{gene}, {v.group}<br>mean {v.mean:.2f}, median {v.median:.2f} (log1p)<br>"
              f"{v.fraction:.0%} of {v.n:,} cells express it" for v in shapes],
        hovertemplate="%{text}<extra>" + kind.words + "</extra>")


def dense(x: Any) -> np.ndarray:
    """Return log1p values as a plain array [N, K]."""
    return np.asarray(x.toarray() if sparse.issparse(x) else x, dtype=np.float32)
