"""Intervals of what is predicted: how wide they must be is learnt from perturbations that were left out.

An arm's measured change departs from what is predicted by the error of the prediction, which is what an interval of the
true change must hold, and by the noise of the arm's own cells, which is known. Conformal prediction with normalised
scores (Lei et al. 2018) would take the 90 % quantile of the errors over their predicted standard deviation; here the
errors are seen through noise, so their distribution is found by deconvolution first: a mixture of normals, each of them
some multiple of what was predicted, whose shares make the left-out arms' genes most probable (Stephens 2017). The
predicted variance is multiplied by the one factor that makes the interval hold 90 % of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

LEVEL = 0.90
Z = 1.6448536269514722  # normal quantile of (1 + LEVEL) / 2
FACTORS = np.geomspace(0.02, 50.0, 80)
SCALES = np.r_[1e-4, np.geomspace(0.01, 200.0, 24)]  # of the components' variance over the predicted one
ROUNDS, MOST = 60, 40_000  # of expectation maximisation; genes of arms that it looks at
ENOUGH = 3  # left-out arms of a kind; with fewer, all kinds together
DRAWN = 5.0  # left-out arms that speak for all kinds' factor beside a kind's own
OWN_CELLS = ("measured", "dose")  # kinds whose error is mostly noise: there is no telling a factor below 1 from it


@dataclass(frozen=True)
class Calibration:
    """Factors of the predicted variance.

    Attributes
    ----------
    factor
        By the kind of prediction (see `ResponseModel.kind`); ``""`` is all kinds together.
    coverage
        The share of left-out measured values within the interval for such an experiment, by kind, each arm judged by
        the factor that the other arms give.
    n
        Left-out arms, by kind.
    """

    factor: Mapping[str, float]
    coverage: Mapping[str, float]
    n: Mapping[str, int]

    def of(self, kind: str) -> float:
        """Return the factor for a kind of prediction."""
        found = self.factor.get(kind, self.factor.get("", 1.0))
        return max(found, 1.0) if kind in OWN_CELLS else found


NONE = Calibration({"": 1.0}, {}, {})


def inside(error: np.ndarray, variance: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return the share of genes within the interval [A, factors] for errors, predicted variances and noise [A, G]."""
    bound = error**2 / Z**2 - noise  # within: factor · variance >= bound
    ratio = np.where(variance > 0, bound / np.where(variance > 0, variance, 1.0), np.where(bound > 0, np.inf, -1.0))
    ratio = np.sort(ratio, axis=1)
    return np.array([np.searchsorted(row, FACTORS, side="right") / ratio.shape[1] for row in ratio])


def shares(error: np.ndarray, variance: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return the shares of `SCALES` in the distribution of true errors over their predicted variance, seen in noise."""
    keep = (variance > 0).ravel()
    square, var, nothing = (v.ravel()[keep] for v in (error**2, variance, noise))
    if len(square) > MOST:
        chosen = np.random.default_rng(0).choice(len(square), MOST, replace=False)
        square, var, nothing = square[chosen], var[chosen], nothing[chosen]
    total = SCALES[:, None] * var + nothing
    logs = -0.5 * (np.log(total) + square / total)
    like = np.exp(logs - logs.max(axis=0))
    share = np.full(len(SCALES), 1 / len(SCALES))
    for _ in range(ROUNDS):
        post = share[:, None] * like
        share = (post / post.sum(axis=0)).mean(axis=1)
    return share


def reach(share: np.ndarray, level: float = LEVEL) -> float:
    """Return the factor under which an interval holds `level` of errors that have these shares of `SCALES`."""
    from scipy.stats import norm

    held = (2 * norm.cdf(Z * np.sqrt(FACTORS[:, None] / SCALES)) - 1) @ share
    return float(np.exp(np.interp(level, held, np.log(FACTORS))))


def level_of(n: int) -> float:
    """Return the level that n left-out arms must be held at, for one more arm to be held at `LEVEL`.

    The genes of an arm err together, so arms count, not genes, and the next one may be worse than all that were seen.
    Were nothing of it held, ``LEVEL (n + 1) / n`` would be needed (Lee, Barber and Willett 2023, hierarchical conformal
    prediction); it is taken to be held half as well as the others, at most a quarter of the way to 1. With the worst
    case, intervals of simulated screens held .94 where .90 is promised.
    """
    return min(LEVEL * (n + 0.5) / n, LEVEL + (1 - LEVEL) / 4)


def calibrate(kinds: list[str], error: np.ndarray, variance: np.ndarray, noise: np.ndarray) -> Calibration:
    """Choose the factors from A left-out arms: their kinds, and errors, predicted variances and noise [A, G]."""
    if not kinds:
        return NONE
    factor, coverage, n = {}, {}, {}
    held = inside(error, variance, noise)
    for kind in ["", *sorted(set(kinds))]:
        rows = np.array([kind in ("", k) for k in kinds])
        if kind and rows.sum() < ENOUGH:
            continue
        factor[kind] = reach(shares(error[rows], variance[rows], noise[rows]), level_of(int(rows.sum())))
        if kind:
            own = rows.sum() / (rows.sum() + DRAWN)
            factor[kind] = float(factor[kind] ** own * factor[""] ** (1 - own))
        if rows.sum() > 1:
            at = np.searchsorted(FACTORS, factor[kind])
            coverage[kind] = float(held[rows][:, min(at, len(FACTORS) - 1)].mean())
        n[kind] = int(rows.sum())
    return Calibration(factor, coverage, n)
