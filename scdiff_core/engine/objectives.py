"""A target as the sampler follows it: margins and energies of codes, through the decoder."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from scdiff_core.engine.denoised import levels
from scdiff_core.nn.codec import Codec
from scdiff_core.target import BETWEEN, DOWN, GeneRow, ProgramRow, Row, Target

SOFT = 0.25  # of the real cells' spread: what a soft row may be missed by at little cost
NARROWEST = 0.05  # log1p: the least spread
SHRINK = 0.1  # of the covariances of codes towards their diagonal


class Types:
    """Which cell type codes are of: normal classes of one covariance (linear discriminant analysis), closed form."""

    def __init__(self, z: Tensor, types: np.ndarray) -> None:
        self.names = sorted(set(types.tolist()) - {""})
        index = [torch.from_numpy(np.flatnonzero(types == name)).to(z.device) for name in self.names]
        means = torch.stack([z[i].mean(0) for i in index])
        within = torch.cat([z[i] - m for i, m in zip(index, means, strict=True)])
        covariance = within.T @ within / max(1, len(within) - len(index))
        covariance = (1 - SHRINK) * covariance + SHRINK * torch.diag(covariance.diagonal())
        weights = torch.linalg.solve(covariance + 1e-4 * torch.eye(z.shape[1], device=z.device), means.T).T
        shares = torch.tensor([len(i) for i in index], dtype=z.dtype, device=z.device)
        self.weights, self.bias = weights, (shares / shares.sum()).log() - 0.5 * (weights * means).sum(1)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log P(type | z), [B, K]."""
        return (z @ self.weights.T + self.bias).log_softmax(1)


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
    """

    def __init__(self, codec: Codec, genes: np.ndarray, target: Target, reference: Mapping[str, np.ndarray],
                 types: Types | None) -> None:
        self.codec, self.target = codec, target
        place = {str(g): i for i, g in enumerate(genes)}
        needed = target.needed()
        device = codec.shift.device
        self.index = torch.tensor([place[g] for g in needed], dtype=torch.int64, device=device)
        at = {g: i for i, g in enumerate(needed)}
        self.mix = torch.zeros(len(target.rows), len(needed), device=device)
        scale = []
        for r, row in enumerate(target.rows):
            members = (row.gene,) if isinstance(row, GeneRow) else row.members if isinstance(row, ProgramRow) else ()
            self.mix[r, [at[g] for g in members]] = 1 / len(members)
            scale.append(max(NARROWEST, SOFT * float(np.std(np.mean([reference[g] for g in members], axis=0)))))
        self.scale = torch.tensor(scale, device=device)
        self.hard = torch.tensor([i for i, row in enumerate(target.rows) if row.hard], dtype=torch.int64, device=device)
        self.soft = [i for i, row in enumerate(target.rows) if not row.hard]
        self.types = types

    def all_margins(self, z: Tensor) -> Tensor:
        """Return by how much each row, hard or soft, is met, [B, R] log1p."""
        values = levels(self.codec, z, self.index) @ self.mix.T
        return torch.stack([_margin(row, values[:, r]) for r, row in enumerate(self.target.rows)], 1)

    def margins(self, z: Tensor) -> Tensor:
        """Return by how much each hard row is met, [B, R hard] log1p."""
        return self.all_margins(z).index_select(1, self.hard)

    def log_weight(self, z: Tensor) -> Tensor:
        """Return the energy of soft rows, and the log-probability of the wanted type and of no unwanted one, [B]."""
        total = torch.zeros(len(z), device=z.device)
        if self.soft:
            short = (-self.all_margins(z)).clamp(min=0) / self.scale
            weight = torch.tensor([self.target.rows[i].weight for i in self.soft], device=z.device)
            total = total - 0.5 * (short[:, self.soft].square() * weight).sum(1)
        if self.types is not None:
            log_prob = self.types.log_prob(z)
            if self.target.cell_type in self.types.names:
                total = total + log_prob[:, self.types.names.index(str(self.target.cell_type))]
            away = [self.types.names.index(t) for t in self.target.away_from.get("cell_type", ())
                    if t in self.types.names]
            if away:
                total = total + torch.log1p(-log_prob[:, away].exp().sum(1).clamp(max=1 - 1e-6))
        return total


def _margin(row: Row, value: Tensor) -> Tensor:
    assert row.level is not None
    if row.direction == DOWN:
        return row.level - value
    if row.direction == BETWEEN:
        assert row.upper is not None
        return torch.minimum(value - row.level, row.upper - value)
    return value - row.level
