"""Rare types filled up: generated cells beside the real ones, so that each type has as many as are asked for."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import TYPE_CHECKING

import numpy as np
import torch

from scdiff_core import keys
from scdiff_core.config import GenerateConfig
from scdiff_core.config_uses import FillConfig
from scdiff_core.data.prepared import Prepared
from scdiff_core.data.vocab import Vocab
from scdiff_core.engine.generate import GenerateProgress, assemble, conditions, draw_cells
from scdiff_core.engine.model import Model
from scdiff_core.errors import ScdiffError, nearest

if TYPE_CHECKING:
    from anndata import AnnData

MOST = 200_000  # generated cells of one request


def column_of(vocab: Vocab, cell_type: str | None, column: str) -> str:
    """Return the column whose values are filled up: the one asked for, or the cell type.

    Raises
    ------
    ScdiffError
        There is no cell type, or the model was not trained with that column.
    """
    known = [c.column for c in vocab.categorical]
    if not column:
        if cell_type is None or cell_type not in known:
            raise ScdiffError("There are no types to fill up.", "The dataset was prepared without a cell type.",
                              ("Name one of its columns (" + ", ".join(known) + ").") if known else
                              "Prepare it with the column of the cell type, and train on that.")
        return cell_type
    if column not in known:
        raise ScdiffError(f"'{column}' cannot be filled up.", nearest(column, known) or (
            "The model was trained with " + (", ".join(known) or "no labels") + "."),
            "Choose one of the columns of labels that the model was trained with.")
    return column


def counted(prepared: Prepared, column: str, values: tuple[str, ...]) -> dict[str, int]:
    """Return how many real cells each value has, in both splits."""
    labels = prepared.labels(column)
    return {value: int((labels == value).sum()) for value in values}


def missing(real: dict[str, int], to: int | None, numbers: dict[str, int]) -> dict[str, int]:
    """Return how many cells each type lacks; types that have as many as `to` already are left as they are.

    Raises
    ------
    ScdiffError
        A type is unknown, fewer are asked for by name than there are, nothing is lacking, or too much is.
    """
    for value, n in numbers.items():
        if value not in real:
            raise ScdiffError(f"There is no type '{value}'.", nearest(value, real) or
                              "The types are " + ", ".join(real) + ".", "Use one of the types that the model knows.")
        if n < real[value]:
            raise ScdiffError(f"'{value}' cannot be filled up to {n:,}.", f"It has {real[value]:,} real cells already, "
                              "and none of them is taken away.", f"Ask for {real[value]:,} or more, or leave it out.")
    if to is None and not numbers:
        raise ScdiffError("It is not said how many cells the types are to have.", "No number was given.",
                          "Give a number for all types, or for some of them.")
    lacks = {value: max(0, numbers.get(value, n if to is None else to) - n) for value, n in real.items()}
    if not any(lacks.values()):
        raise ScdiffError("Nothing is to be filled up.", f"Every type has as many cells already: the fewest are "
                          f"{min(real.values()):,} of {min(real, key=real.__getitem__)}.", "Ask for more.")
    if sum(lacks.values()) > MOST:
        raise ScdiffError(f"{sum(lacks.values()):,} cells are too many for one request.",
                          f"At most {MOST:,} are made at once.", "Ask for fewer, or fill up in several requests.")
    return {value: n for value, n in lacks.items() if n}


def plan(model: Model, how: GenerateConfig, column: str, lacks: dict[str, int], generator: torch.Generator
         ) -> tuple[np.ndarray, np.ndarray]:
    """Return the conditions of the cells that are lacking, type after type; what else a cell is comes from its type."""
    each = [conditions(model, how.model_copy(update={"n_cells": n, "where": {column: value}}), generator)
            for value, n in lacks.items()]
    return np.concatenate([c for c, _ in each]), np.concatenate([c for _, c in each])


def fill(model: Model, prepared: Prepared, config: FillConfig) -> Generator[GenerateProgress, None, AnnData]:
    """Generate the cells that types lack; the AnnData, as `generate` makes them, is the return value.

    Its recipe says besides, under `fill`, the column and for each type how many are real and how many were made.

    Raises
    ------
    ScdiffError
        There is no such column or type, or nothing is to be made.
    """
    column = column_of(model.vocab, prepared.roles.cell_type, config.column)
    values = next(c.values for c in model.vocab.categorical if c.column == column)
    real = counted(prepared, column, values)
    lacks = missing(real, config.to, config.numbers)
    generator = torch.Generator().manual_seed(config.seed)
    how = GenerateConfig(run=config.run, guidance_scale=config.guidance_scale, sampler=config.sampler,
                         steps=config.steps, seed=config.seed)
    codes, conts = plan(model, how, column, lacks, generator)
    made, totals = yield from draw_cells(model, codes, conts, how, generator)
    adata = assemble(model, config, made, totals, codes, conts)
    recipe = json.loads(adata.uns[keys.SCDIFF])
    recipe |= {"kind": "fill", "fill": {"column": column, "real": real, "made": lacks}}
    adata.uns[keys.SCDIFF] = json.dumps(recipe)
    return adata
