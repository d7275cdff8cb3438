"""The stages of the quality benchmark: prepare, train, generate and score, each taken up again where it was left.

What a stage makes lies in `.bench/` (or `SCDIFF_BENCH`) under a key of everything it follows from: the data's
bytes, the settings, the seed, and the source of the parts of scdiff_core it uses. Nothing is made twice, and
nothing that has become stale is used. CPU seconds are those of the one thread that does the work.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch: CPU seconds, not cores, are compared

import numpy as np
import scipy.sparse as sp

from scdiff_core import keys
from scdiff_core.config import GenerateConfig, PrepareConfig, TrainConfig, override, validate
from scdiff_core.workspace import JobDir, Workspace, atomic_write, read_json, write_json

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("SCDIFF_TEST_DATA", ROOT.parent / "shared" / "data"))
CACHE = Path(os.environ.get("SCDIFF_BENCH", ROOT / ".bench"))
RESULTS = ROOT / "benchmarks" / "results"
DATASETS = ("pbmc3k_counts.h5ad", "kang_ifnb_counts.h5ad", "pancreas_e15_timecourse.h5ad")

# what a trained model and its cells follow from, and what their report does
LEARN = ("keys.py", "data", "diffusion", "nn", "engine")
LEARN_NOT = ("presets.py", "preview.py", "worker.py", "outputs.py", "run_job.py", "estimate.py", "report", "design",
             "realism", "side_effects", "latent_edit", "custom", "objective", "denoised", "routes", "twisted")
JUDGE = ("keys.py", "analysis", "engine/outputs.py")


def digest(*parts: Any) -> str:
    """Return 12 hex digits of plain values, the same in every process."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:12]


def source_hash(parts: Iterable[str], without: Iterable[str] = ()) -> str:
    """Return 12 hex digits of the Python source below these parts of scdiff_core, without file names that begin so."""
    package = ROOT / "scdiff_core"
    files = sorted(f for part in parts for f in ([package / part] if part.endswith(".py")
                                                 else (package / part).rglob("*.py")))
    sha = hashlib.sha256()
    for file in files:
        if not file.name.startswith(tuple(without)):
            sha.update(f"{file.relative_to(package).as_posix()}\0".encode() + file.read_bytes() + b"\0")
    return sha.hexdigest()[:12]


def learn_hash() -> str:
    """Return what code a trained model follows from."""
    return source_hash(LEARN, LEARN_NOT)


def judge_hash() -> str:
    """Return what code a report follows from."""
    return source_hash(JUDGE)


def say(words: str, end: str = "\n") -> None:
    """Tell the progress on stderr; stdout is for tables."""
    print(words, end=end, file=sys.stderr, flush=True)


def paths_of(names: Iterable[str]) -> list[Path]:
    """Return the files that exist, of paths or of names in the folder of real data; says which are missing."""
    found = []
    for name in names:
        path = next((p for p in (Path(name), DATA / name, DATA / f"{name}.h5ad") if p.is_file()), None)
        if path is None:
            say(f"There is no file {name} here or in {DATA}: not measured. Set SCDIFF_TEST_DATA, or give a path.")
        else:
            found.append(path)
    return found


def prepare(workspace: Workspace, source: Path, fresh: bool = False) -> tuple[JobDir, float]:
    """Prepare a source as anybody would, with everything detected; returns it and the CPU seconds."""
    name = source.name.split(".")[0]
    asked = PrepareConfig(source=str(source), name=name)
    key = digest(hashlib.sha256(source.read_bytes()).hexdigest(), asked.model_dump(mode="json", exclude={"source"}),
                 source_hash(("keys.py", "data")))
    config = asked.model_copy(update={"name": f"{name}-{key}"})
    return prepared(workspace, config, fresh)


def prepared(workspace: Workspace, config: PrepareConfig, fresh: bool = False) -> tuple[JobDir, float]:
    """Return the dataset of that name, prepared unless it is there, and the CPU seconds that it took."""
    job, done = _begin(workspace, config, config.name, fresh)
    if done is None:
        from scdiff_core.data import prepare as module

        began = time.process_time()
        module.prepare(config, job, lambda words, fraction: None)
        done = _end(job, {"seconds": time.process_time() - began})
    return job, float(done.get("seconds", 0.0))


def train(workspace: Workspace, dataset: JobDir, preset_name: str, seed: int, settings: tuple[str, ...] = (),
          fresh: bool = False) -> tuple[JobDir, float]:
    """Train one run with a preset as it is, or with `codec.*` and `diffusion.*` settings of one's own.

    Returns it and the CPU seconds, snapshots and checkpoints included.
    """
    from scdiff_core.data.prepared import Prepared

    cells = Prepared.open(dataset)
    config = training(cells, dataset, preset_name, seed, settings)
    key = digest(config.model_dump(mode="json", exclude={"name", "preset"}), learn_hash())
    return learn(workspace, cells, config, f"{preset_name}-{seed}-{key}", fresh)


def training(cells: Any, dataset: JobDir, preset_name: str, seed: int, settings: tuple[str, ...] = (),
             task: str = "generate") -> TrainConfig:
    """Return how a preset is trained on one thread of the processor, with settings of one's own."""
    from scdiff_core.engine.presets import preset

    codec, diffusion = preset(preset_name, cells.values, task)
    return override(validate(TrainConfig, {
        "dataset": dataset.id, "fingerprint": cells.fingerprint, "task": task, "preset": preset_name, "codec": codec,
        "diffusion": diffusion, "seed": seed, "device": "cpu", "threads": 1}, "The benchmark"), settings)


def learn(workspace: Workspace, cells: Any, config: TrainConfig, name: str, fresh: bool = False,
          ) -> tuple[JobDir, float]:
    """Return the run of that name, trained unless it is there, and the CPU seconds that it took."""
    job, done = _begin(workspace, config, name, fresh)
    if done is None:
        from scdiff_core.engine.train import train as run

        began = time.process_time()
        for event in run(job, cells, config, resume=False):
            if event.loss_test is not None:
                say(f"\r{job.id}: {event.phase} {event.step}/{event.total}  ", end="")
        say("")
        done = _end(job, {"seconds": time.process_time() - began})
    return job, float(done["seconds"])


def _begin(workspace: Workspace, config: Any, name: str, fresh: bool) -> tuple[JobDir, dict[str, Any] | None]:
    """Return a job's directory and what a finished stage noted there; a new one in place of one that was cut off."""
    path = workspace.folder(config.kind) / name
    done = read_json(path / "bench.json") if not fresh else None
    if done is None:
        shutil.rmtree(path, ignore_errors=True)
        return workspace.create(config, name), None
    return JobDir(path, config.kind), done


def _end(job: JobDir, done: dict[str, Any]) -> dict[str, Any]:
    write_json(job.path / "bench.json", done)
    return done


def generate(dataset: JobDir, run: JobDir, seed: int, sampling: dict[str, Any] | None = None) -> tuple[Path, float]:
    """Generate as many cells as are held out; returns their file and the CPU seconds for 1,000 in a warm process."""
    asked = GenerateConfig(run=run.id, seed=seed, **(sampling or {}))
    path = run.path / "bench" / f"cells-{digest(asked.model_dump(mode='json', exclude={'run'}), learn_hash())}.npz"
    done = read_json(path.with_suffix(".json"))
    if done is None:
        from scdiff_core.data.prepared import Prepared
        from scdiff_core.engine.cards import generated_cells
        from scdiff_core.engine.generate import generate as steps_of
        from scdiff_core.engine.model import Model

        prepared = Prepared.open(dataset)
        model = Model.load(run, "cpu")

        def cells(n: int) -> Any:
            steps = steps_of(model, asked.model_copy(update={"n_cells": n}))
            while True:
                try:
                    next(steps)
                except StopIteration as end:
                    return end.value

        cells(16)
        began = time.process_time()
        cells(1000)
        seconds = time.process_time() - began
        save_cells(path, generated_cells(cells(len(prepared.rows(keys.TEST))), prepared))
        done = {"seconds": seconds}
        write_json(path.with_suffix(".json"), done)
    return path, float(done["seconds"])


def save_cells(path: Path, cells: Any) -> None:
    """Write cells as the report card takes them to one .npz."""
    arrays = {"total_counts": np.asarray(cells.total_counts, np.float32)}
    if cells.labels is not None:
        arrays["labels"] = np.asarray(cells.labels, dtype=str)
    for name in ("counts", "log1p"):
        matrix = sp.csr_matrix(getattr(cells, name), dtype=np.float32)
        arrays |= {f"{name}_{part}": getattr(matrix, part) for part in ("data", "indices", "indptr")}
        arrays[f"{name}_shape"] = np.array(matrix.shape)

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as handle:
            np.savez_compressed(handle, **arrays)

    atomic_write(path, write)


def load_cells(path: Path) -> Any:
    """Return the cells that `save_cells` wrote."""
    from scdiff_core.analysis.cells import Cells

    with np.load(path, allow_pickle=False) as arrays:
        matrices = [sp.csr_matrix(tuple(arrays[f"{name}_{part}"] for part in ("data", "indices", "indptr")),
                                  shape=tuple(arrays[f"{name}_shape"])) for name in ("counts", "log1p")]
        return Cells(*matrices, arrays["total_counts"], arrays.get("labels"))


def score(dataset: JobDir, cells: Path, seed: int, extra: Callable[..., dict[str, Any]] | None = None,
          fresh: bool = False, thorough: bool = True) -> dict[str, Any]:
    """Return the report card of the cells in a file, against the held-out cells of the dataset."""
    path = cells.with_name(f"report-{digest(cells.stem, seed, judge_hash(), *([] if thorough else ['quick']))}.json")
    report: dict[str, Any] | None = None if fresh else read_json(path)
    if report is None:
        from scdiff_core.analysis.report_card import report_card
        from scdiff_core.data.prepared import Prepared
        from scdiff_core.engine.cards import real_cells

        prepared = Prepared.open(dataset)
        made = load_cells(cells)
        real = [real_cells(prepared, prepared.rows(split)) for split in (keys.TRAIN, keys.TEST)]
        began = time.process_time()
        report = report_card(made, *real, values=prepared.values, seed=seed, thorough=thorough).to_dict()
        report["extra"] = extra(made, *real, seed) if extra else {}
        report["seconds"] = round(time.process_time() - began, 1)
        write_json(path, report)
    return report
