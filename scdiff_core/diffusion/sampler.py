"""Samplers as generators: progress, preview and cancel belong to the caller.

A sampler walks t from 1 to 0 on an even grid of `steps` points and ends with the estimate of clean
data at the last one (the step to no noise at all, as in Karras et al. 2022, algorithm 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from scdiff_core.diffusion.denoiser import Denoiser
from scdiff_core.diffusion.schedule import Schedule
from scdiff_core.errors import ScdiffError
from scdiff_core.nn.condition import Condition


@dataclass(frozen=True)
class Step:
    """One step done: `i` of `n`, the time reached, the state there and the estimate of clean data."""

    i: int
    n: int
    t: float
    x: Tensor
    x0_hat: Tensor


@dataclass(frozen=True)
class Sampler:
    """Base: a denoiser, its schedule and the number of steps."""

    denoiser: Denoiser
    schedule: Schedule
    steps: int

    def start(self, n_cells: int, n_dims: int, generator: torch.Generator,
              device: torch.device | str = "cpu") -> Tensor:
        """Return noise at t = 1 of the spread that data of unit spread has there, [n_cells, n_dims]."""
        alpha, sigma = self.schedule(torch.ones(()))
        return (torch.randn((n_cells, n_dims), generator=generator) * (alpha**2 + sigma**2).sqrt()).to(device)

    def _grid(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        times = torch.linspace(1, 0, self.steps, dtype=torch.float64)
        alpha, sigma = self.schedule(times)
        return (times.to(x.dtype), alpha.to(x.dtype), sigma.to(x.dtype))

    def iterate(self, x: Tensor, condition: Condition, generator: torch.Generator) -> Iterator[Step]:
        """Walk from noise x [B, D] at t = 1 to clean data, one `Step` at a time."""
        raise NotImplementedError

    def sample(self, x: Tensor, condition: Condition, generator: torch.Generator) -> Tensor:
        """Walk to the end and return clean data [B, D]."""
        for step in self.iterate(x, condition, generator):
            x = step.x
        return x


@dataclass(frozen=True)
class DDIM(Sampler):
    """Song, Meng and Ermon 2021, eq. 12 and 16: deterministic at eta = 0, ancestral (DDPM) at eta = 1."""

    eta: float = 0.0

    def iterate(self, x: Tensor, condition: Condition, generator: torch.Generator) -> Iterator[Step]:
        """Walk from noise to clean data."""
        times, alpha, sigma = self._grid(x)
        for i in range(self.steps - 1):
            x0_hat = self.denoiser(x, times[i], condition)
            eps = (x - alpha[i] * x0_hat) / sigma[i]
            step = alpha[i] / alpha[i + 1]
            # eta times the spread of the state ahead given this one and x0 (eq. 16, for any alpha and sigma)
            fresh = self.eta * sigma[i + 1] / sigma[i] * (
                sigma[i] ** 2 - step**2 * sigma[i + 1] ** 2).clamp(min=0).sqrt()
            x = alpha[i + 1] * x0_hat + (sigma[i + 1] ** 2 - fresh**2).clamp(min=0).sqrt() * eps
            if self.eta > 0:
                x = x + fresh * torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
            yield Step(i + 1, self.steps, float(times[i + 1]), x, x0_hat)
        x0_hat = self.denoiser(x, times[-1], condition)
        yield Step(self.steps, self.steps, 0.0, x0_hat, x0_hat)


@dataclass(frozen=True)
class DDPM(DDIM):
    """Ancestral sampling with the posterior variance of Ho et al. 2020, eq. 6 and 7: DDIM at eta = 1."""

    eta: float = 1.0


@dataclass(frozen=True)
class Heun(Sampler):
    """The second-order solver of Karras et al. 2022, algorithm 1, on x / alpha against sigma / alpha."""

    def iterate(self, x: Tensor, condition: Condition, generator: torch.Generator) -> Iterator[Step]:
        """Walk from noise to clean data."""
        times, alpha, sigma = self._grid(x)
        ratio = sigma / alpha
        x = x / alpha[0]
        for i in range(self.steps - 1):
            x0_hat = self.denoiser(x * alpha[i], times[i], condition)
            slope = (x - x0_hat) / ratio[i]
            change = ratio[i + 1] - ratio[i]
            ahead = x + change * slope
            x0_ahead = self.denoiser(ahead * alpha[i + 1], times[i + 1], condition)
            x = x + change * 0.5 * (slope + (ahead - x0_ahead) / ratio[i + 1])
            yield Step(i + 1, self.steps, float(times[i + 1]), x * alpha[i + 1], x0_ahead)
        x0_hat = self.denoiser(x * alpha[-1], times[-1], condition)
        yield Step(self.steps, self.steps, 0.0, x0_hat, x0_hat)


SAMPLERS = ("heun", "ddim", "ddpm")


def make(name: str, denoiser: Denoiser, schedule: Schedule, steps: int, eta: float = 0.0) -> Sampler:
    """Return the sampler of a name; `eta` is for ddim.

    Raises
    ------
    ScdiffError
        There is none of that name.
    """
    if name == "heun":
        return Heun(denoiser, schedule, steps)
    if name == "ddim":
        return DDIM(denoiser, schedule, steps, eta)
    if name == "ddpm":
        return DDPM(denoiser, schedule, steps)
    raise ScdiffError(f"There is no sampler '{name}'.", "The samplers are " + ", ".join(SAMPLERS) + ".",
                      "Choose one of those.")
