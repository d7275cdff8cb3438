"""How true the generated cells are: prepare, train, generate and score, for each preset and seed.

    python benchmarks/quality.py [--data PATH] [--seeds 0 1 2] [--presets quick standard]

Prints a markdown table of each figure beside its floor (real training cells against real held-out cells)
and its baselines, and writes benchmarks/results/quality-<dataset>.json. The data is PBMC3k of the folder
that SCDIFF_TEST_DATA names (default ../shared/data) unless --data says otherwise. CPU seconds are those of
the one thread that trains.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch: CPU seconds, not cores, are compared

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from scdiff_core import keys  # noqa: E402
from scdiff_core.config import GenerateConfig, PrepareConfig, TrainConfig, validate  # noqa: E402
from scdiff_core.workspace import JobDir, Workspace, write_json  # noqa: E402

DATA = Path(os.environ.get("SCDIFF_TEST_DATA", ROOT.parent / "shared" / "data"))
RESULTS = ROOT / "benchmarks" / "results"


def prepare(workspace: Workspace, source: Path) -> tuple[JobDir, float]:
    """Prepare a source as anybody would, with everything detected; returns it and the CPU seconds."""
    from scdiff_core.data import prepare as module

    config = PrepareConfig(source=str(source), name=source.name.split(".")[0])
    job = workspace.create(config, config.name)
    began = time.process_time()
    module.prepare(config, job, lambda words, fraction: None)
    return job, time.process_time() - began


def train(workspace: Workspace, dataset: JobDir, preset_name: str, seed: int) -> tuple[JobDir, float]:
    """Train one run with a preset as it is; returns it and the CPU seconds, snapshots and checkpoints included."""
    from scdiff_core.data.prepared import Prepared
    from scdiff_core.engine.presets import preset
    from scdiff_core.engine.train import train as run

    prepared = Prepared.open(dataset)
    codec, diffusion = preset(preset_name, prepared.values)
    config = validate(TrainConfig, {
        "dataset": dataset.id, "fingerprint": prepared.fingerprint, "preset": preset_name, "codec": codec,
        "diffusion": diffusion, "seed": seed, "device": "cpu", "threads": 1}, "The benchmark")
    job = workspace.create(config, f"{preset_name}-{seed}")
    began = time.process_time()
    for event in run(job, prepared, config, resume=False):
        if event.loss_test is not None:
            print(f"\r{job.id}: {event.phase} {event.step}/{event.total}  ", end="", file=sys.stderr)
    print(file=sys.stderr)
    return job, time.process_time() - began


def score(dataset: JobDir, run: JobDir, seed: int) -> tuple[dict[str, Any], float]:
    """Generate as many cells as are held out and score them; returns the report and the CPU seconds for 1,000."""
    from scdiff_core.analysis.report_card import report_card
    from scdiff_core.data.prepared import Prepared
    from scdiff_core.engine.generate import generate
    from scdiff_core.engine.model import Model
    from scdiff_core.engine.outputs import generated_cells, real_cells

    prepared = Prepared.open(dataset)
    model = Model.load(run, "cpu")

    def cells(n: int) -> Any:
        steps = generate(model, GenerateConfig(run=run.id, n_cells=n, seed=seed))
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value

    cells(16)
    began = time.process_time()
    cells(1000)
    seconds = time.process_time() - began
    train_rows, test_rows = prepared.rows(keys.TRAIN), prepared.rows(keys.TEST)
    report = report_card(generated_cells(cells(len(test_rows)), prepared), real_cells(prepared, train_rows),
                         real_cells(prepared, test_rows), values=prepared.values, seed=seed, thorough=True)
    return report.to_dict(), seconds


def table(results: list[dict[str, Any]]) -> str:
    """Return the mean over seeds of each figure of each preset as a markdown table."""
    names = list(dict.fromkeys(r["preset"] for r in results))
    rows = [row["key"] for row in results[0]["report"]["rows"]]
    titles = {row["key"]: row["title"] for row in results[0]["report"]["rows"]}
    baselines = list(dict.fromkeys(b for r in results for row in r["report"]["rows"] for b in row["baselines"]))

    def mean(values: list[float | None]) -> str:
        known = [v for v in values if v is not None]
        return f"{np.mean(known):.3f}" if known else ""

    def figures(key: str, preset: str | None = None) -> list[dict[str, Any]]:
        return [row for r in results if preset in (None, r["preset"]) for row in r["report"]["rows"]
                if row["key"] == key]

    lines = [["figure", *names, "floor", *baselines]]
    for key in rows:
        lines.append([titles[key], *(mean([row["value"] for row in figures(key, n)]) for n in names),
                      mean([row["floor"] for row in figures(key)]),
                      *(mean([row["baselines"].get(b) for row in figures(key)]) for b in baselines)])
    for title, key in (("training, CPU s", "train_s"), ("1,000 cells, CPU s", "generate_s")):
        lines.append([title, *(f"{np.mean([r[key] for r in results if r['preset'] == n]):.1f}" for n in names),
                      *[""] * (1 + len(baselines))])
    text = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([text[0], "|" + "---|" * len(lines[0]), *text[1:]])


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="How true the generated cells are.")
    parser.add_argument("--data", type=Path, default=DATA / "pbmc3k_counts.h5ad")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--presets", nargs="+", default=["quick", "standard"])
    asked = parser.parse_args()
    if not asked.data.exists():
        sys.exit(f"There is no file {asked.data}. Give one with --data, or set SCDIFF_TEST_DATA.")
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(folder)
        dataset, seconds = prepare(workspace, asked.data)
        print(f"prepared {dataset.id} in {seconds:.1f} CPU s", file=sys.stderr)
        for preset in asked.presets:
            for seed in asked.seeds:
                run, train_s = train(workspace, dataset, preset, seed)
                report, generate_s = score(dataset, run, seed)
                results.append({"dataset": dataset.id, "preset": preset, "seed": seed, "report": report,
                                "prepare_s": round(seconds, 2), "train_s": round(train_s, 2),
                                "generate_s": round(generate_s, 2)})
    write_json(RESULTS / f"quality-{results[0]['dataset']}.json", results)
    print(f"## {results[0]['dataset']}, mean of {len(asked.seeds)} seeds\n\n{table(results)}")


if __name__ == "__main__":
    main()
