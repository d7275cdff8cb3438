"""Library sizes as a latent that is normal whatever their distribution."""

from __future__ import annotations

import torch
from torch import Tensor, nn

N_KNOTS = 64
APART = 1e-4  # least difference of the log between two knots, where many cells have the same library size


class LibrarySize(nn.Module):
    """A monotone map between log library sizes and normal scores, fitted to the training cells.

    Library sizes are seldom log-normal: small and large cells lie in two heaps, thresholds cut off a tail.
    Scores are normal by construction (the rank-based inverse normal transform, Blom 1958), so that the
    diffusion has no marginal to learn. Between quantiles the map is linear, beyond them it goes on as for
    log-normal sizes.
    """

    scores: Tensor
    levels: Tensor
    slope: Tensor

    def __init__(self) -> None:
        super().__init__()
        scores = torch.special.ndtri((torch.arange(N_KNOTS) + 0.5) / N_KNOTS)
        self.register_buffer("scores", scores)
        self.register_buffer("levels", scores.clone())
        self.register_buffer("slope", torch.ones(()))

    def fit(self, total: Tensor) -> None:
        """Fit the map to total counts [N]."""
        logs = total.clamp(min=1).log()
        at = torch.special.ndtr(self.scores.cpu())
        levels = torch.quantile(logs.double(), at.double()).float() + APART * torch.arange(N_KNOTS)
        self.levels.copy_(levels)
        self.slope.copy_(logs.std().clamp(min=10 * APART) if len(logs) > 1 else torch.ones(()))

    def score(self, total: Tensor) -> Tensor:
        """Return the normal scores of total counts, of the same shape."""
        return _bend(total.clamp(min=1).log(), self.levels, self.scores, 1 / self.slope)

    def log_total(self, score: Tensor) -> Tensor:
        """Return the log total counts of normal scores, of the same shape."""
        return _bend(score, self.scores, self.levels, self.slope)


def _bend(x: Tensor, xs: Tensor, ys: Tensor, slope: Tensor) -> Tensor:
    """Return the piecewise linear function through (xs, ys) at x, with one slope beyond both ends."""
    i = torch.bucketize(x.contiguous(), xs[1:-1])
    inside = ys[i] + (x - xs[i]) * (ys[i + 1] - ys[i]) / (xs[i + 1] - xs[i])
    return inside.clamp(ys[0], ys[-1]) + ((x - xs[-1]).clamp(min=0) + (x - xs[0]).clamp(max=0)) * slope
