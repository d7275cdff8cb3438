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


@dataclass(frozen=True)
class Prediction:
    """What a network may be asked for instead, as factors of the same kind: eps, x0, v or the velocity of a flow.

    With r = sigma / alpha and x = x0 + r eps, the network's output F says, of data of unit spread (c_in brings what
    it sees to that spread too):

    ===== ==================================================== =========================== ==============
    kind  the target of F                                      x0_hat                      1 / c_out^2
    ===== ==================================================== =========================== ==============
    eps   eps (Ho et al. 2020, eq. 14)                         x - r F                     1 / r^2
    x0    x0 (Ramesh et al. 2022, section 2.2)                 F                           1
    v     alpha eps - sigma x0 at alpha^2 + sigma^2 = 1        (x - r sqrt(1 + r^2) F)     (1 + r^2) / r^2
          (Salimans and Ho 2022, section 4)                    / (1 + r^2)
    flow  eps - x0, the velocity of alpha = 1 - t, sigma = t   (x - r F) / (1 + r)         (1 + r)^2 / r^2
          (Lipman et al. 2023; Liu et al. 2023)
    ===== ==================================================== =========================== ==============

    The loss is the plain squared error of F, as these papers have it, over the target's own variance (1; 2 of flow), so
    that knowing nothing scores 1. Of data of unit spread, v is EDM's preconditioning with the sign of F turned.
    """

    kind: str

    def factors(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return c_skip, c_out, c_in and c_noise of sigma (over alpha), in its shape."""
        total = 1 + sigma**2
        skip, out = {
            "eps": lambda: (torch.ones_like(sigma), -sigma),
            "x0": lambda: (torch.zeros_like(sigma), torch.ones_like(sigma)),
            "v": lambda: (1 / total, -sigma * total.rsqrt()),
            "flow": lambda: (1 / (1 + sigma), -sigma / (1 + sigma)),
        }[self.kind]()
        return skip, out, total.rsqrt(), sigma.log() / 4

    def weight(self, sigma: Tensor) -> Tensor:
        """Return the loss weight of sigma: 1 / c_out^2 over the variance of the target."""
        return 1 / (self.factors(sigma)[1] ** 2 * (2 if self.kind == "flow" else 1))


def preconditioning(kind: str) -> Preconditioning | Prediction:
    """Return what stands between a network and the estimate of clean data: edm, eps, x0, v or flow."""
    return Preconditioning() if kind == "edm" else Prediction(kind)


class Preconditioned:
    """A network behind a preconditioning, EDM's unless another is given, under any schedule.

    x_t / alpha is data plus noise of spread sigma / alpha, whatever the schedule, so one trained
    network serves them all.
    """

    def __init__(self, network: nn.Module, schedule: Schedule,
                 preconditioning: Preconditioning | Prediction = Preconditioning()) -> None:
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
