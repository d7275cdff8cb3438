"""What a screen is asked to do: a list of perturbations, for which cells, and how many of each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import combinations
from typing import Literal

from pydantic import Field

from scdiff_core.config import FORMAT, PREDICT_CELLS, Frozen


class Asked(Frozen):
    """One entry of a list: a perturbation, and its dose where it has one."""

    perturbation: str
    dose: float | None = None

    @property
    def name(self) -> str:
        """How it is called in tables and figures."""
        return self.perturbation if self.dose is None else f"{self.perturbation} @ {self.dose:g}"


class Chosen(Frozen):
    """The real cells that a request is confined to: a saved selection."""

    id: str
    name: str
    rows: str  # as `selection.pack_rows` packs them


class ScreenConfig(Frozen):
    """What to screen."""

    kind: Literal["screen"] = "screen"
    format: int = FORMAT
    run: str
    items: tuple[Asked, ...]
    where: dict[str, str] = Field(default_factory=dict)
    n_cells: int = Field(default=PREDICT_CELLS, ge=1)  # of each
    seed: int = 0
    title: str = ""
    selection: Chosen | None = None
    threads: int = Field(default=0, ge=0)  # 0: one less than there are cores


def read_list(text: str) -> list[Asked]:
    """Return the perturbations of a written list: one a line or between commas; `NAME @ 0.5` has a dose.

    A word whose dose is no number is kept as a whole, to be refused by its name.
    """
    out: list[Asked] = []
    for word in re.split(r"[\n,;]+", text.removeprefix("\ufeff")):
        name, at, dose = word.strip().partition("@")
        if not name.strip():
            continue
        try:
            out.append(Asked(perturbation=name.strip(), dose=float(dose) if at else None))
        except ValueError:
            out.append(Asked(perturbation=word.strip()))
    return list(dict.fromkeys(out))


def all_pairs(names: Iterable[str]) -> list[str]:
    """Return every pair of different names."""
    return ["+".join(sorted(pair)) for pair in combinations(dict.fromkeys(names), 2)]
