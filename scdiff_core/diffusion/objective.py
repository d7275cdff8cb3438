"""What cells are asked to be: margins that must be met, and an energy that may be traded off."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Objective(Protocol):
    """What is asked of clean latents z [B, D]. Every method is differentiable in its tensors."""

    def margins(self, z: Tensor) -> Tensor:
        """Return by how much each of R hard demands is met, [B, R]; below zero it is not. R may be 0."""
        ...

    def log_weight(self, z: Tensor) -> Tensor:
        """Return the log-likelihood of the soft demands at clean latents, [B]; zeros where there are none."""
        ...

    def log_weight_on_the_way(self, x: Tensor, x0_hat: Tensor, sigma: Tensor) -> Tensor:
        """Return a guess of that log-likelihood, [B], while the latents x = z + sigma eps are noisy.

        `x0_hat` is the estimate of z. What a class is, is better judged from x itself, whose noise is known.
        """
        ...


class Linear:
    """Half spaces: `directions` [R, D] times z is to be at least `levels` [R]; no soft demands."""

    def __init__(self, directions: Tensor, levels: Tensor) -> None:
        self.directions, self.levels = directions, levels

    def margins(self, z: Tensor) -> Tensor:
        """Return z · directionsᵀ − levels, [B, R]."""
        return z @ self.directions.T - self.levels

    def log_weight(self, z: Tensor) -> Tensor:
        """Return zeros [B]."""
        return torch.zeros(len(z), dtype=z.dtype, device=z.device)

    def log_weight_on_the_way(self, x: Tensor, x0_hat: Tensor, sigma: Tensor) -> Tensor:
        """Return what the estimate gives, [B]."""
        return self.log_weight(x0_hat)
