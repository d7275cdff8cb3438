"""Paths from Ductal to Beta through Ngn3-high cells that training never showed, beside straight lines in PCA."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import spearmanr

from benchmarks.modes_data import Asked
from scdiff_core import keys
from scdiff_core.analysis import metrics, path
from scdiff_core.config_modes import Ends, TrajectoryConfig
from scdiff_core.config_screen import Chosen
from scdiff_core.engine.steps import follow
from scdiff_core.engine.trajectory import POSITION, trajectory
from scdiff_core.selection import pack_rows

START, END, HELD = "Ductal", "Beta", "Ngn3 high"
ORDER = ("Ductal", "Ngn3 low", "Ngn3 high", "Pre-endocrine", "Beta")
MIDDLE = 0.5
POINTS = 9
Row = dict[str, Any]


def by_type(asked: Asked, seed: int, n: int) -> list[Row]:
    """Gradient interpolation between the labels, and between chosen cells told apart by a classifier; and baselines."""
    types = asked.prepared.labels("type")
    rows = []
    for name, ends in (("gradient interpolation, types", [Ends(column="type", value=v) for v in (START, END)]),
                       ("gradient interpolation, chosen cells", [_chosen(types == v) for v in (START, END)])):
        rows.append(judged(asked, seed, name, *_path(asked, seed, n, *ends)))
    return rows + baselines(asked, seed, n)


def by_number(asked: Asked, seed: int, n: int) -> list[Row]:
    """A number in between: the stage of the held-out cells, which no training cell has."""
    return [judged(asked, seed, "stage as a number", *_path(asked, seed, n, Ends(column="stage", value="0"),
                                                            Ends(column="stage", value="4")))]


def _chosen(mask: np.ndarray) -> Ends:
    return Ends(cells=Chosen(id="0" * 12, name="cells", rows=pack_rows(mask)))


def _path(asked: Asked, seed: int, n: int, start: Ends, end: Ends) -> tuple[Any, np.ndarray]:
    """Return log1p values and positions of a generated path."""
    config = TrajectoryConfig(run=asked.job.id, start=start, end=end, points=POINTS, n_cells=POINTS * n // 2, seed=seed)
    adata = follow(trajectory(asked.model, config, asked.prepared), lambda step, share: None)
    return adata.layers[keys.LOG1P], adata.obs[POSITION].to_numpy(float)


def judged(asked: Asked, seed: int, name: str, log1p: Any, position: np.ndarray) -> Row:
    """Return how near the middle of a path is to the held-out cells, and how alike the order in which genes rise."""
    p = asked.prepared
    middle = log1p[np.flatnonzero(np.isclose(position, MIDDLE))]
    row = {"seed": seed, "cells": name, "energy": distance(p, middle, seed), "n": int(middle.shape[0])}
    if len(np.unique(position)) > 2:
        at, mean, _ = path.curves(log1p, position)
        row |= order(p, at, mean)
    return row


def distance(p: Any, cells: Any, seed: int, held: np.ndarray | None = None) -> float:
    """Return the energy distance of cells to as many held-out ones, in principal components of the two together."""
    if held is None:
        held = np.flatnonzero(p.labels("type") == HELD)
    rng = np.random.default_rng(seed)
    few = min(len(held), cells.shape[0], 200)
    real = p.log1p(np.sort(rng.permutation(held)[:few]))
    made = cells[np.sort(rng.permutation(cells.shape[0])[:few])]
    return metrics.energy_distance(*metrics.joint_pca(made, real, 20))


def order(p: Any, at: np.ndarray, mean: np.ndarray) -> Row:
    """Return the rank correlation, over marker genes, of where they rise on a path and in the real cells.

    Real cells, held-out ones among them, stand at their known stages, Ductal at 0 to Beta at 1. Markers are the genes
    that rise by at least 0.5 (log1p) above their level in Ductal cells.
    """
    types = p.labels("type")
    stage = np.array([ORDER.index(t) / (len(ORDER) - 1) if t in ORDER else np.nan for t in types])
    real_at, real, _ = path.curves(p.log1p(), stage)
    markers = np.flatnonzero(real.max(0) - real[0] >= path.RISES)
    truth = path.rise(real_at, real)[markers]
    found = path.rise(at, mean)[markers]
    both = ~np.isnan(found)
    found = np.where(both, found, 2.0)  # a gene that never rises on the path comes last
    same = np.ptp(found) < 1e-9
    rho = 0.0 if same else float(spearmanr(truth, found).statistic)
    return {"order": rho, "markers": len(markers), "risen": int(both.sum())}


def baselines(asked: Asked, seed: int, n: int) -> list[Row]:
    """Straight lines in PCA between cells paired at random or by optimal transport, both ends, and the floor."""
    p, rng = asked.prepared, np.random.default_rng(seed)
    types, train = p.labels("type"), p.rows(keys.TRAIN)
    of = {t: train[types[train] == t] for t in ORDER}
    rows: list[Row] = []
    size = n // 2
    for who, ends in (("", (START, END)), (" of the neighbouring stages", ("Ngn3 low", "Pre-endocrine"))):
        one, other = (p.X_pca[rng.choice(of[t], size)] for t in ends)
        pairing = linear_sum_assignment(cdist(one, other, "sqeuclidean"))[1]
        for name, pairs in (("at random", np.arange(size)), ("by optimal transport", pairing)):
            weights = np.linspace(0, 1, POINTS)
            pca = np.concatenate([(1 - w) * one + w * other[pairs] for w in weights])
            log1p = np.maximum(pca @ p.pca_components + p.pca_mean, 0)
            row = judged(asked, seed, f"line in PCA{who}, paired {name}", log1p, np.repeat(weights, size))
            rows.append(row if not who else {k: v for k, v in row.items() if k not in ("order", "risen", "markers")})
    for t in (START, END, "Ngn3 low", "Pre-endocrine"):
        rows.append({"seed": seed, "cells": f"real {t} cells", "energy": distance(p, p.log1p(of[t]), seed),
                     "n": len(of[t])})
    half = rng.permutation(np.flatnonzero(types == HELD))
    a, b = np.array_split(half, 2)
    rows.append({"seed": seed, "cells": "held-out cells against each other (floor)",
                 "energy": distance(p, p.log1p(a), seed, b), "n": len(a)})
    return rows

