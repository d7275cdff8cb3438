"""Codecs: cells to latents of unit spread, and latents back to distributions of values.

The standard codec is a variational autoencoder (Kingma and Welling 2014; for counts as in Lopez et
al. 2018) without BatchNorm. The log of the library size is one more latent dimension: it is read off
the cell, not encoded, and the decoder is told it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scdiff_core.nn import quantiles, strays
from scdiff_core.nn.layers import mlp
from scdiff_core.nn.likelihood import HurdleNormal, Likelihood, NegativeBinomial

LOG_SCALE = (-6.0, 3.0)  # bounds of log standard deviations
LOG_THETA = 2.0  # where dispersions begin: what is left once the means are known is little more than chance


@dataclass(frozen=True)
class Posterior:
    """What a codec says a cell's latents may be: independent normals, [B, D]."""

    mean: Tensor
    std: Tensor

    def sample(self, generator: torch.Generator) -> Tensor:
        """Draw the latents once, [B, D]; the generator lives on the CPU whatever the device."""
        noise = torch.randn(self.mean.shape, generator=generator)
        return self.mean + self.std * noise.to(self.mean)


class Codec(nn.Module):
    """Base of the codecs: library size, scales of the latents and the table of quantiles.

    Latents have n_latent dimensions of the network and, for counts, one of the library size: D in all.

    Parameters
    ----------
    n_genes, n_latent
        G, and the latents without the library size.
    counts
        Whether values are counts (negative binomial) or continuous (hurdle normal).
    positive
        Whether continuous values are never below zero.
    """

    shift: Tensor
    scale: Tensor
    table: Tensor
    total_mean: Tensor
    total_std: Tensor

    def __init__(self, n_genes: int, n_latent: int, counts: bool, positive: bool = True) -> None:
        super().__init__()
        self.n_genes, self.n_latent, self.counts, self.positive = n_genes, n_latent, counts, positive
        self.n_dims = n_latent + int(counts)
        self.register_buffer("shift", torch.zeros(n_latent))
        self.register_buffer("scale", torch.ones(n_latent))
        self.register_buffer("table", quantiles.identity(n_genes))
        self.register_buffer("total_mean", torch.zeros(()))
        self.register_buffer("total_std", torch.ones(()))

    def fit_total(self, total: Tensor) -> None:
        """Take mean and spread of the log library size from the training cells' total counts [N]."""
        logs = total.clamp(min=1).log()
        self.total_mean.copy_(logs.mean())
        self.total_std.copy_(logs.std().clamp(min=1e-3) if len(logs) > 1 else torch.ones(()))

    def depth(self, total: Tensor) -> Tensor:
        """Return the library-size latent, [B, 1], of total counts [B]."""
        return ((total.clamp(min=1).log() - self.total_mean) / self.total_std)[:, None]

    def total(self, z: Tensor) -> Tensor:
        """Return the total counts [B] (over all genes of the source) that latents z [B, D] say."""
        return (z[:, -1] * self.total_std + self.total_mean).exp()

    def whiten(self, mean: Tensor, variance: Tensor) -> None:
        """Keep the shift and scale that bring the network's latents to unit spread."""
        self.shift.copy_(mean)
        self.scale.copy_(variance.sqrt().clamp(min=1e-3))

    def start_at(self, level: Tensor, largest: float) -> None:
        """Begin at each gene's mean level [G] (its share of the total counts, or its mean value).

        `largest` is the largest value of the training cells.
        """
        raise NotImplementedError

    def dispersion_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that converge later than the means and want a learning rate of their own."""
        raise NotImplementedError

    def _raw(self, log1p: Tensor, depth: Tensor | None) -> Posterior:
        raise NotImplementedError

    def _likelihood(self, raw: Tensor, depth: Tensor | None) -> Likelihood:
        raise NotImplementedError

    def encode(self, log1p: Tensor, total: Tensor) -> Posterior:
        """Return the latents' distribution, unit spread, of log1p values [B, G] and total counts [B]."""
        depth = self.depth(total) if self.counts else None
        raw = self._raw(log1p, depth)
        mean, std = (raw.mean - self.shift) / self.scale, raw.std / self.scale
        if depth is None:
            return Posterior(mean, std)
        return Posterior(torch.cat([mean, depth], 1), torch.cat([std, torch.zeros_like(depth)], 1))

    def decode(self, z: Tensor) -> Likelihood:
        """Return the distribution of the values, before the table of quantiles, of latents z [B, D]."""
        depth = z[:, self.n_latent:] if self.counts else None
        return self._likelihood(z[:, : self.n_latent] * self.scale + self.shift, depth)

    def sample(self, z: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw cells from latents z [B, D].

        Returns
        -------
        values [B, G] (counts, or continuous), and total counts [B] over all genes of the source: the
        library size with what the kept genes were expected to give replaced by what they gave.
        """
        likelihood = self.decode(z)
        draw = torch.rand(z.shape[0], self.n_genes, generator=generator).to(z)
        values = likelihood.sample(quantiles.look_up(self.table, draw), generator)
        if not self.counts:
            return values, values.sum(1)
        return values, (self.total(z) + values.sum(1) - likelihood.mean.sum(1)).clamp(min=values.sum(1))


class CountSpread(nn.Module):
    """What is round the means of counts: a dispersion for each gene, by mean, and the strays of all genes."""

    def __init__(self, n_genes: int, stray: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.full((n_genes,), LOG_THETA))
        self.slope = nn.Parameter(torch.zeros(n_genes))
        self.stray = nn.Parameter(torch.tensor(stray).logit()) if stray > 0 else None
        self.stray_sizes = nn.Parameter(strays.start(math.inf)) if stray > 0 else None

    def forward(self, log_mean: Tensor) -> NegativeBinomial:
        """Return the distribution round log means [B, G] in counts."""
        log_theta = (self.theta + self.slope * log_mean).clamp(-6.0, 9.0)
        if self.stray is None or self.stray_sizes is None:
            return NegativeBinomial(log_mean, log_theta)
        return NegativeBinomial(log_mean, log_theta, strays.Strays(self.stray, self.stray_sizes))

    @torch.no_grad()
    def start_at(self, largest: float) -> None:
        """Take the largest count of the training cells: no stray is larger."""
        if self.stray_sizes is not None:
            self.stray_sizes.copy_(strays.start(largest))


class CountHead(nn.Module):
    """From decoder features to a negative binomial for each gene.

    The mean is the library size times a softmax over the kept genes and one more entry, all others;
    log theta is a_g + b_g (log mean), so the dispersion goes by gene and by mean. Strays, if there are any
    (`stray` is the share to begin with), are the same for all genes.
    """

    def __init__(self, n_in: int, n_genes: int, stray: float) -> None:
        super().__init__()
        self.logits = nn.Linear(n_in, n_genes + 1)
        self.spread = CountSpread(n_genes, stray)

    def forward(self, h: Tensor, log_total: Tensor) -> NegativeBinomial:
        """Return the distribution of features h [B, n_in] at log library size [B, 1]."""
        return self.spread(torch.log_softmax(self.logits(h).float(), 1)[:, :-1] + log_total)


class ContinuousHead(nn.Module):
    """From decoder features to a hurdle normal for each gene; the scale goes by gene and by mean."""

    def __init__(self, n_in: int, n_genes: int, positive: bool, stray: float) -> None:
        super().__init__()
        self.location = nn.Linear(n_in, n_genes)
        self.zero = nn.Linear(n_in, n_genes)
        self.theta = nn.Parameter(torch.zeros(n_genes))
        self.slope = nn.Parameter(torch.zeros(n_genes))
        self.positive, self.stray = positive, stray

    def forward(self, h: Tensor) -> HurdleNormal:
        """Return the distribution of features h [B, n_in]."""
        location = self.location(h).float()
        return HurdleNormal(self.zero(h).float().clamp(-12, 12), location,
                            (self.theta + self.slope * location).clamp(*LOG_SCALE), self.positive, self.stray)


class VAE(Codec):
    """The standard codec: an MLP each way, a normal posterior and a standard normal prior."""

    def __init__(self, n_genes: int, n_latent: int, hidden: tuple[int, ...], counts: bool,
                 positive: bool = True, dropout: float = 0.0, stray: float = 0.0) -> None:
        super().__init__(n_genes, n_latent, counts, positive)
        self.encoder = mlp(n_genes + int(counts), hidden, dropout)
        self.posterior = nn.Linear(hidden[-1], 2 * n_latent)
        nn.init.zeros_(self.posterior.bias)
        self.decoder = mlp(self.n_dims, hidden[::-1], 0.0)
        self.head: CountHead | ContinuousHead = (
            CountHead(hidden[0], n_genes, stray) if counts
            else ContinuousHead(hidden[0], n_genes, positive, stray))

    def _raw(self, log1p: Tensor, depth: Tensor | None) -> Posterior:
        x = log1p if depth is None else torch.cat([log1p, depth], 1)
        mean, log_std = self.posterior(self.encoder(x)).float().chunk(2, 1)
        return Posterior(mean, log_std.clamp(*LOG_SCALE).exp())

    def _likelihood(self, raw: Tensor, depth: Tensor | None) -> Likelihood:
        h = self.decoder(raw if depth is None else torch.cat([raw, depth], 1))
        if isinstance(self.head, CountHead):
            assert depth is not None
            return self.head(h, depth * self.total_std + self.total_mean)
        return self.head(h)

    @torch.no_grad()
    def start_at(self, level: Tensor, largest: float) -> None:
        """Begin at each gene's mean level [G], with no stray above the largest count."""
        if isinstance(self.head, CountHead):
            self.head.spread.start_at(largest)
            rest = (1 - level.sum()).clamp(min=1e-4)
            self.head.logits.bias.copy_(torch.cat([level + 1e-7, rest[None]]).log())
        else:
            self.head.location.bias.copy_(level)

    def dispersion_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the dispersions."""
        return list(self.head.spread.parameters()) if isinstance(self.head, CountHead) else [
            self.head.theta, self.head.slope]


def kl_to_standard_normal(posterior: Posterior) -> Tensor:
    """Return KL(posterior, standard normal) of each cell, [B] (Kingma and Welling 2014, appendix B)."""
    variance = posterior.std**2
    return 0.5 * (posterior.mean**2 + variance - 1 - variance.log()).sum(1)
