"""The network inside the denoiser: a residual MLP with adaptive layer norm."""

from __future__ import annotations

from torch import Tensor, nn

from scdiff_core.nn.condition import Condition, ConditionEncoder
from scdiff_core.nn.layers import AdaptiveBlock, Fourier


class Backbone(nn.Module):
    """F(x, c_noise, condition): what the preconditioning of the denoiser wraps.

    Parameters
    ----------
    n_dims
        D, the width of the latents.
    width, depth
        Width of the residual stream and number of blocks.
    n_values, n_continuous
        The covariates (see `ConditionEncoder`).
    """

    def __init__(self, n_dims: int, width: int, depth: int, n_values: tuple[int, ...], n_continuous: int,
                 dropout: float = 0.0) -> None:
        super().__init__()
        n_condition = min(width, 128)
        self.noise = nn.Sequential(Fourier(), nn.Linear(64, n_condition), nn.SiLU(),
                                   nn.Linear(n_condition, n_condition))
        self.condition = ConditionEncoder(n_values, n_continuous, n_condition)
        self.enter = nn.Linear(n_dims, width)
        self.blocks = nn.ModuleList(AdaptiveBlock(width, n_condition, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, n_dims)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor, noise: Tensor, condition: Condition) -> Tensor:
        """Return F for x [B, D] at noise level c_noise [B]."""
        c = nn.functional.silu(self.noise(noise) + self.condition(condition))
        h = self.enter(x)
        for block in self.blocks:
            h = block(h, c)
        return self.leave(nn.functional.silu(self.norm(h)))
