"""What to design, and how. Imports no torch: pages make it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from scdiff_core.config import FORMAT, Frozen
from scdiff_core.target import Target

STEPS = 20


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
    custom: bool = False  # the file that the target names as its objective may run
    seed: int = 0
