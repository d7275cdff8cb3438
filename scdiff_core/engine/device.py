"""Where the tensors live: one setting, its meaning on this machine, and what it uses."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import psutil
import torch

from scdiff_core.errors import ScdiffError, nearest

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


def autocast(device: torch.device) -> AbstractContextManager:
    """Return the context in which networks run: bf16 on CUDA, float32 elsewhere."""
    return torch.autocast("cuda", dtype=torch.bfloat16) if device.type == "cuda" else nullcontext()


def adam(groups: list[dict], device: torch.device, weight_decay: float) -> torch.optim.AdamW:
    """Return AdamW over parameter groups, fused where that is known to work."""
    return torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=weight_decay,
                             fused=device.type in ("cpu", "cuda"))


def memory_mb(device: torch.device) -> float:
    """Return the memory that this process holds: of the GPU on CUDA, of the machine elsewhere."""
    used = torch.cuda.memory_reserved(device) if device.type == "cuda" else psutil.Process().memory_info().rss
    return round(used / 1e6, 1)
