import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.decomposition import PCA

from scdiff_core.data import embed
from scdiff_core.data.prepared import project


def blobs(n: int = 240, d: int = 10, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(m, 1, (n // 3, d)) for m in (0, 3, 7)]).astype(np.float32)


@pytest.mark.parametrize(("n", "g"), [(120, 40), (40, 120), (2500, 30)])
def test_pca_is_that_of_sklearn_from_sparse_values(n, g):
    rng = np.random.default_rng(1)
    values = np.maximum(rng.normal(0, 1, (n, 6)) @ rng.normal(0, 1, (6, g)) + rng.normal(0, 0.1, (n, g)), 0)
    mean, components = embed.fit_pca(sp.csr_matrix(values), 6)
    oracle = PCA(6, svd_solver="full").fit(values)
    np.testing.assert_allclose(mean, oracle.mean_, atol=1e-5)
    np.testing.assert_allclose(np.abs((components * oracle.components_).sum(axis=1)), 1, atol=1e-4)
    np.testing.assert_allclose(np.abs(project(sp.csr_matrix(values), mean, components)),
                               np.abs(oracle.transform(values)), atol=2e-3)


def test_pca_signs_are_fixed_and_rows_orthonormal_even_without_spread():
    flat = sp.csr_matrix(np.ones((30, 50), np.float32))
    _, components = embed.fit_pca(flat, 10)
    np.testing.assert_allclose(components @ components.T, np.eye(len(components)), atol=1e-5)
    _, components = embed.fit_pca(blobs(), 4)
    assert (components[np.arange(4), np.abs(components).argmax(axis=1)] > 0).all()


def test_number_of_components_is_bounded_by_cells_and_genes():
    assert embed.fit_pca(np.random.default_rng(0).normal(size=(8, 30)), 50)[1].shape == (7, 30)
    assert embed.fit_pca(np.random.default_rng(0).normal(size=(80, 5)), 50)[1].shape == (5, 5)


def test_neighbours_are_exact_and_begin_with_the_cell_itself_also_among_twins():
    X = blobs()
    X[1] = X[0]
    index, distance = embed.neighbours(X, 8)
    np.testing.assert_array_equal(index[:, 0], np.arange(len(X)))
    true = np.sort(np.linalg.norm(X[:, None] - X[None], axis=2), axis=1)[:, :8]
    np.testing.assert_allclose(distance, true, atol=5e-3)
    assert all(len(set(row)) == 8 for row in index.tolist())


def test_fuzzy_graph_is_that_of_umap():
    from umap.umap_ import fuzzy_simplicial_set

    X = blobs()
    index, distance = embed.neighbours(X, 15)
    oracle = fuzzy_simplicial_set(X, 15, np.random.RandomState(0), "euclidean", knn_indices=index,
                                  knn_dists=distance)[0]
    assert abs(oracle - embed.fuzzy_graph(index, distance)).max() < 1e-4


@pytest.fixture(scope="module")
def fitted():
    from umap import UMAP

    X = blobs(390)
    train, new = X[::2], X[1::2]
    return train, new, UMAP(n_neighbors=15, min_dist=embed.MIN_DIST, random_state=3).fit(train)


def test_transform_from_arrays_is_that_of_a_fitted_umap(fitted):
    train, new, oracle = fitted
    model = embed.UmapModel(train, oracle.embedding_)
    error = np.linalg.norm(model.transform(new) - oracle.transform(new), axis=1) / oracle.embedding_.std()
    assert np.median(error) < 0.1
    assert np.quantile(error, 0.9) < 0.4
    placed = embed.Landmarks(train, oracle.embedding_, 5).place(new)[0]
    assert np.median(error) < np.median(np.linalg.norm(placed - oracle.transform(new), axis=1)
                                        / oracle.embedding_.std())


def test_transform_is_the_same_twice_and_finite_far_away(fitted):
    train, new, oracle = fitted
    model = embed.UmapModel(train, oracle.embedding_)
    model.warm()
    np.testing.assert_array_equal(model.transform(new), model.transform(new))
    assert np.isfinite(model.transform(new + 1000)).all()
    assert model.transform(new[:0]).shape == (0, 2)


def test_fit_parts_what_is_apart_and_repeats_with_its_seed():
    X = blobs()
    first = embed.fit_umap(X, seed=1)
    np.testing.assert_array_equal(first, embed.fit_umap(X, seed=1))
    labels = np.repeat([0, 1, 2], 80)
    index, _ = embed.nearest_rows(first, first, 6)
    assert (labels[index[:, 1:]] == labels[:, None]).mean() > 0.98


@pytest.mark.parametrize("n", [2, 4, 5, 12, 40])
def test_few_cells_still_get_a_place(n):
    X = blobs()[:n]
    xy = embed.fit_umap(X)
    assert xy.shape == (n, 2) and np.isfinite(xy).all()
    assert np.isfinite(embed.UmapModel(X, xy).transform(X[:2] + 0.1)).all()


def test_landmarks_place_a_real_cell_at_itself_and_tell_the_distance():
    X, xy = blobs(), np.random.default_rng(0).normal(size=(240, 2)).astype(np.float32)
    marks = embed.Landmarks(X, xy, 5)
    placed, distance = marks.place(X[:20])
    np.testing.assert_allclose(placed, xy[:20], atol=1e-2)
    np.testing.assert_allclose(distance, 0, atol=1e-2)
    _, far = marks.place(X[:1] + 100)
    assert far[0] > 100
    assert len(embed.Landmarks(X, xy, 3, n_max=50).xy) == 50
