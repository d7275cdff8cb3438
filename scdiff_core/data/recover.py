"""Get integer counts back from normalised values, only where that is exact.

A cell's normalised values are `count * scale` (taken to the logarithm or not), with one `scale` a cell. Every
value is known to within half of its rounding step, so every value bounds the scale from both sides; counts are
accepted only where one scale fits all values of the cell and leaves each of them a single integer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

LOG_BASES = {"log1p": 1.0, "log2(x + 1)": float(np.log(2.0)), "log10(x + 1)": float(np.log(10.0)), "linear": 0.0}
SMALLEST = 12  # the smallest count of a cell is tried from 1 up to this
MIN_EVIDENCE = 30.0  # nats by which the integers must beat chance, over all cells
CHUNK = 4_000_000  # stored values worked on at once
SAMPLES = (8, 100)  # cells tried first, so that data without counts is soon given up
TARGETS = (1e3, 2e3, 2.5e3, 3e3, 4e3, 5e3, 1e4, 2e4, 5e4, 1e5, 1e6, 1e7)


@dataclass(frozen=True)
class Recovered:
    """Counts won back from normalised values.

    Attributes
    ----------
    counts
        Integer counts, csr float32 [N, G].
    scale
        float64 [N]: normalised value of one count (before the logarithm); nan in empty cells.
    low, high
        float64 [N]: the bounds that rounding leaves for `scale`.
    transform
        Which normalisation was undone, a key of `LOG_BASES`.
    totals
        float64 [N], the cells' counts over all genes that were there when they were normalised; None where
        they cannot be known.
    target
        The total every cell was scaled to, None where `totals` is None.
    source
        Where the totals come from: 'unscaled' (cells kept their depth), 'sum', the name of the obs column,
        'scale' (exact), 'rounded' (exact to about one count) or 'assumed'.
    """

    counts: sp.csr_matrix
    scale: np.ndarray
    low: np.ndarray
    high: np.ndarray
    transform: str
    totals: np.ndarray | None = None
    target: float | None = None
    source: str = ""


def half_step(x: np.ndarray) -> np.ndarray | float:
    """Return half of the step to which positive values were rounded: by decimals, float16 or float32 arithmetic."""
    sample = x[:: max(1, x.size // 20_000)].astype(np.float64)
    for decimals in (1, 2, 3, 4, 5):
        grid = sample * 10.0**decimals
        if sample.size > 10 * decimals and np.all(np.abs(grid - np.rint(grid)) <= 2e-7 * np.abs(grid) + 1e-9):
            return 0.5001 * 10.0**-decimals + 1e-7 * x
    with np.errstate(over="ignore"):
        if np.array_equal(sample.astype(np.float16).astype(np.float64), sample):
            return 2.0**-10 * np.maximum(x, 2.0**-14) * 0.51
    return 4e-7 * (1.0 + x)  # three roundings of float32: divide, multiply, logarithm


def _bounds(x: np.ndarray, h: np.ndarray | float, base: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the normalised, not logged values [low, high] that are rounded to `x`."""
    if base == 0.0:
        return x - h, x + h
    return np.expm1((x - h) * base), np.expm1((x + h) * base)


def _fit(low: np.ndarray, high: np.ndarray, starts: np.ndarray, sizes: np.ndarray, smallest: int,
         ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Fit one scale a cell, its smallest value being `smallest` counts.

    Returns
    -------
    counts [nnz], scale_low [cells], scale_high [cells], exact bool [cells], evidence [cells] in nats
    """
    s_low = np.minimum.reduceat(low, starts) / smallest
    s_high = np.minimum.reduceat(high, starts) / smallest
    evidence = np.zeros(len(starts))
    for turn in range(8):
        a = np.ceil(low / np.repeat(s_high, sizes) * (1 - 1e-9))
        b = np.floor(high / np.repeat(s_low, sizes) * (1 + 1e-9))
        fits, single = b >= np.maximum(a, 1), (a == b) & (a >= 1)
        if turn == 0:
            width = high / np.repeat(s_low, sizes) - low / np.repeat(s_high, sizes)
            told = np.where(a > smallest, -np.log(np.clip(width, 1e-9, 1.0)), 0.0)
            evidence = np.add.reduceat(told, starts)
        counts = np.where(single, a, np.inf)
        new_low = np.maximum(s_low, np.maximum.reduceat(np.where(single, low / counts, 0.0), starts))
        new_high = np.minimum(s_high, np.minimum.reduceat(np.where(single, high / np.where(single, a, 1), np.inf),
                                                          starts))
        alive = np.logical_and.reduceat(fits, starts) & (new_low <= new_high * (1 + 1e-9))
        done = np.logical_and.reduceat(single, starts)
        narrower = (new_low > s_low) | (new_high < s_high)
        # a cell that has failed keeps its bounds: they no longer mean anything
        s_low, s_high = np.where(alive, new_low, s_low), np.where(alive, new_high, s_high)
        if not np.any(alive & ~done & narrower):
            break
    return np.where(np.isfinite(counts), counts, 0.0), s_low, s_high, alive & done, evidence


def _rows(X: sp.csr_matrix, base: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, float] | None:
    """Return counts [nnz], scale_low, scale_high [non-empty cells] and the evidence, None where one cell fails."""
    sizes = np.diff(X.indptr)
    sizes = sizes[sizes > 0]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    x = X.data.astype(np.float64)
    low, high = _bounds(x, half_step(x) if base else np.maximum(half_step(x), 4e-7 * x), base)
    if low.min() <= 0:
        low = np.maximum(low, 1e-12)
    counts, s_low, s_high, exact, evidence = _fit(low, high, starts, sizes, 1)
    for smallest in range(2, SMALLEST + 1):
        todo = np.flatnonzero(~exact)
        if todo.size == 0:
            break
        where = np.concatenate([np.arange(starts[i], starts[i] + sizes[i]) for i in todo])
        part = np.concatenate([[0], np.cumsum(sizes[todo])[:-1]]).astype(np.int64)
        c, lo, hi, good, told = _fit(low[where], high[where], part, sizes[todo], smallest)
        good &= told > np.log(SMALLEST) + 5  # with more tries, more cells would fit by chance
        rows = np.repeat(good, sizes[todo])
        counts[where[rows]] = c[rows]
        s_low[todo[good]], s_high[todo[good]], evidence[todo[good]] = lo[good], hi[good], told[good]
        exact[todo[good]] = True
    return (counts, s_low, s_high, float(evidence.sum())) if exact.all() else None


def _all_rows(X: sp.csr_matrix, base: float) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Do `_rows` over the whole matrix, a bounded piece at a time; scales are nan in empty cells."""
    n = X.shape[0]
    filled = np.flatnonzero(np.diff(X.indptr) > 0)
    counts = np.empty(X.nnz, np.float32)
    low, high, evidence = np.full(n, np.nan), np.full(n, np.nan), 0.0
    step = max(1, int(CHUNK / max(1.0, X.nnz / max(n, 1))))
    for first in range(0, n, step):
        last = min(n, first + step)
        a, b = X.indptr[first], X.indptr[last]
        if a == b:
            continue
        result = _rows(X[first:last], base)
        if result is None:
            return None
        counts[a:b] = result[0]
        rows = filled[(filled >= first) & (filled < last)]
        low[rows], high[rows] = result[1], result[2]
        evidence += result[3]
    return (counts, low, high) if evidence > MIN_EVIDENCE else None


def recover_counts(X: sp.csr_matrix, obs_totals: Mapping[str, np.ndarray] | None = None) -> Recovered | None:
    """Return the integer counts behind normalised values (log1p, log2, log10 or not logged), None if not exact.

    Verified value by value: in each cell one scale must fit every value to within its rounding, and leave it
    one integer only. Where all counts of a cell share a divisor the values alone cannot tell; the cells'
    totals then decide, if they are known.

    Parameters
    ----------
    X
        Normalised values [N, G], without negative or non-finite ones.
    obs_totals
        Columns of the cells that may be their total counts over all genes, by name.
    """
    X = X.tocsr()
    if X.nnz and (not np.isfinite(X.data).all() or X.data.min() < 0):
        return None
    if X.nnz and not X.data.all():
        X = X.copy()
        X.eliminate_zeros()
    filled = np.flatnonzero(np.diff(X.indptr) > 0)
    if filled.size == 0:
        return None
    samples = [X[filled[np.unique(np.linspace(0, filled.size - 1, n).astype(int))]] for n in SAMPLES]
    for transform, base in LOG_BASES.items():
        if base and X.data.max() * base > 60:
            continue
        if any(_rows(sample, base) is None for sample in samples):
            continue
        result = _all_rows(X, base)
        if result is not None:
            data, low, high = result
            counts = sp.csr_matrix((data, X.indices, X.indptr), shape=X.shape)
            return with_totals(Recovered(counts, (low + high) / 2, low, high, transform), obs_totals or {})
    return None


def _common(low: np.ndarray, high: np.ndarray) -> float | None:
    """Return the one number that lies within all bounds, None where there is none."""
    a, b = low.max(), high.min()
    return float((a + b) / 2) if a <= b * (1 + 1e-6) else None


def _multiply(found: Recovered, by: np.ndarray) -> Recovered:
    """Return the same with the counts of some cells multiplied: their counts share a divisor."""
    if np.all(by == 1):
        return found
    counts = found.counts.copy()
    counts.data *= np.repeat(by, np.diff(counts.indptr)).astype(np.float32)
    return replace(found, counts=counts, scale=found.scale / by, low=found.low / by, high=found.high / by)


def _by_column(found: Recovered, ok: np.ndarray, values: np.ndarray) -> tuple[float, np.ndarray] | None:
    """Return (target, multipliers) if `values` are the totals that the cells were scaled by."""
    values = np.asarray(values, np.float64)
    if not np.isfinite(values[ok]).all() or values[ok].min() <= 0:
        return None
    low, high = found.low[ok] * values[ok], found.high[ok] * values[ok]
    by = np.ones(len(values))
    by[ok] = np.rint((low + high) / 2 / np.median((low + high) / 2))
    if by.min() < 1 or by.max() > SMALLEST or np.mean(by > 1) > 0.2:
        return None
    target = _common(low / by[ok], high / by[ok])
    return None if target is None else (target, by)


def _by_scale(found: Recovered, ok: np.ndarray, sums: np.ndarray) -> tuple[float, np.ndarray] | None:
    """Return (target, multipliers) for the smallest target that makes every cell's total an integer."""
    low, high = 1 / found.high[ok], 1 / found.low[ok]
    width = high - low
    order = np.argsort(width)[: min(60, ok.sum())]
    needed = (sums[ok] * found.low[ok]).max() * (1 - 1e-9)

    def whole(target: float, i: np.ndarray) -> np.ndarray:
        return np.floor(high[i] * target * (1 + 1e-9)) >= np.ceil(low[i] * target * (1 - 1e-9))

    def sure(target: float) -> bool:
        told = -np.log(np.clip(width[order] * target, 1e-6, 1.0)).sum()
        return bool(told > 30 and np.mean(whole(target, order)) > 0.9)

    candidates = [t for t in TARGETS if sure(t)][:1]
    if candidates and candidates[0] < needed:
        return None  # the cells were scaled by a part of their counts (without the highest genes)
    if not candidates:  # scanpy's default target is the median of the totals: some whole or half number
        halves = np.arange(int(np.ceil(2 * needed)), 400_000) / 2
        for i in order[:: max(1, len(order) // 20)]:
            halves = halves[np.floor(high[i] * halves * (1 + 1e-9)) >= np.ceil(low[i] * halves * (1 - 1e-9))]
        candidates = [float(t) for t in halves[:5] if sure(float(t))][:1]
    if not candidates:
        return None
    target, every = candidates[0], np.arange(ok.sum())
    by = np.ones(len(every))
    todo = ~whole(target, every)
    for multiple in range(2, SMALLEST + 1):
        by[todo & (np.floor(high * target * multiple * (1 + 1e-9))
                   >= np.ceil(low * target * multiple * (1 - 1e-9)))] = multiple
        todo &= by == 1
    if np.mean(by > 1) > 0.1 or np.any(todo):
        return None
    full = np.ones(len(ok))
    full[ok] = by
    return target, full


def with_totals(found: Recovered, columns: Mapping[str, np.ndarray]) -> Recovered:
    """Add the cells' totals over all genes of the source, as far as they can be known.

    In this order: nothing but a logarithm was taken; the recovered counts add up to the same total in every
    cell (all genes are there); a column
    of the cells explains every scale; one target makes every total an integer; 10,000, which nearly everybody
    takes, where rounding hides the integers.
    """
    ok = np.isfinite(found.scale)
    sums = np.asarray(found.counts.sum(1)).ravel().astype(np.float64)
    one = _common(found.low[ok], found.high[ok])
    if one is not None and abs(one - 1) < 1e-4:  # a logarithm of plain counts: every target would fit
        return replace(found, totals=sums, source="unscaled")
    target = _common(found.low[ok] * sums[ok], found.high[ok] * sums[ok])
    if target is not None:
        return replace(found, totals=sums, target=_tidy(target), source="sum")
    for name, values in columns.items():
        hit = _by_column(found, ok, values)
        if hit is not None and np.all(np.asarray(values)[ok] >= (sums * hit[1])[ok] - 0.5):
            return replace(_multiply(found, hit[1]), totals=np.asarray(values, np.float64),
                           target=_tidy(hit[0]), source=name)
    hit = _by_scale(found, ok, sums)
    if hit is not None:
        better = _multiply(found, hit[1])
        exact = np.all((1 / better.low - 1 / better.high)[ok] * hit[0] < 1)
        return replace(better, totals=np.rint(hit[0] / better.scale), target=hit[0],
                       source="scale" if exact else "rounded")
    totals = 1e4 / found.scale
    hidden = np.median((1 / found.low - 1 / found.high)[ok]) * 1e4 > 0.25
    if hidden and np.all(totals[ok] >= sums[ok] - 0.5) and 100 < np.median(totals[ok]) < 3e5:
        return replace(found, totals=np.maximum(np.rint(totals), sums), target=1e4, source="assumed")
    return found


def _tidy(target: float) -> float:
    """Return a target as people write it, where rounding alone keeps it from a whole number."""
    usual = min(TARGETS, key=lambda t: abs(t - target))
    half = float(np.rint(2 * target) / 2)  # the median of whole numbers
    return usual if abs(usual - target) < 1e-3 * target else half if abs(half - target) < 1e-4 * target else target
