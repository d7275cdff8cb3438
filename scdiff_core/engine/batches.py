"""The cells that training learns from, cut into minibatches of tensors."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scdiff_core import keys
from scdiff_core.data.chosen import evenly
from scdiff_core.data.prepared import Prepared
from scdiff_core.nn.condition import Condition
from scdiff_core.nn.likelihood import Values

CHUNK = 512  # cells that are encoded or decoded at a time outside training
HELD_OUT = 0.06  # share of the training cells on which losses are watched
HELD_OUT_MAX = 2000
FEWEST_TO_SPLIT = 50
MOLECULES = 2_000_000  # of a minibatch; with more, a binomial draw for each count is quicker


@dataclass(frozen=True)
class Minibatch:
    """B cells: dense log1p [B, G], total counts [B], and the values (counts or continuous)."""

    log1p: Tensor
    total: Tensor
    values: Values

    def part(self, cells: slice) -> Minibatch:
        """Return some of the cells (a slice with both ends)."""
        return Minibatch(self.log1p[cells], self.total[cells], self.values.part(cells))


def _thin(counts: np.ndarray, share: float, generator: torch.Generator) -> np.ndarray:
    """Return a binomial draw of each count (at least 1): molecule by molecule, if those are not too many."""
    ends = np.cumsum(counts, dtype=np.float64).astype(np.int64)
    if not len(ends) or ends[-1] > MOLECULES:
        n = torch.from_numpy(counts)
        return torch.binomial(n, torch.full_like(n, share), generator=generator).numpy()
    kept = (torch.rand(int(ends[-1]), generator=generator) < share).numpy()
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
    return np.add.reduceat(kept, starts, dtype=np.float32)


def _send(array: np.ndarray, device: torch.device) -> Tensor:
    """Return an array as a tensor on a device; to CUDA through pinned memory, so that nobody waits for it."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


class Cells:
    """Some cells of a prepared dataset, ready to be cut.

    Parameters
    ----------
    prepared
        The dataset.
    rows
        Which cells, as indices into it.
    device
        Where minibatches go.
    """

    def __init__(self, prepared: Prepared, rows: np.ndarray, device: torch.device) -> None:
        self.counts_like = prepared.values == keys.COUNTS
        self.matrix, self.rows = prepared.counts, np.asarray(rows)  # not cut: the matrix may be large
        self.total = np.maximum(np.asarray(prepared.total_counts[rows], np.float32), 1.0)
        self.device = device
        codes, conts = prepared.vocab.encode(prepared.obs.iloc[rows])
        sizes = tuple(len(c.values) for c in prepared.vocab.categorical)
        self.condition = Condition(torch.from_numpy(codes), torch.from_numpy(conts), sizes).to(device)

    def __len__(self) -> int:
        return len(self.rows)

    def _values(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return flat positions, cells (of the minibatch) and values of the non-zero entries."""
        part = self.matrix[self.rows[rows]]
        cell = np.repeat(np.arange(len(rows)), np.diff(part.indptr))
        return cell * np.int64(part.shape[1]) + part.indices, cell, part.data

    def _minibatch(self, flat: np.ndarray, cell: np.ndarray, data: np.ndarray, total: np.ndarray) -> Minibatch:
        n, g = len(total), self.matrix.shape[1]
        scaled = np.log1p(data * (np.float32(keys.TARGET_SUM) / total)[cell]) if self.counts_like else data
        index, value = _send(flat, self.device), _send(data, self.device)
        log1p = torch.zeros(n * g, device=self.device)
        log1p = log1p.index_copy_(0, index, _send(scaled.astype(np.float32), self.device))
        return Minibatch(log1p.view(n, g), _send(total, self.device), Values((n, g), index, value))

    def take(self, rows: np.ndarray) -> Minibatch:
        """Return the cells of some rows."""
        return self._minibatch(*self._values(rows), self.total[rows])

    def thinned(self, rows: np.ndarray, share: float, generator: torch.Generator
                ) -> tuple[Minibatch, Tensor, Values]:
        """Return the cells of some rows with about `share` of their counts, and the whole totals and counts.

        Each molecule is kept with probability `share`, as if the cell had been sequenced less.
        """
        flat, cell, data = self._values(rows)
        total = self.total[rows]
        left = _thin(data, share, generator)
        kept = np.bincount(cell, data, len(rows)).astype(np.float32)
        other = torch.from_numpy(np.maximum(np.round(total - kept), 0).astype(np.float32))
        rest = torch.binomial(other, torch.full_like(other, share), generator=generator).numpy()
        less = np.maximum(np.bincount(cell, left, len(rows)).astype(np.float32) + rest, 1)
        there = left > 0
        whole = Values((len(rows), self.matrix.shape[1]), *(_send(v, self.device) for v in (flat, data)))
        return self._minibatch(flat[there], cell[there], left[there], less), _send(total, self.device), whole

    def some(self, n: int) -> Cells:
        """Return n of the cells (all, if there are fewer), evenly spaced."""
        rows = evenly(np.arange(len(self)), n)
        few = copy.copy(self)
        few.rows, few.total = self.rows[rows], self.total[rows]
        few.condition = self.condition.rows(torch.from_numpy(rows).to(self.device))
        return few

    def chunks(self, size: int = CHUNK) -> Iterator[Minibatch]:
        """Cut all cells into minibatches, in order."""
        for start in range(0, len(self), size):
            yield self.take(np.arange(start, min(start + size, len(self))))


def split_training(prepared: Prepared, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the training cells that are learnt from and those on which the held-out loss is watched.

    The test split is left alone: what it says of a model later must not have chosen that model. With too
    few cells to spare any, the held-out loss is watched on the cells that are learnt from.
    """
    rows = prepared.rows(keys.TRAIN)
    if len(rows) < FEWEST_TO_SPLIT:
        return rows, rows
    shuffled = np.random.default_rng(seed).permutation(rows)
    n = min(HELD_OUT_MAX, max(1, round(HELD_OUT * len(rows))))
    return np.sort(shuffled[n:]), np.sort(shuffled[:n])
