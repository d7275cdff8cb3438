"""A target as the sampler follows it: margins and energies of codes, through the decoder."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from scdiff_core.engine.denoised import levels
from scdiff_core.nn.codec import Codec
from scdiff_core.target import BETWEEN, DOWN, GeneRow, ProgramRow, Row, Target

SOFT = 0.25  # of the real cells' spread: what a soft row may be missed by at little cost
LOWEST = 1e-6  # log1p: less is not told apart
NARROWEST = 0.05  # log1p: the least spread
SHRINK = 0.1  # of the covariances of codes towards their diagonal


class Types:
    """Which cell type codes are of: normal classes of one covariance, in closed form whatever the noise.

    Codes of type k are N(mean_k, S); with noise sigma they are N(mean_k, S + sigma² 1), so that the classifier of
    noisy codes is exact where that of clean ones is: linear discriminant analysis at every level of noise.
    """

    def __init__(self, z: Tensor, types: np.ndarray) -> None:
        self.names = sorted(set(types.tolist()) - {""})
        index = [torch.from_numpy(np.flatnonzero(types == name)).to(z.device) for name in self.names]
        means = torch.stack([z[i].mean(0) for i in index])
        within = torch.cat([z[i] - m for i, m in zip(index, means, strict=True)])
        covariance = within.T @ within / max(1, len(within) - len(index))
        covariance = (1 - SHRINK) * covariance + SHRINK * torch.diag(covariance.diagonal())
        self.spread, self.axes = torch.linalg.eigh(covariance)
        self.spread = self.spread.clamp(min=1e-4)
        self.means = means @ self.axes  # in the axes of the covariance
        shares = torch.tensor([len(i) for i in index], dtype=z.dtype, device=z.device)
        self.log_share = (shares / shares.sum()).log()

    def log_prob(self, x: Tensor, sigma: Tensor | float = 0.0) -> Tensor:
        """Return log P(type | x), [B, K], of codes with noise of spread sigma."""
        weights = self.means / (self.spread + sigma**2)
        return (x @ self.axes @ weights.T + self.log_share - 0.5 * (self.means * weights).sum(1)).log_softmax(1)


class TargetObjective:
    """The rows of a target with their levels filled in, and the types asked for and to stay away from.

    Parameters
    ----------
    codec, genes
        The decoder, and the names of its genes.
    reference
        Gene -> denoised expression of real cells, for the scale of soft rows.
    types
        None where no cell type is known.
    custom
        A further demand on the denoised expression of all genes.
    """

    def __init__(self, codec: Codec, genes: np.ndarray, target: Target, reference: Mapping[str, np.ndarray],
                 types: Types | None, custom: Callable[[Tensor], Tensor] | None = None) -> None:
        self.codec, self.target, self.custom = codec, target, custom
        self.last: tuple[Tensor, Tensor] | None = None  # codes and the values there: asked for twice
        place = {str(g): i for i, g in enumerate(genes)}
        needed = target.needed()
        device = codec.shift.device
        self.index = torch.tensor([place[g] for g in needed], dtype=torch.int64, device=device)
        at = {g: i for i, g in enumerate(needed)}
        self.every = torch.arange(len(genes), device=device)
        self.mix = torch.zeros(len(target.rows), len(needed), device=device)
        scale = []
        for r, row in enumerate(target.rows):
            members = (row.gene,) if isinstance(row, GeneRow) else row.members if isinstance(row, ProgramRow) else ()
            self.mix[r, [at[g] for g in members]] = 1 / len(members)
            scale.append(max(NARROWEST, SOFT * float(np.std(np.mean([reference[g] for g in members], axis=0)))))
        self.scale = torch.tensor(scale, device=device)
        self.hard = torch.tensor([i for i, row in enumerate(target.rows) if row.hard], dtype=torch.int64, device=device)
        self.soft = [i for i, row in enumerate(target.rows) if not row.hard]
        self.soft_weight = torch.tensor([target.rows[i].weight for i in self.soft], device=device)
        self.types = types
        names = types.names if types is not None else []
        self.wanted = names.index(target.cell_type) if target.cell_type in names else None
        self.away = [names.index(t) for t in target.away_from.get("cell_type", ()) if t in names]

    def values(self, z: Tensor) -> Tensor:
        """Return what the rows are about, [B, R] log1p."""
        if self.last is not None and self.last[0] is z:
            return self.last[1]
        if not len(self.target.rows):
            return torch.zeros(len(z), 0, device=z.device)
        values = levels(self.codec, z, self.index) @ self.mix.T
        self.last = (z, values)
        return values

    def all_margins(self, z: Tensor) -> Tensor:
        """Return by how much each row, hard or soft, is met, [B, R] log1p."""
        values = self.values(z)
        if not len(self.target.rows):
            return values
        return torch.stack([_margin(row, values[:, r]) for r, row in enumerate(self.target.rows)], 1)

    def margins(self, z: Tensor) -> Tensor:
        """Return by how much each hard row is met, [B, R hard], in log1p near the level; the sign is that of log1p.

        A gene's row is told in the logarithm of its share of the counts, in which the decoder is nearly linear. In
        log1p a gene that is hardly expressed has hardly a slope, so that kinds of cells of which some do reach the
        level would be taken for ones that never can.
        """
        if not len(self.hard) or not self.codec.counts:
            return self.all_margins(z).index_select(1, self.hard)
        values = self.values(z)
        return torch.stack([_margin(row, values[:, r], isinstance(row, GeneRow))
                            for r, row in enumerate(self.target.rows) if row.hard], 1)

    def log_weight(self, z: Tensor) -> Tensor:
        """Return the energy of soft rows, and the log-probability of the wanted type and of no unwanted one, [B]."""
        return self._energy(z) + self._typed(z, 0.0)

    def log_weight_on_the_way(self, x: Tensor, x0_hat: Tensor, sigma: Tensor) -> Tensor:
        """Return the same with the type judged from the noisy codes x themselves, [B]."""
        return self._energy(x0_hat) + self._typed(x, sigma)

    def _energy(self, z: Tensor) -> Tensor:
        total = torch.zeros(len(z), dtype=z.dtype, device=z.device)
        if self.soft:
            short = (-self.all_margins(z)[:, self.soft]).clamp(min=0) / self.scale[self.soft]
            total = total - 0.5 * (short.square() * self.soft_weight).sum(1)
        if self.custom is not None:
            total = total + self.custom(levels(self.codec, z, self.every))
        return total

    def _typed(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        total = torch.zeros(len(x), dtype=x.dtype, device=x.device)
        if self.types is None or (self.wanted is None and not self.away):
            return total
        log_prob = self.types.log_prob(x, sigma)
        if self.wanted is not None:
            total = total + log_prob[:, self.wanted]
        if self.away:
            total = total + torch.log1p(-log_prob[:, self.away].exp().sum(1).clamp(max=1 - 1e-6))
        return total


def _margin(row: Row, value: Tensor, of_share: bool = False) -> Tensor:
    """Return by how much a row is met [B]; in log1p, or `of_share` in log of the share, scaled to log1p there."""
    def over(level: float) -> Tensor:
        if not of_share:
            return value - level
        at = max(level, LOWEST)
        return ((value.clamp(min=LOWEST).expm1().log() - math.log(math.expm1(at))) * -math.expm1(-at)) \
            + (at - level)

    assert row.level is not None
    if row.direction == DOWN:
        return -over(row.level)
    if row.direction == BETWEEN:
        assert row.upper is not None
        return torch.minimum(over(row.level), -over(row.upper))
    return over(row.level)
