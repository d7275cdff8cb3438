"""The twist put right by known cells: how much it tells at each level of noise, and how many of each kind there are.

While there is much noise, the estimate of clean latents is about the mean of all cells of a kind, and the probit of
`diffusion.twist` tells little of how many of them meet a demand, since neither the decoder is linear nor the kind is
normal: kinds that meet it now and then would be lost at the start. How many do is known from known cells. A twist may
be anything: what it is changes how even the weights are, not what is sampled in the end (Wu et al. 2023, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scdiff_core.diffusion.denoiser import Denoiser
from scdiff_core.diffusion.objective import Objective
from scdiff_core.diffusion.schedule import Schedule
from scdiff_core.diffusion.twist import levels, log_twist, noise_like
from scdiff_core.nn.condition import Condition

FEW = 0.5  # cells that are added to either count, so that a kind of which none is known keeps the twist as it is
POWERS = (1.0, 0.85, 0.7, 0.5, 0.35, 0.2, 0.1)
MOST = (384, 256)  # known cells that are looked at: of those that do not meet the demand, and of those that do


@dataclass(frozen=True)
class Calibration:
    """How the log twist is put right at each step: times `power` [steps], and `offset` [steps, K + 1] is added.

    The offset goes by the value of the covariate in `column` (the last is that of an unknown one).
    """

    column: int
    power: Tensor
    offset: Tensor

    def __call__(self, step: int, twist: Tensor, condition: Condition) -> Tensor:
        """Return the log twist of each particle, [B]."""
        return self.power[step] * twist + self.offset[step][condition.codes[:, self.column]]


@torch.no_grad()
def calibrate(denoiser: Denoiser, schedule: Schedule, unknown: Tensor, tau: float, objective: Objective, z: Tensor,
              condition: Condition, column: int, generator: torch.Generator) -> Calibration:
    """Return what puts the twist right for known cells z [N, D] with their conditions.

    At each step from t = 1 the power is the one under which the twist, with the offsets that make it right on average
    for each kind, foretells best which of the cells meet the demand (Bernoulli likelihood).

    Parameters
    ----------
    unknown
        [steps, D]: the variance of clean latents at each step from t = 1 (`twist.unknown_at`).
    column
        The covariate that says of which kind a cell is.
    """
    met = (objective.margins(z) >= 0).all(1)
    worth = torch.where(met, objective.log_weight(z).exp(), 0.0)
    n_values, kinds = condition.n_values[column], condition.codes[:, column]
    groups = torch.nn.functional.one_hot(kinds, n_values + 1).to(z.dtype)
    groups[:, -1] = 1  # of an unknown kind: all
    total, count = groups.sum(0), worth @ groups
    rows = torch.cat([_some(where, most, generator) for where, most in zip((~met, met), MOST, strict=True)])
    weight = torch.where(met[rows], met.sum() / met[rows].sum().clamp(min=1),
                         (~met).sum() / (~met[rows]).sum().clamp(min=1))
    mine, hit, own = groups[rows] * weight[:, None], met[rows], condition.rows(rows)
    share = mine.sum(0).clamp(min=1e-9)
    last = kinds[rows]
    times, sigma = levels(schedule, 1.0, len(unknown), z.dtype)
    powers, offsets = [], []
    for i, (t, s) in enumerate(zip(times, sigma, strict=True)):
        x = z[rows] + s * noise_like(z[rows], generator)
        told = log_twist(objective, denoiser(x, t, own), unknown[i], tau, x, s)
        tried: list[tuple[float, float, Tensor]] = []
        for power in POWERS:
            mean = ((power * told).exp() @ mine) / share
            offset = torch.where(share > 1e-6, ((count + FEW) / (total * mean + FEW)).log(), 0.0)
            p = (power * told + offset[last]).exp().clamp(1e-6, 1 - 1e-6)
            likely = float((weight * torch.where(hit, p.log(), (-p).log1p())).sum())
            tried.append((likely, power, offset))
        _, power, offset = max(tried, key=lambda one: one[0])
        powers.append(power)
        offsets.append(offset)
    return Calibration(column, torch.tensor(powers, dtype=z.dtype, device=z.device), torch.stack(offsets))


def _some(mask: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Return where a mask [N] holds, int64 [n], at most so many."""
    rows = torch.nonzero(mask)[:, 0]
    return rows[torch.randperm(len(rows), generator=generator)[:most].to(rows.device)]
