"""How odd cells are: scores put on one scale among cells of like depth, and doublets told by simulated ones."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

LIKE = 200  # cells of like depth that a cell is compared with
FEWEST = 20  # kept-aside cells below which those that were learnt from have to serve
NEIGHBOURS, NEAREST = 50, 15  # among simulated doublets; training cells that a distance is the mean of
PER_CELL = 2  # doublets simulated for each cell (Scrublet's habit)


def standardised(values: np.ndarray, total_counts: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return by how many standard deviations values [n] are above what cells of their depth have; [n].

    Fitted on the cells of `reference` [n] alone: a straight line over the log of the total counts, so that a cell is
    not odd for being deep or shallow.
    """
    logs = np.log(np.maximum(np.asarray(total_counts, np.float64), 1))
    design = np.stack([np.ones(len(logs)), logs - logs[reference].mean()], 1)
    if np.ptp(logs[reference]) < 1e-9:
        design = design[:, :1]
    fitted = np.linalg.lstsq(design[reference], np.asarray(values, np.float64)[reference], rcond=None)[0]
    rest = values - design @ fitted
    return rest / max(float(rest[reference].std()), 1e-12)


def rank_among_like(scores: np.ndarray, total_counts: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the share of the reference cells nearest in depth (at most `LIKE`) that are less odd, [n] in 0 to 1."""
    logs = np.log(np.maximum(np.asarray(total_counts, np.float64), 1))
    rows = np.flatnonzero(reference)
    rows = rows[np.argsort(logs[rows], kind="stable")]
    k = min(LIKE, len(rows))
    first = np.clip(np.searchsorted(logs[rows], logs) - k // 2, 0, len(rows) - k)
    like = scores[rows][first[:, None] + np.arange(k)]
    return (like < scores[:, None]).mean(1)


def doublets(counts: sp.csr_matrix, total_counts: np.ndarray, n: int, seed: int, depth: str = "between"
             ) -> tuple[sp.csr_matrix, np.ndarray, np.ndarray]:
    """Return n sums of the counts of two cells, thinned: csr [n, G], total counts [n], and the cells' rows [n, 2].

    Two cells share a droplet's capacity, so a doublet is as deep as something between its deeper cell and both
    together (`between`); `like_cells` takes the depth of any cell up to 1.6 times (for a test that is not the same).
    """
    rng = np.random.default_rng(seed)
    pairs = rng.integers(counts.shape[0], size=(n, 2))
    a, b = pairs.T
    summed = sp.csr_matrix(counts[a] + counts[b], dtype=np.float32)
    total = np.asarray(total_counts, np.float64)
    both = np.maximum(total[a] + total[b], 1)
    if depth == "between":
        share = rng.uniform(np.maximum(total[a], total[b]) / both, 1)
    else:
        share = np.minimum(rng.choice(total, n) * rng.uniform(1, 1.6, n) / both, 1)
    kept = rng.binomial(np.round(summed.data).astype(np.int64), np.repeat(share, np.diff(summed.indptr)))
    summed.data = kept.astype(np.float32)
    summed.eliminate_zeros()
    return summed, np.maximum(both * share, 1).astype(np.float32), pairs


def doublet_share(places: np.ndarray, cells: np.ndarray, simulated: np.ndarray, own: np.ndarray | None = None
                  ) -> np.ndarray:
    """Return how much the neighbours of places [n, D] are simulated doublets and not cells, [n] in 0 to 1.

    Scrublet's rule (Wolock, Lopez and Klein 2019, eq. 1, for one rate), in whatever space the places are. `own` [n]
    says which of the `cells` a place is itself (-1: none), so that it is no neighbour of its own.
    """
    from sklearn.neighbors import NearestNeighbors

    every = np.concatenate([cells, simulated])
    k = min(NEIGHBOURS, len(every) - 1)
    at = NearestNeighbors(n_neighbors=k + 1).fit(every).kneighbors(places, return_distance=False)
    mine = np.full(len(places), -1) if own is None else own
    keep = at != mine[:, None]
    keep[keep.all(1), -1] = False  # k of k + 1
    odd = ((at >= len(cells)) & keep).sum(1) / k
    ratio = len(simulated) / max(1, len(cells))
    return odd / (odd + ratio * (1 - odd))


def distance(places: np.ndarray, rows: np.ndarray, learnt: np.ndarray) -> np.ndarray:
    """Return the mean distance of some rows of places [N, P] to the nearest training cells, but themselves; [n]."""
    from sklearn.neighbors import NearestNeighbors

    k = min(NEAREST, len(learnt) - 1)
    far, at = NearestNeighbors(n_neighbors=k + 1).fit(places[learnt]).kneighbors(places[rows])
    keep = learnt[at] != rows[:, None]
    keep[keep.all(1), -1] = False  # k of k + 1
    return (far * keep).sum(1) / k
