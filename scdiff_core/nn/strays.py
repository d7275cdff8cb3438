"""Stray counts: a few molecules that no rate of the gene explains, on top of what it does explain.

Barcode swaps, misread molecules and misassigned reads put tens of counts where a gene has one. Left to the
negative binomial, they are answered for by its dispersion, and so by the zeros of every other cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor

# half octaves from 4 up: what is less cannot be told from the gene's own counts
EDGES = torch.tensor(sorted({ceil(2 ** (k / 2)) for k in range(4, 35)}), dtype=torch.float32)
N_BINS = len(EDGES) - 1
NEVER = -30.0  # log of what is as good as impossible


def start(largest: float) -> Tensor:
    """Return the log weights [N_BINS] to begin with: as 1 / x up to the largest count seen, nothing beyond."""
    weights = -EDGES[:-1].log()
    weights[1:][EDGES[1:-1] > largest] = NEVER
    return weights


@dataclass(frozen=True)
class Strays:
    """The share of each gene's non-zero counts that hold a stray, and how large strays are.

    Parameters
    ----------
    logit
        Of the shares, [G].
    weights
        Log weights of the bins between `EDGES`, [N_BINS]; within a bin all counts are as likely.
    """

    logit: Tensor
    weights: Tensor

    @property
    def share(self) -> Tensor:
        """The share of each gene's non-zero counts that hold a stray, [G]."""
        return torch.sigmoid(self.logit)

    @property
    def mean(self) -> Tensor:
        """The mean of a stray, in counts."""
        edges = EDGES.to(self.weights)
        return (torch.softmax(self.weights, 0) * (edges[:-1] + edges[1:] - 1)).sum() / 2

    def log_odds(self, excess: Tensor, gene: Tensor) -> Tensor:
        """Return log(share / (1 - share) P(stray = excess)) of what genes [n] have above the expected, [n]."""
        edges = EDGES.to(self.weights)
        table = torch.log_softmax(self.weights, 0) - (edges[1:] - edges[:-1]).log()
        never = table.new_full((1,), NEVER)
        sizes = torch.cat([never, table, never]).index_select(0, torch.bucketize(excess, edges, right=True))
        return self.logit.index_select(0, gene) + sizes  # whose gradient is several times faster than that of []

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Return n strays, [n] float32 on the CPU."""
        if n == 0:
            return torch.zeros(0)
        weights = torch.softmax(self.weights.detach().float().cpu(), 0)
        at = torch.multinomial(weights, n, replacement=True, generator=generator)
        return (EDGES[at] + torch.rand(n, generator=generator) * (EDGES[at + 1] - EDGES[at])).floor()
