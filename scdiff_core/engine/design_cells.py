"""Designed codes as cells: counts, which demands each meets, and what is said of the whole."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from scdiff_core import keys
from scdiff_core.analysis.design.figures_of import Ground
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine.denoised import Denoised
from scdiff_core.engine.design import design, prepare
from scdiff_core.engine.design_config import DesignConfig
from scdiff_core.engine.designed import Begin, Designed, DesignProgress
from scdiff_core.engine.generate import assemble
from scdiff_core.engine.model import Model
from scdiff_core.engine.realism import Measured, codes_of, ground_of, measure, sampled
from scdiff_core.errors import ScdiffError
from scdiff_core.target import Start

if TYPE_CHECKING:
    from anndata import AnnData

MET, UNREAL, KNN, NEAREST, START_CELL = "meets_target", "looks_unreal", "knn_distance", "nearest_cell", "start_cell"
SUMMARY = "summary"  # in the recipe
FIGURES = 10  # of all steps, the share in a hundred that the figures take


@dataclass(frozen=True, eq=False)
class Bench:
    """A model with the real cells that its designs are held against; kept, since many designs are made of one."""

    model: Model
    prepared: Prepared

    @cached_property
    def real(self) -> Denoised:
        """The training cells by their codes."""
        return Denoised.of(self.model, self.prepared)

    @cached_property
    def held_out(self) -> Denoised | None:
        """The cells that were never trained on, by their codes; None where there are none."""
        there = len(self.prepared.rows(keys.TEST)) > 0
        return Denoised.of(self.model, self.prepared, keys.TEST) if there else None

    @cached_property
    def ground(self) -> Ground:
        """The training cells as points, and how far held-out ones lie from them."""
        return ground_of(self.prepared)

    @cached_property
    def codes(self) -> Ground:
        """The same by their codes."""
        return codes_of(self.real, self.held_out)


@dataclass(frozen=True)
class DesignedCells:
    """Cells as they are written, the codes behind them, and what is said of them."""

    adata: AnnData
    made: Designed
    measured: Measured


def begin_of(bench: Bench, start: Start, chosen: np.ndarray | None = None) -> Begin:
    """Return the cells that a target asks to begin from, with the codes of `bench.real` where these have them.

    Parameters
    ----------
    chosen
        bool [cells of the dataset]: a saved selection, or cells chosen on the page; None: any.

    Raises
    ------
    ScdiffError
        No cell is left, or a column or value is unknown.
    """
    prepared = bench.prepared
    fits = np.ones(prepared.n_cells, bool) if chosen is None else np.asarray(chosen, bool).copy()
    where = dict(start.where)
    if start.cell_type is not None:
        where[keys.CELL_TYPE] = start.cell_type
        if prepared.roles.cell_type is None:
            raise ScdiffError(f"There are no cells of the type '{start.cell_type}' to begin from.",
                              "The data has no cell types.", "Begin from a selection, or from a value of a column.")
        bench.model.vocab.index(prepared.roles.cell_type, start.cell_type)
    for column, value in where.items():
        fits &= prepared.labels(column) == value
    rows = np.flatnonzero(fits)
    if not len(rows):
        words = ", ".join(f"{k} = {v}" for k, v in where.items()) or "the selection"
        raise ScdiffError("There are no cells to begin from.", f"No cell of the dataset is in {words}.",
                          "Choose other cells, or begin from noise.")
    known = {int(row): i for i, row in enumerate(bench.real.rows)}
    inside = np.array([known[int(r)] for r in rows if int(r) in known], dtype=np.int64)
    if len(inside):  # training cells, whose codes are there already
        real = bench.real
        return Begin(real.z[torch.from_numpy(inside).to(real.z.device)], real.codes[inside], real.conts[inside],
                     real.rows[inside])
    own = Denoised.of(bench.model, prepared, rows=rows)
    return Begin(own.z, own.codes, own.conts, own.rows)


def design_cells(bench: Bench, config: DesignConfig, chosen: np.ndarray | None = None,
                 sets: Mapping[str, tuple[str, ...]] | None = None) -> Generator[DesignProgress, None, DesignedCells]:
    """Design cells and hold them against real ones; `DesignedCells` is the generator's return value.

    obs has `meets_target` (every hard row, by the denoised expression), `looks_unreal`, `knn_distance`,
    `nearest_cell`, and `start_cell` where they began from cells; the recipe in uns["scdiff"] has the target with its
    levels filled in, and the report as its summary. `sets` are gene sets that are looked at besides the target's.

    Raises
    ------
    ScdiffError
        The target cannot be followed.
    """
    model, prepared, real = bench.model, bench.prepared, bench.real
    start = config.target.start
    begin = None if start is None else begin_of(bench, start, chosen)
    ground = bench.codes  # made on its first use, which is no part of the design's time
    began = time.monotonic()
    steps = design(model, real, config, begin, ground)
    step = None
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            made: Designed = end.value
            break
        yield DesignProgress(step.done * (100 - FIGURES), step.total * 100, step.z)
    seconds = time.monotonic() - began
    values, totals = sampled(model, made.z, torch.Generator().manual_seed(config.seed))
    filled = config.model_copy(update={"target": made.target})
    adata = assemble(model, filled, values, totals, made.codes, made.conts)
    task = prepare(model, real, made.target, config.custom)
    figures = measure(model, prepared, real, bench.held_out, bench.ground, bench.codes, task, made, adata, config.seed,
                      seconds, sets)
    while True:
        try:
            share = next(figures)
        except StopIteration as end:
            measured: Measured = end.value
            break
        yield DesignProgress(round(100 - FIGURES * (1 - share)), 100, made.z)
    adata.obs[MET], adata.obs[UNREAL], adata.obs[KNN] = made.met, measured.unreal, measured.knn.astype(np.float32)
    names = prepared.obs.index.to_numpy(str)
    adata.obs[NEAREST] = names[measured.nearest]
    if made.start is not None:
        adata.obs[START_CELL] = names[made.start]
    recipe = json.loads(adata.uns[keys.SCDIFF])
    adata.uns[keys.SCDIFF] = json.dumps({**recipe, "kind": "design", SUMMARY: measured.report.to_dict()})
    return DesignedCells(adata, made, measured)
