"""Twisted sampling against what it must be: a mixture of normals cut by half spaces, sampled by rejection."""

from __future__ import annotations

import pytest
import torch

from scdiff_core.diffusion.objective import Linear
from scdiff_core.diffusion.schedule import Cosine, Karras
from scdiff_core.diffusion.twist import log_twist, unknown_at
from scdiff_core.diffusion.twisted import GradientGuidance, TwistedSMC, resample
from scdiff_core.diffusion.twisted import draw as draw_by_weight
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
    floor = energy_distance(kept[:512], kept[512:1536])
    apart = []
    for seed in range(3):  # cells of a run share ancestors, so one run says little
        last, cells, good = designed(TwistedSMC(Mixture(), SCHEDULE, steps=40), objective, seed=seed)
        assert (objective.margins(cells) >= 0).all() and good.double().mean() > 0.7
        assert len(torch.unique(last.ancestor)) > 40
        apart.append(energy_distance(cells, kept[:3000]))
    assert sum(apart) / len(apart) < max(0.012, 4 * floor)


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


def test_cells_are_drawn_as_likely_as_they_weigh_and_none_twice():
    weight = torch.tensor([4.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.0], dtype=torch.float64)
    generator, n, times = torch.Generator().manual_seed(0), 3, 4000
    taken = [draw_by_weight(weight.log(), n, generator) for _ in range(times)]
    assert all(len(set(rows.tolist())) == n for rows in taken)
    often = torch.bincount(torch.cat(taken), minlength=7) / times
    # the first would be in 3 * 4 / 8 times: it is always, and the two places left are dealt out among the others
    exact = torch.tensor([1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.0])
    assert torch.allclose(often, exact, atol=0.03)
    assert sorted(draw_by_weight(weight.log(), 6, generator).tolist()) == [0, 1, 2, 3, 4, 5]
    assert sorted(draw_by_weight(weight.log(), 9, generator).tolist()) == [0, 1, 2, 3, 4, 5]
    far = torch.tensor([0.0, -2000.0, -3000.0, -torch.inf])
    assert 0 in draw_by_weight(far, 2, generator).tolist() and len(draw_by_weight(far, 2, generator)) == 2


def test_an_objective_that_is_not_finite_is_told():
    class Broken(Linear):
        def log_weight(self, z):
            return z.sum(1) * torch.nan

    objective = Broken(torch.zeros(0, 3, dtype=torch.float64), torch.zeros(0, dtype=torch.float64))
    with pytest.raises(ScdiffError, match="not a finite number"):
        designed(TwistedSMC(Mixture(), SCHEDULE, steps=5), objective)


class Groups:
    """The exact E[x0 | x_t] of normals whose centre is the condition's."""

    def __call__(self, x, t, condition):
        sigma = SCHEDULE(torch.as_tensor(t, dtype=x.dtype))[1]
        centre = CENTRES[condition.codes[:, 0]]
        return centre + STD**2 / (STD**2 + sigma**2) * (x - centre)


def test_a_resampled_particle_keeps_the_condition_of_its_ancestor():
    n, level = 4096, 1.6
    objective = Linear(torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64), torch.tensor([level], dtype=torch.float64))
    generator = torch.Generator().manual_seed(0)
    codes = torch.multinomial(SHARES, n, True, generator=generator)
    condition = Condition(codes[:, None], torch.zeros(n, 0), (3,))
    x = 40 * torch.randn(n, 3, generator=generator, dtype=torch.float64)
    *_, last = TwistedSMC(Groups(), SCHEDULE, steps=40).iterate(x, condition, objective, generator)
    taken = torch.multinomial(last.log_weight.exp(), 1024, True, generator=generator)
    real = draw(1_000_000, 3)
    kept = real[(objective.margins(real) >= 0).all(1)][:3000]
    assert energy_distance(last.x0_hat[taken], kept) < 0.012
    # nearly all of these come of the first group, and say so
    own = codes[last.ancestor[taken]]
    assert (own == 0).double().mean() > 0.9
    assert (last.x0_hat[taken] - CENTRES[own]).norm(dim=1).mean() < 3 * STD


def test_what_misses_a_demand_has_no_weight_at_all():
    objective = Linear(torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64), torch.tensor([2.6], dtype=torch.float64))
    last, _, good = designed(TwistedSMC(Mixture(), SCHEDULE, steps=8), objective)
    assert torch.equal(good, (objective.margins(last.x0_hat) >= 0).all(1)) and not good.all()


def test_schedules_that_shrink_the_signal_are_refused():
    objective = Linear(torch.zeros(0, 3, dtype=torch.float64), torch.zeros(0, dtype=torch.float64))
    with pytest.raises(ValueError, match="alpha = 1"):
        designed(TwistedSMC(Mixture(), Cosine(), steps=4), objective)


def test_what_is_not_known_is_the_posterior_variance_and_few_steps_do_with_it():
    one = CENTRES[:1] + STD * torch.randn(20_000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    condition = Condition(torch.zeros(len(one), 1, dtype=torch.int64), torch.zeros(len(one), 0), (3,))
    found = unknown_at(Groups(), SCHEDULE, 1.0, 4, one, condition, torch.Generator().manual_seed(1))
    sigma = SCHEDULE(torch.linspace(1, 0, 4, dtype=torch.float64))[1]
    exact = STD**2 * sigma**2 / (STD**2 + sigma**2)
    assert torch.allclose(found, exact[:, None].expand(4, 3), rtol=0.05)
    objective = Linear(torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64), torch.tensor([2.2], dtype=torch.float64))
    real = draw(300_000, 3)
    kept = real[(objective.margins(real) >= 0).all(1)][:3000]
    unknown = unknown_at(Mixture(), SCHEDULE, 1.0, 15, real[:2000], nothing(2000), torch.Generator().manual_seed(0))
    samplers = [TwistedSMC(Mixture(), SCHEDULE, steps=15, unknown=u) for u in (unknown, None)]
    with_it, without = (energy_distance(designed(smc, objective)[1], kept) for smc in samplers)
    assert with_it < 0.012 < without
