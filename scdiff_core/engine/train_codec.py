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
from scdiff_core.nn.codec import VAE, Codec, Posterior
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


def build_codec(config: CodecConfig, n_genes: int, counts: bool, positive: bool, n_pca: int) -> Codec:
    """Return an untrained codec; its sizes come from the configuration and the data alone."""
    if config.kind == "pca":
        return PCACodec(n_genes, min(config.n_latent, n_pca), counts, positive, config.stray)
    return VAE(n_genes, config.n_latent, config.hidden, counts, positive, config.dropout, config.stray)


def codec_steps(config: CodecConfig) -> int:
    """Return how many steps the codec is trained for."""
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
    if isinstance(codec, PCACodec):
        codec.set_components(torch.from_numpy(prepared.pca_mean), torch.from_numpy(prepared.pca_components))


class CodecPhase(Phase):
    """Trains a codec on the evidence lower bound, in nats a cell.

    For counts, the encoder sees each cell thinned at random while the decoder answers for the whole, so
    that the codes cannot hold the cell's own noise (the codec would learn its cells by heart otherwise).
    """

    def __init__(self, codec: Codec, config: CodecConfig, cells: Cells, held_out: Cells, seed: int,
                 device: torch.device) -> None:
        self.codec, self.config, self.cells, self.kept, self.device = codec, config, cells, held_out, device
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
              generator: torch.Generator) -> Tensor:
        """Return the negative evidence lower bound of each cell, [B]: its values, given codes of what was seen.

        The divergence of the codes from the prior is estimated at the one draw (Kingma and Welling 2014, eq. 6).
        """
        codec = self.codec
        with autocast(self.device):
            posterior = codec.encode(seen.log1p, seen.total)
            z = posterior.sample(generator)
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
            loss = self._loss(seen, seen.total, seen.values, kl_weight, generator).mean()
        else:
            share = config.thin + (1 - config.thin) * float(torch.rand((), generator=generator))
            seen, total, values = self.cells.thinned(rows, share, generator)
            loss = self._loss(seen, total, values, kl_weight, generator).mean()
        self.descend(loss + self.codec.penalty() / len(self.cells))
        self.step += 1
        return loss.detach()

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
