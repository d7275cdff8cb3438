"""How real cells stand to a target: who meets each row, which rows contradict the data, how rare the whole is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from scdiff_core.errors import ScdiffError
from scdiff_core.target import BETWEEN, DOWN, UP, GeneRow, ProgramRow, Row, Target

COMMON, RARE, BEYOND = "common", "rare", "beyond the data"
COMMON_FROM = 0.01  # of the real cells
UP_QUANTILE, DOWN_QUANTILE = 0.9, 0.1  # the level of a row that says none: like the top 10 % of real cells
OVER = 1.25  # a level so far above the highest real cell cannot be designed
APART = 0.1  # two rows met together a tenth as often as if they had nothing to do with each other


@dataclass(frozen=True)
class Feasibility:
    """What N real cells say about a target of R rows.

    Attributes
    ----------
    rows
        For each row: words, level and upper (as filled in), share of the cells that meet it, whether it is hard.
    share, n
        Of the cells that meet all hard rows (and are of the type that is asked for), and their number.
    conflicts
        Pairs of rows that real cells hardly ever meet together, in words.
    word
        ``"common"``, ``"rare"`` or ``"beyond the data"``.
    """

    rows: tuple[dict[str, Any], ...]
    share: float
    n: int
    n_cells: int
    conflicts: tuple[str, ...]
    word: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return asdict(self)


def values_of(row: Row, levels: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return what a row is about, [N] log1p units: a gene's denoised expression, or the mean of a program's."""
    if isinstance(row, GeneRow):
        return levels[row.gene]
    assert isinstance(row, ProgramRow)
    return np.mean([levels[g] for g in row.members], axis=0)


def fill(target: Target, levels: Mapping[str, np.ndarray], among: np.ndarray | None = None) -> Target:
    """Return the target with a level in every row: where none is said, that of the top (or bottom) tenth of real cells.

    Parameters
    ----------
    levels
        Gene -> denoised expression of the real cells, log1p [N].
    among
        bool [N]: the cells of the type that is asked for; None: all.

    Raises
    ------
    ScdiffError
        A level is far above that of any real cell; names the highest.
    """
    def full(row: Row) -> Row:
        every = values_of(row, levels)
        values = every if among is None or not among.any() else every[among]
        if row.direction in (UP, BETWEEN) and row.level is not None and row.level > OVER * max(every.max(), 0.1):
            raise ScdiffError(f"'{row.name}' cannot be as high as {row.level:.3g}.",
                              f"The highest real cell has {every.max():.3g}.",
                              f"Take a level up to {OVER * every.max():.3g}; the top tenth begins at "
                              f"{np.quantile(values, UP_QUANTILE):.3g}.")
        if row.level is not None:
            return row
        level = np.quantile(values, UP_QUANTILE if row.direction == UP else DOWN_QUANTILE)
        return row.model_copy(update={"level": round(float(level), 4)})

    return target.model_copy(update={"genes": tuple(full(r) for r in target.genes),
                                     "programs": tuple(full(r) for r in target.programs)})


def meets(row: Row, values: np.ndarray) -> np.ndarray:
    """Return which cells meet a row with its level, bool [N]."""
    assert row.level is not None
    if row.direction == DOWN:
        return values <= row.level
    if row.direction == BETWEEN:
        return (values >= row.level) & (values <= (row.upper or np.inf))
    return values >= row.level


def assess(target: Target, levels: Mapping[str, np.ndarray], types: np.ndarray | None = None) -> Feasibility:
    """Say how real cells stand to a target whose levels are filled in (`fill`).

    Parameters
    ----------
    types
        The cell type of each cell, text [N].
    """
    n = len(next(iter(levels.values())))
    fits = np.ones(n, bool)
    if types is not None and target.cell_type is not None:
        fits = types == target.cell_type
    if types is not None:
        fits &= ~np.isin(types, target.away_from.get("cell_type", ()))
    met = [meets(row, values_of(row, levels)) for row in target.rows]
    told = tuple({"name": row.name, "words": row.words(), "direction": row.direction, "level": row.level,
                  "upper": row.upper, "hard": row.hard, "share": float(m[fits].mean()) if fits.any() else 0.0}
                 for row, m in zip(target.rows, met, strict=True))
    every = fits.copy()
    for row, m in zip(target.rows, met, strict=True):
        if row.hard:
            every &= m
    share = float(every.mean())
    word = COMMON if share >= COMMON_FROM else RARE if every.any() else BEYOND
    return Feasibility(told, share, int(every.sum()), n, _conflicts(target.rows, met, fits), word)


def _conflicts(rows: Sequence[Row], met: Sequence[np.ndarray], fits: np.ndarray) -> tuple[str, ...]:
    found = []
    for i in range(len(rows)):
        for j in range(i):
            a, b = met[i][fits], met[j][fits]
            alone = a.mean() * b.mean() if len(a) else 0.0
            together = float((a & b).mean()) if len(a) else 0.0
            if alone * len(a) >= 5 and together < APART * alone:  # else so few are expected that none says nothing
                found.append(f"{rows[j].words()} and {rows[i].words()}: {100 * together:.2g} % of real cells have "
                             f"both, where {100 * alone:.2g} % would if they had nothing to do with each other")
    return tuple(found)
