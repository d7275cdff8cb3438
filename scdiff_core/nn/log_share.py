"""The logs of some shares of a softmax, with gradients that cost little for each further one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class _LogShare(torch.autograd.Function):
    """Shares of all outcomes are summed up in one product, which every gradient of the same cells needs again."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor, index: Tensor) -> Tensor:
        logits = nn.functional.linear(h, weight, bias)
        total = logits.logsumexp(1, keepdim=True)
        ctx.save_for_backward(logits, total, weight, index)
        ctx.pull = None
        return logits.index_select(1, index) - total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        logits, total, weight, index = ctx.saved_tensors
        if ctx.pull is None:
            ctx.pull = (logits - total).exp() @ weight
        return gradient @ weight[index] - gradient.sum(1, keepdim=True) * ctx.pull, None, None, None


def log_share(h: Tensor, logits: nn.Linear, index: Tensor) -> Tensor:
    """Return log softmax of `logits` at features h [B, n_in], of some outcomes [k]; [B, k].

    The gradient in h of outcome k is w_k - sum_j p_j w_j, in which the sum is the same for all k: it is taken once for
    as many gradients as follow. The weights are given no gradient.
    """
    made: Tensor = _LogShare.apply(h, logits.weight, logits.bias, index)
    return made
