"""What real cells say of a target while it is edited."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scdiff_core.analysis.design import feasibility
from scdiff_core.engine.denoised import Denoised
from scdiff_core.engine.model import Model
from scdiff_core.errors import ScdiffError
from scdiff_core.target import Target, check


@dataclass(frozen=True)
class Facts:
    """A target with its levels filled in, and the real cells' levels of its genes [N], and which fit its type."""

    target: Target
    feasibility: feasibility.Feasibility
    levels: dict[str, np.ndarray]
    fits: np.ndarray


def facts(model: Model, real: Denoised, target: Target) -> Facts:
    """Hold a target against real cells; nothing is sampled, and levels are reckoned once a gene.

    Raises
    ------
    ScdiffError
        The target is empty, contradicts itself, or asks for what is unknown or impossible; the nearest is named.
    """
    target = check(target, model.genes)
    check_types(model, target)
    levels = real.levels(target.needed())
    types = real.types if (real.types != "").any() else None
    fits = feasibility.fitting(target, len(real), types)
    target = feasibility.fill(target, levels, fits)
    return Facts(target, feasibility.assess(target, levels, types, len(real)), levels, fits)


def check_types(model: Model, target: Target) -> None:
    """Raise `ScdiffError` where a target names types and the model knows none, or not these."""
    named = [*([target.cell_type] if target.cell_type is not None else []), *target.away_from.get("cell_type", ())]
    if not named:
        return
    if model.roles.cell_type is None:
        raise ScdiffError("This model cannot be asked for a cell type.",
                          f"The target names '{named[0]}', and the data that it was trained on has no cell types.",
                          "Take the type out of the target, or prepare the data with a cell type column and train "
                          "again.")
    for name in named:
        model.vocab.index(model.roles.cell_type, name)  # unknown types are told, with the nearest
