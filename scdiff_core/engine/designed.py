"""What a design is made of: its task, the cells it may begin from, its progress, and the cells that came of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from scdiff_core.analysis.design import feasibility
from scdiff_core.engine.objectives import TargetObjective
from scdiff_core.target import Target


@dataclass(frozen=True)
class DesignProgress:
    """Steps done of all steps, and the estimates of clean codes there [N, D], for a live view."""

    done: int
    total: int
    z: Tensor


@dataclass(frozen=True)
class Begin:
    """Cells to start from: codes [m, D], conditions, and which cells of the dataset these are, int64 [m]."""

    z: Tensor
    codes: np.ndarray
    conts: np.ndarray
    rows: np.ndarray


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
    start
        The cell of the dataset that each began from, int64 [n]; None from noise.
    move, tried
        How far cells were sent back, and what the search for the least found: (how far, share that met the target).
    """

    z: Tensor
    met: np.ndarray
    margins: np.ndarray
    codes: np.ndarray
    conts: np.ndarray
    ancestors: int
    target: Target
    feasibility: feasibility.Feasibility
    start: np.ndarray | None = None
    move: float | None = None
    tried: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Task:
    """A target ready to be sampled: its levels filled in, its objective, and what real cells say of it."""

    target: Target
    objective: TargetObjective
    feasibility: feasibility.Feasibility
    fits: np.ndarray  # bool [N] of the real cells: of the type that is asked for
