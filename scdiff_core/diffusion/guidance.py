"""Guidance: denoisers that wrap a denoiser, classifier-free or by a classifier of noisy data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from scdiff_core.diffusion.denoiser import Denoiser
from scdiff_core.diffusion.schedule import Schedule
from scdiff_core.nn.condition import Condition


class ClassifierFree:
    """x0_hat = unconditional + guidance_scale (conditional - unconditional).

    Ho and Salimans 2022, eq. 6, with their w = guidance_scale - 1: a scale of 1 is the plain
    conditional estimate and 0 the unconditional one, each at the price of one evaluation.

    With scales for single covariates, x0_hat is moved by the sum over them of (scale - guidance_scale) times
    (conditional - conditional on all the others). The difference is the score of p(c | x, the others) (Bayes), so
    that cells are drawn from p(x) p(all | x)^guidance_scale prod_c p(c | x, others)^(scale_c - guidance_scale): a
    composition of conditions as a product of likelihoods (Liu et al. 2022, eq. 11) that does not take covariates
    that go together for independent ones, and asks for combinations in no order, as successive conditioning would
    (Brooks et al. 2023, eq. 3). One covariate on its own: the formula above with its scale. One evaluation more for
    each.

    Above 0, the last `plain` dimensions keep the conditional estimate: how deeply a cell was sequenced is no
    part of what is asked for, and would drift away from real cells with the scale.

    Parameters
    ----------
    scales
        Index of a covariate (categorical ones first, then continuous ones) -> its scale.
    """

    def __init__(self, denoiser: Denoiser, guidance_scale: float, plain: int = 0,
                 scales: Mapping[int, float] | None = None) -> None:
        self.denoiser, self.guidance_scale, self.plain = denoiser, guidance_scale, plain
        self.scales = {i: s for i, s in (scales or {}).items() if s != guidance_scale}

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """Return the guided x0_hat [B, D]."""
        if self.guidance_scale == 1 and not self.scales:
            return self.denoiser(x_t, t, condition)
        free = self.denoiser(x_t, t, condition.null()) if self.guidance_scale != 1 else None
        if self.guidance_scale == 0 and not self.scales:
            assert free is not None
            return free
        asked = self.denoiser(x_t, t, condition)
        guided = asked.clone() if free is None else free + self.guidance_scale * (asked - free)
        for i, scale in self.scales.items():
            guided = guided + (scale - self.guidance_scale) * (asked - self.denoiser(x_t, t, without(condition, i)))
        if self.plain:
            guided[:, -self.plain:] = asked[:, -self.plain:]
        return guided


def without(condition: Condition, covariate: int) -> Condition:
    """Return the condition with one covariate unknown: categorical ones are counted first, then continuous ones."""
    none, codes, conts = condition.null(), condition.codes.clone(), condition.conts.clone()
    if covariate < codes.shape[1]:
        codes[:, covariate] = none.codes[:, covariate]
    else:
        conts[:, covariate - codes.shape[1]] = torch.nan
    return Condition(codes, conts, condition.n_values)


class NoisyClassifier(Protocol):
    """Anything that tells labels of noisy data."""

    def gradient(self, x: Tensor, sigma: Tensor, label: int) -> Tensor:
        """Return the gradient [B, D] in x of log p(label | x), x = x0 + sigma eps."""
        ...


class ByClassifier:
    """x0_hat + scale (sigma / alpha)^2 times the gradient of log p(label | x_t / alpha).

    Dhariwal and Nichol 2021, eq. 10, for an estimate of clean data: with x = x_t / alpha = x0 + r eps, Tweedie's
    formula x0_hat = x + r^2 (score of x) adds r^2 times the classifier's gradient to the estimate.
    """

    def __init__(self, denoiser: Denoiser, schedule: Schedule, classifier: NoisyClassifier, label: int,
                 scale: float) -> None:
        self.denoiser, self.schedule = denoiser, schedule
        self.classifier, self.label, self.scale = classifier, label, scale

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """Return the guided x0_hat [B, D]."""
        x0_hat = self.denoiser(x_t, t, condition)
        if self.scale == 0:
            return x0_hat
        alpha, sigma = self.schedule(torch.as_tensor(t, dtype=x_t.dtype, device=x_t.device))
        ratio = sigma / alpha
        return x0_hat + self.scale * ratio**2 * self.classifier.gradient(x_t / alpha, ratio, self.label)


class Between:
    """x0_hat = (1 - weight) x0_hat(one) + weight x0_hat(other).

    Gradient interpolation (Luo et al. 2024, scDiffusion): the flow under two conditions with weights that move from
    one end of a path to the other, that of p(x | one)^(1 - weight) p(x | other)^weight at every level of noise.

    Parameters
    ----------
    weight
        [B, 1], or one number: 0 at one end, 1 at the other.
    """

    def __init__(self, one: Denoiser, other: Denoiser, weight: Tensor | float) -> None:
        self.one, self.other, self.weight = one, other, weight

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """Return the estimate between the two, [B, D]; `condition` is passed to both."""
        return (1 - self.weight) * self.one(x_t, t, condition) + self.weight * self.other(x_t, t, condition)


class Given:
    """A denoiser under a condition in which one categorical covariate has a value of its own."""

    def __init__(self, denoiser: Denoiser, column: int, code: int) -> None:
        self.denoiser, self.column, self.code = denoiser, column, code

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """Return x0_hat [B, D] of the condition with that value."""
        codes = condition.codes.clone()
        codes[:, self.column] = self.code
        return self.denoiser(x_t, t, Condition(codes, condition.conts, condition.n_values))


class Held:
    """A denoiser that knows the last dimension of clean data, [B, 1]: the depth of cells that are already measured."""

    def __init__(self, denoiser: Denoiser, known: Tensor) -> None:
        self.denoiser, self.known = denoiser, known

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """Return x0_hat [B, D] with the known dimension put in."""
        return torch.cat([self.denoiser(x_t, t, condition)[:, :-1], self.known], 1)
