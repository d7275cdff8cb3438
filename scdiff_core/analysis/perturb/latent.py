"""Latent arithmetic, the baseline that needs a trained codec: control cells moved by a mean shift of their codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import scipy.sparse as sp

from scdiff_core.analysis.metrics import dense
from scdiff_core.analysis.perturb.baselines import Guess, Known, Question
from scdiff_core.data.perturbations import Perturbation


def latent_arithmetic(known: Known, asked: Question, n: int, seed: int,
                      encode: Callable[[np.ndarray], np.ndarray],
                      decode: Callable[[np.ndarray, int], sp.csr_matrix | np.ndarray]) -> Guess | None:
    """Codes of control cells moved by a mean shift of codes, and cells drawn from the codec's likelihood.

    The shift is, as for the means, what is measured nearest to the question: the same perturbation in the other types
    (scGen, Lotfollahi et al. 2019), else the sum of the parts for several genes (where one was measured), else the
    mean of all training perturbations of the type. Shifts are differences of mean codes between an arm's cells and
    the controls of its type, each arm counting the same.

    Parameters
    ----------
    encode
        Rows of `known.log1p` to codes [n, D].
    decode
        Codes and a seed to log1p cells [n, G].
    """
    control_codes: dict[str, np.ndarray] = {}

    def shift_of(indices: Sequence[int]) -> np.ndarray:
        found = []
        for i in indices:
            arm = known.arms.arms[i]
            if arm.cell_type not in control_codes:
                control_codes[arm.cell_type] = encode(known.control_rows(arm.cell_type)).mean(axis=0)
            found.append(encode(arm.rows).mean(axis=0) - control_codes[arm.cell_type])
        return np.asarray(np.mean(found, axis=0))

    def arms_of(perturbation: Perturbation) -> list[int]:
        arms = [i for i, a in enumerate(known.arms.arms) if a.perturbation == perturbation]
        doses = [known.arms.arms[i].dose for i in arms]
        if asked.dose and any(doses):
            gap = [abs(np.log((d or 1.0) / asked.dose)) for d in doses]
            arms = [i for i, g in zip(arms, gap, strict=True) if g <= min(gap) + 1e-9]
        return [i for i in arms if known.arms.arms[i].cell_type == asked.cell_type] or arms

    same = arms_of(asked.perturbation)
    parts = [arms_of(part) for part in asked.perturbation.singles()]
    typical = [int(i) for i in (known.perturbed(asked.cell_type) if len(known.perturbed(asked.cell_type))
                                else known.perturbed())]
    if same:
        shift, how = shift_of(same), "the same perturbation elsewhere"
    elif len(parts) > 1 and any(parts):
        shift, how = np.sum([shift_of(p or typical) for p in parts], axis=0), "sum of the parts"
    else:
        shift, how = shift_of(typical), "mean of the training perturbations"
    rng = np.random.default_rng(seed)
    rows = known.control_rows(asked.cell_type)
    start = np.concatenate([rng.permutation(rows) for _ in range(-(-n // len(rows)))])[:n]
    cells = dense(decode(encode(start) + shift, seed))
    return Guess(cells, cells.mean(axis=0, dtype=np.float64), how)
