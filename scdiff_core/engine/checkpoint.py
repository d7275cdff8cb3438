"""Checkpoints: one safetensors file each, with everything that is no tensor as JSON in its header.

One file is replaced at once, so a kill or a full disk leaves the checkpoint before it intact.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from scdiff_core.config import FORMAT
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir, atomic_write

LAST, BEST, REFERENCE = "last", "best", "reference"


def path_of(job: JobDir, name: str) -> Path:
    """Return where the checkpoint `last` or `best`, or the `reference` of a run lies."""
    return job.checkpoints / f"{name}.safetensors"


def save(path: Path, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Write tensors and what belongs to them, atomically.

    Raises
    ------
    ScdiffError
        The disk is full or not writable; the file before it is intact.
    """
    plain = {k: v.detach().to("cpu").contiguous().clone() for k, v in tensors.items()}
    header = {"scdiff": json.dumps({"format": FORMAT, **meta}, allow_nan=False)}
    atomic_write(path, lambda p: save_file(plain, str(p), metadata=header))


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read tensors (on the CPU) and what belongs to them.

    Raises
    ------
    ScdiffError
        The file is missing, damaged, or from a newer version.
    """
    run = path.parent.parent.name
    if not path.exists():
        raise ScdiffError(f"The run '{run}' has no model yet.", f"{path.name} is missing.",
                          "Train it first, or resume it if it was stopped early.")
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            meta = json.loads((file.metadata() or {})["scdiff"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise ScdiffError(f"The model of the run '{run}' cannot be opened.",
                          f"{path.name} is damaged ({type(error).__name__}).",
                          "Restore the file from a copy, or train again.") from error
    if meta["format"] > FORMAT:
        raise ScdiffError(f"The model of the run '{run}' cannot be opened.",
                          f"It was written by a newer version of scDiff Studio (format {meta['format']}, "
                          f"this one reads up to {FORMAT}).", "Update scDiff Studio, then open it again.")
    return tensors, meta


def under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with `prefix.`, without it."""
    return {k[len(prefix) + 1:]: v for k, v in tensors.items() if k.startswith(prefix + ".")}


def named(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors with `prefix.` before their names."""
    return {f"{prefix}.{k}": v for k, v in tensors.items()}


def optimiser_state(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return an optimiser's moments as flat tensors, by the order of its parameters."""
    state = optimiser.state_dict()["state"]
    return {f"{i}.{k}": torch.as_tensor(v) for i, values in state.items() for k, v in values.items()}


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimiser_state` returned."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        i, _, name = key.partition(".")
        state.setdefault(int(i), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
