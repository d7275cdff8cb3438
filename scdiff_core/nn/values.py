"""The observed values of a minibatch, and what the likelihoods of them have in common."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Values:
    """The observed values of a minibatch, without the zeros.

    Parameters
    ----------
    shape
        (B, G).
    index
        Flat positions of the non-zero values, [nnz].
    value
        The values there, [nnz]: counts, or continuous values.
    """

    shape: tuple[int, int]
    index: Tensor
    value: Tensor

    @cached_property
    def cell(self) -> Tensor:
        """The cell of each non-zero value, [nnz]."""
        return torch.div(self.index, self.shape[1], rounding_mode="floor")

    @cached_property
    def gene(self) -> Tensor:
        """The gene of each non-zero value, [nnz]."""
        return self.index - self.cell * self.shape[1]

    def part(self, cells: slice) -> Values:
        """Return the values of some cells (a slice with both ends)."""
        n_genes = self.shape[1]
        low, high = cells.start * n_genes, cells.stop * n_genes
        here = (self.index >= low) & (self.index < high)
        return Values((cells.stop - cells.start, n_genes), self.index[here] - low, self.value[here])

    def dense(self) -> Tensor:
        """Return the values as a [B, G] matrix."""
        out = torch.zeros(self.shape[0] * self.shape[1], dtype=self.value.dtype, device=self.value.device)
        return out.index_copy(0, self.index, self.value).view(self.shape)


def exact(x: Tensor) -> Tensor:
    """Return a tensor in float64, on the CPU where the device knows none (MPS)."""
    return (x.cpu() if x.device.type == "mps" else x).double()


def per_cell(terms: Tensor, values: Values) -> Tensor:
    """Sum terms at the non-zero positions over the genes of each cell: [nnz] -> [B]."""
    return torch.zeros(values.shape[0], dtype=terms.dtype, device=terms.device).index_add(0, values.cell, terms)
