"""The network that turns a set of control cells into perturbed ones: it looks at them, and at what is predicted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scdiff_core.nn.layers import AdaptiveBlock, Fourier


@dataclass(frozen=True)
class SetCondition:
    """What is known of B cells that are to be perturbed. Never an outcome.

    Attributes
    ----------
    shift
        The predicted change of their codes, [B, D].
    pert
        Vectors of the perturbations, [B, E].
    ctrl
        The codes of S control cells for each, [B, S, D].
    known
        Where False, nothing is: the unconditional part, bool [B].
    """

    shift: Tensor
    pert: Tensor
    ctrl: Tensor
    known: Tensor

    def __len__(self) -> int:
        return len(self.shift)

    def null(self) -> SetCondition:
        """Return the condition with nothing known."""
        return SetCondition(self.shift, self.pert, self.ctrl, torch.zeros_like(self.known))


class SetBackbone(nn.Module):
    """F(x, c_noise, condition): a residual MLP that attends to the control set before every block.

    Keys and values come from the control cells (no order among them, so the answer does not depend on it), queries
    from the cell that is denoised (cross-attention, Vaswani et al. 2017, section 3.2); a learnt token stands for
    the set where nothing is known.
    """

    def __init__(self, n_dims: int, n_pert: int, width: int, depth: int, heads: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        n_condition = min(width, 128)
        self.noise = nn.Sequential(Fourier(), nn.Linear(64, n_condition), nn.SiLU(),
                                   nn.Linear(n_condition, n_condition))
        self.shift = nn.Linear(n_dims, n_condition)
        self.pert = nn.Linear(n_pert, n_condition)
        self.nothing = nn.Parameter(torch.zeros(n_condition))
        self.token = nn.Linear(n_dims, width)
        self.no_set = nn.Parameter(torch.zeros(width))
        self.enter = nn.Linear(n_dims, width)
        self.look = nn.MultiheadAttention(width, heads, batch_first=True)
        self.before = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(AdaptiveBlock(width, n_condition, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, n_dims)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor, noise: Tensor, condition: SetCondition) -> Tensor:
        """Return F for x [B, D] at noise level c_noise [B]."""
        known = condition.known[:, None]
        told = self.shift(condition.shift) + self.pert(condition.pert)
        c = nn.functional.silu(self.noise(noise) + torch.where(known, told, self.nothing))
        tokens = torch.where(known[:, :, None], self.token(condition.ctrl), self.no_set)
        h = self.enter(x)
        seen, _ = self.look(self.before(h)[:, None], tokens, tokens, need_weights=False)
        h = h + seen[:, 0]
        for block in self.blocks:
            h = block(h, c)
        out: Tensor = self.leave(nn.functional.silu(self.norm(h)))
        return out


def energy_loss(made: Tensor, real: Tensor) -> Tensor:
    """Return the energy distance of sets of points [K, S, D] each, as [K]; without the zero distances to itself.

    Székely and Rizzo 2013; its expectation is 0 for equal distributions.
    """
    s = made.shape[1]

    def own(x: Tensor) -> Tensor:
        return _distance(x, x).sum((1, 2)) / (s * (s - 1))

    return 2 * _distance(made, real).mean((1, 2)) - own(made) - own(real)


def mmd_loss(made: Tensor, real: Tensor) -> Tensor:
    """Return the unbiased squared MMD of sets [K, S, D] as [K], with a Gaussian kernel at the median distance.

    Gretton et al. 2012, eq. 3.
    """
    s = made.shape[1]
    with torch.no_grad():
        width = _distance(real, real).flatten(1).median(1).values.clamp(min=1e-3)[:, None, None]

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return torch.exp(-0.5 * (_distance(x, y) / width) ** 2)

    def own(x: Tensor) -> Tensor:
        square = kernel(x, x)
        return (square.sum((1, 2)) - square.diagonal(dim1=1, dim2=2).sum(1)) / (s * (s - 1))

    return own(made) + own(real) - 2 * kernel(made, real).mean((1, 2))


def _distance(x: Tensor, y: Tensor) -> Tensor:
    """Return Euclidean distances [K, S, S]; exactly zero ones have no gradient, instead of an infinite one."""
    square = (x[:, :, None] - y[:, None]).square().sum(-1)
    return torch.where(square > 0, square.clamp(min=1e-12).sqrt(), torch.zeros_like(square))
