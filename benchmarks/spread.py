"""Which half earned what: cells moved by the predicted mean beside the set diffusion, its losses, and pre-training.

    python -m benchmarks.spread [--seed 0] [--preset quick] [--folds norman kang]

The folds: the pairs of Norman k562 with both members seen, and the stimulated CD14 monocytes of Kang. Every row is a
training of its own; the mean is the same kernel ridge. Pre-trained runs begin with the codec of a run on other cells
with the same genes, without labels: the McFaline lines for Norman. Prints a markdown table and writes it to
benchmarks/results/spread.md. What has been trained is taken from `.bench/` (see stages.py).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch: CPU seconds, not cores, are compared

import numpy as np

from benchmarks import perturb_data as data
from benchmarks import perturb_methods, stages
from scdiff_core.analysis.perturb import scores
from scdiff_core.analysis.perturb.baselines import LATENT
from scdiff_core.workspace import Workspace

VARIANTS = {
    "moved controls": ("perturb.spread=moved",),
    "set diffusion": ("perturb.spread=diffusion",),
    "set diffusion, energy loss": ("perturb.spread=diffusion", "perturb.distribution_loss=energy",
                                   "perturb.distribution_weight=1"),
    "set diffusion, MMD loss": ("perturb.spread=diffusion", "perturb.distribution_loss=mmd",
                                "perturb.distribution_weight=1"),
    "what users get": ()}
SHOWN = ("e_distance", "mmd", "variance_ratio", "pearson_cells")
NAMES = ("E-distance", "MMD", "variance ratio", "Pearson of change, of the cells")


def unlabelled(workspace: Workspace, asked: argparse.Namespace) -> Path:
    """Return a run whose codec has seen the McFaline lines alone, without their labels."""
    job = data.prepare(workspace, data.mcfaline(), None).dataset
    return stages.train(workspace, job, asked.preset, asked.seed, ("diffusion.steps=20",))[0].path  # not taken over


def measure(task: data.Task, fitted: perturb_methods.Fitted, method: str) -> list[float]:
    """Return the mean scores of a method over what a fold asks for."""
    found = []
    for condition in task.fold.asked:
        guess = fitted.answers([method])[method](condition, task.bench.n_cells(condition))
        assert guess is not None
        found.append(scores.scores(task.bench.truth(condition), guess.cells, guess.mean, guess.tested))
    return [float(np.mean([f[key] for f in found])) for key in SHOWN]


def rows_of(name: str, workspace: Workspace, asked: argparse.Namespace) -> list[list[Any]]:
    """Train and measure every variant on one fold."""
    case = data.norman() if name == "norman" else data.kang()
    part, which = ("norman-pairs", "both") if name == "norman" else ("kang", "CD14")
    fold = next(f for f in data.folds(part, case, asked.seed) if which in f.name)
    task = data.prepare(workspace, case, fold)
    variants = dict(VARIANTS)
    if name == "norman":
        path = f"perturb.pretrained={unlabelled(workspace, asked)}"
        variants |= {f"{kind}, pre-trained": (*VARIANTS[kind], path) for kind in ("moved controls", "set diffusion")}
    rows: list[list[Any]] = []
    for words, settings in variants.items():
        fitted = perturb_methods.fit(workspace, task, asked.seed, asked.preset, settings)
        rows.append([fold.name, words, *measure(task, fitted, perturb_methods.OURS), round(fitted.train_s)])
        if words == "what users get":
            sets = fitted.model.meta["sets"]
            rows[-1][1] = (f"{words}: {sets['half']} (left out: {sets['e_diffusion']:.3f} by the diffusion, "
                            f"{sets['e_moved']:.3f} moved; round measured means {sets['spread_diffusion']:.3f}, "
                            f"{sets['spread_moved']:.3f})")
            rows += [[fold.name, method, *measure(task, fitted, method), ""]
                     for method in (perturb_methods.MEAN, LATENT)]
        stages.say(str(rows[-1]))
    return rows


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="Which half of a model of perturbations earned what.")
    parser.add_argument("--folds", nargs="+", choices=("norman", "kang"), default=["norman", "kang"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--results", type=Path, default=stages.RESULTS)
    asked = parser.parse_args()
    workspace = Workspace(stages.CACHE)
    rows = [row for name in asked.folds for row in rows_of(name, workspace, asked)]
    lines = ["# Which half earned what", "", f"Written by `python -m benchmarks.spread`; seed {asked.seed}, preset "
             f"{asked.preset}.", "", "| fold | cells by | " + " | ".join(NAMES) + " | CPU s of training |",
             "|---" * (len(NAMES) + 3) + "|"]
    lines += ["| " + " | ".join(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row) + " |" for row in rows]
    text = "\n".join(lines)
    (asked.results / "spread.md").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
