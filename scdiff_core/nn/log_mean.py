"""The mean log1p value that counts have, without drawing any: E log1p(s X) for a negative binomial X."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy.special
import torch
from torch import Tensor

# grids of log mean, log theta and log scale; beyond the last mean counts are as good as continuous
LOG_MEAN = np.linspace(-8.0, 5.0, 53)
LOG_THETA = np.linspace(-4.0, 4.0, 17)
LOG_SCALE = np.linspace(-3.0, 5.0, 17)
LARGEST = 4000  # counts that are summed over


@lru_cache(maxsize=1)
def _table() -> Tensor:
    """Return log E log1p(s X) on the grids, flat [means * thetas * scales].

    By E f(X) = sum over k of P(X >= k) (f(k) - f(k - 1)); far out k goes in steps that grow.
    """
    k = np.unique(np.concatenate([np.arange(1, 65), np.geomspace(65, LARGEST * 8, 100).astype(int)])).astype(float)
    last = np.concatenate([[0.0], k[:-1]])
    mean, theta = np.exp(LOG_MEAN)[:, None, None], np.exp(LOG_THETA)[None, :, None]
    tail = scipy.special.betainc(k, theta, mean / (mean + theta))  # P(X >= k)
    rise = np.log1p(np.exp(LOG_SCALE)[:, None] * k) - np.log1p(np.exp(LOG_SCALE)[:, None] * last)
    return torch.from_numpy(np.log(np.maximum(tail @ rise.T, 1e-30)).astype(np.float32)).reshape(-1)


def _place(x: Tensor, grid: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return the grid point below x, and how far x is to the next (0 to 1)."""
    at = (x - float(grid[0])) / float(grid[1] - grid[0])
    low = at.floor().clamp(0, len(grid) - 2)
    return low.long(), (at - low).clamp(0, 1)


def log1p_mean(log_mean: Tensor, log_theta: Tensor, log_scale: Tensor) -> Tensor:
    """Return E log1p(s X) [B, G] of negative binomials with log mean and log theta [B, G] at log scales [B].

    Interpolated in a table, which is right to about a hundredth part; a mean beyond the table's is taken as
    log(s mean) plus the mean log of a gamma.
    """
    table, t, s = _table().to(log_mean.device), len(LOG_THETA), len(LOG_SCALE)
    over = (log_mean - float(LOG_MEAN[-1])).clamp(min=0)
    under = (log_mean - float(LOG_MEAN[0])).clamp(max=0)
    i, a = _place(log_mean, LOG_MEAN)
    j, b = _place(log_theta, LOG_THETA)
    k, c = _place(log_scale, LOG_SCALE)
    k, c = k[:, None], c[:, None]
    out = torch.zeros_like(log_mean)
    flat = (i * t + j) * s + k
    for di, wi in ((0, 1 - a), (1, a)):
        for dj, wj in ((0, 1 - b), (1, b)):
            for dk, wk in ((0, 1 - c), (1, c)):
                out = out + table[(di * t + dj) * s + dk:].take(flat) * wi * wj * wk
    return (out + under).exp() + over
