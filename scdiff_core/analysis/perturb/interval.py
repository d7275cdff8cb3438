"""Intervals of what is predicted: how wide they must be is learnt from perturbations that were left out.

An arm's measured change departs from what is predicted by the error of the prediction, which is what an interval of the
true change must hold, and by the noise of the arm's own cells, which is known. So the predicted variance is multiplied
by the one factor under which 90 % of the left-out arms' genes lie within the two together (split conformal prediction
with normalised scores, Lei et al. 2018, with the noise of the measurement taken out).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

LEVEL = 0.90
Z = 1.6448536269514722  # normal quantile of (1 + LEVEL) / 2
FACTORS = np.geomspace(0.02, 50.0, 80)
ENOUGH = 20  # left-out arms of a kind; with fewer, all kinds together
FEWER = 2.0  # a kind's own factor is within so many times that of all kinds
TAILS = 1.15  # errors have longer tails than the normal that takes the noise out of them assumes (simulated screens)
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
        return TAILS * (max(found, 1.0) if kind in OWN_CELLS else found)


NONE = Calibration({"": 1.0}, {}, {})


def inside(error: np.ndarray, variance: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return the share of genes within the interval [A, factors] for errors, predicted variances and noise [A, G]."""
    bound = error**2 / Z**2 - noise  # within: factor · variance >= bound
    ratio = np.where(variance > 0, bound / np.where(variance > 0, variance, 1.0), np.where(bound > 0, np.inf, -1.0))
    ratio = np.sort(ratio, axis=1)
    return np.array([np.searchsorted(row, FACTORS, side="right") / ratio.shape[1] for row in ratio])


def calibrate(kinds: list[str], error: np.ndarray, variance: np.ndarray, noise: np.ndarray) -> Calibration:
    """Choose the factors from A left-out arms: their kinds, and errors, predicted variances and noise [A, G]."""
    if not kinds:
        return NONE
    share = inside(error, variance, noise)
    factor, coverage, n = {}, {}, {}
    for kind in ["", *sorted(set(kinds))]:
        rows = np.array([kind in ("", k) for k in kinds])
        if kind and rows.sum() < ENOUGH:
            continue
        chosen = share[rows]
        total = chosen.sum(axis=0)
        factor[kind] = float(FACTORS[_first(total / len(chosen))])
        if kind:
            factor[kind] = float(np.clip(factor[kind], factor[""] / FEWER, factor[""] * FEWER))
        if len(chosen) > 1:
            others = [(_first((total - row) / (len(chosen) - 1)), row) for row in chosen]
            coverage[kind] = float(np.mean([row[i] for i, row in others]))
        n[kind] = int(rows.sum())
    return Calibration(factor, coverage, n)


def _first(share: np.ndarray) -> int:
    """Return the first factor that reaches the level."""
    return min(int(np.searchsorted(share, LEVEL)), len(FACTORS) - 1)
