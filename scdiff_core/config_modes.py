"""What the further modes of generation are asked: a path between two states, and cells changed in one respect."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field

from scdiff_core.config import FORMAT, GUIDANCE, SAMPLER_STEPS, Frozen
from scdiff_core.config_screen import Chosen

POINTS = 9  # positions on a path, both ends among them
PATH_CELLS = 900  # of a whole path
STRENGTH = 0.9  # how far cells are noised, of 1; at half of it few of them change (benchmarks/modes.py)


class Ends(Frozen):
    """One end of a path: a value of a covariate, or chosen real cells."""

    column: str = ""
    value: str = ""
    cells: Chosen | None = None

    @property
    def words(self) -> str:
        """How it is told."""
        return self.value if self.cells is None else self.cells.name or "chosen cells"


class TrajectoryConfig(Frozen):
    """A path of populations from one state to another, evenly spaced positions from 0 to 1."""

    kind: Literal["trajectory"] = "trajectory"
    format: int = FORMAT
    run: str
    start: Ends
    end: Ends
    points: int = Field(default=POINTS, ge=3, le=101)
    n_cells: int = Field(default=PATH_CELLS, ge=3)
    where: dict[str, str] = Field(default_factory=dict)  # of other covariates
    reach: float = Field(default=1.0, gt=0, le=1)  # 1: from noise; below, from real cells of the start noised so far
    guidance_scale: float = Field(default=GUIDANCE, ge=0)
    steps: int = Field(default=SAMPLER_STEPS["dpm"], ge=1)
    seed: int = 0


class ChangeConfig(Frozen):
    """Real cells noised part of the way and made clean again under other covariates, the rest kept."""

    kind: Literal["change"] = "change"
    format: int = FORMAT
    run: str
    origin: dict[str, str] = Field(default_factory=dict)  # covariate -> value of the cells to begin with
    cells: Chosen | None = None
    to: dict[str, str] = Field(min_length=1)  # covariate -> its new value
    strength: float = Field(default=STRENGTH, gt=0, le=1)
    n_cells: int = Field(default=0, ge=0)  # 0: each chosen cell once
    guidance_scale: float = Field(default=GUIDANCE, ge=0)
    steps: int = Field(default=SAMPLER_STEPS["dpm"], ge=1)
    seed: int = 0


def judged_as(config: dict[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """Return the values of a `GenerateConfig` whose real cells changed ones are held against: those of the new value.

    Parameters
    ----------
    config
        Of the recipe of a set, generated or changed.
    known
        The columns that are covariates of the dataset; what the cells were chosen by besides is not asked for.
    """
    if config.get("kind", "generate") == "generate":
        return config
    columns = set(known)
    kept = {k: v for k, v in config.get("origin", {}).items() if k in columns}
    return {"run": config["run"], "where": {**kept, **config.get("to", {})}, "seed": config.get("seed", 0)}
