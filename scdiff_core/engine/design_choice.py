"""Which particles of a walk become the designed cells: by weight, none twice, those that look real before others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scdiff_core.analysis.design.figures_of import Ground
from scdiff_core.diffusion.twisted import Particles, draw
from scdiff_core.engine.designed import Begin, Designed, Task


@dataclass(frozen=True)
class Kept:
    """The end of a round of N particles: codes [N, D], log weights [N] (-inf: no hit), origins, conditions."""

    z: Tensor
    weight: np.ndarray
    ancestor: np.ndarray
    codes: np.ndarray
    conts: np.ndarray
    origin: np.ndarray


def take(last: Particles, codes: np.ndarray, conts: np.ndarray, origin: np.ndarray) -> Kept:
    """Return the end of a round; a resampled particle has the conditions of its ancestor."""
    ancestor = last.ancestor.cpu().numpy()
    return Kept(last.x0_hat, last.log_weight.cpu().numpy(), ancestor, codes[ancestor], conts[ancestor],
                origin[ancestor])


@torch.no_grad()
def choose(kept: list[Kept], n: int, task: Task, generator: torch.Generator, begin: Begin | None,
           move: float | None, tried: tuple[tuple[float, float], ...], ground: Ground | None) -> Designed:
    """Draw n cells by their weights, none twice; where too few meet the target, the nearest to it fill up."""
    z = torch.cat([k.z for k in kept])
    weight = np.concatenate([k.weight for k in kept])
    ancestor = np.stack([np.repeat(np.arange(len(kept)), [len(k.ancestor) for k in kept]),
                         np.concatenate([k.ancestor for k in kept])])  # of which round, and which there
    codes, conts, origin = (np.concatenate([getattr(k, part) for k in kept]) for part in ("codes", "conts", "origin"))
    margins = task.objective.all_margins(z).cpu().numpy()
    order = draw(torch.from_numpy(weight), n, generator).numpy()
    if ground is not None and begin is None and len(order) == n:
        spare = np.setdiff1d(np.flatnonzero(weight >= weight[order].min()), order)
        order = ground.exchange(z.cpu().numpy(), order, spare)
    if len(order) < n:
        short = np.minimum(margins[:, task.objective.hard.cpu().numpy()], 0).sum(axis=1)
        rest = np.flatnonzero(~np.isfinite(weight))
        order = np.concatenate([order, rest[np.argsort(-short[rest], kind="stable")][:n - len(order)]])
    return Designed(z[torch.from_numpy(order).to(z.device)], np.isfinite(weight[order]), margins[order], codes[order],
                    conts[order], np.unique(ancestor[:, order], axis=1).shape[1], task.target, task.feasibility,
                    None if begin is None else begin.rows[origin[order]], move, tried)
