"""A path of populations from one state of cells to another: gradient interpolation, or a number asked for in between.

Between two labels the cells of position w follow (1 - w) of the flow towards the one and w of that towards the other
(Luo et al. 2024, scDiffusion, gradient interpolation), each under classifier-free guidance: in the language of
densities p(x | start)^(1 - w) p(x | end)^w at every level of noise. They begin as noise, or as real cells of the start
that are noised to a time below 1, of which something is left. Ends that are chosen real cells are told apart by a
classifier of noisy codes, whose gradients take the place of conditions. Along a covariate that is a number, such as
time, cells are asked for at the numbers in between.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from scdiff_core import keys
from scdiff_core.config import GenerateConfig
from scdiff_core.config_modes import Ends, TrajectoryConfig
from scdiff_core.data.chosen import rows_of
from scdiff_core.data.prepared import Prepared
from scdiff_core.data.vocab import Covariate
from scdiff_core.diffusion.denoiser import Denoiser
from scdiff_core.diffusion.guidance import Between, ByClassifier, Given
from scdiff_core.engine.batches import Cells
from scdiff_core.engine.calibrate import draw_codes
from scdiff_core.engine.classifier import LabelClassifier
from scdiff_core.engine.denoised import Denoised
from scdiff_core.engine.from_cells import FROM
from scdiff_core.engine.generate import GenerateProgress, Plan, assemble, conditions, draw_cells, guided
from scdiff_core.engine.model import Model
from scdiff_core.errors import ScdiffError

if TYPE_CHECKING:
    from anndata import AnnData

POSITION = "position"  # obs: 0 at the start, 1 at the end
FEWEST = 5  # real cells that an end needs
START, END, REST = "start", "end", "rest"


def trajectory(model: Model, config: TrajectoryConfig, prepared: Prepared | None = None
               ) -> Generator[GenerateProgress, None, AnnData]:
    """Generate a path; the AnnData, as `engine.generate` makes it with `position` in obs, is the return value.

    Parameters
    ----------
    prepared
        The dataset of the run; needed where an end is real cells, chosen or of a column that is no covariate.

    Raises
    ------
    ScdiffError
        A covariate or value is unknown, both ends are the same, or an end has too few cells.
    """
    check(model, config)
    generator = torch.Generator().manual_seed(config.seed)
    how = GenerateConfig(run=config.run, n_cells=config.n_cells, where=config.where, steps=config.steps,
                         guidance_scale=config.guidance_scale)
    # as many cells at each position, give or take one, in the order of the path
    position = np.arange(config.n_cells) * config.points // config.n_cells / (config.points - 1)
    covariates = [_covariate(model, end) for end in (config.start, config.end)]
    shared = covariates[0] if covariates[0] is not None and covariates[0] == covariates[1] else None
    free = {} if shared is None else {shared.column: keys.ANY}
    codes, conts = conditions(model, how.model_copy(update={"where": {**config.where, **free}}), generator)
    plan = Plan()
    if shared is not None and shared in model.vocab.continuous:
        one, other = (shared.number(end.value) for end in (config.start, config.end))
        between = (1 - position) * one + position * other
        conts[:, model.vocab.continuous.index(shared)] = shared.standard(between)
    else:
        if shared is None:
            codes, conts = _unknown(model, codes, conts, config.where)
        weight = torch.from_numpy(position.astype(np.float32))[:, None].to(model.device)
        plan = Plan(_between(model, config, how, shared, prepared, weight))
        if config.reach < 1:
            rows = _begin(config, prepared)
            plan = replace(plan, z=_codes(model, prepared, rows, generator), t=config.reach)
    values, totals = yield from draw_cells(model, codes, conts, how, generator, plan)
    adata = assemble(model, config, values, totals, codes, conts)
    adata.obs[POSITION] = position.astype(np.float32)
    if plan.z is not None and prepared is not None:
        adata.obs[FROM] = prepared.obs.index.to_numpy()[rows].astype(str)
    return adata


def _begin(config: TrajectoryConfig, prepared: Prepared | None) -> np.ndarray:
    """Return a real cell of the start for each cell of the path."""
    rows = rows_of(_at_hand(prepared), _labels(config.start), config.start.cells)
    return np.resize(np.random.default_rng(config.seed).permutation(rows), config.n_cells)


def _codes(model: Model, prepared: Prepared | None, rows: np.ndarray, generator: torch.Generator) -> torch.Tensor:
    return draw_codes(model.codec, Cells(_at_hand(prepared), rows, model.device), generator)


def _labels(end: Ends) -> dict[str, str]:
    return {} if end.cells is not None else {end.column: end.value}


def _at_hand(prepared: Prepared | None) -> Prepared:
    if prepared is None:
        raise ScdiffError("The path cannot be made.",
                          "It begins with real cells, and the run's dataset is not in this workspace.",
                          "Prepare the dataset here, or lead it from one value of a covariate to another.")
    return prepared


def check(model: Model, config: TrajectoryConfig) -> None:
    """See that a path can be made; raises as `trajectory` does, without any work."""
    start, end = config.start, config.end
    for name, side in (("start", start), ("end", end)):
        if side.cells is None and not (side.column and side.value):
            raise ScdiffError(f"The path has no {name}.", f"Neither a value nor cells are given for its {name}.",
                              "Choose a value of a covariate, or select real cells.")
    same = start.cells.rows == end.cells.rows if start.cells is not None and end.cells is not None else \
        start.cells is None and end.cells is None and (start.column, start.value) == (end.column, end.value)
    if same:
        raise ScdiffError("The path would lead nowhere.", f"Its start and its end are the same: '{start.words}'.",
                          "Choose another start or another end.")
    if config.n_cells < config.points:
        raise ScdiffError("There are too few cells for the path.",
                          f"{config.n_cells} cells cannot stand at {config.points} positions.",
                          "Ask for more cells, or for fewer positions.")
    along = [c.column for c in (_covariate(model, start), _covariate(model, end)) if c is not None]
    for name in config.where:
        covariate = model.vocab.find(name)
        if covariate.column in along:
            raise ScdiffError(f"'{covariate.column}' is given twice.", "It is what the path leads along.",
                              "Leave it out of the conditions.")
    for side in (start, end):
        its = _covariate(model, side)
        if its is not None and its in model.vocab.continuous:
            its.number(side.value)
        elif its is not None:
            model.vocab.index(its.column, side.value)
    if shared_number(model, config) and float(start.value) == float(end.value):
        raise ScdiffError("The path would lead nowhere.", "Its start and its end are the same number.",
                          "Choose another start or another end.")


def shared_number(model: Model, config: TrajectoryConfig) -> bool:
    """Say whether the path leads along a covariate that is a number."""
    one, other = _covariate(model, config.start), _covariate(model, config.end)
    if (one in model.vocab.continuous or other in model.vocab.continuous) and one != other:
        raise ScdiffError("The path cannot be made.", "One of its ends is a number, and the other is not of that kind.",
                          "Give both ends as values of the same column.")
    return one is not None and one in model.vocab.continuous


def _covariate(model: Model, end: Ends) -> Covariate | None:
    """Return the covariate that an end is a value of; None for chosen cells and for other columns."""
    if end.cells is not None:
        return None
    return next((c for c in model.vocab if end.column in (c.column, c.role)), None)


def _unknown(model: Model, codes: np.ndarray, conts: np.ndarray,
             where: dict[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Return conditions that say nothing but what was asked for: the ends are of several covariates, or of none."""
    named = {model.vocab.find(name).column for name in where}
    codes, conts = codes.copy(), conts.copy()
    for i, covariate in enumerate(model.vocab.categorical):
        if covariate.column not in named:
            codes[:, i] = covariate.null
    for i, covariate in enumerate(model.vocab.continuous):
        if covariate.column not in named:
            conts[:, i] = np.nan
    return codes, conts


def _between(model: Model, config: TrajectoryConfig, how: GenerateConfig, shared: Covariate | None,
             prepared: Prepared | None, weight: torch.Tensor) -> Callable[[slice], Denoiser]:
    """Return rows -> the denoiser between both ends."""
    base = guided(model, how)
    one: Denoiser
    other: Denoiser
    if shared is not None:
        column = model.vocab.categorical.index(shared)
        one, other = (Given(base, column, model.vocab.index(shared.column, end.value))
                      for end in (config.start, config.end))
    else:
        classes = _ends_told_apart(model, config, prepared)
        one, other = (ByClassifier(base, model.denoiser.schedule, classes, classes.index(name, "cells"), 1.0)
                      for name in (START, END))
    return lambda rows: Between(one, other, weight[rows])


def _ends_told_apart(model: Model, config: TrajectoryConfig, prepared: Prepared | None) -> LabelClassifier:
    """Return a classifier of noisy codes that knows the cells of the start, of the end, and the rest."""
    prepared = _at_hand(prepared)
    real = Denoised.of(model, prepared, rows=np.arange(prepared.n_cells))
    labels = np.full(len(real), REST, dtype="<U5")
    for name, end in ((START, config.start), (END, config.end)):
        rows = rows_of(prepared, _labels(end), end.cells)
        mine = np.isin(real.rows, rows)
        if (labels[mine] != REST).any():
            raise ScdiffError("The path cannot be made.", "Some cells are both at its start and at its end.",
                              "Choose ends without a common cell.")
        if mine.sum() < FEWEST:
            raise ScdiffError(f"The {name} has too few cells.", f"{int(mine.sum())} cells; {FEWEST} are needed.",
                              "Select more cells.")
        labels[mine] = name
    if (labels == REST).sum() < FEWEST:
        labels[labels == REST] = ""
    return LabelClassifier(real.z, labels, model.codec.n_latent)
