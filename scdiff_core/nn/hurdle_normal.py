"""Continuous values: exactly zero with a probability, else normal."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from scdiff_core.nn.values import Values, exact, per_cell


@dataclass(frozen=True)
class HurdleNormal:
    """Continuous values: exactly zero with a probability, else normal.

    Parameters
    ----------
    zero_logit, location, log_scale
        [B, G]; the logit of P(value is zero), and mean and log standard deviation of the rest.
    positive
        Whether values below zero cannot occur (log-normalised ones); they are then drawn from the
        normal above zero.
    stray
        The share of values that may be far out, and so hardly teach anything.
    """

    zero_logit: Tensor
    location: Tensor
    log_scale: Tensor
    positive: bool
    stray: float = 0.0

    @property
    def mean(self) -> Tensor:
        """The mean of the continuous values, [B, G]."""
        return torch.sigmoid(-self.zero_logit) * self.location

    def _floor(self, location: Tensor, scale: Tensor) -> Tensor:
        """Return the probability of the normal below zero, where that is out of bounds."""
        return torch.special.ndtr(-location / scale) if self.positive else torch.zeros_like(location)

    def _start(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return P(value is zero), location and scale, flat and in float64."""
        return tuple(exact(v).reshape(-1) for v in (  # type: ignore[return-value]
            torch.sigmoid(self.zero_logit), self.location, self.log_scale.exp()))

    def log_likelihood(self, values: Values) -> Tensor:
        """Return log p(values) of each cell, [B]: density of the non-zero, probability of the zeros.

        The share `stray` of them may be ten times as spread as the rest.
        """
        zeros = -softplus(-self.zero_logit).sum(1)
        at, x = values.index, values.value
        logit, location, log_scale = (v.reshape(-1)[at] for v in (self.zero_logit, self.location, self.log_scale))
        z = (x - location) * torch.exp(-log_scale)
        terms = -0.5 * z * z - log_scale - 0.9189385332046727
        if self.stray > 0:
            wide = -0.005 * z * z - log_scale - 0.9189385332046727 + math.log(0.1 * self.stray)
            terms = torch.logaddexp(terms, wide)
        return zeros + per_cell(terms - logit, values)  # log(1 - p0) = log(p0) - logit

    def sample(self, u: Tensor, generator: torch.Generator) -> Tensor:
        """Return the values at cumulative probability u, [B, G]; `generator` is not needed."""
        return self.inverse(u)

    def pit(self, values: Values, generator: torch.Generator) -> Tensor:
        """Return the probability integral transform, randomised at zero, [B, G] in (0, 1)."""
        zero, location, scale = self._start()
        u = torch.rand(zero.shape, generator=generator, dtype=torch.float32).to(zero) * zero
        at, x = values.index.to(u.device), exact(values.value)
        zero, location, scale = zero[at], location[at], scale[at]
        floor = self._floor(location, scale)
        above = ((torch.special.ndtr((x - location) / scale) - floor) / (1 - floor)).clamp(0, 1)
        return u.index_copy(0, at, zero + (1 - zero) * above).view(values.shape).float().to(self.location.device)

    def inverse(self, u: Tensor) -> Tensor:
        """Return the value at cumulative probability u, [B, G] continuous values."""
        zero, location, scale = self._start()
        u = exact(u).reshape(-1)
        above = ((u - zero) / (1 - zero).clamp(min=1e-9)).clamp(1e-9, 1 - 1e-9)
        floor = self._floor(location, scale)
        x = location + scale * torch.special.ndtri(floor + (1 - floor) * above)
        x = torch.where(u > zero, x.clamp(min=0) if self.positive else x, torch.zeros_like(x))
        return x.view(self.location.shape).float().to(self.location.device)
