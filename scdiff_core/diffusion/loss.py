"""The training loss of a preconditioned denoiser, and the average of its weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scdiff_core.diffusion.denoiser import Preconditioned
from scdiff_core.diffusion.schedule import Schedule
from scdiff_core.nn.condition import Condition


@dataclass(frozen=True)
class NoiseLevels:
    """ln sigma is normal in training (Karras et al. 2022, table 1), here for data of unit spread."""

    mean: float = -0.4
    std: float = 1.4

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Return n levels, [n], where the generator lives: one from each n-th of the distribution in random order."""
        return (self.mean + self.std * torch.special.ndtri(_evenly(n, generator).clamp(1e-4, 1 - 1e-4))).exp()


@dataclass(frozen=True)
class EvenTimes:
    """t is uniform in training (Ho et al. 2020, algorithm 1; Liu et al. 2023, eq. 1): levels as a schedule has them."""

    schedule: Schedule

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Return n levels sigma / alpha, [n], where the generator lives, from each n-th of the times one."""
        alpha, sigma = self.schedule(_evenly(n, generator))
        return sigma / alpha


def _evenly(n: int, generator: torch.Generator) -> Tensor:
    """Return a number from each n-th of 0 to 1, in random order, [n]."""
    where = generator.device
    u = (torch.arange(n, device=where) + torch.rand(n, generator=generator, device=where)) / n
    return u[torch.randperm(n, generator=generator, device=where)]


def weighted_error(denoiser: Preconditioned, x0_hat: Tensor, x0: Tensor, sigma: Tensor) -> Tensor:
    """Return the weighted squared error of each cell, [B] (Karras et al. 2022, eq. 8), mean over D.

    Under the weights the network's own target has unit variance at every sigma, so a network that
    knows nothing scores 1.
    """
    return denoiser.preconditioning.weight(sigma) * ((x0_hat - x0) ** 2).mean(1)


def denoising_loss(denoiser: Preconditioned, x0: Tensor, condition: Condition, sigma: Tensor,
                   noise: Tensor) -> Tensor:
    """Return the `weighted_error` of the estimates of noised cells, [B]."""
    return weighted_error(denoiser, denoiser.at(x0 + sigma[:, None] * noise, sigma, condition), x0, sigma)


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
