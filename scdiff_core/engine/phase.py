"""What the phases of training have in common: steps, learning rate, random state, save and restore."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from scdiff_core.engine import checkpoint
from scdiff_core.engine.distributed import Group

WARM_UP = 50  # steps over which the learning rate rises
FLOOR = 0.02  # share of the learning rate that is left at the end


def learning_rate(step: int, steps: int) -> float:
    """Return the factor of the learning rate: a linear rise, then a half cosine (Loshchilov and Hutter 2017)."""
    return min(1.0, (step + 1) / WARM_UP) * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * step / steps)))


class Phase:
    """One phase of training: it advances a step at a time, and can be saved and restored between two steps.

    Everything random comes from `generator`, except dropout, which draws from torch's own state; both are
    saved. On CUDA the generator may live on the device, so that no draw has to wait for the host.

    Parameters
    ----------
    name, steps
        As events and checkpoints call it, and how many steps it has.
    modules
        What is trained, or needed, and saved: name -> module.
    optimiser
        None where there is nothing to train.
    seed
        Of its random state.
    device
        Where the random draws are made: on the CPU unless it is CUDA.
    """

    group = Group()  # the processes that train together
    comparable = True  # whether the loss of a step is in the units of `held_out`

    def __init__(self, name: str, steps: int, modules: dict[str, nn.Module],
                 optimiser: torch.optim.Optimizer | None, seed: int,
                 device: torch.device | None = None) -> None:
        self.name, self.steps, self.step = name, steps, 0
        self.modules, self.optimiser = modules, optimiser
        where = device if device is not None and device.type == "cuda" else "cpu"
        self.generator = torch.Generator(where).manual_seed(seed)
        self.rates = [g["lr"] for g in optimiser.param_groups] if optimiser else []

    @property
    def finished(self) -> bool:
        """Whether no step is left."""
        return self.step >= self.steps

    def begin(self) -> None:
        """Called before the first step of a phase that is not resumed."""
        seed = int(torch.randint(2**62, (), generator=self.generator, device=self.generator.device))
        torch.manual_seed(seed + self.group.rank)  # dropout is each process's own

    def advance(self) -> Tensor:
        """Take one step and return its loss, a scalar still on the device."""
        raise NotImplementedError

    def held_out(self) -> float:
        """Return the loss on the held-out cells, on the same draws each time."""
        raise NotImplementedError

    def learnt(self) -> float:
        """Return the loss on cells that are learnt from, in the units of `held_out`, if not `comparable`."""
        raise NotImplementedError

    def descend(self, loss: Tensor) -> None:
        """Take one step of the optimiser down the gradient of a scalar loss, averaged over all processes."""
        assert self.optimiser is not None
        factor = learning_rate(self.step, self.steps)
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if not self.group.alone:
            self.group.average(p.grad for g in self.optimiser.param_groups for p in g["params"] if p.grad is not None)
        self.optimiser.step()

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return everything that the next step depends on: tensors, and plain values."""
        tensors: dict[str, Tensor] = {}
        for name, module in self.modules.items():
            tensors |= checkpoint.named(module.state_dict(), name)
        if self.optimiser is not None:
            tensors |= checkpoint.named(checkpoint.optimiser_state(self.optimiser), "optimiser")
        tensors["random.generator"] = self.generator.get_state()
        tensors["random.torch"] = torch.get_rng_state()
        if torch.cuda.is_available():
            tensors["random.cuda"] = torch.cuda.get_rng_state()
        return tensors, {"phase": self.name, "step": self.step}

    def restore(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        """Put back what `state` returned."""
        for name, module in self.modules.items():
            module.load_state_dict(checkpoint.under(tensors, name))
        if self.optimiser is not None:
            checkpoint.restore_optimiser(self.optimiser, checkpoint.under(tensors, "optimiser"))
        self.step = int(meta["step"])
        state = tensors["random.generator"]
        if len(state) == len(self.generator.get_state()):
            self.generator.set_state(state)
        else:  # it was stopped on another kind of device, whose random numbers are others
            self.generator.manual_seed(self.generator.initial_seed() + self.step)
        torch.set_rng_state(tensors["random.torch"])
        if self.group.rank:
            torch.manual_seed(torch.initial_seed() + self.step + self.group.rank)
        if torch.cuda.is_available() and "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"])
