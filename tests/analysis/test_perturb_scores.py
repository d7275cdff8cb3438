"""Each score of a predicted population, with numbers worked out by hand or by another implementation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import energy_distance as scipy_energy

from scdiff_core.analysis.perturb import scores

GENES = np.array(["A", "B", "C", "D"])


def test_e_distance_of_three_points_by_hand() -> None:
    # X = {0, 2}, Y = {1, 1}: E|X-Y| = 1; E|X-X'| over different cells = 2; E|Y-Y'| = 0; so 2·1 - 2 - 0 = 0
    assert scores.e_distance(np.array([[0.0], [2.0]]), np.array([[1.0], [1.0]])) == pytest.approx(0.0)
    # X = {0, 0}, Y = {3, 4 along another axis}: E|X-Y| = 3.5, E|Y-Y'| = 5, so 7 - 0 - 5 = 2
    assert scores.e_distance(np.zeros((2, 2)), np.array([[3.0, 0.0], [0.0, 4.0]])) == pytest.approx(2.0)


def test_e_distance_is_scipys_without_the_zero_diagonals() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 1)), rng.normal(1.0, 2.0, size=(40, 1))
    whole = scipy_energy(x[:, 0], y[:, 0]) ** 2
    within = [np.abs(v - v.T).sum() * (1 / (len(v) * (len(v) - 1)) - 1 / len(v) ** 2) for v in (x, y)]
    assert scores.e_distance(x, y) == pytest.approx(whole - sum(within))


def test_distances_of_cells_of_one_kind_are_zero_on_average() -> None:
    rng = np.random.default_rng(1)
    draws = [rng.normal(size=(2, 20, 5)) for _ in range(200)]
    for distance in (scores.e_distance, scores.mmd):
        values = np.array([distance(a, b) for a, b in draws])
        assert abs(values.mean()) < 3 * values.std() / np.sqrt(len(values))
        assert values.min() < 0


def test_distances_need_two_cells() -> None:
    assert np.isnan(scores.e_distance(np.zeros((1, 2)), np.zeros((5, 2))))
    assert np.isnan(scores.mmd(np.zeros((5, 2)), np.zeros((1, 2))))


def test_mmd_by_hand() -> None:
    # Y at -1 and 1: median 2. X both at 0: k(x, x') = 1; k(y, y') = exp(-4/8w²); k(x, y) = exp(-1/8w²)
    x, y = np.zeros((2, 1)), np.array([[-1.0], [1.0]])
    widths = (0.5, 1.0)
    expected = np.mean([1 + np.exp(-4 / (8 * w**2)) - 2 * np.exp(-1 / (8 * w**2)) for w in widths])
    assert scores.mmd(x, y, widths) == pytest.approx(expected)


def test_pearson_of_change_by_hand() -> None:
    control = np.array([1.0, 1.0, 1.0, 1.0])
    real = control + np.array([1.0, 2.0, 3.0, -6.0])
    assert scores.change_agreement(control + np.array([2.0, 4.0, 6.0, -12.0]), real, control) == pytest.approx(1.0)
    # changes (1, -1, 0, 0) and (1, 2, 3, -6) have the product -1 and the sizes √2 and √50
    assert scores.change_agreement(control + np.array([1.0, -1, 0, 0]), real, control) == pytest.approx(-0.1)
    # without D: (1, -1, 0) and, less their mean of 2, (-1, 0, 1): -1 / (√2 · √2)
    assert scores.change_agreement(control + np.array([1.0, -1, 0, 0]), real, control,
                                   GENES == "D") == pytest.approx(-0.5)


def test_a_prediction_that_is_the_reference_scores_nothing() -> None:
    control, real = np.ones(4), np.array([1.0, 2.0, 3.0, 4.0])
    assert scores.change_agreement(control, real, control) == 0.0
    assert scores.change_agreement(control + 1e-8, real, control) == 0.0
    assert np.isnan(scores.change_agreement(real, control, control))


def test_mean_response_has_pearson_of_change_against_control_and_none_against_the_centroid() -> None:
    rng = np.random.default_rng(2)
    common, own = rng.normal(size=50), rng.normal(size=(6, 50)) * 0.3
    control, perturbed = np.zeros(50), common + own
    centroid = perturbed[1:].mean(axis=0)
    assert scores.change_agreement(centroid, perturbed[0], control) > 0.9
    assert scores.change_agreement(centroid, perturbed[0], centroid) == 0.0


def test_overlap_counts_what_both_lists_begin_with() -> None:
    assert scores.overlap(["A", "B", "C"], ["B", "D", "A"], 2) == 0.5
    assert scores.overlap(["A", "B"], ["B", "A"], 20) == 1.0
    assert np.isnan(scores.overlap(["A"], [], 20))


def test_top_genes_come_by_score_and_leave_the_target_out() -> None:
    control = np.zeros((6, 4))
    cells = np.zeros((6, 4))
    cells[:, 0] = 5.0  # all cells
    cells[:4, 1] = 1.0
    cells[:2, 2] = 9.0
    assert scores.top_genes(cells, control, GENES, 3) == ["A", "B", "C"]
    assert scores.top_genes(cells, control, GENES, 2, scores.target_mask(GENES, ["a"])) == ["B", "C"]


def test_variance_ratio_looks_at_genes_that_are_often_seen() -> None:
    real = np.zeros((20, 3))
    real[:10, 0], real[:10, 1], real[0, 2] = 2.0, 4.0, 1.0
    assert scores.often_seen(real, 0.1, 1).tolist() == [True, True, False]
    assert scores.often_seen(real, 0.1, 3).tolist() == [True, True, True]
    # half the values, a quarter of the variance; a gene with one value does not count
    assert scores.variance_ratio(real / 2, real, scores.often_seen(real, 0.1, 1)) == pytest.approx(0.25)


def test_space_has_unit_axes_and_the_mean_at_the_origin() -> None:
    rng = np.random.default_rng(3)
    cells = rng.normal(size=(50, 6)) + 3
    space = scores.Space.fit(cells, 4)
    placed = space.place(cells)
    assert placed.shape == (50, 4)
    assert np.allclose(placed.mean(axis=0), 0, atol=1e-4)
    assert np.allclose(space.components @ space.components.T, np.eye(4), atol=1e-5)


def _truth(rng: np.random.Generator, n: int = 60) -> scores.Truth:
    control = rng.poisson(2.0, (n, 30)) * 0.5
    real = rng.poisson(np.r_[np.full(10, 5.0), np.full(20, 2.0)], (n, 30)) * 0.5
    genes = np.array([f"g{i}" for i in range(30)])
    space = scores.Space.fit(np.vstack([control, real]))
    return scores.Truth.of(real, control, np.full(30, 1.0), genes, ("g0",), space)


def test_scores_of_perfect_cells_and_of_controls() -> None:
    truth = _truth(np.random.default_rng(4))
    good = scores.scores(truth, truth.log1p)
    assert good["pearson"] == pytest.approx(1) and good["pearson_centroid"] == pytest.approx(1)
    assert good["overlap_20"] == 1 and good["variance_ratio"] == pytest.approx(1) and good["e_distance"] < 0
    none = scores.scores(truth, truth.control)
    assert none["pearson"] == 0 and none["e_distance"] > 1
    assert set(good) == set(scores.HIGHER)


def test_the_stated_mean_is_what_pearson_is_taken_of() -> None:
    truth = _truth(np.random.default_rng(5))
    found = scores.scores(truth, truth.control, truth.log1p.mean(axis=0))
    assert found["pearson"] == pytest.approx(1) and found["pearson_cells"] == 0


def test_the_target_gene_gives_nothing_away() -> None:
    truth = _truth(np.random.default_rng(6))
    told = truth.control.copy()
    told[:, 0] += 10
    assert scores.scores(truth, told, told.mean(axis=0))["pearson"] == 0
    assert "g0" not in truth.top


def test_floor_lies_round_zero_and_one() -> None:
    mean, spread = scores.floor(_truth(np.random.default_rng(7), 200), splits=8)
    assert abs(mean["e_distance"]) < 3 * spread["e_distance"]
    assert mean["variance_ratio"] == pytest.approx(1, abs=0.1)
    assert 0.9 < mean["pearson"] < 1
