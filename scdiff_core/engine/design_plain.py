"""Targets that many cells meet anyway: cells drawn without demands, weighed by them, and kept.

For these, waiting is as quick as steering, and exact: a steered walk in few steps brings a little less of rare kinds.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import torch

from scdiff_core.config import GenerateConfig
from scdiff_core.diffusion import sampler
from scdiff_core.diffusion.twisted import effective
from scdiff_core.engine.design_choice import Kept
from scdiff_core.engine.designed import DesignProgress, Task
from scdiff_core.engine.generate import condition_of, conditions
from scdiff_core.engine.model import Model
from scdiff_core.nn.condition import Condition
from scdiff_core.target import Target

COMMON = 0.08  # share of the real cells of the type that meet the target, from which on cells are waited for
SPARE = 1.3  # hits for each cell that is asked for: some look unreal and give way to others
MOST = 15  # draws for each cell that is asked for; more would take longer than to steer
AT_ONCE = 2048
TRIAL = 0.1  # of the progress, at most, until the first draws have told whether it is worth waiting


def is_common(task: Task) -> bool:
    """Say whether so many real cells meet a target that cells can be waited for; never with a demand in Python."""
    found = task.feasibility
    return task.target.objective is None and found.n >= COMMON * max(found.n_type, 1)


def beginnings(model: Model, target: Target, n: int,
               generator: torch.Generator) -> tuple[np.ndarray, np.ndarray, Condition]:
    """Return the conditions of n cells of the target's type, as `conditions` gives them and for a denoiser."""
    role = model.roles.cell_type
    where = {} if target.cell_type is None or role is None else {role: target.cell_type}
    codes, conts = conditions(model, GenerateConfig(run=model.run, n_cells=n, where=where), generator)
    return codes, conts, condition_of(model, codes, conts)


@torch.no_grad()
def wait(model: Model, task: Task, n: int, steps: int, total: int,
         generator: torch.Generator) -> Generator[DesignProgress, None, list[Kept]]:
    """Draw until enough cells weigh enough; returns those that meet every hard row, none where it would take long.

    Importance sampling from the model as it is: a draw weighs what the soft rows and the type leave of it, and the
    draws are enough when their effective number is.
    """
    walk = sampler.make("sde", model.denoiser, model.denoiser.schedule, steps)
    parts: list[Kept] = []
    drawn, enough, most = 0, SPARE * n, max(MOST * n, AT_ONCE)
    expected = enough * max(task.feasibility.n_type, 1) / task.feasibility.n  # draws, for the progress alone
    while drawn < most:
        size = min(AT_ONCE, most - drawn)
        codes, conts, condition = beginnings(model, task.target, size, generator)
        for step in walk.iterate(walk.start(size, model.codec.n_dims, generator, model.device), condition, generator):
            share = (drawn + size * step.i / step.n) / expected
            yield DesignProgress(int(total * min(share, 0.95 if drawn else TRIAL)), total, step.x0_hat)
        z = step.x
        at = np.flatnonzero((task.objective.margins(z) >= 0).all(1).cpu().numpy())
        taken = z[torch.from_numpy(at).to(z.device)]
        weight = task.objective.log_weight(taken).double().cpu().numpy()
        parts.append(Kept(taken, weight, at, codes[at], conts[at], np.full(len(at), -1)))
        drawn += size
        weights = np.concatenate([p.weight for p in parts])
        found = float(effective(torch.from_numpy(weights))) if len(weights) else 0.0
        if found >= enough:
            return parts
        if found * most < enough * drawn:  # so it would go on
            return []
    return []
