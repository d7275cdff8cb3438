"""The last phase: the denoiser learns the latents of the cells, and of no cell in particular."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor

from scdiff_core.config import DiffusionConfig
from scdiff_core.diffusion.loss import EMA, denoising_loss, weighted_error
from scdiff_core.diffusion.terms import Terms
from scdiff_core.engine import checkpoint
from scdiff_core.engine.batches import Cells
from scdiff_core.engine.calibrate import encode
from scdiff_core.engine.device import adam, autocast, compiled
from scdiff_core.engine.phase import Phase
from scdiff_core.engine.schedules import STANDARD, denoiser_of, levels
from scdiff_core.nn.backbone import Backbone, Conditioned
from scdiff_core.nn.codec import Codec
from scdiff_core.nn.condition import Condition
from scdiff_core.nn.transformer import ProgramTransformer

CHECKS = 40  # looks at the held-out loss in a full phase
REPEATS = 1024  # held-out cells are repeated, with other noise, to about this many
WITHIN = 0.005  # losses this near to the best (1 is knowing nothing) count as equal, and the later wins
SCHEDULE = STANDARD  # of models of perturbations, and of designing: their denoisers serve any schedule
TABLE = "schedule.log_ratio"  # a custom schedule in a checkpoint


def build_backbone(config: DiffusionConfig, n_dims: int, n_values: tuple[int, ...], n_continuous: int) -> Conditioned:
    """Return an untrained network."""
    if config.backbone == "transformer":
        return ProgramTransformer(n_dims, config.programs, config.program_width, config.depth, n_values, n_continuous,
                                  config.dropout)
    return Backbone(n_dims, config.width, config.depth, n_values, n_continuous, config.dropout)


class DiffusionPhase(Phase):
    """Trains the denoiser on fresh draws of the training cells' latents.

    Parameters
    ----------
    codec
        Calibrated; it is not trained any more.
    network
        What is trained; `average` is the moving average of its weights that is used afterwards.
    terms
        What is added to the loss; None for nothing.
    table
        Of a custom schedule.
    precision, recompute, fast
        Of the arithmetic (`device.autocast`), whether blocks are gone through again on the way back, and whether the
        network is to be compiled (`device.compiled`).
    """

    def __init__(self, codec: Codec, network: Conditioned, config: DiffusionConfig, cells: Cells, held_out: Cells,
                 seed: int, device: torch.device, terms: Terms | None = None, table: Tensor | None = None,
                 precision: str = "auto", recompute: bool = False, fast: bool = False) -> None:
        self.codec, self.network, self.config, self.device = codec, network, config, device
        self.terms, self.table, self.precision = terms, table, precision
        self.average = copy.deepcopy(network).eval().requires_grad_(False)
        self.ema = EMA(network, config.ema)
        super().__init__("diffusion", config.steps, {"codec": codec, "network": network},
                         adam([{"params": list(network.parameters()), "lr": config.lr}], device,
                              config.weight_decay), seed, device)
        self.condition, self.unknown = cells.condition, cells.condition.rows(slice(0, 1)).null()
        self.latents = encode(codec, cells)  # they stay on the device
        self.denoiser = denoiser_of(network, config, table)
        self.levels = levels(config, table)
        network.recompute = recompute
        if fast:
            compiled(network, codec.n_dims, self.unknown, device)
        self.check_every = max(1, math.ceil(config.steps / CHECKS))
        self.best, self.worse = math.inf, 0
        draws = torch.Generator().manual_seed(0)
        kept = encode(codec, held_out)
        rows = torch.arange(len(held_out)).repeat(math.ceil(REPEATS / len(held_out)))
        self.kept = (kept.sample(rows, draws), held_out.condition.rows(rows.to(device)),
                     self.levels.draw(len(rows), draws).to(device),
                     torch.randn((len(rows), codec.n_dims), generator=draws).to(device))

    @property
    def finished(self) -> bool:
        """Whether the steps are done, or the held-out loss has not been near its best for too long."""
        return self.step >= self.steps or 0 < self.config.patience <= self.worse

    def _minibatch(self) -> tuple[Tensor, Condition, Tensor, Tensor]:
        """Return latents, conditions (some made unknown), noise levels and noise of one step.

        Nothing here waits for the device: with the generator on it, all draws are made there.
        """
        n, generator, where = self.config.minibatch, self.generator, self.generator.device

        def normal() -> Tensor:
            return torch.randn((n, self.codec.n_dims), generator=generator, device=where).to(self.device)

        rows = torch.randint(len(self.latents.mean), (n,), generator=generator, device=where).to(self.device)
        x0 = self.latents.mean[rows] + self.latents.std[rows] * normal()
        known, k = self.condition.rows(rows), self.condition.codes.shape[1]
        gone = torch.rand((n, k + known.conts.shape[1]), generator=generator, device=where) < self.config.drop_condition
        gone = gone.to(self.device)
        condition = Condition(torch.where(gone[:, :k], self.unknown.codes, known.codes),
                              torch.where(gone[:, k:], self.unknown.conts, known.conts), known.n_values)
        sigma = self.levels.draw(n, generator).to(self.device)
        noise = normal()
        if self.group.alone:
            return x0, condition, sigma, noise
        own = self.group.part(n)  # all draw what one would, and take their part
        return x0[own], condition.rows(own), sigma[own], noise[own]

    def advance(self) -> Tensor:
        """Take one step; on CUDA without a wait for the device."""
        self.network.train()
        x0, condition, sigma, noise = self._minibatch()
        with autocast(self.device, self.precision):
            x0_hat = self.denoiser.at(x0 + sigma[:, None] * noise, sigma, condition)
            loss = weighted_error(self.denoiser, x0_hat, x0, sigma).mean()
        self.descend(loss if self.terms is None else loss + self.terms(x0_hat, x0, sigma))
        self.ema.update(self.network)
        self.step += 1
        loss = loss.detach()
        self.group.average([loss])
        return loss

    def averaged(self) -> Conditioned:
        """Return the network with the average weights of now."""
        self.average.load_state_dict(self.ema.weights)
        return self.average

    @torch.no_grad()
    def held_out(self) -> float:
        """Return the denoising loss of the held-out cells under the average weights; 1 is knowing nothing."""
        x0, condition, sigma, noise = self.kept
        denoiser = denoiser_of(self.averaged(), self.config, self.table)
        parts = [denoising_loss(denoiser, x0[i:i + 1024], condition.rows(slice(i, i + 1024)),
                                sigma[i:i + 1024], noise[i:i + 1024]).sum() for i in range(0, len(x0), 1024)]
        return float(torch.stack(parts).sum()) / len(x0)

    def check(self, loss: float) -> bool:
        """Take note of a held-out loss and say whether the model of now is the best so far."""
        good = loss <= self.best + WITHIN
        self.best = min(self.best, loss)
        self.worse = 0 if good else self.worse + 1
        return good

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return everything that the next step depends on."""
        tensors, meta = super().state()
        tensors |= checkpoint.named(self.ema.weights, "average")
        if self.table is not None:
            tensors[TABLE] = self.table
        best = self.best if math.isfinite(self.best) else None
        return tensors, {**meta, "ema_step": self.ema.step, "best": best, "worse": self.worse}

    def restore(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        """Put back what `state` returned."""
        super().restore(tensors, meta)
        for key, value in checkpoint.under(tensors, "average").items():
            self.ema.weights[key].copy_(value)
        self.ema.step = int(meta["ema_step"])
        self.best = math.inf if meta["best"] is None else float(meta["best"])
        self.worse = int(meta["worse"])

    def result(self) -> dict[str, Tensor]:
        """Return what generating needs: the codec, and the average weights."""
        return (checkpoint.named(self.codec.state_dict(), "codec")
                | checkpoint.named(self.ema.weights, "average")
                | ({} if self.table is None else {TABLE: self.table}))
