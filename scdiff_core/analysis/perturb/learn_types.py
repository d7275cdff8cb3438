"""Fitting what each cell type makes of each program (see `by_type`).

Scores and loadings are improved in turn, one program after the other, as in `programs_of_arms`; gains in between. Two
things that move all genes at once are kept apart from programs: a program that takes much of a cell's molecules lowers
the share of all other genes by one factor, so loadings are shrunk towards a multiple of that; and the cells of an arm
may happen to be deep or shallow, of which `Arms.together` says how much it matters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scdiff_core.analysis.perturb.by_type import SENSED, ByType, pieces, sensitivity
from scdiff_core.analysis.perturb.gaussian import Basis, Solution, Weights, solve_alike
from scdiff_core.analysis.perturb.kernels import Item, Parts
from scdiff_core.analysis.perturb.programs_of_arms import Decomposition, shrink

GAIN_SD, LOCAL_SD, SIGNAL_SD = 0.5, 1.5, 1.5  # of a gain about 1; of the natural log of the local share and the signal
STEPS = 15
TURNS, BACKFIT = 2, 5  # gains and programs in turn; rounds of programs in each


@dataclass
class _State:
    """What changes while programs are improved; rows are arms in white coordinates, blocks of types apart."""

    mean: np.ndarray  # loadings [R, G]
    var: np.ndarray  # [R, G]
    scores: np.ndarray  # [R, A]
    spread: np.ndarray  # [R, A]
    gain: np.ndarray  # [K, R]
    local: np.ndarray  # [R]
    signal: np.ndarray  # [R]
    shares: list[np.ndarray | None]
    common: np.ndarray | None  # loadings of a change of all rates by one factor [G]
    together: np.ndarray  # see `Arms` [A]
    depth: np.ndarray  # by what factor an arm's rates are off since its cells happen to be deep or shallow [A]


def fit(parts: Parts, weights: Weights, items: Sequence[Item], whiten: np.ndarray, y: np.ndarray,
        first: Decomposition, controls: Mapping[str, np.ndarray], unit: Mapping[str, np.ndarray],
        n: np.ndarray, basis: Basis, scale: np.ndarray,
        together: np.ndarray | None = None, turns: int = TURNS) -> ByType:
    """Improve the programs that all types were taken to share alike.

    Parameters
    ----------
    y
        Shifts in units of noise [A, G].
    controls, unit
        Cell type -> control mean, log1p, and noise against the usual one [G].
    n
        Cells [A].
    basis
        The kernel that all programs share.
    scale
        What a unit of noise is, log1p [G].
    together
        See `Arms` [A].
    turns
        How often gains and programs are improved in turn.
    """
    types = tuple(dict.fromkeys(i.cell_type for i in items))
    row = np.array([types.index(i.cell_type) for i in items])
    level = np.array([controls[t] for t in types])
    count = np.array([n[row == k].sum() for k in range(len(types))])
    usual = np.average(1 - np.exp(-level), axis=0, weights=count) if level.min() >= 0 else np.zeros(y.shape[1])
    units = np.array([unit[t] for t in types])
    seen = np.array([sensitivity(c, usual) for c in level]) / units  # [K, G]
    white = whiten @ (y / units[row])
    kernels = tuple(whiten @ k @ whiten.T for k in pieces(parts, weights))
    programs, r = first.programs, len(first.programs.loadings)
    scores = (whiten @ parts_scores(first, parts, weights)).T
    common = (usual + SENSED) / scale if usual.any() else None
    state = _State(programs.loadings.copy(), np.zeros_like(programs.loadings), scores, np.zeros_like(scores),
                   np.ones((len(types), r)), np.ones(r), np.maximum(first.scores.signal, 1e-4), [None] * r, common,
                   np.ones(len(y)) if together is None else together, np.zeros(len(y)))
    rest = white - sum((np.outer(state.scores[i], state.mean[i]) * seen[row] for i in range(r)), np.zeros_like(white))
    _set_depth(state, rest, seen, row)
    for _ in range(turns):
        _fit_gains(state, rest, seen, row, kernels)
        for _ in range(BACKFIT):
            _backfit(state, rest, seen, row, kernels)
            _set_depth(state, rest, seen, row)
    _fit_gains(state, rest, seen, row, kernels)
    dual = whiten.T @ np.array([_dual(state, i, rest, seen, row, kernels) for i in range(r)]).reshape(r, len(y)).T
    left = solve_alike(Basis(basis.eigen, np.eye(len(y))), basis.turn @ np.linalg.solve(whiten, rest))
    offset = np.zeros(len(types))
    if common is not None:
        excess = np.array([state.together[row == k].mean() for k in range(len(types))])
        offset = excess / ((seen * common) ** 2).sum(axis=1)
    return ByType(types, state.gain, state.local, state.signal, dual, state.mean, state.var, usual, units, offset,
                  Solution(left.gain, left.spread, left.signal, basis.turn))


def parts_scores(first: Decomposition, parts: Parts, weights: Weights) -> np.ndarray:
    """Return the scores of the arms [A, R] under the shared kernel."""
    return first.scores.mean(parts.join(weights.what, weights.types, weights.arm))


def _heard(state: _State, i: int, rest: np.ndarray, seen: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a program's scores as its genes say them, in units of noise [A], and what one unit of score is there."""
    power = (seen**2) @ (state.mean[i] ** 2 + state.var[i])
    size = np.sqrt(np.maximum(power, 1e-12))[row]
    whole = rest + np.outer(state.scores[i], state.mean[i]) * seen[row]
    # the variance of a loading shrinks what its genes say: the posterior under (mean² + var) with the mean's product
    return np.einsum("ag,ag,g->a", whole, seen[row], state.mean[i]) / size, size


def _kernel(state: _State, i: int, size: np.ndarray, row: np.ndarray, kernels: tuple[np.ndarray, ...]) -> np.ndarray:
    shared, rest, arm = kernels
    c = state.gain[row, i]
    inner = np.outer(c, c) * (shared + state.local[i] * rest) + arm
    return np.asarray(state.signal[i] * np.outer(size, size) * inner)


def _inverse(kernel: np.ndarray) -> np.ndarray:
    """Return ``(K + 1)⁻¹``."""
    from scipy.linalg.lapack import dpotrf, dpotri

    full = kernel + np.eye(len(kernel))
    inverse = dpotri(dpotrf(full, lower=1)[0], lower=1)[0]
    return np.asarray(np.tril(inverse) + np.tril(inverse, -1).T)


def _dual(state: _State, i: int, rest: np.ndarray, seen: np.ndarray, row: np.ndarray,
          kernels: tuple[np.ndarray, ...]) -> np.ndarray:
    z, size = _heard(state, i, rest, seen, row)
    return np.asarray(size * (_inverse(_kernel(state, i, size, row, kernels)) @ z))


def _backfit(state: _State, rest: np.ndarray, seen: np.ndarray, row: np.ndarray,
             kernels: tuple[np.ndarray, ...]) -> None:
    """Improve each program's loadings and scores given the others'; `rest` is kept up to date."""
    k = len(seen)
    for i in range(len(state.mean)):
        if not state.scores[i].any():
            continue
        rest += np.outer(state.scores[i], state.mean[i]) * seen[row]
        second = np.bincount(row, state.scores[i] ** 2 + state.spread[i], minlength=k)
        precision = second @ seen**2 + 1e-9
        products = np.array([state.scores[i][row == t] @ rest[row == t] for t in range(k)])
        state.mean[i], state.var[i], state.shares[i] = shrink((products * seen).sum(axis=0) / precision,
                                                              1 / precision, state.shares[i], state.common)
        if float((state.mean[i] ** 2).sum()) <= 1e-12:
            state.scores[i], state.spread[i] = 0.0, 0.0
            continue
        power = np.sqrt((seen**2) @ (state.mean[i] ** 2 + state.var[i]))[row]
        z = np.array((rest * seen[row]) @ state.mean[i]) / power
        inverse = _inverse(_kernel(state, i, power, row, kernels))
        state.scores[i] = (z - inverse @ z) / power
        state.spread[i] = (1 - np.diag(inverse)) / power**2
        rest -= np.outer(state.scores[i], state.mean[i]) * seen[row]


def _set_depth(state: _State, rest: np.ndarray, seen: np.ndarray, row: np.ndarray) -> None:
    """Take out of `rest` what moves all genes of an arm at once: noise of its cells, that no other arm shares."""
    if state.common is None:
        return
    pattern = seen * state.common
    power = (pattern**2).sum(axis=1)[row]
    state.depth, before = np.array((rest * pattern[row]).sum(axis=1) / power + state.depth), state.depth
    state.depth *= (1 - 1 / np.maximum(state.together, 1.0))
    rest -= (state.depth - before)[:, None] * pattern[row]


def _fit_gains(state: _State, rest: np.ndarray, seen: np.ndarray, row: np.ndarray,
               kernels: tuple[np.ndarray, ...]) -> None:
    """Set gains, local shares and signals to what makes the programs' scores most probable."""
    from scipy.optimize import minimize

    shared, others, arm = kernels
    k = len(seen)
    member = np.eye(k)[row]
    for i in range(len(state.mean)):
        if not state.scores[i].any():
            continue
        z, size = _heard(state, i, rest, seen, row)
        base = float(state.signal[i])
        sizes = np.outer(size, size)

        def loss(theta: np.ndarray, z: np.ndarray = z, base: float = base,
                 sizes: np.ndarray = sizes) -> tuple[float, np.ndarray]:
            c, q, s = theta[:k], np.exp(theta[k]), base * np.exp(theta[k + 1])
            pair = np.outer(c[row], c[row])
            inner = shared + q * others
            kernel = s * sizes * (pair * inner + arm)
            inverse = _inverse(kernel)
            pulled = inverse @ z
            slope = 0.5 * (inverse - np.outer(pulled, pulled)) * sizes * s
            by_type = member.T @ (slope * inner) @ member
            away = np.r_[(c - 1) / GAIN_SD, theta[k] / LOCAL_SD, theta[k + 1] / SIGNAL_SD]
            value = 0.5 * float(z @ pulled) - 0.5 * float(np.linalg.slogdet(inverse)[1]) + 0.5 * float(away @ away)
            return value, np.r_[2 * by_type @ c, q * float((slope * pair * others).sum()),
                                float((slope * (pair * inner + arm)).sum())
                                ] + away / np.r_[np.full(k, GAIN_SD), LOCAL_SD, SIGNAL_SD]

        start = np.r_[state.gain[:, i], np.log(state.local[i]), 0.0]
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": STEPS},
                         bounds=[(-0.5, 3.0)] * k + [(-8.0, 4.0)] * 2).x
        state.gain[:, i], state.local[i] = found[:k], np.exp(found[k])
        state.signal[i] = base * np.exp(found[k + 1])
