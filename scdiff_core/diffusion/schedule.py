"""Noise schedules: t in [0, 1] to alpha and sigma, with x_t = alpha x0 + sigma eps; t = 0 is clean.

Both go between the same two noise-to-signal ratios, so either can serve any sampler. At t = 0 a trace
of noise (`ratio_min`) is left, which a sampler's last step takes away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Schedule(Protocol):
    """Anything that tells alpha and sigma of t."""

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return alpha and sigma of t, in t's shape."""
        ...


@dataclass(frozen=True)
class Karras:
    """Variance exploding with levels spaced by a power: sigma^(1/rho) is linear in t, alpha = 1.

    Karras et al. 2022, eq. 5 (with t = 1 - i / (N - 1)).
    """

    ratio_min: float = 0.02
    ratio_max: float = 40.0
    rho: float = 7.0

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return alpha (ones) and sigma of t."""
        low, high = self.ratio_min ** (1 / self.rho), self.ratio_max ** (1 / self.rho)
        sigma = (low + t * (high - low)) ** self.rho
        return torch.ones_like(sigma), sigma


@dataclass(frozen=True)
class Cosine:
    """Variance preserving: alpha = cos, sigma = sin of an angle linear in t.

    Nichol and Dhariwal 2021, eq. 17, cut to a finite noise-to-signal ratio at both ends as in Hoogeboom
    et al. 2023, section 2.
    """

    ratio_min: float = 0.02
    ratio_max: float = 40.0

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return alpha and sigma of t; alpha^2 + sigma^2 = 1."""
        low, high = math.atan(self.ratio_min), math.atan(self.ratio_max)
        angle = low + t * (high - low)
        return angle.cos(), angle.sin()


def log_snr(schedule: Schedule, t: Tensor) -> Tensor:
    """Return the log of the signal-to-noise ratio alpha^2 / sigma^2 of t."""
    alpha, sigma = schedule(t)
    return 2 * (alpha.log() - sigma.log())
