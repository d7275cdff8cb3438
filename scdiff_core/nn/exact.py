"""Values without a distribution round them: what a diffusion of the genes themselves says of a cell."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scdiff_core.nn.values import Values, per_cell

NEVER = 1e-6  # probability of what cannot be


@dataclass(frozen=True)
class Rounded:
    """Counts next to a mean: floor(mean), or one more as often as the mean asks for.

    Of all distributions of integers with a mean this has the least variance. A diffusion of genes makes cells with
    their noise of counting, to which a Poisson would add it once more.

    Parameters
    ----------
    mean
        [B, G], counts.
    """

    mean: Tensor

    @property
    def log_mean(self) -> Tensor:
        """Log of the mean, [B, G]."""
        return self.mean.clamp(min=1e-12).log()

    def _share(self) -> tuple[Tensor, Tensor]:
        """Return the lower of the two counts, and how often it is the higher, [B, G] each."""
        low = self.mean.floor()
        return low, self.mean - low

    def log_likelihood(self, values: Values) -> Tensor:
        """Return log P(counts) of each cell, [B]."""
        low, more = self._share()
        x = values.dense()
        p = torch.where(x == low, 1 - more, torch.where(x == low + 1, more, torch.zeros_like(more)))
        return p.clamp(min=NEVER).log().sum(1)

    def sample(self, u: Tensor, generator: torch.Generator) -> Tensor:
        """Return the counts at cumulative probability u, [B, G]; `generator` is not needed."""
        return self.inverse(u)

    def pit(self, values: Values, generator: torch.Generator) -> Tensor:
        """Return the randomised probability integral transform, [B, G]."""
        low, more = self._share()
        u = torch.rand(low.shape, generator=generator).to(low)
        x = values.dense()
        at = torch.where(x == low, u * (1 - more), 1 - more + u * more)
        return torch.where(x < low, torch.zeros_like(at), torch.where(x > low + 1, torch.ones_like(at), at))

    def inverse(self, u: Tensor) -> Tensor:
        """Return the count at cumulative probability u, [B, G] float32."""
        return (self.mean + u).floor()


@dataclass(frozen=True)
class AsTheyAre:
    """Continuous values as they are; what is nearer to zero than to the least value of its gene is zero.

    Parameters
    ----------
    mean
        [B, G].
    smallest
        The least value above zero of each gene, [G]; 0 where no value is exactly zero.
    positive
        Whether values below zero cannot occur.
    """

    mean: Tensor
    smallest: Tensor
    positive: bool

    def log_likelihood(self, values: Values) -> Tensor:
        """Return minus half the squared distance of the values, [B]: their log density but for its spread."""
        at = self.mean.reshape(-1)[values.index]
        zeros = self.mean.square().sum(1) - per_cell(at.square(), values)
        return -0.5 * (zeros + per_cell((values.value - at).square(), values))

    def sample(self, u: Tensor, generator: torch.Generator) -> Tensor:
        """Return the values, [B, G]; neither `u` nor `generator` is needed."""
        return self.inverse(u)

    def pit(self, values: Values, generator: torch.Generator) -> Tensor:
        """Return uniform numbers [B, G]: there is no distribution to be right or wrong."""
        return torch.rand(self.mean.shape, generator=generator).to(self.mean)

    def inverse(self, u: Tensor) -> Tensor:
        """Return the values, whatever u is, [B, G]."""
        x = torch.where(self.mean.abs() < 0.5 * self.smallest, torch.zeros_like(self.mean), self.mean)
        return x.clamp(min=0) if self.positive else x
