"""Kernel ridge against another implementation and closed forms."""

import numpy as np
import pytest
from scipy.optimize import check_grad, minimize
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from scdiff_core.analysis.perturb import gaussian
from scdiff_core.analysis.perturb.kernels import Item, Space
from scdiff_core.data.perturbations import parse

N = np.array([5.0, 20.0, 10.0, 40.0, 8.0, 12.0])


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(0, 3, (6, 1)), axis=0)
    y = np.sin(x) * 3 + rng.normal(size=(6, 1)) / np.sqrt(N)[:, None]
    return x, y, RBF(1.0)


def test_posterior_is_that_of_scikit_learn(problem) -> None:
    x, y, kernel = problem
    solution = gaussian.solve(gaussian.Basis.of(kernel(x), np.diag(np.sqrt(N))), y)
    s = float(solution.signal[0])
    assert s > 0
    other = GaussianProcessRegressor(s * kernel, alpha=1 / N, optimizer=None).fit(x, y[:, 0])
    new = np.linspace(-1, 4, 9)[:, None]
    mean, sd = other.predict(new, return_std=True)
    np.testing.assert_allclose(solution.mean(kernel(new, x))[:, 0], mean, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(solution.variance(kernel(new, x), np.ones(9))[:, 0], sd**2, rtol=1e-6, atol=1e-8)
    log = gaussian.evidence(*(lambda b: (b.eigen, b.turn @ y))(
        gaussian.Basis.of(kernel(x), np.diag(np.sqrt(N)))), np.array([0.0, s]))[:, 0]
    zero = GaussianProcessRegressor(1e-12 * kernel, alpha=1 / N, optimizer=None).fit(x, y[:, 0])
    assert log[1] - log[0] == pytest.approx(
        other.log_marginal_likelihood_value_ - zero.log_marginal_likelihood_value_, abs=1e-6)


def test_left_out_error_is_that_of_fitting_without_the_group(problem) -> None:
    x, y, kernel = problem
    k = kernel(x)
    basis = gaussian.Basis.of(k, np.diag(np.sqrt(N)))
    s = float(gaussian.solve(basis, y).signal[0])
    groups = [np.array([0]), np.array([2, 3])]
    found = gaussian.left_out_error(basis, y, groups)
    for g, error in zip(groups, found, strict=True):
        rest = np.setdiff1d(np.arange(6), g)
        v = s * k[np.ix_(rest, rest)] + np.diag(1 / N[rest])
        predicted = s * k[np.ix_(g, rest)] @ np.linalg.solve(v, y[rest])
        assert error == pytest.approx(((y[g] - predicted) ** 2).sum() / (y[g] ** 2).sum(), rel=1e-6)


def test_whitener_turns_shared_control_noise_into_unit_noise() -> None:
    control = np.array([50.0, 50.0, 40.0, 30.0, 30.0, 30.0])
    w = gaussian.whitener(N, control, ["a", "a", "a", "b", "b", "b"])
    noise = np.diag(1 / N + 1 / control)
    noise[:3, :3] += (1 - np.eye(3)) / 50
    noise[3:, 3:] += (1 - np.eye(3)) / 30
    np.testing.assert_allclose(w @ noise @ w.T, np.eye(6), atol=1e-12)


def test_common_noise_is_the_mean_that_arms_of_a_type_share() -> None:
    control = np.full(4, 10.0)
    w = gaussian.whitener(np.full(4, 1e9), control, ["a", "a", "b", "b"])
    found = gaussian.common_noise(w, control, ["a", "a", "b", "b"], np.array([[1.0], [1.0], [-2.0], [-2.0]]))
    assert found["a"][0] == pytest.approx(1, rel=1e-6)
    assert found["b"][0] == pytest.approx(-2, rel=1e-6)


def test_slope_of_the_evidence_is_right(monkeypatch) -> None:
    rng = np.random.default_rng(1)
    items = [Item(parse(p), None, t) for p in ("A", "B", "A+B", "C") for t in ("x", "y")]
    space = Space(profiles={"x": np.zeros(3), "y": np.ones(3)}, width=1.0)
    parts = space.between(items, items)
    seen = {}

    def keep(fun, x0, **kwargs):
        seen["fun"], seen["x0"] = fun, x0
        return minimize(fun, x0, **kwargs)

    monkeypatch.setattr("scipy.optimize.minimize", keep)
    weights = gaussian.fit_weights(parts, np.diag(np.full(8, 3.0)), rng.normal(size=(8, 5)))
    point = seen["x0"] + rng.normal(size=len(seen["x0"])) * 0.3
    wrong = check_grad(lambda t: seen["fun"](t)[0], lambda t: seen["fun"](t)[1], point)
    assert wrong < 1e-3 * max(1, np.abs(seen["fun"](point)[1]).max())
    assert (weights.what > 0).all() and len(weights.types) == 3


def test_outputs_without_signal_are_shrunk_to_nothing() -> None:
    rng = np.random.default_rng(2)
    basis = gaussian.Basis.of(np.eye(50), np.eye(50))
    noise, signal = rng.normal(size=(50, 400)), 5 * rng.normal(size=(50, 40))
    found = gaussian.solve_alike(basis, np.hstack([noise, signal + rng.normal(size=(50, 40))])).mean(np.eye(50))
    assert np.square(found[:, :400]).mean() < 0.05
    assert np.corrcoef(found[:, 400:].ravel(), signal.ravel())[0, 1] > 0.97
