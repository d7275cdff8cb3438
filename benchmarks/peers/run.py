"""The peers' environment and their runs: training cells out, generated cells back, through files alone."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks import stages
from scdiff_core import keys
from scdiff_core.workspace import JobDir, read_json, write_json

HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE.parent / ".venv-peers"
REQUIREMENTS = HERE / "requirements.txt"
PYTHON = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


@dataclass(frozen=True)
class Peer:
    """One way to make cells with somebody else's package."""

    key: str  # the name of the file that the script writes
    title: str
    script: str
    note: str


PEERS = {peer.key: peer for peer in (
    Peer("scvi_prior", "scVI prior", "scvi_peer.py", "codes from N(0, I); knows no types, so none can be asked for"),
    Peer("scvi_by_type", "scVI prior, by type", "scvi_peer.py",
         "codes from N(0, I), the type a covariate of the decoder"),
    Peer("scvi_posterior", "scVI posterior", "scvi_peer.py",
         "codes of the training cells themselves: every cell is one training cell decoded again, not a new one"),
)}


def environment() -> str | None:
    """Make the peers' environment if it is not there; returns why it cannot be had, or None.

    An install that was cut off leaves no stamp, so the next call takes it up again.
    """
    stamp = ENVIRONMENT / "installed"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if PYTHON.exists() and stamp.exists() and stamp.read_text() == wanted:
        return None
    stages.say(f"Installing the peers into {ENVIRONMENT} (1.9 GB) ...")
    install = ["-m", "pip", "install", "--disable-pip-version-check", "-q", "-r", str(REQUIREMENTS)]
    for command in ([sys.executable, "-m", "venv", str(ENVIRONMENT)], [str(PYTHON), *install]):
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            lines = done.stderr.splitlines() or ["no reason given"]
            errors = [line for line in lines if line.startswith("ERROR")]
            return f"The peers could not be installed: {(errors or lines)[-1].removeprefix('ERROR: ')}."
    stamp.write_text(wanted)
    return None


def groups_of(prepared: Any) -> np.ndarray:
    """Return what a cell is asked for by, as text [N]: its type, and its perturbation where there are any."""
    columns = [c for c in (prepared.roles.cell_type, prepared.roles.perturbation) if c]
    parts = [prepared.labels(c) for c in columns] or [np.repeat("", len(prepared.obs))]
    return np.array([" · ".join(p for p in cell if p) for cell in zip(*parts, strict=True)], dtype=str)


def exchange(folder: Path, prepared: Any, seed: int, epochs: int | None) -> np.ndarray:
    """Write training cells and the request; returns the rows of the prepared dataset that are asked for.

    As many cells are asked for as are held out, each as a training cell drawn at random is: so the types come in
    the data's own shares, as those of our own models do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    train, test = prepared.rows(keys.TRAIN), prepared.rows(keys.TEST)
    labels = prepared.labels(keys.CELL_TYPE) if prepared.roles.cell_type else np.repeat("", len(prepared.obs))
    sp.save_npz(folder / "train.npz", sp.csr_matrix(prepared.counts[train], dtype=np.float32))
    np.savez(folder / "train_cells.npz", labels=labels[train].astype(str), groups=groups_of(prepared)[train],
             total_counts=np.asarray(prepared.total_counts)[train])
    drawn = np.random.default_rng(seed).integers(len(train), size=len(test))
    write_json(folder / "request.json", {"rows": drawn.tolist(), "seed": seed, "epochs": epochs})
    return train[drawn]


def cells_of(prepared: Any, counts: Any, rows: np.ndarray, labelled: bool) -> Any:
    """Return a peer's counts [n, G] as the report card takes them.

    `rows` are the training cells whose type and library size each cell was given. The peer makes the kept genes; the
    genes outside stay as many counts as that training cell has.
    """
    from scdiff_core.analysis.cells import Cells
    from scdiff_core.data.prepared import to_log1p

    counts = sp.csr_matrix(counts, dtype=np.float32)
    kept = np.asarray(prepared.counts[rows].sum(1)).ravel()
    total = np.asarray(prepared.total_counts)[rows] - kept + np.asarray(counts.sum(1)).ravel()
    total = np.maximum(total, 1).astype(np.float32)
    labels = prepared.labels(keys.CELL_TYPE)[rows] if prepared.roles.cell_type and labelled else None
    return Cells(counts, to_log1p(counts, total), total, labels)


def run(dataset: JobDir, seed: int, epochs: int | None = None, fresh: bool = False) -> dict[str, dict[str, Any]]:
    """Train and sample every peer on a prepared dataset: key -> cells (a path), train_s, generate_s, versions.

    Empty where the data has no counts. Raises `subprocess.CalledProcessError` where a peer fails.
    """
    from scdiff_core.data.prepared import Prepared

    prepared = Prepared.open(dataset)
    if prepared.values != keys.COUNTS:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for script in dict.fromkeys(p.script for p in PEERS.values()):
        source = [(HERE / script).read_text(encoding="utf-8"), REQUIREMENTS.read_text(encoding="utf-8"),
                  *(inspect.getsource(f) for f in (groups_of, exchange, cells_of))]
        key = stages.digest(prepared.fingerprint, seed, epochs, source)
        folder = stages.CACHE / "peers" / f"{script.split('.')[0]}-{seed}-{key}"
        result = None if fresh else read_json(folder / "result.json")
        if result is None:
            shutil.rmtree(folder, ignore_errors=True)
            rows = exchange(folder, prepared, seed, epochs)
            environ = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
            subprocess.run([str(PYTHON), str(HERE / script), str(folder)], check=True, stdout=sys.stderr,
                           env=environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})
            result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
            for name, method in result["methods"].items():
                made = sp.load_npz(folder / f"{name}.npz")
                stages.save_cells(folder / f"cells-{name}.npz", cells_of(prepared, made, rows, method["labelled"]))
        for name, method in result["methods"].items():
            found[name] = {**method, "cells": folder / f"cells-{name}.npz", "versions": result["versions"],
                           "epochs": result["epochs"]}
    return found
