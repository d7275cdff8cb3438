"""How long a screen takes: 100 perturbations with 200 cells each, by the command, from its start to its end.

    python -m benchmarks.screen [--seeds 0 1 2] [--parts norman demo] [--preset quick] [--quick]

One model a seed, of Norman's k562 cells (all of them seen) and of `demo:perturb`; the list is the first 100 of all
pairs of the single perturbations. The clock and the CPU seconds are of the whole command, imports and writing among
them, with as many threads as it takes for itself. Writes results/screen.json and screen.md.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

GIVEN = os.environ.get("OMP_NUM_THREADS")  # before stages sets it for its own process

import numpy as np  # noqa: E402

from benchmarks import perturb_data as data  # noqa: E402
from benchmarks import perturb_methods, stages, tables  # noqa: E402
from scdiff_core.workspace import JobDir, Workspace, write_json, write_text  # noqa: E402

PARTS = ("norman", "demo")
N, CELLS, MUST = 100, 200, 60.0  # perturbations, cells of each, s


def measure(workspace: Workspace, part: str, seed: int, asked: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds of one screen, and what it was of."""
    case = data.norman() if part == "norman" else data.demo(seed)
    task = data.prepare(workspace, case, None)
    more = ("codec.steps=40", "diffusion.steps=20") if asked.quick else ()
    job = perturb_methods.fit(workspace, task, seed, asked.preset, more).job
    assert job is not None
    singles = [p for p in task.bench.table.singles() if p.label != "stimulus"]
    names = ["+".join((a.label, b.label)) for a, b in itertools.combinations(singles, 2)][:5 if asked.quick else N]
    seconds, cpu = timed(job, names)
    return {"part": part, "seed": seed, "n": len(names), "cells": CELLS, "genes": len(task.prepared.genes),
            "seconds": seconds, "cpu_s": cpu, "load": os.getloadavg()[0]}


def timed(job: JobDir, names: list[str]) -> tuple[float, float]:
    """Run the command on a list; returns its seconds by the clock and those of the CPU."""
    env = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    env |= {"OMP_NUM_THREADS": GIVEN} if GIVEN else {}
    with tempfile.TemporaryDirectory() as folder:
        listed, out = Path(folder) / "list.txt", Path(folder) / "ranking.csv"
        listed.write_text("\n".join(names), encoding="utf-8")
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "scdiff_core", "screen", str(job.path), "--perturbations", str(listed),
             "--cells", str(CELLS), "--out", str(out), "--workspace", str(stages.CACHE)],
            check=False, capture_output=True, text=True, env=env, cwd=stages.ROOT)
        seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode or len(out.read_text(encoding="utf-8").splitlines()) != len(names) + 1:
            raise SystemExit(f"The screen failed.\n{done.stderr[-2000:]}")
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def text(rows: list[dict[str, Any]], preset: str) -> str:
    """Return the table, and whether the must holds."""
    lines = [["data", "genes", "models", "seconds", "CPU seconds", f"must {MUST:g} s"]]
    for part in dict.fromkeys(r["part"] for r in rows):
        own = [r for r in rows if r["part"] == part]
        most = max(r["seconds"] for r in own)
        lines.append([part, f"{own[0]['genes']:,}", str(len(own)), _spread([r["seconds"] for r in own]),
                      _spread([r["cpu_s"] for r in own]), "holds" if most <= MUST else f"fails: {most:.0f} s"])
    return (f"## A screen\n\n{rows[0]['n']} perturbations (pairs), {rows[0]['cells']} cells of each, preset {preset}, "
            "on two cores: the whole command, mean ± standard deviation over models.\n\n" + tables.markdown(lines))


def _spread(values: list[float]) -> str:
    return f"{np.mean(values):.1f} ± {np.std(values):.1f}"


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="How long a screen takes.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--preset", default="quick", help="of the models, as in `train`")
    parser.add_argument("--results", type=Path, default=stages.RESULTS, help="the folder for results")
    parser.add_argument("--quick", action="store_true", help="one small model: only to try it")
    asked = parser.parse_args()
    if asked.quick:
        asked.seeds, asked.parts = asked.seeds[:1], ["demo"]
    if not stages.paths_of([data.NORMAN]):
        asked.parts = [p for p in asked.parts if p != "norman"]
    workspace, rows = Workspace(stages.CACHE), []
    for part, seed in itertools.product(asked.parts, asked.seeds):
        rows.append(measure(workspace, part, seed, asked))
        write_json(asked.results / "screen.json", {"preset": asked.preset, "rows": rows})
    words = text(rows, asked.preset)
    write_text(asked.results / "screen.md", words + "\n")
    print(words)


if __name__ == "__main__":
    main()
