"""The twist of twisted sampling: how likely a demand is to be met by what noisy latents will become.

A demand m(z) >= 0 on clean latents has, at noise sigma, about this probability (that of Wu et al. 2023, as a probit):

    Phi(m(x0_hat) / sqrt(v (tau^2 + |dm/dz|^2))),    v = sigma^2 / (1 + sigma^2),

where v is the spread of clean data of unit variance given x_t: exact for a margin linear in z and data that are normal.
tau is what a margin may bend by besides.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scdiff_core.diffusion.denoiser import Denoiser
from scdiff_core.diffusion.objective import Objective
from scdiff_core.diffusion.schedule import Schedule
from scdiff_core.errors import ScdiffError
from scdiff_core.nn.condition import Condition

LEAST = -60.0  # log of the least probability that a twist says
LEAST_SPREAD = 1e-4  # of a margin, so that a clean one is not divided by nothing


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


def variance_at(sigma: Tensor, unknown: Tensor | None) -> Tensor:
    """Return the variance of clean latents given noisy ones at each sigma, [steps] or [steps, D]."""
    return sigma**2 / (1 + sigma**2) if unknown is None else unknown


@torch.no_grad()
def unknown_at(denoiser: Denoiser, schedule: Schedule, start: float, steps: int, z: Tensor, condition: Condition,
               generator: torch.Generator) -> Tensor:
    """Return the variance of clean latents given noisy ones at each step from t = `start`, [steps, D].

    It is the mean squared error of the denoiser on known clean latents z [N, D], dimension by dimension.
    """
    times, sigma = levels(schedule, start, steps, z.dtype)
    return torch.stack([(denoiser(z + s * noise_like(z, generator), t, condition) - z).square().mean(0)
                        for t, s in zip(times, sigma, strict=True)])


def noise_like(x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)


def _slopes(margins: Tensor, z: Tensor) -> Tensor:
    """Return dm/dz [B, R, D]; row by row, since there are few."""
    rows = [torch.autograd.grad(margins[:, r].sum(), z, retain_graph=True, allow_unused=True)[0]
            for r in range(margins.shape[1])]
    return torch.stack([torch.zeros_like(z) if r is None else r for r in rows], 1)
