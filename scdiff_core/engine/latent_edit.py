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
    left = torch.arange(len(z), device=z.device)  # those that still miss a row: the others are not looked at again
    for _ in range(steps):
        some = at.detach()[left].requires_grad_(True)
        missing = (OVERSHOOT - objective.all_margins(some)).clamp(min=0).sum(1)
        here = missing.detach() > 0
        if not bool(here.any()):
            break
        gradient = torch.autograd.grad(missing.sum(), some)[0]
        left, gradient = left[here], gradient[here]
        before = at.detach().clone()
        at.grad = torch.zeros_like(at).index_copy(0, left, gradient)
        optimiser.step()
        with torch.no_grad():
            at.copy_(before.index_copy(0, left, at.detach()[left]))
    return at.detach()
