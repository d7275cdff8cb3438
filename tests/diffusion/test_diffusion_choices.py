"""What a network may be asked for, the schedules, and the terms added to the loss: held against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from scdiff_core.diffusion import sampler
from scdiff_core.diffusion.denoiser import Preconditioned, Preconditioning, Prediction, preconditioning
from scdiff_core.diffusion.loss import EvenTimes, denoising_loss
from scdiff_core.diffusion.schedule import Cosine, Flow, Karras, Linear, Schedule, Tabulated, log_snr
from scdiff_core.diffusion.terms import Terms, Weights, non_negativity, pathway_consistency, sparsity
from scdiff_core.nn.condition import Condition

KINDS = ("edm", "eps", "x0", "v", "flow")


def tabulated(schedule: Schedule) -> Tabulated:
    return Tabulated(-0.5 * log_snr(schedule, torch.linspace(0, 1, 257, dtype=torch.float64)))


SCHEDULES = {"linear": Linear(0.1, 20.0), "flow": Flow(0.1, 20.0), "karras": Karras(0.1, 20.0),
             "own": tabulated(Cosine(0.1, 20.0))}


def nothing(n: int) -> Condition:
    return Condition(torch.zeros(n, 0, dtype=torch.int64), torch.zeros(n, 0), ())


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_noise_rises_between_the_two_ends(schedule):
    alpha, sigma = schedule(torch.linspace(0, 1, 301, dtype=torch.float64))
    ratio = sigma / alpha
    assert torch.all(ratio.diff() > 0)
    assert (ratio[0].item(), ratio[-1].item()) == pytest.approx((0.1, 20.0), rel=1e-6)


def test_the_linear_schedule_is_the_integral_of_a_linear_beta():
    """alpha^2 = exp(- integral of beta), beta from 0.1 to 20 (Song et al. 2021, eq. 32 and 33), summed numerically."""
    linear = Linear(0.02, 60.0)
    s = torch.linspace(0, 1, 20001, dtype=torch.float64)
    total = torch.cat([torch.zeros(1, dtype=torch.float64), torch.cumulative_trapezoid(0.1 + s * 19.9, s)])
    t = torch.linspace(0, 1, 9, dtype=torch.float64)
    low, high = (linear._time(r) for r in (0.02, 60.0))
    alpha, sigma = linear(t)
    at = ((low + t * (high - low)) * 20000).round().long()
    torch.testing.assert_close(alpha**2, torch.exp(-total[at]), rtol=2e-3, atol=1e-6)
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(9, dtype=torch.float64))


def test_the_linear_schedule_is_that_of_ddpm():
    diffusers = pytest.importorskip("diffusers")
    bars = diffusers.DDPMScheduler(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02).alphas_cumprod
    linear = Linear()
    low, high = (linear._time(r) for r in (linear.ratio_min, linear.ratio_max))
    for step in (100, 400, 700):
        t = torch.tensor(((step + 1) / 1000 - low) / (high - low), dtype=torch.float64)
        # the integral of beta, of which the sum of -log(1 - beta) over so many steps is half a percent more
        assert 2 * linear(t)[0].log().item() == pytest.approx(math.log(bars[step].item()), rel=0.01)


def test_flow_is_a_straight_line():
    alpha, sigma = Flow()(torch.linspace(0, 1, 11, dtype=torch.float64))
    torch.testing.assert_close(alpha + sigma, torch.ones(11, dtype=torch.float64))
    torch.testing.assert_close(sigma.diff(), sigma.diff()[:1].expand(10))


def test_a_table_stands_for_the_schedule_it_was_made_of():
    t = torch.rand(50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(log_snr(SCHEDULES["own"], t), log_snr(Cosine(0.1, 20.0), t), rtol=1e-3, atol=1e-3)


class Told(torch.nn.Module):
    """A network that has been told its target."""

    def __init__(self, target: torch.Tensor) -> None:
        super().__init__()
        self.target = target

    def forward(self, x, noise, condition):
        return self.target


def targets(x0: torch.Tensor, eps: torch.Tensor, ratio: torch.Tensor) -> dict[str, torch.Tensor]:
    """What each paper asks the network for, at alpha and sigma of its own schedule."""
    alpha, sigma = (1 / (1 + ratio**2).sqrt())[:, None], (ratio / (1 + ratio**2).sqrt())[:, None]
    return {"eps": eps, "x0": x0, "v": alpha * eps - sigma * x0, "flow": eps - x0}


@pytest.mark.parametrize("kind", ["eps", "x0", "v", "flow"])
def test_a_network_that_knows_its_target_knows_the_cell(kind):
    generator = torch.Generator().manual_seed(0)
    x0, eps = (torch.randn(64, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    for schedule in SCHEDULES.values():
        t = torch.rand(64, generator=generator, dtype=torch.float64)
        alpha, sigma = schedule(t)
        network = Told(targets(x0, eps, sigma / alpha)[kind])
        network.target = network.target.double()
        x_t = alpha[:, None] * x0 + sigma[:, None] * eps
        found = Preconditioned(network, schedule, Prediction(kind))(x_t, t, nothing(64))
        torch.testing.assert_close(found, x0, rtol=1e-4, atol=1e-4)  # the output of networks is taken in float32


@pytest.mark.parametrize("kind", ["eps", "x0", "v", "flow"])
def test_the_loss_is_the_plain_error_of_the_target(kind):
    """As the papers have it; the velocity's over its variance of two."""
    generator = torch.Generator().manual_seed(1)
    x0, eps, said = (torch.randn(200, 3, generator=generator) for _ in range(3))
    ratio = torch.rand(200, generator=generator) * 5 + 0.1
    denoiser = Preconditioned(Told(said), Cosine(), Prediction(kind))
    plain = (said - targets(x0, eps, ratio)[kind]).square().mean(1) / (2 if kind == "flow" else 1)
    torch.testing.assert_close(denoising_loss(denoiser, x0, nothing(200), ratio, eps), plain, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", [0.1, 1.0, 10.0])
def test_knowing_nothing_scores_one(kind, level):
    generator = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(20000, 3, generator=generator) for _ in range(2))
    denoiser = Preconditioned(Told(torch.zeros(20000, 3)), Cosine(), preconditioning(kind))
    loss = denoising_loss(denoiser, x0, nothing(20000), torch.full((20000,), level), noise)
    assert loss.mean().item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("kind", KINDS)
def test_the_best_network_is_the_posterior_mean_of_normal_data(kind):
    """For x0 of N(m, s^2): m + s^2 / (s^2 + r^2) (x - m). The best F, linear in x, is found by regression."""
    generator = torch.Generator().manual_seed(0)
    m, s, n = 0.4, 0.7, 400_000
    x0 = m + s * torch.randn(n, 1, generator=generator, dtype=torch.float64)
    for r in (0.3, 1.0, 6.0):
        eps = torch.randn(n, 1, generator=generator, dtype=torch.float64)
        x, sigma = x0 + r * eps, torch.full((n,), r, dtype=torch.float64)
        skip, out, _, _ = preconditioning(kind).factors(sigma[:1])
        target = (x0 - skip * x) / out
        design = torch.cat([x, torch.ones_like(x)], 1)
        best = design @ torch.linalg.lstsq(design, target).solution
        denoiser = Preconditioned(Told(best), Cosine(), preconditioning(kind))
        posterior = m + s**2 / (s**2 + r**2) * (x - m)
        assert (denoiser.at(x, sigma, nothing(n)) - posterior).square().mean().sqrt().item() < 0.01


def test_v_is_the_preconditioning_of_edm_with_the_sign_turned():
    sigma = torch.tensor([0.05, 0.7, 3.0, 30.0])
    edm, v = Preconditioning().factors(sigma), Prediction("v").factors(sigma)
    torch.testing.assert_close(v[0], edm[0])
    torch.testing.assert_close(v[1], -edm[1])
    torch.testing.assert_close(Prediction("v").weight(sigma), Preconditioning().weight(sigma))


class Ideal:
    """The posterior mean of independent N(m, s^2) under a schedule."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def __call__(self, x_t, t, condition):
        alpha, sigma = self.schedule(torch.as_tensor(t, dtype=x_t.dtype))
        return 1.0 + alpha * 0.64 / (alpha**2 * 0.64 + sigma**2) * (x_t - alpha * 1.0)


@pytest.mark.parametrize("name", ["dpm", "ode", "heun", "ddim"])
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_every_schedule_samples_normal_data(name, schedule):
    walk = sampler.make(name, Ideal(schedule), schedule, 40)
    generator = torch.Generator().manual_seed(0)
    z = walk.sample(walk.start(4000, 2, generator), nothing(4000), generator)
    assert z.mean().item() == pytest.approx(1.0, abs=0.05)
    assert z.std().item() == pytest.approx(0.8, abs=0.05)


def test_times_are_even_in_training():
    ratio = EvenTimes(Flow(0.02, 100.0)).draw(4000, torch.Generator().manual_seed(0))
    low, high = 0.02 / 1.02, 100 / 101
    u = ((ratio / (1 + ratio) - low) / (high - low)).sort().values
    torch.testing.assert_close(u, (torch.arange(4000) + 0.5) / 4000, atol=3e-4, rtol=0)


def test_terms_are_what_they_are_called():
    x = torch.tensor([[1.0, -2.0, 0.0, 3.0]])
    assert sparsity(x).item() == pytest.approx(6 / 4)
    assert non_negativity(x).item() == pytest.approx(4 / 4)
    sets = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    true = torch.tensor([[2.0, 2.0, 9.0, 3.0]])
    assert pathway_consistency(x, true, sets).item() == pytest.approx((2.5**2 + 0) / 2)


def test_terms_look_at_low_noise_alone_and_add_up():
    generator = torch.Generator().manual_seed(0)
    real = torch.randn(60, 3, generator=generator)
    made, low = real + 2.0, torch.linspace(0.1, 4, 60)
    level = torch.nn.Identity()
    keep = low < 1
    both = Terms(Weights(sparsity=0.5, mmd=2.0), level)(made, real, low)
    one, other = (Terms(w, level)(made, real, low) for w in (Weights(sparsity=0.5), Weights(mmd=2.0)))
    assert one.item() == pytest.approx(0.5 * made[keep].abs().mean().item())
    assert other.item() > 0.5  # far apart
    assert both.item() == pytest.approx(one.item() + other.item(), rel=1e-5)
    assert Terms(Weights(sparsity=1.0), level)(made, real, torch.full((60,), 2.0)).item() == 0


def test_mmd_of_equal_sets_is_about_nothing():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(400, 4, generator=generator) for _ in range(2))
    assert abs(Terms(Weights(mmd=1.0), torch.nn.Identity())(a, b, torch.full((400,), 0.1)).item()) < 0.01
    assert math.isfinite(Terms(Weights(mmd=1.0), torch.nn.Identity())(a[:1], b[:1], torch.ones(1) * 0.1).item())
