"""Designed cells: codes that meet a target, sampled from the model, from noise or from cells that are there."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scdiff_core.analysis.design.figures_of import Ground
from scdiff_core.data.chosen import evenly
from scdiff_core.diffusion.denoiser import Preconditioned
from scdiff_core.diffusion.sampler import DDPM
from scdiff_core.diffusion.schedule import Karras
from scdiff_core.diffusion.twist import unknown_at
from scdiff_core.diffusion.twist_calibration import calibrate
from scdiff_core.diffusion.twisted import GradientGuidance, Particles, TwistedSMC
from scdiff_core.engine import custom
from scdiff_core.engine.denoised import Denoised
from scdiff_core.engine.design_choice import choose, take
from scdiff_core.engine.design_config import DesignConfig
from scdiff_core.engine.design_live import facts
from scdiff_core.engine.design_plain import TRIAL, beginnings, is_common, wait
from scdiff_core.engine.designed import Begin, Designed, DesignProgress, Task
from scdiff_core.engine.generate import condition_of
from scdiff_core.engine.model import Model
from scdiff_core.engine.objectives import TargetObjective, Types
from scdiff_core.engine.train_diffusion import SCHEDULE as LEARNT
from scdiff_core.errors import ScdiffError
from scdiff_core.nn.condition import Condition
from scdiff_core.nn.genes import GenesCodec
from scdiff_core.target import Target

SCHEDULE = Karras(LEARNT.ratio_min, LEARNT.ratio_max)  # alpha is 1, as twisted sampling wants it
ISLANDS, PARTICLES = 4, 2  # islands, and particles for each cell that is asked for
START = 8  # starts (noise and conditions) that are looked at for each particle
ROUNDS = 3  # further attempts where too few cells met the target
RECURRENCE = 4
MEASURED = 512  # real cells on which the denoiser's error is measured
MOVES = (0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.8, 1.0)  # how far cells are moved, in search of the least that suffices
PILOT, PILOT_STEPS = 256, 15  # particles and steps of that search
ENOUGH, KEPT = 0.9, 0.25  # share of the pilot that has to meet the target, and of its cells that have to be left


def design(model: Model, real: Denoised, config: DesignConfig, begin: Begin | None = None,
           ground: Ground | None = None) -> Generator[DesignProgress, None, Designed]:
    """Sample codes that meet a target; the generator's return value is `Designed`. Closing it lets go at once.

    Cells are steered to it by twisted sequential Monte Carlo; with the same method, cells that meet a common target are
    waited for (`design_plain`).

    Parameters
    ----------
    begin
        The cells to start from where the target has a `start`.
    ground
        Real codes; of cells that begin from noise no more will lie far from them than of held-out ones, as far as
        others meet the target and can take their place (see `Ground.exchange`). None: they are taken as they come.

    Raises
    ------
    ScdiffError
        The target cannot be followed: empty, contradicting, an unknown gene or type, a level beyond any cell, a type
        of a model that knows none, a custom objective that fails or is not allowed.
    """
    task = prepare(model, real, config.target, config.custom)
    generator = torch.Generator().manual_seed(config.seed)
    n, kept, done = config.n_cells, [], 0
    size = ISLANDS * -(-max(PARTICLES * n, 256) // ISLANDS)
    move: float = 1.0
    tried: tuple[tuple[float, float], ...] = ()
    if begin is not None:
        begin = _as_type(model, task.target, begin)
        asked = task.target.start.move if task.target.start is not None else None
        move, tried = (asked, ()) if asked is not None else (yield from _least(model, real, task, config, begin))
    total = ROUNDS * config.steps
    if begin is None and config.method == "smc" and is_common(task):
        plain = yield from wait(model, task, n, config.steps, total, generator)
        if plain:
            return choose(plain, n, task, generator, None, None, (), ground)
        done = int(TRIAL * total)  # the bar goes on from where the trial left it
        total += done
    smc = _sampler(model, real, config, config.steps, move, None if begin is not None else task)
    for _ in range(ROUNDS):
        if begin is None:
            x, condition, codes, conts = _from_noise(model, smc, task, size, generator)
            origin = np.full(size, -1)
        else:
            x, condition, origin = _from_cells(model, begin, move, size, generator)
            codes, conts = begin.codes[origin], begin.conts[origin]
        walk = _walk(smc, config, x, condition, task, generator, move, begin is None)
        kept.append(take((yield from _to_the_end(walk, done, total)), codes, conts, origin))
        done += config.steps
        if sum(int(np.isfinite(k.weight).sum()) for k in kept) >= n:
            break
    yield DesignProgress(total, total, kept[-1].z)
    return choose(kept, n, task, generator, begin, None if begin is None else move, tried, ground)


def prepare(model: Model, real: Denoised, target: Target, allowed: bool = False) -> Task:
    """Return a target with its levels filled in, its objective, and what real cells say of it; raises as `design`.

    `allowed` says that a custom objective may run.
    """
    if isinstance(model.codec, GenesCodec):
        raise ScdiffError("Cells cannot be designed with this model.",
                          "It is of the genes themselves: designing steers short codes, which it does not have.",
                          "Train a model with the codec vae or pca.")
    found = facts(model, real, target)
    target = found.target
    own = None if target.objective is None else custom.load(Path(target.objective), model.genes.tolist(), allowed)
    typed = target.cell_type is not None or bool(target.away_from)
    several = len(set(real.types.tolist()) - {""}) > 1
    classes = Types(real.z, real.types) if typed and several else None
    return Task(target, TargetObjective(model.codec, model.genes, target, found.levels, classes, own),
                found.feasibility, found.fits)


def _sampler(model: Model, real: Denoised, config: DesignConfig, steps: int, move: float,
             task: Task | None = None) -> TwistedSMC:
    """Return the sampler from t = `move`, with what is not known of clean codes measured on those of real cells.

    From noise, with a `task` that names no type, its twist is put right for each type by the real cells of it.
    """
    denoiser = exploding(model)
    rows = evenly(np.arange(len(real)), MEASURED)
    condition = condition_of(model, real.codes[rows], real.conts[rows])
    z = real.z[torch.from_numpy(rows).to(real.z.device)]
    unknown = unknown_at(denoiser, SCHEDULE, move, steps, z, condition, torch.Generator().manual_seed(0))
    calibration, typed = None, model.roles.cell_type
    if task is not None and typed is not None and task.target.cell_type is None and task.target.objective is None:
        calibration = calibrate(denoiser, SCHEDULE, unknown, config.tau, task.objective, real.z,
                                condition_of(model, real.codes, real.conts),
                                model.vocab.categorical.index(model.vocab.find(typed)),
                                torch.Generator().manual_seed(0))
    return TwistedSMC(denoiser, SCHEDULE, steps, ISLANDS, config.tau, unknown=unknown, calibration=calibration)


def _walk(smc: TwistedSMC, config: DesignConfig, x: Tensor, condition: Condition, task: Task,
          generator: torch.Generator, move: float, chosen: bool) -> Generator[Particles, None, None]:
    """Go from noisy codes at t = `move` to clean ones in the way that is asked for."""
    if config.method == "smc":
        yield from smc.iterate(x, condition, task.objective, generator, move, chosen)
    else:
        again = RECURRENCE if config.method == "recurrence" else 1
        quick = GradientGuidance(smc.denoiser, smc.schedule, smc.steps, again, smc.tau, smc.most, smc.unknown)
        yield from quick.iterate(x, condition, task.objective, generator, move)


def _to_the_end(walk: Iterator[Particles], done: int, total: int,
                counts: bool = True) -> Generator[DesignProgress, None, Particles]:
    """Follow a walk, telling how far it is where it `counts`, and return its last state."""
    last = next(walk)
    yield DesignProgress(done + counts, total, last.x0_hat)
    for i, last in enumerate(walk, 2):
        yield DesignProgress(done + counts * i, total, last.x0_hat)
    return last


def exploding(model: Model) -> Preconditioned:
    """Return the denoiser under the schedule that designs go by; one network serves every schedule."""
    return Preconditioned(model.denoiser.network, SCHEDULE, model.denoiser.preconditioning)


def _from_noise(model: Model, smc: TwistedSMC, task: Task, size: int, generator: torch.Generator,
                ) -> tuple[Tensor, Condition, np.ndarray, np.ndarray]:
    """Return `size` noises with their conditions, chosen of many by what they are likely to become."""
    codes, conts, condition = beginnings(model, task.target, START * size, generator)
    x = DDPM(smc.denoiser, SCHEDULE, 1).start(START * size, model.codec.n_dims, generator, model.device)
    first = smc.choose_start(x, condition, task.objective, size, generator)  # for the quick choices as well
    chosen = first.cpu().numpy()
    return x[first], condition.rows(first), codes[chosen], conts[chosen]


def _as_type(model: Model, target: Target, begin: Begin) -> Begin:
    """Return the cells to start from as cells of the type that is asked for; of any, where none is."""
    column = model.roles.cell_type
    if column is None:
        return begin
    covariate = model.vocab.find(column)
    codes = begin.codes.copy()
    codes[:, model.vocab.categorical.index(covariate)] = covariate.null if target.cell_type is None else \
        model.vocab.index(column, target.cell_type)
    return Begin(begin.z, codes, begin.conts, begin.rows)


def _from_cells(model: Model, begin: Begin, move: float, size: int,
                generator: torch.Generator) -> tuple[Tensor, Condition, np.ndarray]:
    """Return the cells with the noise of t = `move`, each about equally often, their conditions, and which each is."""
    order = torch.cat([torch.randperm(len(begin.z), generator=generator) for _ in range(-(-size // len(begin.z)))])
    origin = order[:size][torch.randperm(size, generator=generator)]
    sigma = SCHEDULE(torch.tensor(move, dtype=torch.float64))[1].float()
    z = begin.z[origin.to(begin.z.device)]
    noise = torch.randn(z.shape, generator=generator).to(z)
    which = origin.numpy()
    return z + sigma * noise, condition_of(model, begin.codes[which], begin.conts[which]), which


def _least(model: Model, real: Denoised, task: Task, config: DesignConfig, begin: Begin,
           ) -> Generator[DesignProgress, None, tuple[float, tuple[tuple[float, float], ...]]]:
    """Return the least of `MOVES` at which enough cells come to meet the target, and what was tried."""
    generator = torch.Generator().manual_seed(config.seed)
    tried = []
    for i, move in enumerate(MOVES):
        x, condition, _ = _from_cells(model, begin, move, PILOT, generator)
        smc = _sampler(model, real, config, PILOT_STEPS, move)
        walk = _walk(smc, config, x, condition, task, generator, move, False)
        last = yield from _to_the_end(walk, 0, ROUNDS * config.steps, counts=False)
        good = torch.isfinite(last.log_weight).cpu().numpy()
        left = len(np.unique(last.ancestor.cpu().numpy()[good])) / PILOT
        tried.append((move, round(float(good.mean()), 3)))
        if (good.mean() >= ENOUGH and left >= KEPT) or i == len(MOVES) - 1:
            break
    return tried[-1][0], tuple(tried)
