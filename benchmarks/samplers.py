"""Which sampler, and how many steps: quality against evaluations of the denoiser, on one trained run.

    python -m benchmarks.samplers [--workspace DIR --run ID] [--samplers dpm heun ...] [--steps 4 6 ...] [--seeds 0 1 2]

Without a run, PBMC3k is prepared and a standard one trained (or taken up, see `stages`). Each row holds as many
generated cells as are held out against those: mean and standard deviation over seeds of generation. The floor puts
real training cells in their place. Forests have 60 trees and three folds, so their figures are not those of the
quality table. `off the flow` is how far (root mean square, in spreads of a latent) a cell ends from where the exact
flow takes it from the same noise; samplers that put in fresh noise have none. Writes benchmarks/results/samplers.json.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import stages, student, tables
from scdiff_core import keys
from scdiff_core.analysis import metrics
from scdiff_core.config import GenerateConfig
from scdiff_core.data.prepared import Prepared, to_log1p
from scdiff_core.diffusion import sampler
from scdiff_core.diffusion.denoiser import Preconditioned
from scdiff_core.diffusion.schedule import Karras, Schedule
from scdiff_core.engine.batches import Cells
from scdiff_core.engine.calibrate import encode
from scdiff_core.engine.generate import DECODE, conditions, sparse
from scdiff_core.engine.model import Model
from scdiff_core.nn.condition import Condition
from scdiff_core.workspace import Workspace, read_json, write_json

STEPS = (4, 6, 8, 10, 14, 20, 30, 40)
TREES, FOLDS = 60, 3
EXACT = 40  # steps of the Runge-Kutta method that stand for the exact flow
KARRAS = ", Karras grid"  # after a sampler's name: on the noise levels of Karras et al. 2022, 0.02 to 40
NAMES = ["dpm", f"dpm{KARRAS}", "heun", f"heun{KARRAS}", "ode", "sde", "ddim", "ddpm", "student"]
FIGURES = {"rf_genes": "RF AUC, genes", "rf_pca": "RF AUC, PCA-50", "mmd": "MMD × 1000", "energy": "energy, PCA-30",
           "energy_latent": "energy, latents", "labels": "label agreement", "off": "off the flow"}


@dataclass
class Bench:
    """One model, the held-out cells it is held against, and what is reused from row to row."""

    model: Model
    prepared: Prepared

    def __post_init__(self) -> None:
        train, test = (self.prepared.rows(s) for s in (keys.TRAIN, keys.TEST))
        self.train, self.n = train, len(test)
        self.real = metrics.dense(self.prepared.log1p(test))
        self.latents = {name: encode(self.model.codec, Cells(self.prepared, rows, self.model.device))
                        for name, rows in ((keys.TRAIN, train), (keys.TEST, test))}
        labels = self.prepared.labels(keys.CELL_TYPE)
        self.labels, known = labels, labels[train] != ""
        self.classify = metrics.label_classifier(self.prepared.log1p(train[known]), labels[train[known]])
        self.column = next(i for i, c in enumerate(self.model.vocab.categorical) if c.role == keys.CELL_TYPE)
        self.names = np.array([*self.model.vocab.categorical[self.column].values, ""])
        self.exact: dict[int, Tensor] = {}

    def held_out(self, seed: int) -> np.ndarray:
        """Return latents of the held-out cells, drawn anew for each seed."""
        return self.latents[keys.TEST].sample(torch.arange(self.n), torch.Generator().manual_seed(seed)).numpy()

    def score(self, log1p: Any, latent: np.ndarray, labels: np.ndarray, seed: int) -> dict[str, float]:
        """Return the figures of cells (log1p [n, G], latents [n, D], labels [n]) against the held-out ones."""
        x = metrics.dense(log1p)
        a, b = metrics.joint_pca(x, self.real, 50, seed)
        scale = latent.std(0)
        said = {k: v[0] for k, v in metrics.mmd_and_energy(a[:, :30], b[:, :30], seed).items()}
        return {"rf_genes": metrics.rf_auc(self.real, x, seed, trees=TREES, folds=FOLDS),
                "rf_pca": metrics.rf_auc(b, a, seed, trees=TREES, folds=FOLDS), **said,
                "energy_latent": metrics.energy_distance(latent / scale, self.held_out(seed) / scale),
                "labels": metrics.label_agreement(self.classify, x[labels != ""], labels[labels != ""])}

    def floor(self, seed: int) -> dict[str, float]:
        """Return the figures of real training cells."""
        rows = metrics.subsample(len(self.train), self.n, np.random.default_rng(seed))
        latent = self.latents[keys.TRAIN].sample(torch.from_numpy(rows), torch.Generator().manual_seed(seed + 99))
        return self.score(self.prepared.log1p(self.train[rows]), latent.numpy(), self.labels[self.train[rows]], seed)

    def ask(self, seed: int) -> tuple[Tensor, Condition, np.ndarray, torch.Generator]:
        """Return the starting noise, the conditions, their labels and the generator of a seed."""
        generator = torch.Generator().manual_seed(seed)
        config = GenerateConfig(run=self.model.run, n_cells=self.n, seed=seed)
        codes, conts = conditions(self.model, config, generator)
        sizes = tuple(len(c.values) for c in self.model.vocab.categorical)
        start = sampler.make("dpm", self.model.denoiser, self.model.denoiser.schedule, 1).start(
            self.n, self.model.codec.n_dims, generator)
        return (start, Condition(torch.from_numpy(codes), torch.from_numpy(conts), sizes),
                self.names[codes[:, self.column]], generator)

    @torch.no_grad()
    def row(self, walk: student.Walk, seed: int, follows: bool) -> dict[str, float]:
        """Return the figures of cells that `walk` makes of noise, and what they cost.

        `follows` says whether it means to follow the exact flow.
        """
        start, condition, labels, generator = self.ask(seed)
        if seed not in self.exact:
            schedule = self.model.denoiser.schedule
            self.exact[seed] = sampler.FlowODE(self.model.denoiser, schedule, EXACT).sample(start, condition, generator)
            start, condition, labels, generator = self.ask(seed)
        began = time.process_time()
        z = walk(start, condition, generator)
        parts = [self.model.codec.sample(z[i:i + DECODE], generator) for i in range(0, self.n, DECODE)]
        counts = sparse(torch.cat([p[0] for p in parts]).numpy())
        log1p = to_log1p(counts, torch.cat([p[1] for p in parts]).numpy())
        seconds = time.process_time() - began
        off = {"off": float(((z - self.exact[seed]) ** 2).mean().sqrt())} if follows else {}
        return {**self.score(log1p, z.numpy(), labels, seed), **off, "seconds": 1000 * seconds / self.n}


def average(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Return mean and standard deviation of each figure over seeds."""
    return {k: {"mean": float(np.mean([r[k] for r in rows])),
                "sd": float(np.std([r[k] for r in rows], ddof=min(1, len(rows) - 1)))} for k in rows[0]}


def table(results: dict[str, Any]) -> str:
    """Return the results as a markdown table, the floor last."""
    lines = [["sampler", "steps", "evaluations", *FIGURES.values(), "1,000 cells, CPU s"]]
    for row in results["rows"]:
        row = {**row, "mmd": {k: 1000 * v for k, v in row["mmd"].items()}}
        said = [f"{row[k]['mean']:.3f} ± {row[k]['sd']:.3f}" if k in row else ""
                for k in FIGURES]
        lines.append([row["sampler"], str(row["steps"] or ""), str(row["evaluations"] or ""), *said,
                      f"{row['seconds']['mean']:.2f}" if "seconds" in row else ""])
    return tables.markdown(lines)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="Quality against steps, for each sampler.")
    parser.add_argument("--workspace", type=Path, help="where --run lies")
    parser.add_argument("--run", help="a standard run on a dataset with cell types; default: PBMC3k, trained anew")
    parser.add_argument("--samplers", nargs="*", default=NAMES)
    parser.add_argument("--steps", type=int, nargs="+", default=list(STEPS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--add", action="store_true", help="keep the rows of other samplers in the results file")
    parser.add_argument("--results", type=Path, default=stages.RESULTS)
    parser.add_argument("--quick", action="store_true", help="one seed, few steps and a quick run, to try it")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    workspace = Workspace(asked.workspace or stages.CACHE)
    if asked.run:
        job = workspace.open("train", asked.run)
    else:
        dataset, _ = stages.prepare(workspace, stages.DATA / "pbmc3k_counts.h5ad")
        job, _ = stages.train(workspace, dataset, "quick" if asked.quick else "standard", 0)
    if asked.quick:
        asked.steps, asked.seeds = [4, 10], [0]
    bench = Bench(Model.load(job, "cpu"), Prepared.open(workspace.open("prepare", job.config().dataset)))
    rows = measured(bench, asked.samplers, asked.steps, asked.seeds)
    path = asked.results / "samplers.json"
    if asked.add:
        done = {(r["sampler"], r["steps"]) for r in rows}
        rows = [r for r in read_json(path, {"rows": []})["rows"] if (r["sampler"], r["steps"]) not in done] + rows
    order = {name: i for i, name in enumerate([*NAMES, "floor"])}
    rows.sort(key=lambda r: (order.get(r["sampler"], 99), r["steps"]))
    results = {"dataset": bench.prepared.name, "n_cells": bench.n, "seeds": asked.seeds, "trees": TREES,
               "folds": FOLDS, "rows": rows}
    write_json(path, results)
    print(f"## Samplers: {bench.prepared.name}, {bench.n} cells, {len(asked.seeds)} seeds\n\n{table(results)}")


def _from_other_noise(made: sampler.Sampler, schedule: Schedule, x: Tensor, condition: Condition,
                      generator: torch.Generator) -> Tensor:
    """Walk from noise that was drawn for another schedule."""
    spread = [torch.stack(s(torch.ones(()))).norm() for s in (made.schedule, schedule)]
    return made.sample(x * (spread[0] / spread[1]), condition, generator)


def measured(bench: Bench, names: list[str], steps: list[int], seeds: list[int]) -> list[dict[str, Any]]:
    """Return a row for each sampler and number of steps, and one for the floor."""
    plan: list[tuple[str, int, int, student.Walk, bool]] = []
    schedule = bench.model.denoiser.schedule
    for name in (n for n in names if n != "student"):
        kind = name.partition(KARRAS)[0]
        grid = schedule if kind == name else Karras()
        for k in steps:
            made = sampler.make(kind, Preconditioned(bench.model.denoiser.network, grid), grid, k)
            walk = partial(_from_other_noise, made, schedule) if grid is not schedule else made.sample
            plan.append((name, k, made.evaluations, walk, kind not in ("ddpm", "sde")))
    if "student" in names:
        taught, seconds = student.teach(bench.model)
        stages.say(f"the student was taught in {seconds:.0f} CPU s")
        plan += [("student", k, k, student.walk(taught, schedule, k), True) for k in (1, 2, 4)]
    rows: list[dict[str, Any]] = [{"sampler": "floor", "steps": 0, "evaluations": 0,
                                   **average([bench.floor(s) for s in seeds])}]
    for name, k, evaluations, walk, follows in plan:
        stages.say(f"\r{name} {k}   ", end="")
        rows.append({"sampler": name, "steps": k, "evaluations": evaluations,
                     **average([bench.row(walk, s, follows) for s in seeds])})
    stages.say("")
    return rows


if __name__ == "__main__":
    main()
