"""Schedules and preconditioning: identities that hold whatever the network."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scdiff_core.diffusion.denoiser import Preconditioned, Preconditioning
from scdiff_core.diffusion.loss import EMA, NoiseLevels, denoising_loss
from scdiff_core.diffusion.schedule import Cosine, Karras, log_snr
from scdiff_core.nn.condition import Condition

SCHEDULES = [Karras(), Cosine(), Karras(0.002, 80.0, 5.0)]


def nothing(n: int) -> Condition:
    return Condition(torch.zeros(n, 0, dtype=torch.int64), torch.zeros(n, 0), ())


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_signal_to_noise_falls_from_clean_to_noise(schedule):
    snr = log_snr(schedule, torch.linspace(0, 1, 201, dtype=torch.float64))
    assert torch.all(snr.diff() < 0)
    assert snr[0] == pytest.approx(-2 * math.log(schedule.ratio_min), abs=1e-6)
    assert snr[-1] == pytest.approx(-2 * math.log(schedule.ratio_max), abs=1e-6)


def test_karras_is_the_published_grid():
    """Karras et al. 2022, eq. 5, with N = 18."""
    n, rho, low, high = 18, 7.0, 0.002, 80.0
    i = torch.arange(n, dtype=torch.float64)
    published = (high ** (1 / rho) + i / (n - 1) * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    alpha, sigma = Karras(low, high, rho)(1 - i / (n - 1))
    torch.testing.assert_close(sigma, published)
    assert torch.all(alpha == 1)


def test_cosine_preserves_variance():
    alpha, sigma = Cosine()(torch.linspace(0, 1, 50, dtype=torch.float64))
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(50, dtype=torch.float64))


@given(st.floats(1e-3, 1e3), st.floats(0.1, 10.0))
def test_preconditioning_has_unit_variance_in_and_out(sigma, sigma_data):
    """Karras et al. 2022, appendix B.6: inputs and targets of the network have unit variance."""
    c_skip, c_out, c_in, c_noise = (v.item() for v in Preconditioning(sigma_data).factors(
        torch.tensor(sigma, dtype=torch.float64)))
    assert c_in**2 * (sigma_data**2 + sigma**2) == pytest.approx(1)
    # target = (x0 - c_skip (x0 + sigma eps)) / c_out
    assert ((1 - c_skip) ** 2 * sigma_data**2 + c_skip**2 * sigma**2) / c_out**2 == pytest.approx(1)
    assert Preconditioning(sigma_data).weight(torch.tensor(sigma, dtype=torch.float64)).item() * c_out**2 \
        == pytest.approx(1)
    assert c_noise == pytest.approx(math.log(sigma) / 4)


class Silent(torch.nn.Module):
    """A network that knows nothing."""

    def forward(self, x, noise, condition):
        return torch.zeros_like(x)


def test_a_network_that_knows_nothing_scores_one_at_every_level():
    generator = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(20000, 3, generator=generator) for _ in range(2))
    denoiser = Preconditioned(Silent(), Karras())
    for level in (0.05, 1.0, 20.0):
        loss = denoising_loss(denoiser, x0, nothing(len(x0)), torch.full((len(x0),), level), noise)
        assert loss.mean().item() == pytest.approx(1, abs=0.03)


def test_one_network_serves_every_schedule():
    """At the same noise-to-signal ratio, the estimate is the same under either schedule."""
    class Network(torch.nn.Module):
        def forward(self, x, noise, condition):
            return torch.sin(x + noise[:, None])

    x = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    cosine, karras = Cosine(), Karras()
    alpha, sigma = cosine(torch.tensor(0.6, dtype=torch.float64))
    low, high = karras.ratio_min ** (1 / 7), karras.ratio_max ** (1 / 7)
    t = ((sigma / alpha) ** (1 / 7) - low) / (high - low)
    one = Preconditioned(Network(), cosine)(x * alpha, torch.tensor(0.6, dtype=torch.float64), nothing(5))
    other = Preconditioned(Network(), karras)(x, t, nothing(5))
    torch.testing.assert_close(one, other.to(one.dtype), rtol=1e-5, atol=1e-6)


def test_noise_levels_are_log_normal_and_cover_evenly():
    sigma = NoiseLevels(-0.5, 1.3).draw(4000, torch.Generator().manual_seed(0)).log()
    assert sigma.mean().item() == pytest.approx(-0.5, abs=0.01)
    assert sigma.std().item() == pytest.approx(1.3, abs=0.02)


def test_the_average_forgets_its_start():
    module = torch.nn.Linear(1, 1)
    ema = EMA(module, 0.9)
    with torch.no_grad():
        module.weight.fill_(5.0)
    for _ in range(200):
        ema.update(module)
    assert ema.weights["weight"].item() == pytest.approx(5.0, abs=1e-4)
