"""Programs: the few directions of genes along which perturbations move cells, learnt together with the arms' scores.

The shifts in units of noise are ``Y = F L + own + noise``: scores F [A, R] have the arms' kernel as their prior,
loadings L [R, G] a standard normal one, and what is left of a gene has the arms' kernel with a signal of its own. F and
L are found by variational Bayes (Bishop 1999; Nakajima et al. 2013): since the uncertainty of each enters the other, a
direction that is only noise is shrunk to nothing, where a plain projection onto principal directions would count its
noise as signal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scdiff_core.analysis.perturb.gaussian import SIGNALS, Basis, Solution, evidence, solve, solve_alike

MOST = 60
ROUNDS = 10
BACKFIT = 20
SLABS = np.r_[0.0, np.geomspace(0.5, 4096.0, 14)]  # prior variances of a loading in units of its own noise


@dataclass(frozen=True)
class Programs:
    """R programs of G genes.

    Attributes
    ----------
    loadings
        [R, G], for scores of which noise N is the noise (see `scores`).
    uncertain
        Variance that the loadings' uncertainty adds, for each squared score [R].
    """

    loadings: np.ndarray
    uncertain: np.ndarray

    def scores(self, y: np.ndarray) -> np.ndarray:
        """Return the scores of shifts [A, G] as outputs with noise N [A, R]."""
        return np.asarray(y @ self.loadings.T)


def start(white: np.ndarray) -> np.ndarray:
    """Return the loadings [R, G] to start from: the directions of white shifts [A, G] that stand out from noise."""
    a, g = white.shape
    values, vectors = np.linalg.eigh(white @ white.T)
    edge = (np.sqrt(a) + np.sqrt(g)) ** 2
    rank = int(np.clip((values > edge).sum(), 1, min(MOST, max(1, a - 1))))
    top = vectors[:, ::-1][:, :rank]
    return np.asarray(top.T @ white / np.sqrt(a))


def fit_programs(basis: Basis, y: np.ndarray, loadings: np.ndarray, rounds: int = ROUNDS,
                 sparse: bool = False) -> Programs:
    """Improve loadings L [R, G] for shifts y [A, G] under a kernel.

    With `sparse`, most of a program's loadings may be nothing (see `sparse_loadings`).
    """
    white = basis.turn @ y  # orthogonal coordinates of unit noise
    mean, cov = loadings, np.zeros((len(loadings), len(loadings)))
    g = y.shape[1]
    d = np.ones(len(mean))
    for _ in range(rounds):
        d, turn = np.linalg.eigh(mean @ mean.T + g * cov)
        keep = d > 1e-6 * d.max()
        mean, d = turn.T[keep] @ mean, d[keep]
        posterior = solve(Basis(basis.eigen, np.eye(len(white))), white @ mean.T / np.sqrt(d))
        scores = basis.eigen[:, None] * posterior.gain / np.sqrt(d)
        var = (posterior.signal * basis.eigen[:, None]
               / (1 + posterior.signal * basis.eigen[:, None])) / d
        alive = posterior.signal > 0
        scores, var, mean = scores[:, alive], var[:, alive], mean[alive]
        if not alive.any():
            return Programs(np.zeros((0, g)), np.zeros(0))
        # the prior of a loading has the variance 1: scale scores so that it holds
        size = np.sqrt(np.maximum((mean**2).mean(axis=1), 1e-12))
        scores, var = scores * size, var * size**2
        cov = np.linalg.inv(scores.T @ scores + np.diag(var.sum(axis=0)) + np.eye(len(size)))
        mean = cov @ scores.T @ white
    if sparse:
        return independent(*sparse_loadings(basis, white, varimax(mean)))
    d, turn = np.linalg.eigh(mean @ mean.T + g * cov)
    return Programs((turn.T @ mean / np.sqrt(d)[:, None])[::-1], (np.diag(turn.T @ cov @ turn) / d)[::-1])


def varimax(loadings: np.ndarray, rounds: int = 60) -> np.ndarray:
    """Turn loadings [R, G] so that each gene belongs to few of them (Kaiser 1958)."""
    r, g = loadings.shape
    turn = np.eye(r)
    x = loadings.T
    for _ in range(rounds if r > 1 else 0):
        y = x @ turn
        u, _, v = np.linalg.svd(x.T @ (y**3 - y * (y**2).sum(axis=0) / g))
        turn = u @ v
    return np.asarray((x @ turn).T)


def sparse_loadings(basis: Basis, white: np.ndarray, mean: np.ndarray,
                    rounds: int = BACKFIT) -> tuple[np.ndarray, np.ndarray]:
    """Improve loadings [R, G] with a prior that most of a program's loadings may be nothing: mean, variance [R, G].

    One program after the other, given the rest (empirical Bayes matrix factorisation, Wang and Stephens 2021): loadings
    have a mixture of normals as their prior, its shares learnt from all genes; scores the arms' kernel.
    """
    e = basis.eigen
    d = (mean**2).sum(axis=1, keepdims=True)
    scores = np.linalg.lstsq(mean @ mean.T, mean @ white.T, rcond=None)[0] * (e / (e + 1 / np.maximum(d, 1e-9)))
    spread = np.zeros_like(scores)
    var = np.zeros_like(mean)
    shares: list[np.ndarray | None] = [None] * len(mean)
    rest = white - scores.T @ mean
    for _ in range(rounds):
        for r in range(len(mean)):
            if not scores[r].any():
                continue
            rest += np.outer(scores[r], mean[r])
            precision = float((scores[r] ** 2 + spread[r]).sum())
            mean[r], var[r], shares[r] = shrink(scores[r] @ rest / precision, 1 / precision, shares[r])
            d_r = float((mean[r] ** 2 + var[r]).sum())
            if d_r <= 1e-12:
                scores[r], spread[r] = 0.0, 0.0
                continue
            z = rest @ mean[r] / np.sqrt(d_r)
            signal = SIGNALS[np.argmax(evidence(e, z[:, None])[:, 0])]
            scores[r] = signal * e / (1 + signal * e) * z / np.sqrt(d_r)
            spread[r] = signal * e / (1 + signal * e) / d_r
            rest -= np.outer(scores[r], mean[r])
    alive = scores.any(axis=1)
    return mean[alive], var[alive]


def shrink(x: np.ndarray, noise: float | np.ndarray, share: np.ndarray | None,
           common: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shrink estimates x [G] of variance `noise` by a mixture of normals: mean, variance [G], shares.

    The normals are about 0 or, with `common` [G], about the multiple of it that suits x best.
    """
    prior = np.mean(noise) * SLABS[:, None]
    share = np.r_[0.5, np.full(len(SLABS) - 1, 0.5 / (len(SLABS) - 1))] if share is None else share
    centre = np.zeros_like(x)
    post = np.ones((len(SLABS), len(x)))
    for step in range(5):
        if common is not None:
            weight = (post / (prior + noise)).sum(axis=0) if step else 1 / (prior.mean(axis=0) + noise)
            centre = common * float((weight * common * x).sum() / max((weight * common**2).sum(), 1e-12))
        if step == 0 or common is not None:
            logs = -0.5 * (np.log(prior + noise) + (x - centre) ** 2 / (prior + noise))
            like = np.exp(logs - logs.max(axis=0))
        post = share[:, None] * like
        post /= post.sum(axis=0)
        share = post.mean(axis=1)
    gain = prior / (prior + noise)
    off = x - centre
    mean = (gain * post).sum(axis=0) * off
    second = (gain**2 * off**2 + gain * noise) * post
    return mean + centre, np.maximum(second.sum(axis=0) - mean**2, 0.0), share


def independent(mean: np.ndarray, var: np.ndarray) -> Programs:
    """Turn loadings (mean and variance [R, G]) so that the programs' scores can be found one by one."""
    if not len(mean):
        return Programs(mean, np.zeros(0))
    d, turn = np.linalg.eigh(mean @ mean.T + np.diag(var.sum(axis=1)))
    root = (turn / np.sqrt(np.maximum(d, 1e-9 * d.max()))) @ turn.T  # symmetric: each stays as near to itself as it can
    return Programs(root @ mean, (root**2) @ var.mean(axis=1))


@dataclass(frozen=True)
class Decomposition:
    """Programs with the posterior of their scores, and the genes' own remainder."""

    programs: Programs
    scores: Solution
    own: Solution

    def mean(self, kernel: np.ndarray) -> np.ndarray:
        """Return the posterior mean of Q arms in units of noise [Q, G] from their kernel with the A arms."""
        return np.asarray(self.scores.mean(kernel) @ self.programs.loadings + self.own.mean(kernel))

    def variance(self, kernel: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Return its variance [Q, G]; `own` is the kernel of each arm with itself [Q]."""
        var, mean = self.scores.variance(kernel, own), self.scores.mean(kernel)
        return np.asarray(var @ self.programs.loadings**2 + ((var + mean**2) @ self.programs.uncertain)[:, None]
                          + self.own.variance(kernel, own))

    def left(self, kernel: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Return the share of each program's prior variance that is left [Q, R]."""
        return np.asarray(np.minimum(self.scores.variance(kernel, own)
                                     / np.maximum(own[:, None] * self.scores.signal, 1e-12), 1.0))

    def unknown(self, kernel: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Return the share of the programs' prior variance that is left [Q]: 0 known, 1 nothing known."""
        prior = own * self.scores.signal.sum() + 1e-12
        return np.asarray(np.minimum(self.scores.variance(kernel, own).sum(axis=1) / prior, 1.0))


def decompose(basis: Basis, y: np.ndarray, programs: Programs) -> Decomposition:
    """Return the posterior of shifts y [A, G] (units of noise) under a kernel, given programs."""
    scores = solve(basis, programs.scores(y))
    fitted = (basis.eigen[:, None] * scores.gain) @ programs.loadings  # in the basis' coordinates
    plain = Basis(basis.eigen, np.eye(len(fitted)))
    rest = solve_alike(plain, basis.turn @ y - fitted)
    return Decomposition(programs, scores, Solution(rest.gain, rest.spread, rest.signal, basis.turn))
