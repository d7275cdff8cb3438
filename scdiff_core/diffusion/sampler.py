"""Samplers as generators: progress, preview and cancel belong to the caller.

A sampler walks t from 1 (or from `top`, where it starts from data with less noise) to 0 on an even grid of `steps`
points and ends with the estimate of clean data at the last one (the step to no noise at all, as in Karras et al. 2022,
algorithm 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

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
    """Base: a denoiser, its schedule, the number of steps, and the time to start from."""

    denoiser: Denoiser
    schedule: Schedule
    steps: int
    top: float = field(default=1.0, kw_only=True)

    @property
    def evaluations(self) -> int:
        """How often the denoiser is asked on the way."""
        return self.steps

    def start(self, n_cells: int, n_dims: int, generator: torch.Generator,
              device: torch.device | str = "cpu") -> Tensor:
        """Return noise at t = 1 of the spread that data of unit spread has there, [n_cells, n_dims].

        Each dimension is a Latin hypercube sample (McKay, Beckman and Conover 1979): one draw from each
        n-th of the normal distribution, in random order. Any one cell is an ordinary normal draw, while the
        cells together are spread as evenly as so many can be: no chance excess of deep or of odd cells.
        """
        alpha, sigma = self.schedule(torch.ones(()))
        order, within = torch.rand((2, n_cells, n_dims), generator=generator, device=generator.device)
        u = ((order.argsort(0) + within) / max(1, n_cells)).clamp(1e-7, 1 - 1e-7)
        return torch.special.ndtri(u).to(device) * float((alpha**2 + sigma**2).sqrt())

    def noised(self, x0: Tensor, generator: torch.Generator) -> Tensor:
        """Return clean data [B, D] with the noise of the time that the walk starts from: x_t = alpha x0 + sigma eps."""
        alpha, sigma = self.schedule(torch.tensor(self.top))
        eps = torch.randn(x0.shape, generator=generator, dtype=x0.dtype, device=generator.device).to(x0.device)
        return float(alpha) * x0 + float(sigma) * eps

    def _grid(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        times = torch.linspace(self.top, 0, self.steps, dtype=torch.float64)
        alpha, sigma = self.schedule(times)
        return (times.to(x.dtype), alpha.to(x.dtype), sigma.to(x.dtype))

    def _last(self, x: Tensor, time: Tensor, condition: Condition) -> Step:
        """Return the step to no noise at all: the estimate of clean data."""
        x0_hat = self.denoiser(x, time, condition)
        return Step(self.steps, self.steps, 0.0, x0_hat, x0_hat)

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
                draw = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=generator.device)
                x = x + fresh * draw.to(x.device)
            yield Step(i + 1, self.steps, float(times[i + 1]), x, x0_hat)
        yield self._last(x, times[-1], condition)


@dataclass(frozen=True)
class DDPM(DDIM):
    """Ancestral sampling with the posterior variance of Ho et al. 2020, eq. 6 and 7: DDIM at eta = 1."""

    eta: float = 1.0


@dataclass(frozen=True)
class Heun(Sampler):
    """The second-order solver of Karras et al. 2022, algorithm 1, on x / alpha against sigma / alpha."""

    @property
    def evaluations(self) -> int:
        """Two a step, one at the last."""
        return 2 * self.steps - 1

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
        yield self._last(x * alpha[-1], times[-1], condition)


@dataclass(frozen=True)
class DPMSolver(Sampler):
    """DPM-Solver++(2M): Lu et al. 2022 (DPM-Solver++), algorithm 2, with one evaluation a step.

    It works on x / alpha against lambda = -log(sigma / alpha), where the part of the flow that is linear in x
    is solved exactly. The estimate of clean data is carried on in a line through the one before; the first
    step has none before it, and the last, to no noise, needs none: both are of first order.
    """

    noisy = False  # whether fresh noise is put in, as the reverse-time SDE does

    def iterate(self, x: Tensor, condition: Condition, generator: torch.Generator) -> Iterator[Step]:
        """Walk from noise to clean data."""
        times, alpha, sigma = self._grid(x)
        ratio = sigma / alpha
        h = (ratio[:-1] / ratio[1:]).log()  # the steps in lambda
        x, before = x / alpha[0], None
        for i in range(self.steps - 1):
            x0_hat = self.denoiser(x * alpha[i], times[i], condition)
            ahead = x0_hat if before is None else x0_hat + (x0_hat - before) * (h[i] / (2 * h[i - 1]))
            kept = torch.exp(-h[i] * (2 if self.noisy else 1))
            x, before = kept * x + (1 - kept) * ahead, x0_hat
            if self.noisy:
                fresh = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=generator.device)
                x = x + ratio[i + 1] * (1 - kept).sqrt() * fresh.to(x.device)
            yield Step(i + 1, self.steps, float(times[i + 1]), x * alpha[i + 1], x0_hat)
        yield self._last(x * alpha[-1], times[-1], condition)


@dataclass(frozen=True)
class ReverseSDE(DPMSolver):
    """The reverse-time SDE (Song et al. 2021, eq. 6) by SDE-DPM-Solver++(2M) (Lu et al. 2022, section on SDEs).

    With estimates held constant over a step it is ancestral sampling (`DDPM`); here they go on in a line.
    """

    noisy = True


@dataclass(frozen=True)
class FlowODE(Sampler):
    """The probability-flow ODE (Song et al. 2021, eq. 13) by the classical Runge-Kutta method of fourth order.

    On x / alpha, with r = sigma / alpha: dx/dt = (r'(t) / r(t)) (x - x0_hat), steps even in t, the same for every
    cell. Four evaluations a step: dear, but next to the exact flow.
    """

    @property
    def evaluations(self) -> int:
        """Four a step, one at the last."""
        return 4 * self.steps - 3

    def iterate(self, x: Tensor, condition: Condition, generator: torch.Generator) -> Iterator[Step]:
        """Walk from noise to clean data."""
        times = torch.linspace(self.top, 0, 2 * self.steps - 1, dtype=torch.float64)  # middles between the steps too
        at, change_of = torch.func.jvp(self.schedule, (times,), (torch.ones_like(times),))[:2]
        alpha, rate = at[0], change_of[1] / at[1] - change_of[0] / at[0]
        change = -self.top / max(1, self.steps - 1)
        times, alpha, rate = (v.to(x.dtype) for v in (times, alpha, rate))

        def slope(x: Tensor, j: int) -> Tensor:
            return rate[j] * (x - self.denoiser(x * alpha[j], times[j], condition))

        x = x / alpha[0]
        for i in range(self.steps - 1):
            j = 2 * i
            x0_hat = self.denoiser(x * alpha[j], times[j], condition)
            first = rate[j] * (x - x0_hat)
            second = slope(x + 0.5 * change * first, j + 1)
            third = slope(x + 0.5 * change * second, j + 1)
            fourth = slope(x + change * third, j + 2)
            x = x + change / 6 * (first + 2 * second + 2 * third + fourth)
            yield Step(i + 1, self.steps, float(times[j + 2]), x * alpha[j + 2], x0_hat)
        yield self._last(x * alpha[-1], times[-1], condition)


KINDS: dict[str, type[Sampler]] = {"dpm": DPMSolver, "heun": Heun, "ode": FlowODE, "sde": ReverseSDE, "ddim": DDIM,
                                   "ddpm": DDPM}
SAMPLERS = tuple(KINDS)


def make(name: str, denoiser: Denoiser, schedule: Schedule, steps: int, eta: float = 0.0,
         top: float = 1.0) -> Sampler:
    """Return the sampler of a name; `eta` is for ddim, `top` the time to start from.

    Raises
    ------
    ScdiffError
        There is none of that name.
    """
    if name not in KINDS:
        raise ScdiffError(f"There is no sampler '{name}'.", "The samplers are " + ", ".join(SAMPLERS) + ".",
                          "Choose one of those.")
    if name == "ddim":
        return DDIM(denoiser, schedule, steps, eta, top=top)
    return KINDS[name](denoiser, schedule, steps, top=top)
