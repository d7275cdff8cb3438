"""The second opinion on the mean: the same statistics on codes instead of genes, decoded.

In codes a perturbation moves cells of different types along one direction, and the decoder says what that means for
each gene of a type: a gene that a type cannot express does not rise in it. Where types or combinations are new this
sees what sums of log values do not; where they were measured it has nothing to add. How much of it is taken is found
on arms that were left out in turn, for each kind of prediction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace

import numpy as np
import torch

from scdiff_core.analysis.perturb.arms import Arms
from scdiff_core.analysis.perturb.embeddings import Embedding
from scdiff_core.analysis.perturb.kernels import Item
from scdiff_core.analysis.perturb.response import Response, ResponseModel, folds, log2_fold_change
from scdiff_core.engine import move

MOST = 0.5  # at most half: the codec has seen the cells of the arms that are left out here
ENOUGH = 4  # left-out arms of a kind; with fewer, none of it is taken
SCALES = (0.8, 1.25)
CELLS = 64  # control cells of a type through which codes are decoded


@dataclass(frozen=True)
class Products:
    """Inner products of two predictions and what was measured, summed over genes and arms."""

    own_own: float
    own_other: float
    other_other: float
    own_real: float
    other_real: float

    @classmethod
    def of(cls, own: np.ndarray, other: np.ndarray, real: np.ndarray) -> Products:
        """Take those of one arm, [G] each."""
        return cls(*(float(a @ b) for a, b in ((own, own), (own, other), (other, other), (own, real), (other, real))))

    def __add__(self, more: Products) -> Products:
        return Products(*(a + b for a, b in zip(astuple(self), astuple(more), strict=True)))

    def share(self) -> float:
        """Return the weight of `other` beside `own` that comes nearest to `real` (least squares), 0 to `MOST`."""
        apart = self.own_own - 2 * self.own_other + self.other_other
        toward = self.other_real - self.own_real - self.own_other + self.own_own
        return float(np.clip(toward / max(apart, 1e-12), 0.0, MOST))

    def scale(self, share: float) -> float:
        """Return what the blend has to be multiplied by to come nearest to `real`, within `SCALES`."""
        size = (1 - share)**2 * self.own_own + 2 * share * (1 - share) * self.own_other + share**2 * self.other_other
        return float(np.clip(((1 - share) * self.own_real + share * self.other_real) / max(size, 1e-12), *SCALES))


@dataclass(frozen=True)
class CodeResponse:
    """How codes change, and how much the decoded change counts beside that of the genes.

    Attributes
    ----------
    model
        Kernel ridge over the arms' mean codes.
    share
        Kind of prediction (see `ResponseModel.kind`) -> the weight of the decoded change (0 to 0.5).
    scale
        Kind of prediction -> what the blend of both is multiplied by: means of many are smaller than each of them.
    """

    model: ResponseModel
    share: Mapping[str, float] = field(default_factory=dict)
    scale: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def fit(cls, arms: Arms, code_arms: Arms, response: ResponseModel, embeddings: Sequence[Embedding],
            movers: Mapping[str, move.Mover], seed: int) -> CodeResponse:
        """Learn it, and the weights, from the arms of genes and of codes (the same arms, in the same order).

        Parameters
        ----------
        movers
            Cell type -> some of its control cells.
        """
        names = [f"code {i}" for i in range(code_arms.mean.shape[1])]
        model = ResponseModel.fit(code_arms, names, embeddings, seed=seed, calibrate=False)
        left_out: dict[str, list[Products]] = {}
        for mask in folds(arms, seed):
            genes = ResponseModel.fit(arms.take(mask), response.genes, embeddings, seed=seed, calibrate=False)
            codes = ResponseModel.fit(code_arms.take(mask), names, embeddings, seed=seed, calibrate=False)
            for a in np.flatnonzero(~mask):
                arm = arms.arms[a]
                item = Item(arm.perturbation, arm.dose, arm.cell_type)
                own = genes.estimate(item, arms.control[a])[0]
                delta = codes.estimate(item, code_arms.control[a])[0]
                other = decoded(movers[arm.cell_type], delta, arms.control[a])
                left_out.setdefault(genes.kind(item), []).append(Products.of(own, other, arms.shift[a]))
        enough = {k: sum(v[1:], v[0]) for k, v in left_out.items() if len(v) >= ENOUGH}
        share = {k: v.share() for k, v in enough.items()}
        return cls(model, share, {k: v.scale(share[k]) for k, v in enough.items()})

    def blend(self, response: Response, item: Item, mover: move.Mover) -> Response:
        """Return a response with its share of the decoded change; its interval moves along."""
        share = self.share.get(response.kind, 0.0)
        if share < 0.02:
            return response
        delta = self.model.estimate(item, mover.centre.double().numpy())[0]
        own = response.shift
        blend = (1 - share) * own + share * decoded(mover, delta, response.control)
        change = self.scale.get(response.kind, 1.0) * blend - own
        floor = -response.control if response.control.min() >= 0 else np.full(len(change), -np.inf)
        shift, low, high = (np.maximum(v + change, floor) for v in (response.shift, response.low, response.high))
        fold = [log2_fold_change(response.control + s, response.control) for s in (shift, low, high)]
        return replace(response, shift=shift, low=low, high=high, log2fc=fold[0], log2fc_low=fold[1],
                       log2fc_high=fold[2], how=f"{response.how}; {round(100 * share)} % of it by way of the codec")


def decoded(mover: move.Mover, delta: np.ndarray, control: np.ndarray) -> np.ndarray:
    """Return the change of the expected mean, log1p [G], when the codes of control cells move by delta [D]."""
    change = mover.expected(torch.from_numpy(np.asarray(delta, np.float32))).double().numpy()
    return np.maximum(change, -control) if control.min() >= 0 else change
