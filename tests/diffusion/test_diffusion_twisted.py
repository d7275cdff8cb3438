"""Twisted sampling against what it must be: a mixture of normals cut by half spaces, sampled by rejection."""

from __future__ import annotations

import pytest
import torch

from scdiff_core.diffusion.objective import Linear
from scdiff_core.diffusion.schedule import Karras
from scdiff_core.diffusion.twisted import GradientGuidance, TwistedSMC, log_twist, resample
from scdiff_core.errors import ScdiffError
from scdiff_core.nn.condition import Condition

SCHEDULE = Karras(0.02, 40.0)
CENTRES = torch.tensor([[1.2, 0.0, 0.3], [-1.0, 0.8, 0.0], [0.0, -1.0, -0.5]], dtype=torch.float64)
SHARES = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
STD = 0.5


class Mixture:
    """The exact E[x0 | x_t] of a mixture of normals."""

    def __call__(self, x, t, condition):
        sigma = SCHEDULE(torch.as_tensor(t, dtype=x.dtype))[1]
        apart = x[:, None] - CENTRES
        share = (SHARES.log() - 0.5 * apart.square().sum(-1) / (STD**2 + sigma**2)).softmax(1)
        gain = STD**2 / (STD**2 + sigma**2)
        return (share[..., None] * (CENTRES + gain * apart)).sum(1)


def nothing(n):
    return Condition(torch.zeros(n, 0, dtype=torch.int64), torch.zeros(n, 0), ())


def draw(n, seed):
    generator = torch.Generator().manual_seed(seed)
    of = torch.multinomial(SHARES, n, True, generator=generator)
    return CENTRES[of] + STD * torch.randn(n, 3, generator=generator, dtype=torch.float64)


def energy_distance(a, b):
    def mean(x, y):
        return torch.cdist(x, y).mean()

    return float(2 * mean(a, b) - mean(a, a) - mean(b, b))


def designed(sampler, objective, n=2048, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, generator=generator, dtype=torch.float64) * 40
    *_, last = sampler.iterate(x, nothing(n), objective, generator)
    good = torch.isfinite(last.log_weight)
    return last, last.x0_hat[torch.multinomial(last.log_weight.exp(), 512, True, generator=generator)], good


@pytest.mark.parametrize(("level", "share"), [(1.0, 0.33), (2.2, 0.01), (2.6, 0.0025)])
def test_particles_are_those_that_rejection_would_keep(level, share):
    objective = Linear(torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64), torch.tensor([level], dtype=torch.float64))
    real = draw(2_000_000, 3)
    kept = real[(objective.margins(real) >= 0).all(1)]
    assert abs(len(kept) / len(real) / share - 1) < 0.5  # about the share that the case says
    last, cells, good = designed(TwistedSMC(Mixture(), SCHEDULE, steps=40), objective)
    assert (objective.margins(cells) >= 0).all() and good.double().mean() > 0.7
    floor = energy_distance(kept[:512], kept[512:1536])
    assert energy_distance(cells, kept[:3000]) < max(0.012, 4 * floor)
    assert len(torch.unique(last.ancestor)) > 40


def test_two_demands_that_only_one_mode_meets():
    objective = Linear(torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]], dtype=torch.float64),
                       torch.tensor([1.0, 0.5], dtype=torch.float64))
    real = draw(400_000, 4)
    kept = real[(objective.margins(real) >= 0).all(1)]
    _, cells, _ = designed(TwistedSMC(Mixture(), SCHEDULE, steps=40), objective, seed=1)
    assert energy_distance(cells, kept[:3000]) < 0.012


def test_smc_is_nearer_to_the_truth_than_gradient_guidance():
    objective = Linear(torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64), torch.tensor([2.2], dtype=torch.float64))
    real = draw(1_000_000, 5)
    kept = real[(objective.margins(real) >= 0).all(1)][:3000]
    _, ours, _ = designed(TwistedSMC(Mixture(), SCHEDULE, steps=40), objective)
    _, quick, good = designed(GradientGuidance(Mixture(), SCHEDULE, steps=40), objective)
    assert good.double().mean() > 0.5
    assert energy_distance(ours, kept) < energy_distance(quick, kept)


def test_without_demands_it_is_plain_sampling():
    nothing_asked = Linear(torch.zeros(0, 3, dtype=torch.float64), torch.zeros(0, dtype=torch.float64))
    last, cells, good = designed(TwistedSMC(Mixture(), SCHEDULE, steps=60), nothing_asked)
    assert good.all() and torch.equal(last.ancestor, torch.arange(2048))
    assert energy_distance(cells, draw(3000, 6)) < 0.02


def test_the_twist_is_the_probability_for_a_normal_and_a_half_space():
    objective = Linear(torch.tensor([[2.0, -1.0]], dtype=torch.float64), torch.tensor([1.0], dtype=torch.float64))
    z, variance = torch.tensor([[0.4, 0.3]], dtype=torch.float64), torch.tensor(0.36, dtype=torch.float64)
    draws = z + 0.6 * torch.randn(400_000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    share = (objective.margins(draws) >= 0).double().mean()
    assert log_twist(objective, z, variance, 0.0).exp().item() == pytest.approx(share.item(), abs=0.003)


def test_resampling_is_in_proportion_and_by_island():
    weight = torch.tensor([[0.5, 0.25, 0.25, 0.0], [0.0, 0.0, 0.0, 1.0]]).log()
    taken = resample(weight, torch.Generator().manual_seed(0))
    assert taken[0].tolist().count(0) == 2 and 3 not in taken[0].tolist() and taken[1].tolist() == [3, 3, 3, 3]


def test_an_objective_that_is_not_finite_is_told():
    class Broken(Linear):
        def log_weight(self, z):
            return z.sum(1) * torch.nan

    objective = Broken(torch.zeros(0, 3, dtype=torch.float64), torch.zeros(0, dtype=torch.float64))
    with pytest.raises(ScdiffError, match="not a finite number"):
        designed(TwistedSMC(Mixture(), SCHEDULE, steps=5), objective)
