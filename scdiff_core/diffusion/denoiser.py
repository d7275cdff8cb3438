"""Denoisers return an estimate of clean data; how their network is scaled is their private business."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from scdiff_core.diffusion.schedule import Schedule
from scdiff_core.nn.condition import Condition


class Denoiser(Protocol):
    """Anything that estimates x0 from x_t."""

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """Return x0_hat [B, D] of x_t [B, D] at time t (a scalar tensor, or [B])."""
        ...


@dataclass(frozen=True)
class Preconditioning:
    """The four factors of Karras et al. 2022, table 1 (column EDM), for data of spread `sigma_data`."""

    sigma_data: float = 1.0

    def factors(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return c_skip, c_out, c_in and c_noise of sigma, in its shape."""
        total = sigma**2 + self.sigma_data**2
        return (self.sigma_data**2 / total, sigma * self.sigma_data * total.rsqrt(), total.rsqrt(),
                sigma.log() / 4)

    def weight(self, sigma: Tensor) -> Tensor:
        """Return the loss weight 1 / c_out^2 of sigma."""
        return (sigma**2 + self.sigma_data**2) / (sigma * self.sigma_data) ** 2


class Preconditioned:
    """A network behind EDM's preconditioning, under any schedule.

    x_t / alpha is data plus noise of spread sigma / alpha, whatever the schedule, so one trained
    network serves them all.
    """

    def __init__(self, network: nn.Module, schedule: Schedule,
                 preconditioning: Preconditioning = Preconditioning()) -> None:
        self.network, self.schedule, self.preconditioning = network, schedule, preconditioning

    def at(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """Return x0_hat of x = x0 + sigma eps [B, D], sigma [B] (Karras et al. 2022, eq. 7)."""
        c_skip, c_out, c_in, c_noise = self.preconditioning.factors(sigma)
        out = self.network(c_in[:, None] * x, c_noise, condition)
        return c_skip[:, None] * x + c_out[:, None] * out.float()

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """Return x0_hat [B, D] of x_t at time t under the schedule."""
        alpha, sigma = self.schedule(torch.as_tensor(t, dtype=x_t.dtype, device=x_t.device).expand(len(x_t)))
        return self.at(x_t / alpha[:, None], sigma / alpha, condition)
