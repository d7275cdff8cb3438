"""What is known of a cell: several categorical and continuous covariates, each with its own null."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Condition:
    """The covariates of a minibatch, as indices and standardised numbers. Never an outcome.

    Parameters
    ----------
    codes
        [B, Ccat] int64; the number of values of a covariate means its null (unknown, any).
    conts
        [B, Ccont] float32, standardised; nan means the null.
    n_values
        The number of values of each categorical covariate.
    """

    codes: Tensor
    conts: Tensor
    n_values: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def null(self) -> Condition:
        """Return the condition with every covariate unknown."""
        nulls = torch.tensor(self.n_values, dtype=torch.int64, device=self.codes.device)
        return Condition(nulls.expand_as(self.codes).contiguous(), torch.full_like(self.conts, torch.nan),
                         self.n_values)

    def drop(self, share: float, generator: torch.Generator) -> Condition:
        """Return the condition with each covariate of each cell made null with probability `share`."""
        draw = torch.rand((len(self), self.codes.shape[1] + self.conts.shape[1]), generator=generator)
        gone = (draw < share).to(self.codes.device)
        none = self.null()
        k = self.codes.shape[1]
        return Condition(torch.where(gone[:, :k], none.codes, self.codes),
                         torch.where(gone[:, k:], none.conts, self.conts), self.n_values)

    def rows(self, index: Tensor | slice) -> Condition:
        """Return the condition of some cells."""
        return Condition(self.codes[index], self.conts[index], self.n_values)

    def to(self, device: torch.device | str) -> Condition:
        """Return the condition on a device."""
        return Condition(self.codes.to(device), self.conts.to(device), self.n_values)


def _table(n: int, width: int) -> nn.Embedding:
    table = nn.Embedding(n, width)
    nn.init.normal_(table.weight, std=0.3)
    return table


class ConditionEncoder(nn.Module):
    """Embed each covariate on its own and add them up.

    A categorical covariate has one row more than values (the null); a continuous one has a small MLP
    of its value, and a learned vector for the null.
    """

    def __init__(self, n_values: tuple[int, ...], n_continuous: int, width: int) -> None:
        super().__init__()
        self.tables = nn.ModuleList(_table(n + 1, width) for n in n_values)
        self.curves = nn.ModuleList(
            nn.Sequential(nn.Linear(1, width), nn.SiLU(), nn.Linear(width, width)) for _ in range(n_continuous))
        self.nulls = nn.Parameter(torch.zeros(n_continuous, width))
        self.width = width

    def forward(self, condition: Condition) -> Tensor:
        """Return the embedding of the condition, [B, width]."""
        out = torch.zeros(len(condition), self.width, device=self.nulls.device)
        for i, table in enumerate(self.tables):
            out = out + table(condition.codes[:, i])
        for i, curve in enumerate(self.curves):
            value = condition.conts[:, i:i + 1]
            known = ~torch.isnan(value)
            out = out + torch.where(known, curve(torch.nan_to_num(value)), self.nulls[i])
        return out
