"""What a prediction starts from and what it is: control cells, and a population of perturbed ones."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from scdiff_core.analysis.perturb.answer import Response, log2_fold_change
from scdiff_core.data.perturbations import Perturbation
from scdiff_core.engine.move import Cells

EFFECTS = ("none", "weak", "clear", "strong")


@dataclass(frozen=True)
class Controls:
    """The control cells that predictions start from.

    Attributes
    ----------
    cells
        Counts (or values) csr [N, G] and total counts [N].
    rows
        Where they are in the prepared dataset, int64 [N].
    codes, conts
        Their covariates, as in `Vocab.encode`.
    """

    cells: Cells
    rows: np.ndarray
    codes: np.ndarray
    conts: np.ndarray


@dataclass(frozen=True)
class Predicted:
    """A population of n cells under a perturbation.

    Attributes
    ----------
    counts, log1p
        csr float32 [n, G]; without counts in the data, `counts` holds the values as well.
    total
        Total counts float32 [n], over all genes of the source.
    response
        The change of the mean, with its intervals and how it was found.
    control_mean
        The mean of the control cells that it starts from, log1p [G].
    start_rows
        The control cell each one started from, as indices into the prepared dataset, int64 [n].
    codes, conts
        The covariates of the cells they started from, as in `Vocab.encode`.
    half
        Which half of the model made the cells round the mean: "diffusion" or "moved controls".
    words
        The same, and how the mean was found, in a sentence.
    """

    perturbation: Perturbation
    dose: float | None
    counts: sp.csr_matrix
    log1p: sp.csr_matrix
    total: np.ndarray
    response: Response
    control_mean: np.ndarray
    start_rows: np.ndarray
    codes: np.ndarray
    conts: np.ndarray
    half: str
    words: str

    def __len__(self) -> int:
        return int(self.counts.shape[0])


def together(parts: list[tuple[int, Response]]) -> Response:
    """Return the response of cells of several types: the mean of theirs, by their cells.

    Fold changes are of the common means, as a measured one is, and not the mean of the types' own; single cells
    differ by their types besides.
    """
    if len(parts) == 1:
        return parts[0][1]
    weight = np.array([n for n, _ in parts], float)
    weight /= weight.sum()
    found = [r for _, r in parts]
    most = found[int(weight.argmax())]
    arrays: dict[str, Any] = {f.name: np.tensordot(weight, np.array([getattr(r, f.name) for r in found]), 1)
                              for f in fields(most) if isinstance(getattr(most, f.name), np.ndarray)}
    control = arrays["control"]
    for name, change in (("log2fc", "shift"), ("log2fc_low", "low"), ("log2fc_high", "high")):
        arrays[name] = log2_fold_change(control + arrays[change], control)
    means = np.array([r.mean for r in found])
    variance = np.array([r.cell_sd**2 for r in found]) + (means - weight @ means) ** 2
    arrays["cell_sd"] = np.sqrt(weight @ variance)
    return replace(most, **arrays, reach=float(max(r.reach for r in found)),
                   effect=max((r.effect for r in found), key=EFFECTS.index),
                   how="; ".join(dict.fromkeys(r.how for r in found)))
