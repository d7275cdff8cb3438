"""Molecular cross-validation: counts split in two, one half denoised, the other half left to judge it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from scdiff_core import keys

LEAST = 1e-9  # share of a cell's counts below which nothing is expected: a rate of zero forbids every count


@dataclass(frozen=True)
class Halves:
    """Two sets of counts of the same cells, csr float32 [n, G], and their total counts over all genes, float32 [n]."""

    seen: sp.csr_matrix
    kept: sp.csr_matrix
    total_seen: np.ndarray
    total_kept: np.ndarray


def halve(counts: sp.csr_matrix, total_counts: np.ndarray, seed: int, share: float = 0.5) -> Halves:
    """Give each molecule to the half that is seen with probability `share`, else to the one that is kept back.

    Given a cell's expression, the two are independent (Batson, Royer and Webber 2019, section 2), so what predicts
    the second from the first has found expression and not noise. `total_counts` [n] has the genes that were left
    out too; their molecules are divided alike.
    """
    rng = np.random.default_rng(seed)
    whole = sp.csr_matrix(counts, dtype=np.float32)
    data = np.round(whole.data).astype(np.int64)
    first = rng.binomial(data, share)
    rest = np.maximum(np.round(np.asarray(total_counts, np.float64) - np.asarray(whole.sum(1)).ravel()), 0)
    other = rng.binomial(rest.astype(np.int64), share)
    halves, totals = [], []
    for part, beside in ((first, other), (data - first, rest - other)):
        matrix = sp.csr_matrix((part.astype(np.float32), whole.indices.copy(), whole.indptr.copy()), whole.shape)
        totals.append((np.asarray(matrix.sum(1)).ravel() + beside).astype(np.float32))
        matrix.eliminate_zeros()
        halves.append(matrix)
    return Halves(*halves, *totals)


def deviance(kept: sp.csr_matrix, total_kept: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return the Poisson deviance of each cell's counts [n, G] where shares of its total [n, G] are expected; [n].

    Twice the log likelihood that is lost against knowing every rate (McCullagh and Nelder 1989, table 2.1). It is
    least for the true rates, whatever the depth, which a squared error of logarithms is not.
    """
    expected = np.maximum(share, LEAST) * np.asarray(total_kept, np.float64)[:, None]
    x = sp.csr_matrix(kept)
    cell = np.repeat(np.arange(x.shape[0]), np.diff(x.indptr))
    terms = x.data * np.log(x.data / expected[cell, x.indices])
    return 2 * (np.bincount(cell, terms, x.shape[0]) - np.asarray(x.sum(1)).ravel() + expected.sum(1))


def error_log1p(kept: sp.csr_matrix, total_kept: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return each cell's mean squared error of log1p at 10,000 counts between its counts and shares expected; [n]."""
    real = sp.csr_matrix(kept).toarray() * (keys.TARGET_SUM / np.maximum(total_kept, 1))[:, None]
    return np.mean((np.log1p(real) - np.log1p(keys.TARGET_SUM * share)) ** 2, axis=1)
