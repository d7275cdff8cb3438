"""The set diffusion once it is trained: codes of perturbed cells, from a set of controls and a predicted change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scdiff_core.analysis.perturb.embeddings import Embedding
from scdiff_core.config import DiffusionConfig, PerturbConfig
from scdiff_core.data.perturbations import Perturbation
from scdiff_core.diffusion import sampler
from scdiff_core.diffusion.denoiser import Preconditioned
from scdiff_core.engine import move
from scdiff_core.engine.train_diffusion import SCHEDULE
from scdiff_core.nn.control_set import SetBackbone, SetCondition

STEPS = 8  # of the sampler


def build_sets(config: DiffusionConfig, n_dims: int, n_pert: int) -> SetBackbone:
    """Return an untrained network."""
    return SetBackbone(n_dims, n_pert, config.width, config.depth, dropout=config.dropout)


def vector(embeddings: tuple[Embedding, ...], what: Perturbation) -> np.ndarray:
    """Return the vector of a perturbation: its parts' added up, embedding beside embedding, float32 [E].

    The control, and a part that an embedding lacks, add nothing; the mean then still says what they do.
    """
    found = []
    for e in embeddings:
        rows = [e.row(part, target) for part, target in zip(what.parts, what.targets, strict=True)]
        found.append(sum((e.unit[r] for r in rows if r is not None), np.zeros(e.vectors.shape[1])))
    return np.concatenate(found or [np.zeros(1)]).astype(np.float32)


@dataclass(frozen=True)
class Spread:
    """A trained set diffusion."""

    network: SetBackbone
    options: PerturbConfig

    @torch.no_grad()
    def codes(self, mover: move.Mover, shift: Tensor, pert: Tensor, generator: torch.Generator) -> Tensor:
        """Return codes [n, D] of as many perturbed cells as the mover has controls, which are the set to look at.

        Parameters
        ----------
        shift, pert
            The predicted change of the codes [D], and the vector of the perturbation [E].
        """
        n = len(mover.z)
        look = mover.z[torch.randint(n, (self.options.set_size,), generator=generator)]
        condition = SetCondition(shift.expand(n, -1), pert.expand(n, -1), look.expand(n, -1, -1),
                                 torch.ones(n, dtype=torch.bool))
        walk = sampler.make("dpm", Preconditioned(self.network, SCHEDULE), SCHEDULE, STEPS)
        noise = walk.start(n, mover.z.shape[1], generator)
        return walk.sample(noise, condition, generator) + shift  # type: ignore[arg-type]
