"""No codec: the latents are the genes themselves, and the diffusion makes log1p expression."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scdiff_core import keys
from scdiff_core.nn.codec import Codec, Posterior
from scdiff_core.nn.exact import AsTheyAre, Rounded
from scdiff_core.nn.likelihood import Likelihood

HIGHEST = 9.3  # log1p at 10,000 a cell: no gene has more than all of them


class GenesCodec(Codec):
    """Latents are log1p values, each gene brought to unit spread; there is nothing to learn.

    On the way back counts are expm1 of the value at the library size that was drawn with it, rounded up or down so
    that the mean stays (`nn.exact.Rounded`).
    """

    smallest: Tensor

    def __init__(self, n_genes: int, counts: bool, positive: bool = True) -> None:
        super().__init__(n_genes, n_genes, counts, positive)
        self.register_buffer("smallest", torch.zeros(n_genes))

    def _raw(self, log1p: Tensor, depth: Tensor | None) -> Posterior:
        return Posterior(log1p, torch.zeros_like(log1p))

    def _likelihood(self, raw: Tensor, depth: Tensor | None) -> Likelihood:
        if depth is None:
            return AsTheyAre(raw.float(), self.smallest, self.positive)
        share = raw.float().clamp(0.0, HIGHEST).expm1() / keys.TARGET_SUM
        return Rounded(share * self.library.log_total(depth).exp())

    def level(self, z: Tensor) -> Tensor:
        """Return the expression that latents say, [B, G], also below zero."""
        return z[:, :self.n_latent] * self.scale + self.shift

    def start_at(self, level: Tensor, largest: float) -> None:
        """Begin; there is nothing to begin with."""

    def dispersion_parameters(self) -> list[nn.Parameter]:
        """There are none."""
        return []
