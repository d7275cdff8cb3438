"""Plain latent editing, the baseline: codes of real cells moved up the gradient until every row is met."""

from __future__ import annotations

import torch
from torch import Tensor

from scdiff_core.engine.objectives import TargetObjective

STEPS, RATE, OVERSHOOT = 150, 0.05, 0.02


def edit(objective: TargetObjective, z: Tensor, steps: int = STEPS, rate: float = RATE) -> Tensor:
    """Return codes [n, D] that were moved until each hard (and soft) row is met, or the steps are used up.

    Adam on what is missing, log1p, with nothing to keep the cells among the real ones: what tools do that optimise
    expression. A cell stops as soon as it meets every row.
    """
    at = z.clone().requires_grad_(True)
    optimiser = torch.optim.Adam([at], lr=rate)
    for _ in range(steps):
        short = (OVERSHOOT - objective.all_margins(at)).clamp(min=0)
        missing = short.sum(1)
        if not bool((missing > 0).any()):
            break
        before = at.detach().clone()
        optimiser.zero_grad()
        at.grad = torch.autograd.grad(missing.sum(), at)[0]
        optimiser.step()
        with torch.no_grad():
            at.copy_(torch.where((missing > 0)[:, None], at, before))
        objective.last = None  # the codes are changed in place
    return at.detach()
