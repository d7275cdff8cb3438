"""What a decoded latent says about a cell: distributions of counts, or of continuous values.

Each distribution is over one minibatch and offers the same four things: the log-likelihood of
observed values, the mean, the cumulative probability of observed values (randomised where they
are discrete), and its inverse. Sampling goes through the inverse, so that a table of quantiles
(`nn.quantiles`) can stand between the uniform draw and the value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.special
import torch
from torch import Tensor
from torch.nn.functional import softplus

LARGE, LOOP = 256.0, 512  # beyond this mean, or this count, a gamma of the same mean and variance stands in


@dataclass(frozen=True)
class Values:
    """The observed values of a minibatch, without the zeros.

    Parameters
    ----------
    shape
        (B, G).
    index
        Flat positions of the non-zero values, [nnz].
    value
        The values there, [nnz]: counts, or continuous values.
    """

    shape: tuple[int, int]
    index: Tensor
    value: Tensor

    def dense(self) -> Tensor:
        """Return the values as a [B, G] matrix."""
        out = torch.zeros(self.shape[0] * self.shape[1], dtype=self.value.dtype, device=self.value.device)
        return out.index_copy(0, self.index, self.value).view(self.shape)


def _exact(x: Tensor) -> Tensor:
    """Return a tensor in float64, on the CPU where the device knows none (MPS)."""
    return (x.cpu() if x.device.type == "mps" else x).double()


def _per_cell(terms: Tensor, values: Values) -> Tensor:
    """Sum terms at the non-zero positions over the genes of each cell: [nnz] -> [B]."""
    cell = torch.div(values.index, values.shape[1], rounding_mode="floor")
    return torch.zeros(values.shape[0], dtype=terms.dtype, device=terms.device).index_add(0, cell, terms)


class _NegativeBinomialLogLikelihood(torch.autograd.Function):
    """log P of each cell with its gradient written out: a third of the time of autograd's own."""

    @staticmethod
    def forward(ctx: Any, log_mean: Tensor, log_theta: Tensor, values: Values, stray: float) -> Tensor:
        ratio = (log_mean - log_theta).exp_()  # mu / theta
        theta = log_theta.exp()
        log_zero = ratio.log1p()
        zeros = theta * log_zero
        share = ratio.div_(1 + ratio)  # mu / (mu + theta)
        at, x = values.index, values.value
        t, lz, s = theta.view(-1)[at], log_zero.view(-1)[at], share.view(-1)[at]
        log_t = log_theta.view(-1)[at]
        terms = x * (log_mean.view(-1)[at] - log_t - lz)
        # log Gamma(x + theta) - log Gamma(theta) - log x! is log theta at x = 1, the most common count
        rise, slope = log_t.clone(), 1 / t
        many = torch.nonzero(x > 1).squeeze(1)
        xm, tm = x[many], t[many]
        rise[many] = torch.lgamma(xm + tm) - torch.lgamma(tm) - torch.lgamma(xm + 1)
        slope[many] = torch.digamma(xm + tm) - torch.digamma(tm)
        by_mean = theta * share
        by_theta = by_mean - zeros
        by_mean.neg_().view(-1).index_add_(0, at, x * (1 - s))
        by_theta.view(-1).index_add_(0, at, t * slope - x * (1 - s))
        terms += rise
        if stray > 0:
            here = terms - zeros.view(-1)[at]
            other = math.log(stray) - torch.log(x * (x + 1))
            mixed = torch.logaddexp(here, other)
            ours = torch.exp(here - mixed)
            terms += mixed - here
            by_mean.view(-1)[at] *= ours
            by_theta.view(-1)[at] *= ours
        ctx.save_for_backward(by_mean, by_theta)
        return _per_cell(terms, values) - zeros.sum(1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        by_mean, by_theta = ctx.saved_tensors
        return by_mean * grads[0][:, None], by_theta * grads[0][:, None], None, None


@dataclass(frozen=True)
class NegativeBinomial:
    """Counts with mean mu and variance mu + mu^2 / theta.

    Parameters
    ----------
    log_mean, log_theta
        [B, G]; log of the mean in counts, and log of the inverse dispersion.
    """

    log_mean: Tensor
    log_theta: Tensor

    @property
    def mean(self) -> Tensor:
        """The mean in counts, [B, G]."""
        return self.log_mean.exp()

    def log_likelihood(self, values: Values, stray: float = 0.0) -> Tensor:
        """Return log P(counts) of each cell, [B].

        A share `stray` of the non-zero counts may come from anywhere, by 1 / (x (x + 1)): a count that
        the cell's rates cannot explain at all (barcode swaps, misread molecules) then teaches nothing,
        where it would make the gene's dispersion, and with it the zeros of every cell, wrong.

        Zeros need no log-gamma, so it is computed at the non-zero counts only (Robinson and
        Smyth 2008, eq. 1, with phi = 1 / theta).
        """
        return _NegativeBinomialLogLikelihood.apply(self.log_mean, self.log_theta, values, stray)

    def _start(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return mu, theta, mu / (mu + theta) and P(0), flat and in float64."""
        mean, theta = (_exact(v).exp().reshape(-1) for v in (self.log_mean, self.log_theta))
        return mean, theta, mean / (mean + theta), torch.exp(-theta * torch.log1p(mean / theta))

    def pit(self, values: Values, generator: torch.Generator) -> Tensor:
        """Return the randomised probability integral transform of the counts, [B, G] in (0, 1).

        u = F(x - 1) + v P(x) with v uniform: uniform where the distribution is right
        (Czado, Gneiting and Held 2009, eq. 1, in its randomised form).
        """
        mean, theta, p, pmf = self._start()
        v = torch.rand(theta.shape, generator=generator, dtype=torch.float32).to(theta)
        u = v * pmf
        at, x = values.index.to(u.device), _exact(values.value)
        mean, theta, p, v, pmf = mean[at], theta[at], p[at], v[at], pmf[at]
        below, out = torch.zeros_like(x), torch.zeros_like(x)
        far = (mean > LARGE) | (x > LOOP)
        shape = mean / (1 + mean / theta)
        out[far] = torch.special.gammainc(shape[far], ((x - 0.5 + v) * shape / mean)[far])
        live = torch.nonzero(~far).squeeze(1)
        k = 0
        while len(live):
            done = x[live] == k
            if bool(done.any()):
                end = live[done]
                out[end] = below[end] + v[end] * pmf[end]
                live = live[~done]
            below[live] += pmf[live]
            pmf[live] *= (k + theta[live]) / (k + 1) * p[live]
            k += 1
        return u.index_copy(0, at, out).view(values.shape).clamp(0, 1).float().to(self.log_mean.device)

    def inverse(self, u: Tensor) -> Tensor:
        """Return the smallest count whose cumulative probability reaches u, [B, G] float32."""
        mean, theta, p, pmf = self._start()
        u = _exact(u).reshape(-1).clamp(max=1 - 1e-9)
        out = torch.zeros_like(u)
        live = torch.nonzero(u > pmf).squeeze(1)
        far = mean[live] > LARGE
        rest = [live[far]]
        live = live[~far]
        v, theta_v, p, pmf = u[live], theta[live], p[live], pmf[live]
        reached, k = pmf.clone(), 0
        while len(live) and k < LOOP:
            pmf = pmf * (k + theta_v) / (k + 1) * p
            reached = reached + pmf
            k += 1
            out[live] = k
            on = v > reached
            live, v, theta_v, p, pmf, reached = live[on], v[on], theta_v[on], p[on], pmf[on], reached[on]
        at = torch.cat([*rest, live])
        if len(at):
            shape = mean[at] / (1 + mean[at] / theta[at])
            gamma = scipy.special.gammaincinv(shape.cpu().numpy(), u[at].cpu().numpy())
            level = torch.from_numpy(np.asarray(gamma)).to(u.device) * mean[at] / shape
            out[at] = torch.maximum((level + 0.5).floor(), out[at])
        return out.view(self.log_mean.shape).float().to(self.log_mean.device)


@dataclass(frozen=True)
class HurdleNormal:
    """Continuous values: exactly zero with a probability, else normal.

    Parameters
    ----------
    zero_logit, location, log_scale
        [B, G]; the logit of P(value is zero), and mean and log standard deviation of the rest.
    positive
        Whether values below zero cannot occur (log-normalised ones); they are then drawn from the
        normal above zero.
    """

    zero_logit: Tensor
    location: Tensor
    log_scale: Tensor
    positive: bool

    @property
    def mean(self) -> Tensor:
        """The mean of the continuous values, [B, G]."""
        return torch.sigmoid(-self.zero_logit) * self.location

    def _floor(self, location: Tensor, scale: Tensor) -> Tensor:
        """Return the probability of the normal below zero, where that is out of bounds."""
        return torch.special.ndtr(-location / scale) if self.positive else torch.zeros_like(location)

    def _start(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return P(value is zero), location and scale, flat and in float64."""
        return tuple(_exact(v).reshape(-1) for v in (  # type: ignore[return-value]
            torch.sigmoid(self.zero_logit), self.location, self.log_scale.exp()))

    def log_likelihood(self, values: Values, stray: float = 0.0) -> Tensor:
        """Return log p(values) of each cell, [B]: density of the non-zero, probability of the zeros.

        A share `stray` of the values may be ten times as spread as the rest, and so hardly count.
        """
        zeros = -softplus(-self.zero_logit).sum(1)
        at, x = values.index, values.value
        logit, location, log_scale = (v.reshape(-1)[at] for v in (self.zero_logit, self.location, self.log_scale))
        z = (x - location) * torch.exp(-log_scale)
        terms = -0.5 * z * z - log_scale - 0.9189385332046727
        if stray > 0:
            wide = -0.005 * z * z - log_scale - 0.9189385332046727 + math.log(0.1 * stray)
            terms = torch.logaddexp(terms, wide)
        return zeros + _per_cell(terms - logit, values)  # log(1 - p0) = log(p0) - logit

    def pit(self, values: Values, generator: torch.Generator) -> Tensor:
        """Return the probability integral transform, randomised at zero, [B, G] in (0, 1)."""
        zero, location, scale = self._start()
        u = torch.rand(zero.shape, generator=generator, dtype=torch.float32).to(zero) * zero
        at, x = values.index.to(u.device), _exact(values.value)
        zero, location, scale = zero[at], location[at], scale[at]
        floor = self._floor(location, scale)
        above = ((torch.special.ndtr((x - location) / scale) - floor) / (1 - floor)).clamp(0, 1)
        return u.index_copy(0, at, zero + (1 - zero) * above).view(values.shape).float().to(self.location.device)

    def inverse(self, u: Tensor) -> Tensor:
        """Return the value at cumulative probability u, [B, G] continuous values."""
        zero, location, scale = self._start()
        u = _exact(u).reshape(-1)
        above = ((u - zero) / (1 - zero).clamp(min=1e-9)).clamp(1e-9, 1 - 1e-9)
        floor = self._floor(location, scale)
        x = location + scale * torch.special.ndtri(floor + (1 - floor) * above)
        x = torch.where(u > zero, x.clamp(min=0) if self.positive else x, torch.zeros_like(x))
        return x.view(self.location.shape).float().to(self.location.device)


Likelihood = NegativeBinomial | HurdleNormal
