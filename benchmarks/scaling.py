"""How time and memory of training grow with cells and with genes, on simulated cells.

    python -m benchmarks.scaling [--cells 1000 10000 100000 1000000] [--genes 500 4000 8000] [--keep]

Each size is trained in a process of its own with the networks of the standard preset and a fixed, small number of
steps: what a step costs must not depend on the number of cells, and what is done once for each cell (encoding, reading)
must grow no faster than they do. Cells are drawn with replacement from 10,000 simulated ones (negative binomial, eight
types), since only their number matters here. Genes vary at 100,000 cells. Memory is the peak of what the process holds
of its own; files that are mapped, which the system may let go at any time, are told apart. Writes
benchmarks/results/scaling.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks import stages, tables
from scdiff_core import keys
from scdiff_core.config import FORMAT, Roles, TrainConfig
from scdiff_core.workspace import read_json, write_json

CELLS, GENES, STANDARD_GENES, GENES_AT = (1_000, 10_000, 100_000, 1_000_000), (500, 4000, 8000), 2000, 100_000
BASE, TYPES, PIECE = 10_000, 8, 20_000
STEPS = {"codec": 40, "diffusion": 120}
PHASES = ("open", "begin", "codec", "calibrate", "encode", "diffusion")


def base_cells(n_genes: int, seed: int = 0) -> tuple[sp.csr_matrix, np.ndarray]:
    """Return 10,000 simulated cells (about 17 % of their values are not zero) and their types."""
    rng = np.random.default_rng(seed)
    level = rng.normal(0, 1.6, n_genes) + rng.normal(0, 0.7, (TYPES, n_genes))
    share = np.exp(level) / np.exp(level).sum(1, keepdims=True)
    kind = rng.integers(TYPES, size=BASE)
    parts = []
    for start in range(0, BASE, 1000):
        depth = rng.lognormal(np.log(0.4 * n_genes), 0.4, (1000, 1))
        mean = share[kind[start:start + 1000]] * depth
        parts.append(sp.csr_matrix(rng.poisson(rng.gamma(2.0, mean / 2.0)).astype(np.float32)))
    return sp.vstack(parts, format="csr"), kind


def simulate(path: Path, n_cells: int, n_genes: int) -> int:
    """Write a prepared dataset of simulated cells piece by piece; returns the number of non-zero counts."""
    import anndata
    import h5py

    from scdiff_core.data.vocab import Vocab

    base, kind = base_cells(n_genes)
    rng = np.random.default_rng(1)
    rows = rng.integers(BASE, size=n_cells)
    obs = pd.DataFrame({"cell_type": pd.Categorical.from_codes(kind[rows], [f"type {i}" for i in range(TYPES)]),
                        keys.SPLIT: pd.Categorical(np.where(rng.random(n_cells) < 0.7, keys.TRAIN, keys.TEST)),
                        keys.TOTAL_COUNTS: np.asarray(base.sum(1), np.float32).ravel()[rows]},
                       index=pd.RangeIndex(n_cells).astype(str))
    roles = Roles(cell_type="cell_type")
    meta = {"format": FORMAT, "values": keys.COUNTS, "roles": roles.model_dump(), "fingerprint": f"{n_cells}x{n_genes}",
            "vocab": Vocab.from_obs(obs, roles).to_dict()}
    space = rng.normal(size=(n_cells, 10)).astype(np.float32)
    var = pd.DataFrame({keys.PCA_MEAN: np.zeros(n_genes, np.float32)}, index=[f"G{i}" for i in range(n_genes)])
    path.mkdir(parents=True)
    axes = rng.normal(size=(n_genes, 10)).astype(np.float32)
    anndata.AnnData(sp.csr_matrix((n_cells, n_genes), dtype=np.float32), obs=obs, var=var, varm={keys.PCS: axes},
                    obsm={keys.PCA: space, keys.UMAP: space[:, :2]},
                    uns={keys.SCDIFF: json.dumps(meta)}).write_h5ad(path / "prepared.h5ad")
    starts = np.concatenate([[0], np.cumsum(np.diff(base.indptr)[rows], dtype=np.int64)])
    with h5py.File(path / "prepared.h5ad", "r+") as file:
        group = file["X"]
        for name, kind_of in (("data", np.float32), ("indices", np.int32)):
            del group[name]
            group.create_dataset(name, (int(starts[-1]),), kind_of, chunks=(min(1 << 20, int(starts[-1])),))
        del group["indptr"]
        group.create_dataset("indptr", data=starts)
        for first in range(0, n_cells, PIECE):
            part = base[rows[first:first + PIECE]]
            for name in ("data", "indices"):
                group[name][starts[first]:starts[first] + part.nnz] = getattr(part, name)
    return int(starts[-1])


class Memory:
    """The peak of a process's memory, looked at every few milliseconds: its own, and with mapped files (MB)."""

    def __init__(self) -> None:
        self.own = self.whole = 0.0
        self.on = True
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def _look(self) -> None:
        while self.on:
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("RssAnon"):
                    self.own = max(self.own, int(line.split()[1]) / 1000)
                elif line.startswith("VmRSS"):
                    self.whole = max(self.whole, int(line.split()[1]) / 1000)
            time.sleep(0.01)

    def end(self) -> dict[str, float]:
        """Stop looking; returns the peaks."""
        self.on = False
        self.thread.join()
        return {"own_mb": self.own, "with_files_mb": self.whole}


def measure(workspace: Path, name: str) -> dict[str, Any]:
    """Train a few steps on a prepared dataset in this process; returns CPU seconds by part, and the memory."""
    import torch

    from scdiff_core.data.prepared import MAPPED_FROM, Prepared
    from scdiff_core.engine.presets import preset
    from scdiff_core.engine.train import Training

    torch.set_num_threads(1)
    codec, diffusion = preset("standard")
    torch.ones(1).add(1)
    memory, seconds, clock = Memory(), dict.fromkeys(PHASES, 0.0), [time.process_time()]

    def lap(part: str) -> None:
        now = time.process_time()
        seconds[part] += now - clock[0]
        clock[0] = now

    prepared = Prepared.open(workspace / "datasets" / name)
    lap("open")
    config = TrainConfig(dataset=name, fingerprint=prepared.fingerprint, device="cpu", threads=1,
                         codec=codec.model_copy(update={"steps": STEPS["codec"]}),
                         diffusion=diffusion.model_copy(update={"steps": STEPS["diffusion"]}))
    training = Training(prepared, config)
    lap("begin")
    for part in ("codec", "calibrate", "diffusion"):
        phase = training.phase(part)
        phase.begin()
        lap("begin" if part == "codec" else "encode" if part == "diffusion" else "calibrate")
        while not phase.finished:
            loss = phase.advance()
        float(loss)
        lap(part)
    return {"seconds": seconds, **memory.end(), "n_train": len(training.rows), "nnz": int(prepared.counts.nnz),
            "mapped": int(prepared.counts.nnz) >= MAPPED_FROM}


def size(folder: Path, n_cells: int, n_genes: int) -> dict[str, Any]:
    """Simulate, and measure in a fresh process."""
    name = f"sim-{n_cells}-{n_genes}"
    began = time.monotonic()
    if not (folder / "datasets" / name).exists():
        simulate(folder / "datasets" / name, n_cells, n_genes)
    stages.say(f"{name}: simulated in {time.monotonic() - began:.0f} s")
    done = subprocess.run([sys.executable, "-m", "benchmarks.scaling", "--measure", str(folder), name],
                          stdout=subprocess.PIPE, text=True, check=True, cwd=stages.ROOT)
    result = {"n_cells": n_cells, "n_genes": n_genes, **json.loads(done.stdout.splitlines()[-1])}
    stages.say(f"{name}: {json.dumps(result)}")
    return result


def once(row: dict[str, Any]) -> float:
    """Return the CPU seconds of what is done once for each cell: all but the steps."""
    return sum(v for k, v in row["seconds"].items() if k not in STEPS)


def exponent(rows: list[dict[str, Any]], values: list[float]) -> float:
    """Return the slope of the logarithm of values against that of the number of cells: 1 is proportional."""
    return float(np.polyfit(np.log([r["n_cells"] for r in rows]), np.log(values), 1)[0])


def table(results: list[dict[str, Any]]) -> str:
    """Return the tables of cells and of genes as markdown, with how they grow."""
    from scdiff_core.engine.presets import preset

    codec, diffusion = preset("standard")
    head = ["cells", "genes", "values that are not zero", "codec step, ms", "diffusion step, ms",
            "once for all cells, CPU s", "whole standard training, CPU min", "memory, MB", "with mapped files, MB"]
    lines = [head]
    for r in sorted(results, key=lambda r: (r["n_genes"] != STANDARD_GENES, r["n_genes"], r["n_cells"])):
        steps = [r["seconds"][k] / STEPS[k] for k in STEPS]
        whole = once(r) + steps[0] * codec.steps + steps[1] * diffusion.steps
        lines.append([f"{r['n_cells']:,}", f"{r['n_genes']:,}", f"{r['nnz']:,}", *(f"{1000 * s:.0f}" for s in steps),
                      f"{once(r):.1f}", f"{whole / 60:.1f}", f"{r['own_mb']:,.0f}", f"{r['with_files_mb']:,.0f}"])
    words = [tables.markdown(lines)]
    grown = sorted((r for r in results if r["n_genes"] == STANDARD_GENES), key=lambda r: r["n_cells"])
    if len(grown) > 1:
        last = [r for r in grown if r["n_cells"] >= 10_000] if len(grown) > 2 else grown
        per_step = [sum(r["seconds"][k] for k in STEPS) for r in grown]
        words.append(
            f"From {last[0]['n_cells']:,} to {last[-1]['n_cells']:,} cells, as a power of their number: what is done "
            f"once for all cells {exponent(last, [once(r) for r in last]):.2f}, memory "
            f"{exponent(last, [r['own_mb'] for r in last]):.2f}; the steps, from {grown[0]['n_cells']:,} on, "
            f"{exponent(grown, per_step):.2f}. The whole training is the steps of the standard preset and what is done "
            "once.")
    return "\n\n".join(words)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="How training grows with cells and genes.")
    parser.add_argument("--cells", type=int, nargs="*", default=list(CELLS))
    parser.add_argument("--genes", type=int, nargs="*", default=list(GENES), help=f"each with {GENES_AT:,} cells")
    parser.add_argument("--add", action="store_true", help="keep the other sizes of the results file")
    parser.add_argument("--folder", type=Path, help="where the simulated cells are kept; else nowhere")
    parser.add_argument("--results", type=Path, default=stages.RESULTS)
    parser.add_argument("--quick", action="store_true", help="two small sizes, to try it")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(measure(Path(asked.measure[0]), asked.measure[1])))
        return
    plan = [(n, STANDARD_GENES) for n in asked.cells] + [(GENES_AT, g) for g in asked.genes]
    if asked.quick:
        plan = [(1000, STANDARD_GENES), (10_000, STANDARD_GENES)]
    path = asked.results / "scaling.json"
    known = {(r["n_cells"], r["n_genes"]): r for r in (read_json(path, []) if asked.add else [])}
    for n_cells, n_genes in plan:
        with tempfile.TemporaryDirectory() as folder:
            known[n_cells, n_genes] = size(asked.folder or Path(folder), n_cells, n_genes)
        write_json(path, list(known.values()))
    print(f"## Scaling: simulated cells, the networks of the standard preset\n\n{table(list(known.values()))}")


if __name__ == "__main__":
    main()
