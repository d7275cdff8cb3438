"""Codecs: cells to latents of unit spread, and latents back to distributions of values.

The standard codec is a variational autoencoder (Kingma and Welling 2014; for counts as in Lopez et
al. 2018) without BatchNorm. The library size, as a normal score, is one more latent dimension: it is read
off the cell, not encoded, and the decoder is told it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scdiff_core import keys
from scdiff_core.nn import quantiles, strays
from scdiff_core.nn.layers import mlp
from scdiff_core.nn.library_size import LibrarySize
from scdiff_core.nn.likelihood import HurdleNormal, Likelihood, NegativeBinomial
from scdiff_core.nn.log_share import log_share
from scdiff_core.nn.prior import LOG_TWO_PI

LOG_SCALE = (-6.0, 3.0)  # bounds of log standard deviations
STRAY_SPREAD = 1.0  # standard deviation of the genes' log odds of strays round the common ones
WEIGHT_SPREAD = 0.07  # and of the weights from the decoder's features to the genes, round zero
LOG_THETA = 0.0  # where dispersions begin: wide, so that no count is so far out that all means follow it


@dataclass(frozen=True)
class Posterior:
    """What a codec says a cell's latents may be: independent normals, [B, D]."""

    mean: Tensor
    std: Tensor

    def sample(self, generator: torch.Generator) -> Tensor:
        """Draw the latents once, [B, D]; the generator lives on the CPU whatever the device."""
        noise = torch.randn(self.mean.shape, generator=generator)
        return self.mean + self.std * noise.to(self.mean)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log density at latents z [B, D] as [B]."""
        return -(0.5 * ((z - self.mean) / self.std) ** 2 + self.std.log() + 0.5 * LOG_TWO_PI).sum(1)


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

    def __init__(self, n_genes: int, n_latent: int, counts: bool, positive: bool = True) -> None:
        super().__init__()
        self.n_genes, self.n_latent, self.counts, self.positive = n_genes, n_latent, counts, positive
        self.n_dims = n_latent + int(counts)
        self.register_buffer("shift", torch.zeros(n_latent))
        self.register_buffer("scale", torch.ones(n_latent))
        self.register_buffer("table", quantiles.identity(n_genes))
        self.library = LibrarySize()

    def fit_total(self, total: Tensor) -> None:
        """Take the distribution of the library size from the training cells' total counts [N]."""
        self.library.fit(total)

    def depth(self, total: Tensor) -> Tensor:
        """Return the library-size latent, [B, 1], of total counts [B]."""
        return self.library.score(total)[:, None]

    def total(self, z: Tensor) -> Tensor:
        """Return the total counts [B] (over all genes of the source) that latents z [B, D] say."""
        return self.library.log_total(z[:, -1]).exp()

    def whiten(self, mean: Tensor, variance: Tensor) -> None:
        """Keep the shift and scale that bring the network's latents to unit spread."""
        self.shift.copy_(mean)
        self.scale.copy_(variance.sqrt().clamp(min=1e-3))

    def start_at(self, level: Tensor, largest: float) -> None:
        """Begin at each gene's mean level [G] (its share of the total counts, or its mean value).

        `largest` is the largest value of the training cells.
        """
        raise NotImplementedError

    def penalty(self) -> Tensor:
        """Return minus the log prior of the parameters that have one, in nats."""
        return self.shift.new_zeros(())

    def means_first(self, on: bool) -> None:
        """Say whether training moves the means alone; nothing to do where these are not learnt."""

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

    def level(self, z: Tensor) -> Tensor:
        """Return the expression that latents z [B, D] say, before any bound, [B, G]; log1p at 10,000 a cell."""
        likelihood = self.decode(z)
        if not isinstance(likelihood, NegativeBinomial):
            return likelihood.mean
        return torch.log1p(keys.TARGET_SUM * (likelihood.log_mean - self.library.log_total(z[:, -1:])).exp())

    def log_share(self, z: Tensor, genes: Tensor) -> Tensor:
        """Return the log of some genes' shares of all counts that latents z [B, D] say, [B, k]; of counts only."""
        likelihood = self.decode(z)
        assert isinstance(likelihood, NegativeBinomial)
        return likelihood.log_mean.index_select(1, genes) - self.library.log_total(z[:, -1:])

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


def _minus_log_prior(x: Tensor, spread: float) -> Tensor:
    """Return minus the log density of a normal round zero, summed, without its constant."""
    return 0.5 * (x / spread).square().sum()


class CountSpread(nn.Module):
    """What is round the means of counts: a dispersion for each gene, by mean, and its share of strays.

    The log odds of a gene's strays are normal round those of all genes: a gene with few counts has the common
    share. How large strays are is the same for all.
    """

    def __init__(self, n_genes: int, stray: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.full((n_genes,), LOG_THETA))
        self.slope = nn.Parameter(torch.zeros(n_genes))
        self.stray = nn.Parameter(torch.tensor(stray).logit()) if stray > 0 else None
        self.stray_by_gene = nn.Parameter(torch.zeros(n_genes)) if stray > 0 else None
        self.stray_sizes = nn.Parameter(strays.start(math.inf)) if stray > 0 else None
        self.fixed = False  # dispersions as they are, and no strays: while training begins with the means

    def forward(self, log_mean: Tensor) -> NegativeBinomial:
        """Return the distribution round log means [B, G] in counts."""
        fixed = self.fixed and self.training
        theta = self.theta.detach() if fixed else self.theta
        log_theta = (theta + (self.slope.detach() if fixed else self.slope) * log_mean).clamp(-6.0, 9.0)
        if fixed or self.stray is None or self.stray_by_gene is None or self.stray_sizes is None:
            return NegativeBinomial(log_mean, log_theta)
        return NegativeBinomial(log_mean, log_theta,
                                strays.Strays(self.stray + self.stray_by_gene, self.stray_sizes))

    def penalty(self) -> Tensor:
        """Return minus the log prior of the genes' shares of strays, in nats."""
        odds = self.stray_by_gene
        return self.theta.new_zeros(()) if odds is None else _minus_log_prior(odds, STRAY_SPREAD)

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
    """The standard codec: an MLP each way and a normal posterior; the prior is `MixturePrior`."""

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

    def log_share(self, z: Tensor, genes: Tensor) -> Tensor:
        """Return the log of some genes' shares of all counts that latents z [B, D] say, [B, k]; of counts only.

        Nothing is worked out that other genes or the spread round the means would need. The codec's parameters are
        given no gradient.
        """
        assert isinstance(self.head, CountHead)
        raw = z[:, : self.n_latent] * self.scale + self.shift
        return log_share(self.decoder(torch.cat([raw, z[:, self.n_latent:]], 1)), self.head.logits, genes)

    def _likelihood(self, raw: Tensor, depth: Tensor | None) -> Likelihood:
        h = self.decoder(raw if depth is None else torch.cat([raw, depth], 1))
        if isinstance(self.head, CountHead):
            assert depth is not None
            return self.head(h, self.library.log_total(depth))
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

    def penalty(self) -> Tensor:
        """Return minus the log prior of the shares of strays and of the weights that go to the genes, in nats.

        Each weight is normal round zero. The prior is the same whatever the number of cells, so few cells are
        held to it more than many are.
        """
        if isinstance(self.head, CountHead):
            return self.head.spread.penalty() + _minus_log_prior(self.head.logits.weight, WEIGHT_SPREAD)
        return (_minus_log_prior(self.head.location.weight, WEIGHT_SPREAD)
                + _minus_log_prior(self.head.zero.weight, WEIGHT_SPREAD))

    def means_first(self, on: bool) -> None:
        """Say whether training moves the means alone.

        A gene that one type of cells has in hundreds and no other has at all would else be explained by
        strays or by a wide dispersion before its mean is learnt, and then there is nothing left to learn.
        """
        if isinstance(self.head, CountHead):
            self.head.spread.fixed = on

    def dispersion_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the dispersions."""
        return list(self.head.spread.parameters()) if isinstance(self.head, CountHead) else [
            self.head.theta, self.head.slope]
