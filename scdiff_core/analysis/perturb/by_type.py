"""Programs in several cell types: how far each type answers to each, and how much of it a gene of the type can show.

Two things make one program look different in two types. A gene that a type hardly expresses cannot show in log1p what
the same fold change shows elsewhere: a change of the log of the rate moves the mean m by ``1 - exp(-m)``, so loadings
are of the log of the rate, and each type sees them through its own controls. And a type may hardly answer to a program,
whatever was perturbed: each program has a gain in each type. With c the gains and T the kernel of types that all
programs share, a program's is ``diag(c) T diag(c)``; c and the share of T that is not common to all types maximise the
evidence, drawn to 1 (`learn_types`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scdiff_core.analysis.perturb.gaussian import Solution, Weights
from scdiff_core.analysis.perturb.kernels import SHARED, Item, Parts

MOST = 600  # arms: with more, a type's own data say enough, and the fit takes long
LEAST = 3  # perturbations measured in two types or more: one alone does not tell what is the type's
SENSED = 0.02  # added to a sensitivity before a ratio of two is taken


@dataclass(frozen=True)
class ByType:
    """R programs of G genes in K types, fitted to A arms.

    Attributes
    ----------
    types
        Names [K].
    gain
        [K, R]; a type that training had not has 1.
    local, signal
        What the kernel of types that is not shared by all, and the whole kernel, are multiplied by [R].
    dual
        The scores' dual coefficients [A, R].
    loadings, spread
        Mean and variance of the loadings, in units of noise of the usual sensitivity [R, G].
    usual
        The sensitivity of a gene over types [G]; 0 where values are no log1p.
    unit
        Noise of the genes of each type as a multiple of the noise that `ResponseModel.scale` says [K, G].
    offset
        By what variance one cell's rates are off in all genes at once, natural log [K].
    own
        The genes' own remainder, in units of the type's noise.
    """

    types: tuple[str, ...]
    gain: np.ndarray
    local: np.ndarray
    signal: np.ndarray
    dual: np.ndarray
    loadings: np.ndarray
    spread: np.ndarray
    usual: np.ndarray
    unit: np.ndarray
    offset: np.ndarray
    own: Solution

    def _rows(self, items: Sequence[Item], table: np.ndarray) -> np.ndarray:
        row = {t: i for i, t in enumerate(self.types)}
        padded = np.vstack([table, np.ones(table.shape[1])])
        return np.asarray(padded[[row.get(i.cell_type, len(self.types)) for i in items]])

    def offsets(self, cell_type: str, control: np.ndarray) -> np.ndarray:
        """Return the variance of single cells that all genes of a type share, log1p [G], given its control mean."""
        found = [v for t, v in zip(self.types, self.offset, strict=True) if t == cell_type] or [self.offset.mean()]
        return np.asarray((1 - np.exp(-np.maximum(control, 0.0))) ** 2 * found[0])

    def scores(self, parts: Parts, weights: Weights, here: Sequence[Item], known: Sequence[Item]) -> np.ndarray:
        """Return the scores [Q, R] of the arms `here` from the A `known` ones; `parts` is their kernel in pieces."""
        shared, rest, arm = pieces(parts, weights)
        pulled = self.dual * self.signal
        near = self._rows(known, self.gain) * pulled
        return np.asarray(self._rows(here, self.gain) * (shared @ near + self.local * (rest @ near)) + arm @ pulled)

    def prior(self, parts: Parts, weights: Weights, here: Sequence[Item]) -> np.ndarray:
        """Return the prior variance of the scores [Q, R]; `parts` is the kernel of the arms with themselves."""
        shared, rest, arm = (np.diag(k)[:, None] for k in pieces(parts, weights))
        return np.asarray(self.signal * (self._rows(here, self.gain) ** 2 * (shared + self.local * rest) + arm))

    def mean(self, parts: Parts, weights: Weights, here: Sequence[Item], known: Sequence[Item],
             control: np.ndarray) -> np.ndarray:
        """Return the mean of Q arms beside a control [G], in units of noise [Q, G]."""
        scores = self.scores(parts, weights, here, known)
        kernel = parts.join(weights.what, weights.types, weights.arm)
        return np.asarray(sensitivity(control, self.usual) * (scores @ self.loadings)
                          + self._rows(here, self.unit) * self.own.mean(kernel))

    def variance(self, parts: Parts, weights: Weights, here: Sequence[Item], known: Sequence[Item],
                 control: np.ndarray, self_parts: Parts, left: np.ndarray) -> np.ndarray:
        """Return its variance [Q, G]; `left` is the share of the scores' prior variance that is left [Q, R]."""
        kernel = parts.join(weights.what, weights.types, weights.arm)
        own = np.diag(self_parts.join(weights.what, weights.types, weights.arm))
        var = self.prior(self_parts, weights, here) * left
        mean = self.scores(parts, weights, here, known)
        return np.asarray(sensitivity(control, self.usual) ** 2
                          * (var @ (self.loadings**2 + self.spread) + mean**2 @ self.spread)
                          + self._rows(here, self.unit) ** 2 * self.own.variance(kernel, own))


def sensitivity(control: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Return how far a gene's mean moves with the log of its rate, against the usual [G], for controls' log1p means."""
    if not usual.any() or control.min() < 0:
        return np.ones_like(control)
    return np.asarray((1 - np.exp(-control) + SENSED) / (usual + SENSED))


def pieces(parts: Parts, weights: Weights) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the kernel in three pieces: what all types share, what they do not, and the arm's own."""
    what = np.tensordot(weights.what, parts.what, 1)
    every = np.array([name == SHARED for name in parts.type_names])
    by = weights.types[:, None, None] * parts.types
    return what * by[every].sum(axis=0), what * by[~every].sum(axis=0), weights.arm * parts.arm


def several_types(items: Sequence[Item]) -> bool:
    """Say whether several perturbations were measured in several types, and in not too many arms to reckon with."""
    found: dict[object, set[str]] = {}
    for i in items:
        found.setdefault(i.perturbation, set()).add(i.cell_type)
    return len(items) <= MOST and sum(len(v) > 1 for v in found.values()) >= LEAST
