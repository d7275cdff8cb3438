"""Cells as places in distributions: when the distributions move, each cell keeps its places.

A value is looked up in the distribution that a codec says it comes from (the probability integral transform) and read
off at the same quantile of a distribution of another mean. What no distribution explains of it, such as stray counts,
lies on top and stays. Not moved, every cell is exactly what it was.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scdiff_core.errors import ScdiffError
from scdiff_core.keys import TARGET_SUM
from scdiff_core.nn.codec import Codec, CountSpread
from scdiff_core.nn.likelihood import HurdleNormal, Likelihood, NegativeBinomial, Values

ROUNDS = 5  # looks at the moved cells, each with a correction of every gene
SMALLEST = 2e-3  # log1p mean below which a level counts as none
STEP, MOST = 1.5, 6.0  # most that a log rate is corrected by at a time, and that it rises in all
STEEP = (0.7, 3.0)  # bounds of how much a log rate has to change for the log of a level to change by one
BELIEVED = 3.0  # cells with any count of a gene, for which half of a correction is taken


@dataclass(frozen=True)
class Population:
    """n cells of G genes: distributions, the places in them, and what lies on top.

    Attributes
    ----------
    there
        The distributions, of counts at the cells' own depths or of continuous values.
    spread
        What counts have round their means; None for continuous values.
    u, extra
        Cumulative probabilities [n, G], and what is added to every value that is not zero [n, G].
    total
        Total counts [n].
    """

    there: NegativeBinomial | HurdleNormal
    spread: CountSpread | None
    u: Tensor
    extra: Tensor
    total: Tensor

    def __len__(self) -> int:
        return len(self.total)

    @classmethod
    def of(cls, codec: Codec, z: Tensor, values: Values, total: Tensor, generator: torch.Generator) -> Population:
        """Place measured cells in the distributions of their codes z [n, D]; zeros lie anywhere below their bound."""
        there = codec.decode(z)
        u = there.pit(values, generator)
        plain = bare(there)
        extra = values.value - plain.inverse(u).view(-1)[values.index]
        every = torch.zeros(u.numel()).index_copy_(0, values.index, extra).view(u.shape)
        return cls(plain, spread_of(codec), u, every, total)

    @classmethod
    def drawn(cls, codec: Codec, z: Tensor, u: Tensor, generator: torch.Generator) -> Population:
        """Make new cells of codes z [n, D] at cumulative probabilities u [n, G]."""
        there = codec.decode(z)
        plain = bare(there)
        extra = there.sample(u, generator) - plain.inverse(u)
        return cls(plain, spread_of(codec), u, extra, codec.total(z) if codec.counts else torch.ones(len(z)))

    def deeper(self, by: Tensor) -> Population:
        """Return counts of the same cells, at the same places, sequenced exp(by) [n] times as deeply."""
        assert isinstance(self.there, NegativeBinomial) and self.spread is not None
        there = bare(self.spread(self.there.log_mean + by[:, None]))
        return Population(there, self.spread, self.u, self.extra, self.total * by.exp())

    def read(self, change: Tensor) -> tuple[Tensor, Tensor]:
        """Return values [n, G] and total counts [n], each gene's log rate (or mean value) higher by change [G].

        Totals stay: what is not among the genes takes up what these lose or gain.
        """
        if isinstance(self.there, HurdleNormal):
            values = raised(self.there, change).inverse(self.u)
            values = torch.where(values != 0, values + self.extra, values)
            values = values.clamp(min=0) if self.there.positive else values
            return values, values.sum(1)
        assert self.spread is not None
        log_mean = self.there.log_mean + change
        log_theta = self.spread(log_mean).log_theta
        # dispersions go by mean as far as means were seen: what rises beyond must not be ever wider, and so never rise
        log_theta = torch.where(change > 0, torch.maximum(log_theta, self.there.log_theta), log_theta)
        values = NegativeBinomial(log_mean, log_theta).inverse(self.u)
        values = torch.where(values > 0, (values + self.extra).clamp(min=1), values)
        return values, torch.maximum(self.total, values.sum(1))

    def matched(self, goal: Tensor, change: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cells moved to means `goal`, log1p [G]: values [n, G] and total counts [n].

        Newton's method on the cells themselves, gene by gene, from a first guess `change` [G]. A goal that these cells
        cannot have, such as half a count, is come near to.
        """
        low, high = (-2 * MOST, MOST) if isinstance(self.there, NegativeBinomial) else (-math.inf, math.inf)
        best, least = torch.zeros_like(self.u), torch.full_like(goal, math.inf)
        for _ in range(ROUNDS):
            change = change.clamp(low, high)
            values, total = self.read(change)
            step, off = self._step(values, total, goal)
            # no gene hangs on another's change, as totals stay: each keeps its best
            best, least = torch.where(off < least, values, best), torch.minimum(off, least)
            change = change + step
        return best, best.sum(1) if self.spread is None else torch.maximum(self.total, best.sum(1))

    def _step(self, values: Tensor, total: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        """Return by how much a change [G] has to be corrected for the means to become `goal`, and how far they are."""
        sure = believed((values != 0).sum(0) + len(self) * goal.abs())  # cells that have it, or are to
        if isinstance(self.there, HurdleNormal):
            share = torch.sigmoid(-self.there.zero_logit)
            slope = (share + self.there.location * share * (1 - share)).mean(0)
            off = goal - values.mean(0)
            return sure * (off / slope.clamp(min=0.2)).clamp(-STEP, STEP), off.abs()
        scale = (TARGET_SUM / total)[:, None]
        log1p = torch.log1p(values * scale)
        mean = log1p.mean(0)
        # d E f(X) / d log mean = E X (f(X) - f(X - 1)), for a Poisson variable and for every gamma mixture of them
        rise = (values * (log1p - torch.log1p((values - 1).clamp(min=0) * scale))).mean(0)
        steep = ((mean.expm1() + SMALLEST) / (rise * mean.exp() + SMALLEST)).clamp(*STEEP)
        return sure * (steep * (log_rate(goal) - log_rate(mean))).clamp(-STEP, STEP), (goal - mean).abs()


def spread_of(codec: Codec) -> CountSpread | None:
    """Return what a codec of counts has round its means; None for continuous values."""
    return next((m for m in codec.modules() if isinstance(m, CountSpread)), None)


def believed(n: Tensor) -> Tensor:
    """Return how much n cells that have a gene say of it (0 to 1)."""
    return n / (n + BELIEVED)


def log_rate(level: Tensor) -> Tensor:
    """Return the log of the rate that a log1p level means, with a little added."""
    return (level.clamp(min=0).expm1() + SMALLEST).log()


def raised(there: HurdleNormal, change: Tensor) -> HurdleNormal:
    """Return values whose genes are expected higher by a change [G], and seldomer zero for it."""
    return HurdleNormal(there.zero_logit - change, there.location + change, there.log_scale, there.positive,
                        there.stray)


def bare(there: Likelihood) -> NegativeBinomial | HurdleNormal:
    """Return counts without strays; other values as they are.

    Raises
    ------
    ScdiffError
        The model is of the genes themselves, round which there is no distribution.
    """
    if isinstance(there, NegativeBinomial):
        return NegativeBinomial(there.log_mean, there.log_theta)
    if isinstance(there, HurdleNormal):
        return there
    raise ScdiffError("Cells cannot be changed with this model.",
                      "It is of the genes themselves: there is no distribution round what it says of a cell.",
                      "Train a model with the codec vae or pca.")
