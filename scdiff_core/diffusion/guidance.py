"""Classifier-free guidance: a denoiser that wraps a denoiser."""

from __future__ import annotations

from torch import Tensor

from scdiff_core.diffusion.denoiser import Denoiser
from scdiff_core.nn.condition import Condition


class ClassifierFree:
    """x0_hat = unconditional + guidance_scale (conditional - unconditional).

    Ho and Salimans 2022, eq. 6, with their w = guidance_scale - 1: a scale of 1 is the plain
    conditional estimate and 0 the unconditional one, each at the price of one evaluation.

    Above 0, the last `plain` dimensions keep the conditional estimate: how deeply a cell was sequenced is no
    part of what is asked for, and would drift away from real cells with the scale.
    """

    def __init__(self, denoiser: Denoiser, guidance_scale: float, plain: int = 0) -> None:
        self.denoiser, self.guidance_scale, self.plain = denoiser, guidance_scale, plain

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """Return the guided x0_hat [B, D]."""
        if self.guidance_scale == 1:
            return self.denoiser(x_t, t, condition)
        free = self.denoiser(x_t, t, condition.null())
        if self.guidance_scale == 0:
            return free
        asked = self.denoiser(x_t, t, condition)
        guided = free + self.guidance_scale * (asked - free)
        if self.plain:
            guided[:, -self.plain:] = asked[:, -self.plain:]
        return guided
