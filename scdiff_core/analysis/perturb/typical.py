"""The mean response, for perturbations of which nothing was measured: the same for all, larger for combinations.

Kernel ridge takes the common part of all responses as one more normal effect, so loud perturbations hardly count and
what is left is smaller than their plain mean. Where a perturbation is told by nothing but that common part, the plain
mean of the measured responses is the better answer (it is the baseline that is hard to beat), as many times as
perturbations with that many parts go along it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from scdiff_core.analysis.perturb.kernels import Item

ONES = 5.0  # perturbations that go along once, added to those of each number of parts


@dataclass(frozen=True)
class Typical:
    """What measured perturbations have in common.

    Attributes
    ----------
    shift
        Cell type -> the mean of the responses, each counting the same, log1p [G].
    times
        Number of parts -> how many times that perturbations with so many parts do it, on average.
    """

    shift: Mapping[str, np.ndarray] = field(default_factory=dict)
    times: Mapping[int, float] = field(default_factory=dict)

    def of(self, item: Item) -> np.ndarray | None:
        """Return the mean response for an arm, log1p [G]: of its type, else over types; None where none is known."""
        if not self.shift or item.dose is not None:
            return None
        own = self.shift.get(item.cell_type)
        return self._times(len(item.perturbation.parts)) * (np.mean(list(self.shift.values()), axis=0)
                                                             if own is None else own)

    def _times(self, parts: int) -> float:
        known = [n for n in self.times if n <= parts] or list(self.times)
        return float(self.times[max(known)])


def typical(items: Sequence[Item], shift: np.ndarray) -> Typical:
    """Return what arms have in common, given their responses [A, G], log1p, noise taken out.

    Arms with a dose do not count: their size is that of the dose.
    """
    rows = [a for a, i in enumerate(items) if i.dose is None]
    if not rows:
        return Typical()
    kinds = np.array([items[a].cell_type for a in rows])
    parts = np.array([len(items[a].perturbation.parts) for a in rows])
    means = {t: shift[np.array(rows)[kinds == t]].mean(axis=0) for t in dict.fromkeys(kinds.tolist())}
    along = np.array([shift[a] @ means[t] / max(means[t] @ means[t], 1e-12) for a, t in zip(rows, kinds, strict=True)])
    times = {}
    for n in np.unique(parts):
        several = len({items[a].perturbation for a, p in zip(rows, parts, strict=True) if p == n})
        times[int(n)] = float((several * along[parts == n].mean() + ONES) / (several + ONES))
    return Typical(means, times)
