"""Designed cells: codes that meet a target, sampled from the model, and the figures that say how good they are."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from scdiff_core.analysis.design import feasibility
from scdiff_core.config import FORMAT, Frozen, GenerateConfig
from scdiff_core.diffusion.sampler import DDPM
from scdiff_core.diffusion.twisted import GradientGuidance, Particles, TwistedSMC
from scdiff_core.engine.denoised import Denoised
from scdiff_core.engine.generate import conditions
from scdiff_core.engine.model import Model
from scdiff_core.engine.objectives import TargetObjective, Types
from scdiff_core.nn.condition import Condition
from scdiff_core.target import Target, check

ISLANDS, PARTICLES = 4, 2  # islands, and particles for each cell that is asked for
START = 8  # starts (noise and conditions) that are looked at for each particle
ROUNDS = 3  # further attempts where too few cells met the target
STEPS = 30


class DesignConfig(Frozen):
    """What to design, and how."""

    kind: Literal["design"] = "design"
    format: int = FORMAT
    run: str
    target: Target
    n_cells: int = Field(default=512, ge=1)
    method: Literal["smc", "gradient", "recurrence"] = "smc"
    steps: int = Field(default=STEPS, ge=2)
    tau: float = Field(default=0.05, gt=0)  # softness of hard rows on the way, log1p
    seed: int = 0


@dataclass(frozen=True)
class DesignProgress:
    """Steps done of all steps, and the estimates of clean codes there [N, D], for a live view."""

    done: int
    total: int
    z: Tensor


@dataclass(frozen=True)
class Designed:
    """Codes of designed cells.

    Attributes
    ----------
    z
        [n, D], those that meet every hard row first.
    met
        Which meet every hard row, bool [n].
    margins
        By how much each row is met, log1p [n, R].
    codes, conts
        Their conditions, as `engine.generate.conditions` gives them.
    ancestors
        How many particles of the start the n descend from.
    target
        With its levels filled in.
    feasibility
        What real cells say of it.
    """

    z: Tensor
    met: np.ndarray
    margins: np.ndarray
    codes: np.ndarray
    conts: np.ndarray
    ancestors: int
    target: Target
    feasibility: feasibility.Feasibility


def design(model: Model, real: Denoised, config: DesignConfig) -> Generator[DesignProgress, None, Designed]:
    """Sample codes that meet a target; the generator's return value is `Designed`.

    Raises
    ------
    ScdiffError
        The target cannot be followed: empty, contradicting, an unknown gene or type, a level beyond any cell.
    """
    target, objective, found = prepare(model, real, config.target)
    generator = torch.Generator().manual_seed(config.seed)
    n, kept, done = config.n_cells, [], 0
    size = ISLANDS * -(-max(PARTICLES * n, 256) // ISLANDS)
    total = ROUNDS * config.steps
    for _ in range(ROUNDS):
        where = {} if target.cell_type is None or model.roles.cell_type is None else {
            model.roles.cell_type: target.cell_type}
        asked = GenerateConfig(run=model.run, n_cells=START * size, where=where)
        codes, conts = conditions(model, asked, generator)
        sizes = tuple(len(c.values) for c in model.vocab.categorical)
        condition = Condition(torch.from_numpy(codes), torch.from_numpy(conts), sizes).to(model.device)
        schedule = model.denoiser.schedule
        x = DDPM(model.denoiser, schedule, 1).start(START * size, model.codec.n_dims, generator, model.device)
        smc = TwistedSMC(model.denoiser, schedule, config.steps, ISLANDS, config.tau)
        first = smc.choose_start(x, condition, objective, size, generator)  # the quick choices as well
        x, condition = x[first], condition.rows(first)
        codes, conts = codes[first.cpu().numpy()], conts[first.cpu().numpy()]
        last = None
        walk = smc.iterate(x, condition, objective, generator, chosen=True) if config.method == "smc" else \
            _guidance(model, config).iterate(x, condition, objective, generator)
        for last in walk:
            done += 1
            yield DesignProgress(done, total, last.x0_hat)
        assert last is not None
        kept.append(_take(last, codes, conts))
        if sum(int(np.isfinite(k.weight).sum()) for k in kept) >= n:
            break
    yield DesignProgress(total, total, kept[-1].z)
    return _choose(kept, n, objective, target, found, generator)


def prepare(model: Model, real: Denoised, target: Target,
            ) -> tuple[Target, TargetObjective, feasibility.Feasibility]:
    """Return a target with its levels filled in, its objective, and what real cells say of it."""
    target = check(target, model.genes)
    if target.cell_type is not None and model.roles.cell_type is not None:
        model.vocab.index(model.roles.cell_type, target.cell_type)  # unknown types are told, with the nearest
    levels = real.levels(target.needed())
    known = (real.types != "").any()
    among = real.types == target.cell_type if known and target.cell_type is not None else None
    target = feasibility.fill(target, levels, among)
    found = feasibility.assess(target, levels, real.types if known else None)
    types = Types(real.z, real.types) if known and len(set(real.types.tolist()) - {""}) > 1 else None
    return target, TargetObjective(model.codec, model.genes, target, levels, types), found


def _guidance(model: Model, config: DesignConfig) -> GradientGuidance:
    """Return the quick sampler that a configuration asks for."""
    return GradientGuidance(model.denoiser, model.denoiser.schedule, config.steps,
                            4 if config.method == "recurrence" else 1, config.tau)


@dataclass(frozen=True)
class _Kept:
    z: Tensor
    weight: np.ndarray
    ancestor: np.ndarray
    codes: np.ndarray
    conts: np.ndarray


def _take(last: Particles, codes: np.ndarray, conts: np.ndarray) -> _Kept:
    """Return the end of a round; a resampled particle has the conditions of its ancestor."""
    ancestor = last.ancestor.cpu().numpy()
    return _Kept(last.x0_hat, last.log_weight.cpu().numpy(), ancestor, codes[ancestor], conts[ancestor])


@torch.no_grad()
def _choose(kept: list[_Kept], n: int, objective: TargetObjective, target: Target,
            found: feasibility.Feasibility, generator: torch.Generator) -> Designed:
    """Draw n cells by their weights, none twice; where too few meet the target, the nearest to it fill up."""
    z = torch.cat([k.z for k in kept])
    weight = np.concatenate([k.weight for k in kept])
    ancestor = np.concatenate([k.ancestor + i * len(k.ancestor) for i, k in enumerate(kept)])
    codes, conts = np.concatenate([k.codes for k in kept]), np.concatenate([k.conts for k in kept])
    margins = objective.all_margins(z).cpu().numpy()
    # the largest of log weights with Gumbel noise: a draw in proportion to weights without putting back
    noise = -np.log(-np.log(torch.rand(len(weight), generator=generator, dtype=torch.float64).numpy() + 1e-300))
    hard = margins[:, objective.hard.cpu().numpy()] if len(objective.hard) else np.zeros((len(weight), 1))
    short = np.minimum(hard, 0).sum(axis=1)
    order = np.lexsort((-np.where(np.isfinite(weight), weight + noise, short), ~np.isfinite(weight)))[:n]
    return Designed(z[torch.from_numpy(order).to(z.device)], np.isfinite(weight[order]), margins[order], codes[order],
                    conts[order], len(np.unique(ancestor[order])), target, found)
