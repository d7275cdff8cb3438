"""Optimal transport against closed forms, brute force and another way of the same library."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import ot
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from scdiff_core.analysis import transport


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_wasserstein_is_the_best_assignment(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(7, 3)), rng.normal(size=(7, 3))
    cost = cdist(a, b, "sqeuclidean")
    best = min(np.mean([cost[i, p[i]] for i in range(7)]) for p in itertools.permutations(range(7)))
    assert transport.wasserstein2(a, b) == pytest.approx(np.sqrt(best))
    large = rng.normal(size=(80, 3)), rng.normal(1, 2, size=(80, 3))
    cost = cdist(*large, "sqeuclidean")
    assert transport.wasserstein2(*large) == pytest.approx(np.sqrt(cost[linear_sum_assignment(cost)].mean()))


def test_wasserstein_in_one_dimension_matches_quantiles_and_shifts(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(50, 1)), rng.normal(2, 3, size=(50, 1))
    expected = np.sqrt(np.mean((np.sort(a[:, 0]) - np.sort(b[:, 0])) ** 2))
    assert transport.wasserstein2(a, b) == pytest.approx(expected)
    assert transport.wasserstein2(a, a + 3) == pytest.approx(3)
    assert np.isnan(transport.wasserstein2(a[:0], b))


@pytest.mark.parametrize("share", [0.02, 0.1, 1.0])
def test_entropic_cost_is_that_of_the_general_solver(share: float, rng: np.random.Generator) -> None:
    cost = cdist(rng.normal(size=(30, 2)), rng.normal(1, 1, size=(40, 2)), "sqeuclidean")
    regulation = share * float(np.median(cost))
    solved = ot.solve(cost, reg=regulation, reg_type="KL", max_iter=100_000, tol=1e-11)
    assert transport.entropic_cost(cost, regulation) == pytest.approx(float(solved.value), rel=2e-3)


def test_logarithms_and_plain_numbers_agree(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = rng.normal(size=(40, 2)), rng.normal(0.5, 1, size=(40, 2))
    plain = transport.sinkhorn_divergence(a, b)
    monkeypatch.setattr(transport, "PLAIN_UP_TO", 0.0)
    assert transport.sinkhorn_divergence(a, b) == pytest.approx(plain, rel=1e-3)


def test_cells_far_apart_do_not_overflow(rng: np.random.Generator) -> None:
    a = np.vstack([rng.normal(size=(30, 2)), rng.normal(1e3, 1, size=(10, 2))])
    found = transport.sinkhorn_divergence(a, rng.permutation(a) + 1e-3)
    assert np.isfinite(found) and found == pytest.approx(2e-6, abs=1e-2)


def test_divergence_of_shifted_sets_is_the_squared_shift(rng: np.random.Generator) -> None:
    """Between Gaussians of one covariance every epsilon leaves the squared distance of the means (Janati 2020)."""
    a, shift = rng.normal(size=(300, 2)), np.array([3.0, 4.0])
    assert transport.sinkhorn_divergence(a, a + shift) == pytest.approx(25, rel=1e-3)
    assert transport.sinkhorn_divergence(a, a.copy()) == pytest.approx(0, abs=1e-6)
    assert transport.sinkhorn_divergence(np.ones((4, 2)), np.ones((5, 2))) == 0
    grown = [transport.sinkhorn_divergence(a, a + s) for s in (0.3, 1, 3)]
    assert grown == sorted(grown) and grown[0] > 0


def test_transport_loads_no_other_array_library() -> None:
    code = ("import sys, numpy as np; from scdiff_core.analysis.transport import wasserstein2; "
            "assert 'ot' not in sys.modules; wasserstein2(np.zeros((2, 1)), np.ones((2, 1))); "
            "print('torch' in sys.modules, 'jax' in sys.modules)")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "False"]
