"""The spread of cells round the predicted mean, learnt in sets; and whether it is better than moved controls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scdiff_core.analysis.perturb.arms import Arms
from scdiff_core.analysis.perturb.kernels import Item
from scdiff_core.analysis.perturb.response import ResponseModel, fit_arms, folds
from scdiff_core.analysis.perturb.scores import e_distance
from scdiff_core.config import TrainConfig
from scdiff_core.data.chosen import evenly
from scdiff_core.diffusion.denoiser import Preconditioned
from scdiff_core.diffusion.loss import EMA, NoiseLevels
from scdiff_core.engine import checkpoint, move
from scdiff_core.engine.device import adam
from scdiff_core.engine.phase import Phase
from scdiff_core.engine.spread import Spread, build_sets, vector
from scdiff_core.engine.train_diffusion import SCHEDULE
from scdiff_core.engine.train_perturb import ResponsePhase, cells_of
from scdiff_core.nn.control_set import SetCondition, energy_loss, mmd_loss

LEVELS = NoiseLevels()
FEW_JUDGED = 4  # folds are set aside until they have so many arms, and never more than half of all
JUDGED, JUDGED_CELLS = 8, 200  # left-out arms on which the two halves are held against each other, and cells of each


@dataclass(frozen=True)
class Sets:
    """The cells of A arms as codes, less the predicted change of their arm, and the controls of their types.

    Attributes
    ----------
    cells, controls
        Codes [n, D] of each arm, moved back by the arm's shift; codes of the controls of each arm's type.
    shift, pert
        Predicted change of the codes [A, D], out of fold; vectors of the perturbations [A, E].
    """

    cells: tuple[Tensor, ...]
    controls: tuple[Tensor, ...]
    shift: Tensor
    pert: Tensor

    def draw(self, n_sets: int, size: int, unconditional: float, generator: torch.Generator
             ) -> tuple[Tensor, SetCondition]:
        """Draw sets of cells, [n_sets * size, D], and what is known of them; a whole set is unconditional or none."""
        def some(n: int) -> Tensor:
            return torch.randint(n, (size,), generator=generator)

        arms = torch.randint(len(self.cells), (n_sets,), generator=generator).tolist()
        x0 = torch.cat([self.cells[a][some(len(self.cells[a]))] for a in arms])
        sets = torch.stack([self.controls[a][some(len(self.controls[a]))] for a in arms])
        known = torch.rand(n_sets, generator=generator) >= unconditional
        each = torch.arange(n_sets).repeat_interleave(size)
        index = torch.tensor(arms)[each]
        return x0, SetCondition(self.shift[index], self.pert[index], sets[each], known[each])


def out_of_fold(arms: Arms, model: ResponseModel, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the change of codes predicted for each arm without it [A, D], and which arms are set aside [A].

    Where an arm cannot be left out, its measured change stands in. Controls change by nothing.
    """
    shift = np.where(arms.is_control[:, None], 0.0, arms.shift)
    first = np.zeros(len(arms), bool)
    done = arms.is_control.copy()
    for mask in folds(arms, seed):
        left = np.flatnonzero(~mask & ~done)
        if not len(left):
            continue
        part = fit_arms(arms.take(mask), model.genes, model.space.embeddings, model)
        for a in left:
            arm = arms.arms[a]
            shift[a] = part.estimate(Item(arm.perturbation, arm.dose, arm.cell_type), arms.control[a])[0]
        if first.sum() < FEW_JUDGED and 2 * (first.sum() + len(left)) <= (~arms.is_control).sum():
            first[left] = True
        done[left] = True
    return shift, first


class SetsPhase(Phase):
    """Trains the set diffusion on all arms but those of a fold or a few, on which it is then judged."""

    def __init__(self, response: ResponsePhase, config: TrainConfig, seed: int) -> None:
        if not response.finished:
            response.advance()
        self.response, self.options, self.config = response, config.perturb, config.diffusion
        codec, codes, arms = response.codec, response.code_values, response.code_arms
        self.embeddings = response.response.space.embeddings
        pert = np.array([vector(self.embeddings, a.perturbation) for a in arms.arms])
        shift, self.judged = out_of_fold(arms, response.codes.model, config.seed)
        home = {a.cell_type: a.rows for a in arms.arms if a.perturbation.is_control}
        kept = np.flatnonzero(~self.judged)
        self.shift = torch.from_numpy(shift.astype(np.float32))
        self.sets = Sets(
            cells=tuple(torch.from_numpy(codes[arms.arms[a].rows] - self.shift[a].numpy()) for a in kept),
            controls=tuple(torch.from_numpy(codes[home[arms.arms[a].cell_type]]) for a in kept),
            shift=self.shift[kept], pert=torch.from_numpy(pert[kept]))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = build_sets(self.config, codec.n_dims, pert.shape[1])
        self.ema = EMA(self.network, self.config.ema)
        super().__init__("sets", self.config.steps, {"codec": codec, "network": self.network},
                         adam([{"params": list(self.network.parameters()), "lr": self.config.lr}],
                              torch.device("cpu"), self.config.weight_decay), seed)
        self.denoiser = Preconditioned(self.network, SCHEDULE)
        self.verdict: dict[str, Any] = {}
        draws = torch.Generator().manual_seed(0)
        x0, condition = self.sets.draw(32, self.options.set_size, 0.0, draws)
        self.kept = (x0, condition, LEVELS.draw(len(x0), draws), torch.randn(x0.shape, generator=draws))

    def advance(self) -> Tensor:
        """Take one step."""
        self.network.train()
        size = self.options.set_size
        n_sets = max(1, self.config.minibatch // size)
        x0, condition = self.sets.draw(n_sets, size, self.options.unconditional, self.generator)
        sigma = LEVELS.draw(len(x0), self.generator)
        loss = self._loss(x0, condition, sigma, torch.randn(x0.shape, generator=self.generator), size)
        self.descend(loss)
        self.ema.update(self.network)
        self.step += 1
        return loss.detach()

    def _loss(self, x0: Tensor, condition: SetCondition, sigma: Tensor, noise: Tensor, size: int) -> Tensor:
        """Return the denoising loss (1 is knowing nothing), with the distance of the sets as far as it is asked for."""
        x0_hat = self.denoiser.at(x0 + sigma[:, None] * noise, sigma, condition)  # type: ignore[arg-type]
        loss = (self.denoiser.preconditioning.weight(sigma) * ((x0_hat - x0) ** 2).mean(1)).mean()
        kind = self.options.distribution_loss
        if kind != "none" and self.options.distribution_weight > 0:
            apart = {"energy": energy_loss, "mmd": mmd_loss}[kind]
            made, real = (v.view(-1, size, v.shape[1]) for v in (x0_hat, x0))
            loss = loss + self.options.distribution_weight * apart(made, real).mean()
        return loss

    @torch.no_grad()
    def held_out(self) -> float:
        """Return the denoising loss on the same draws each time."""
        self.network.eval()
        x0, condition, sigma, noise = self.kept
        x0_hat = self.denoiser.at(x0 + sigma[:, None] * noise, sigma, condition)  # type: ignore[arg-type]
        return float((self.denoiser.preconditioning.weight(sigma) * ((x0_hat - x0) ** 2).mean(1)).mean())

    def judge(self) -> dict[str, Any]:
        """Hold both halves against the real cells of left-out arms: how far each is, and which half is used.

        Both get the same mean and depth, predicted without these arms; and once more, with their measured mean, as
        the spread alone is worth. That is for the judgement alone: no prediction sees it.
        """
        prepared, phase = self.response.prepared, self.response
        arms = phase.arms
        part = fit_arms(arms.take(~self.judged), phase.response.genes, phase.response.space.embeddings, phase.response)
        network = build_sets(self.config, phase.codec.n_dims, self.sets.pert.shape[1])
        network.load_state_dict(self.ema.weights)
        spread = Spread(network.eval().requires_grad_(False), self.options)
        home = {a.cell_type: a.rows for a in arms.arms if a.perturbation.is_control}
        generator = torch.Generator().manual_seed(self.generator.initial_seed())
        apart: list[list[float]] = []
        for a in evenly(np.flatnonzero(self.judged), JUDGED):
            arm = arms.arms[a]
            start = evenly(home[arm.cell_type], JUDGED_CELLS)
            mover = move.Mover(phase.codec, move.tensors(cells_of(prepared, start), phase.codec.counts), generator)
            shift = part.estimate(Item(arm.perturbation, arm.dose, arm.cell_type), arms.control[a])[0]
            pert = torch.from_numpy(vector(self.embeddings, arm.perturbation))
            z = spread.codes(mover, self.shift[a], pert, generator)
            depth = move.depth_of(phase.codec, self.shift[a])
            real = prepared.project(prepared.log1p(arm.rows))
            apart.append([e_distance(prepared.project(mover.log1p(*cells).numpy()), real)
                          for goal in (torch.from_numpy(v.astype(np.float32)) for v in (shift, arms.shift[a]))
                          for cells in (mover.to(goal, depth), mover.drawn(z, goal, generator))])
        return verdict(np.array(apart).reshape(-1, 4), self.options.spread)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return everything that the next step depends on."""
        tensors, meta = super().state()
        return tensors | checkpoint.named(self.ema.weights, "average"), {**meta, "ema_step": self.ema.step}

    def restore(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        """Put back what `state` returned."""
        super().restore(tensors, meta)
        for key, value in checkpoint.under(tensors, "average").items():
            self.ema.weights[key].copy_(value)
        self.ema.step = int(meta["ema_step"])

    def result(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return what predicting needs, and which half is used."""
        tensors, meta = self.response.result()
        return tensors | checkpoint.named(self.ema.weights, "sets"), {
            **meta, "sets": {**self.judge(), "n_pert": int(self.sets.pert.shape[1])}}


def verdict(found: np.ndarray, asked: str) -> dict[str, Any]:
    """Say which half is used: the one asked for, or with "auto" the diffusion where it is better.

    It has to be nearer by more than the standard error of the difference round the predicted mean, and no farther
    round the measured one: where the predicted mean is far off, whatever is wide is near the real cells.

    Parameters
    ----------
    found
        E-distances of each population, of moved controls and of the diffusion: round the predicted mean, and round the
        measured one, [A, 4].
    """
    n, gain = len(found), found[:, 0] - found[:, 1]
    better = n > 1 and gain.mean() > gain.std(ddof=1) / np.sqrt(n) and found[:, 3].mean() <= found[:, 2].mean()
    mean = found.mean(0).tolist() if n else [None] * 4
    return {"half": asked if asked != "auto" else "diffusion" if better else "moved", "n_judged": n,
            **dict(zip(("e_moved", "e_diffusion", "spread_moved", "spread_diffusion"), mean, strict=True))}
