"""Control cells moved by a predicted change of the mean: the simple answer, as counts with the spread of cells.

Each control cell keeps its quantiles (see `populations`). Everything about it that is not its mean stays its own: its
place within its type, its rank of depth, and what no codec knows. For a negative binomial this thins counts that fall
and adds to those that rise, with the variance that counts of that mean have. Where perturbed cells are known to have
more or fewer molecules, depths move as well: of all that makes the variance of log values, depth makes the most.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from scdiff_core.engine.populations import Population, believed, log_rate
from scdiff_core.keys import TARGET_SUM
from scdiff_core.nn import quantiles
from scdiff_core.nn.codec import Codec
from scdiff_core.nn.likelihood import NegativeBinomial, Values
from scdiff_core.nn.log_mean import log1p_mean

CALIBRATED = 64  # cells on which the mean of codes that have moved is expected, evenly chosen


@dataclass(frozen=True)
class Cells:
    """n cells as csr: counts (or continuous values) [n, G], and their total counts float32 [n]."""

    values: sp.csr_matrix
    total: np.ndarray

    def __len__(self) -> int:
        return int(self.values.shape[0])

    def take(self, rows: np.ndarray) -> Cells:
        """Return some of the cells."""
        return Cells(self.values[rows], self.total[rows])


@dataclass(frozen=True)
class Tensors:
    """n cells as tensors: the values without zeros, log1p [n, G] and total counts [n]."""

    values: Values
    log1p: Tensor
    total: Tensor


def tensors(cells: Cells, counts: bool) -> Tensors:
    """Return cells as tensors on the CPU."""
    n, g = cells.values.shape
    cell = np.repeat(np.arange(n), np.diff(cells.values.indptr))
    total = np.maximum(np.asarray(cells.total, np.float32), 1.0)
    data = np.asarray(cells.values.data, np.float32)
    scaled = np.log1p(data * (np.float32(TARGET_SUM) / total)[cell]) if counts else data
    index = torch.from_numpy(cell * np.int64(g) + cells.values.indices)
    log1p = torch.zeros(n * g).index_copy_(0, index, torch.from_numpy(scaled.astype(np.float32)))
    return Tensors(Values((n, g), index, torch.from_numpy(data)), log1p.view(n, g), torch.from_numpy(total))


@torch.no_grad()
def codes(codec: Codec, cells: Tensors, generator: torch.Generator | None = None) -> Tensor:
    """Return the codes of cells, [n, D]: one draw each, or their means where there is no generator."""
    posterior = codec.encode(cells.log1p, cells.total)
    return posterior.mean if generator is None else posterior.sample(generator)


def depth_of(codec: Codec, delta: Tensor | np.ndarray) -> float:
    """Return the change of the code of the library size in a change of codes [D]; 0 where there are no counts."""
    return float(delta[-1]) if codec.counts else 0.0


class Mover:
    """Control cells that can be moved: each with its codes, its own distribution and its place in it.

    Parameters
    ----------
    codec
        Calibrated.
    cells
        The control cells, n of them.
    generator
        For the draw of their codes and of what the counts leave open.
    """

    def __init__(self, codec: Codec, cells: Tensors, generator: torch.Generator) -> None:
        self.codec, self.cells = codec, cells
        with torch.no_grad():
            self.centre = codes(codec, cells).mean(0)
            self.z = codes(codec, cells, generator)
            self.mean = cells.log1p.mean(0)
            self.here = Population.of(codec, self.z, cells.values, cells.total, generator)
            self.some = torch.linspace(0, len(self.z) - 1, min(len(self.z), CALIBRATED)).round().long()

    @cached_property
    def start(self) -> Tensor:
        """The mean log1p value that some of the cells are expected to have as they are, [G]."""
        return self._level(self.z[self.some])

    @torch.no_grad()
    def to(self, shift: Tensor, depth: float = 0.0) -> tuple[Tensor, Tensor]:
        """Return the cells moved: values [n, G] and total counts [n].

        Parameters
        ----------
        shift
            By how much their mean is to change, log1p [G].
        depth
            The change of the code of their library size (see `LibrarySize`).
        """
        goal = self._goal(shift)
        there = self.here
        if self.codec.counts and depth != 0.0:
            there = there.deeper(self._deeper(depth))
        return there.matched(goal, log_rate(goal) - self.log_rate if self.codec.counts else goal - self.mean)

    @cached_property
    def log_rate(self) -> Tensor:
        """The log rates of genes in counts per 10,000 [G]: of the cells, as far as they have any, and of the codec."""
        assert isinstance(self.here.there, NegativeBinomial)
        expected = (self.here.there.log_mean.exp() / self.cells.total[:, None]).mean(0) * TARGET_SUM
        own = believed((self.cells.log1p > 0).sum(0))
        return own * log_rate(self.mean) + (1 - own) * log_rate(expected.log1p())

    def _deeper(self, depth: float) -> Tensor:
        """Return by how much the log library sizes [n] rise with their codes."""
        library, code = self.codec.library, self.z[:, -1]
        return library.log_total(code + depth) - library.log_total(code)

    def _goal(self, shift: Tensor) -> Tensor:
        """Return the mean that the controls have after a change `shift`, log1p [G]."""
        goal = self.mean + shift
        return goal.clamp(min=0) if self.codec.counts or self.codec.positive else goal

    @torch.no_grad()
    def drawn(self, z: Tensor, shift: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return new cells of codes z [n, D], whose mean is that of the controls and `shift`, log1p [G].

        As many as there are controls; nothing but the mean comes from these. Values [n, G] and total counts [n].
        """
        u = quantiles.look_up(self.codec.table, torch.rand(len(z), self.codec.n_genes, generator=generator))
        goal = self._goal(shift)
        return Population.drawn(self.codec, z, u, generator).matched(goal, torch.zeros_like(goal))

    def log1p(self, values: Tensor, total: Tensor) -> Tensor:
        """Return log1p values [n, G] of values and total counts."""
        return torch.log1p(values * (TARGET_SUM / total)[:, None]) if self.codec.counts else values

    @torch.no_grad()
    def expected(self, delta: Tensor) -> Tensor:
        """Return the change of the expected mean, log1p [G], when the codes move by delta [D]."""
        return self._level(self.z[self.some] + delta) - self.start

    def _level(self, z: Tensor) -> Tensor:
        """Return the mean log1p value that some of the cells are expected to have with codes z, [G]."""
        there = self.codec.decode(z)
        if not isinstance(there, NegativeBinomial):
            return there.mean.mean(0)
        library, total = self.codec.library, self.cells.total[self.some].log()
        total = total + library.log_total(z[:, -1]) - library.log_total(self.z[self.some, -1])
        return log1p_mean(there.log_mean, there.log_theta, math.log(TARGET_SUM) - total).mean(0)
