"""Guidance against mixtures of normals, where every conditional density is known in closed form."""

from __future__ import annotations

import pytest
import torch

from scdiff_core.diffusion.guidance import Between, ByClassifier, ClassifierFree, Given, Held, without
from scdiff_core.diffusion.sampler import DPMSolver, FlowODE
from scdiff_core.diffusion.schedule import Cosine, Karras
from scdiff_core.nn.condition import Condition

# two covariates of two and three values that go together: means [2, 3, D] and weights [2, 3] of normals of unit spread
MEANS = torch.tensor([[[0.0, 1.0], [2.0, -1.0], [4.0, 0.5]], [[-3.0, 2.0], [1.0, 1.5], [0.0, -4.0]]],
                     dtype=torch.float64)
WEIGHTS = torch.tensor([[0.3, 0.1, 0.05], [0.05, 0.2, 0.3]], dtype=torch.float64)
SIZES = (2, 3)


def log_joint(x, sigma):
    """log p(x, one, other) of x = x0 + sigma eps, [B, 2, 3]."""
    square = (x[:, None, None, :] - MEANS).square().sum(-1)
    return WEIGHTS.log() - 0.5 * square / (1 + sigma**2) - (1 + sigma**2).log()


def conditional(x, sigma, one, other):
    """log p(x, what is known): one and other are a value, or None."""
    table = log_joint(x, sigma)
    table = table if one is None else table[:, one:one + 1]
    table = table if other is None else table[:, :, other:other + 1]
    return table.flatten(1).logsumexp(1)


def score(x, log_density):
    x = x.detach().requires_grad_(True)
    return torch.autograd.grad(log_density(x).sum(), x)[0]


class Mixture:
    """E[x0 | x_t, condition] by Tweedie's formula on the log density."""

    schedule = Karras(0.01, 20.0)

    def __call__(self, x_t, t, condition):
        alpha, sigma = self.schedule(torch.as_tensor(t, dtype=x_t.dtype))
        one, other = (None if int(c) == n else int(c) for c, n in zip(condition.codes[0], SIZES, strict=True))
        x, ratio = x_t / alpha, sigma / alpha
        return x + ratio**2 * score(x, lambda v: conditional(v, ratio, one, other))


def known(n, one=2, other=3):
    return Condition(torch.tensor([[one, other]] * n), torch.zeros(n, 0), SIZES)


def points(n=5):
    return 3 * torch.randn(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("scale", "own"), [(1.0, {0: 3.0}), (1.15, {0: 2.0, 1: 0.5}), (0.0, {1: 2.0}),
                                            (2.0, {0: 2.0, 1: 2.0})])
def test_a_scale_for_each_covariate_is_a_product_of_likelihoods(scale, own):
    t, x = torch.tensor(0.6, dtype=torch.float64), points()
    _, sigma = Mixture.schedule(t)
    found = ClassifierFree(Mixture(), scale, scales=own)(x, t, known(5, 1, 2))

    def log_density(v):  # p(x) p(both | x)^scale prod p(one | x, the other)^(own - scale)
        free, both = conditional(v, sigma, None, None), conditional(v, sigma, 1, 2)
        total = free + scale * (both - free)
        total = total + (own.get(0, scale) - scale) * (both - conditional(v, sigma, None, 2))
        return total + (own.get(1, scale) - scale) * (both - conditional(v, sigma, 1, None))

    torch.testing.assert_close(found, x + sigma**2 * score(x, log_density))


def test_one_covariate_with_its_own_scale_is_plain_guidance():
    t, x, condition = torch.tensor(0.4, dtype=torch.float64), points(), known(5, other=1)
    own = ClassifierFree(Mixture(), 1.0, scales={1: 2.5})(x, t, condition)
    torch.testing.assert_close(own, ClassifierFree(Mixture(), 2.5)(x, t, condition))


def test_without_makes_one_covariate_unknown():
    condition = Condition(torch.tensor([[1, 2]]), torch.tensor([[0.5, -1.0]]), SIZES)
    assert without(condition, 0).codes.tolist() == [[2, 2]] and without(condition, 1).codes.tolist() == [[1, 3]]
    last = without(condition, 3)
    assert last.codes.tolist() == [[1, 2]] and last.conts[0, 0] == 0.5 and torch.isnan(last.conts[0, 1])


class Exact:
    """log P(one = label | x) of the mixture."""

    def gradient(self, x, sigma, label):
        return score(x, lambda v: conditional(v, sigma, label, None) - conditional(v, sigma, None, None))


@pytest.mark.parametrize("t", [0.1, 0.5, 0.95])
def test_an_exact_classifier_makes_the_unconditional_model_conditional(t):
    time, x = torch.tensor(t, dtype=torch.float64), points()
    guided = ByClassifier(Mixture(), Mixture.schedule, Exact(), 1, 1.0)(x, time, known(5))
    torch.testing.assert_close(guided, Mixture()(x, time, known(5, one=1)))
    off = ByClassifier(Mixture(), Mixture.schedule, Exact(), 1, 0.0)(x, time, known(5))
    torch.testing.assert_close(off, Mixture()(x, time, known(5)))


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_between_two_normals_lies_the_normal_of_the_mean_between(weight):
    class Far(Mixture):
        schedule = Karras(0.01, 500.0)  # so that the start, which knows no mean, is none the worse for it

    ends = [Given(Given(Far(), 0, one), 1, other) for one, other in ((0, 0), (1, 2))]
    walk = FlowODE(Between(*ends, weight), Far.schedule, 40)
    x = walk.start(4000, 2, torch.Generator().manual_seed(0)).double()
    z = walk.sample(x, known(4000), torch.Generator())
    mean = (1 - weight) * MEANS[0, 0] + weight * MEANS[1, 2]
    assert torch.all((z.mean(0) - mean).abs() < 0.05) and torch.all((z.std(0) - 1).abs() < 0.05)


def test_a_dimension_that_is_known_is_held():
    walk = DPMSolver(Held(Given(Given(Mixture(), 0, 0), 1, 0), torch.full((50, 1), 7.0, dtype=torch.float64)),
                     Mixture.schedule, 12)
    z = walk.sample(points(50), known(50), torch.Generator())
    torch.testing.assert_close(z[:, 1], torch.full((50,), 7.0, dtype=torch.float64))


@pytest.mark.parametrize("schedule", [Karras(0.01, 20.0), Cosine(0.01, 20.0)])
@pytest.mark.parametrize("top", [0.3, 0.7])
def test_from_partial_noise_a_normal_stays_what_it_is(schedule, top):
    """Noised to t and walked back, normal data keep their distribution, and more of each point the less the noise."""
    class Unit:
        def __call__(self, x_t, t, condition):
            alpha, sigma = schedule(torch.as_tensor(t, dtype=x_t.dtype))
            return 2 + alpha / (alpha**2 + sigma**2) * (x_t - 2 * alpha)

    x0 = 2 + torch.randn(4000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    walk = FlowODE(Unit(), schedule, 30, top=top)
    z = walk.sample(walk.noised(x0, torch.Generator().manual_seed(2)), known(4000), torch.Generator())
    alpha, sigma = schedule(torch.tensor(top, dtype=torch.float64))
    kept = float(alpha / (alpha**2 + sigma**2).sqrt())
    assert abs(z.mean() - 2) < 0.06 and abs(z.std() - 1) < 0.05
    assert abs(float(torch.corrcoef(torch.cat([x0, z], 1).T)[0, 1]) - kept) < 0.04
