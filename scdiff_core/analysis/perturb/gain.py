"""Which experiment next: how much the measurement of a perturbation would take from what is not known of all of them.

The mean response is a Gaussian process over perturbations (`response`, `gaussian`), so what a measurement would
teach is known before it is made: measuring j with n cells lowers the variance of the score of i on a program r by
``cov_r(i, j)² / (var_r(j) + 1 / n)`` (Rasmussen and Williams 2006, eq. 2.24; the sum over i is the A-optimal design of
Seo et al. 2000). Programs weigh what they move: the squared loadings of all genes. What single genes do beside the
programs is left out. The list is greedy: each next one is chosen with those before it taken as measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scdiff_core.analysis.perturb.kernels import Item

MOST = 400  # candidates that are weighed against one another; of more, those least known


@dataclass(frozen=True)
class Choice:
    """One experiment, in the order in which they are worth making.

    Attributes
    ----------
    index
        Which candidate.
    gain
        What it takes from the unknown, as a share of all that is unknown of the candidates (0 to 1).
    own
        The part of its gain that is about itself (0 to 1).
    unknown
        How little is known of it now: its variance over that of the least known candidate (0 to 1).
    teaches
        Candidates of which it takes the most besides itself, with the share of their variance.
    alike
        The measured arm that it is most like, and how much (a correlation of the kernel).
    """

    index: int
    gain: float
    own: float
    unknown: float
    teaches: tuple[tuple[int, float], ...]
    alike: tuple[int, float]


def choose(model: Any, candidates: Sequence[Item], n_cells: float = 100.0, most: int = 12) -> list[Choice]:
    """Return up to `most` experiments among the candidates, the one that teaches most first.

    Parameters
    ----------
    model
        A `response.ResponseModel`.
    n_cells
        Cells that would be measured of each.
    """
    if not candidates:
        return []
    cross = _kernel(model, candidates, model.items)
    own = np.array([float(_kernel(model, [c], [c])[0, 0]) for c in candidates])
    scores = model.found.scores
    # what a program weighs: its variance over all genes, log1p squared
    weight = ((model.found.programs.loadings * model.scale) ** 2).sum(axis=1)
    kept = np.arange(len(candidates))
    if len(candidates) > MOST:
        kept = np.argsort(-(scores.variance(cross, own) @ weight), kind="stable")[:MOST]
        cross, own = cross[kept], own[kept]
    some = [candidates[int(i)] for i in kept]
    between = _kernel(model, some, some)
    cov = covariances(scores, cross, between)
    start = np.einsum("rii,r->i", cov, weight)
    total = float(start.sum())
    alike = _alike(model, cross, own)
    chosen: list[Choice] = []
    left = np.ones(len(some), bool)
    for _ in range(min(most, len(some))):
        var = np.einsum("rii->ri", cov)
        taken = np.einsum("rij,r->ij", cov**2 / np.maximum(var + 1 / n_cells, 1e-12)[:, None, :], weight)
        gains = np.where(left, taken.sum(axis=0), -1.0)
        j = int(np.argmax(gains))
        if gains[j] <= 1e-12 or total <= 0:
            break
        others = np.argsort(-np.where(np.arange(len(some)) == j, -1, taken[:, j]), kind="stable")[:3]
        shares = taken[:, j] / np.maximum(start, 1e-12)
        chosen.append(Choice(
            int(kept[j]), float(gains[j] / total), float(taken[j, j] / gains[j]),
            float(start[j] / max(float(start.max()), 1e-12)),
            tuple((int(kept[i]), float(shares[i])) for i in others if i != j and shares[i] > 0.01), alike[j]))
        step = cov[:, :, j] / np.sqrt(np.maximum(var[:, j] + 1 / n_cells, 1e-12))[:, None]
        cov = cov - step[:, :, None] * step[:, None, :]
        left[j] = False
    return chosen


def covariances(solution: Any, cross: np.ndarray, between: np.ndarray) -> np.ndarray:
    """Return the posterior covariances of C candidates on R programs [R, C, C], in units of the noise of one cell.

    Parameters
    ----------
    solution
        A `gaussian.Solution`.
    cross, between
        Their kernel with the measured arms [C, A] and with one another [C, C].
    """
    turned = cross @ solution.turn.T
    known = np.einsum("ca,ar,da->rcd", turned, solution.spread, turned, optimize=True)
    return np.asarray(solution.signal[:, None, None] * between[None] - known)


def _kernel(model: Any, a: Sequence[Item], b: Sequence[Item]) -> np.ndarray:
    w = model.weights
    return np.asarray(model.space.between(list(a), list(b)).join(w.what, w.types, w.arm))


def _alike(model: Any, cross: np.ndarray, own: np.ndarray) -> list[tuple[int, float]]:
    """Return for each candidate the measured arm that its kernel is nearest to, and their correlation."""
    measured = np.array([float(_kernel(model, [i], [i])[0, 0]) for i in model.items])
    near = cross / np.sqrt(np.maximum(np.outer(own, measured), 1e-12))
    best = near.argmax(axis=1)
    return [(int(b), float(near[c, b])) for c, b in enumerate(best)]
