"""PCA, neighbours and UMAP of the training cells, and where other cells lie in them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

N_NEIGHBORS = 15
MIN_DIST = 0.3
SPREAD = 1.0
_EXACT_UP_TO = 100_000  # cells: 6 s at 29,000 and quadratic; descent takes 69 s at 36,000, compiling included
_TRANSFORM_SEED = 42  # umap's own default


def fit_pca(log1p_train: Any, n: int = 50, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Fit a PCA (centred, not scaled) on log1p values of the training cells [N, G], sparse or dense.

    Returns
    -------
    mean, components
        float32 [G] and [P, G] with orthonormal rows, P = min(n, N − 1, G). The sign of each component is
        such that its largest loading is positive.
    """
    n_cells, n_genes = log1p_train.shape
    n = max(1, min(n, n_cells - 1, n_genes))
    mean = np.asarray(log1p_train.mean(axis=0), np.float64).ravel()
    if n_genes <= 3000 or n_cells <= 3000:
        components = _gram_pca(log1p_train, mean, n)
    else:
        from sklearn.decomposition import PCA

        values = log1p_train.tocsr() if sp.issparse(log1p_train) else np.asarray(log1p_train)
        components = PCA(n, svd_solver="arpack", random_state=seed).fit(values).components_
    signs = np.sign(components[np.arange(n), np.abs(components).argmax(axis=1)])
    components = components * np.where(signs == 0, 1, signs)[:, None]
    return mean.astype(np.float32), np.ascontiguousarray(components, np.float32)


def _gram_pca(values: Any, mean: np.ndarray, n: int) -> np.ndarray:
    """Return the leading right singular vectors [n, G] of the centred values by the smaller Gram matrix.

    Made of dense blocks of 2,000 cells: a sparse product of this density takes twenty times longer.
    """
    from scipy.linalg import eigh

    n_cells, n_genes = values.shape
    blocks = [slice(i, i + 2000) for i in range(0, n_cells, 2000)]

    def dense(rows: slice) -> np.ndarray:
        part = values[rows].toarray() if sp.issparse(values) else np.asarray(values[rows])
        return part.astype(np.float64) - mean

    if n_genes <= n_cells:
        gram = np.zeros((n_genes, n_genes))
        for rows in blocks:
            part = dense(rows)
            gram += part.T @ part
        return eigh(gram, subset_by_index=(n_genes - n, n_genes - 1))[1][:, ::-1].T
    centred = np.concatenate([dense(rows) for rows in blocks])
    left = eigh(centred @ centred.T, subset_by_index=(n_cells - n, n_cells - 1))[1][:, ::-1]
    return np.linalg.qr(centred.T @ left)[0].T  # orthonormal also where nothing is left to explain


def neighbours(X: np.ndarray, k: int = N_NEIGHBORS, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return indices int32 [N, k] and Euclidean distances float32 [N, k] of each row's nearest rows.

    The first neighbour is the row itself, as UMAP wants it. Exact up to 100,000 rows, by nearest neighbour
    descent above.
    """
    X = np.ascontiguousarray(X, np.float32)
    k = min(k, len(X))
    if len(X) > _EXACT_UP_TO:
        from pynndescent import NNDescent

        index, distance = NNDescent(X, n_neighbors=k, random_state=seed).neighbor_graph
        return index.astype(np.int32), distance.astype(np.float32)
    index, distance = nearest_rows(X, X, k)
    own = np.arange(len(X), dtype=np.int32)
    for i in np.flatnonzero(index[:, 0] != own):  # ties: equal rows, or rounding
        at = np.flatnonzero(index[i] == own[i])
        j = int(at[0]) if len(at) else k - 1
        index[i, 1:j + 1] = index[i, :j].copy()
        distance[i, 1:j + 1] = distance[i, :j].copy()
        index[i, 0] = own[i]
    distance[:, 0] = 0
    return index, distance


def nearest_rows(queries: np.ndarray, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return indices int32 [n, k] and Euclidean distances float32 [n, k] of the nearest of `rows`."""
    from sklearn.neighbors import NearestNeighbors

    found = NearestNeighbors(n_neighbors=min(k, len(rows)), algorithm="brute").fit(rows)
    distance, index = found.kneighbors(queries)
    return index.astype(np.int32), distance.astype(np.float32)


def memberships(distance: np.ndarray, fitting: bool) -> np.ndarray:
    """Return the fuzzy membership strengths [n, k] of each row's neighbours (McInnes et al. 2018, section 3.1).

    ``exp(−max(0, d − rho) / sigma)``, sigma such that a row's sum (without its first) is log2(k). While fitting,
    rho is the distance to the nearest other cell; while transforming it is 0, as in umap. This is umap's
    `smooth_knn_dist` with `compute_membership_strengths`, which take 6 s to compile in every process.
    """
    distance = distance.astype(np.float64)
    n, k = distance.shape
    rho = np.zeros(n)
    if fitting:
        rho = np.where(distance > 0, distance, np.inf).min(axis=1)
        rho[~np.isfinite(rho)] = 0.0
    beyond = np.maximum(distance - rho[:, None], 0.0)
    low, high, sigma = np.zeros(n), np.full(n, np.inf), np.ones(n)
    for _ in range(64):
        total = np.exp(-beyond[:, 1:] / sigma[:, None]).sum(axis=1)
        off = np.abs(total - np.log2(k)) >= 1e-5
        if not off.any():
            break
        high = np.where(off & (total > np.log2(k)), sigma, high)
        low = np.where(off & (total <= np.log2(k)), sigma, low)
        sigma = np.where(off, np.where(np.isinf(high), sigma * 2, (low + high) / 2), sigma)
    sigma = np.maximum(sigma, 1e-3 * np.where(rho > 0, distance.mean(axis=1), distance.mean()))
    return np.where(beyond > 0, np.exp(-beyond / np.maximum(sigma, 1e-300)[:, None]), 1.0).astype(np.float32)


def fuzzy_graph(index: np.ndarray, distance: np.ndarray) -> sp.csr_matrix:
    """Return the symmetric graph [N, N] of neighbours as `neighbours` gives them: a + b − ab of both directions."""
    n, k = index.shape
    weight = memberships(distance, fitting=True)
    weight[index == np.arange(n)[:, None]] = 0.0
    rows = np.repeat(np.arange(n), k)
    graph = sp.csr_matrix((weight.ravel(), (rows, index.ravel())), shape=(n, n))
    graph.eliminate_zeros()
    return (graph + graph.T - graph.multiply(graph.T)).tocsr()


def fit_umap(X_pca_train: np.ndarray, seed: int = 0, n_neighbors: int = N_NEIGHBORS,
             min_dist: float = MIN_DIST) -> np.ndarray:
    """Fit a UMAP (McInnes et al. 2018) of PCA scores [N, P] and return the embedding, float32 [N, 2].

    With fewer than five cells the first two components are returned.
    """
    X = np.ascontiguousarray(X_pca_train, np.float32)
    n = len(X)
    if n < 5:
        return np.pad(X[:, :2], ((0, 0), (0, max(0, 2 - X.shape[1]))))
    graph = fuzzy_graph(*neighbours(X, min(n_neighbors, n - 1), seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of parts that are not connected: told by the picture
        from umap.umap_ import find_ab_params, simplicial_set_embedding

        a, b = find_ab_params(SPREAD, min_dist)
        embedding, _ = simplicial_set_embedding(
            X, graph, n_components=2, initial_alpha=1.0, a=a, b=b, gamma=1.0, negative_sample_rate=5,
            n_epochs=None, init="spectral" if n > 50 else "random", random_state=np.random.RandomState(seed),
            metric="euclidean", metric_kwds={}, densmap=False, densmap_kwds={}, output_dens=False)
    embedding = np.asarray(embedding, np.float32)
    lost = ~np.isfinite(embedding).all(axis=1)
    embedding[lost] = embedding[~lost].mean(axis=0) if not lost.all() else 0.0
    return embedding


@dataclass(frozen=True)
class UmapModel:
    """A fitted UMAP, rebuilt from arrays: the training cells' PCA scores and their embedding.

    `transform` does what `umap.UMAP.transform` does (same neighbours, memberships, start and layout), so
    nothing has to be unpickled and no search index has to be built.

    Parameters
    ----------
    X_pca
        float32 [N, P] of the training cells.
    embedding
        float32 [N, 2] of the same cells.
    """

    X_pca: np.ndarray
    embedding: np.ndarray
    n_neighbors: int = N_NEIGHBORS
    min_dist: float = MIN_DIST

    def transform(self, X_pca: np.ndarray) -> np.ndarray:
        """Return where new cells with PCA scores [n, P] lie in the embedding; float32 [n, 2]."""
        n, k = len(X_pca), min(self.n_neighbors, len(self.X_pca) - 1)
        if n == 0 or k < 4:
            return Landmarks(self.X_pca, self.embedding).place(X_pca)[0]
        index, distance = nearest_rows(np.ascontiguousarray(X_pca, np.float32), self.X_pca, k)
        rows = np.repeat(np.arange(n, dtype=np.int32), k)
        graph = sp.coo_matrix((memberships(distance, fitting=False).ravel(), (rows, index.ravel())),
                              shape=(n, len(self.X_pca)))
        start = _start(graph.tocsr(), self.embedding)
        n_epochs = 100 if n <= 10_000 else 30
        graph.data[graph.data < graph.data.max() / n_epochs] = 0.0
        graph.eliminate_zeros()
        from umap.layouts import optimize_layout_euclidean
        from umap.umap_ import find_ab_params, make_epochs_per_sample

        a, b = find_ab_params(SPREAD, self.min_dist)
        low, high = np.iinfo(np.int32).min + 1, np.iinfo(np.int32).max - 1
        state = np.random.RandomState(_TRANSFORM_SEED).randint(low, high, 3).astype(np.int64)
        placed = optimize_layout_euclidean(
            start, self.embedding.astype(np.float32, copy=True), graph.row, graph.col, n_epochs, graph.shape[1],
            make_epochs_per_sample(graph.data, n_epochs), a, b, state, 1.0, 0.25, 5, parallel=False)
        return np.asarray(placed, np.float32)

    def warm(self) -> None:
        """Compile what `transform` needs, so that the first real call is quick."""
        self.transform(self.X_pca[:2] + np.float32(0.01))


def _start(graph: sp.csr_matrix, embedding: np.ndarray) -> np.ndarray:
    """Return the weighted mean of each cell's neighbours, or the place of one with weight 1 [n, 2]."""
    total = np.maximum(np.asarray(graph.sum(axis=1)), 1e-12)
    start = np.asarray(graph @ embedding / total, np.float32)
    ones = sp.coo_matrix(graph == 1)
    for row, column in zip(ones.row[::-1], ones.col[::-1], strict=True):
        start[row] = embedding[column]
    return start


class Landmarks:
    """Quick places in an embedding, by the nearest of at most 5,000 real cells.

    Such a placing flatters a bad model (it can show no cell off the real ones): the distance comes with it.

    Parameters
    ----------
    X_pca, xy
        float32 [N, P] and [N, 2] of real cells.
    k
        How many nearest cells a place is the mean of, weighted by 1 / distance.
    """

    def __init__(self, X_pca: np.ndarray, xy: np.ndarray, k: int = 5, n_max: int = 5000,
                 seed: int = 0) -> None:
        if len(X_pca) > n_max:
            chosen = np.sort(np.random.default_rng(seed).choice(len(X_pca), n_max, replace=False))
            X_pca, xy = X_pca[chosen], xy[chosen]
        self.X_pca = np.ascontiguousarray(X_pca, np.float32)
        self.xy = np.ascontiguousarray(xy, np.float32)
        self.k = min(k, len(self.X_pca))

    def place(self, X_pca: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return places float32 [n, 2] and distances float32 [n] to the nearest landmark (PCA units)."""
        if len(X_pca) == 0:
            return np.zeros((0, 2), np.float32), np.zeros(0, np.float32)
        index, distance = nearest_rows(np.ascontiguousarray(X_pca, np.float32), self.X_pca, self.k)
        weight = 1 / np.maximum(distance.astype(np.float64), 1e-6)
        weight /= weight.sum(axis=1, keepdims=True)
        xy = np.einsum("nk,nkd->nd", weight, self.xy[index].astype(np.float64))
        return xy.astype(np.float32), distance[:, 0].copy()
