"""Cells that keep their places when distributions move: exactness, means, depths; and which half is used."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from scdiff_core.engine.populations import Population, log_rate
from scdiff_core.engine.train_sets import verdict
from scdiff_core.nn.codec import VAE, CountSpread
from scdiff_core.nn.likelihood import HurdleNormal, NegativeBinomial, Values

G = 12


def counts(n: int = 400, seed: int = 0) -> tuple[Population, Tensor]:
    """Return negative binomial cells of known means, a stray on top of one, with their counts."""
    rng = np.random.default_rng(seed)
    mean, theta = np.geomspace(0.05, 20, G), 2.0
    x = rng.poisson(mean * rng.gamma(theta, 1 / theta, (n, G))).astype(np.float32)
    x[0, -1] += 5000
    spread = CountSpread(G, 0.0).requires_grad_(False)
    spread.theta.fill_(np.log(theta))
    there = spread(torch.tensor(mean, dtype=torch.float32).log().expand(n, G).contiguous())
    index = torch.from_numpy(np.flatnonzero(x))
    values = Values((n, G), index, torch.from_numpy(x).view(-1)[index])
    u = there.pit(values, torch.Generator().manual_seed(seed))
    extra = torch.zeros(n * G).index_copy_(0, index, values.value - there.inverse(u).view(-1)[index]).view(n, G)
    return Population(there, spread, u, extra, torch.from_numpy(x.sum(1) + 100)), torch.from_numpy(x)


def log1p(values: Tensor, total: Tensor) -> Tensor:
    return torch.log1p(values * (1e4 / total)[:, None])


def test_cells_that_are_not_moved_are_exactly_what_they_were() -> None:
    cells, x = counts()
    values, total = cells.read(torch.zeros(G))
    assert torch.equal(values, x) and torch.equal(total, cells.total)


def test_moved_counts_have_the_distribution_of_the_new_mean() -> None:
    cells, _ = counts(4000)
    values, _ = cells.read(torch.full((G,), float(np.log(3.0))))
    mean = 3 * np.geomspace(0.05, 20, G)[6]
    exact = scipy.stats.nbinom(2.0, 2.0 / (2.0 + mean))
    for k in (0, 1, 3, 8):
        assert float((values[:, 6] <= k).float().mean()) == pytest.approx(exact.cdf(k), abs=0.03)


def test_goals_of_the_mean_are_reached_up_and_down() -> None:
    cells, x = counts()
    before = log1p(x, cells.total).mean(0)
    goal = (before + torch.linspace(-1.5, 1.5, G)).clamp(min=0.05)
    moved = log1p(*cells.matched(goal, log_rate(goal) - log_rate(before))).mean(0)
    assert (moved - goal).abs().max() < 0.12 * (goal - before).abs().max()
    none = log1p(*cells.matched(torch.zeros(G), log_rate(torch.zeros(G)) - log_rate(before))).mean(0)
    assert none.max() < 0.2


def test_shallower_cells_have_fewer_molecules_and_vary_more_at_the_same_mean() -> None:
    cells, x = counts(2000)
    few = cells.deeper(torch.full((2000,), float(np.log(0.5))))
    values, total = few.read(torch.zeros(G))
    assert torch.allclose(total, torch.maximum(cells.total / 2, values.sum(1)))
    error = (values[1:].var(0) / 1999).sqrt()
    assert bool(((values[1:].mean(0) - x[1:].mean(0) / 2).abs() < 4 * error).all())
    before = log1p(x, cells.total)
    goal = before.mean(0)
    after = log1p(*few.matched(goal, torch.zeros(G)))
    assert (after.mean(0) - goal).abs().max() < 0.12
    assert bool((after.var(0) > before.var(0))[:8].all())


@pytest.mark.parametrize("positive", [True, False])
def test_continuous_values_reach_their_means(positive: bool) -> None:
    g = torch.Generator().manual_seed(0)
    there = HurdleNormal(torch.full((500, 3), -0.4), torch.tensor([1.0, 2.0, 3.0]).expand(500, 3),
                         torch.full((500, 3), -1.0), positive)
    cells = Population(there, None, torch.rand(500, 3, generator=g), torch.zeros(500, 3), torch.ones(500))
    before = cells.read(torch.zeros(3))[0].mean(0)
    goal = before + torch.tensor([0.6, -0.5, 0.0])
    values, total = cells.matched(goal, goal - before)
    assert (values.mean(0) - goal).abs().max() < 0.05 and torch.equal(total, values.sum(1))


def test_drawn_cells_are_those_of_the_codec() -> None:
    torch.manual_seed(0)
    codec = VAE(G, 3, (8,), True, stray=0.05)
    codec.fit_total(torch.linspace(500, 2000, 100))
    codec.eval().requires_grad_(False)
    z, u = torch.randn(50, 4), torch.rand(50, G)
    cells = Population.drawn(codec, z, u, torch.Generator().manual_seed(1))
    want = codec.decode(z).sample(u, torch.Generator().manual_seed(1))
    assert torch.equal(cells.read(torch.zeros(G))[0], want) and isinstance(cells.there, NegativeBinomial)


def test_the_diffusion_has_to_be_nearer_round_either_mean() -> None:
    nearer = np.array([[1.0, 0.5, 0.1, 0.05], [1.2, 0.6, 0.1, 0.1], [0.9, 0.5, 0.2, 0.1]])
    assert verdict(nearer, "auto")["half"] == "diffusion"
    wide = nearer.copy()
    wide[:, 3] = 0.4
    assert verdict(wide, "auto")["half"] == "moved" and verdict(wide, "diffusion")["half"] == "diffusion"
    noisy = nearer.copy()
    noisy[0, 1] = 1.9
    found = verdict(noisy, "auto")
    assert found["half"] == "moved" and found["n_judged"] == 3
    assert found["e_moved"] == pytest.approx(3.1 / 3) and found["spread_diffusion"] == pytest.approx(0.25 / 3)
    assert verdict(np.zeros((0, 4)), "auto") == {"half": "moved", "n_judged": 0, "e_moved": None, "e_diffusion": None,
                                                 "spread_moved": None, "spread_diffusion": None}


def test_a_gene_whose_dispersion_would_widen_without_end_rises_all_the_same() -> None:
    cells, _ = counts()
    assert cells.spread is not None
    cells.spread.slope.fill_(-0.8)
    there = cells.spread(cells.there.log_mean)  # type: ignore[union-attr]
    cells = Population(there, cells.spread, cells.u, cells.extra, cells.total)
    before = log1p(*cells.read(torch.zeros(G))).mean(0)
    goal = before.clone()
    goal[1] = 3.5
    assert log1p(*cells.matched(goal, log_rate(goal) - log_rate(before))).mean(0)[1] > 3.0
