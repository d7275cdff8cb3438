"""Rows that tell some real cells from the others: "make it like these cells", and presets from a type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from scdiff_core.errors import ScdiffError
from scdiff_core.target import DOWN, UP

MOST = 2000  # cells a side that are compared
FEWEST = 5
INSIDE = 0.1  # share of the chosen cells that a proposed level leaves out
LOW = 0.25  # at most so many of the proposed rows are low
REDUNDANT = 0.85  # correlation of a proposed gene with one before it


def compare_sides(log1p: Any, chosen: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return how well each gene tells the chosen cells from the others: AUC [G] and the difference of means [G].

    Parameters
    ----------
    log1p
        Real cells [N, G], natural log1p, sparse.
    chosen
        bool [N].

    Raises
    ------
    ScdiffError
        Fewer than five cells are chosen, or fewer than five are not.
    """
    from scdiff_core.analysis.differential import compare

    inside, outside = np.flatnonzero(chosen), np.flatnonzero(~chosen)
    if min(len(inside), len(outside)) < FEWEST:
        few = "are chosen" if len(inside) < len(outside) else "are left to tell them from"
        raise ScdiffError("No rows can be proposed.", f"Only {min(len(inside), len(outside))} cells {few}.",
                          f"Select at least {FEWEST} cells, and not all.")
    rng = np.random.default_rng(seed)
    sides = [np.sort(rng.permutation(rows)[:MOST]) for rows in (inside, outside)]
    table = compare(log1p[sides[0]], log1p[sides[1]], np.arange(log1p.shape[1]).astype(str))
    order = table["gene"].astype(int).to_numpy()
    n, m = map(len, sides)
    score, change = np.zeros(len(order)), np.zeros(len(order))
    # z of the rank sum, back to the share of pairs in which the chosen cell is higher (ties by half, spread untied)
    score[order] = 0.5 + table["score"].to_numpy() * np.sqrt((n + m + 1) / (12 * n * m))
    change[order] = (table["mean_a"] - table["mean_b"]).to_numpy()
    return np.clip(score, 0, 1), change


def propose(genes: Sequence[str], auc: np.ndarray, change: np.ndarray, chosen: np.ndarray,
            levels_of: Callable[[tuple[str, ...]], Mapping[str, np.ndarray]], n: int = 8) -> list[dict[str, Any]]:
    """Return at most n rows that tell the chosen cells apart, the best first, each with a level that nine in ten meet.

    Parameters
    ----------
    genes, auc, change
        [G], as `compare_sides` gives them.
    chosen
        bool [N] of the cells that `levels_of` speaks of.
    levels_of
        Genes -> denoised expression of real cells, log1p [N].

    Returns
    -------
    gene, direction, level (log1p), hard, share_in and share_out (of the chosen and other cells that meet it), score.
    """
    strength = np.sign(change) * np.abs(auc - 0.5) * np.sqrt(np.abs(change))
    best = np.argsort(-np.abs(strength))[: 8 * n]
    known = levels_of(tuple(str(genes[i]) for i in best))
    rows: list[dict[str, Any]] = []
    taken: list[np.ndarray] = []
    lows = 0
    for i in best:
        name, up = str(genes[i]), change[i] > 0
        values = known[name]
        if len(rows) == n or (not up and lows >= max(1, round(LOW * n))) or np.ptp(values) == 0:
            continue
        if any(abs(np.corrcoef(values, other)[0, 1]) > REDUNDANT for other in taken):
            continue
        level = float(np.quantile(values[chosen], INSIDE if up else 1 - INSIDE))
        met = values >= level if up else values <= level
        inside, outside = float(met[chosen].mean()), float(met[~chosen].mean())
        if outside > 0.7 * inside:
            continue
        lows += not up
        taken.append(values)
        rows.append({"gene": name, "direction": UP if up else DOWN, "level": round(level, 3), "hard": True,
                     "share_in": round(inside, 4), "share_out": round(outside, 4), "score": round(float(auc[i]), 4)})
    return rows
