"""Metrics against other implementations, closed forms and degenerate sets."""

from __future__ import annotations

import numpy as np
import ot
import pytest
import scipy.spatial
import scipy.stats
from scipy import sparse
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from scdiff_core.analysis import metrics


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_rf_auc_is_that_of_a_random_forest_classifier(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(60, 12)), rng.normal(size=(80, 12)) + 0.4
    x = np.vstack([a, b]).astype(np.float32)
    y = np.r_[np.zeros(60), np.ones(80)]
    scores = []
    for fit, held in StratifiedKFold(5, shuffle=True, random_state=3).split(x, y):
        forest = RandomForestClassifier(40, max_depth=5, random_state=3).fit(x[fit], y[fit])
        scores.append(roc_auc_score(y[held], forest.predict_proba(x[held])[:, 1]))
    assert metrics.rf_auc(a, b, 3, trees=40) == pytest.approx(np.mean(scores), abs=0.01)


def test_rf_auc_of_alike_apart_and_constant_cells(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(150, 8)), rng.normal(size=(150, 8))
    assert abs(metrics.rf_auc(a, b, trees=50) - 0.5) < 4 * metrics.auc_spread(150, 150)
    assert metrics.rf_auc(a, b + 5, trees=20) == pytest.approx(1.0)
    assert metrics.rf_auc(np.ones((20, 4)), np.ones((20, 4)), trees=10) == pytest.approx(0.5)
    assert metrics.rf_auc(a, b, 7, trees=10) == metrics.rf_auc(a, b, 7, trees=10)


def test_rf_auc_far_below_one_half_betrays_copies(rng: np.random.Generator) -> None:
    a = rng.normal(size=(100, 8))
    assert metrics.rf_auc(a, a + 1e-6 * rng.normal(size=a.shape), trees=50) < 0.3


def test_rf_auc_of_three_cells_and_of_one() -> None:
    three = np.arange(12.0).reshape(3, 4)
    assert 0 <= metrics.rf_auc(three, three + 1, trees=10) <= 1
    assert np.isnan(metrics.rf_auc(three[:1], three, trees=10))


def test_auc_spread_is_the_spread_of_the_mann_whitney_statistic(rng: np.random.Generator) -> None:
    ranks = rng.permuted(np.tile(np.arange(1, 81), (20_000, 1)), axis=1)
    draws = (ranks[:, :30].sum(1) - 30 * 31 / 2) / (30 * 50)
    assert metrics.auc_spread(30, 50) == pytest.approx(np.std(draws), rel=0.02)


def test_joint_pca_keeps_distances_and_favours_neither_set(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(40, 6)), rng.normal(size=(200, 6)) * 2
    za, zb = metrics.joint_pca(a, b, 6)
    before = np.linalg.norm(a[:, None] - b[None, :20], axis=2)
    np.testing.assert_allclose(np.linalg.norm(za[:, None] - zb[None, :20], axis=2), before, rtol=1e-4)
    swapped, _ = metrics.joint_pca(b[:40], a, 3)
    straight = metrics.joint_pca(a, b[:40], 3)[1]
    np.testing.assert_allclose(np.abs(swapped), np.abs(straight), atol=1e-3)


def test_joint_pca_fitted_on_one_set_alone_would_favour_it(rng: np.random.Generator) -> None:
    """Why both are used: components of few cells fit those cells, and tell them from their own kind."""
    train, test = rng.normal(size=(60, 200)), rng.normal(size=(60, 200))
    alone = np.linalg.svd(train - train.mean(0), full_matrices=False)[2][:50]
    spread = [np.var((s - train.mean(0)) @ alone.T) for s in (train, test)]
    assert spread[0] > 1.5 * spread[1]
    za, zb = metrics.joint_pca(train, test, 50)
    assert np.var(za) == pytest.approx(np.var(zb), rel=0.1)


def test_joint_components_take_sparse_cells_and_constant_genes(rng: np.random.Generator) -> None:
    x = rng.poisson(1.0, size=(30, 9)).astype(np.float32)
    x[:, 3] = 2
    place = metrics.joint_components(sparse.csr_matrix(x[:15]), x[15:], 50)
    np.testing.assert_allclose(place(sparse.csr_matrix(x)), place(x), atol=1e-4)
    assert place(x).shape == (30, 9)
    za, zb = metrics.joint_pca(np.ones((4, 5)), np.ones((4, 5)))
    assert not za.any() and not zb.any()


def test_mmd_of_two_gaussians_is_the_closed_form(rng: np.random.Generator) -> None:
    """E k for an RBF of width w between N(0, I) and N(m, I) in 2 dimensions: w²/(w²+2) exp(-m²/(2(w²+2)))."""
    ratios = []
    for _ in range(8):
        a, b = rng.normal(size=(700, 2)), rng.normal((1, 0), 1, size=(700, 2))
        w2 = np.median(scipy.spatial.distance.pdist(np.vstack([a, b])[::2])) ** 2
        ratios.append(metrics.mmd(a, b, widths=(1.0,)) / (2 * w2 / (w2 + 2) * (1 - np.exp(-0.5 / (w2 + 2)))))
    assert np.mean(ratios) == pytest.approx(1, abs=0.08)


def test_mmd_of_one_pair_of_points_by_hand() -> None:
    a, b = np.array([[0.0]]), np.array([[2.0]])
    assert metrics.mmd(a, b, widths=(1.0,)) == pytest.approx(2 - 2 * np.exp(-0.5), rel=1e-6)


@pytest.mark.parametrize("distance", [metrics.mmd, metrics.energy_distance])
def test_distances_vanish_for_equal_sets_and_grow_with_the_shift(distance, rng: np.random.Generator) -> None:
    a = rng.normal(size=(50, 4))
    assert distance(a, a.copy()) == pytest.approx(0, abs=1e-6)
    assert distance(a, rng.permutation(a)) == pytest.approx(0, abs=1e-6)
    assert distance(np.ones((5, 3)), np.ones((7, 3))) == pytest.approx(0, abs=1e-9)
    grown = [distance(a, a + s) for s in (0.2, 0.5, 1.0, 3.0)]
    assert grown == sorted(grown) and grown[0] > 0
    assert distance(a, a + 1) == pytest.approx(distance(a + 1, a))


def test_energy_distance_is_scipys_in_one_dimension(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=70), rng.normal(0.5, 2, size=110)
    ours = metrics.energy_distance(a[:, None], b[:, None])
    assert ours == pytest.approx(scipy.stats.energy_distance(a, b) ** 2, rel=1e-9)


def test_energy_distance_lies_below_twice_the_optimal_transport(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(60, 5)), rng.normal(0.7, 1.5, size=(60, 5))
    cost = ot.dist(a, b, metric="euclidean")
    transport = ot.emd2(np.full(60, 1 / 60), np.full(60, 1 / 60), cost)
    ours = metrics.energy_distance(a, b)
    assert 0 < ours < 2 * transport
    within = [ot.dist(s, s, metric="euclidean").mean() for s in (a, b)]
    assert ours == pytest.approx(2 * cost.mean() - sum(within), rel=1e-9)


def test_energy_distance_of_far_gaussians_is_twice_the_gap(rng: np.random.Generator) -> None:
    """For sets far apart E|X-Y| is the gap; within a set E|X-X'| = 2/sqrt(pi) in one dimension."""
    a, b = rng.normal(size=(1500, 1)), rng.normal(50, 1, size=(1500, 1))
    assert metrics.energy_distance(a, b) == pytest.approx(100 - 4 / np.sqrt(np.pi), rel=0.01)


def test_mmd_and_energy_are_the_single_ones_and_know_their_chance(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(200, 3)), rng.normal(size=(200, 3))
    both = metrics.mmd_and_energy(a, b)
    assert both["mmd"][0] == pytest.approx(metrics.mmd(a, b), rel=1e-3)
    assert both["energy"][0] == pytest.approx(metrics.energy_distance(a, b), rel=1e-3)
    draws = [metrics.energy_distance(*np.split(rng.permutation(np.vstack([a, b])), 2)) for _ in range(40)]
    assert both["energy"][1] == pytest.approx(np.std(draws), rel=0.6)


def test_zero_share_counts_stored_zeros_and_is_the_dense_one(rng: np.random.Generator) -> None:
    x = rng.poisson(0.4, size=(20, 30)).astype(np.float32)
    stored = sparse.csr_matrix(x)
    stored.data[:5] = 0
    expected = (stored.toarray() == 0).mean(1)
    np.testing.assert_allclose(metrics.zero_shares(stored), expected)
    np.testing.assert_allclose(metrics.zero_shares(x), (x == 0).mean(1))
    assert metrics.zero_share(x) == pytest.approx((x == 0).mean())


def test_median_library() -> None:
    assert metrics.median_library(np.array([3.0, 1.0, 10.0])) == 3
    assert np.isnan(metrics.median_library(np.array([])))


def test_gene_correlations_are_numpys_and_leave_constant_genes_out(rng: np.random.Generator) -> None:
    x = rng.normal(size=(50, 6)).astype(np.float32)
    upper = np.triu_indices(6, 1)
    np.testing.assert_allclose(metrics.gene_correlations(x), np.corrcoef(x.T)[upper], atol=1e-5)
    x[:, 2] = 1
    got = metrics.gene_correlations(sparse.csr_matrix(x))
    assert np.isnan(got).sum() == 5
    assert metrics.gene_correlation_agreement(x, x) == pytest.approx(1)
    assert metrics.gene_correlation_agreement(np.ones_like(x), x) == 0
    assert np.isnan(metrics.gene_correlation_agreement(x, np.ones_like(x)))
    varied = rng.normal(size=(50, 6))
    collapsed = varied.copy()
    collapsed[:, :3] = 0
    assert metrics.gene_correlation_agreement(collapsed, varied) < 0.9


def test_gene_correlation_agreement_falls_to_nothing_when_genes_are_shuffled(rng: np.random.Generator) -> None:
    x = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 20)) + 0.3 * rng.normal(size=(400, 20))
    halves = metrics.gene_correlation_agreement(x[:200], x[200:])
    shuffled = metrics.gene_correlation_agreement(rng.permuted(x[:200], axis=0), x[200:])
    assert halves > 0.95 and abs(shuffled) < 0.25


def test_gene_variance_ratio_sees_smoothing(rng: np.random.Generator) -> None:
    x = rng.normal(size=(500, 10))
    assert metrics.gene_variance_ratio(0.5 * x, x) == pytest.approx(0.25, rel=1e-4)
    assert metrics.gene_variance_ratio(x, x) == pytest.approx(1)
    assert np.isnan(metrics.gene_variance_ratio(x, np.ones_like(x)))


def test_label_agreement_of_known_wrong_and_single_labels(rng: np.random.Generator) -> None:
    centres = 4 * rng.normal(size=(3, 12))
    which = rng.integers(3, size=240)
    x = centres[which] + rng.normal(size=(240, 12))
    labels = np.array(["B", "NK", "T"])[which]
    classify = metrics.label_classifier(x[:160], labels[:160])
    assert metrics.label_agreement(classify, x[160:], labels[160:]) > 0.95
    assert metrics.label_agreement(classify, sparse.csr_matrix(x[160:]), np.roll(labels[160:], 1)) < 0.6
    alone = metrics.label_classifier(x, np.repeat("T", 240))
    assert alone(x[:2]).tolist() == ["T", "T"]


def test_copy_rate_of_new_cells_copies_and_near_copies(rng: np.random.Generator) -> None:
    train, held, new = (rng.normal(size=(n, 5)) for n in (500, 400, 400))
    assert metrics.copy_rate(new, train, held) == pytest.approx(0.05, abs=0.035)
    assert metrics.copy_rate(train[:100], train, held) == 1
    assert metrics.copy_rate(train[:100] + 1e-3, train, held) == 1
    assert metrics.copy_rate(new + 50, train, held) == 0
    mixed = np.vstack([train[:100], new[:300] + 50])
    assert metrics.copy_rate(mixed, train, held) == pytest.approx(0.25)


def test_nearest_neighbour_accuracy_of_alike_apart_and_copies(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(400, 3)), rng.normal(size=(400, 3))
    assert metrics.nearest_neighbour_accuracy(a, b) == pytest.approx(0.5, abs=0.08)
    assert metrics.nearest_neighbour_accuracy(a, b + 30) == 1
    assert metrics.nearest_neighbour_accuracy(a, a + 1e-9 * rng.normal(size=a.shape)) < 0.02
    assert np.isnan(metrics.nearest_neighbour_accuracy(a[:1], b[:1]))
