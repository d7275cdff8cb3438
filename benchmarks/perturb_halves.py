"""Which half of a model of perturbations earned what: moved controls, the set diffusion, its losses, and pre-training.

All on the pairs of Norman k562 of which both members were measured alone. One training gives two answers: the cells of
the diffusion, and control cells moved to the same mean. Pre-trained runs begin with a codec that was trained as long on
all training cells without their labels, and on none of the held-out ones.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks import perturb_data as data
from benchmarks import perturb_methods, stages
from benchmarks.tables import markdown
from scdiff_core.analysis.perturb import card
from scdiff_core.analysis.perturb.baselines import LATENT, Guess
from scdiff_core.analysis.perturb.judged import by_condition, mean_se
from scdiff_core.workspace import Workspace

PLAIN, PRETRAINED = "as it is", "pre-trained"
LEARNT: dict[str, tuple[str, ...]] = {
    PLAIN: (), PRETRAINED: (),
    "with an energy loss": ("perturb.distribution_loss=energy", "perturb.distribution_weight=1"),
    "with an MMD loss": ("perturb.distribution_loss=mmd", "perturb.distribution_weight=1")}
SETS, MOVED = "set diffusion", "moved controls"
FIRST = 1000  # added to the seed of what comes first, so that it is not the same training over again
SHOWN = {"e_distance": "E-distance", "mmd": "MMD", "variance_ratio": "variance ratio",
         "pearson_cells": "Pearson of change, of the cells"}


def measure(asked: argparse.Namespace, learnt: tuple[str, ...] = tuple(LEARNT)) -> dict[str, Any]:
    """Train every variant with each seed, and hold both of its populations against the real cells."""
    case, workspace = data.norman(), Workspace(stages.CACHE)
    fold = data.folds("norman-pairs", case, 0)[0]
    task = data.prepare(workspace, case, fold)
    rows: list[dict[str, Any]] = []
    for name in learnt:
        for seed in asked.seeds:
            stages.say(f"halves: {name}, seed {seed}")
            settings = [*asked.set, "perturb.spread=diffusion", *LEARNT[name]]
            if name == PRETRAINED:
                settings.append(f"perturb.pretrained={unlabelled(workspace, task, asked.preset, seed)}")
            fitted = perturb_methods.fit(workspace, task, seed, asked.preset, tuple(settings))
            answers = {SETS: answer(fitted.model, seed), MOVED: answer(replace(fitted.model, spread=None), seed),
                       **fitted.answers([LATENT, perturb_methods.MEAN])}
            found, _ = card.measure(task.bench, fold.asked, answers, seed)
            rows += [{**row, "learnt": name, "seed": seed, "train_s": fitted.train_s} for row in found]
    return {"part": "halves", "fold": fold.name, "rows": rows}


def answer(model: Any, seed: int) -> card.Answer:
    """Return what a model answers."""
    from scdiff_core.engine.report_answers import whole

    def ask(condition: Any, n: int) -> Guess:
        return whole(model, condition, n, seed)[0]

    return ask


def unlabelled(workspace: Workspace, task: data.Task, preset_name: str, seed: int) -> str:
    """Return the folder of a run whose codec has seen the training cells without labels; nothing else is taken over."""
    config = stages.training(task.prepared, task.dataset, preset_name, seed + FIRST, ("diffusion.steps=20",))
    key = stages.digest(config.model_dump(mode="json", exclude={"name", "preset"}), perturb_methods.learn_hash())
    return str(stages.learn(workspace, task.prepared, config, f"unlabelled-{seed}-{key}")[0].path)


def section(found: dict[str, Any]) -> str:
    """Return the table: means over conditions and seeds, and what pre-training changes."""
    rows, about = found["rows"], found["about"]
    lines = [["cells by", "trained", "seeds", *SHOWN.values(), "CPU s"]]
    for method in dict.fromkeys(r["method"] for r in rows):
        for name in dict.fromkeys(r["learnt"] for r in rows if r["method"] == method):
            mine = [r for r in rows if r["method"] == method and r["learnt"] == name]
            if method not in (SETS, MOVED, LATENT) and name != PLAIN:
                continue  # what the codec has no part in is the same
            seconds = f"{np.mean([r['train_s'] for r in mine]):.0f}" if method == SETS else ""
            lines.append([method, name, str(len({r["seed"] for r in mine})), *(_show(mine, k) for k in SHOWN), seconds])
    words = ["## Which half earned what", f"Norman k562, {found['fold']}; preset {about['preset']}. ± is the standard "
             "deviation over seeds of the mean over conditions.", markdown(lines)]
    said = [_brought(rows, method) for method in (SETS, MOVED)]
    return "\n\n".join([*words, *(s for s in said if s)])


def _show(rows: list[dict[str, Any]], key: str) -> str:
    each = [np.mean([r[key] for r in rows if r["seed"] == s]) for s in dict.fromkeys(r["seed"] for r in rows)]
    return f"{np.mean(each):.3f}" + (f" ± {np.std(each, ddof=1):.3f}" if len(each) > 1 else "")


def _brought(rows: list[dict[str, Any]], method: str) -> str:
    """Say by how much pre-training changes each score of a method, with the standard error over conditions."""
    said = []
    for key, title in SHOWN.items():
        with_it, without = (by_condition([r for r in rows if r["learnt"] == name], method, key)
                            for name in (PRETRAINED, PLAIN))
        shared = [c for c in with_it if c in without]
        if shared:
            mean, se = mean_se([with_it[c] - without[c] for c in shared])
            said.append(f"{title} {mean:+.3f} (SE {se:.3f})")
    return f"Pre-training, {method}: {', '.join(said)}." if said else ""
