"""What may be added to the denoising loss: sparsity, non-negativity, pathway consistency and MMD.

Each looks at the estimates of clean cells, x0_hat, at low noise alone (sigma / alpha below `LOW`): at high noise an
estimate is a mean over many cells, which is no cell and should not look like one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from scdiff_core.nn.control_set import mmd_loss

LOW = 1.0  # as much noise as signal


@dataclass(frozen=True)
class Weights:
    """How much of each term is added; 0: none."""

    sparsity: float = 0.0
    non_negativity: float = 0.0
    pathways: float = 0.0
    mmd: float = 0.0


@dataclass(frozen=True, eq=False)
class Terms:
    """The sum of the terms that are on.

    Parameters
    ----------
    level
        From latents [B, D] to expression [B, G] as the codec decodes it, before any bound; log1p.
    sets
        Gene sets as rows of weights that add up to 1, [K, G]; without pathways None.
    """

    weights: Weights
    level: Callable[[Tensor], Tensor]
    sets: Tensor | None = None

    def __call__(self, x0_hat: Tensor, x0: Tensor, sigma: Tensor) -> Tensor:
        """Return the sum for estimates x0_hat of latents x0 [B, D] at levels sigma [B], a scalar."""
        low, w = sigma < LOW, self.weights
        made, real, out = x0_hat[low], x0[low], x0_hat.new_zeros(())
        if len(made) < 2:
            return out
        if w.mmd > 0:
            out = out + w.mmd * mmd_loss(made[None], real[None])[0]
        if max(w.sparsity, w.non_negativity, w.pathways) > 0:
            x = self.level(made)
            if w.sparsity > 0:
                out = out + w.sparsity * sparsity(x)
            if w.non_negativity > 0:
                out = out + w.non_negativity * non_negativity(x)
            if w.pathways > 0 and self.sets is not None:
                with torch.no_grad():
                    true = self.level(real)
                out = out + w.pathways * pathway_consistency(x, true, self.sets)
        return out


def sparsity(x: Tensor) -> Tensor:
    """Return mean |x| of log1p expression x [B, G]: the lasso's penalty (Tibshirani 1996, eq. 1) on cells."""
    return x.abs().mean()


def non_negativity(x: Tensor) -> Tensor:
    """Return mean min(x, 0)^2 of expression x [B, G]: what x >= 0 is missed by, squared."""
    return x.clamp(max=0).square().mean()


def pathway_consistency(x: Tensor, true: Tensor, sets: Tensor) -> Tensor:
    """Return the mean over gene sets of (a(x) - a(true))^2, with a(x) the mean of x over the genes of a set.

    The activity of a set is the mean expression of its genes (the first half of the score of Tirosh et al. 2016).

    Parameters
    ----------
    x, true
        Expression of the estimates, and of the cells themselves, log1p [B, G].
    sets
        A row for each set, weights that add up to 1, [K, G].
    """
    return ((x - true) @ sets.T).square().mean()
