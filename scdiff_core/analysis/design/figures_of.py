"""How good a set of cells is that is to meet a target: realism, diversity, and distance to the real cells that do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scdiff_core.analysis import metrics
from scdiff_core.analysis.design.report import FEW_DIVERSE, FEW_ENERGY, Figures

K = 10  # neighbours
LIMIT = 0.95  # quantile of held-out cells beyond which a cell looks unreal
MOST_TRAIN, MOST_HELD_OUT = 20_000, 2000
TREES, FOLDS, DEPTH = 50, 3, 5  # of the forest that tells designed cells from their neighbours
MOST_COMPARED = 512  # cells a side


@dataclass(frozen=True)
class Ground:
    """The real cells that designed ones are held against, as points in one space fitted on training cells.

    Attributes
    ----------
    train
        [N, P] of training cells.
    rows
        Which cells of the dataset these are, int64 [N].
    limit
        The 95th percentile of held-out cells' 10-nearest-neighbour distance.
    held_out
        Their distances, [M].
    """

    train: np.ndarray
    rows: np.ndarray
    limit: float
    held_out: np.ndarray

    @classmethod
    def of(cls, train: np.ndarray, rows: np.ndarray, held_out: np.ndarray, seed: int = 0) -> Ground:
        """Measure how far held-out real cells [M, P] lie from the training cells [N, P].

        Without held-out cells, training cells are held against the others.
        """
        rng = np.random.default_rng(seed)
        chosen = metrics.subsample(len(train), MOST_TRAIN, rng)
        train, rows = np.ascontiguousarray(train[chosen], np.float32), rows[chosen]
        held_out = held_out[metrics.subsample(len(held_out), MOST_HELD_OUT, rng)]
        own = len(held_out) < FEW_ENERGY
        points = train[metrics.subsample(len(train), MOST_HELD_OUT, rng)] if own else held_out
        distance = neighbour_distance(points, train, K + 1 if own else K)[0]
        return cls(train, rows, float(np.quantile(distance, LIMIT)), distance)

    def look(self, points: np.ndarray, own: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Return the 10-nearest-neighbour distance [n] of points [n, P], and the nearest training cells [n, 10].

        `own` says that the points are training cells, each its own nearest, which does not count.
        """
        distance, nearest = neighbour_distance(points, self.train, K + own)
        return distance, nearest[:, int(own):]

    def beyond(self, points: np.ndarray) -> np.ndarray:
        """Return which points [n, P] look unreal: they lie farther away than 95 % of held-out cells do, bool [n]."""
        return np.asarray(self.look(points)[0] > self.limit)

    def exchange(self, points: np.ndarray, chosen: np.ndarray, spare: np.ndarray) -> np.ndarray:
        """Return `chosen` rows of points [n, P] with `spare` ones in the place of some that look unreal.

        As far as these go, no more are left than of held-out cells. Each that goes is followed by the one nearest to
        it, so that every kind of cell keeps its share: by weights alone a rare kind, of which real cells are few and
        far between, would vanish.
        """
        from sklearn.neighbors import NearestNeighbors

        beyond = self.beyond(points)
        far, near = np.flatnonzero(beyond[chosen]), spare[~beyond[spare]]
        excess = min(len(far) - int((1 - LIMIT) * len(chosen)), len(near))
        if excess <= 0:
            return chosen
        chosen, free = chosen.copy(), np.ones(len(near), bool)
        apart = NearestNeighbors(n_neighbors=1).fit(points[near]).kneighbors(points[chosen[far]])[0][:, 0]
        for i in far[np.argsort(apart, kind="stable")][:excess]:
            distance = np.where(free, ((points[near] - points[chosen[i]]) ** 2).sum(axis=1), np.inf)
            taken = int(np.argmin(distance))
            chosen[i], free[taken] = near[taken], False
        return chosen


def neighbour_distance(points: np.ndarray, train: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance [n] to the k-th nearest of the training points (Euclidean), and the k nearest [n, k]."""
    from sklearn.neighbors import NearestNeighbors

    if not len(points):
        return np.zeros(0), np.zeros((0, k), int)
    index = NearestNeighbors(n_neighbors=min(k, len(train)), algorithm="brute").fit(train)
    distance, nearest = index.kneighbors(np.ascontiguousarray(points, np.float32))
    return distance[:, -1], nearest


def spread(points: np.ndarray, seed: int = 0) -> float:
    """Return the mean Euclidean distance between two of the points [n, P]; NaN with fewer than two."""
    from scipy.spatial.distance import pdist

    few = points[metrics.subsample(len(points), MOST_COMPARED, np.random.default_rng(seed))]
    return float(pdist(few).mean()) if len(few) > 1 else float("nan")


def energy_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the unbiased E-distance 2 E|X-Y| − E|X-X'| − E|Y-Y'| of two sets of points, Euclidean.

    Pairs of a cell with itself are left out (Székely and Rizzo 2013, as a U-statistic), so that the figure does not
    depend on how many cells there are; two samples of the same cells have 0 on average, now and then below.
    """
    from scipy.spatial.distance import cdist, pdist

    return float(2 * cdist(a, b).mean() - pdist(a).mean() - pdist(b).mean())


def auc_to_neighbours(points: np.ndarray, nearest: np.ndarray, ground: Ground, without: np.ndarray,
                      seed: int = 0) -> float | None:
    """Return how well a forest tells cells [n, P] from the real ones round them [n, 10 nearest]; None with too few.

    The neighbourhood is every training cell that is among the ten nearest of a cell, but for those in `without`.
    """
    rng = np.random.default_rng(seed)
    around = ground.train[np.setdiff1d(nearest, without)]
    n = min(len(points), len(around), MOST_COMPARED)
    if n < FEW_ENERGY:
        return None
    a, b = points[metrics.subsample(len(points), n, rng)], around[metrics.subsample(len(around), n, rng)]
    return metrics.rf_auc(b, a, seed, trees=TREES, depth=DEPTH, folds=FOLDS)


def figures_of(name: str, points: np.ndarray, mild: np.ndarray, met: np.ndarray, hard: np.ndarray, ground: Ground,
               real: np.ndarray | None, seed: int = 0,
               itself: np.ndarray | None = None) -> tuple[Figures, np.ndarray, np.ndarray]:
    """Return the figures of a set of cells, their 10-nearest-neighbour distances [n] and nearest cells [n, 10].

    Parameters
    ----------
    points
        The cells in the space of `ground`, [n, P].
    mild
        Their denoised expression in the same space, [n, P]. Diversity and distance are told by it: the components are
        fitted on the training cells, whose own counting noise lies in them as no new cell's does, so that even held-out
        real cells look a tenth less varied beside them.
    met, hard
        Which rows each cell meets, bool [n, R], and which rows are hard, bool [R].
    real
        Real cells that meet the target, denoised as `mild`; None or too few: no diversity and no distance.
    itself
        Of cells that are training cells: which of these they are, by position in `ground.train`.
    """
    distance, nearest = ground.look(points, itself is not None)
    whole = np.asarray(met[:, hard].all(axis=1))
    diverse = real is not None and len(real) >= FEW_DIVERSE and len(mild) > 1
    near = real is not None and len(real) >= FEW_ENERGY and len(mild) > 1
    n_real = 0 if real is None else len(real)
    few = f"{n_real} real cells meet the target: too few to compare with" if n_real else "no real cell meets the target"
    note = "" if near or itself is not None else few
    return Figures(
        name, len(points), float(whole.mean()) if len(whole) else 0.0, tuple(float(v) for v in met.mean(axis=0)),
        float((distance > ground.limit).mean()) if len(distance) else 0.0,
        auc_to_neighbours(points, nearest, ground, np.zeros(0, int) if itself is None else itself, seed),
        spread(mild) / spread(real) if diverse and real is not None else None,
        energy_distance(*(p[metrics.subsample(len(p), 2000, np.random.default_rng(seed))] for p in (mild, real)))
        if near and real is not None else None, note), distance, nearest
