"""The instant codec: principal components of the log values, with the likelihood fitted round them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scdiff_core.nn.codec import LOG_SCALE, Codec, CountSpread, Posterior
from scdiff_core.nn.likelihood import HurdleNormal, Likelihood

SMALLEST = 1e-3  # log1p value below which a decoded level does not fall, so that its logarithm exists


class PCACodec(Codec):
    """Latents are principal component scores; only a few numbers for each gene are learnt.

    Components carry each cell's own noise, so a count decoder adds noise twice: cells are a little less
    true than those of the autoencoder.
    """

    centre: Tensor
    components: Tensor

    def __init__(self, n_genes: int, n_latent: int, counts: bool, positive: bool = True,
                 stray: float = 0.0) -> None:
        super().__init__(n_genes, n_latent, counts, positive)
        self.register_buffer("centre", torch.zeros(n_genes))
        self.register_buffer("components", torch.zeros(n_latent, n_genes))
        self.offset = nn.Parameter(torch.zeros(n_genes))
        self.spread = CountSpread(n_genes, stray) if counts else None
        self.theta = nn.Parameter(torch.zeros(0 if counts else n_genes))
        self.slope = nn.Parameter(torch.zeros(0 if counts else n_genes))
        self.stray = stray
        self.zero = nn.Parameter(torch.zeros(0 if counts else n_genes))
        self.zero_slope = nn.Parameter(torch.full((0 if counts else n_genes,), -1.0))

    def set_components(self, centre: Tensor, components: Tensor) -> None:
        """Take the mean [G] and the components [P, G] of the training cells' log1p values."""
        self.centre.copy_(centre)
        self.components.copy_(components[: self.n_latent])

    def start_at(self, level: Tensor, largest: float) -> None:
        """Have no stray above the largest count; the level is in the mean of the components."""
        if self.spread is not None:
            self.spread.start_at(largest)

    def _raw(self, log1p: Tensor, depth: Tensor | None) -> Posterior:
        scores = (log1p - self.centre) @ self.components.T
        return Posterior(scores, torch.zeros_like(scores))

    def _likelihood(self, raw: Tensor, depth: Tensor | None) -> Likelihood:
        level = (raw @ self.components + self.centre).float()
        if depth is None:
            level = level + self.offset
            return HurdleNormal((self.zero + self.zero_slope * level).clamp(-12, 12), level,
                                (self.theta + self.slope * level).clamp(*LOG_SCALE), self.positive, self.stray)
        share = level.clamp(SMALLEST, 9.0).expm1().log() + self.offset
        log_mean = (share + self.library.log_total(depth) - 9.210340371976184).clamp(-18.0, 14.0)
        assert self.spread is not None
        return self.spread(log_mean)

    def level(self, z: Tensor) -> Tensor:
        """Return the expression that components say, [B, G], also below zero."""
        raw = z[:, :self.n_latent] * self.scale + self.shift
        return raw @ self.components + self.centre

    def penalty(self) -> Tensor:
        """Return minus the log prior of the shares of strays, in nats."""
        return super().penalty() if self.spread is None else self.spread.penalty()

    def dispersion_parameters(self) -> list[nn.Parameter]:
        """All that it learns is of this kind: the likelihood round the components."""
        return list(self.parameters())
