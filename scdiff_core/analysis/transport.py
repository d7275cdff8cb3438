"""How far one set of cells must be moved to become another: exact and entropic optimal transport (POT)."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

EPSILON = 0.1  # times the median cost between the two sets
PLAIN_UP_TO = 500.0  # cost over epsilon; beyond, exp(-cost / epsilon) is lost in doubles and logarithms are needed


def _ot() -> Any:
    """Import POT with numpy alone: it would load every array library that is installed."""
    for backend in ("PYTORCH", "TENSORFLOW", "JAX", "CUPY"):
        os.environ.setdefault(f"POT_BACKEND_DISABLE_{backend}", "1")
    import ot

    return ot


def wasserstein2(a: np.ndarray, b: np.ndarray) -> float:
    """Return the 2-Wasserstein distance of two sets of points [N, P], [M, P], in their unit.

    The root of the least mean squared Euclidean distance over all couplings, by the exact network simplex
    (`ot.emd2`; Villani 2009, definition 6.1). NaN where a set is empty.
    """
    if not len(a) or not len(b):
        return float("nan")
    cost = cdist(a, b, "sqeuclidean")
    return float(np.sqrt(max(0.0, float(_ot().emd2([], [], cost, numItermax=2_000_000)))))


def sinkhorn_divergence(a: np.ndarray, b: np.ndarray, epsilon: float = EPSILON) -> float:
    """Return the debiased Sinkhorn divergence of two sets of points, in squared units; 0 for equal sets.

    OT(a, b) − OT(a, a) / 2 − OT(b, b) / 2 with the squared Euclidean cost and OT regularised by `epsilon` times the
    median cost between the two sets (Feydy et al. 2019, eq. 3). NaN where a set is empty.
    """
    if not len(a) or not len(b):
        return float("nan")
    across = cdist(a, b, "sqeuclidean")
    regulation = epsilon * (float(np.median(across)) or 1.0)
    within = [entropic_cost(cdist(x, x, "sqeuclidean"), regulation) for x in (a, b)]
    return max(0.0, entropic_cost(across, regulation) - 0.5 * sum(within))


def entropic_cost(cost: np.ndarray, regulation: float) -> float:
    """Return min ⟨P, cost⟩ + regulation · KL(P | a ⊗ b) over couplings P of two uniform sets, cost [N, M].

    From the scalings u, v of Sinkhorn's algorithm, P = diag(u) exp(−cost / regulation) diag(v), the value is
    regulation · (⟨a, log u / a⟩ + ⟨b, log v / b⟩) (Feydy et al. 2019, proposition 1).
    """
    n, m = cost.shape
    safe = cost.max() / regulation <= PLAIN_UP_TO
    _, log = _ot().sinkhorn(np.full(n, 1 / n), np.full(m, 1 / m), cost, regulation, warn=False, log=True,
                            method="sinkhorn" if safe else "sinkhorn_log", numItermax=1000, stopThr=1e-5)
    log_u, log_v = (np.log(log["u"]), np.log(log["v"])) if safe else (log["log_u"], log["log_v"])
    return float(regulation * (np.mean(log_u) + np.log(n) + np.mean(log_v) + np.log(m)))
