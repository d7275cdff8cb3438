"""Log shares and their gradients are those of a plain softmax, gradient after gradient."""

from __future__ import annotations

import torch
from torch import nn

from scdiff_core.nn.codec import VAE
from scdiff_core.nn.log_share import log_share


def test_shares_and_every_gradient_are_those_of_log_softmax() -> None:
    generator = torch.Generator().manual_seed(0)
    linear = nn.Linear(7, 40).double()
    h = torch.randn(5, 7, generator=generator, dtype=torch.float64, requires_grad=True)
    index = torch.tensor([3, 0, 39, 3])
    plain = torch.log_softmax(linear(h), 1)[:, index]
    mine = log_share(h, linear, index)
    assert torch.allclose(mine, plain, atol=1e-12)
    weights = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    for column in range(4):  # one graph, asked again and again
        want, = torch.autograd.grad(plain[:, column].sum(), h, retain_graph=True)
        got, = torch.autograd.grad(mine[:, column].sum(), h, retain_graph=True)
        assert torch.allclose(got, want, atol=1e-12)
    want, = torch.autograd.grad((plain * weights).exp().sum(), h)
    got, = torch.autograd.grad((mine * weights).exp().sum(), h)
    assert torch.allclose(got, want, atol=1e-10)
    assert torch.autograd.gradcheck(lambda x: log_share(x, linear, index), h)


def test_a_codec_says_what_its_decoded_means_say() -> None:
    torch.manual_seed(0)
    codec = VAE(30, 6, (16,), counts=True).eval()
    codec.fit_total(torch.full((50,), 900.0) + torch.arange(50))
    z = torch.randn(8, codec.n_dims)
    genes = torch.tensor([2, 29, 0])
    want = codec.decode(z).log_mean[:, genes] - codec.library.log_total(z[:, -1:])
    assert torch.allclose(codec.log_share(z, genes), want, atol=1e-5)
    plain = super(VAE, codec).log_share(z, genes)
    assert torch.allclose(plain, want, atol=1e-6)
