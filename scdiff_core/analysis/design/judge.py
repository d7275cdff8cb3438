"""What is said of a candidate: whether it gets there, what it moves that nobody asked for, and how to test it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scdiff_core.analysis.design import plan
from scdiff_core.analysis.design.candidates import (
    FAR,
    NONE_OF_THESE,
    NOTHING,
    PART,
    SILENT,
    THERE,
    Route,
    Side,
)
from scdiff_core.analysis.design.closeness import COSINE, Way
from scdiff_core.analysis.perturb.answer import Response
from scdiff_core.analysis.perturb.effects import NONE
from scdiff_core.data.perturbations import Perturbation

OUT_OF_REACH = 0.8  # a reach beyond this, as on the Perturb page
ARRIVED = 0.8  # of the distance gone: it gets there
ASKED_FROM, ASKED_Z, ASKED_MOST = 0.1, 3.0, 50  # a wanted change: log1p, and standard errors; how many count
UNASKED, UNASKED_FROM, UNASKED_SHOWN = 0.25, 0.5, 10  # less of it is wanted; log2 fold change; how many are listed


@dataclass(frozen=True)
class Judge:
    """What candidates are judged by, for G genes.

    Attributes
    ----------
    genes, control
        Names [G], and the label of unperturbed cells.
    doses
        Perturbation -> measured doses in order.
    wanted
        The change of the mean that is wanted, log1p [G].
    keep
        Genes that are compared, bool [G].
    asked
        Columns of the genes that are clearly to change.
    """

    genes: np.ndarray
    control: str
    doses: Mapping[Perturbation, Sequence[float]]
    wanted: np.ndarray
    keep: np.ndarray
    asked: np.ndarray

    @classmethod
    def of(cls, genes: np.ndarray, control: str, doses: Mapping[Perturbation, Sequence[float]], wanted: np.ndarray,
           keep: np.ndarray, cell_sd: np.ndarray, n_goal: int, n_start: int) -> Judge:
        """Find the genes that are clearly to change, the most in units of the cells' own spread `cell_sd` [G]."""
        size = np.abs(wanted) / np.maximum(cell_sd, 1e-9)
        clear = (np.abs(wanted) >= ASKED_FROM) & (size > ASKED_Z * np.sqrt(1 / n_goal + 1 / n_start))
        order = np.argsort(-size)
        return cls(genes, control, doses, wanted, keep, order[clear[order]][:ASKED_MOST])

    def route(self, what: Perturbation, dose: float | None, r: Response, way: Way | None, cosine: float,
              ranks: Mapping[str, int], own: Sequence[int]) -> Route:
        """Return what is said of one candidate; the first of its ranks is that by which all are sorted.

        Parameters
        ----------
        way
            How near its cells come; None where they were not made.
        own
            Columns of its own genes.
        """
        columns = list(own)
        direction = np.where(r.log2fc_low > 0, 1, np.where(r.log2fc_high < 0, -1, 0))
        direction[columns] = 0
        goals = np.setdiff1d(self.asked, columns)
        met = float((direction[goals] == np.sign(self.wanted[goals])).mean()) if len(goals) else 0.0
        unasked = self.keep & (direction != 0) & (np.abs(r.log2fc) >= UNASKED_FROM) \
            & (self.wanted * r.shift < UNASKED * r.shift**2)
        first = np.flatnonzero(unasked)[np.argsort(-(np.abs(r.shift) / r.cell_sd)[unasked], kind="stable")]
        sides = tuple(Side(str(self.genes[g]), *(float(v[g]) for v in (r.log2fc, r.log2fc_low, r.log2fc_high,
                                                                       self.wanted))) for g in first[:UNASKED_SHOWN])
        unknown: tuple[float | None, float | None, float | None] = (None, None, None)
        energy, low, high = unknown if way is None else way.energy
        gone, gone_low, gone_high = unknown if way is None else way.way
        return Route(
            rank=next(iter(ranks.values())), perturbation=what.label, dose=dose, kind=r.kind, how=r.how,
            energy=energy, energy_low=low, energy_high=high, nothing=None if way is None else way.nothing, way=gone,
            way_low=gone_low, way_high=gone_high, cosine=cosine, cosine_rank=ranks[COSINE], ranks=dict(ranks),
            reach=float(r.reach), effect=r.effect, word=word(r, way), met=met, side_effects=sides, n_side=len(first),
            own=tuple(self.genes[columns].tolist()), n_cells=plan.cells_needed(r.shift, r.cell_sd),
            controls=plan.controls_beside(what, dose, self.control, self.doses.get(what, ())))


def word(r: Response, way: Way | None) -> str:
    """Return whether a candidate gets there, in a word; "" where its cells were not made."""
    if r.effect == NONE:
        return SILENT
    if r.reach > OUT_OF_REACH:
        return FAR
    if way is None:
        return ""
    if way.gain_low <= 0:
        return NOTHING
    return THERE if way.way[0] >= ARRIVED else PART


def words(rows: Sequence[Route]) -> str:
    """Return the answer in a sentence or two."""
    useful = [r for r in rows if r.useful]
    if not useful:
        number = {w: sum(r.word == w for r in rows) for w in (NOTHING, FAR, SILENT)}
        told = [f"for {n} {w}" if w == SILENT else f"{n} {'is' if n == 1 else 'are'} {w}"
                for w, n in number.items() if n]
        return f"{NONE_OF_THESE[:-1]}: {'; '.join(told)}." if told else NONE_OF_THESE
    best = useful[0]
    gone, low, high = (round(100 * (v or 0.0)) for v in (best.way, best.way_low, best.way_high))
    arrive = sum(r.word == THERE for r in rows)
    rest = f"{arrive} of {len(rows)} get there." if arrive else \
        f"None of these gets all the way; {len(useful)} of {len(rows)} go part of it."
    return f"{best.name} is predicted to go {gone} % of the way (90 % interval {low} to {high} %). {rest}"
