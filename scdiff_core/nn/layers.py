"""Small building blocks. None of them looks at other cells of the minibatch: no BatchNorm anywhere."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def mlp(n_in: int, hidden: tuple[int, ...], dropout: float = 0.0) -> nn.Sequential:
    """Return linear, layer norm, SiLU and dropout for each hidden width."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(n_in, width), nn.LayerNorm(width), nn.SiLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
        n_in = width
    return nn.Sequential(*layers)


class Fourier(nn.Module):
    """Features cos and sin of a scalar at fixed frequencies, spaced geometrically.

    Vaswani et al. 2017, section 3.5, for a continuous argument.
    """

    frequencies: Tensor

    def __init__(self, n: int = 64, low: float = 0.25, high: float = 16.0) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.exp(torch.linspace(math.log(low), math.log(high), n // 2)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of x [B] as [B, n]."""
        angle = x[:, None] * self.frequencies
        return torch.cat([angle.cos(), angle.sin()], 1)


class AdaptiveBlock(nn.Module):
    """A residual MLP block whose layer norm is scaled, shifted and gated by the condition.

    adaLN-Zero of Peebles and Xie 2023, section 3.2: the gate begins at zero, so that a new block is
    the identity.
    """

    def __init__(self, width: int, n_condition: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate = nn.Linear(n_condition, 3 * width)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return x [B, width] after the block, given the condition [B, n_condition]."""
        shift, scale, gate = self.modulate(condition).chunk(3, dim=1)
        h = self.norm(x) * (1 + scale) + shift
        h = self.second(self.dropout(nn.functional.silu(self.first(h))))
        return x + gate * h
