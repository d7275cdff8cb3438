"""Samplers against the closed-form denoiser of a Gaussian, and against `diffusers` as an oracle."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch

from scdiff_core.diffusion import sampler
from scdiff_core.diffusion.guidance import ClassifierFree
from scdiff_core.diffusion.sampler import DDIM, DDPM, DPMSolver, FlowODE, Heun, ReverseSDE
from scdiff_core.diffusion.schedule import Cosine, Karras
from scdiff_core.errors import ScdiffError
from scdiff_core.nn.condition import Condition

MEAN = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
STD = torch.tensor([0.3, 1.0, 1.7], dtype=torch.float64)
FINE_KARRAS, FINE_COSINE = Karras(1e-4, 200.0), Cosine(1e-4, 200.0)


def nothing(n: int) -> Condition:
    return Condition(torch.zeros(n, 0, dtype=torch.int64), torch.zeros(n, 0), ())


class Gaussian:
    """The exact E[x0 | x_t] where x0 is normal with mean MEAN and spread STD."""

    def __init__(self, schedule):
        self.schedule = schedule

    def __call__(self, x_t, t, condition):
        alpha, sigma = self.schedule(torch.as_tensor(t, dtype=x_t.dtype))
        gain = alpha * STD**2 / (alpha**2 * STD**2 + sigma**2)
        return MEAN + gain * (x_t - alpha * MEAN)


def exact_end(schedule, x):
    """Where the probability-flow ODE takes x from t = 1 to no noise at all, in closed form."""
    alpha, sigma = schedule(torch.ones((), dtype=torch.float64))
    return MEAN + STD * (x - alpha * MEAN) / (alpha**2 * STD**2 + sigma**2).sqrt()


def noise(n=4000, seed=0):
    return torch.randn(n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("schedule", [FINE_KARRAS, FINE_COSINE])
@pytest.mark.parametrize(("kind", "steps", "tolerance"), [
    (Heun, 60, 0.02), (DDIM, 400, 0.02), (DDPM, 1000, 0.06), (DPMSolver, 80, 0.02), (ReverseSDE, 200, 0.03),
    (FlowODE, 60, 0.02)])
def test_mean_and_spread_of_a_gaussian_are_recovered(schedule, kind, steps, tolerance):
    made = kind(Gaussian(schedule), schedule, steps)
    generator = torch.Generator().manual_seed(1)
    alpha, sigma = schedule(torch.ones((), dtype=torch.float64))
    x = made.sample(noise() * (alpha**2 + sigma**2).sqrt(), nothing(4000), generator)
    sampling_error = 4 * STD / math.sqrt(4000)
    assert torch.all((x.mean(0) - MEAN).abs() < sampling_error + tolerance * STD)
    assert torch.all((x.std(0) / STD - 1).abs() < 4 / math.sqrt(8000) + tolerance)


@pytest.mark.parametrize(("kind", "order"), [(Heun, 2), (DDIM, 1), (DPMSolver, 2), (FlowODE, 4)])
def test_order_of_convergence(kind, order):
    """Twice the steps make the error of the ODE a half (Euler, DDIM), a quarter (Heun, 2M), a sixteenth (RK4)."""
    schedule = Karras(0.02, 40.0, 7.0)
    x = noise(50) * 40
    errors = []
    _, end = schedule(torch.zeros((), dtype=torch.float64))
    for steps in (41, 81, 161):
        *_, before, _ = list(kind(Gaussian(schedule), schedule, steps).iterate(x, nothing(50), torch.Generator()))
        exact = MEAN + (STD**2 + end**2).sqrt() * (x - MEAN) / (STD**2 + 40.0**2).sqrt()
        errors.append((before.x - exact).abs().max().item())
    ratios = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert ratios == pytest.approx([order] * 2, abs=0.25)


def mixture_estimate(x, r):
    """E[x0 | x0 + r eps = x] where x0 is -1 or 2 in each dimension (weights 0.3 and 0.7) with spread 0.4."""
    centres, weights = torch.tensor([-1.0, 2.0], dtype=x.dtype), torch.tensor([0.3, 0.7], dtype=x.dtype)
    variance = 0.16 + r**2
    share = torch.softmax(weights.log() - (x[..., None] - centres) ** 2 / (2 * variance), -1)
    return (share * (centres + 0.16 / variance * (x[..., None] - centres))).sum(-1)


class Mixture:
    """The exact E[x0 | x_t] of the mixture of two Gaussians."""

    def __init__(self, schedule):
        self.schedule = schedule

    def __call__(self, x_t, t, condition):
        alpha, sigma = self.schedule(torch.as_tensor(t, dtype=x_t.dtype))
        return mixture_estimate(x_t / alpha, sigma / alpha)


@pytest.mark.parametrize(("kind", "steps"), [(DPMSolver, 40), (ReverseSDE, 120), (FlowODE, 20), (Heun, 30)])
@pytest.mark.parametrize("schedule", [Karras(0.01, 60.0), Cosine(0.01, 60.0)])
def test_both_modes_of_a_mixture_come_out_in_their_shares(kind, steps, schedule):
    start = noise(20000, 2) * (torch.stack(schedule(torch.ones((), dtype=torch.float64))) ** 2).sum().sqrt()
    x = kind(Mixture(schedule), schedule, steps).sample(start, nothing(20000), torch.Generator().manual_seed(2))
    upper = x > 0.5
    assert upper.double().mean().item() == pytest.approx(0.7, abs=0.012)
    for mode, centre in ((x[upper], 2.0), (x[~upper], -1.0)):
        assert mode.mean().item() == pytest.approx(centre, abs=0.02)
        assert mode.std().item() == pytest.approx(0.4, rel=0.04)


@pytest.mark.parametrize("kind", [DPMSolver, FlowODE, Heun])
def test_where_the_flow_ends_does_not_depend_on_the_schedule(kind):
    """The same start on x / alpha, between the same ratios of noise to signal, ends in the same place."""
    start = noise(40, 3)
    ends = []
    for schedule in (Karras(0.02, 40.0), Cosine(0.02, 40.0), Karras(0.02, 40.0, 3.0)):
        _, sigma = schedule(torch.ones((), dtype=torch.float64))
        made = kind(Mixture(schedule), schedule, 800).sample(start * sigma, nothing(40), torch.Generator())
        ends.append(made)
    torch.testing.assert_close(ends[1], ends[0], rtol=1e-2, atol=5e-3)
    torch.testing.assert_close(ends[2], ends[0], rtol=1e-2, atol=5e-3)


@pytest.mark.parametrize(("kind", "algorithm"), [(DPMSolver, "dpmsolver++"), (ReverseSDE, "sde-dpmsolver++")])
def test_dpm_solver_is_that_of_diffusers(kind, algorithm):
    """All steps but the last, with the same fresh noise where there is any; on one grid of noise levels."""
    diffusers = pytest.importorskip("diffusers")
    schedule, steps = Karras(0.03, 30.0, 7.0), 9
    theirs = diffusers.DPMSolverMultistepScheduler(algorithm_type=algorithm, prediction_type="sample",
                                                   solver_order=2, lower_order_final=False)
    theirs.set_timesteps(steps)
    _, sigmas = schedule(torch.linspace(1, 0, steps, dtype=torch.float64))
    theirs.sigmas, theirs.timesteps = sigmas, torch.arange(steps)
    x = start = noise(6, 4) * 30
    own = list(kind(Gaussian(schedule), schedule, steps).iterate(start, nothing(6), torch.Generator().manual_seed(5)))
    fresh = torch.Generator().manual_seed(5)
    scale = (1 + sigmas**2).sqrt()  # theirs preserves variance: x / sqrt(1 + sigma^2)
    x = start / scale[0]
    for i in range(steps - 1):
        gain = STD**2 / (STD**2 + sigmas[i] ** 2)
        x0_hat = MEAN + gain * (x * scale[i] - MEAN)
        draw = torch.randn(x.shape, generator=fresh, dtype=x.dtype) if kind is ReverseSDE else None
        x = theirs.step(x0_hat, theirs.timesteps[i], x, variance_noise=draw).prev_sample
        torch.testing.assert_close(own[i].x, (x * scale[i + 1]).to(own[i].x.dtype), rtol=1e-4, atol=1e-4)


def test_reverse_sde_of_one_dimension_has_the_spread_of_the_exact_one():
    """Ten steps: the second-order estimate brings the spread of a Gaussian nearer than the first-order one does."""
    schedule = Karras(0.02, 40.0)
    errors = {}
    for kind in (DDPM, ReverseSDE):
        x = kind(Gaussian(schedule), schedule, 12).sample(noise(40000, 6) * 40, nothing(40000),
                                                          torch.Generator().manual_seed(7))
        errors[kind] = (x.std(0) / STD - 1).abs().max().item()
    assert errors[ReverseSDE] < 0.5 * errors[DDPM]


@pytest.mark.parametrize("name", sampler.SAMPLERS)
def test_evaluations_are_as_many_as_told(name):
    calls = []

    def counted(x_t, t, condition):
        calls.append(float(t))
        return Gaussian(Karras())(x_t, t, condition)

    made = sampler.make(name, counted, Karras(), 6)
    made.sample(noise(3), nothing(3), torch.Generator().manual_seed(0))
    assert len(calls) == made.evaluations


def test_deterministic_samplers_end_where_the_closed_form_says():
    x = noise(50) * 200
    for kind in (Heun, DPMSolver, FlowODE):
        end = kind(Gaussian(FINE_KARRAS), FINE_KARRAS, 200).sample(x, nothing(50), torch.Generator())
        torch.testing.assert_close(end, exact_end(FINE_KARRAS, x), atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_step_is_that_of_diffusers(eta):
    """One step after the other, from the same state and with the same fresh noise."""
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.DDIMScheduler(num_train_timesteps=1000, beta_schedule="linear", clip_sample=False,
                                     prediction_type="sample", set_alpha_to_one=False, timestep_spacing="leading")
    theirs.set_timesteps(20)
    bar = theirs.alphas_cumprod.double()
    index = theirs.timesteps.flip(0)

    class Table:
        def __call__(self, t):
            at = index[(torch.as_tensor(t, dtype=torch.float64) * (len(index) - 1)).round().long()]
            return bar[at].sqrt(), (1 - bar[at]).sqrt()

    schedule = Table()
    x = noise(8)
    own = list(DDIM(Gaussian(schedule), schedule, 20, eta).iterate(x, nothing(8), torch.Generator().manual_seed(3)))
    fresh = torch.Generator().manual_seed(3)
    for i, t in enumerate(theirs.timesteps[:-1]):
        x0_hat = Gaussian(schedule)(x, torch.tensor(1 - i / 19, dtype=torch.float64), None)
        draw = torch.randn(x.shape, generator=fresh, dtype=x.dtype) if eta else None
        x = theirs.step(x0_hat, t, x, eta=eta, variance_noise=draw).prev_sample
        torch.testing.assert_close(own[i].x, x, rtol=1e-4, atol=1e-4)


def test_heun_is_that_of_diffusers():
    diffusers = pytest.importorskip("diffusers")
    schedule = Karras(0.03, 30.0, 7.0)
    theirs = diffusers.HeunDiscreteScheduler(num_train_timesteps=1000)
    theirs.set_timesteps(12)
    _, sigmas = schedule(torch.linspace(1, 0, 12, dtype=torch.float64))
    both = torch.cat([sigmas[:1], sigmas[1:].repeat_interleave(2), torch.zeros(1)])
    theirs.sigmas, theirs.timesteps = both, torch.arange(len(both) - 1, dtype=torch.float64)
    theirs._step_index = None
    x = start = noise(6) * 30
    for i, t in enumerate(theirs.timesteps):
        sigma = both[i]
        gain = STD**2 / (STD**2 + sigma**2)
        x0_hat = MEAN + gain * (x - MEAN)
        x = theirs.step((x - x0_hat) / sigma, t, x).prev_sample
    own = Heun(Gaussian(schedule), schedule, 12).sample(start, nothing(6), torch.Generator())
    torch.testing.assert_close(own, x, rtol=1e-4, atol=1e-5)


def test_ddpm_is_ddim_at_eta_one():
    x = noise(9)
    made = [s.sample(x, nothing(9), torch.Generator().manual_seed(0)) for s in (
        DDPM(Gaussian(Cosine()), Cosine(), 30), DDIM(Gaussian(Cosine()), Cosine(), 30, 1.0))]
    assert torch.equal(*made)


@pytest.mark.parametrize("name", sampler.SAMPLERS)
def test_same_seed_same_cells_and_steps_are_told(name):
    made = sampler.make(name, Gaussian(Karras()), Karras(), 7, eta=0.3)
    first, again = (list(made.iterate(noise(5), nothing(5), torch.Generator().manual_seed(4))) for _ in range(2))
    assert [s.i for s in first] == list(range(1, 8))
    assert {s.n for s in first} == {7}
    assert np.all(np.diff([s.t for s in first]) <= 0)
    assert torch.equal(first[-1].x, again[-1].x)
    assert torch.equal(first[-1].x, first[-1].x0_hat)


def test_one_step_is_the_estimate_from_noise():
    x = noise(5)
    for name in sampler.SAMPLERS:
        made = sampler.make(name, Gaussian(Karras()), Karras(), 1).sample(x, nothing(5), torch.Generator())
        torch.testing.assert_close(made, Gaussian(Karras())(x, torch.ones(()), None))


def test_unknown_sampler_is_refused():
    with pytest.raises(ScdiffError, match="no sampler 'euler'"):
        sampler.make("euler", Gaussian(Karras()), Karras(), 5)


def test_guidance_identities():
    """Scale 1 is the conditional estimate, 0 the unconditional, 2 the extrapolation; each costs what it must."""
    calls = []

    def denoiser(x_t, t, condition):
        calls.append(condition)
        return torch.where(condition.codes == 3, -1.0, 2.0) + 0 * x_t

    condition = Condition(torch.tensor([[0], [1]]), torch.zeros(2, 0), (3,))
    x, t = torch.zeros(2, 1), torch.ones(())
    values = {}
    for scale, evaluations in ((1.0, 1), (0.0, 1), (2.0, 2), (0.5, 2)):
        calls.clear()
        values[scale] = ClassifierFree(denoiser, scale)(x, t, condition)[0].item()
        assert len(calls) == evaluations
    assert values == {1.0: 2.0, 0.0: -1.0, 2.0: 5.0, 0.5: 0.5}


def test_the_estimate_of_a_cell_does_not_depend_on_its_company():
    made = Heun(Gaussian(Karras()), Karras(), 9)
    x = noise(6)
    order = torch.tensor([3, 0, 5, 1, 2, 4])
    together = made.sample(x, nothing(6), torch.Generator())
    torch.testing.assert_close(made.sample(x[order], nothing(6), torch.Generator()), together[order])
    torch.testing.assert_close(made.sample(x[:1], nothing(1), torch.Generator()), together[:1])


def test_guidance_leaves_the_plain_dimensions_at_the_conditional_estimate():
    def denoiser(x_t, t, condition):
        return x_t + (0.0 if condition.codes[0, 0] == 3 else 1.0)  # 3 is the null

    condition, x, t = Condition(torch.tensor([[1]]), torch.zeros(1, 0), (3,)), torch.zeros(1, 3), torch.tensor(0.5)
    assert ClassifierFree(denoiser, 2.0, plain=1)(x, t, condition).tolist() == [[2.0, 2.0, 1.0]]
    assert ClassifierFree(denoiser, 0.0, plain=1)(x, t, condition).tolist() == [[0.0, 0.0, 0.0]]


def test_noise_is_normal_and_more_even_than_chance():
    """One draw from each n-th of the normal distribution: the mean strays far less than 1 / sqrt(n)."""
    walk = Heun(Gaussian(Karras()), Karras(), 4)
    noise = walk.start(500, 20, torch.Generator().manual_seed(0)) / math.hypot(1.0, 40.0)
    for column in noise.T:
        assert scipy.stats.kstest(column.numpy(), "norm").statistic < 1 / 500 + 1e-3
    assert float(noise.mean(0).abs().max()) < 0.1 / 500**0.5
    off = np.corrcoef(noise.T.numpy())[np.triu_indices(20, 1)]
    assert np.abs(off).mean() == pytest.approx((2 / np.pi / 500) ** 0.5, rel=0.25)  # as of independent draws
