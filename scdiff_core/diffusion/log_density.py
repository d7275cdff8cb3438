"""How likely clean data is under a diffusion model: the log density that its probability-flow ODE gives."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from scdiff_core.diffusion.denoiser import Denoiser
from scdiff_core.diffusion.schedule import Schedule
from scdiff_core.nn.condition import Condition

LOG_TWO_PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class FlowLikelihood:
    """The probability-flow ODE walked from data to noise, with the change of volume on the way.

    Song et al. 2021, eq. 39: log p(x0) = log p_T(x_T) + the integral of the divergence of the flow. On y = x / alpha
    against u = log(sigma / alpha) the flow is dy/du = y - x0_hat, whatever the schedule, and its divergence
    D - tr(d x0_hat / d y). Heun's rule on an even grid of u, from the least noise to the most.

    Parameters
    ----------
    denoiser, schedule
        What estimates clean data, and the noise that it is asked at.
    steps
        Points of the grid, two at least.
    probes
        Random signs that estimate the trace at each point (Hutchinson 1990), drawn anew at each; 0 takes every
        dimension in turn, which is exact and costs D evaluations instead.
    """

    denoiser: Denoiser
    schedule: Schedule
    steps: int = 24
    probes: int = 1

    def log_prob(self, x0: Tensor, condition: Condition, generator: torch.Generator
                 ) -> Generator[int, None, tuple[Tensor, Tensor]]:
        """Yield the points passed; return the log density [B] of clean data x0 [B, D], in nats, and its noise x_T.

        The data is taken as it is at the least noise of the schedule: the density is that of data with so much noise.
        """
        times = torch.linspace(0, 1, 512, dtype=torch.float64)
        alpha, sigma = self.schedule(times)
        logs = (sigma / alpha).log()
        grid = torch.linspace(float(logs[0]), float(logs[-1]), self.steps, dtype=torch.float64)
        at = _interpolate(grid, logs, times)  # the times whose noise lies evenly in the log, nearly
        alpha, sigma = self.schedule(at)
        grid = (sigma / alpha).log()
        y, total = x0, torch.zeros(len(x0), dtype=x0.dtype, device=x0.device)
        slope, volume = self._flow(y, at[0], condition, generator)
        yield 1
        for i in range(1, self.steps):
            h = float(grid[i] - grid[i - 1])
            slope_ahead, volume_ahead = self._flow(y + h * slope, at[i], condition, generator)
            y = y + 0.5 * h * (slope + slope_ahead)
            total = total + 0.5 * h * (volume + volume_ahead)
            if i < self.steps - 1:
                slope, volume = self._flow(y, at[i], condition, generator)
            yield i + 1
        spread = 1 + math.exp(2 * float(grid[-1]))  # data of unit spread, and the noise
        start = -0.5 * ((y**2).sum(1) / spread + y.shape[1] * (LOG_TWO_PI + math.log(spread)))
        return start + total, y

    def _flow(self, y: Tensor, t: Tensor, condition: Condition, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the flow dy/du [B, D] and its divergence [B]."""
        time = t.to(y.dtype)
        alpha, _ = self.schedule(time)

        b, d = y.shape
        if self.probes == 0:
            rows = torch.arange(b, device=y.device).repeat(d)
            probe = torch.eye(d, dtype=y.dtype, device=y.device).repeat_interleave(b, 0)
        else:
            rows = torch.arange(b, device=y.device).repeat(self.probes)
            signs = torch.randint(0, 2, (len(rows), d), generator=generator)
            probe = (2 * signs - 1).to(y)
        among = condition.rows(rows) if len(rows) > b else condition

        def clean(v: Tensor) -> Tensor:
            return self.denoiser(v * alpha, time, among)

        x0_hat, along = torch.func.jvp(clean, (y[rows],), (probe,))[:2]
        trace = (probe * along).sum(1).view(-1, b).sum(0) / max(1, self.probes)
        return (y - x0_hat[:b]).detach(), (d - trace).detach()


def _interpolate(x: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """Return the piecewise linear function through rising xs and ys at x."""
    i = torch.searchsorted(xs, x).clamp(1, len(xs) - 1)
    return ys[i - 1] + (x - xs[i - 1]) * (ys[i] - ys[i - 1]) / (xs[i] - xs[i - 1])
