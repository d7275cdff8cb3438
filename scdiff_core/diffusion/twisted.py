"""Sampling under demands: twisted sequential Monte Carlo, and gradient guidance as the quick way.

Wu et al. 2023 (Practical and asymptotically exact conditional sampling in diffusion models), algorithm 1, with a
probit twist. A demand m(z) >= 0 on clean latents has, at noise sigma, about the probability

    Phi(m(x0_hat) / sqrt(v (tau^2 + |dm/dz|^2))),    v = sigma^2 / (1 + sigma^2),

where v is the spread of clean data of unit variance given x_t: exact for a margin linear in z and data that are normal.
tau is what a margin may bend by besides.
Particles are moved up the gradient of its log, weighted for that, and resampled on islands where the effective
number falls below half. At the end stands the demand itself, so that what is kept meets it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from scdiff_core.diffusion.denoiser import Denoiser
from scdiff_core.diffusion.objective import Objective
from scdiff_core.diffusion.schedule import Schedule
from scdiff_core.errors import ScdiffError
from scdiff_core.nn.condition import Condition

LEAST = -60.0  # log of the least probability that a twist says
LEAST_SPREAD = 1e-4  # of a margin, so that a clean one is not divided by nothing


@dataclass(frozen=True)
class Particles:
    """The state between two steps.

    Parameters
    ----------
    x, x0_hat
        [N, D]: the noisy latents, and the estimate of clean ones.
    log_weight
        [N], normalised within each island.
    ancestor
        int64 [N]: which particle of the start each descends from.
    effective
        [I]: the effective number of particles of each island, before it was resampled.
    """

    i: int
    n: int
    t: float
    x: Tensor
    x0_hat: Tensor
    log_weight: Tensor
    ancestor: Tensor
    effective: Tensor


def log_twist(objective: Objective, z: Tensor, variance: Tensor, tau: float, x: Tensor | None = None,
              sigma: Tensor | None = None) -> Tensor:
    """Return the log of the twist [B] at estimates z [B, D] whose clean latents have this variance (a scalar, or [D]).

    Its gradient treats the width of the probit as given. `x` [B, D] are the latents with noise sigma that the
    estimates are of; without them z are taken for clean.
    """
    margins = objective.margins(z)
    total = objective.log_weight(z) if x is None or sigma is None else objective.log_weight_on_the_way(x, z, sigma)
    if margins.shape[1]:
        slopes = _slopes(margins, z) if z.requires_grad else None
        if slopes is None:
            with torch.enable_grad():
                at = z.detach().requires_grad_(True)
                slopes = _slopes(objective.margins(at), at)
        width = (slopes.detach().square() * variance).sum(-1)
        spread = (tau**2 * variance.mean() + width + LEAST_SPREAD**2).sqrt()
        total = total + torch.special.log_ndtr(margins / spread).clamp(min=LEAST).sum(1)
    return total


def look(denoiser: Denoiser, x: Tensor, t: Tensor, sigma: Tensor, condition: Condition, objective: Objective,
         tau: float, variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the estimate of clean latents [B, D], the log twist there [B], and its gradient in x [B, D].

    Raises
    ------
    ScdiffError
        The objective is not finite for any cell.
    """
    with torch.enable_grad():
        at = x.detach().requires_grad_(True)
        x0_hat = denoiser(at, t, condition)
        twist = log_twist(objective, x0_hat, variance, tau, at, sigma)
        gradient = torch.autograd.grad(twist.sum(), at)[0] if twist.requires_grad else torch.zeros_like(at)
    twist = twist.detach()
    fine = torch.isfinite(twist)
    if not fine.any():
        raise ScdiffError("The design came apart.", "The objective is not a finite number for any cell.",
                          "Check the custom objective, or take it out.")
    bad = ~(fine & torch.isfinite(gradient).all(1))
    return (x0_hat.detach(), torch.where(fine, twist, torch.full_like(twist, LEAST * 10)),
            gradient.masked_fill(bad[:, None], 0.0))


def ahead(x: Tensor, x0_hat: Tensor, gradient: Tensor, sigma: Tensor, below: Tensor, most: float,
          variance: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return where a step from sigma to the noise `below` leads, its move up the gradient, and its spread.

    The step is that of ancestral sampling (Ho et al. 2020, eq. 6 and 7, for alpha = 1), widened by what is not known of
    the clean latents, `variance` [D], where that is given (Bao et al. 2022, Analytic-DPM, eq. 8): few steps lose no
    spread then. The move is `most` of its standard deviations at the longest.
    """
    kept = (below / sigma) ** 2
    spread = below * (1 - kept).sqrt()
    if variance is not None:
        spread = (spread**2 + (1 - kept) ** 2 * variance).sqrt()
    move = (sigma**2 - below**2) * gradient
    longest = most * (spread if spread.dim() == 0 else spread.square().mean().sqrt())
    move = move * (longest / move.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1.0)
    return x0_hat + kept * (x - x0_hat) + move, move, spread


def levels(schedule: Schedule, start: float, steps: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the times from `start` to 0, and sigma there; raises `ValueError` where alpha is not 1."""
    times = torch.linspace(start, 0, steps, dtype=torch.float64)
    alpha, sigma = schedule(times)
    if not torch.all(alpha == 1):
        raise ValueError("twisted sampling needs a schedule with alpha = 1, such as Karras")
    return times, sigma.to(dtype)


def _variance(sigma: Tensor, unknown: Tensor | None) -> Tensor:
    """Return the variance of clean latents given noisy ones at each sigma, [steps] or [steps, D]."""
    return sigma**2 / (1 + sigma**2) if unknown is None else unknown


@torch.no_grad()
def unknown_at(denoiser: Denoiser, schedule: Schedule, start: float, steps: int, z: Tensor, condition: Condition,
               generator: torch.Generator) -> Tensor:
    """Return the variance of clean latents given noisy ones at each step from t = `start`, [steps, D].

    It is the mean squared error of the denoiser on known clean latents z [N, D], dimension by dimension.
    """
    times, sigma = levels(schedule, start, steps, z.dtype)
    return torch.stack([(denoiser(z + s * _noise(z, generator), t, condition) - z).square().mean(0)
                        for t, s in zip(times, sigma, strict=True)])


def _noise(x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)


def _slopes(margins: Tensor, z: Tensor) -> Tensor:
    """Return dm/dz [B, R, D]; row by row, since there are few."""
    rows = [torch.autograd.grad(margins[:, r].sum(), z, retain_graph=True, allow_unused=True)[0]
            for r in range(margins.shape[1])]
    return torch.stack([torch.zeros_like(z) if r is None else r for r in rows], 1)


def resample(log_weight: Tensor, generator: torch.Generator, n: int | None = None) -> Tensor:
    """Return which particle each of n places takes, int64 [I, n], by systematic resampling of log weights [I, M].

    Kitagawa 1996: one uniform draw an island, so that a particle of weight w has n w children, rounded up or down.
    """
    many = log_weight.shape[1]
    n = n or many
    edges = log_weight.softmax(1).double().cumsum(1)
    edges[:, -1] = 1.0
    draw = torch.rand((len(edges), 1), generator=generator, dtype=torch.float64).to(edges.device)
    at = (torch.arange(n, dtype=torch.float64, device=edges.device) + draw) / n
    return torch.searchsorted(edges, at).clamp(max=many - 1)


@dataclass(frozen=True)
class TwistedSMC:
    """Twisted sequential Monte Carlo on islands, under a variance-exploding schedule.

    Parameters
    ----------
    denoiser, schedule, steps
        As for any sampler; alpha is 1.
    islands
        The particles are dealt to so many, each resampled by itself: one population alone varies by its seed.
    tau
        Softness of the demands in their own units while there is nothing but noise; it goes as the noise does.
    most
        The longest move up the gradient in one step, in standard deviations of that step.
    unknown
        [steps, D]: the variance of clean latents given noisy ones at each step (`unknown_at`); None: that of data of
        unit variance in the twist, and plain ancestral steps.
    """

    denoiser: Denoiser
    schedule: Schedule
    steps: int = 30
    islands: int = 4
    tau: float = 0.05
    most: float = 3.0
    unknown: Tensor | None = None

    def iterate(self, x: Tensor, condition: Condition, objective: Objective, generator: torch.Generator,
                start: float = 1.0, chosen: bool = False) -> Iterator[Particles]:
        """Walk from x [N, D] at t = `start` to clean latents; N is a multiple of the islands.

        `chosen` says that x were drawn by their twists (`choose_start`), so that they begin with even weights.

        The last state's `x0_hat` are the clean latents, and its `log_weight` is -inf where a hard demand is not met.

        Raises
        ------
        ScdiffError
            The objective is not finite at any particle.
        """
        times, sigma = levels(self.schedule, start, self.steps, x.dtype)
        n = len(x)
        weight = torch.zeros(n, dtype=x.dtype, device=x.device)
        ancestor = torch.arange(n, device=x.device)
        variance = _variance(sigma, self.unknown)
        x0_hat, twist, gradient = look(self.denoiser, x, times[0], sigma[0], condition, objective, self.tau,
                                       variance[0])
        weight = weight if chosen else weight + twist
        for i in range(self.steps - 1):
            middle, move, spread = ahead(x, x0_hat, gradient, sigma[i], sigma[i + 1], self.most,
                                         None if self.unknown is None else self.unknown[i])
            noise = _noise(x, generator)
            x, before = middle + spread * noise, twist
            x0_hat, twist, gradient = look(self.denoiser, x, times[i + 1], sigma[i + 1], condition, objective, self.tau,
                                           variance[i + 1])
            # log of the step's own density over that of the moved one: of two normals of the same spread
            own = ((noise**2).sum(1) - ((noise + move / spread) ** 2).sum(1)) / 2
            weight = weight + own + twist - before
            weight, effective, taken = self._settle(weight, generator)
            if taken is not None:
                x, x0_hat, twist, gradient, ancestor = (v[taken] for v in (x, x0_hat, twist, gradient, ancestor))
                condition = condition.rows(taken)
            yield Particles(i + 1, self.steps, float(times[i + 1]), x, x0_hat, weight, ancestor, effective)
        met = (objective.margins(x0_hat) >= 0).all(1)
        weight = weight - twist + objective.log_weight(x0_hat)
        weight = torch.where(met, weight, torch.full_like(weight, -torch.inf))
        yield Particles(self.steps, self.steps, 0.0, x0_hat, x0_hat, self._normal(weight), ancestor,
                        self._effective(weight))

    def choose_start(self, x: Tensor, condition: Condition, objective: Objective, n: int,
                     generator: torch.Generator) -> Tensor:
        """Return which n of many starts x [M, D] at t = 1 to go on with, int64 [n], by their twists.

        Where conditions differ, most of the starts may be of a kind that cannot meet the demands.
        """
        at = torch.ones((), dtype=torch.float64)
        sigma = self.schedule(at)[1].to(x.dtype)
        variance = _variance(sigma[None], self.unknown)[0]
        twist = []
        with torch.no_grad():
            for start in range(0, len(x), n):
                rows = slice(start, start + n)
                x0_hat = self.denoiser(x[rows], at.to(x.dtype), condition.rows(rows))
                twist.append(log_twist(objective, x0_hat, variance, self.tau, x[rows], sigma))
        weight = torch.cat(twist)
        weight = torch.where(torch.isfinite(weight), weight, torch.full_like(weight, LEAST * 10))
        drawn = resample(weight[None], generator, n)[0]
        return drawn[torch.randperm(n, generator=generator).to(x.device)]  # each island has some of every kind

    def _by_island(self, weight: Tensor) -> Tensor:
        return weight.view(self.islands, -1)

    def _normal(self, weight: Tensor) -> Tensor:
        """Return log weights that sum to one within each island; -inf where an island has none at all."""
        return torch.nan_to_num(self._by_island(weight).log_softmax(1), nan=-torch.inf, neginf=-torch.inf).reshape(-1)

    def _effective(self, weight: Tensor) -> Tensor:
        """Return the effective number of particles of each island, [I] (Kong, Liu and Wong 1994)."""
        return 1 / torch.nan_to_num(self._by_island(weight).softmax(1)).square().sum(1).clamp(min=1e-12)

    def _settle(self, weight: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor | None]:
        """Resample the islands whose effective number is below half; returns weights, numbers and who was taken."""
        size = len(weight) // self.islands
        effective = self._effective(weight)
        poor = effective < 0.5 * size
        if not poor.any():
            return self._normal(weight), effective, None
        own = torch.arange(len(weight), device=weight.device).view(self.islands, size)
        drawn = resample(self._by_island(weight), generator) + size * torch.arange(
            self.islands, device=weight.device)[:, None]
        taken = torch.where(poor[:, None], drawn, own)
        even = torch.where(poor[:, None], torch.zeros_like(self._by_island(weight)), self._by_island(weight))
        return self._normal(even.reshape(-1)), effective, taken.reshape(-1)


@dataclass(frozen=True)
class GradientGuidance:
    """Each step moved up the gradient of the log twist, without weights: the quick way, and a biased one.

    With `recurrence` above 1 every level of noise is walked so many times, noise put back in between
    (Bansal et al. 2023, algorithm 1). The same twist as `TwistedSMC`, which corrects what this leaves wrong.
    """

    denoiser: Denoiser
    schedule: Schedule
    steps: int = 30
    recurrence: int = 1
    tau: float = 0.05
    most: float = 3.0
    unknown: Tensor | None = None

    def iterate(self, x: Tensor, condition: Condition, objective: Objective, generator: torch.Generator,
                start: float = 1.0) -> Iterator[Particles]:
        """Walk as `TwistedSMC.iterate` does; weights are even, and -inf at the end where a demand is not met."""
        times, sigma = levels(self.schedule, start, self.steps, x.dtype)
        variance = _variance(sigma, self.unknown)
        ancestor, even = torch.arange(len(x), device=x.device), torch.zeros(len(x), dtype=x.dtype, device=x.device)
        for i in range(self.steps - 1):
            for again in range(self.recurrence):
                x0_hat, _, gradient = look(self.denoiser, x, times[i], sigma[i], condition, objective, self.tau,
                                           variance[i])
                middle, _, spread = ahead(x, x0_hat, gradient, sigma[i], sigma[i + 1], self.most,
                                          None if self.unknown is None else self.unknown[i])
                x = middle + spread * _noise(x, generator)
                if again < self.recurrence - 1:
                    x = x + (sigma[i] ** 2 - sigma[i + 1] ** 2).sqrt() * _noise(x, generator)
            yield Particles(i + 1, self.steps, float(times[i + 1]), x, x0_hat, even, ancestor, even[:1])
        x0_hat = self.denoiser(x, times[-1], condition).detach()
        met = (objective.margins(x0_hat) >= 0).all(1)
        yield Particles(self.steps, self.steps, 0.0, x0_hat, x0_hat,
                        torch.where(met, even, torch.full_like(even, -torch.inf)), ancestor, even[:1])
