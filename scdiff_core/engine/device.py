"""Where the tensors live: one setting, its meaning on this machine, and what it uses."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import psutil
import torch

from scdiff_core.errors import ScdiffError, nearest
from scdiff_core.nn.backbone import Conditioned
from scdiff_core.nn.condition import Condition

DEVICES = ("auto", "cpu", "cuda", "mps")


def choose(setting: str) -> torch.device:
    """Return the device of a setting: auto (CUDA, then MPS, then CPU), cpu, cuda or mps.

    Raises
    ------
    ScdiffError
        There is no such setting, or this machine has no such device.
    """
    if setting not in DEVICES:
        raise ScdiffError(f"There is no device '{setting}'.", nearest(setting, DEVICES) or
                          "The devices are " + ", ".join(DEVICES) + ".", "Use auto to take the best there is.")
    has = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if setting == "auto":
        setting = next(d for d in ("cuda", "mps", "cpu") if has[d])
    if not has[setting]:
        raise ScdiffError(f"The device '{setting}' cannot be used.", "This machine has none, or its driver is missing.",
                          "Set the device to auto or cpu.")
    return torch.device(setting)


def autocast(device: torch.device, precision: str = "auto") -> AbstractContextManager:
    """Return the context in which networks run: bf16 or fp32; with auto bf16 on CUDA, float32 elsewhere.

    Weights, likelihoods and sums stay in float32 (mixed precision, Micikevicius et al. 2018; bf16 needs no scaling of
    the loss).
    """
    mixed = precision == "bf16" or (precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, dtype=torch.bfloat16) if mixed else nullcontext()


def compiled(network: Conditioned, n_dims: int, condition: Condition, device: torch.device,
             backend: str = "inductor") -> bool:
    """Compile a network in place (torch.compile); says so and leaves it as it is where that fails here.

    Parameters
    ----------
    n_dims, condition
        What it takes: latents of so many dimensions, and conditions such as this one.
    backend
        Of torch.compile.
    """
    try:
        network.compile(backend=backend)
        some = condition.rows(torch.zeros(2, dtype=torch.int64, device=condition.codes.device))
        with torch.random.fork_rng():
            network(torch.zeros(2, n_dims, device=device), torch.zeros(2, device=device), some).sum().backward()
        network.zero_grad(set_to_none=True)
    except Exception as error:  # whatever a missing or broken compiler raises
        network._compiled_call_impl = None
        print(f"torch.compile does not work here ({type(error).__name__}): the network is not compiled.", flush=True)
        return False
    return True


def adam(groups: list[dict], device: torch.device, weight_decay: float) -> torch.optim.AdamW:
    """Return AdamW over parameter groups, fused where that is known to work."""
    return torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=weight_decay,
                             fused=device.type in ("cpu", "cuda"))


def memory_mb(device: torch.device) -> float:
    """Return the memory that this process holds: of the GPU on CUDA, of the machine elsewhere."""
    used = torch.cuda.memory_reserved(device) if device.type == "cuda" else psutil.Process().memory_info().rss
    return round(used / 1e6, 1)
