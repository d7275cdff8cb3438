"""Control cells moved by a predicted change of the mean: the simple answer, as counts with the spread of cells.

Each control cell keeps its quantiles. Its values are looked up in the distribution that the codec says it comes
from (the probability integral transform), and read off at the same quantiles of the distribution that it is moved
to. Not moved, it is what it was; moved, everything about it that is not its mean stays its own: its depth, its
place within its type, and what no codec knows. For a negative binomial this thins counts that fall and adds to
those that rise, with the variance that counts of that mean have.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from scdiff_core.keys import TARGET_SUM
from scdiff_core.nn import quantiles
from scdiff_core.nn.codec import Codec, CountSpread
from scdiff_core.nn.likelihood import HurdleNormal, NegativeBinomial, Values
from scdiff_core.nn.log_mean import log1p_mean

ROUNDS = 8  # looks at the mean of the moved cells, each with a correction of every gene
MOST = math.log(300.0)  # no rate is corrected by more than this factor
SMALLEST = 2e-3  # log1p mean below which a level counts as none
CALIBRATED = 64  # cells on which the corrections are found, evenly chosen
STEP = 1.5  # most that a log rate is corrected by at a time: all genes share the library size
RESTS = (0.5, 2.0)  # bounds of what is left for the genes that are not kept, times what was left for them
OWN_ROUNDS = 2  # corrections by what the cells themselves then have
KEPT, KEPT_VALUES = 8, 10_000_000  # movers that are kept for the next question, and values [n, G] of them all
BELIEVED = 10.0  # cells with any count of a gene, for which half of its own correction is taken


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

    def first(self, n: int) -> Tensors:
        """Return the first n cells."""
        if n >= len(self.total):
            return self
        width = self.values.shape[1]
        inside = self.values.index < n * width
        return Tensors(Values((n, width), self.values.index[inside], self.values.value[inside]),
                       self.log1p[:n], self.total[:n])


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


def spread_of(codec: Codec) -> CountSpread:
    """Return what a codec of counts has round its means."""
    return next(m for m in codec.modules() if isinstance(m, CountSpread))


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
            here = codec.decode(self.z)
            self.u = here.pit(cells.values, generator)
            self.seed = int(torch.randint(2**31, (), generator=generator))
            self.some = torch.linspace(0, len(self.z) - 1, min(len(self.z), CALIBRATED)).round().long()
            if isinstance(here, NegativeBinomial):
                kept = torch.zeros(len(cells.total)).index_add(0, cells.values.cell, cells.values.value)
                self.rest = (cells.total - kept).clamp(min=0)
                self.rates = Rates.of(codec, self.z)
                self.log_total, self.rest_share = self.rates.log_total, self.rates.rest
                self.start = self._level(self.rates, torch.zeros(codec.n_genes))
            else:
                self.start = here.mean[self.some].mean(0)

    @torch.no_grad()
    def moved(self, shift: Tensor, recode: bool = True) -> tuple[Tensor, Tensor]:
        """Return the cells moved so that their mean changes by `shift`, log1p [G]: values [n, G], totals [n].

        With `recode`, the cells are moved twice: first gene by gene, then by the mean change of their codes that
        this makes, so that genes also change together as the codec has seen them to.
        """
        values, total = self.to(None, shift)
        if not recode:
            return values, total
        log1p = self.log1p(values, total)
        delta = self.codec.encode(log1p, total).mean.mean(0) - self.z.mean(0)
        return self.to(delta, shift)

    @torch.no_grad()
    def to(self, delta: Tensor | None, shift: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the cells moved: values [n, G] and total counts [n].

        Parameters
        ----------
        delta
            The change of the codes, [D] or [n, D]; None for none.
        shift
            By how much their mean is to change, log1p [G]; None where the codes alone decide.
        """
        z = self.z if delta is None else self.z + delta
        if not self.codec.counts:
            there = self.codec.decode(z)
            assert isinstance(there, HurdleNormal)
            change = torch.zeros(self.codec.n_genes) if shift is None else self._correct_values(there, shift)
            values = _raised(there, change).inverse(self.u)
            return values, values.sum(1)
        rates = self.rates if delta is None else Rates.of(self.codec, z)
        if shift is None:
            return self._read(rates, torch.zeros(self.codec.n_genes))
        return self._own(rates, shift, self._read)

    def _own(self, rates: Rates, shift: Tensor,
             read: Callable[[Rates, Tensor], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Return cells that `read` makes at rates and factors, once their mean is right: expected, then their own."""
        change = self._correct(rates, shift)
        goal = _log_rate((self.cells.log1p.mean(0) + shift).clamp(min=0))
        for _ in range(OWN_ROUNDS):
            values, total = read(rates, change)
            cells = (values > 0).float().sum(0)
            step = cells / (cells + BELIEVED) * (goal - _log_rate(self.log1p(values, total).mean(0)))
            change = rates.take(self.some).further(change, step.clamp(-STEP, STEP))
        return read(rates, change)

    def _read(self, rates: Rates, change: Tensor) -> tuple[Tensor, Tensor]:
        """Return the counts at the cells' own quantiles of these rates times exp(change), and total counts."""
        moved, rest = rates.times(change)
        values = self._spread(moved).sample(self.u, torch.Generator().manual_seed(self.seed))
        more = rest / self.rest_share * (rates.log_total - self.log_total).exp()
        return values, values.sum(1) + self.rest * more

    @torch.no_grad()
    def drawn(self, z: Tensor, shift: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return new cells of codes z [n, D], whose mean is that of the controls and `shift`, log1p [G].

        As many as there are controls; nothing but the mean comes from these. Values [n, G] and total counts [n].
        """
        u = quantiles.look_up(self.codec.table, torch.rand(len(z), self.codec.n_genes, generator=generator))
        if not self.codec.counts:
            there = self.codec.decode(z)
            assert isinstance(there, HurdleNormal)
            values = _raised(there, self._correct_values(there, shift)).inverse(u)
            return values, values.sum(1)

        def read(rates: Rates, change: Tensor) -> tuple[Tensor, Tensor]:
            moved, rest = rates.times(change)
            values = self._spread(moved).sample(u, torch.Generator().manual_seed(self.seed))
            return values, values.sum(1) + rest * rates.log_total.exp()

        return self._own(Rates.of(self.codec, z), shift, read)

    def log1p(self, values: Tensor, total: Tensor) -> Tensor:
        """Return log1p values [n, G] of values and total counts."""
        return torch.log1p(values * (TARGET_SUM / total)[:, None]) if self.codec.counts else values

    @torch.no_grad()
    def expected(self, delta: Tensor) -> Tensor:
        """Return the change of the expected mean, log1p [G], when the codes move by delta [D]."""
        if not self.codec.counts:
            there = self.codec.decode((self.z + delta)[self.some])
            return there.mean.mean(0) - self.start
        return self._level(Rates.of(self.codec, self.z + delta), torch.zeros(self.codec.n_genes)) - self.start

    def _spread(self, log_mean: Tensor) -> NegativeBinomial:
        return spread_of(self.codec)(log_mean)

    def _level(self, rates: Rates, change: Tensor) -> Tensor:
        """Return the mean log1p value that some of the cells are expected to have at these rates, [G]."""
        moved, rest = rates.take(self.some).times(change)
        more = rest / self.rest_share[self.some] * (rates.log_total - self.log_total)[self.some].exp()
        total = moved.exp().sum(1) + self.rest[self.some] * more
        return log1p_mean(moved, self._spread(moved).log_theta, (TARGET_SUM / total).log()).mean(0)

    def _correct(self, rates: Rates, shift: Tensor) -> Tensor:
        """Return the log factor of each gene's rate [G] that changes the expected mean by `shift`, log1p [G]."""
        goal = _log_rate((self.start + shift).clamp(min=0))
        change, some = torch.zeros_like(goal), rates.take(self.some)
        level = self.start if rates is self.rates else self._level(rates, change)
        for left in reversed(range(ROUNDS)):
            change = some.further(change, (goal - _log_rate(level)).clamp(-STEP, STEP))
            if left:
                level = self._level(rates, change)
        return change

    def _correct_values(self, there: HurdleNormal, shift: Tensor) -> Tensor:
        """Return the rise of each gene's location [G] that changes the expected mean by `shift`."""
        few = HurdleNormal(there.zero_logit[self.some], there.location[self.some], there.log_scale[self.some],
                           there.positive, there.stray)
        goal = self.start + shift
        change = torch.zeros_like(goal)
        for _ in range(ROUNDS):
            now = _raised(few, change)
            share = torch.sigmoid(-now.zero_logit)
            slope = (share + now.location * share * (1 - share)).mean(0)
            change = change + ((goal - now.mean.mean(0)) / slope.clamp(min=0.2)).clamp(-STEP, STEP)
        return change


class Movers:
    """The last few movers that were made: those of a screen's perturbations, one after another, are the same.

    A mover is the same where its cells are and the generator's state before it; that is what it is kept by. Found
    again, it leaves the generator as making it would have. Several threads may ask at once: one makes it, and the
    others wait. Movers are only read once they are made.
    """

    def __init__(self, most: int = KEPT, values: int = KEPT_VALUES) -> None:
        self.most, self.values = most, values
        self._kept: OrderedDict[tuple[bytes, bytes], tuple[Mover, Tensor]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, rows: np.ndarray, generator: torch.Generator, make: Callable[[torch.Generator], Mover]) -> Mover:
        """Return the mover of these cells, made by `make` if need be.

        Parameters
        ----------
        rows
            What names the cells, of one codec and one dataset.
        generator
            Advanced as by `make`.
        """
        with self._lock:
            key = np.asarray(rows, np.int64).tobytes(), generator.get_state().numpy().tobytes()
            found = self._kept.pop(key, None)
            if found is None:
                mover = make(generator)
                found = mover, generator.get_state()
            generator.set_state(found[1])
            self._kept[key] = found
            while len(self._kept) > self.most or sum(m.u.numel() for m, _ in self._kept.values()) > self.values:
                self._kept.popitem(last=False)
            return found[0]


def _log_rate(level: Tensor) -> Tensor:
    """Return the log of the rate that a log1p level means, with a little added."""
    return (level.expm1() + SMALLEST).log()


def _raised(there: HurdleNormal, change: Tensor) -> HurdleNormal:
    """Return values whose genes are expected higher by a change [G], and seldomer zero for it."""
    return HurdleNormal(there.zero_logit - change, there.location + change, there.log_scale, there.positive,
                        there.stray)


@dataclass(frozen=True)
class Rates:
    """What codes say of counts: log shares of the kept genes [n, G], the share of the rest, log library size [n]."""

    log_share: Tensor
    rest: Tensor
    log_total: Tensor

    @classmethod
    def of(cls, codec: Codec, z: Tensor) -> Rates:
        """Decode codes [n, D]."""
        there = codec.decode(z)
        assert isinstance(there, NegativeBinomial)
        log_total = codec.library.log_total(z[:, -1])
        log_share = there.log_mean - log_total[:, None]
        return cls(log_share, (1 - log_share.exp().sum(1)).clamp(min=1e-4), log_total)

    def take(self, rows: Tensor) -> Rates:
        """Return those of some cells."""
        return Rates(self.log_share[rows], self.rest[rows], self.log_total[rows])

    def further(self, change: Tensor, step: Tensor) -> Tensor:
        """Return factors with which the shares, as `change` made them, are multiplied by exp(step), log [G].

        Shares add up to one: where many genes rise, what is left for the rest falls, and factors are in its units.
        """
        moved, rest = self.times(change)
        before = rest.mean()
        after = 1 - (moved.exp() / self.log_total.exp()[:, None]).mean(0) @ step.exp()
        low, high = (bound * float(self.rest.mean()) for bound in RESTS)
        factor = (before / after.clamp(low, high)).log()
        return (change + step + factor).clamp(-MOST, MOST)

    def times(self, change: Tensor) -> tuple[Tensor, Tensor]:
        """Return log means [n, G] in counts, and the share of the rest [n], with each gene's rate times exp(change).

        Shares are shares: where some genes rise, all others fall a little.
        """
        log_share = self.log_share + change
        whole = self.rest + log_share.exp().sum(1)
        return log_share + (self.log_total - whole.log())[:, None], self.rest / whole
