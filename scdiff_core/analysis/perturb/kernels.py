"""How alike two arms are before anything of theirs was measured: by their perturbations, doses and cell types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from scdiff_core.analysis.perturb.dose import Curve
from scdiff_core.analysis.perturb.embeddings import Embedding
from scdiff_core.data.perturbations import Perturbation

MEAN, PARTS, IDENTITY, PAIR = "mean response", "mean response of a part", "the same part", "the same combination"
SHARED, OWN, NEAR = "all types", "the same type", "types with like controls"
OPPOSITE = -0.7  # of a knock-down and an activation of one gene; never fitted, since hardly any data has both
DOSE_WIDTH = 1.0  # of natural log dose, over which an arm departs from its curve


class Item(NamedTuple):
    """What an arm is: perturbation, dose and cell type."""

    perturbation: Perturbation
    dose: float | None
    cell_type: str


@dataclass(frozen=True)
class Parts:
    """The pieces of a kernel between A and B arms: what is alike in the perturbation, times what is in the type.

    Attributes
    ----------
    what, types
        Stacks [C, A, B] and [T, A, B] with their names in `what_names`, `type_names`.
    arm
        [A, B]: the very same perturbation in the very same type, at doses near each other.
    """

    what: np.ndarray
    types: np.ndarray
    arm: np.ndarray
    what_names: tuple[str, ...]
    type_names: tuple[str, ...]

    def common(self) -> Parts:
        """Return what is left for a perturbation of which nothing is known but how many parts it has."""
        known = np.array([name in (MEAN, PARTS) for name in self.what_names])
        return replace(self, what=self.what * known[:, None, None], arm=np.zeros_like(self.arm))

    def rows(self, rows: Sequence[int]) -> Parts:
        """Return the pieces for some of the A arms."""
        return replace(self, what=self.what[:, rows], types=self.types[:, rows], arm=self.arm[rows])

    def join(self, what: np.ndarray, types: np.ndarray, arm: float) -> np.ndarray:
        """Return the kernel [A, B] for weights [C], [T] and that of the arm itself."""
        return np.asarray(np.tensordot(what, self.what, 1) * np.tensordot(types, self.types, 1) + arm * self.arm)


@dataclass(frozen=True)
class Space:
    """What kernels between arms are made from.

    Attributes
    ----------
    embeddings
        Of perturbations' parts.
    profiles
        Control means of cell types, log1p [G] each; types are near where these are.
    width
        Of the Gaussian over the distances of profiles; 0: types are not compared.
    curves
        Dose curves of the perturbations that have doses; `common` is that of any other.
    """

    embeddings: tuple[Embedding, ...] = ()
    profiles: Mapping[str, np.ndarray] = field(default_factory=dict)
    width: float = 0.0
    curves: Mapping[Perturbation, Curve] = field(default_factory=dict)
    common: Curve | None = None

    def between(self, a: Sequence[Item], b: Sequence[Item], profiles: Mapping[str, np.ndarray] | None = None) -> Parts:
        """Return the pieces of the kernel between two lists of arms; `profiles` adds types that training had not."""
        tokens = list(dict.fromkeys(t for item in (*a, *b) for t in zip(
            item.perturbation.parts, item.perturbation.targets, item.perturbation.directions, strict=True)))
        index = {t: i for i, t in enumerate(tokens)}
        left, right = _membership(a, index), _membership(b, index)
        size = np.outer([self.size(i) for i in a], [self.size(i) for i in b])
        same = _same(tokens)
        sign = _signs(tokens)
        pieces = {MEAN: np.ones((len(a), len(b))), PARTS: np.outer(left.sum(1), right.sum(1)),
                  IDENTITY: left @ same @ right.T}
        for e in self.embeddings:
            rows = [e.row(part, target) for part, target, _ in tokens]
            vectors = np.array([e.unit[r] if r is not None else np.zeros(e.vectors.shape[1]) for r in rows]
                               ).reshape(len(tokens), -1)
            pieces[e.name] = left @ ((vectors @ vectors.T) * sign) @ right.T
        equal = _equal([x.perturbation for x in a], [y.perturbation for y in b])
        several = np.array([len(x.perturbation.parts) > 1 for x in a])
        pieces[PAIR] = equal * several[:, None]
        types = self._types([i.cell_type for i in a], [i.cell_type for i in b], profiles or {})
        dose_a, dose_b = _log_doses(a), _log_doses(b)
        gap = dose_a[:, None] - dose_b[None, :]
        near = np.where(np.isnan(gap), np.isnan(dose_a)[:, None] & np.isnan(dose_b)[None, :],
                        np.exp(-0.5 * (np.nan_to_num(gap) / DOSE_WIDTH) ** 2))
        varied = ~np.isnan(dose_a)[:, None]  # without doses the same part in the same type says as much
        arm = equal * near * varied * _equal([x.cell_type for x in a], [y.cell_type for y in b])
        return Parts(np.stack(list(pieces.values())) * size, np.stack(list(types.values())), arm * size,
                     tuple(pieces), tuple(types))

    def size(self, item: Item) -> float:
        """Return the size of the response at the item's dose against that at the highest one; 1 without a dose."""
        if item.dose is None:
            return 1.0
        curve = self.curves.get(item.perturbation, self.common)
        return 1.0 if curve is None else float(curve.size(item.dose))

    def _types(self, a: list[str], b: list[str], more: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        same = _equal(a, b).astype(float)
        if len({*a, *b, *self.profiles}) < 2:
            return {SHARED: np.ones_like(same)}
        out = {SHARED: np.ones_like(same), OWN: same}
        if self.width > 0:
            known = {**self.profiles, **more}
            x, y = (np.array([known[k] for k in kinds]) for kinds in (a, b))
            out[NEAR] = np.exp(-0.5 * squared_distances(x, y) / self.width**2)
        return out


def _equal(a: Sequence[object], b: Sequence[object]) -> np.ndarray:
    """Return which of A and B things are equal, bool [A, B]."""
    code: dict[object, int] = {}
    x, y = (np.array([code.setdefault(v, len(code)) for v in values], int) for values in (a, b))
    return np.asarray(x[:, None] == y[None, :])


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return squared Euclidean distances [A, B] of rows."""
    return np.maximum((x**2).sum(1)[:, None] + (y**2).sum(1)[None, :] - 2 * x @ y.T, 0.0)


def _membership(items: Sequence[Item], index: Mapping[tuple[str, str, str], int]) -> np.ndarray:
    out = np.zeros((len(items), len(index)))
    for i, item in enumerate(items):
        p = item.perturbation
        for token in zip(p.parts, p.targets, p.directions, strict=True):
            out[i, index[token]] = 1.0
    return out


def _signs(tokens: list[tuple[str, str, str]]) -> np.ndarray:
    """Return 1 for parts of one direction, `OPPOSITE` for up and down, 1 where a direction is not known."""
    up = np.array([{"activation": 1, "knock-down": -1, "knock-out": -1}.get(d, 0) for _, _, d in tokens])
    return np.where(np.outer(up, up) < 0, OPPOSITE, 1.0)


def _same(tokens: list[tuple[str, str, str]]) -> np.ndarray:
    """Return 1 for the same part, and what two directions of one gene have in common."""
    targets = np.array([t for _, t, _ in tokens])
    alike = (targets[:, None] == targets[None, :]).astype(float) * _signs(tokens)
    alike = np.where(alike > 0, -OPPOSITE * alike, alike)
    np.fill_diagonal(alike, 1.0)
    return alike


def _log_doses(items: Sequence[Item]) -> np.ndarray:
    return np.array([np.nan if i.dose is None or i.dose <= 0 else np.log(i.dose) for i in items])
