"""Several processes that train one model, as `torchrun` starts them.

Every process draws the whole minibatch from the same random numbers and learns from its own part of it; the gradients
are averaged before each step, so the steps are those of one process with the whole minibatch (but for rounding, and
for dropout, which is each process's own). The gradients go as one message: the networks are small, and the loss of the
codec is no single call of one module, as torch's own DistributedDataParallel wants it. The first process alone writes.

    torchrun --nproc-per-node 2 -m scdiff_core train DATASET --preset standard
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from scdiff_core.errors import ScdiffError


@dataclass(frozen=True)
class Group:
    """One of `size` processes: the `rank`-th."""

    rank: int = 0
    size: int = 1

    @property
    def writes(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is no other."""
        return self.size == 1

    def part(self, n: int) -> slice:
        """Return this process's part of a minibatch of n cells.

        Raises
        ------
        ScdiffError
            The cells cannot be shared out evenly.
        """
        if n % self.size:
            raise ScdiffError("The minibatch cannot be shared out.",
                              f"{n} cells a step do not divide by {self.size} processes.",
                              "Set codec.minibatch and diffusion.minibatch to multiples of the number of processes.")
        each = n // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Put the mean over all processes into tensors, of the same shapes in each."""
        if self.alone:
            return
        own = list(tensors)
        flat = torch.cat([t.reshape(-1) for t in own])
        dist.all_reduce(flat)
        flat /= self.size
        for t, mean in zip(own, flat.split([t.numel() for t in own]), strict=True):
            t.copy_(mean.view(t.shape))

    def first(self, value: float) -> float:
        """Return the first process's value of a number: what all have to agree on."""
        if self.alone:
            return value
        told = torch.tensor([value], dtype=torch.float64, device=_where())
        dist.broadcast(told, 0)
        return float(told)

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Put the first process's tensors into all."""
        if not self.alone:
            for t in tensors:
                dist.broadcast(t, 0)


def _where() -> str:
    return "cuda" if dist.get_backend() == "nccl" else "cpu"


def launched() -> bool:
    """Say whether torchrun started this process beside others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def join() -> Group:
    """Join the other processes, over nccl where there is CUDA and gloo elsewhere; alone without torchrun."""
    if not launched():
        return Group()
    if not dist.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
            dist.init_process_group("nccl")
        else:
            dist.init_process_group("gloo")
    return Group(dist.get_rank(), dist.get_world_size())


def told(text: str) -> str:
    """Return the first process's text in every process; its own where there is one alone."""
    if join().alone:
        return text
    box = [text]
    dist.broadcast_object_list(box, 0, device=torch.device(_where()))
    return box[0]


def leave() -> None:
    """End the company of the other processes."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
