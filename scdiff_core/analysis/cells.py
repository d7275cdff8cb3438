"""The cells that a report compares, and what must be said about them first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from scdiff_core.analysis.verdict import SOME_CELLS
from scdiff_core.errors import ScdiffError


@dataclass(frozen=True)
class Cells:
    """Cells to compare: counts csr [n, G], log1p csr [n, G], total_counts [n] over all genes of the source.

    `labels` [n] are cell types ("" where missing), None where there are none. Without counts, `counts`
    holds the continuous values.
    """

    counts: Any
    log1p: Any
    total_counts: np.ndarray
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return int(self.log1p.shape[0])

    def take(self, rows: np.ndarray) -> Cells:
        """Return the cells in `rows`."""
        labels = None if self.labels is None else np.asarray(self.labels)[rows]
        return Cells(self.counts[rows], self.log1p[rows], np.asarray(self.total_counts)[rows], labels)

    def of_genes(self, genes: np.ndarray) -> Cells:
        """Return the cells with the genes at these positions; library sizes stay as they are."""
        return Cells(self.counts[:, genes], self.log1p[:, genes], self.total_counts, self.labels)


def validate(generated: Cells, train: Cells, test: Cells) -> None:
    """Raise `ScdiffError` where the three sets cannot be compared: too few cells, or other genes."""
    for cells, words in ((generated, "generated"), (train, "real training"), (test, "held-out real")):
        if len(cells) < 2:
            raise ScdiffError("No report card can be made.", f"There are {len(cells)} {words} cells.",
                              "A comparison needs at least two on each side, and fifty to say anything: "
                              "generate more cells, or choose a condition that has real cells.")
        if cells.log1p.shape[1] != test.log1p.shape[1]:
            raise ScdiffError("No report card can be made.",
                              f"The {words} cells have {cells.log1p.shape[1]} genes, the held-out real "
                              f"ones {test.log1p.shape[1]}.",
                              "Compare cells with the dataset that their model was trained on.")


def _mix(labels: np.ndarray) -> dict[str, float]:
    known, sizes = np.unique(labels[labels != ""], return_counts=True)
    return dict(zip(known.tolist(), (sizes / max(1, sizes.sum())).tolist(), strict=True))


def notices(generated: Cells, train: Cells, test: Cells, n: int) -> list[str]:
    """Return what a reader must know before the figures: few cells, missing types, another mix of types."""
    warnings = []
    if n < SOME_CELLS:
        short = min((len(generated), "generated"), (len(test), "held-out real"), (len(train), "training"))
        warnings.append(f"Only {n} cells a side are compared, because there are only {n} {short[1]} cells: "
                        "the figures vary a lot from draw to draw.")
    if generated.labels is None or test.labels is None or train.labels is None:
        warnings.append("There are no cell types, so it cannot be said whether types came out as asked.")
        return warnings
    made, real = _mix(np.asarray(generated.labels)), _mix(np.asarray(test.labels))
    if not made:
        return warnings
    apart = 0.5 * sum(abs(made.get(k, 0) - real.get(k, 0)) for k in made.keys() | real.keys())
    chance = 1 / np.sqrt(min(len(generated), len(test)))
    if real and apart > 0.15 + chance:
        k = max(made.keys() | real.keys(), key=lambda k: abs(made.get(k, 0) - real.get(k, 0)))
        warnings.append(f"The mix of cell types differs ('{k}': {made.get(k, 0):.0%} of the generated cells, "
                        f"{real.get(k, 0):.0%} of the real ones), and that alone tells the two apart.")
    known, sizes = np.unique(np.asarray(train.labels), return_counts=True)
    rare = [str(k) for k, s in zip(known, sizes, strict=True) if k in made and s < 10]
    if rare:
        names = ", ".join(rare[:3]) + (f" and {len(rare) - 3} more" if len(rare) > 3 else "")
        warnings.append(f"{names}: fewer than 10 real training cells, too few to learn from or to judge by.")
    return warnings
