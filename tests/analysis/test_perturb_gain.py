"""Which experiment next: the gain is what a measurement takes from the variance, and the list is greedy."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from scdiff_core.analysis.perturb import gain
from scdiff_core.analysis.perturb.gaussian import Solution
from scdiff_core.analysis.perturb.kernels import Item
from scdiff_core.data.perturbations import Perturbation

NOISE = 0.02


class Space:
    """A kernel of points on a line, one for each perturbation."""

    def __init__(self, at: dict[str, float], width: float = 1.0) -> None:
        self.at, self.width = at, width

    def between(self, a: list[Item], b: list[Item]) -> SimpleNamespace:
        x, y = (np.array([self.at[i.perturbation.label] for i in items]) for items in (a, b))
        kernel = np.exp(-0.5 * ((x[:, None] - y[None, :]) / self.width) ** 2)
        return SimpleNamespace(join=lambda what, types, arm: kernel)


def item(name: str) -> Item:
    return Item(Perturbation((name,)), None, "")


def model(at: dict[str, float], measured: list[str], signal: tuple[float, ...] = (1.0, 3.0)) -> SimpleNamespace:
    """A posterior of two programs after measuring some, as `gaussian` has it."""
    space = Space(at)
    items = [item(m) for m in measured]
    kernel = space.between(items, items).join(None, None, 0.0)
    whiten = np.eye(len(items)) / np.sqrt(NOISE)
    eigen, q = np.linalg.eigh(whiten @ kernel @ whiten.T)
    s = np.array(signal)
    spread = s**2 / (1 + s * eigen[:, None])
    scores = Solution(np.zeros_like(spread), spread, s, q.T @ whiten)
    programs = SimpleNamespace(loadings=np.array([[1.0, 0.0], [0.0, 0.5]]))
    return SimpleNamespace(items=tuple(items), space=space, weights=SimpleNamespace(what=None, types=None, arm=0.0),
                           found=SimpleNamespace(scores=scores, programs=programs), scale=np.ones(2))


def left(at: dict[str, float], measured: list[str], names: list[str], signal: float) -> float:
    """Return the variance that is left of the candidates, by the plain formula."""
    space = Space(at)
    a, b = [item(m) for m in measured], [item(n) for n in names]
    k = {(x, y): signal * space.between(p, q).join(None, None, 0.0)
         for x, p in (("a", a), ("b", b)) for y, q in (("a", a), ("b", b))}
    inner = np.linalg.inv(k["a", "a"] + NOISE * np.eye(len(a)))
    return float(np.trace(k["b", "b"] - k["b", "a"] @ inner @ k["a", "b"]))


AT = {"m1": 0.0, "m2": 1.0, "near": 0.4, "far1": 6.0, "far2": 6.5, "lone": 20.0}
CANDIDATES = ["near", "far1", "far2", "lone"]


def test_the_gain_is_the_variance_that_a_measurement_removes() -> None:
    found = model(AT, ["m1", "m2"])
    chosen = gain.choose(found, [item(n) for n in CANDIDATES], n_cells=1 / NOISE, most=1)[0]
    name = CANDIDATES[chosen.index]
    weight = {1.0: 1.0, 3.0: 0.25}  # of the two programs, from the loadings
    before = sum(w * left(AT, ["m1", "m2"], CANDIDATES, s) for s, w in weight.items())
    after = sum(w * left(AT, ["m1", "m2", name], CANDIDATES, s) for s, w in weight.items())
    assert chosen.gain == pytest.approx((before - after) / before, rel=1e-6)
    for other in CANDIDATES:
        less = sum(w * left(AT, ["m1", "m2", other], CANDIDATES, s) for s, w in weight.items())
        assert after <= less + 1e-9


def test_the_list_is_greedy_and_says_why() -> None:
    chosen = gain.choose(model(AT, ["m1", "m2"]), [item(n) for n in CANDIDATES], n_cells=1 / NOISE)
    names = [CANDIDATES[c.index] for c in chosen]
    assert names[0] in ("far1", "far2") and names[1] == "lone"  # the second of two alike ones has little left to teach
    first = chosen[0]
    assert {CANDIDATES[i] for i, _ in first.teaches} == {"far1", "far2"} - {names[0]}
    assert chosen[names.index("near")].alike[0] in (0, 1) and chosen[names.index("near")].alike[1] > 0.8
    assert chosen[names.index("lone")].own == pytest.approx(1.0)
    gains = [c.gain for c in chosen]
    assert gains == sorted(gains, reverse=True) and sum(gains) <= 1


def test_covariances_are_those_of_the_posterior() -> None:
    found = model(AT, ["m1", "m2"])
    items = [item(n) for n in CANDIDATES]
    cross = found.space.between(items, list(found.items)).join(None, None, 0.0)
    cov = gain.covariances(found.found.scores, cross, found.space.between(items, items).join(None, None, 0.0))
    assert np.trace(cov[0]) == pytest.approx(left(AT, ["m1", "m2"], CANDIDATES, 1.0))
    assert np.trace(cov[1]) == pytest.approx(left(AT, ["m1", "m2"], CANDIDATES, 3.0))


def test_of_very_many_candidates_the_least_known_are_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gain, "MOST", 2)
    chosen = gain.choose(model(AT, ["m1", "m2"]), [item(n) for n in CANDIDATES], most=4)
    assert len(chosen) == 2 and all(CANDIDATES[c.index] != "near" for c in chosen)
    assert gain.choose(model(AT, ["m1"]), []) == []
