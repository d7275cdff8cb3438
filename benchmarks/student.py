"""A few-step student of a trained denoiser, for the table of samplers only.

Consistency distillation in its direct form (Luhman and Luhman 2021; the boundary condition of Song et al. 2023, eq. 5):
pairs of a state on the exact flow and its clean end are made with the teacher, and a copy of the teacher learns to
answer the end. Sampling is one answer, or several with fresh noise between them (Song et al. 2023, algorithm 1).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import torch
from torch import Tensor

from scdiff_core.diffusion.denoiser import Preconditioned
from scdiff_core.diffusion.loss import EMA
from scdiff_core.diffusion.sampler import DPMSolver
from scdiff_core.diffusion.schedule import Schedule
from scdiff_core.engine.model import Model
from scdiff_core.nn.condition import Condition

Walk = Callable[[Tensor, Condition, torch.Generator], Tensor]
PAIRS, TEACHER_STEPS = 12_000, 12  # trajectories, and the steps of each
STEPS, MINIBATCH, RATE = 900, 256, 3e-4


def teach(model: Model, seed: int = 0) -> tuple[Preconditioned, float]:
    """Return a student of a model's denoiser and the CPU seconds that it took, making its pairs included."""
    began = time.process_time()
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(len(model.codes), (PAIRS,), generator=generator).numpy()
    sizes = tuple(len(c.values) for c in model.vocab.categorical)
    condition = Condition(torch.from_numpy(model.codes[rows]), torch.from_numpy(model.conts[rows]), sizes)
    schedule = model.denoiser.schedule
    teacher = DPMSolver(model.denoiser, schedule, TEACHER_STEPS)
    x = teacher.start(PAIRS, model.codec.n_dims, generator)
    _, ratios = schedule(torch.linspace(1, 0, TEACHER_STEPS))
    with torch.no_grad():
        states = torch.stack([x, *(step.x for step in teacher.iterate(x, condition, generator))])
    states, ends = states[:-1], states[-1]
    network = copy.deepcopy(model.denoiser.network).requires_grad_(True).train()
    student = Preconditioned(network, schedule)
    ema = EMA(network, 0.99)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.0)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for _ in range(STEPS):
        cells = torch.randint(PAIRS, (MINIBATCH,), generator=generator)
        # a third of the pairs begin at pure noise, where the first answer is asked for
        level = (torch.rand(MINIBATCH, generator=generator) * 1.5 - 0.5).clamp(min=0) * (TEACHER_STEPS - 1)
        level = level.long()
        answer = student.at(states[level, cells], ratios[level], condition.rows(cells))
        loss = ((answer - ends[cells]) ** 2).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        rate.step()
        ema.update(network)
    network.load_state_dict(ema.weights)
    network.eval().requires_grad_(False)
    return student, time.process_time() - began


def walk(student: Preconditioned, schedule: Schedule, steps: int) -> Walk:
    """Return the walk from noise to clean data in a few answers of a student."""
    def go(x: Tensor, condition: Condition, generator: torch.Generator) -> Tensor:
        times = torch.linspace(1, 0, steps + 1)[:-1]
        clean = student(x, times[0], condition)
        for t in times[1:]:
            alpha, sigma = schedule(t)
            clean = student(alpha * clean + sigma * torch.randn(x.shape, generator=generator), t, condition)
        return clean

    return go
