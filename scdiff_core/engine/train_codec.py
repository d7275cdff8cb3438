"""The first phase: the codec learns to say cells with few numbers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from scdiff_core import keys
from scdiff_core.config import CodecConfig
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine.batches import Cells, Minibatch
from scdiff_core.engine.device import adam, autocast
from scdiff_core.engine.phase import Phase
from scdiff_core.errors import ScdiffError
from scdiff_core.nn.codec import VAE, Codec, Posterior
from scdiff_core.nn.genes import GenesCodec
from scdiff_core.nn.likelihood import Values
from scdiff_core.nn.pca import PCACodec
from scdiff_core.nn.prior import MixturePrior

PRIOR_RATE = 5e-3  # learning rate of the prior: its normals have to find the cells, wherever these are
DISPERSION_RATE = 10.0  # dispersions converge later than means, and get this much more learning rate
MEANS_FIRST = 0.1  # share of the steps over which means alone are learnt, not what is round them
KL_WARM_UP = 0.2  # share of the steps over which the weight of the KL term rises
SETTLE = 0.67  # share of the steps after which dropout ends: the decoder is to know the codes as they will be
PIECE = 10_000  # cells that are looked at together
PCA_STEPS = 300  # enough for the few parameters of the PCA codec
MOST_GENES = 5000  # that a diffusion of the genes themselves is for


def build_codec(config: CodecConfig, n_genes: int, counts: bool, positive: bool, n_pca: int) -> Codec:
    """Return an untrained codec; its sizes come from the configuration and the data alone.

    Raises
    ------
    ScdiffError
        There are too many genes to be diffused as they are.
    """
    if config.kind == "genes":
        if n_genes > MOST_GENES:
            raise ScdiffError("The diffusion cannot be of the genes themselves.",
                              f"There are {n_genes:,}; it is for {MOST_GENES:,} at most.",
                              "Prepare the data with fewer genes (2,000 are usual), or choose another codec.")
        return GenesCodec(n_genes, counts, positive)
    if config.kind == "pca":
        return PCACodec(n_genes, min(config.n_latent, n_pca), counts, positive, config.stray)
    return VAE(n_genes, config.n_latent, config.hidden, counts, positive, config.dropout, config.stray)


def codec_steps(config: CodecConfig) -> int:
    """Return how many steps the codec is trained for; none where there is nothing to learn."""
    if config.kind == "genes":
        return 0
    return config.steps if config.kind == "vae" else min(config.steps, PCA_STEPS)


def start_codec(codec: Codec, prepared: Prepared, rows: np.ndarray) -> None:
    """Give a new codec what can be read off the training cells: library sizes, mean levels, components."""
    total = prepared.total_counts[rows]
    codec.fit_total(torch.from_numpy(np.asarray(total, np.float32)))
    sums, largest = np.zeros(prepared.n_genes), 0.0
    for start in range(0, len(rows), PIECE):  # cutting out all of them would hold them in memory twice
        piece = prepared.counts[rows[start:start + PIECE]]
        sums += np.asarray(piece.sum(0)).ravel()
        largest = max(largest, float(piece.max()))
    level = sums / (total.sum() if codec.counts else len(rows))
    codec.start_at(torch.from_numpy(level.astype(np.float32)), largest)
    if isinstance(codec, GenesCodec) and not codec.counts:
        codec.smallest.copy_(torch.from_numpy(smallest(prepared, rows)))
    if isinstance(codec, PCACodec):
        codec.set_components(torch.from_numpy(prepared.pca_mean), torch.from_numpy(prepared.pca_components))


def smallest(prepared: Prepared, rows: np.ndarray) -> np.ndarray:
    """Return the least value above zero of each gene among some cells, float32 [G]; 0 where none is exactly zero."""
    least, zeros = np.full(prepared.n_genes, np.inf, np.float32), np.full(prepared.n_genes, len(rows))
    for start in range(0, len(rows), PIECE):
        part = prepared.counts[rows[start:start + PIECE]]
        np.minimum.at(least, part.indices[part.data > 0], part.data[part.data > 0])
        zeros -= np.bincount(part.indices[part.data != 0], minlength=prepared.n_genes)
    return np.where((zeros > 0) & np.isfinite(least), least, 0).astype(np.float32)


class CodecPhase(Phase):
    """Trains a codec on the evidence lower bound, in nats a cell.

    For counts, the encoder sees each cell thinned at random while the decoder answers for the whole, so
    that the codes cannot hold the cell's own noise (the codec would learn its cells by heart otherwise).
    """

    def __init__(self, codec: Codec, config: CodecConfig, cells: Cells, held_out: Cells, seed: int,
                 device: torch.device, precision: str = "auto") -> None:
        self.codec, self.config, self.cells, self.kept, self.device = codec, config, cells, held_out, device
        self.precision = precision
        self.watched = cells.some(len(held_out))
        dispersions = codec.dispersion_parameters()
        own = {id(p) for p in dispersions}
        groups = [{"params": [p for p in codec.parameters() if id(p) not in own], "lr": config.lr},
                  {"params": dispersions, "lr": config.lr * DISPERSION_RATE, "weight_decay": 0.0}]
        modules: dict[str, nn.Module] = {"codec": codec}
        self.prior: MixturePrior | None = None  # of no use once the codec has been trained
        if isinstance(codec, VAE):
            generator = torch.Generator().manual_seed(seed)
            modules["prior"] = self.prior = MixturePrior(config.prior, config.n_latent, generator).to(device)
            groups.append({"params": list(self.prior.parameters()), "lr": PRIOR_RATE, "weight_decay": 0.0})
        super().__init__("codec", codec_steps(config), modules,
                         adam([g for g in groups if g["params"]], device, config.weight_decay), seed)
        self.comparable = config.thin == 1 or not cells.counts_like or not isinstance(codec, VAE)

    def _loss(self, seen: Minibatch, total: Tensor, values: Values, kl_weight: float,
              noise: torch.Generator | Tensor) -> Tensor:
        """Return the negative evidence lower bound of each cell, [B]: its values, given codes of what was seen.

        `noise` [B, D], or where it comes from, draws the codes. Their divergence from the prior is estimated at that
        one draw (Kingma and Welling 2014, eq. 6).
        """
        codec = self.codec
        with autocast(self.device, self.precision):
            posterior = codec.encode(seen.log1p, seen.total)
            z = (posterior.sample(noise) if isinstance(noise, torch.Generator)
                 else posterior.mean + posterior.std * noise.to(posterior.mean))
            if codec.counts:
                z = torch.cat([z[:, :codec.n_latent], codec.depth(total)], 1)
            likelihood = codec.decode(z)
        loss = -likelihood.log_likelihood(values)
        if self.prior is not None:
            k = codec.n_latent
            code = z[:, :k].float()
            own = Posterior(posterior.mean[:, :k].float(), posterior.std[:, :k].float())
            loss = loss + kl_weight * (own.log_prob(code) - self.prior.log_prob(code))
        return loss

    def advance(self) -> Tensor:
        """Take one step."""
        self.codec.train(self.step < SETTLE * self.steps)
        self.codec.means_first(self.step < MEANS_FIRST * self.steps)
        config, generator = self.config, self.generator
        rows = torch.randint(len(self.cells), (config.minibatch,), generator=generator).numpy()
        kl_weight = config.kl_weight * min(1.0, (self.step + 1) / (KL_WARM_UP * self.steps))
        if self.comparable:
            seen = self.cells.take(rows)
            total, values = seen.total, seen.values
        else:
            share = config.thin + (1 - config.thin) * float(torch.rand((), generator=generator))
            seen, total, values = self.cells.thinned(rows, share, generator)
        noise: torch.Generator | Tensor = generator
        if not self.group.alone:  # all draw what one would, and take their part
            own = self.group.part(config.minibatch)
            noise = torch.randn((config.minibatch, self.codec.n_dims), generator=generator)[own]
            seen, total, values = seen.part(own), total[own], values.part(own)
        loss = self._loss(seen, total, values, kl_weight, noise).mean()
        self.descend(loss + self.codec.penalty() / len(self.cells))
        self.step += 1
        loss = loss.detach()
        self.group.average([loss])
        return loss

    def held_out(self) -> float:
        """Return the negative evidence lower bound of the held-out cells, in nats a cell."""
        return self._bound(self.kept)

    def learnt(self) -> float:
        """Return the same of as many cells that are learnt from."""
        return self._bound(self.watched)

    @torch.no_grad()
    def _bound(self, cells: Cells) -> float:
        self.codec.eval()
        generator = torch.Generator().manual_seed(0)
        sums = [self._loss(m, m.total, m.values, self.config.kl_weight, generator).sum()
                for m in cells.chunks()]
        return float(torch.stack(sums).sum()) / len(cells)


def is_positive(prepared: Prepared) -> bool:
    """Say whether no value is below zero."""
    data = prepared.counts.data
    return prepared.values == keys.COUNTS or not len(data) or bool(data.min() >= 0)
