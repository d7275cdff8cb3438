"""Whether a perturbation does anything that the cells show, how much, and whether two do more together than apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from scdiff_core.analysis.perturb.arms import Arms
from scdiff_core.data.perturbations import Perturbation

NONE, WEAK, CLEAR, STRONG = "none", "weak", "clear", "strong"
LEVEL = 0.01  # false discovery rate of "an effect": at 0.05 one of a handful of silent ones is named too often
CLEAR_FROM, STRONG_FROM = 0.05, 0.25  # squared shift of the mean, as a share of the cells' own variance
POWER_Z = 2.0  # null standard deviations that a predicted effect must have to be called detectable
TYPICAL_CELLS = 100


@dataclass(frozen=True)
class Detected:
    """What the cells of A arms show against their controls.

    Attributes
    ----------
    distance
        Unbiased squared distance of the means, in units of each gene's own standard deviation, summed [A].
    pval, qval
        Of a permutation test of that, and Benjamini-Hochberg over the perturbed arms of its type (1 for controls).
    size
        Squared shift of the mean over genes, less its noise, as a share of the cells' variance [A].
    null_sd
        Standard deviation of `distance` under no effect [A].
    verdict
        ``"none"``, ``"weak"``, ``"clear"`` or ``"strong"`` [A].
    """

    distance: np.ndarray
    pval: np.ndarray
    qval: np.ndarray
    size: np.ndarray
    null_sd: np.ndarray
    verdict: tuple[str, ...]


def verdict(size: float) -> str:
    """Return the word for the size of an effect that is there."""
    return STRONG if size >= STRONG_FROM else CLEAR if size >= CLEAR_FROM else WEAK


def sizes(shift: np.ndarray, noise: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return the squared shift less its noise as a share of the variance, each summed over genes (last axis)."""
    return np.asarray((shift**2 - noise).sum(axis=-1) / np.maximum(variance.sum(axis=-1), 1e-12))


def detect(log1p: Any, arms: Arms, strata: np.ndarray | None = None, permutations: int = 200,
           seed: int = 0) -> Detected:
    """Test every arm against the controls of its type by moving labels between them.

    The statistic is ``sum_g [(difference of means)^2 - variances of the means] / sd_g^2``; the tail of its null
    distribution is a Pearson III curve with the moments of the permutations, so that small p-values are told apart
    with few of them.

    Parameters
    ----------
    log1p
        [N, G]; the arms' `rows` point into it.
    strata
        Batches [N] within which labels are moved where both sides have cells in every one of them.
    """
    values = sp.csr_matrix(log1p)
    free = np.maximum(arms.n - 1, 0)[:, None]
    scale = np.sqrt((free * arms.var).sum(axis=0) / max(free.sum(), 1))
    scale = np.maximum(scale, 0.1 * np.quantile(scale, 0.9) + 1e-9)
    rng = np.random.default_rng([seed, 5])
    a = len(arms)
    distance, pval, null_sd = np.zeros(a), np.ones(a), np.full(a, np.nan)
    for i, arm in enumerate(arms.arms):
        if arm.perturbation.is_control:
            continue
        j = arms.find(Perturbation(), None, arm.cell_type)
        assert j is not None, "collect leaves out arms without controls"
        rows = np.r_[arm.rows, arms.arms[j].rows]
        z = values[rows].toarray() / scale
        groups = None if strata is None else np.asarray(strata)[rows]
        distance[i], pval[i], null_sd[i] = _permuted(z, len(arm.rows), groups, permutations, rng)
    types = np.array([arm.cell_type for arm in arms.arms])
    qval = np.ones(a)
    for kind in arms.cell_types:  # within a type: strong effects in one must not lower the bar in another
        tested = ~arms.is_control & (types == kind)
        qval[tested] = false_discovery(pval[tested])
    size = sizes(arms.shift, arms.noise, arms.var)
    words = tuple(verdict(s) if q < LEVEL else NONE for s, q in zip(size, qval, strict=True))
    return Detected(distance, pval, qval, size, null_sd, words)


def _permuted(z: np.ndarray, n: int, groups: np.ndarray | None, permutations: int,
              rng: np.random.Generator) -> tuple[float, float, float]:
    from scipy.stats import pearson3, skew

    total = len(z)
    strata = [np.arange(total)]
    if groups is not None:
        split = [np.flatnonzero(groups == g) for g in np.unique(groups)]
        if len(split) > 1 and all((s < n).any() and (s >= n).any() for s in split):
            strata = split
            for s in split:
                z[s] -= z[s].mean(axis=0)
    member = np.zeros((permutations + 1, total))
    member[0, :n] = 1
    for row in member[1:]:
        for s in strata:
            row[rng.permutation(s)[:int((s < n).sum())]] = 1
    m = total - n
    sums, squares = member @ z, member @ z**2
    rest, rest_squares = z.sum(axis=0) - sums, (z**2).sum(axis=0) - squares
    mean_a, mean_b = sums / n, rest / m
    noise = (squares / n - mean_a**2) / max(n - 1, 1) + (rest_squares / m - mean_b**2) / max(m - 1, 1)
    value = ((mean_a - mean_b) ** 2 - noise).sum(axis=1)
    null = value[1:]
    sd = float(null.std())
    if sd <= 0:
        return float(value[0]), 1.0, 0.0
    tail = float(pearson3.sf((value[0] - null.mean()) / sd, float(np.clip(skew(null), 0.01, 4.0))))
    return float(value[0]), float(np.clip(tail, 1e-300, 1.0)), sd


def false_discovery(pval: np.ndarray) -> np.ndarray:
    """Return Benjamini-Hochberg q-values."""
    from scipy.stats import false_discovery_control

    return np.asarray(false_discovery_control(pval)) if len(pval) else np.ones(0)


@dataclass(frozen=True)
class Interaction:
    """How a combination departs from the sum of its parts.

    Attributes
    ----------
    scale
        The combination's shift as a multiple of the sum of its parts' (1: additive; above: synergy; below: buffering).
    residual
        Combination less the sum of parts, log1p [G].
    score
        `residual` over its own standard error [G]; nan where that is not known.
    kind
        ``"synergistic"``, ``"additive"`` or ``"buffering"``.
    """

    scale: float
    residual: np.ndarray
    score: np.ndarray
    kind: str


SYNERGY_FROM, BUFFERING_TO = 1.2, 0.75


def interaction(pair: np.ndarray, parts: Sequence[np.ndarray], noise: np.ndarray | None = None,
                scale: np.ndarray | None = None) -> Interaction:
    """Compare the shift of a combination with the sum of its parts' shifts, all log1p [G].

    Parameters
    ----------
    noise
        Sampling variance of the residual [G].
    scale
        Standard deviation of each gene [G]; genes weigh by its inverse square.
    """
    total = np.sum(parts, axis=0)
    w = np.ones(len(pair)) if scale is None else 1 / scale**2
    norm = float((w * total**2).sum())
    multiple = float((w * total * pair).sum() / norm) if norm > 0 else np.nan
    residual = pair - total
    score = np.full(len(pair), np.nan) if noise is None else residual / np.sqrt(np.maximum(noise, 1e-12))
    kind = "synergistic" if multiple > SYNERGY_FROM else "buffering" if multiple < BUFFERING_TO else "additive"
    return Interaction(multiple, residual, score, kind)
