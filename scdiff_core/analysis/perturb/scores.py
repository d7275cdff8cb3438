"""How near predicted cells of a perturbation are to the real ones: one condition at a time, each figure defined.

All cells are log1p values (natural logarithm of 1 + counts per 10,000). Scores over a panel of conditions (the six of
the Virtual Cell Challenge) are in `panel`. No figure says much alone: hold it against its floor (`halves`: the other
half of the real cells) and against `baselines`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import rankdata

from scdiff_core.analysis.metrics import RBF_WIDTHS, dense, pearson

N_COMPONENTS = 30
TOP = (20, 50)
GENES_AT_ONCE = 500  # that are ranked together
E_DISTANCE = (f"2 E|X-Y| - E|X-X'| - E|Y-Y'|, Euclidean (not squared), in {N_COMPONENTS} principal components of "
              "the real cells, without the zero distance of a cell to itself: its expectation is 0 for equal sets, and "
              "a small value can lie below 0")
# whether more is better; the variance ratio is best at 1 and judged by its distance from there
HIGHER = {"pearson": True, "pearson_centroid": True, "pearson_cells": True, "overlap_20": True, "overlap_50": True,
          "e_distance": False, "mmd": False, "variance_ratio": None}


@dataclass(frozen=True)
class Space:
    """The principal components in which populations are compared: fitted on real cells, never on predicted ones.

    Attributes
    ----------
    mean, components
        float32 [G] and [P, G].
    """

    mean: np.ndarray
    components: np.ndarray

    @classmethod
    def fit(cls, log1p: Any, n: int = N_COMPONENTS, seed: int = 0) -> Space:
        """Fit at most `n` components on all real cells [N, G] of the data, training and held out alike.

        One space serves every method, the floor and the baselines. With 30 components of the k562 cells of the Norman
        data, unmoved control has an E-distance of 0.60 from the pairs and the additive model 0.016.
        """
        from sklearn.decomposition import PCA

        x = dense(log1p)
        n = min(n, len(x) - 1, x.shape[1])
        fitted = PCA(n, svd_solver="randomized" if n < min(x.shape) // 2 else "full", random_state=seed).fit(x)
        return cls(fitted.mean_.astype(np.float32), fitted.components_.astype(np.float32))

    def place(self, log1p: Any) -> np.ndarray:
        """Return the components [n, P] of cells [n, G]."""
        return np.asarray(log1p @ self.components.T - self.mean @ self.components.T, np.float32)


def e_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the energy distance of two sets of points [N, P] and [M, P]; see `E_DISTANCE`.

    Székely and Rizzo 2013, as a U-statistic; NaN where a side has fewer than two points. `pertpy` takes the same
    Euclidean distances, CellFlow squared ones.
    """
    return _apart(lambda x, y: cdist(x, y), a, b, sign=1.0)


def mmd(a: np.ndarray, b: np.ndarray, widths: tuple[float, ...] = RBF_WIDTHS) -> float:
    """Return the unbiased squared maximum mean discrepancy of two sets of points [N, P] and [M, P].

    Gretton et al. 2012, eq. 3, averaged over five RBF kernels round the median distance of the points of `b`, so that
    every prediction of the same real cells is measured with the same kernels.
    """
    if min(len(a), len(b)) < 2:
        return float("nan")
    upper = cdist(b, b)[np.triu_indices(len(b), 1)]
    median = float(np.median(upper)) or 1.0

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        squared = cdist(x, y, "sqeuclidean")
        return np.mean([np.exp(squared / (-2 * (w * median) ** 2)) for w in widths], axis=0)

    return _apart(kernel, a, b, sign=-1.0)


def _apart(pairwise: Any, a: np.ndarray, b: np.ndarray, sign: float) -> float:
    """Return sign · (2 E f(x, y) − E f(x, x') − E f(y, y')) over different cells."""
    n, m = len(a), len(b)
    if min(n, m) < 2:
        return float("nan")
    own = []
    for x in (a, b):
        square = pairwise(x, x)
        own.append((square.sum() - np.trace(square)) / (len(x) * (len(x) - 1)))
    return float(sign * (2 * pairwise(a, b).mean() - own[0] - own[1]))


def change_agreement(predicted: np.ndarray, real: np.ndarray, reference: np.ndarray,
                     without: np.ndarray | None = None) -> float:
    """Return Pearson's correlation over genes of two mean profiles [G], each less `reference` [G], all log1p.

    Against the control it is the usual "Pearson of change", which a mean response already scores highly; against the
    centroid of the perturbed cells (Systema, Viñas Torné et al. 2025) the mean response scores 0. A prediction that
    is the reference itself has no direction and scores 0.

    Parameters
    ----------
    without
        Genes to leave out, bool [G]: the perturbed ones, whose change gives the answer away.
    """
    keep = np.ones(len(real), bool) if without is None else ~without
    a, b = (predicted - reference)[keep], (real - reference)[keep]
    if np.ptp(b) == 0:
        return float("nan")
    return 0.0 if np.abs(a).max() < 1e-5 else pearson(a, b)  # rounding of float32 is no direction


def top_genes(log1p: Any, control: Any, genes: np.ndarray, k: int, without: np.ndarray | None = None) -> list[str]:
    """Return the `k` genes that differ most between cells and controls: largest absolute Wilcoxon score.

    Ties are broken by the difference of the means, never by name.
    """
    a, b = dense(log1p), dense(control)
    size = np.abs(rank_scores(a, b))
    apart = np.abs(a.mean(axis=0, dtype=np.float64) - b.mean(axis=0, dtype=np.float64))
    order = np.lexsort((-apart, -size))
    if without is not None:
        order = order[~np.asarray(without)[order]]
    return np.asarray(genes).astype(str)[order[:k]].tolist()


def rank_scores(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the z of Wilcoxon's rank-sum test of each gene between cells `a` [N, G] and `b` [M, G], ties corrected.

    The `score` of `differential.compare`, five times as fast for some hundreds of cells: many genes are ranked at once.
    A report ranks some hundred pairs of populations.
    """
    n, m = len(a), len(b)
    total = n + m
    out = np.zeros(a.shape[1])
    for start in range(0, a.shape[1], GENES_AT_ONCE):
        some = slice(start, start + GENES_AT_ONCE)
        ranks = rankdata(np.vstack([a[:, some], b[:, some]]), axis=0)
        # the variance of a sum of n of these ranks, drawn without replacement: ties are in it
        spread = np.sqrt(n * m / (total * (total - 1)) * ((ranks - (total + 1) / 2) ** 2).sum(axis=0))
        centred = ranks[:n].sum(axis=0) - n * (total + 1) / 2
        out[some] = np.divide(centred, spread, out=np.zeros(len(spread)), where=spread > 0)
    return out


def overlap(a: Sequence[str], b: Sequence[str], k: int) -> float:
    """Return the share of the first `k` of `b` that are among the first `k` of `a` (0 to 1)."""
    wanted = b[:k]
    return len(set(a[:k]) & set(wanted)) / len(wanted) if len(wanted) else float("nan")


def variance_ratio(cells: np.ndarray, real: np.ndarray, seen: np.ndarray) -> float:
    """Return the median over genes `seen` (bool [G]) of the variance in predicted over that in real cells, log1p.

    Below 1 is too smooth. Which genes must not hang on either set: a gene without a count in one of them would count
    on one side alone (two halves of the same cells then get 0.84 instead of 1).
    """
    a, b = cells[:, seen].var(axis=0, ddof=1), real[:, seen].var(axis=0, ddof=1)
    keep = b > 1e-8
    return float(np.median(a[keep] / b[keep])) if keep.any() else float("nan")


def often_seen(cells: np.ndarray, share: float = 0.1, least: int = 20) -> np.ndarray:
    """Return which genes have a value in at least `share` of the cells, bool [G]; no fewer than `least` of them."""
    found = (cells > 0).mean(axis=0)
    return np.asarray(found >= min(share, np.sort(found)[-min(least, len(found))]))


def target_mask(genes: np.ndarray, targets: Sequence[str]) -> np.ndarray:
    """Return which genes are perturbed themselves, bool [G]; upper and lower case are one."""
    wanted = {t.casefold() for t in targets}
    return np.array([str(g).casefold() in wanted for g in genes], bool)


@dataclass(frozen=True)
class Truth:
    """The real cells of one condition, with what every prediction of it is held against.

    Attributes
    ----------
    log1p, control
        Real perturbed cells [M, G] and real control cells [C, G] of the same type.
    centroid
        Mean of the mean profiles of the training perturbations (of that type), log1p [G].
    genes, targets
        Names [G], and the perturbed ones, which no score looks at.
    space
        Where E-distance and MMD are taken.
    often
        Genes whose variances are compared, bool [G]; None: those that the real cells and controls show often.
    """

    log1p: np.ndarray
    control: np.ndarray
    centroid: np.ndarray
    genes: np.ndarray
    targets: tuple[str, ...]
    space: Space
    often: np.ndarray | None = None

    @classmethod
    def of(cls, log1p: Any, control: Any, centroid: np.ndarray, genes: np.ndarray, targets: Sequence[str],
           space: Space) -> Truth:
        """Make it from dense or sparse cells."""
        return cls(dense(log1p), dense(control), np.asarray(centroid), np.asarray(genes), tuple(targets), space)

    @cached_property
    def mask(self) -> np.ndarray:
        """The perturbed genes, bool [G]."""
        return target_mask(self.genes, self.targets)

    @cached_property
    def top(self) -> list[str]:
        """The genes that differ most from the controls, most first."""
        return top_genes(self.log1p, self.control, self.genes, max(TOP), self.mask)

    @cached_property
    def points(self) -> np.ndarray:
        """The real cells in `space` [M, P]."""
        return self.space.place(self.log1p)

    @cached_property
    def seen(self) -> np.ndarray:
        """The genes whose variances are compared, bool [G]."""
        often = often_seen(np.vstack([self.log1p, self.control])) if self.often is None else self.often
        return np.asarray(often & ~self.mask)

    def halves(self, seed: int) -> tuple[np.ndarray, Truth]:
        """Deal the real cells to two halves: one to take as a prediction, and the truth of the other.

        The floor (for distances) and the ceiling (for agreement) of any prediction with as many cells.
        """
        order = np.random.default_rng(seed).permutation(len(self.log1p))
        half = len(order) // 2
        other = replace(self, log1p=self.log1p[order[half:]], often=self.seen)
        return self.log1p[order[:half]], other


def scores(truth: Truth, cells: Any, mean: np.ndarray | None = None, tested: Any = None) -> dict[str, float]:
    """Return all scores of the predicted `cells` [n, G] of one condition; keys as in `HIGHER`.

    Parameters
    ----------
    mean
        The mean that the method states [G], where it states one; the mean of its cells otherwise.
        ``pearson_cells`` is always of the cells themselves.
    tested
        Cells [n, G] whose differential expression is tested, where those are others (see `baselines`).
    """
    cells = dense(cells)
    own = cells.mean(axis=0, dtype=np.float64)
    stated = own if mean is None else np.asarray(mean, np.float64)
    real = truth.log1p.mean(axis=0, dtype=np.float64)
    control = truth.control.mean(axis=0, dtype=np.float64)
    top = top_genes(cells if tested is None else tested, truth.control, truth.genes, max(TOP), truth.mask)
    placed = truth.space.place(cells)
    return {"pearson": change_agreement(stated, real, control, truth.mask),
            "pearson_centroid": change_agreement(stated, real, truth.centroid, truth.mask),
            "pearson_cells": change_agreement(own, real, control, truth.mask),
            **{f"overlap_{k}": overlap(top, truth.top, k) for k in TOP},
            "e_distance": e_distance(placed, truth.points), "mmd": mmd(placed, truth.points),
            "variance_ratio": variance_ratio(cells, truth.log1p, truth.seen)}


def floor(truth: Truth, splits: int = 5, seed: int = 0) -> tuple[dict[str, float], dict[str, float]]:
    """Return the mean and the standard deviation of each score over random halves of the real cells."""
    found = []
    for i in range(splits):
        half, other = truth.halves(seed * 1000 + i)
        found.append(scores(other, half))
    table = {key: np.array([f[key] for f in found]) for key in found[0]}
    return ({k: float(v.mean()) for k, v in table.items()}, {k: float(v.std(ddof=1)) for k, v in table.items()})
