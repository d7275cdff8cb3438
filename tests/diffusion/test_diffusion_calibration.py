"""A twist put right by known cells, held against shares in closed form and against rejection."""

from __future__ import annotations

import torch
from test_diffusion_twisted import CENTRES, SCHEDULE, SHARES, STD, Groups, energy_distance

from scdiff_core.diffusion.objective import Linear
from scdiff_core.diffusion.twist import log_twist, unknown_at
from scdiff_core.diffusion.twist_calibration import calibrate
from scdiff_core.diffusion.twisted import TwistedSMC
from scdiff_core.nn.condition import Condition

STEPS = 30


class Bent(Linear):
    """A half space told through a curve: the sign is that of the line, the slope all but vanishes below it."""

    def margins(self, z):
        return (6 * super().margins(z)).exp() - 1


def known(n: int, seed: int = 0):
    """Return n cells of normals round the centres, with their group as condition."""
    generator = torch.Generator().manual_seed(seed)
    of = torch.multinomial(SHARES, n, True, generator=generator)
    z = CENTRES[of] + STD * torch.randn(n, 3, generator=generator, dtype=torch.float64)
    return z, Condition(of[:, None], torch.zeros(n, 0), (3,))


def calibrated(objective, n: int = 4000):
    z, condition = known(n)
    generator = torch.Generator().manual_seed(1)
    unknown = unknown_at(Groups(), SCHEDULE, 1.0, STEPS, z[:512], condition.rows(slice(0, 512)), generator)
    return unknown, calibrate(Groups(), SCHEDULE, unknown, 0.05, objective, z, condition, 0, generator)


def test_a_twist_that_is_right_is_left_as_it_is_where_it_tells_anything():
    objective = Linear(torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64), torch.tensor([0.6], dtype=torch.float64))
    unknown, found = calibrated(objective)
    sigma = SCHEDULE(torch.linspace(1, 0, STEPS, dtype=torch.float64))[1]
    telling = sigma < STD  # above it, x says little more than its kind, and any power foretells as well
    assert found.power[telling].min() >= 0.7 and found.power[telling].median() == 1
    assert found.offset[telling & (found.power == 1), -1].abs().max() < 0.1
    z, condition = known(4000, 7)
    generator = torch.Generator().manual_seed(4)
    for i in range(STEPS):  # and on average it is the share that meets the demand, whatever the power
        time = torch.linspace(1, 0, STEPS, dtype=torch.float64)[i]
        x = z + sigma[i] * torch.randn(z.shape, generator=generator, dtype=torch.float64)
        told = log_twist(objective, Groups()(x, time, condition), unknown[i], 0.05, x, sigma[i])
        share = (objective.margins(z)[:, 0] >= 0).double().mean()
        assert abs(found(i, told, condition).exp().mean() / share - 1) < 0.15


def test_at_the_start_it_says_how_many_of_each_kind_meet_the_demand():
    """Where there is nothing but noise, the twist is the probability of a normal beyond a level, in closed form."""
    level = 0.9
    objective = Bent(torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64), torch.tensor([level], dtype=torch.float64))
    unknown, found = calibrated(objective)
    x = 40 * torch.randn(3, 200, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for k in range(3):
        condition = Condition(torch.full((200, 1), k), torch.zeros(200, 0), (3,))
        time = torch.ones((), dtype=torch.float64)
        raw = log_twist(objective, Groups()(x[k], time, condition), unknown[0], 0.05, x[k], SCHEDULE(time)[1])
        truth = 1 - torch.special.ndtr((level - CENTRES[k, 0]) / STD)
        told = found(0, raw, condition).exp().mean()
        assert abs(told - truth) < 0.35 * truth + 0.002, (k, float(raw.exp().mean()), float(told), float(truth))


def test_kinds_that_meet_it_now_and_then_are_kept():
    objective = Bent(torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64), torch.tensor([1.0], dtype=torch.float64))
    real, of = known(400_000, 3)
    met = (objective.margins(real) >= 0).all(1)
    kept, truth = real[met][:3000], torch.bincount(of.codes[met, 0], minlength=3) / met.sum()
    unknown, calibration = calibrated(objective)
    n, apart, shares = 2048, {}, {}
    for name, used in (("as it is", None), ("put right", calibration)):
        generator = torch.Generator().manual_seed(0)
        _, condition = known(n, 5)
        x = 40 * torch.randn(n, 3, generator=generator, dtype=torch.float64)
        sampler = TwistedSMC(Groups(), SCHEDULE, STEPS, unknown=unknown, calibration=used)
        *_, last = sampler.iterate(x, condition, objective, generator)
        taken = torch.multinomial(last.log_weight.exp(), 1000, True, generator=generator)
        apart[name] = energy_distance(last.x0_hat[taken], kept)
        shares[name] = torch.bincount(condition.codes[last.ancestor[taken], 0], minlength=3) / 1000
    assert (shares["put right"] - truth).abs().max() < 0.08, (shares, truth)
    assert apart["put right"] < min(0.03, apart["as it is"]), apart
