"""The second opinion on the mean: the same statistics on codes instead of genes, decoded.

In codes a perturbation moves cells of different types along one direction, and the decoder says what that means for
each gene of a type: a gene that a type cannot express does not rise in it. So a perturbation that was measured in other
types alone is answered by both; how much of the second opinion is taken is found by leaving each type out in turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace

import numpy as np
import torch

from scdiff_core.analysis.perturb.arms import Arms
from scdiff_core.analysis.perturb.embeddings import Embedding
from scdiff_core.analysis.perturb.kernels import Item
from scdiff_core.analysis.perturb.response import Response, ResponseModel, fit_arms, log2_fold_change
from scdiff_core.engine import move

MOST = 0.5  # at most half: the codec has seen the cells of the arms that are left out here
ENOUGH = 4  # left-out arms; with fewer, none of it is taken
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
        found: list[Products] = []
        types = np.array([arm.cell_type for arm in arms.arms])
        for left in dict.fromkeys(types[~arms.is_control].tolist()):
            keep = (types != left) | arms.is_control
            elsewhere = {arm.perturbation for arm, kept in zip(arms.arms, keep, strict=True) if kept}
            judged = [a for a in np.flatnonzero(~keep) if arms.arms[a].perturbation in elsewhere]
            if not judged:
                continue
            genes = fit_arms(arms.take(keep), response.genes, response.space.embeddings, response)
            codes = fit_arms(code_arms.take(keep), names, model.space.embeddings, model)
            for a in judged:
                arm = arms.arms[a]
                item = Item(arm.perturbation, arm.dose, arm.cell_type)
                own = genes.estimate(item, arms.control[a])[0]
                delta = codes.estimate(item, code_arms.control[a])[0]
                found.append(Products.of(own, decoded(movers[left], delta, arms.control[a]), arms.shift[a]))
        if len(found) < ENOUGH:
            return cls(model)
        products = sum(found[1:], found[0])
        share = products.share()
        return cls(model, {"type": share}, {"type": products.scale(share)})

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
