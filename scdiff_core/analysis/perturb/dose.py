"""How the size of a response grows with the dose: a Hill curve for each perturbation that was measured at several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scdiff_core.data.perturbations import Perturbation

SLOPES = (0.5, 0.8, 1.2, 1.8, 3.0)
N_EC50 = 17


@dataclass(frozen=True)
class Curve:
    """Size at a dose against the size at the highest dose measured; rises with the dose and levels off (Hill).

    Attributes
    ----------
    ec50, slope
        Half of the plateau is reached at `ec50`.
    top
        The dose at which the size is 1.
    lowest
        The lowest dose measured.
    """

    ec50: float
    slope: float
    top: float
    lowest: float

    def size(self, dose: float | np.ndarray) -> np.ndarray:
        """Return the size at a dose (or at each of several)."""
        top = _hill(self.top, self.ec50, self.slope)
        return np.asarray(_hill(np.asarray(dose, float), self.ec50, self.slope) / top)


def _hill(dose: float | np.ndarray, ec50: float, slope: float) -> np.ndarray:
    power = np.power(np.maximum(dose, 0.0), slope)
    return np.asarray(power / (power + ec50**slope))


def fit_curves(perturbations: Sequence[Perturbation], doses: np.ndarray, types: Sequence[str], y: np.ndarray,
               n: np.ndarray) -> dict[Perturbation, Curve]:
    """Fit a curve for each perturbation that has doses.

    All shifts of one perturbation in one type are taken as one direction times the size at the dose (a model of rank
    one); the curve is the one under which the weighted least squares leave least. Where there are fewer than three
    doses it is the curve that suits all perturbations together.

    Parameters
    ----------
    doses
        [A], nan where there is none.
    y
        Shifts in units of noise [A, G].
    n
        Cells [A].
    """
    groups: dict[Perturbation, list[int]] = {}
    for i, (p, d) in enumerate(zip(perturbations, doses, strict=True)):
        if np.isfinite(d) and d > 0:
            groups.setdefault(p, []).append(i)
    if not groups:
        return {}
    every = np.concatenate([doses[g] for g in groups.values()])
    grid = np.geomspace(every.min() / 3, every.max() * 3, N_EC50) if len(every) else np.ones(1)
    gains = {p: _gain(doses[g], np.array([types[i] for i in g]), y[g], n[g], grid) for p, g in groups.items()}
    pooled = np.sum([g for p, g in gains.items() if len(np.unique(doses[groups[p]])) > 1], axis=0)
    out = {}
    for p, g in groups.items():
        levels = np.unique(doses[g])
        if len(levels) > 2:
            score = gains[p]
        elif np.ndim(pooled):
            score = pooled
        else:
            score = np.zeros((len(grid), len(SLOPES)))
            score[len(grid) // 2, 1] = 1.0
        where, steep = np.unravel_index(int(np.argmax(score)), score.shape)
        out[p] = Curve(float(grid[where]), SLOPES[steep], float(levels[-1]), float(levels[0]))
    return out


def pooled(curves: Mapping[Perturbation, Curve]) -> Curve | None:
    """Return the curve of a perturbation whose own is not known: the geometric mean of the others; None without any."""
    if not curves:
        return None
    rows = np.log([[c.ec50, c.slope, c.top, c.lowest] for c in curves.values()])
    return Curve(*map(float, np.exp(rows.mean(axis=0))))


def _gain(doses: np.ndarray, types: np.ndarray, y: np.ndarray, n: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Return what each curve explains [EC50, slope]: the squared shift along its sizes, summed over types and genes."""
    out = np.zeros((len(grid), len(SLOPES)))
    for kind in np.unique(types):
        rows = np.flatnonzero(types == kind)
        gram = y[rows] @ y[rows].T
        for i, ec50 in enumerate(grid):
            for j, slope in enumerate(SLOPES):
                u = n[rows] * _hill(doses[rows], ec50, slope)
                norm = (u**2 / n[rows]).sum()
                out[i, j] += u @ gram @ u / norm if norm > 0 else 0.0
    return out
