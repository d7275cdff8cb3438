"""A table of quantiles, gene by gene, that corrects what a likelihood gets wrong on average."""

from __future__ import annotations

import torch
from torch import Tensor

N_QUANTILES = 64


def tabulate(u: Tensor, n: int = N_QUANTILES) -> Tensor:
    """Return the quantiles of each gene's probability integral transforms, [G, n + 1].

    Column j is the j/n quantile; the first is 0 and the last 1. Where the likelihood is right the
    transforms `u` [N, G] are uniform and the table is the identity.
    """
    levels = torch.linspace(0, 1, n + 1, dtype=u.dtype, device=u.device)
    position = levels * (len(u) - 1)
    low = position.floor().long()
    high = (low + 1).clamp(max=len(u) - 1)
    ordered = u.sort(dim=0).values
    table = ordered[low] + (position - low)[:, None] * (ordered[high] - ordered[low])
    table[0], table[-1] = 0.0, 1.0
    return table.T.contiguous()


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
    low = position.floor().clamp(0, n - 1)
    genes = torch.arange(table.shape[0], device=v.device) * (n + 1)
    at = low.long() + genes
    flat = table.reshape(-1)
    start = flat[at]
    return start + (position - low) * (flat[at + 1] - start)


def level(table: Tensor, u: Tensor) -> Tensor:
    """Return the draws that `look_up` maps to u [N, G]: its inverse."""
    n = table.shape[1] - 1
    u = u.T.contiguous()
    at = torch.searchsorted(table, u, right=True).clamp(1, n) - 1
    low, high = table.gather(1, at), table.gather(1, at + 1)
    return ((at + ((u - low) / (high - low).clamp(min=1e-9)).clamp(0, 1)) / n).T


def unevenness(table: Tensor, u: Tensor, bins: int = 8) -> float:
    """Return how far transforms u [N, G] of held-out cells are from even once the table has had its say.

    The mean over genes of chi squared for equal shares in coarse bins, divided by its expectation if they
    are even: 1 is perfect.
    """
    n, g = u.shape
    slot = (level(table, u) * bins).long().clamp(0, bins - 1) + torch.arange(g, device=u.device) * bins
    count = torch.bincount(slot.reshape(-1), minlength=g * bins).view(g, bins).float()
    return float(((count - n / bins) ** 2 / (n / bins)).sum(1).mean()) / (bins - 1)
