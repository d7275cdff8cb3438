"""What sets cell types apart, generated beside real: fold changes, confusion, and the protocol of CFGen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from scdiff_core.analysis import metrics, transport

MIN_CELLS = 20  # of a type on each side; with fewer, fold changes are mostly chance
PSEUDOCOUNT = 1.0  # added to a mean, in counts per 10,000
EXPRESSED = 1.0  # least mean over all training cells, in counts per 10,000, for a gene to take part
CFGEN_COMPONENTS = 30
CFGEN_GAMMAS = (2.0, 1.0, 0.5, 0.1, 0.01, 0.005)


def is_log(*sets: Any) -> bool:
    """Say whether values can be logarithms of something: none below 0, none beyond all counts."""
    values = [x.data if sparse.issparse(x) else np.asarray(x).ravel() for x in sets]
    return all(not v.size or (float(v.min()) >= 0 and float(v.max()) < 25) for v in values)


def _linear(x: Any) -> Any:
    return x.expm1() if sparse.issparse(x) else np.expm1(np.asarray(x, float))


def mean_expression(log1p: Any) -> np.ndarray:
    """Return each gene's mean [G] of expm1(log1p), in counts per 10,000; of the values where they are no logs."""
    x = _linear(log1p) if is_log(log1p) else log1p
    return np.asarray(x.mean(axis=0), float).ravel()


def log2_fold_changes(log1p: Any, labels: np.ndarray, known: Sequence[str], *, logs: bool = True,
                      pseudocount: float = PSEUDOCOUNT) -> np.ndarray:
    """Return each label's log2 fold change of every gene against all other labelled cells: [labels, G].

    log2((mean in the label + c) / (mean in the rest + c)) of expm1(log1p), c the pseudocount; where the values are
    no logs (`logs` false), the difference of their means. NaN for a label without cells, or without a rest.
    """
    labels = np.asarray(labels).astype(str)
    x = sparse.csr_matrix(log1p, dtype=np.float64)
    x = x.expm1() if logs else x
    groups = sparse.csr_matrix(np.stack([labels == k for k in known]).astype(float))
    sums, sizes = np.asarray((groups @ x).todense()), np.asarray(groups.sum(1)).ravel()
    labelled = np.flatnonzero(labels != "")
    total = np.asarray(x[labelled].sum(0)).ravel()
    with np.errstate(invalid="ignore", divide="ignore"):
        inside = sums / sizes[:, None]
        outside = (total - sums) / (len(labelled) - sizes)[:, None]
        if not logs:
            return inside - outside
        return np.log2((inside + pseudocount) / (np.maximum(outside, 0) + pseudocount))


def orthogonal_slope(x: np.ndarray, y: np.ndarray) -> float:
    """Return the slope of the line that is nearest to the points in both directions; NaN where there is none.

    Orthogonal regression (Deming with equal error variances). Fold changes of real cells are measured with the same
    error as those of as many generated ones; least squares of y on x would take that error for a slope below 1.
    """
    keep = np.isfinite(x) & np.isfinite(y)
    if keep.sum() < 3:
        return float("nan")
    (xx, xy), (_, yy) = np.cov(x[keep], y[keep])
    if xx + yy <= 0 or xy == 0:
        return float("nan") if xx == 0 else 0.0 if xx >= yy else float("nan")
    return float((yy - xx + np.sqrt((yy - xx) ** 2 + 4 * xy**2)) / (2 * xy))


def fold_change_agreement(real: Any, real_labels: np.ndarray, made: Any, made_labels: np.ndarray,
                          genes: np.ndarray) -> dict[str, dict[str, float]]:
    """Return how the fold changes of each type against the rest agree: label -> n, slope, r; "" for all together.

    Parameters
    ----------
    real, made
        log1p [N, G] and [M, G]; best equally many cells of each label, since `slope` is that of
        `orthogonal_slope` with the real cells as x.
    genes
        Which genes take part, by position; best chosen on training cells (`expressed_genes`).

    Labels with fewer than 20 cells on a side are left out; empty where none is left.
    """
    real_labels, made_labels = np.asarray(real_labels).astype(str), np.asarray(made_labels).astype(str)
    sizes = {k: min(int((real_labels == k).sum()), int((made_labels == k).sum())) for k in np.unique(real_labels)
             if k != ""}
    known = [str(k) for k, n in sizes.items() if n >= MIN_CELLS]
    if not known or len(sizes) < 2 or len(genes) < 3:
        return {}
    logs = is_log(real, made)
    x = log2_fold_changes(real[:, genes], real_labels, known, logs=logs)
    y = log2_fold_changes(made[:, genes], made_labels, known, logs=logs)
    found = {k: {"n": float(sizes[k]), "slope": orthogonal_slope(x[i], y[i]), "r": metrics.pearson(x[i], y[i])}
             for i, k in enumerate(known)}
    found[""] = {"n": float(sum(sizes[k] for k in known)), "slope": orthogonal_slope(x.ravel(), y.ravel()),
                 "r": metrics.pearson(x.ravel(), y.ravel())}
    return found


def expressed_genes(train: Any) -> np.ndarray:
    """Return the genes whose mean over training cells (log1p [N, G]) is at least 1 count per 10,000, by position.

    All genes where the values are no logs, or where no three genes are expressed so much.
    """
    if not is_log(train):
        return np.arange(train.shape[1])
    chosen = np.flatnonzero(mean_expression(train) >= EXPRESSED)
    return chosen if len(chosen) >= 3 else np.arange(train.shape[1])


def confusion(classify: Callable[[Any], np.ndarray], log1p: Any, labels: np.ndarray,
              known: Sequence[str]) -> np.ndarray:
    """Return how many cells of each label (row) a classifier gives each label (column): int [K, K]."""
    labels = np.asarray(labels).astype(str)
    rows = np.flatnonzero(np.isin(labels, known))
    table = np.zeros((len(known), len(known)), int)
    if not len(rows):
        return table
    place = {k: i for i, k in enumerate(known)}
    said = np.asarray(classify(log1p[rows])).astype(str)
    for asked, found in zip(labels[rows], said, strict=True):
        if found in place:
            table[place[asked], place[found]] += 1
    return table


def cfgen_w2(made: Any, made_labels: np.ndarray, real: Any, real_labels: np.ndarray, *,
             components: int = CFGEN_COMPONENTS, seed: int = 0) -> dict[str, Any]:
    """Return the figures of CFGen's protocol: exact 2-Wasserstein and RBF MMD, type by type, then averaged.

    Principal components (30, centred) are fitted on the real test cells alone; of each type equally many cells of
    both are compared (Palma et al. 2025, table 1, whose PBMC3k figures are 11.17 for CFGen and 9.80 for real
    cells). Components of the test cells favour these, so hold the figure against that of as many real training
    cells. MMD is the mean over RBF kernels exp(−gamma d²), gamma 2, 1, 0.5, 0.1, 0.01 and 0.005.

    Returns
    -------
    `w2`, `mmd`, and `types`: label -> n, w2, mmd. Types with fewer than two cells on a side are left out; NaN where
    none is left.
    """
    from sklearn.decomposition import PCA

    x, y = metrics.dense(real), metrics.dense(made)
    n = max(1, min(components, len(x) - 1, x.shape[1]))
    pca = PCA(n, svd_solver="randomized" if n < min(x.shape) // 2 else "full", random_state=seed).fit(x)
    a, b = pca.transform(x), pca.transform(y)
    real_labels, made_labels = np.asarray(real_labels).astype(str), np.asarray(made_labels).astype(str)
    rng, found = np.random.default_rng(seed), {}
    for k in np.unique(real_labels[real_labels != ""]):
        of, to = np.flatnonzero(real_labels == k), np.flatnonzero(made_labels == k)
        size = min(len(of), len(to))
        if size < 2:
            continue
        p, q = (z[rows[metrics.subsample(len(rows), size, rng)]] for z, rows in ((a, of), (b, to)))
        found[str(k)] = {"n": size, "w2": transport.wasserstein2(p, q), "mmd": gamma_mmd(p, q)}
    means = {key: float(np.mean([t[key] for t in found.values()])) if found else float("nan") for key in ("w2", "mmd")}
    return {**means, "types": found}


def gamma_mmd(a: np.ndarray, b: np.ndarray, gammas: Sequence[float] = CFGEN_GAMMAS) -> float:
    """Return the squared MMD of two sets, the mean over RBF kernels exp(−gamma d²), with the diagonals."""
    from scipy.spatial.distance import cdist

    aa, bb, ab = cdist(a, a, "sqeuclidean"), cdist(b, b, "sqeuclidean"), cdist(a, b, "sqeuclidean")
    return float(np.mean([np.exp(-g * aa).mean() + np.exp(-g * bb).mean() - 2 * np.exp(-g * ab).mean()
                          for g in gammas]))
