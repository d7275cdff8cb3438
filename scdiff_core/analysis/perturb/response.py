"""What a perturbation does to the mean: kernel ridge over perturbations, doses and types, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from scdiff_core.analysis.perturb import by_type, gaussian, interval, left_out, programs_of_arms, words
from scdiff_core.analysis.perturb.answer import Response, log2_fold_change
from scdiff_core.analysis.perturb.arms import Arms
from scdiff_core.analysis.perturb.effects import NONE, POWER_Z, TYPICAL_CELLS, Detected, verdict
from scdiff_core.analysis.perturb.embeddings import Embedding, refuse
from scdiff_core.analysis.perturb.fitting import (
    folds,
    noise_scale,
)
from scdiff_core.analysis.perturb.kernels import MEAN, Item, Parts, Space
from scdiff_core.analysis.perturb.own_gene import OwnGene
from scdiff_core.analysis.perturb.typical import Typical
from scdiff_core.data.perturbations import Perturbation
from scdiff_core.errors import ScdiffError, nearest

__all__ = ["Response", "ResponseModel", "folds", "log2_fold_change", "noise_scale"]

SAME_CONTROL = 1e-3  # log1p: control means no further apart are of the same cells
ROUNDS = 3  # of programs and weights in turn
UNKNOWN = ("unseen", "none")  # kinds of prediction that rest on no measurement of their own parts


@dataclass(frozen=True)
class ResponseModel:
    """Kernel ridge over A measured arms of G genes (see `gaussian` for the mathematics, `kernels` for the kernel).

    Attributes
    ----------
    items, n
        What the arms are, and their cells.
    found, scale
        The posterior of the arms' shifts in units of noise, and these units, log1p [G].
    controls, control_error, control_bias
        Cell type -> control mean, its sampling variance, and by how much the perturbed cells say that it is too low,
        log1p [G].
    level
        Cell type -> how much its cells vary, as a multiple of `scale` squared.
    null_sd
        Cell type -> null standard deviation of an arm's distance for one cell on each side (see `effects`).
    verdicts
        Arm -> word, where the cells were tested.
    typed
        The programs as each type shows them, where there are several types.
    typical
        What is answered where nothing but the mean response is known.
    left_out
        Kind -> how out-of-fold predictions did: Pearson of the change, that of the mean response, number of arms.
    """

    genes: tuple[str, ...]
    items: tuple[Item, ...]
    n: np.ndarray
    space: Space
    weights: gaussian.Weights
    found: programs_of_arms.Decomposition
    scale: np.ndarray
    own: OwnGene
    controls: Mapping[str, np.ndarray]
    control_error: Mapping[str, np.ndarray]
    control_n: Mapping[str, float]
    control_bias: Mapping[str, np.ndarray]
    level: Mapping[str, float]
    calibration: interval.Calibration = interval.NONE
    null_sd: Mapping[str, float] = field(default_factory=dict)
    verdicts: Mapping[Item, str] = field(default_factory=dict)
    left_out: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    typed: by_type.ByType | None = None
    typical: Typical = field(default_factory=Typical)

    @classmethod
    def fit(cls, arms: Arms, genes: Sequence[str], embeddings: Sequence[Embedding] = (), seed: int = 0,
            detected: Detected | None = None, calibrate: bool = True) -> ResponseModel:
        """Learn from arms (training cells only); with `detected`, measured arms answer by their own test."""
        from scdiff_core.analysis.perturb.learn import tested

        model = fit_arms(arms, genes, embeddings)
        if detected is not None:
            model = replace(model, **tested(arms, detected))
        return model.calibrated(arms, seed) if calibrate else model

    def calibrated(self, arms: Arms, seed: int = 0) -> ResponseModel:
        """Return the model with intervals whose width is learnt from arms that were left out in turn."""
        return left_out.calibrated(self, arms, seed, lambda some: fit_arms(some, self.genes, self.space.embeddings,
                                                                           self))

    @property
    def parts_seen(self) -> tuple[str, ...]:
        """Parts that some measured perturbation has."""
        return tuple(dict.fromkeys(p for i in self.items for p in i.perturbation.parts))

    @property
    def cell_types(self) -> tuple[str, ...]:
        """Types that have controls."""
        return tuple(self.controls)

    def kind(self, item: Item) -> str:
        """Return what a prediction rests on.

        ``"measured"``, ``"dose"`` (measured at other doses in this type), ``"type"`` (measured in other types),
        ``"both"``, ``"some"``, ``"none"`` (a combination of which all, some or no parts were measured alone) or
        ``"unseen"``.
        """
        if item in self.items:
            return "measured"
        same = [i for i in self.items if i.perturbation == item.perturbation]
        if same:
            return "dose" if any(i.cell_type == item.cell_type for i in same) else "type"
        if len(item.perturbation.parts) < 2:
            return "unseen"
        alone = {i.perturbation for i in self.items}
        seen = sum(p in alone for p in item.perturbation.singles())
        return "both" if seen == len(item.perturbation.parts) else "some" if seen else "none"

    def check(self, perturbations: Sequence[Perturbation]) -> None:
        """Raise `ScdiffError` where one is the control or nothing is known about a part of it."""
        if any(p.is_control for p in perturbations):
            raise ScdiffError("There is nothing to predict.", "The control is not a perturbation.",
                              "Name a perturbation.")
        refuse(perturbations, self.space.embeddings, self.parts_seen)

    def estimate(self, item: Item, control: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Return shift and its variance before calibration (log1p [G]), and the reach, of an arm."""
        more = {} if item.cell_type in self.space.profiles else {item.cell_type: control}
        w = self.weights
        parts, alone = self.space.between([item], self.items, more), self.space.between([item], [item], more)
        cross, own = parts.join(w.what, w.types, w.arm), np.diag(alone.join(w.what, w.types, w.arm))
        if self.typed is None:
            var = self.found.variance(cross, own)[0]
        else:
            left = self.found.left(cross, own)
            var = self.typed.variance(parts, w, [item], self.items, self._base(item, control), alone, left)[0]
        shift, var = self._mean(item, parts, control) * self.scale, var * self.scale**2
        if self.typed is not None:
            var += self.typed.offsets(item.cell_type, control) / self.control_n.get(item.cell_type, TYPICAL_CELLS)
        known = self.typical.of(item) if self.kind(item) in UNKNOWN else None
        if known is not None:
            shift += known - self._mean(item, parts.common(), control) * self.scale
        self.own.put(shift, item.perturbation, control)
        if control.min() >= 0:
            shift = np.maximum(shift, -control)
        return shift, var, float(self.found.unknown(cross, own)[0])

    def _mean(self, item: Item, parts: Parts, control: np.ndarray) -> np.ndarray:
        w = self.weights
        if self.typed is None:
            return self.found.mean(parts.join(w.what, w.types, w.arm))[0]
        return self.typed.mean(parts, w, [item], self.items, self._base(item, control))[0]

    def _base(self, item: Item, control: np.ndarray) -> np.ndarray:
        """Return the control by which a gene of the arm's type is judged to be able to show a change, log1p [G]."""
        return self.controls.get(item.cell_type, control)

    def at_arms(self, parts: Parts) -> np.ndarray:
        """Return the posterior mean of the measured arms in units of noise [A, G]; `parts` is their kernel."""
        w = self.weights
        if self.typed is None:
            return self.found.mean(parts.join(w.what, w.types, w.arm))
        out = np.empty((len(self.items), len(self.genes)))
        for kind in self.typed.types:
            rows = [a for a, i in enumerate(self.items) if i.cell_type == kind]
            out[rows] = self.typed.mean(parts.rows(rows), w, [self.items[a] for a in rows], self.items,
                                        self.controls[kind])
        return out

    def predict(self, perturbation: Perturbation, dose: float | None = None, cell_type: str = "",
                control_mean: np.ndarray | None = None) -> Response:
        """Predict the change of the mean for cells of a type; `control_mean` log1p [G] is where they start.

        Raises
        ------
        ScdiffError
            Nothing is known about a part, the dose cannot be chosen, or the type has no controls.
        """
        self.check([perturbation])
        control = self._control(cell_type) if control_mean is None else np.asarray(control_mean, float)
        item = Item(perturbation, self.dose_of(perturbation, dose), cell_type)
        shift, var, reach = self.estimate(item, control)
        kind = self.kind(item)
        var = var * self.calibration.of(kind)
        half = interval.Z * np.sqrt(var)
        low, high = shift - half, shift + half
        if control.min() >= 0:
            low, high = np.maximum(low, -control), np.maximum(high, -control)
        fold = [log2_fold_change(control + s, control) for s in (shift, low, high)]
        return Response(shift, low, high, words.how(self, item, kind), reach, self._effect(item, shift),
                        log2fc=fold[0], log2fc_low=fold[1], log2fc_high=fold[2], kind=kind,
                        control=control, sd=np.sqrt(var), cell_sd=self.scale * np.sqrt(self._level(cell_type)),
                        control_error=self._error(cell_type),
                        control_bias=self._bias(cell_type, control))

    def nearest(self, perturbation: Perturbation, k: int = 5) -> list[tuple[str, float]]:
        """Return the measured perturbations most like one, with their likeness (a correlation, 0 to 1)."""
        measured = list(dict.fromkeys(i.perturbation for i in self.items if i.perturbation != perturbation))
        a = [Item(perturbation, None, "")]
        b = [Item(p, None, "") for p in measured]
        flat = replace(self.space, profiles={}, width=0.0)

        def kernel(x: list[Item], y: list[Item]) -> np.ndarray:
            parts = flat.between(x, y)
            rest = [i for i, name in enumerate(parts.what_names) if name != MEAN]
            return np.asarray(np.tensordot(self.weights.what[rest], parts.what[rest], 1))

        own = np.array([kernel([i], [i])[0, 0] for i in b])
        like = kernel(a, b)[0] / np.sqrt(np.maximum(own * kernel(a, a)[0, 0], 1e-12))
        return [(measured[i].label, float(like[i])) for i in np.argsort(-like, kind="stable")[:k]]

    def _control(self, cell_type: str) -> np.ndarray:
        if cell_type in self.controls:
            return self.controls[cell_type]
        raise ScdiffError(f"There are no control cells of '{cell_type}'.",
                          nearest(cell_type, self.controls) or "There are some of " + ", ".join(self.controls) + ".",
                          "Choose one of these types.")

    def _error(self, cell_type: str) -> np.ndarray:
        error = self.control_error.get(cell_type)
        return np.mean(list(self.control_error.values()), axis=0) if error is None else error

    def _level(self, cell_type: str) -> float:
        return self.level.get(cell_type, float(np.mean(list(self.level.values()))))

    def _bias(self, cell_type: str, control: np.ndarray) -> np.ndarray:
        known = self.controls.get(cell_type)
        if cell_type not in self.control_bias or known is None or np.abs(known - control).max() > SAME_CONTROL:
            return np.zeros_like(control)  # other cells than those the perturbed ones were compared with
        return self.control_bias[cell_type]

    def dose_of(self, perturbation: Perturbation, dose: float | None) -> float | None:
        """Return the dose that is meant: without one, the highest measured, None where none was; refuses with why."""
        curves = self.space.curves
        if dose is None:
            curve = curves.get(perturbation)
            undosed = any(i.perturbation == perturbation and i.dose is None for i in self.items)
            return curve.top if curve is not None and not undosed else None
        seen = [i for i in self.items if i.perturbation == perturbation]
        if not curves or (seen and all(i.dose is None for i in seen)):
            raise ScdiffError(f"A dose of '{perturbation}' cannot be chosen.",
                              "It was measured without one." if curves else "No dose was measured in this data.",
                              "Leave the dose out.")
        if not dose > 0:
            raise ScdiffError(f"A dose of {dose:g} cannot be used.", "It has to be above zero.",
                              "Give the dose as a number in the units of the data.")
        return float(dose)

    def _effect(self, item: Item, shift: np.ndarray) -> str:
        if item in self.verdicts:
            return self.verdicts[item]
        distance = float((shift**2 / self.scale**2).sum())
        null = self.null_sd.get(item.cell_type, float(np.mean(list(self.null_sd.values()))) if self.null_sd else 0.0)
        n_control = self.control_n.get(item.cell_type, float(TYPICAL_CELLS))
        if distance < POWER_Z * null * (1 / TYPICAL_CELLS + 1 / n_control):
            return NONE
        return verdict(float((shift**2).sum() / (self.scale**2).sum()) / self._level(item.cell_type))

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return everything as arrays and plain JSON, for `from_arrays`."""
        from scdiff_core.analysis.perturb.store import to_arrays

        return to_arrays(self)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> ResponseModel:
        """Return the model that `to_arrays` took apart."""
        from scdiff_core.analysis.perturb.store import from_arrays

        return from_arrays(arrays, meta)


def fit_arms(arms: Arms, genes: Sequence[str], embeddings: Sequence[Embedding],
             like: ResponseModel | None = None) -> ResponseModel:
    """Fit to arms; with `like`, the weights and the width of an earlier fit are kept."""
    from scdiff_core.analysis.perturb import learn

    return learn.fit_arms(arms, genes, embeddings, like)
