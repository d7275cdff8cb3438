"""The other network inside the denoiser: a transformer whose tokens are gene programs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scdiff_core.nn.backbone import Conditioned
from scdiff_core.nn.condition import Condition

HEADS = 4


class ProgramBlock(nn.Module):
    """Attention among the programs of a cell, then an MLP on each, both scaled, shifted and gated by the condition.

    A DiT block with adaLN-Zero (Peebles and Xie 2023, section 3.2 and figure 3): a new block is the identity.
    """

    def __init__(self, width: int, n_condition: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.first_norm = nn.LayerNorm(width, elementwise_affine=False)
        self.second_norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate = nn.Linear(n_condition, 6 * width)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)
        self.attend = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(),
                                 nn.Dropout(dropout) if dropout else nn.Identity(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return x [B, T, width] after the block, given the condition [B, n_condition]."""
        told = self.modulate(condition)[:, None].chunk(6, dim=2)
        b, t, w = x.shape
        h = self.first_norm(x) * (1 + told[1]) + told[0]
        q, k, v = self.attend(h).view(b, t, 3, HEADS, w // HEADS).permute(2, 0, 3, 1, 4)
        seen = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, w)
        x = x + told[2] * self.project(seen)
        h = self.second_norm(x) * (1 + told[4]) + told[3]
        return x + told[5] * self.mlp(h)


class ProgramTransformer(Conditioned):
    """F(x, c_noise, condition) as `Backbone`, with T programs that attend to one another.

    A program is a learnt linear reading of all latents (which are themselves programs of genes, of the codec), as a
    token is of a patch in an image; from all programs together the latents are read again.

    Parameters
    ----------
    n_dims
        D, the width of the latents.
    programs, width, depth
        T tokens, the width of each (a multiple of `HEADS`), and number of blocks.
    n_values, n_continuous
        The covariates (see `ConditionEncoder`).
    """

    def __init__(self, n_dims: int, programs: int, width: int, depth: int, n_values: tuple[int, ...],
                 n_continuous: int, dropout: float = 0.0) -> None:
        super().__init__(128, n_values, n_continuous)
        self.programs, self.width = programs, width
        self.enter = nn.Linear(n_dims, programs * width)
        self.name = nn.Parameter(0.02 * torch.randn(programs, width))
        self.blocks = nn.ModuleList(ProgramBlock(width, self.n_condition, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(programs * width, n_dims)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor, noise: Tensor, condition: Condition) -> Tensor:
        """Return F for x [B, D] at noise level c_noise [B]."""
        h = self.enter(x).view(len(x), self.programs, self.width) + self.name
        h = self.through(h, self.told(noise, condition))
        return self.leave(nn.functional.silu(self.norm(h)).flatten(1))
