"""Sampling under demands: twisted sequential Monte Carlo, and gradient guidance as the quick way.

Wu et al. 2023 (Practical and asymptotically exact conditional sampling in diffusion models), algorithm 1, with the
probit twist of `diffusion.twist`. Particles are moved up the gradient of its log, weighted for that, and resampled on
islands where the effective number falls. At the end stands the demand itself, so that what is kept meets it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from scdiff_core.diffusion.denoiser import Denoiser
from scdiff_core.diffusion.objective import Objective
from scdiff_core.diffusion.schedule import Schedule
from scdiff_core.diffusion.twist import LEAST, ahead, levels, log_twist, look, noise_like, variance_at
from scdiff_core.diffusion.twist_calibration import Calibration
from scdiff_core.nn.condition import Condition


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


def effective(log_weight: Tensor) -> Tensor:
    """Return the effective number of particles of log weights [..., N], [...] (Kong, Liu and Wong 1994)."""
    return 1 / torch.nan_to_num(log_weight.softmax(-1)).square().sum(-1).clamp(min=1e-12)


def draw(log_weight: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Return which n of M particles are taken, none twice, int64 [n], each as likely as its log weight [M] says.

    Systematic sampling with unequal probabilities (Madow 1949): a particle is in with the probability n w, at most 1;
    what is cut off there is shared out among the others. With no more than n of any weight, all of these are taken.
    """
    rows = torch.nonzero(torch.isfinite(log_weight))[:, 0]
    if len(rows) <= n:
        return rows
    rows = rows[torch.randperm(len(rows), generator=generator).to(rows.device)]
    share = log_weight[rows].double().softmax(0).clamp(min=1e-30)
    inside = torch.zeros_like(share, dtype=torch.bool)  # certain to be taken
    chance = n * share
    while bool((more := (chance >= 1) & ~inside).any()):
        inside |= more
        chance = torch.where(inside, 1.0, share * (n - inside.sum()) / share[~inside].sum())
    edges = chance.cumsum(0)
    edges = edges * (n / edges[-1])
    first = torch.rand((), generator=generator, dtype=torch.float64).to(edges.device)
    return rows[torch.searchsorted(edges, torch.arange(n, dtype=torch.float64, device=edges.device) + first)]


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
    poor
        An island is resampled once its effective number is below this share of its particles. High, since what is taken
        twice parts again while there is noise, and cells that are drawn at the end, none twice (`draw`), cannot follow
        weights that differ much.
    calibration
        Puts the twist right by known cells, from t = 1 on; None: it is taken as it is.
    """

    denoiser: Denoiser
    schedule: Schedule
    steps: int = 30
    islands: int = 4
    tau: float = 0.05
    most: float = 3.0
    unknown: Tensor | None = None
    poor: float = 0.9
    calibration: Calibration | None = None

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
        variance = variance_at(sigma, self.unknown)
        def at(i: int, x: Tensor, condition: Condition) -> tuple[Tensor, Tensor, Tensor]:
            x0_hat, twist, gradient = look(self.denoiser, x, times[i], sigma[i], condition, objective, self.tau,
                                           variance[i])
            if self.calibration is None:
                return x0_hat, twist, gradient
            return x0_hat, self.calibration(i, twist, condition), self.calibration.power[i] * gradient

        x0_hat, twist, gradient = at(0, x, condition)
        weight = weight if chosen else weight + twist
        for i in range(self.steps - 1):
            middle, move, spread = ahead(x, x0_hat, gradient, sigma[i], sigma[i + 1], self.most,
                                         None if self.unknown is None else self.unknown[i])
            noise = noise_like(x, generator)
            x, before = middle + spread * noise, twist
            x0_hat, twist, gradient = at(i + 1, x, condition)
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
        variance = variance_at(sigma[None], self.unknown)[0]
        twist = []
        with torch.no_grad():
            for start in range(0, len(x), n):
                rows = slice(start, start + n)
                x0_hat = self.denoiser(x[rows], at.to(x.dtype), condition.rows(rows))
                told = log_twist(objective, x0_hat, variance, self.tau, x[rows], sigma)
                twist.append(told if self.calibration is None else self.calibration(0, told, condition.rows(rows)))
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
        """Return the effective number of particles of each island, [I]."""
        return effective(self._by_island(weight))

    def _settle(self, weight: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor | None]:
        """Resample the islands that are poor (see `poor`); returns weights, numbers and who was taken."""
        size = len(weight) // self.islands
        effective = self._effective(weight)
        poor = effective < self.poor * size
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
        variance = variance_at(sigma, self.unknown)
        ancestor, even = torch.arange(len(x), device=x.device), torch.zeros(len(x), dtype=x.dtype, device=x.device)
        for i in range(self.steps - 1):
            for again in range(self.recurrence):
                x0_hat, _, gradient = look(self.denoiser, x, times[i], sigma[i], condition, objective, self.tau,
                                           variance[i])
                middle, _, spread = ahead(x, x0_hat, gradient, sigma[i], sigma[i + 1], self.most,
                                          None if self.unknown is None else self.unknown[i])
                x = middle + spread * noise_like(x, generator)
                if again < self.recurrence - 1:
                    x = x + (sigma[i] ** 2 - sigma[i + 1] ** 2).sqrt() * noise_like(x, generator)
            yield Particles(i + 1, self.steps, float(times[i + 1]), x, x0_hat, even, ancestor, even[:1])
        x0_hat = self.denoiser(x, times[-1], condition).detach()
        met = (objective.margins(x0_hat) >= 0).all(1)
        yield Particles(self.steps, self.steps, 0.0, x0_hat, x0_hat,
                        torch.where(met, even, torch.full_like(even, -torch.inf)), ancestor, even[:1])
