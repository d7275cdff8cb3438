"""The log density of the probability-flow ODE, against closed forms."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical as Weights
from torch.distributions import MixtureSameFamily, MultivariateNormal

from scdiff_core.diffusion.log_density import FlowLikelihood
from scdiff_core.diffusion.schedule import Cosine, Karras, Schedule
from scdiff_core.nn.condition import Condition

NONE = Condition(torch.zeros(64, 0, dtype=torch.int64), torch.zeros(64, 0), ())


def ideal(schedule: Schedule, means: Tensor, covariances: Tensor, weights: Tensor) -> Callable[..., Tensor]:
    """The exact estimate of clean data where data is a mixture of normals: Tweedie's formula."""
    spread, axes = torch.linalg.eigh(covariances)

    def denoiser(x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        alpha, sigma = (v.to(x.dtype) for v in schedule(torch.as_tensor(t, dtype=torch.float64)))
        noisy = spread + (sigma / alpha) ** 2
        along = torch.einsum("bkd,kde->bke", (x / alpha)[:, None] - means, axes)
        each = -0.5 * (along**2 / noisy).sum(2) - 0.5 * noisy.log().sum(1) + weights.log()
        pulled = means + torch.einsum("bke,kde->bkd", along * spread / noisy, axes)
        return (torch.softmax(each, 1)[..., None] * pulled).sum(1)

    return denoiser


def walk(flow: FlowLikelihood, x: Tensor) -> Tensor:
    steps = flow.log_prob(x, NONE, torch.Generator().manual_seed(0))
    n = 0
    while True:
        try:
            n = next(steps)
        except StopIteration as end:
            assert n == flow.steps
            return end.value[0]


def covariance(n: int, d: int) -> Tensor:
    a = torch.randn((n, d, d), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    c = a @ a.transpose(1, 2) / d + 0.2 * torch.eye(d, dtype=torch.float64)
    return c / torch.diagonal(c, dim1=1, dim2=2).mean(1)[:, None, None]


@pytest.mark.parametrize("schedule", [Karras(ratio_max=400), Cosine(ratio_max=400)])
def test_of_normal_data_it_is_the_closed_form(schedule: Schedule) -> None:
    d = 5
    c = covariance(1, d)
    mean = torch.linspace(-1, 1, d, dtype=torch.float64)[None]
    least = MultivariateNormal(mean[0], c[0] + 0.02**2 * torch.eye(d))
    draw = torch.randn((64, d), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    x = 1.5 * (mean + draw @ torch.linalg.cholesky(c[0]).T)
    denoiser, exact = ideal(schedule, mean, c, torch.ones(1, dtype=torch.float64)), least.log_prob(x)
    few, many = (walk(FlowLikelihood(denoiser, schedule, n, 0), x) for n in (41, 81))
    assert torch.allclose((4 * many - few) / 3, exact, atol=0.1, rtol=0.01)  # carried on to no step at all
    ratio = (few - exact).abs().mean() / (many - exact).abs().mean()
    assert 3.5 < float(ratio) < 4.6  # half the step, a quarter of the error: Heun's rule is of second order
    assert torch.allclose((4 * many - few) / 3, exact, atol=0.08)  # and hardly anything but that error is left


def test_of_two_groups_it_is_the_closed_form_and_the_steps_of_use_are_near() -> None:
    d = 4
    c, schedule = covariance(2, d) * 0.3, Karras(ratio_max=400)  # so much noise that no trace of the groups is left
    means = torch.tensor([[1.0, 1, 0, -1], [-1, -1, 1, 0]], dtype=torch.float64)
    weights = torch.tensor([0.7, 0.3], dtype=torch.float64)
    mixture = MixtureSameFamily(Weights(weights), MultivariateNormal(means, c + 0.02**2 * torch.eye(d)))
    torch.manual_seed(0)
    x = torch.cat([mixture.sample((56,)), 4 * torch.randn(8, d, dtype=torch.float64)])
    denoiser = ideal(schedule, means, c, weights)
    exact = mixture.log_prob(x)
    coarse, fine = (walk(FlowLikelihood(denoiser, schedule, n, 0), x) for n in (41, 81))
    assert float(((4 * fine - coarse) / 3 - exact)[:56].abs().max()) < 0.08
    few = walk(FlowLikelihood(denoiser, schedule, 12, 0), x)
    assert float((few - exact).abs().median()) < 1.5
    assert float(torch.corrcoef(torch.stack([few, exact]))[0, 1]) > 0.99


def test_random_probes_are_right_in_the_mean() -> None:
    d = 5
    c, mean, schedule = covariance(1, d), torch.zeros(1, d, dtype=torch.float64), Karras()
    x = MultivariateNormal(mean[0], c[0]).sample((1,)).expand(64, d).contiguous()  # one cell, 64 times
    flow = FlowLikelihood(ideal(schedule, mean, c, torch.ones(1, dtype=torch.float64)), schedule, 40, 2)
    exact = walk(FlowLikelihood(flow.denoiser, schedule, 40, 0), x)
    found = walk(flow, x)
    assert float(found.std()) > 1e-3
    assert abs(float(found.mean() - exact.mean())) < 3 * float(found.std()) / math.sqrt(64)
