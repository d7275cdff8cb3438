"""What a perturbation does to the transcript of its own target: a spike of one gene that no program shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scdiff_core.analysis.perturb.arms import Arms
from scdiff_core.data.perturbations import Perturbation

SEEN_FROM = 0.1  # control mean, log1p, from which a knock-down can show
ADDED = 0.05  # to means before their ratio is taken


@dataclass(frozen=True)
class OwnGene:
    """Log ratios of a target's own transcript under perturbation.

    Attributes
    ----------
    index
        Folded gene name -> column.
    measured
        Part -> log ratio, over its arms.
    usual
        Direction -> the median over parts; 0 where none was measured.
    """

    index: Mapping[str, int]
    measured: Mapping[str, float]
    usual: Mapping[str, float]

    def columns(self, perturbation: Perturbation) -> list[int]:
        """Return the columns of the genes that the perturbation targets."""
        return [c for t in perturbation.targets if (c := self.index.get(t.casefold())) is not None]

    def put(self, shift: np.ndarray, perturbation: Perturbation, control: np.ndarray) -> None:
        """Set the own genes' entries of a shift [G] (log1p), given the control's mean [G] (log1p)."""
        for part, target, direction in zip(perturbation.parts, perturbation.targets, perturbation.directions,
                                           strict=True):
            column = self.index.get(target.casefold())
            if column is None:
                continue
            ratio = self.measured.get(part, self.usual.get(direction, 0.0))
            base = np.expm1(max(control[column], 0.0))
            shift[column] += np.log1p(max((base + ADDED) * np.exp(ratio) - ADDED, 0.0)) - np.log1p(base)


def measure(arms: Arms, genes: Sequence[str]) -> OwnGene:
    """Measure the own-gene ratios of the arms' perturbations, single ones before combinations."""
    index = {g.casefold(): i for i, g in reversed(list(enumerate(map(str, genes))))}
    sums: dict[tuple[str, bool], np.ndarray] = {}
    directions: dict[str, str] = {}
    for a, arm in enumerate(arms.arms):
        p = arm.perturbation
        for part, target, direction in zip(p.parts, p.targets, p.directions, strict=True):
            column = index.get(target.casefold())
            if column is None or max(arms.control[a, column], arms.mean[a, column]) < SEEN_FROM:
                continue
            over, under = (np.expm1(v[a, column]) + ADDED for v in (arms.mean, arms.control))
            weight = arms.n[a] * np.sqrt(max(arms.control[a, column], 0.0) + ADDED)
            key = (part, len(p.parts) == 1)
            sums[key] = sums.get(key, np.zeros(2)) + np.array([np.log(over / under), 1.0]) * weight
            directions[part] = direction
    measured = {}
    for part in directions:
        total = sums.get((part, True), sums.get((part, False), np.zeros(2)))
        measured[part] = float(total[0] / total[1]) if total[1] > 0 else 0.0
    usual = {d: float(np.median([measured[p] for p in measured if directions[p] == d]))
             for d in set(directions.values())}
    return OwnGene(index, measured, usual)
