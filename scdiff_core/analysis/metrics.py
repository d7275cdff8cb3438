"""How alike two sets of cells are: pure functions on arrays, each with its definition and its source.

No figure here means much alone: `report_card` holds each one against real cells (the floor) and baselines.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse
from scipy.spatial.distance import cdist, pdist

Array = Any  # ndarray or csr matrix
RBF_WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)  # times the median distance


def dense(x: Array) -> np.ndarray:
    """Return a dense float32 [N, G] of an array or a sparse matrix, units kept."""
    return np.asarray(x.toarray() if sparse.issparse(x) else x, dtype=np.float32)


def subsample(n_cells: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return the sorted rows [min(n, n_cells)] of a random draw without replacement."""
    return np.sort(rng.permutation(n_cells)[:n])


def rf_auc(a: Array, b: Array, seed: int = 0, *, trees: int = 300, depth: int = 5, folds: int = 5) -> float:
    """Return how well a random forest tells `a` [N, F] from `b` [M, F]: 0.5 not at all, 1 always.

    Mean area under the ROC curve over stratified cross-validation folds (Breiman 2001; the protocol of
    scDiffusion, Luo et al. 2024, on cells that the forest has not seen). The figure grows with cells,
    trees and folds, so compare only figures that share all three. Far below 0.5 means that the sets hold
    near-copies of each other. NaN where a side has fewer than two cells.
    """
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold

    x = np.vstack([dense(a), dense(b)])
    y = np.repeat([0, 1], [a.shape[0], b.shape[0]])
    folds = min(folds, a.shape[0], b.shape[0])
    if folds < 2:
        return float("nan")
    # on 0/1 labels variance is half the Gini impurity: a classifier's trees and votes, in less time
    scores = []
    for fit, held in StratifiedKFold(folds, shuffle=True, random_state=seed).split(x, y):
        forest = RandomForestRegressor(trees, max_depth=depth, max_features="sqrt", n_jobs=1,
                                       random_state=seed).fit(x[fit], y[fit])
        scores.append(roc_auc_score(y[held], forest.predict(x[held])))
    return float(np.mean(scores))


def auc_spread(n: int, m: int) -> float:
    """Return the standard error of an AUC between `n` and `m` cells that are alike.

    The null variance of the Mann-Whitney statistic, (n + m + 1) / (12 n m).
    """
    return float(np.sqrt((n + m + 1) / (12 * n * m)))


def joint_pca(a: Array, b: Array, n: int = 50, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return both sets in principal components [N, P] and [M, P] fitted on the two together.

    The components come from equally many cells of each (the larger set is drawn from), so that neither
    set is favoured; P is at most `n`, the number of cells less one, and the number of genes.
    """
    project = joint_components(a, b, n, seed)
    return project(a), project(b)


def joint_components(a: Array, b: Array, n: int = 50, seed: int = 0) -> Callable[[Array], np.ndarray]:
    """Return the projection of `joint_pca`, to place further cells [K, G] in the same components."""
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(seed)
    size = min(a.shape[0], b.shape[0])
    x = np.vstack([dense(s[subsample(s.shape[0], size, rng)]) for s in (a, b)])
    n = min(n, len(x) - 1, x.shape[1])
    solver = "randomized" if n < min(x.shape) // 2 else "full"
    mean = x.mean(0)
    if not np.any(x != mean):  # nothing varies: every cell lies at the origin
        return lambda cells: np.zeros((cells.shape[0], n), np.float32)
    axes = PCA(n, svd_solver=solver, random_state=seed).fit(x).components_.T.astype(np.float32)
    return lambda cells: np.asarray(cells @ axes, dtype=np.float32) - mean @ axes


def _halves(square: np.ndarray, n: int) -> float:
    """Return within(a) + within(b) - 2 between(a, b) of a matrix over the n + m pooled cells."""
    return float(square[:n, :n].mean() + square[n:, n:].mean() - 2 * square[:n, n:].mean())


def _spread_under_mixing(square: np.ndarray, n: int, rng: np.random.Generator, rounds: int = 30) -> float:
    """Return the standard deviation of `_halves` when cells are dealt to the two sides at random."""
    signs = np.repeat([1.0 / n, -1.0 / (len(square) - n)], [n, len(square) - n]).astype(square.dtype)
    deals = np.stack([rng.permutation(signs) for _ in range(rounds)], axis=1)
    return float(np.std(np.einsum("ij,ij->j", deals, square @ deals)))


def rbf_kernel(points: np.ndarray, widths: tuple[float, ...] = RBF_WIDTHS,
               distance: np.ndarray | None = None) -> np.ndarray:
    """Return the mean of RBF kernels exp(-d² / 2w²) [N, N], each w a multiple of the median distance.

    `distance` are the Euclidean distances of the points [N, N], where they are known already.
    """
    squared = cdist(points, points, "sqeuclidean").astype(np.float32) if distance is None else distance**2
    upper = pdist(points[:: max(1, len(points) // 500)])
    median = float(np.median(upper)) if upper.size else 0.0
    median = median if median > 0 else 1.0
    kernel = np.zeros_like(squared)
    for width in widths:
        kernel += np.exp(squared / np.float32(-2 * (width * median) ** 2))
    return kernel / len(widths)


def mmd(a: np.ndarray, b: np.ndarray, widths: tuple[float, ...] = RBF_WIDTHS) -> float:
    """Return the squared maximum mean discrepancy of two sets of points [N, P], [M, P]; 0 for equal sets.

    E k(x, x') + E k(y, y') - 2 E k(x, y), with the diagonal (Gretton et al. 2012, eq. 5), averaged over
    five RBF kernels whose widths lie round the median distance between the pooled points. Give it
    `joint_pca` coordinates.
    """
    return max(0.0, _halves(rbf_kernel(np.vstack([a, b]), widths), len(a)))


def energy_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return 2 E|X-Y| - E|X-X'| - E|Y-Y'| of two sets of points, Euclidean; 0 for equal sets.

    Székely and Rizzo 2013, with the zero diagonals, as `scipy.stats.energy_distance` squared.
    """
    return max(0.0, -_halves(cdist(np.vstack([a, b]), np.vstack([a, b])), len(a)))


def pooled_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the Euclidean distances of all points of two sets, float32 [N + M, N + M], `a` first."""
    points = np.vstack([a, b])
    return cdist(points, points).astype(np.float32)


def mmd_and_energy(a: np.ndarray, b: np.ndarray, seed: int = 0,
                   distance: np.ndarray | None = None) -> dict[str, tuple[float, float]]:
    """Return `mmd` and `energy` of two sets, each with its spread when the cells are dealt at random.

    `distance` are their `pooled_distances`, where they are known already.
    """
    rng = np.random.default_rng(seed)
    distance = pooled_distances(a, b) if distance is None else distance
    kernel = rbf_kernel(np.vstack([a, b]), distance=distance)
    return {"mmd": (max(0.0, _halves(kernel, len(a))), _spread_under_mixing(kernel, len(a), rng)),
            "energy": (max(0.0, -_halves(distance, len(a))), _spread_under_mixing(distance, len(a), rng))}


def zero_shares(counts: Array) -> np.ndarray:
    """Return each cell's share of genes without a count [N] (0 to 1)."""
    filled = counts.getnnz(axis=1) - (counts.data == 0).any() * _stored_zeros(counts) \
        if sparse.issparse(counts) else np.count_nonzero(counts, axis=1)
    return 1.0 - np.asarray(filled, dtype=float) / max(1, counts.shape[1])


def _stored_zeros(counts: Any) -> np.ndarray:
    """Return how many zeros each row of a csr matrix stores explicitly."""
    rows = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    return np.bincount(rows[counts.data == 0], minlength=counts.shape[0])


def zero_share(counts: Array) -> float:
    """Return the share of entries of counts [N, G] that are zero (0 to 1)."""
    return float(zero_shares(counts).mean()) if counts.shape[0] else float("nan")


def median_library(total_counts: np.ndarray) -> float:
    """Return the median of the cells' total counts [N], in counts."""
    return float(np.median(total_counts)) if len(total_counts) else float("nan")


def gene_correlations(log1p: Array) -> np.ndarray:
    """Return the Pearson correlations of genes [G (G-1) / 2], upper triangle; NaN for constant genes."""
    x = dense(log1p)
    x = x - x.mean(0)
    norm = np.sqrt(np.einsum("ij,ij->j", x, x))
    norm[norm < 1e-6] = np.nan
    x /= norm
    return (x.T @ x)[np.triu_indices(x.shape[1], 1)]


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Return Pearson's correlation of two vectors where both are finite; NaN where it is not defined."""
    keep = np.isfinite(x) & np.isfinite(y)
    x, y = x[keep].astype(float), y[keep].astype(float)
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def gene_correlation_agreement(a: Array, b: Array) -> float:
    """Return Pearson's correlation between the gene-gene correlations of two sets (log1p [N, G], [M, G])."""
    return correlation_agreement(gene_correlations(a), gene_correlations(b))


def correlation_agreement(made: np.ndarray, real: np.ndarray) -> float:
    """Return `gene_correlation_agreement` from `gene_correlations` of generated and of real cells.

    Pairs with a gene that is constant in real cells are left out; one that is constant in generated cells
    alone counts as uncorrelated, so that a collapsed gene is no gain. NaN without two varying real genes.
    """
    keep = np.isfinite(real)
    if keep.sum() < 2 or np.ptp(real[keep]) == 0:
        return float("nan")
    agree = pearson(np.nan_to_num(made[keep]), real[keep])
    return agree if np.isfinite(agree) else 0.0


def gene_variance_ratio(a: Array, b: Array) -> float:
    """Return the median over genes of variance in `a` over variance in `b` (log1p); below 1 is too smooth.

    Genes that do not vary in `b` are left out; NaN if none is left.
    """
    va, vb = dense(a).var(0), dense(b).var(0)
    keep = vb > 1e-8
    return float(np.median(va[keep] / vb[keep])) if keep.any() else float("nan")


def label_classifier(train: Array, labels: np.ndarray, n: int = 50,
                     seed: int = 0) -> Callable[[Array], np.ndarray]:
    """Return a function that names the label of cells (log1p [K, G]), learned from real training cells.

    Logistic regression on the first `n` principal components of the training cells [N, G], scaled to unit
    spread. With one label it always answers that one.
    """
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    labels = np.asarray(labels)
    known = np.unique(labels)
    if len(known) < 2:
        return lambda cells: np.repeat(known[:1], cells.shape[0])
    x = dense(train)
    n = min(n, len(x) - 1, x.shape[1])
    solver = "randomized" if n < min(x.shape) // 2 else "full"
    model = make_pipeline(PCA(n, svd_solver=solver, random_state=seed), StandardScaler(),
                          LogisticRegression(C=0.1, max_iter=300)).fit(x, labels)
    return lambda cells: model.predict(dense(cells))


def label_agreement(classify: Callable[[Array], np.ndarray], cells: Array, labels: np.ndarray) -> float:
    """Return the share of cells (log1p [N, G]) whose label the classifier finds again (0 to 1)."""
    return float(np.mean(classify(cells) == np.asarray(labels))) if cells.shape[0] else float("nan")


def nearest_distance(cells: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return the Euclidean distance [N] from each cell [N, P] to the nearest of `train` [M, P]."""
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=1).fit(train).kneighbors(cells)[0][:, 0]


def copy_rate(cells: np.ndarray, train: np.ndarray, held_out: np.ndarray, quantile: float = 0.05) -> float:
    """Return the share of `cells` that lie suspiciously near to a training cell (0 to 1).

    Near means: no farther from the nearest training cell than the nearest 5 % (`quantile`) of held-out real
    cells are from theirs. Cells as new as held-out ones score about 0.05, copies 1. All three are points
    in one space, best `joint_components` of `cells` and `held_out`.
    """
    return near_rate(nearest_distance(cells, train), nearest_distance(held_out, train), quantile)


def near_rate(distance: np.ndarray, held_out: np.ndarray, quantile: float = 0.05) -> float:
    """Return `copy_rate` from `nearest_distance` of the cells [N] and of held-out cells [M]."""
    return float(np.mean(distance <= np.quantile(held_out, quantile)))


def nearest_neighbour_accuracy(a: np.ndarray, b: np.ndarray) -> float:
    """Return how often a cell's nearest other cell is of its own set: 0.5 alike, 1 apart, 0 copies.

    The leave-one-out 1-nearest-neighbour two-sample test (Lopez-Paz and Oquab 2017) on equally many points
    [N, P] of each.
    """
    from sklearn.neighbors import NearestNeighbors

    points = np.vstack([a, b])
    y = np.repeat([0, 1], [len(a), len(b)])
    if len(points) < 3:
        return float("nan")
    index = NearestNeighbors(n_neighbors=1).fit(points).kneighbors()[1][:, 0]  # a point is not its own
    return float(np.mean([np.mean(y[index][y == k] == k) for k in (0, 1)]))
