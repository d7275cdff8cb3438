"""Real cells changed in one respect: noised part of the way, and made clean again under other covariates.

SDEdit (Meng et al. 2022, section 3.1) on the codes of cells: what the noise of time t leaves of a cell is kept, what it
takes away is made anew under the changed covariates. The depth stays the cell's own, and so do its places in the
distributions of counts (`engine.populations`): genes whose distribution does not change keep their very counts.
"""

from __future__ import annotations

import copy
from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from scdiff_core import keys
from scdiff_core.config import GenerateConfig
from scdiff_core.config_modes import ChangeConfig
from scdiff_core.data.chosen import rows_of
from scdiff_core.data.prepared import Prepared
from scdiff_core.diffusion.denoiser import Denoiser
from scdiff_core.diffusion.guidance import Held
from scdiff_core.engine.batches import Cells
from scdiff_core.engine.calibrate import draw_codes
from scdiff_core.engine.generate import GenerateProgress, Plan, assemble, draw_cells, guided
from scdiff_core.engine.model import Model
from scdiff_core.engine.populations import Population, bare
from scdiff_core.errors import ScdiffError

if TYPE_CHECKING:
    from anndata import AnnData

FROM = "from_cell"  # obs: the name of the real cell that each began as
MOST = 20_000  # cells that are changed at once


def change(model: Model, prepared: Prepared, config: ChangeConfig) -> Generator[GenerateProgress, None, AnnData]:
    """Change real cells; the AnnData, as `engine.generate` makes it with `from_cell` in obs, is the return value.

    Raises
    ------
    ScdiffError
        No cell is chosen, a covariate or value is unknown, or nothing would change.
    """
    generator = torch.Generator().manual_seed(config.seed)
    rows = _some(rows_of(prepared, config.origin, config.cells), config.n_cells, config.seed)
    cells = Cells(prepared, rows, model.device)
    codes, conts = changed(model, cells.condition.codes.cpu().numpy(), cells.condition.conts.cpu().numpy(), config.to)
    z = draw_codes(model.codec, cells, generator)
    how = GenerateConfig(run=config.run, guidance_scale=config.guidance_scale, steps=config.steps)
    towards: Denoiser = guided(model, how)

    def denoiser(some: slice) -> Denoiser:
        return Held(towards, z[some, -1:]) if model.counts else towards

    codec = model.codec if model.device.type == "cpu" else copy.deepcopy(model.codec).cpu()
    measured = Cells(prepared, rows, torch.device("cpu"))

    def decode(made: Tensor, some: slice) -> tuple[Tensor, Tensor]:
        batch = measured.take(np.arange(len(rows))[some])
        here = Population.of(codec, z[some].cpu(), batch.values, batch.total, generator)
        there = bare(codec.decode(made.cpu()))  # strays lie on top, and stay
        return replace(here, there=there).read(torch.zeros(here.u.shape[1]))

    values, totals = yield from draw_cells(model, codes, conts, how, generator,
                                           Plan(denoiser, z, config.strength, decode))
    adata = assemble(model, config, values, totals, codes, conts)
    adata.obs[FROM] = prepared.obs.index.to_numpy()[rows].astype(str)
    return adata


def changed(model: Model, codes: np.ndarray, conts: np.ndarray, to: dict[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Return conditions with some covariates at other values.

    Raises
    ------
    ScdiffError
        A covariate or value is unknown, none is given, or every cell has these values already.
    """
    vocab, new_codes, new_conts = model.vocab, codes.copy(), conts.copy()
    for name, value in to.items():
        covariate = vocab.find(name)
        if covariate in vocab.categorical:
            if value in (keys.ANY, keys.AS_IN_DATA):
                raise ScdiffError(f"'{name}' cannot be changed to '{value}'.", "Cells are changed to a value.",
                                  "Name the value that they are to have.")
            new_codes[:, vocab.categorical.index(covariate)] = vocab.index(covariate.column, value)
            continue
        new_conts[:, vocab.continuous.index(covariate)] = covariate.standard(covariate.number(value))
    if np.array_equal(new_codes, codes) and np.allclose(new_conts, conts, equal_nan=True):
        words = ", ".join(f"{k} = {v}" for k, v in to.items())
        raise ScdiffError("Nothing would change.", f"Every chosen cell has {words} already." if to else
                          "No covariate is given a new value.", "Choose other cells, or another value.")
    return new_codes, new_conts


def _some(rows: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Return n of the rows, each as often as the others if there are fewer; all of them (at most 20,000) if n is 0."""
    if n == 0:
        n = min(MOST, len(rows))
    if n == len(rows):
        return rows
    order = np.random.default_rng(seed).permutation(rows)
    return np.sort(np.resize(order, n))
