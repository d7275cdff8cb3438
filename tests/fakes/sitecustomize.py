"""A training and a generation that cost nothing, for the processes that the tests of jobs start.

A process whose PYTHONPATH holds this folder gets them instead of the real ones (Python imports
`sitecustomize` by itself). How fast they go and how they end is told by environment variables.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

STEPS = int(os.environ.get("FAKE_STEPS", "20"))
SECONDS = float(os.environ.get("FAKE_SECONDS", "0.01"))  # a step
SAVE_EVERY = 5
ENDING = os.environ.get("FAKE_ENDING", "")


@dataclass(frozen=True)
class Event:
    """As `engine.train` yields them."""

    phase: str
    step: int
    total: int
    loss_train: float
    loss_test: float | None = None
    cells_per_s: float = 100.0
    memory_mb: float = 1.0
    device: str = "cpu"
    stopped: bool = False


def train(job: Any, prepared: Any, config: Any, *, resume: bool) -> Iterator[Event]:
    """Count to STEPS, saving the count now and then."""
    saved = job.checkpoints / "last.json"
    step = json.loads(saved.read_text())["step"] if resume else 0
    while step < STEPS:
        stopping = job.stop_requested()
        if stopping or step % SAVE_EVERY == 0:
            from scdiff_core.workspace import write_json

            write_json(saved, {"step": step})
        if stopping:
            yield Event("diffusion", step, STEPS, 1.0, stopped=True)
            return
        step += 1
        time.sleep(SECONDS)
        if step == STEPS // 2:
            _end_badly()
        yield Event("codec" if step < STEPS // 2 else "diffusion", step, STEPS, 1.0 / step,
                    1.0 if step % 10 == 0 else None)


def _end_badly() -> None:
    from scdiff_core.errors import ScdiffError

    if ENDING == "error":
        raise ScdiffError("The loss is not a number.", "It was nan at step 10.", "Lower the learning rate.")
    if ENDING == "bug":
        raise RuntimeError("index 7 is out of bounds")
    if ENDING == "full":
        raise OSError(errno.ENOSPC, "No space left on device")
    if ENDING == "memory":
        raise MemoryError


def generate(model: Any, config: Any, classifiers: Any = None) -> Iterator[Any]:
    """Take 20 steps, then make cells of one count each."""
    print("a library prints this")  # which must not get between the messages
    for done in range(20):
        time.sleep(SECONDS)
        if ENDING == "die":
            os._exit(9)
        yield types.SimpleNamespace(done=done, total=20)
    import numpy as np
    from anndata import AnnData
    from scipy.sparse import csr_matrix

    X = csr_matrix(np.ones((config.n_cells, 4), np.float32))
    cells = AnnData(X)
    cells.layers["log1p"] = X.copy()
    cells.obs["total_counts"] = np.float32(4)
    cells.obs["synthetic"] = True
    cells.uns["scdiff"] = json.dumps({"run": config.run, "seed": config.seed})
    return cells


def _module(name: str, **names: Any) -> None:
    module = types.ModuleType(name)
    module.__dict__.update(names)
    sys.modules[name] = module


if os.environ.get("FAKE_ENGINE"):
    if not os.environ.get("REAL_TORCH"):
        _module("torch", set_num_threads=lambda n: None)
    _module("scdiff_core.engine.train", train=train)
    if os.environ["FAKE_ENGINE"] == "train":
        _module("scdiff_core.engine.outputs", open_dataset=lambda *given: None)
    _module("scdiff_core.engine.generate", generate=generate)
    _module("scdiff_core.engine.classifier", classifiers_for=lambda *given: {})
    _module("scdiff_core.engine.model",
            Model=type("Model", (), {"load": staticmethod(lambda job, device="auto": job)}))
