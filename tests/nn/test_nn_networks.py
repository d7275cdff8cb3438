"""Networks: no cell's result depends on its company, each covariate has its own null, codecs keep units."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import nn

from scdiff_core.nn.backbone import Backbone
from scdiff_core.nn.codec import STRAY_SPREAD, VAE, WEIGHT_SPREAD, Posterior
from scdiff_core.nn.condition import Condition, ConditionEncoder
from scdiff_core.nn.likelihood import NegativeBinomial, Values
from scdiff_core.nn.pca import PCACodec
from scdiff_core.nn.prior import MixturePrior

G = 25


def condition(n=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    codes = torch.stack([torch.randint(3, (n,), generator=generator), torch.randint(2, (n,), generator=generator)], 1)
    return Condition(codes, torch.randn(n, 1, generator=generator), (3, 2))


def codecs():
    torch.manual_seed(0)
    vae = VAE(G, 4, (16,), True, dropout=0.1)
    vae.start_at(torch.full((G,), 1 / (2 * G)), 100.0)
    pca = PCACodec(G, 4, True)
    pca.set_components(torch.rand(G), torch.linalg.qr(torch.randn(G, 4))[0].T)
    continuous = VAE(G, 4, (16,), False)
    made = {"vae": vae, "pca": pca, "continuous": continuous}
    for codec in made.values():
        codec.fit_total(torch.tensor([500.0, 2000.0, 8000.0]))
    return made


def cells(n=8, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(n, G, generator=generator), 500 + 4000 * torch.rand(n, generator=generator)


def test_no_batch_norm_anywhere():
    modules = [m for c in codecs().values() for m in c.modules()] + list(Backbone(5, 16, 2, (3,), 1).modules())
    assert not [m for m in modules if "BatchNorm" in type(m).__name__ or "InstanceNorm" in type(m).__name__]


def parts(likelihood):
    return [v for f in dataclasses.fields(likelihood) if isinstance(v := getattr(likelihood, f.name), torch.Tensor)]


@pytest.mark.parametrize("kind", ["vae", "pca", "continuous"])
def test_a_cell_decodes_to_the_same_distribution_whatever_its_company(kind):
    codec = codecs()[kind].eval()
    log1p, total = cells()
    z = codec.encode(log1p, total).mean
    alone = codec.encode(log1p[:1], total[:1]).mean
    torch.testing.assert_close(alone, z[:1], atol=1e-5, rtol=1e-4)
    strangers = torch.cat([z[:1], 5 * torch.randn(7, codec.n_dims)])
    for one, other, same in zip(parts(codec.decode(z)), parts(codec.decode(strangers)), parts(codec.decode(z[:1])),
                                strict=True):
        torch.testing.assert_close(one[:1], other[:1], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(one[:1], same, atol=1e-5, rtol=1e-4)
    order = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    for one, other in zip(parts(codec.decode(z)), parts(codec.decode(z[order])), strict=True):
        torch.testing.assert_close(one[order], other, atol=1e-5, rtol=1e-4)


def test_library_size_is_a_latent_and_scales_the_mean():
    codec = codecs()["vae"].eval()
    log1p, total = cells()
    z = codec.encode(log1p, total).mean
    torch.testing.assert_close(codec.total(z), total, rtol=1e-4, atol=1e-2)
    likelihood = codec.decode(z)
    assert isinstance(likelihood, NegativeBinomial)
    assert torch.all(likelihood.mean.sum(1) < total)


def test_whitened_latents_have_unit_spread_and_decode_as_before():
    codec = codecs()["vae"].eval()
    log1p, total = cells(500)
    before = codec.encode(log1p, total)
    mean = codec.decode(before.mean).mean
    k = codec.n_latent
    codec.whiten(before.mean[:, :k].mean(0), before.mean[:, :k].var(0) + (before.std[:, :k] ** 2).mean(0))
    after = codec.encode(log1p, total)
    spread = after.mean[:, :k].var(0) + (after.std[:, :k] ** 2).mean(0)
    torch.testing.assert_close(spread, torch.ones(k), atol=1e-3, rtol=0)
    torch.testing.assert_close(codec.decode(after.mean).mean, mean, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("kind", ["vae", "pca"])
def test_samples_are_counts_and_totals_hold_them(kind):
    codec = codecs()[kind].eval()
    z = codec.encode(*cells(50)).mean
    with torch.no_grad():
        one, total = codec.sample(z, torch.Generator().manual_seed(0))
        again, _ = codec.sample(z, torch.Generator().manual_seed(0))
    assert torch.equal(one, again)
    assert torch.equal(one, one.round())
    assert torch.all(one >= 0)
    assert torch.all(total >= one.sum(1))


def test_densities_of_codes_are_those_of_torch():
    posterior, z = Posterior(torch.randn(5, 3), torch.rand(5, 3) + 0.1), torch.randn(5, 3)
    expected = torch.distributions.Normal(posterior.mean, posterior.std).log_prob(z).sum(1)
    torch.testing.assert_close(posterior.log_prob(z), expected)
    prior = MixturePrior(4, 3, torch.Generator().manual_seed(0))
    for parameter in prior.parameters():
        nn.init.normal_(parameter)
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=prior.weight),
        torch.distributions.Independent(torch.distributions.Normal(prior.mean, prior.log_std.exp()), 1))
    torch.testing.assert_close(prior.log_prob(z), mixture.log_prob(z), rtol=1e-4, atol=1e-4)


def test_means_come_first_in_training_alone():
    codec = VAE(G, 4, (16,), counts=True, stray=0.01)
    log1p, total = cells(20)
    codec.means_first(True)
    codec.train()
    early = codec.decode(codec.encode(log1p, total).mean)
    assert isinstance(early, NegativeBinomial)
    assert early.strays is None
    every = Values((20, G), torch.arange(20 * G), torch.ones(20 * G))
    early.log_likelihood(every).sum().backward()
    assert all(p.grad is None for p in codec.dispersion_parameters())
    assert codec.head.logits.weight.grad is not None
    late = codec.eval().decode(codec.encode(log1p, total).mean)
    assert isinstance(late, NegativeBinomial)
    assert late.strays is not None


def test_the_penalty_is_the_log_prior_of_torch():
    codec = VAE(G, 4, (16,), counts=True, stray=0.01)
    nn.init.normal_(codec.head.spread.stray_by_gene)
    weight, odds = codec.head.logits.weight, codec.head.spread.stray_by_gene
    density = sum(torch.distributions.Normal(0.0, s).log_prob(x) - torch.distributions.Normal(0.0, s).log_prob(
        torch.tensor(0.0)) for s, x in ((WEIGHT_SPREAD, weight.flatten()), (STRAY_SPREAD, odds)) for x in x)
    torch.testing.assert_close(codec.penalty(), -density, rtol=1e-4, atol=1e-4)


def test_each_covariate_has_its_own_null_and_is_dropped_alone():
    encoder = ConditionEncoder((3, 2), 1, 8)
    nn.init.normal_(encoder.nulls)
    known = condition(4000)
    dropped = known.drop(0.3, torch.Generator().manual_seed(0))
    gone = torch.cat([dropped.codes == torch.tensor([3, 2]), torch.isnan(dropped.conts)], 1)
    assert gone.float().mean(0) == pytest.approx([0.3] * 3, abs=0.03)
    assert (gone[:, 0] & gone[:, 1]).float().mean().item() == pytest.approx(0.09, abs=0.02)
    null = known.null()
    assert torch.all(encoder(null) == encoder(null)[0])
    changed = Condition(known.codes.clone(), known.conts, known.n_values)
    changed.codes[:, 0] = 3
    rest = encoder(changed) - encoder.tables[0].weight[3]
    torch.testing.assert_close(rest, encoder(known) - encoder.tables[0](known.codes[:, 0]), atol=1e-5, rtol=1e-4)
    assert torch.equal(known.drop(0.0, torch.Generator()).codes, known.codes)


def test_an_unknown_number_gives_no_nan_in_value_or_gradient():
    encoder = ConditionEncoder((), 1, 8)
    conts = torch.tensor([[math.nan], [0.5]])
    out = encoder(Condition(torch.zeros(2, 0, dtype=torch.int64), conts, ()))
    out.sum().backward()
    assert torch.isfinite(out).all()
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters())


def test_a_condition_has_no_outcome():
    """Conditioning on what is to be predicted would be the answer itself."""
    assert {f.name for f in dataclasses.fields(Condition)} == {"codes", "conts", "n_values"}


def test_a_new_backbone_returns_zero_and_is_equivariant_to_permutation():
    torch.manual_seed(0)
    network = Backbone(5, 16, 2, (3, 2), 1).eval()
    x, noise, c = torch.randn(6, 5), torch.randn(6), condition()
    assert torch.all(network(x, noise, c) == 0)
    for p in network.parameters():
        nn.init.normal_(p, std=0.3)
    order = torch.tensor([2, 5, 1, 0, 4, 3])
    torch.testing.assert_close(network(x, noise, c)[order], network(x[order], noise[order], c.rows(order)),
                               atol=1e-4, rtol=1e-4)
