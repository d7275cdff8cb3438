"""What is asked of a model besides new cells: to denoise real cells, to fill up rare types, to say what is typical."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from scdiff_core.config import FORMAT, GUIDANCE, SAMPLER_STEPS, Frozen

DRAWS = 8  # of each cell's codes: more change nothing that can be seen
FLOW_STEPS = 12  # points of the probability-flow ODE
FILL_TO = 300  # cells of each type, unless another number is asked for


class DenoiseConfig(Frozen):
    """Which real cells to denoise; nothing named in `where`: all of the split."""

    kind: Literal["denoise"] = "denoise"
    format: int = FORMAT
    run: str
    where: dict[str, str] = Field(default_factory=dict)
    split: Literal["all", "train", "test"] = "all"
    draws: int = Field(default=DRAWS, ge=1)
    seed: int = 0


class FillConfig(Frozen):
    """How many cells each type is to have in all, real and generated; a type in `numbers` goes before `to`."""

    kind: Literal["fill"] = "fill"
    format: int = FORMAT
    run: str
    column: str = ""  # empty: the cell type
    to: int | None = Field(default=None, ge=1)
    numbers: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    guidance_scale: float = Field(default=GUIDANCE, ge=0)
    sampler: Literal["dpm", "heun", "ode", "sde", "ddim", "ddpm"] = "dpm"
    steps: int = Field(default=SAMPLER_STEPS["dpm"], ge=1)
    seed: int = 0


class TypicalConfig(Frozen):
    """Which cells to hold against what the model has learnt."""

    kind: Literal["typical"] = "typical"
    format: int = FORMAT
    run: str
    split: Literal["all", "train", "test"] = "all"
    steps: int = Field(default=FLOW_STEPS, ge=2)
    seed: int = 0
