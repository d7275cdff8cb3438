"""What arms that are left out in turn show: how wide intervals must be, and how near predictions come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from scdiff_core.analysis.perturb import interval
from scdiff_core.analysis.perturb.arms import Arms
from scdiff_core.analysis.perturb.fitting import folds, noise_variance
from scdiff_core.analysis.perturb.kernels import Item

if TYPE_CHECKING:
    from scdiff_core.analysis.perturb.response import ResponseModel


def calibrated(model: ResponseModel, arms: Arms, seed: int, fit: Callable[[Arms], ResponseModel]) -> ResponseModel:
    """Return the model with intervals whose width is learnt from arms that were left out in turn.

    `fit` fits a model to some of the arms, with the weights of this one.
    """
    kinds, error, variance, noise = [], [], [], []
    scores: dict[str, list[tuple[float, float]]] = {}
    within = {t: noise_variance(arms, t) for t in arms.cell_types}
    for mask in folds(arms, seed):
        part = fit(arms.take(mask))
        typical = arms.take(mask & ~arms.is_control).shift.mean(axis=0)
        for a in np.flatnonzero(~mask):
            arm = arms.arms[a]
            item = Item(arm.perturbation, arm.dose, arm.cell_type)
            shift, var, _ = part.estimate(item, arms.control[a])
            kind = part.kind(item)
            kinds.append(kind)
            error.append(arms.shift[a] - shift)
            variance.append(var)
            single = within[arm.cell_type]
            if part.typed is not None:
                single = single + part.typed.offsets(arm.cell_type, arms.control[a])
            noise.append(single * (1 / arms.n[a] + 1 / arms.control_n[a]))
            scores.setdefault(kind, []).append((_pearson(shift, arms.shift[a]), _pearson(typical, arms.shift[a])))
    left_out = {k: {"pearson": float(np.mean([s[0] for s in v])), "mean_response": float(np.mean([s[1] for s in v])),
                    "n": len(v)} for k, v in scores.items()}
    return replace(model, calibration=interval.calibrate(kinds, np.array(error), np.array(variance), np.array(noise)),
                   left_out=left_out)


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1]) if x.std() > 0 and y.std() > 0 else 0.0
