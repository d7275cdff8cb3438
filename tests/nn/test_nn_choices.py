"""Genes as latents, and the transformer over programs."""

from __future__ import annotations

import pytest
import torch

from scdiff_core.nn.backbone import Backbone
from scdiff_core.nn.condition import Condition
from scdiff_core.nn.exact import AsTheyAre, Rounded
from scdiff_core.nn.genes import GenesCodec
from scdiff_core.nn.likelihood import Values
from scdiff_core.nn.transformer import ProgramTransformer

G = 30


def counts(n: int = 40) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Counts, their log1p at 10,000 a cell, and totals above their sums."""
    generator = torch.Generator().manual_seed(0)
    x = torch.poisson(3 * torch.rand(n, G, generator=generator), generator=generator)
    total = x.sum(1) + 200
    return x, torch.log1p(x * (1e4 / total)[:, None]), total


def test_cells_come_back_from_the_genes_as_they_were():
    x, log1p, total = counts()
    codec = GenesCodec(G, True)
    codec.fit_total(total)
    codec.whiten(log1p.mean(0), log1p.var(0))
    posterior = codec.encode(log1p, total)
    assert codec.n_dims == G + 1
    torch.testing.assert_close(posterior.mean[:, :G].std(0, correction=1), torch.ones(G), rtol=1e-3, atol=1e-3)
    values, sums = codec.sample(posterior.mean, torch.Generator().manual_seed(0))
    assert (values != x).float().mean() < 2e-3  # the map of library sizes is not exact to the last digit
    torch.testing.assert_close(sums, total, rtol=1e-2, atol=2.0)
    torch.testing.assert_close(codec.level(posterior.mean), log1p, rtol=1e-4, atol=1e-4)


def test_counts_between_two_are_either_with_the_same_mean():
    mean = torch.tensor([[0.3, 2.0, 5.75]]).expand(20000, 3)
    draw = Rounded(mean).sample(torch.rand(20000, 3, generator=torch.Generator().manual_seed(0)), torch.Generator())
    assert [sorted(set(draw[:, j].tolist())) for j in range(3)] == [[0, 1], [2], [5, 6]]
    torch.testing.assert_close(draw.mean(0), mean[0], atol=0.02, rtol=0)


def test_the_transform_of_what_was_drawn_is_uniform_again():
    generator = torch.Generator().manual_seed(0)
    mean = 4 * torch.rand(5000, 2, generator=generator)
    likelihood = Rounded(mean)
    x = likelihood.inverse(torch.rand(5000, 2, generator=generator))
    at = x.reshape(-1).nonzero().squeeze(1)
    values = Values((5000, 2), at, x.reshape(-1)[at])
    u = likelihood.pit(values, generator).reshape(-1).sort().values
    assert (u - (torch.arange(10000) + 0.5) / 10000).abs().max() < 0.02  # Kolmogorov's 1 % is 0.016
    low = x.floor()
    p = torch.where(low == mean.floor(), 1 - (mean - mean.floor()), mean - mean.floor())
    torch.testing.assert_close(likelihood.log_likelihood(values), p.clamp(min=1e-6).log().sum(1))


def test_continuous_values_near_zero_are_zero():
    likelihood = AsTheyAre(torch.tensor([[0.2, 0.6, -0.4, -0.1]]), torch.tensor([1.0, 1.0, 0.0, 0.0]), True)
    assert likelihood.inverse(torch.rand(1, 4)).tolist() == [[0.0, pytest.approx(0.6), 0.0, 0.0]]


def test_values_are_cut_by_cells():
    x = counts()[0]
    flat = x.reshape(-1)
    at = flat.nonzero().squeeze(1)
    part = Values((len(x), G), at, flat[at]).part(slice(5, 12))
    torch.testing.assert_close(part.dense(), x[5:12])


def condition(n: int) -> Condition:
    generator = torch.Generator().manual_seed(0)
    return Condition(torch.randint(3, (n, 1), generator=generator), torch.randn(n, 1, generator=generator), (3,))


def woken(network: torch.nn.Module) -> torch.nn.Module:
    """The network with no weight at zero, as after some training."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=generator))
    return network


def test_a_new_transformer_says_nothing_and_an_old_one_minds_cell_noise_and_condition():
    torch.manual_seed(0)
    network = ProgramTransformer(7, 4, 16, 2, (3,), 1)
    x, noise, c = torch.randn(6, 7), torch.linspace(-1, 1, 6), condition(6)
    assert torch.all(network(x, noise, c) == 0)
    old = woken(network).eval()
    whole = old(x, noise, c)
    torch.testing.assert_close(old(x[:2], noise[:2], c.rows(slice(0, 2))), whole[:2], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(old(x, noise + 1, c), whole)
    assert not torch.allclose(old(x, noise, c.null()), whole)


@pytest.mark.parametrize("kind", ["mlp", "transformer"])
def test_going_through_blocks_again_gives_the_same_gradients(kind):
    """Also with dropout: its draws are the same the second time."""
    torch.manual_seed(0)
    made = Backbone(5, 16, 3, (3,), 1, 0.2) if kind == "mlp" else ProgramTransformer(5, 4, 16, 2, (3,), 1, 0.2)
    network = woken(made)
    x, noise, c, found = torch.randn(6, 5), torch.linspace(-1, 1, 6), condition(6), []
    for recompute in (False, True):
        network.recompute = recompute
        network.zero_grad()
        torch.manual_seed(3)
        network(x, noise, c).square().sum().backward()
        found.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
