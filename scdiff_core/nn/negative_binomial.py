"""Counts: a negative binomial for each gene, and now and then a stray count on top."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.special
import torch
from torch import Tensor

from scdiff_core.nn.strays import Strays
from scdiff_core.nn.values import Values, exact, per_cell

LARGE, LOOP = 256.0, 512  # beyond this mean, or this count, a gamma of the same mean and variance stands in
SCREEN = 1e-4  # share by which a probability in single precision may be wrong: it is by some 1e-5 at the most


class _NegativeBinomialLogLikelihood(torch.autograd.Function):
    """log P of each cell with its gradient written out: a third of the time of autograd's own."""

    @staticmethod
    def forward(ctx: Any, log_mean: Tensor, log_theta: Tensor, stray: Tensor | None, values: Values) -> Tensor:
        ratio = (log_mean - log_theta).exp_()  # mu / theta
        theta = log_theta.exp()
        log_zero = ratio.log1p()
        zeros = theta * log_zero
        share = ratio.div_(1 + ratio)  # mu / (mu + theta)
        at, x = values.index, values.value
        t, lz, s, log_t, log_m = _take((v.view(-1) for v in (theta, log_zero, share, log_theta, log_mean)), at)
        terms = x * (log_m - log_t - lz)
        # log Gamma(x + theta) - log Gamma(theta) - log x! is log theta at x = 1, the most common count
        rise, slope = log_t.clone(), 1 / t
        many = torch.nonzero(x > 1).squeeze(1)
        xm, tm = _take((x, t), many)
        rise[many] = torch.lgamma(xm + tm) - torch.lgamma(tm) - torch.lgamma(xm + 1)
        slope[many] = torch.digamma(xm + tm) - torch.digamma(tm)
        by_mean = theta * share
        by_theta = by_mean - zeros
        by_mean.neg_().view(-1).index_add_(0, at, x * (1 - s))
        by_theta.view(-1).index_add_(0, at, t * slope - x * (1 - s))
        terms += rise
        by_stray = None
        if stray is not None:
            log_p0 = -(t * lz)
            p0 = log_p0.exp()
            here, other = terms + log_p0, stray + (-torch.expm1(log_p0)).clamp(min=1e-12).log()
            ours = torch.sigmoid(here - other)
            terms += torch.logaddexp(here, other) - here
            # of a stray, mean and dispersion only have to say that the count is not zero
            odds = (1 - ours) * p0 / (1 - p0).clamp(min=1e-6)
            flat_mean, flat_theta = by_mean.view(-1), by_theta.view(-1)
            here_mean, here_theta = _take((flat_mean, flat_theta), at)
            flat_mean.index_copy_(0, at, ours * here_mean + odds * t * s)
            flat_theta.index_copy_(0, at, ours * here_theta - odds * t * (s - lz))
            by_stray = 1 - ours
        ctx.save_for_backward(by_mean, by_theta, by_stray, values.cell)
        return per_cell(terms, values) - zeros.sum(1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
        by_mean, by_theta, by_stray, cell = ctx.saved_tensors
        along = grads[0][:, None]
        if by_stray is not None:
            by_stray = by_stray * grads[0].index_select(0, cell)
        return by_mean * along, by_theta * along, by_stray, None


@dataclass(frozen=True)
class NegativeBinomial:
    """Counts with mean mu and variance mu + mu^2 / theta.

    Parameters
    ----------
    log_mean, log_theta
        [B, G]; log of the mean in counts, and log of the inverse dispersion.
    strays
        What may lie on top of a non-zero count; None for nothing.
    """

    log_mean: Tensor
    log_theta: Tensor
    strays: Strays | None = None

    @property
    def mean(self) -> Tensor:
        """The mean in counts with the strays, [B, G]."""
        mean = self.log_mean.exp()
        if self.strays is None:
            return mean
        some = -torch.expm1(-self.log_theta.exp() * torch.log1p((self.log_mean - self.log_theta).exp()))
        return mean + self.strays.share * self.strays.mean * some

    def log_likelihood(self, values: Values) -> Tensor:
        """Return log P(counts) of each cell, [B].

        A non-zero count x is the negative binomial's own, or holds a stray and is then x above zero only by
        chance: P(x) = (1 - share) NB(x) + share (1 - NB(0)) P(stray = x - mu). Zeros need no log-gamma, so it
        is computed at the non-zero counts only (Robinson and Smyth 2008, eq. 1, with phi = 1 / theta).
        """
        if self.strays is None:
            return _NegativeBinomialLogLikelihood.apply(self.log_mean, self.log_theta, None, values)
        odds = self._stray_odds(values)
        own = _NegativeBinomialLogLikelihood.apply(self.log_mean, self.log_theta, odds, values)
        none = torch.nn.functional.logsigmoid(-self.strays.logit)
        return own + per_cell(none.index_select(0, values.gene), values)

    def _stray_odds(self, values: Values) -> Tensor:
        """Return the log odds that the non-zero counts hold strays, before the count itself is asked, [nnz]."""
        assert self.strays is not None
        expected = self.log_mean.detach().reshape(-1).index_select(0, values.index).exp()
        return self.strays.log_odds((values.value - expected).round(), values.gene)

    def sample(self, u: Tensor, generator: torch.Generator) -> Tensor:
        """Return counts [B, G]: at cumulative probability u [B, G], and strays on some that are not zero."""
        counts = self.inverse(u)
        if self.strays is not None:
            flat = counts.view(-1)
            at = _where(flat > 0)
            share = self.strays.share[at % u.shape[1]]
            at = at[torch.rand(len(at), generator=generator).to(share) < share]
            flat[at] += self.strays.draw(len(at), generator).to(flat)
        return counts

    def _start(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return mu, theta, mu / (mu + theta) and P(0), flat and in float64."""
        mean, theta = (exact(v).exp().reshape(-1) for v in (self.log_mean, self.log_theta))
        return mean, theta, mean / (mean + theta), torch.exp(-theta * torch.log1p(mean / theta))

    def pit(self, values: Values, generator: torch.Generator) -> Tensor:
        """Return the randomised probability integral transform of the counts, [B, G] in (0, 1).

        u = F(x - 1) + v P(x) with v uniform: uniform where the distribution is right
        (Czado, Gneiting and Held 2009, eq. 1, in its randomised form). It is that of the negative binomial:
        what a count that holds a stray would be without it is not known, and drawn anew above zero.
        """
        mean, theta, p, pmf = self._start()
        v = torch.rand(theta.shape, generator=generator, dtype=torch.float32).to(theta)
        u = v * pmf
        at, x = values.index.to(u.device), exact(values.value)
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
        if self.strays is not None:
            out = self._without_strays(out, values, generator)
        return u.index_copy(0, at, out).view(values.shape).clamp(0, 1).float().to(self.log_mean.device)

    def _without_strays(self, u: Tensor, values: Values, generator: torch.Generator) -> Tensor:
        """Return the transforms of the non-zero counts [nnz], those of strays (by their odds) drawn anew."""
        x = exact(values.value)
        m, t = (exact(v).reshape(-1)[values.index.to(x.device)] for v in (self.log_mean, self.log_theta))
        theta, log_zero = t.exp(), (m - t).exp().log1p()
        here = (torch.lgamma(x + theta) - torch.lgamma(theta) - torch.lgamma(x + 1) + x * (m - t)
                - (x + theta) * log_zero)
        zero = torch.exp(-theta * log_zero)
        other = exact(self._stray_odds(values)) + (1 - zero).clamp(min=1e-12).log()
        stray, v = (torch.rand(x.shape, generator=generator, dtype=torch.float64).to(x.device) for _ in range(2))
        return torch.where(stray < torch.sigmoid(other - here), zero + (1 - zero) * v, u)

    def inverse(self, u: Tensor) -> Tensor:
        """Return the smallest count whose cumulative probability reaches u, [B, G] float32.

        Zeros are told in single precision, with a margin; only what may be more is summed up in float64.
        """
        log_mean, log_theta, level = (x.reshape(-1) for x in (self.log_mean, self.log_theta, u))
        zero = (log_mean - log_theta).exp_().log1p_().mul_(log_theta.exp()).neg_().exp_()  # P(0)
        more = _where(level > zero.mul_(1 - SCREEN))
        mean, theta, v = (exact(x) for x in _take((log_mean, log_theta, level), more))
        counts = _count(mean.exp_(), theta.exp_(), v.clamp_(max=1 - 1e-9))
        return torch.zeros(level.shape, dtype=torch.float32, device=level.device).index_copy_(
            0, more, counts.to(level.device, torch.float32)).view(self.log_mean.shape)


def _where(mask: Tensor) -> Tensor:
    """Return the flat positions that are true; numpy is several times faster at it on the CPU."""
    return torch.from_numpy(np.flatnonzero(mask.numpy())) if mask.device.type == "cpu" else mask.nonzero().squeeze(1)


def _take(tensors: Iterable[Tensor], at: Tensor) -> list[Tensor]:
    return [x.index_select(0, at) for x in tensors]


def _count(mean: Tensor, theta: Tensor, u: Tensor) -> Tensor:
    """Return the smallest negative binomial counts whose cumulative probabilities reach u; float64 [n] each.

    P(k + 1) = P(k) (k + theta) / (k + 1) mu / (mu + theta). The few smallest counts are gone through one by one;
    the rest, ever fewer, in blocks of twice as many. Beyond `LOOP`, or a mean of `LARGE`, a gamma of the same mean
    and variance stands in.
    """
    share = mean / (mean + theta)
    pmf = (mean / theta).log1p_().mul_(theta).neg_().exp_()
    reached = pmf.clone()
    count = (u > reached).double()
    far = mean > LARGE
    live, state, k = torch.arange(len(u), device=u.device), [u, theta, share, pmf, reached, count.clone()], 0
    for steps in (2, 2, 4):
        v, t, p, pmf, reached, n = state
        for _ in range(steps):
            pmf.mul_(t + k).div_(k + 1).mul_(p)
            reached += pmf
            n += v > reached
            k += 1
        count.index_copy_(0, live, n)
        on = _where((v > reached) & ~far if k == 2 else v > reached)
        live, *state = _take((live, *state), on)
    v, t, p, pmf, reached, _ = state
    while len(live) and k < LOOP:
        size = k
        ks = torch.arange(k, k + size, dtype=v.dtype, device=v.device)
        ahead = (t[:, None] + ks).div_(ks + 1).mul_(p[:, None]).cumprod(1).mul_(pmf[:, None])
        cumulative = ahead.cumsum(1).add_(reached[:, None])
        above = v[:, None] > cumulative
        count.index_add_(0, live, above.sum(1).double())
        live, v, t, p, pmf, reached = _take((live, v, t, p, ahead[:, -1], cumulative[:, -1]), _where(above[:, -1]))
        k += size
    last = torch.cat([_where(far & (count > 0)), live])
    if len(last):
        mean, theta, u, least = _take((mean, theta, u, count), last)
        shape = mean / (1 + mean / theta)
        gamma = torch.from_numpy(np.asarray(scipy.special.gammaincinv(shape.cpu().numpy(), u.cpu().numpy())))
        count[last] = torch.maximum((gamma.to(u.device) * mean / shape + 0.5).floor(), least)
    return count
