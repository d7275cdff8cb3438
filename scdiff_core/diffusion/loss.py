"""The training loss of a preconditioned denoiser, and the average of its weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scdiff_core.diffusion.denoiser import Preconditioned
from scdiff_core.nn.condition import Condition


@dataclass(frozen=True)
class NoiseLevels:
    """ln sigma is normal in training (Karras et al. 2022, table 1), here for data of unit spread."""

    mean: float = -0.4
    std: float = 1.4

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Return n levels, [n], where the generator lives: one from each n-th of the distribution in random order."""
        where = generator.device
        u = (torch.arange(n, device=where) + torch.rand(n, generator=generator, device=where)) / n
        u = u[torch.randperm(n, generator=generator, device=where)].clamp(1e-4, 1 - 1e-4)
        return (self.mean + self.std * torch.special.ndtri(u)).exp()


def denoising_loss(denoiser: Preconditioned, x0: Tensor, condition: Condition, sigma: Tensor,
                   noise: Tensor) -> Tensor:
    """Return the weighted squared error of each cell, [B] (Karras et al. 2022, eq. 8), mean over D.

    Under the weights the network's own target has unit variance at every sigma, so a network that
    knows nothing scores 1.
    """
    x0_hat = denoiser.at(x0 + sigma[:, None] * noise, sigma, condition)
    return denoiser.preconditioning.weight(sigma) * ((x0_hat - x0) ** 2).mean(1)


class EMA:
    """An exponential moving average of a module's weights, shorter while it is young.

    The decay at step k is min(decay, (1 + k) / (10 + k)), so that the start is forgotten.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.step = decay, 0
        self.weights = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the module's weights of now."""
        decay = min(self.decay, (1 + self.step) / (10 + self.step))
        self.step += 1
        own, new = [], []
        for key, value in module.state_dict().items():
            if value.is_floating_point():
                own.append(self.weights[key])
                new.append(value.detach())
            else:
                self.weights[key].copy_(value)
        torch._foreach_lerp_(own, new, 1 - decay)
