"""What the codes of cells are held to while the codec learns."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

LOG_TWO_PI = math.log(2 * math.pi)
APART = 0.5  # how far from zero the normals begin: codes begin there too, and find the nearest


class MixturePrior(nn.Module):
    """A mixture of normals with independent dimensions, learnt together with the codec.

    Cells come in types. One normal for all of them pays for every gap between two types, so the codec would
    pack them side by side and let their codes run into each other; a mixture has its normals where the cells
    are (Tomczak and Welling 2018, section 3, where this is the mixture of Gaussians).

    Parameters
    ----------
    n_normals, n_latent
        K normals in as many dimensions as the codes have, D.
    generator
        For where the normals begin.
    """

    def __init__(self, n_normals: int, n_latent: int, generator: torch.Generator) -> None:
        super().__init__()
        self.mean = nn.Parameter(APART * torch.randn(n_normals, n_latent, generator=generator))
        self.log_std = nn.Parameter(torch.zeros(n_normals, n_latent))
        self.weight = nn.Parameter(torch.zeros(n_normals))

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log density at codes z [B, D] as [B]."""
        precision = (-2 * self.log_std).exp()
        far = z**2 @ precision.T - 2 * z @ (self.mean * precision).T + (self.mean**2 * precision).sum(1)
        each = -0.5 * (far + z.shape[1] * LOG_TWO_PI) - self.log_std.sum(1)
        return torch.logsumexp(torch.log_softmax(self.weight, 0) + each, 1)
