"""A table of quantiles, gene by gene, that corrects what a likelihood gets wrong on average."""

from __future__ import annotations

import torch
from torch import Tensor

N_QUANTILES = 64
BLOCK = 256  # genes that are sorted together, so that memory does not grow with their number


def tabulate(u: Tensor, n: int = N_QUANTILES) -> Tensor:
    """Return the quantiles of each gene's probability integral transforms, [G, n + 1].

    Column j is the j/n quantile; the first is 0 and the last 1. Where the likelihood is right the
    transforms `u` [N, G] are uniform and the table is the identity.
    """
    levels = torch.linspace(0, 1, n + 1, dtype=u.dtype, device=u.device)
    position = levels * (len(u) - 1)
    low = position.floor().long()
    high = (low + 1).clamp(max=len(u) - 1)
    table = u.new_empty((u.shape[1], n + 1))
    for start in range(0, u.shape[1], BLOCK):
        ordered = u[:, start:start + BLOCK].sort(dim=0).values
        some = ordered[low] + (position - low)[:, None] * (ordered[high] - ordered[low])
        table[start:start + BLOCK] = some.T
    table[:, 0], table[:, -1] = 0.0, 1.0
    return table


def identity(n_genes: int, n: int = N_QUANTILES) -> Tensor:
    """Return the table that changes nothing, [G, n + 1]."""
    return torch.linspace(0, 1, n + 1).expand(n_genes, n + 1).contiguous()


def blend(table: Tensor, weight: float) -> Tensor:
    """Return `weight` of the table and the rest of the identity."""
    return weight * table + (1 - weight) * identity(len(table), table.shape[1] - 1).to(table)


def look_up(table: Tensor, v: Tensor) -> Tensor:
    """Map uniform draws v [B, G] through each gene's table by linear interpolation."""
    n = table.shape[1] - 1
    position = v * n
    at = position.long().clamp_(0, n - 1)
    position -= at
    at += torch.arange(table.shape[0], device=v.device) * (n + 1)
    flat = table.reshape(-1)
    start = flat.take(at)
    return start + position * (flat.take(at.add_(1)) - start)


def disagreement(x: Tensor, y: Tensor) -> float:
    """Return how differently values x [n, G] and y [m, G] are distributed, gene by gene, on average.

    The two-sample Anderson-Darling integral of (F - G)^2 / (H (1 - H)) over the pooled values (Pettitt 1976,
    eq. 1, without its factor of sample size), which minds the tails and the zeros as much as the middle.
    """
    each = [_integral(x[:, i:i + BLOCK].T.contiguous(), y[:, i:i + BLOCK].T.contiguous())
            for i in range(0, x.shape[1], BLOCK)]
    return float(torch.cat(each).mean())


def _integral(x: Tensor, y: Tensor) -> Tensor:
    """Return the integral for genes in rows, x [G, n] and y [G, m], as [G]."""
    pool = torch.cat([x, y], 1)
    below_x, below_y = (torch.searchsorted(v.sort(1).values, pool, right=True) for v in (x, y))
    share = (below_x + below_y) / pool.shape[1]
    weight = share * (1 - share)
    apart = (below_x / x.shape[1] - below_y / y.shape[1]) ** 2
    return torch.where(weight > 0, apart / weight.clamp(min=1e-9), torch.zeros_like(apart)).mean(1)
