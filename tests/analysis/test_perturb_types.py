"""What each type makes of a program, the mean response, and intervals seen through noise."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy.stats import norm

from scdiff_core.analysis.perturb import by_type, interval
from scdiff_core.analysis.perturb.arms import collect
from scdiff_core.analysis.perturb.embeddings import from_table, told_apart
from scdiff_core.analysis.perturb.kernels import Item
from scdiff_core.analysis.perturb.programs_of_arms import shrink
from scdiff_core.analysis.perturb.typical import typical
from scdiff_core.config import Roles
from scdiff_core.data.perturbations import parse


def test_sensitivity_is_the_slope_of_the_mean_in_the_log_of_the_rate() -> None:
    control = np.array([0.1, 0.5, 1.0, 3.0])
    slope = (np.log1p(np.expm1(control) * np.exp(1e-6)) - control) / 1e-6
    usual = 1 - np.exp(-np.full(4, 0.7))
    np.testing.assert_allclose(by_type.sensitivity(control, usual),
                               (slope + by_type.SENSED) / (usual + by_type.SENSED), rtol=1e-4)
    np.testing.assert_array_equal(by_type.sensitivity(control - 1, usual), 1.0)  # no log1p


def test_one_stimulus_in_many_types_does_not_tell_types_apart() -> None:
    many = [Item(parse("stim"), None, t) for t in "abcdef"]
    assert not by_type.several_types(many)
    assert by_type.several_types([Item(parse(p), None, t) for p in ("A", "B", "C") for t in "ab"])
    assert not by_type.several_types([Item(parse(p), None, "") for p in ("A", "B", "C")])


def test_the_mean_response_counts_each_alike_and_grows_with_parts() -> None:
    direction = np.array([1.0, -1.0, 0.0])
    items = [Item(parse(p), None, "") for p in ("A", "B", "C", "D", "A+B")]
    found = typical(items, np.array([*[direction] * 4, 3 * direction]))
    mean = 1.4 * direction  # (4 · 1 + 3) / 5
    single, pair = (4 / 1.4 + 5) / 9, (3 / 1.4 + 5) / 6  # five that go along once are added to each
    np.testing.assert_allclose(found.of(Item(parse("Z"), None, "")), single * mean)
    np.testing.assert_allclose(found.of(Item(parse("Y+Z"), None, "")), pair * mean)
    np.testing.assert_allclose(found.of(Item(parse("X+Y+Z"), None, "")), pair * mean)
    assert found.of(Item(parse("Z"), 3.0, "")) is None
    assert typical([Item(parse("Z"), 1.0, "")], direction[None]).of(items[0]) is None


def test_intervals_hold_errors_with_long_tails() -> None:
    rng = np.random.default_rng(0)
    a, g = 60, 500
    variance, noise = np.ones((a, g)), rng.uniform(0.5, 2, (a, g))
    wide = rng.random((a, g)) < 0.2
    true = rng.normal(size=(a, g)) * np.where(wide, 3.0, 0.3)
    found = interval.calibrate(["both"] * a, true + rng.normal(size=(a, g)) * np.sqrt(noise), variance, noise)
    half = interval.Z * np.sqrt(found.of("both"))
    assert np.mean(np.abs(true) < half) == pytest.approx(0.9, abs=0.02)
    share = np.zeros(len(interval.SCALES))
    share[12] = 1.0  # one normal: the factor is its scale
    assert interval.reach(share) == pytest.approx(interval.SCALES[12], rel=0.01)


def test_estimates_shrink_towards_a_common_pattern() -> None:
    rng = np.random.default_rng(0)
    pattern = rng.uniform(0.5, 1.5, 500)
    x = 0.4 * pattern + np.where(np.arange(500) < 20, 3.0, 0.0)
    mean, var, _ = shrink(x + 0.1 * rng.normal(size=500), 0.01, None, pattern)
    np.testing.assert_allclose(mean[20:], 0.4 * pattern[20:], atol=0.15)
    np.testing.assert_allclose(mean[:20], x[:20], atol=0.35)
    assert np.all(var >= 0) and np.median(np.abs(mean - x)) < 0.03


def test_cells_that_are_deep_in_all_genes_at_once() -> None:
    rng = np.random.default_rng(0)
    obs = pd.DataFrame({"p": np.repeat(["c", "A"], 300)})
    for sd, low, high in ((0.0, 1.0, 1.3), (0.3, 5.0, np.inf)):
        rate = np.exp(rng.normal(0.5, 0.5, 200) + sd * rng.normal(size=(600, 1)))
        values = sp.csr_matrix(np.log1p(rng.poisson(rate).astype(float)))
        arms = collect(values, obs, Roles(perturbation="p", control="c"))
        assert low <= arms.together[0] <= high and arms.take([1]).together.shape == (1,)


def test_embeddings_of_one_name_are_told_apart() -> None:
    table = from_table(pd.DataFrame(np.eye(3), index=["A", "B", "C"]), "gene sets")
    assert [e.name for e in told_apart([table, table])] == ["gene sets", "gene sets (2)"]
    assert norm.cdf(interval.Z) == pytest.approx(0.95)
