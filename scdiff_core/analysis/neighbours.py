"""Whether two sets of cells fill the same space: precision, recall, density, coverage, nearest neighbours."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

K = 5  # neighbours that span a cell's ball
KEYS = ("precision", "recall", "density", "coverage")


def manifold(real: np.ndarray, made: np.ndarray, k: int = K) -> dict[str, float]:
    """Return precision, recall, density and coverage of generated points [M, P] among real ones [N, P].

    Each point has a ball that reaches to its `k`-th nearest other point of its own set. Precision is the share of
    generated points inside a real ball, recall the share of real points inside a generated ball (Kynkäänniemi et
    al. 2019, eq. 1 and 2). Density is the number of real balls round a generated point over `k`, coverage the share
    of real balls with a generated point inside (Naeem et al. 2020, eq. 3 and 4). Compare equally many points, best
    of `joint_components`. Shares are 0 to 1, density 0 or more; NaN where a set has no `k` + 1 points.
    """
    pooled = np.vstack([real, made])
    return manifold_of(cdist(pooled, pooled), len(real), k)


def manifold_of(distance: np.ndarray, n: int, k: int = K) -> dict[str, float]:
    """Return `manifold` from the Euclidean distances of the pooled points [n + M, n + M], the real ones first."""
    if min(n, len(distance) - n) <= k:
        return dict.fromkeys(KEYS, float("nan"))
    across = distance[:n, n:]
    # the nearest point to each one is itself, at distance 0
    real_reach = np.partition(distance[:n, :n], k, axis=1)[:, k]
    made_reach = np.partition(distance[n:, n:], k, axis=1)[:, k]
    in_real = across <= real_reach[:, None]
    return {"precision": float(in_real.any(0).mean()),
            "recall": float((across <= made_reach[None, :]).any(1).mean()),
            "density": float(in_real.sum(0).mean() / k),
            "coverage": float((across.min(1) <= real_reach).mean())}


def neighbour_accuracy_of(distance: np.ndarray, n: int) -> float:
    """Return `metrics.nearest_neighbour_accuracy` from the distances of the pooled points, the first `n` one set.

    NaN with fewer than three points.
    """
    if len(distance) < 3:
        return float("nan")
    other = distance.copy()
    np.fill_diagonal(other, np.inf)
    own = (other.argmin(1) < n) == (np.arange(len(distance)) < n)
    return float((own[:n].mean() + own[n:].mean()) / 2)
