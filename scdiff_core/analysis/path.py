"""What happens along a path of cells: gene curves, where each gene rises, and which genes change most."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

RISES = 0.5  # log1p: a gene whose mean changes by less along a path does not count as changing


def curves(log1p: Any, position: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the positions [K], and each gene's mean and standard deviation [K, G] (log1p) of the cells at each.

    Parameters
    ----------
    log1p
        [N, G], sparse or dense.
    position
        [N]; NaN where a cell has none.
    """
    position = np.asarray(position, float)
    at = np.unique(position[~np.isnan(position)])
    x = sp.csr_matrix(log1p)
    groups = sp.csr_matrix((position[None, :] == at[:, None]).astype(np.float64))
    sizes = np.asarray(groups.sum(1))
    mean = np.asarray((groups @ x).todense()) / sizes
    square = np.asarray((groups @ x.multiply(x)).todense()) / sizes
    return at, mean, np.sqrt(np.maximum(square - mean**2, 0))


def rise(at: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return where each gene first reaches the middle between its start and its highest mean, [G].

    Between two positions the mean is taken to go in a straight line. NaN where a gene never rises above its start.

    Parameters
    ----------
    at, mean
        Positions [K], ascending, and means [K, G].
    """
    half = (mean[0] + mean.max(0)) / 2
    above = mean >= half
    first = above.argmax(0)  # the start itself lies below, unless nothing rises
    out = np.full(mean.shape[1], np.nan)
    genes = np.flatnonzero((first > 0) & (mean.max(0) > mean[0]))
    k = first[genes]
    low, high = mean[k - 1, genes], mean[k, genes]
    out[genes] = at[k - 1] + (half[genes] - low) / (high - low) * (at[k] - at[k - 1])
    return out


def changing(mean: np.ndarray, sd: np.ndarray, n: int) -> np.ndarray:
    """Return the n genes whose mean changes most along a path, against the spread of cells at a position: [n]."""
    change = mean.max(0) - mean.min(0)
    return np.argsort(-change / (sd.mean(0) + 0.25), kind="stable")[:n]
