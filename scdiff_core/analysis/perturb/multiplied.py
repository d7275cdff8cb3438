"""Control cells brought to another mean by multiplying their counts, so that zeros stay what they are."""

from __future__ import annotations

import numpy as np

MOST_TIMES = 10.0  # by what a gene's counts are multiplied, before molecules are added


def multiplied(control: np.ndarray, start: np.ndarray, mean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the cells `start` [n, G] with each gene's counts multiplied to reach a mean [G], all log1p.

    The factors are those that give `control` [m, G] that mean. Where a gene would need more than `MOST_TIMES`, it gets
    Poisson molecules besides: one molecule is what a cell's smallest value says.
    """
    counts = np.expm1(control.astype(np.float64))
    low, high = (np.full(len(mean), s * np.log(t)) for s, t in ((-1, 1e4), (1, MOST_TIMES)))
    for _ in range(30):
        middle = (low + high) / 2
        under = np.log1p(counts * np.exp(middle)).mean(axis=0) < mean
        low, high = np.where(under, middle, low), np.where(under, high, middle)
    factor = np.where(mean <= 0, 0.0, np.exp((low + high) / 2))
    out = np.expm1(start.astype(np.float64)) * factor
    short = np.log1p(counts * factor).mean(axis=0) < mean - 1e-3
    if short.any():
        rate = _molecules(counts[:, short] * factor[short], _molecule(counts), mean[short])
        out[:, short] += rng.poisson(np.broadcast_to(rate, (len(out), len(rate)))) * _molecule(np.expm1(start))
    return np.log1p(out).astype(np.float32)


def _molecule(counts: np.ndarray) -> np.ndarray:
    """Return what one molecule is worth in each cell [n, 1]: its smallest value above zero."""
    smallest = np.where(counts > 0, counts, np.inf).min(axis=1, keepdims=True)
    return np.where(np.isfinite(smallest), smallest, 1.0)


def _molecules(counts: np.ndarray, one: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return the Poisson rates [G] of molecules that bring cells [n, G] to the mean [G] in log1p, by bisection.

    The mean after k molecules is taken of the cells themselves, for each k; that of a rate is their Poisson mean.
    """
    from scipy.special import gammaln

    most = int(np.ceil(2 * np.expm1(float(mean.max(initial=0.0))) / float(np.median(one)))) + 10
    after = np.array([np.log1p(counts + one * k).mean(axis=0) for k in range(most + 1)])  # [K, G]
    k = np.arange(most + 1)[:, None]
    low, high = np.full(len(mean), -12.0), np.full(len(mean), np.log(most))
    for _ in range(40):
        middle = (low + high) / 2
        chance = np.exp(k * middle - np.exp(middle) - gammaln(k + 1))
        chance[-1] += np.maximum(1 - chance.sum(axis=0), 0.0)  # all that are more
        under = (chance * after).sum(axis=0) < mean
        low, high = np.where(under, middle, low), np.where(under, high, middle)
    return np.asarray(np.exp((low + high) / 2))
