"""The network inside the denoiser: a residual MLP with adaptive layer norm."""

from __future__ import annotations

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from scdiff_core.nn.condition import Condition, ConditionEncoder
from scdiff_core.nn.layers import AdaptiveBlock, Fourier


class Conditioned(nn.Module):
    """What all backbones have in common: one embedding of noise level and condition, and blocks that are told it.

    Parameters
    ----------
    width
        Bounds the width of that embedding, which is 128 at most.
    n_values, n_continuous
        The covariates (see `ConditionEncoder`).
    """

    blocks: nn.ModuleList
    recompute = False  # whether blocks are gone through again on the way back, not kept: less memory, more time

    def __init__(self, width: int, n_values: tuple[int, ...], n_continuous: int) -> None:
        super().__init__()
        self.n_condition = min(width, 128)
        self.noise = nn.Sequential(Fourier(), nn.Linear(64, self.n_condition), nn.SiLU(),
                                   nn.Linear(self.n_condition, self.n_condition))
        self.condition = ConditionEncoder(n_values, n_continuous, self.n_condition)

    def told(self, noise: Tensor, condition: Condition) -> Tensor:
        """Return the embedding [B, n_condition] of noise levels c_noise [B] and conditions."""
        return nn.functional.silu(self.noise(noise) + self.condition(condition))

    def through(self, h: Tensor, c: Tensor) -> Tensor:
        """Return h after all blocks (Chen et al. 2016, section 4, where nothing between blocks is kept)."""
        for block in self.blocks:
            h = checkpoint(block, h, c, use_reentrant=False) if self.recompute and self.training else block(h, c)
        return h


class Backbone(Conditioned):
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
        super().__init__(width, n_values, n_continuous)
        self.enter = nn.Linear(n_dims, width)
        self.blocks = nn.ModuleList(AdaptiveBlock(width, self.n_condition, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, n_dims)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor, noise: Tensor, condition: Condition) -> Tensor:
        """Return F for x [B, D] at noise level c_noise [B]."""
        h = self.through(self.enter(x), self.told(noise, condition))
        return self.leave(nn.functional.silu(self.norm(h)))
