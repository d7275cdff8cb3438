"""Likelihoods against torch.distributions and scipy; their inverse and their transform."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch

from scdiff_core.nn import quantiles, strays
from scdiff_core.nn.likelihood import HurdleNormal, NegativeBinomial, Values


def observed(x: torch.Tensor) -> Values:
    flat = x.reshape(-1).nonzero().squeeze(1)
    return Values(tuple(x.shape), flat, x.reshape(-1)[flat])


@pytest.fixture
def negative_binomial():
    generator = torch.Generator().manual_seed(0)
    log_mean = torch.randn(40, 30, generator=generator) * 1.5 - 0.5
    log_theta = torch.randn(40, 30, generator=generator)
    theta, mean = log_theta.double().exp().numpy(), log_mean.double().exp().numpy()
    counts = np.random.default_rng(0).negative_binomial(theta, theta / (theta + mean))
    return log_mean, log_theta, torch.from_numpy(counts.astype(np.float32))


def test_negative_binomial_and_its_gradient_are_those_of_torch(negative_binomial):
    log_mean, log_theta, counts = negative_binomial
    own, theirs = [tuple(v.clone().requires_grad_() for v in (log_mean, log_theta)) for _ in range(2)]
    weight = torch.rand(len(counts), generator=torch.Generator().manual_seed(1))
    value = NegativeBinomial(*own).log_likelihood(observed(counts))
    distribution = torch.distributions.NegativeBinomial(theirs[1].double().exp(),
                                                        logits=(theirs[0] - theirs[1]).double())
    expected = distribution.log_prob(counts.double()).sum(1)
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-3)
    for a, b in zip(torch.autograd.grad((value * weight).sum(), own),
                    torch.autograd.grad((expected * weight).sum(), theirs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def some_strays(n_genes: int, dtype: torch.dtype = torch.float32) -> strays.Strays:
    weights = torch.randn(strays.N_BINS, generator=torch.Generator().manual_seed(5), dtype=dtype)
    return strays.Strays(torch.full((n_genes,), -3.0, dtype=dtype), weights)


def test_a_stray_count_teaches_nothing_and_an_ordinary_one_as_before():
    log_mean = torch.tensor([[math.log(0.1), math.log(3.0)]], requires_grad=True)
    log_theta = torch.tensor([[1.0, 1.0]], requires_grad=True)
    values = observed(torch.tensor([[60.0, 4.0]]))
    grads = [torch.autograd.grad(NegativeBinomial(log_mean, log_theta, s).log_likelihood(values).sum(),
                                 (log_mean, log_theta)) for s in (None, some_strays(2))]
    assert grads[0][0][0, 0] > 5
    assert abs(grads[1][0][0, 0]) < 1  # it only says that there is a count
    assert abs(grads[1][1][0, 0]) < 0.1
    torch.testing.assert_close(grads[1][0][0, 1], grads[0][0][0, 1], rtol=2e-3, atol=0)


def test_counts_with_strays_are_the_mixture_and_sum_to_one():
    """Every count up to far beyond the largest stray, one a cell: the probabilities are the formula's, and whole."""
    mean, theta, made = 2.0, 1.5, some_strays(1, torch.float64)
    x = torch.arange(0, 150_000, dtype=torch.float64)[:, None]
    likelihood = NegativeBinomial(torch.full_like(x, math.log(mean)), torch.full_like(x, math.log(theta)), made)
    p = likelihood.log_likelihood(observed(x)).exp().numpy()
    own = scipy.stats.nbinom.pmf(x[:, 0].numpy(), theta, theta / (theta + mean))
    share, edges = float(made.share), strays.EDGES.double()
    weights = torch.softmax(made.weights, 0)
    size = np.zeros(len(x))
    for w, low, high in zip(weights.tolist(), edges[:-1].int().tolist(), edges[1:].int().tolist(), strict=True):
        size[low + 2:high + 2] = w / (high - low)  # of the excess over the mean of 2
    expected = np.where(x[:, 0].numpy() > 0, (1 - share) * own + share * (1 - own[0]) * size, own)
    np.testing.assert_allclose(p, expected, rtol=1e-6, atol=1e-12)
    assert p.sum() == pytest.approx(1, abs=1e-6)


def test_gradient_with_strays_is_that_of_finite_differences():
    generator = torch.Generator().manual_seed(2)
    log_mean = torch.randn(3, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    log_theta = torch.randn(3, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    logit = torch.tensor([-2.0, -4.0, -1.0, -3.0], dtype=torch.float64, requires_grad=True)
    weights = torch.randn(strays.N_BINS, dtype=torch.float64, generator=generator, requires_grad=True)
    values = observed(torch.tensor([[0, 1, 2, 30.0], [5, 0, 0, 1], [9, 9, 0, 2]], dtype=torch.float64))
    assert torch.autograd.gradcheck(
        lambda m, t, s, w: NegativeBinomial(m, t, strays.Strays(s, w)).log_likelihood(values).sum(),
        (log_mean, log_theta, logit, weights))


def test_strays_are_drawn_on_non_zero_counts_as_often_and_as_large_as_they_say():
    made = strays.Strays(torch.cat([torch.full((250,), -2.0), torch.full((250,), -4.0)]), strays.start(100.0))
    likelihood = NegativeBinomial(torch.full((400, 500), math.log(0.5)), torch.full((400, 500), 9.0), made)
    generator = torch.Generator().manual_seed(0)
    u = torch.rand((400, 500), generator=generator)
    without, counts = likelihood.inverse(u), likelihood.sample(u, generator)
    extra = (counts - without)[counts > without]
    assert torch.equal(counts == 0, without == 0)
    for genes in (slice(0, 250), slice(250, 500)):
        some = (counts > without)[:, genes].sum() / (without > 0)[:, genes].sum()
        assert float(some) == pytest.approx(float(made.share[genes][0]), rel=0.1)
    assert float(extra.min()) >= 4 and float(extra.max()) < 128
    assert float(extra.mean()) == pytest.approx(float(made.mean), rel=0.05)
    assert float(counts.mean()) == pytest.approx(float(likelihood.mean.mean()), rel=0.05)


def test_the_transform_does_not_see_strays():
    made = strays.Strays(torch.full((300,), -2.0), strays.start(100.0))
    likelihood = NegativeBinomial(torch.full((200, 300), math.log(0.5)), torch.full((200, 300), 3.0), made)
    generator = torch.Generator().manual_seed(0)
    counts = likelihood.sample(torch.rand((200, 300), generator=generator), generator)
    u = likelihood.pit(observed(counts), generator).reshape(-1).numpy()
    assert scipy.stats.kstest(u, "uniform").pvalue > 1e-3


def test_inverse_is_the_quantile_function_of_scipy(negative_binomial):
    log_mean, log_theta, _ = negative_binomial
    theta, mean = log_theta.double().exp().numpy(), log_mean.double().exp().numpy()
    u = torch.rand(log_mean.shape, generator=torch.Generator().manual_seed(3))
    counts = NegativeBinomial(log_mean, log_theta).inverse(u).numpy()
    assert np.array_equal(counts, scipy.stats.nbinom.ppf(u.double().numpy(), theta, theta / (theta + mean)))


def test_transform_lies_between_the_cumulative_probabilities_and_inverts(negative_binomial):
    log_mean, log_theta, counts = negative_binomial
    theta, mean = log_theta.double().exp().numpy(), log_mean.double().exp().numpy()
    made = NegativeBinomial(log_mean, log_theta)
    u = made.pit(observed(counts), torch.Generator().manual_seed(4))
    p = theta / (theta + mean)
    assert np.all(u.numpy() <= scipy.stats.nbinom.cdf(counts.numpy(), theta, p) + 1e-6)
    assert np.all(u.numpy() >= scipy.stats.nbinom.cdf(counts.numpy() - 1, theta, p) - 1e-6)
    assert torch.equal(made.inverse(u), counts)
    assert scipy.stats.kstest(u.reshape(-1).numpy(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize(("mean", "theta"), [(900.0, 8000.0), (5e4, 0.5), (300.0, 0.05), (200.0, 0.02), (3e5, 30.0)])
def test_large_counts_are_those_of_scipy(mean, theta):
    """Reads of full-length protocols reach 100,000: the approximation must hold in value and in its inverse."""
    made = NegativeBinomial(torch.full((1, 999), math.log(mean)), torch.full((1, 999), math.log(theta)))
    u = torch.linspace(0.001, 0.999, 999)[None]
    counts = made.inverse(u)
    exact = scipy.stats.nbinom.ppf(u.double().numpy(), theta, theta / (theta + mean))
    np.testing.assert_allclose(counts.numpy(), exact, rtol=0.02, atol=3.0)
    again = made.pit(observed(counts), torch.Generator().manual_seed(0))
    sure = counts > 20  # below, one count is a large share of the probability
    assert (again - u)[sure].abs().max() < 0.02


@pytest.mark.parametrize("positive", [True, False])
def test_hurdle_normal_density_transform_and_inverse(positive):
    generator = torch.Generator().manual_seed(5)
    made = HurdleNormal(torch.randn(200, 10, generator=generator), 1.5 + torch.randn(200, 10, generator=generator),
                        torch.full((200, 10), -0.7), positive)
    u = torch.rand(200, 10, generator=generator)
    x = made.inverse(u)
    zero = torch.sigmoid(made.zero_logit)
    assert torch.equal(x == 0, u <= zero)
    assert bool((x < 0).any()) is not positive
    back = made.pit(observed(x), generator)
    torch.testing.assert_close(back[x != 0], u[x != 0], atol=2e-3, rtol=0)
    normal = torch.distributions.Normal(made.location, made.log_scale.exp())
    expected = torch.where(x == 0, zero.log(), (1 - zero).log() + normal.log_prob(x)).sum(1)
    torch.testing.assert_close(made.log_likelihood(observed(x)), expected, rtol=1e-4, atol=1e-3)


def test_table_of_quantiles_restores_a_wrong_likelihood():
    """Counts of one dispersion said by another: drawn through the table, zeros and spread come near the truth."""
    n, rng = 6000, np.random.default_rng(0)
    mean = np.exp(rng.normal(0.3, 0.3, (n, 2)))
    truth = rng.negative_binomial(0.6, 0.6 / (0.6 + mean)).astype(np.float32)
    wrong = NegativeBinomial(torch.from_numpy(np.log(mean)).float(), torch.full((n, 2), 1.5))
    generator = torch.Generator().manual_seed(0)
    table = quantiles.tabulate(wrong.pit(observed(torch.from_numpy(truth)), generator))
    plain, mended = (wrong.inverse(quantiles.look_up(t, torch.rand(n, 2, generator=generator))).numpy()
                     for t in (quantiles.identity(2), table))
    def wrong_zeros(x):
        return abs((x == 0).mean() - (truth == 0).mean())

    assert wrong_zeros(plain) > 0.1
    assert wrong_zeros(mended) < 0.4 * wrong_zeros(plain)
    assert abs(mended.var() / truth.var() - 1) < 0.3 < abs(plain.var() / truth.var() - 1)


def test_quantiles_of_even_draws_are_the_identity():
    u = torch.rand(20000, 3, generator=torch.Generator().manual_seed(0))
    table = quantiles.tabulate(u)
    assert (table - quantiles.identity(3)).abs().max() < 0.02
    bent = quantiles.tabulate(u**2)
    torch.testing.assert_close(quantiles.look_up(bent, u), u**2, atol=0.02, rtol=0)
    torch.testing.assert_close(quantiles.blend(bent, 0.0), quantiles.identity(3))


@pytest.mark.filterwarnings("ignore")
def test_disagreement_is_that_of_scipy_and_falls_with_the_difference():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(400, 2, generator=generator), torch.randn(300, 2, generator=generator)
    values = [quantiles.disagreement(x, y + shift) for shift in (0.0, 0.3, 1.0)]
    assert values == sorted(values)
    pool = 700
    for shift, value in zip((0.0, 0.3, 1.0), values, strict=True):
        theirs = np.mean([scipy.stats.anderson_ksamp([x[:, j].numpy(), (y[:, j] + shift).numpy()],
                                                     variant="right").statistic for j in range(2)])
        assert value == pytest.approx(_raw(theirs, 400, 300) * pool / (400 * 300), rel=0.05)


def _raw(statistic: float, n: int, m: int) -> float:
    """Undo the standardisation of scipy's statistic (Scholz and Stephens 1987, eq. 4) for two samples."""
    pool = n + m
    h, big_h = sum(1 / i for i in range(1, pool)), 1 / n + 1 / m
    g = sum(1 / ((pool - i) * j) for i in range(1, pool - 1) for j in range(i + 1, pool))
    a = (4 * g - 6) + (10 - 6 * g) * big_h
    b = (2 * g - 4) * 4 + 16 * h + (2 * g - 14 * h - 4) * big_h - 8 * h + 4 * g - 6
    c = (6 * h + 2 * g - 2) * 4 + (4 * h - 4 * g + 6) * 2 + (2 * h - 6) * big_h + 4 * h
    d = (2 * h + 6) * 4 - 8 * h
    variance = (a * pool**3 + b * pool**2 + c * pool + d) / ((pool - 1) * (pool - 2) * (pool - 3))
    return statistic * variance**0.5 + 1
