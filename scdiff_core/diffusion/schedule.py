"""Noise schedules: t in [0, 1] to alpha and sigma, with x_t = alpha x0 + sigma eps; t = 0 is clean.

All go between the same two noise-to-signal ratios, so any can serve any sampler. At t = 0 a trace
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


@dataclass(frozen=True)
class Linear:
    """Variance preserving with beta(t) linear in t: log alpha = -(beta_max - beta_min) s^2 / 4 - beta_min s / 2.

    Song et al. 2021, eq. 33, which is the linear schedule of Ho et al. 2020 in continuous time; s goes evenly between
    the times at which the noise-to-signal ratios of both ends are reached.
    """

    ratio_min: float = 0.02
    ratio_max: float = 40.0
    beta_min: float = 0.1
    beta_max: float = 20.0

    def _time(self, ratio: float) -> float:
        """Return the time s of a ratio: alpha^2 = 1 / (1 + ratio^2), solved for s."""
        half, quarter = self.beta_min / 2, (self.beta_max - self.beta_min) / 4
        depth = 0.5 * math.log1p(ratio**2)  # -log alpha
        return (-half + math.sqrt(half**2 + 4 * quarter * depth)) / (2 * quarter)

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return alpha and sigma of t; alpha^2 + sigma^2 = 1."""
        low, high = self._time(self.ratio_min), self._time(self.ratio_max)
        s = low + t * (high - low)
        log_alpha = -(self.beta_max - self.beta_min) * s**2 / 4 - self.beta_min * s / 2
        return log_alpha.exp(), (-torch.expm1(2 * log_alpha)).sqrt()


@dataclass(frozen=True)
class Flow:
    """The straight line of flow matching: alpha = 1 - s, sigma = s, with s linear in t.

    Lipman et al. 2023, eq. 20 with sigma_min = 0; Liu et al. 2023 (rectified flow), eq. 1.
    """

    ratio_min: float = 0.02
    ratio_max: float = 40.0

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return alpha and sigma of t; alpha + sigma = 1."""
        low, high = (r / (1 + r) for r in (self.ratio_min, self.ratio_max))
        s = low + t * (high - low)
        return 1 - s, s


@dataclass(frozen=True)
class Tabulated:
    """A variance preserving schedule through log noise-to-signal ratios at even times, straight between them.

    Denoisers and samplers see sigma / alpha alone, so this stands for any schedule of these ratios. A callable of the
    user's own is kept like this: a trained model is then opened without running code.

    Parameters
    ----------
    log_ratio
        log(sigma / alpha) at n even times from 0 to 1, rising, [n].
    """

    log_ratio: Tensor

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return alpha and sigma of t; alpha^2 + sigma^2 = 1."""
        table = self.log_ratio.to(device=t.device, dtype=t.dtype)
        last = len(table) - 1
        i = (t.detach() * last).floor().long().clamp(0, last - 1)
        low, high = table[i], table[i + 1]
        log_ratio = low + (t * last - i) * (high - low)
        return torch.sigmoid(-2 * log_ratio).sqrt(), torch.sigmoid(2 * log_ratio).sqrt()


def log_snr(schedule: Schedule, t: Tensor) -> Tensor:
    """Return the log of the signal-to-noise ratio alpha^2 / sigma^2 of t."""
    alpha, sigma = schedule(t)
    return 2 * (alpha.log() - sigma.log())
