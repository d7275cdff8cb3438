"""Kernel ridge with many outputs: one kernel for all, a signal of its own for each, known noise; weights by evidence.

In one output the A arms are ``y ~ N(0, s K(w) + N)``: N is the noise that the cells have anyway, 1/n for each arm and
1/n_control in common for the arms that stand beside the same controls; s is how much signal the output has, so one
without any is shrunk to nothing (empirical Bayes). This is kernel ridge whose penalty is known instead of searched. The
weights w of the kernel's pieces maximise the evidence (Rasmussen and Williams 2006, eq. 5.8), with a wide prior.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scdiff_core.analysis.perturb.kernels import IDENTITY, MEAN, PAIR, PARTS, Parts

SIGNALS = np.r_[0.0, np.geomspace(1e-4, 1e5, 37)]
PRIOR_SD = 1.0  # of the natural log of a weight
FLOOR = 1e-6
USUAL = {MEAN: 1.0, PARTS: 1.0, IDENTITY: 1.0, PAIR: 0.3}  # what weights are before the data is looked at
ARM = 0.05


@dataclass(frozen=True)
class Weights:
    """Weights of the kernel's pieces: of what [C], of the types [T], of the arm itself."""

    what: np.ndarray
    types: np.ndarray
    arm: float
    what_names: tuple[str, ...] = ()
    type_names: tuple[str, ...] = ()

    def match(self, parts: Parts) -> Weights:
        """Return the weights for a kernel that may lack some of the pieces (fewer types)."""
        what = dict(zip(self.what_names, self.what, strict=True))
        types = dict(zip(self.type_names, self.types, strict=True))
        return Weights(np.array([what.get(k, FLOOR) for k in parts.what_names]),
                       np.array([types.get(k, FLOOR) for k in parts.type_names]), self.arm, parts.what_names,
                       parts.type_names)


@dataclass(frozen=True)
class Basis:
    """A kernel in units of noise: ``W K Wᵀ = Q diag(eigen) Qᵀ`` with ``W N Wᵀ = 1``.

    Attributes
    ----------
    eigen
        [A], not below zero.
    turn
        ``Qᵀ W`` [A, A]: arms to independent coordinates of unit noise.
    """

    eigen: np.ndarray
    turn: np.ndarray

    @classmethod
    def of(cls, kernel: np.ndarray, whiten: np.ndarray) -> Basis:
        """Diagonalise a kernel [A, A] given W [A, A]."""
        eigen, q = np.linalg.eigh(whiten @ kernel @ whiten.T)
        return cls(np.maximum(eigen, 0.0), q.T @ whiten)


@dataclass(frozen=True)
class Solution:
    """The posterior of A arms in R outputs under one kernel.

    Attributes
    ----------
    gain, spread
        ``(s / (1 + s e))`` times the coordinates, and ``s² / (1 + s e)`` [A, R]: averaged over s where it is not sure.
    signal
        [R].
    turn
        Of the `Basis` [A, A].
    """

    gain: np.ndarray
    spread: np.ndarray
    signal: np.ndarray
    turn: np.ndarray

    def mean(self, kernel: np.ndarray) -> np.ndarray:
        """Return the posterior mean of Q arms [Q, R] from their kernel with the A arms [Q, A]."""
        return np.asarray(kernel @ self.turn.T @ self.gain)

    def variance(self, kernel: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Return the posterior variance [Q, R]; `own` is the kernel of each arm with itself [Q]."""
        return np.maximum(own[:, None] * self.signal - (kernel @ self.turn.T) ** 2 @ self.spread, 0.0)


def whitener(n: np.ndarray, control_n: np.ndarray, types: list[str]) -> np.ndarray:
    """Return W [A, A] with ``W N Wᵀ = 1`` for arms of n cells beside `control_n` (effective) controls of a type."""
    shared = {t: max(c for c, k in zip(control_n, types, strict=True) if k == t) for t in set(types)}
    common = np.array([1 / shared[t] for t in types])
    same = np.array(types)[:, None] == np.array(types)[None, :]
    noise = np.diag(1 / n + np.maximum(1 / control_n - common, 0.0)) + same * common[:, None]
    from scipy.linalg import solve_triangular

    return np.asarray(solve_triangular(np.linalg.cholesky(noise), np.eye(len(n)), lower=True))


def common_noise(whiten: np.ndarray, control_n: np.ndarray, types: list[str],
                 rest: np.ndarray) -> dict[str, np.ndarray]:
    """Return what the arms of a type have in common beyond their signal [G], given what the signal leaves [A, G].

    Such arms stand beside the same controls, so it is the error of their mean, with the sign turned: the posterior mean
    of a normal with the variance 1/n_control.
    """
    pulled = whiten.T @ (whiten @ rest)
    out = {}
    for t in dict.fromkeys(types):
        rows = np.array([k == t for k in types])
        out[t] = pulled[rows].sum(axis=0) / control_n[rows].max()
    return out


def evidence(eigen: np.ndarray, z: np.ndarray, signals: np.ndarray = SIGNALS) -> np.ndarray:
    """Return the log evidence [signals, R] of coordinates z [A, R], up to a constant."""
    spread = 1 + signals[:, None] * eigen  # [S, A]
    return np.asarray(-0.5 * np.log(spread).sum(axis=1)[:, None] - 0.5 * (1 / spread) @ z**2)


def solve(basis: Basis, y: np.ndarray) -> Solution:
    """Return the posterior of outputs y [A, R] (noise N); each one's signal maximises its evidence."""
    z = basis.turn @ y
    signal = SIGNALS[np.argmax(evidence(basis.eigen, z), axis=0)]
    shrunk = signal / (1 + signal * basis.eigen[:, None])
    return Solution(shrunk * z, shrunk * signal, signal, basis.turn)


def solve_alike(basis: Basis, y: np.ndarray, signals: np.ndarray = SIGNALS[::3]) -> Solution:
    """Return the posterior of many like outputs y [A, G]: the distribution of their signals is learnt from all of them.

    The mixture over a grid of signals is fitted by expectation maximisation, and each output is shrunk by the mean over
    the signals that it may have (Stephens 2017, adaptive shrinkage).
    """
    z = basis.turn @ y
    logs = evidence(basis.eigen, z, signals)
    like = np.exp(logs - logs.max(axis=0))
    share = np.full(len(signals), 1 / len(signals))
    for _ in range(50):
        post = share[:, None] * like
        post /= post.sum(axis=0)
        share = post.mean(axis=1)
    shrunk = signals[:, None] / (1 + signals[:, None] * basis.eigen)  # [S, A]
    return Solution((shrunk.T @ post) * z, (shrunk * signals[:, None]).T @ post, signals @ post, basis.turn)


def usual(parts: Parts) -> Weights:
    """Return the weights as they are taken to be before the data is looked at, embeddings not used."""
    return Weights(np.array([USUAL.get(name, FLOOR) for name in parts.what_names]),
                   np.ones(len(parts.type_names)), ARM, parts.what_names,
                   parts.type_names)


def left_out_error(basis: Basis, y: np.ndarray, groups: list[np.ndarray]) -> np.ndarray:
    """Return how far outputs y [A, R] of each group of arms are from what the other arms say (closed form) [groups].

    The squared error over the square of the group's own outputs. Rasmussen and Williams 2006, eq. 5.12 for a group:
    ``y_g − prediction = [(V⁻¹)_gg]⁻¹ (V⁻¹ y)_g`` with ``V = s K + N``.
    """
    z = basis.turn @ y
    signal = SIGNALS[np.argmax(evidence(basis.eigen, z), axis=0)]
    error = np.zeros((len(groups), y.shape[1]))
    size = np.array([(y[g] ** 2).sum() for g in groups])
    for r, s in enumerate(signal):
        weight = 1 / (1 + s * basis.eigen)
        pulled = basis.turn.T @ (weight * z[:, r])
        for i, g in enumerate(groups):
            rows = basis.turn[:, g]
            error[i, r] = (np.linalg.solve((rows.T * weight) @ rows, pulled[g]) ** 2).sum()
    return np.asarray(error.sum(axis=1) / np.maximum(size, 1e-12))


def fit_weights(parts: Parts, whiten: np.ndarray, y: np.ndarray, start: Weights | None = None,
                steps: int = 40) -> Weights:
    """Return the weights under which the outputs y [A, R] (noise N) are most probable."""
    from scipy.optimize import minimize

    n_what = len(parts.what)
    usable = np.array([name in USUAL and np.abs(k).max() > 1e-9 for name, k in zip(
        parts.what_names, parts.what, strict=True)])
    before = usual(parts)
    centre = np.log(np.r_[before.what, before.types, before.arm])
    first = centre if start is None else np.log(np.maximum(np.r_[start.what, start.types, start.arm], FLOOR))

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        what, types, arm = np.exp(theta[:n_what]) * usable, np.exp(theta[n_what:-1]), float(np.exp(theta[-1]))
        by_type, by_what = np.tensordot(types, parts.types, 1), np.tensordot(what, parts.what, 1)
        basis = Basis.of(by_what * by_type + arm * parts.arm, whiten)
        z = basis.turn @ y
        logs = evidence(basis.eigen, z)
        best = np.argmax(logs, axis=0)
        signal = SIGNALS[best]
        value = -logs[best, np.arange(len(best))].sum()
        gain = np.sqrt(signal) * z / (1 + signal * basis.eigen[:, None])
        inner = 0.5 * (gain @ gain.T - np.diag((signal / (1 + signal * basis.eigen[:, None])).sum(axis=1)))
        outer = basis.turn.T @ inner @ basis.turn
        slope = np.r_[what * np.einsum("cab,ab->c", parts.what, outer * by_type),
                      types * np.einsum("tab,ab->t", parts.types, outer * by_what), arm * (outer * parts.arm).sum()]
        return (float(value + 0.5 * (((theta - centre) / PRIOR_SD) ** 2).sum()),
                -slope + (theta - centre) / PRIOR_SD**2)

    found = minimize(loss, first, jac=True, method="L-BFGS-B", options={"maxiter": steps},
                     bounds=[(-9.0, 6.0)] * len(first)).x
    return Weights(np.exp(found[:n_what]) * usable + FLOOR * ~usable, np.exp(found[n_what:-1]),
                   float(np.exp(found[-1])), parts.what_names, parts.type_names)
