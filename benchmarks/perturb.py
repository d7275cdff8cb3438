"""What a perturbation would do: ours beside every baseline, on held-out perturbations, pairs, types and doses.

    python -m benchmarks.perturb [--parts check norman-singles ...] [--seeds 0 1 2] [--preset quick] [--no-ours]

The parts: `check` (the protocol against figures known from elsewhere: ceilings, mean response, additive, latent
arithmetic), `norman-singles` (k562, five folds of unseen single perturbations), `norman-pairs` (both, one or no member
seen), `mcfaline` (nine perturbations that hardly do anything), `kang` (each type's stimulated cells held out), `demo`
(against the known truth of a simulation). Every method learns from the same cells and is asked for equally many cells.
Prints markdown tables; writes benchmarks/results/perturb-<part>.json and, from all of these that are there, perturb.md.
`--no-ours` measures the baselines and the mean of ours alone, in a few minutes. What has been trained is taken from
`.bench/` (see stages.py).
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch: CPU seconds, not cores, are compared

import numpy as np

from benchmarks import perturb_data as data
from benchmarks import perturb_known, perturb_methods, perturb_tables, stages
from scdiff_core.analysis.perturb import baselines, panel, scores, splits
from scdiff_core.workspace import Workspace, read_json, write_json

PARTS = ("check", "norman-singles", "norman-pairs", "mcfaline", "kang", "demo")
METHODS = (perturb_methods.OURS, perturb_methods.MEAN, baselines.LATENT, *baselines.SHIFTS)
FLOOR = "floor"
SCALE_BY = "mean response"


def label(condition: splits.Condition) -> str:
    """Return a condition as text."""
    what, dose, kind = condition
    return "|".join([what.label, *([f"{dose:g}"] if dose is not None else []), *([kind] if kind else [])])


def measure_fold(fitted: perturb_methods.Fitted, methods: Sequence[str]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return one row a condition and method, and each method's cells, as many as there are real ones, by condition."""
    task, rows = fitted.task, []
    cells: dict[str, dict[str, Any]] = {m: {} for m in methods}
    for condition in task.fold.asked:
        truth = task.truth(condition)
        base = {"fold": task.fold.name, "kind": task.fold.kind, "condition": label(condition), "seed": fitted.seed,
                "n_real": len(truth.log1p)}
        mean, spread = scores.floor(truth, seed=fitted.seed)
        rows.append({**base, "method": FLOOR, **mean, "spread": spread})
        for method in methods:
            found = fitted.answer(method, condition, perturb_methods.n_cells(task, condition))
            if found is None:
                continue
            said = scores.scores(truth, found.cells, found.mean)
            change = found.mean - truth.control.mean(axis=0, dtype=np.float64)
            said["pds"] = discrimination(task, condition, change)
            rows.append({**base, "method": method, **said, **found.said})
            if len(truth.log1p) != perturb_methods.n_cells(task, condition):
                again = fitted.answer(method, condition, len(truth.log1p))
                assert again is not None
                found = again
            cells[method][label(condition)] = found.cells
    return rows, cells


def discrimination(task: data.Task, condition: splits.Condition, change: np.ndarray) -> float:
    """Return the PDS of a predicted change among the real changes of every condition of its type; NaN for one."""
    same = [c for c in task.table.conditions if c[2] == condition[2]]
    if len(same) < 2:
        return float("nan")
    keep = ~scores.target_mask(task.prepared.genes, [t for c in same for t in c[0].targets])
    control = _mean(task, task.table.control[condition[2]])
    real = {label(c): (_mean(task, task.table.conditions[c]) - control)[keep] for c in same}
    return panel.discrimination({label(condition): change[keep]}, real)[label(condition)]


def _mean(task: data.Task, rows: np.ndarray) -> np.ndarray:
    return np.asarray(task.log1p[rows].mean(axis=0), np.float64).ravel()


def six(task: data.Task, conditions: Sequence[splits.Condition], cells: dict[str, dict[str, Any]],
        seed: int) -> dict[str, Any]:
    """Return the six scores of every method that answered all conditions (of one type), and of a replicate."""
    kind = conditions[0][2]
    real = {label(c): task.log1p[task.table.conditions[c]] for c in conditions}
    judged = panel.Panel(real, task.log1p[task.table.control[kind]], task.prepared.genes,
                         [t for c in conditions for t in c[0].targets])
    return {"seed": seed, "replicate": judged.replicate(seed=seed),
            "methods": {m: judged.score(made) for m, made in cells.items() if set(real) <= set(made)}}


def held_out(part: str, case: data.Case, asked: argparse.Namespace) -> dict[str, Any]:
    """Measure a part that consists of folds."""
    rows: list[dict[str, Any]] = []
    panels: list[dict[str, Any]] = []
    trained: list[dict[str, Any]] = []
    leaks: list[str] = []
    workspace = Workspace(stages.CACHE)
    methods = [m for m in METHODS if asked.ours or m not in (perturb_methods.OURS, baselines.LATENT)]
    for seed in asked.seeds:
        together: dict[str, tuple[Any, list[splits.Condition], dict[str, dict[str, Any]]]] = {}
        for fold in data.folds(part, case, seed):
            stages.say(f"{part}: {fold.name}, seed {seed}")
            task = data.prepare(workspace, case, fold, asked.fresh)
            fitted = perturb_methods.fit(workspace, task, seed, asked.preset, tuple(asked.set), asked.ours, asked.fresh)
            found, cells = measure_fold(fitted, methods)
            rows += found
            trained.append({"fold": fold.name, "seed": seed, "train_s": fitted.train_s})
            leaks += [leak.words() for leak in splits.leakage(case.table, fold, case.adata.obs)] if seed == 0 else []
            key = fold.name if part == "kang" else fold.kind
            _, conditions, every = together.setdefault(key, (task, [], {m: {} for m in methods}))
            conditions += fold.asked
            for method, made in cells.items():
                every[method] |= made
        for key, (task, conditions, every) in together.items():
            stages.say(f"{part}: six scores of {key}, seed {seed}")
            panels.append({"kind": key, **six(task, conditions, every, seed)})
    return {"part": part, "rows": rows, "panels": panels, "trained": trained, "leakage": leaks}


MEASURE: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "check": perturb_known.check,
    "norman-singles": lambda asked: held_out("norman-singles", data.norman(), asked),
    "norman-pairs": lambda asked: held_out("norman-pairs", data.norman(), asked),
    "mcfaline": perturb_known.mcfaline,
    "kang": lambda asked: held_out("kang", data.kang(), asked),
    "demo": perturb_known.demo,
}


def about(asked: argparse.Namespace) -> dict[str, Any]:
    """Return what the figures were measured with."""
    from importlib.metadata import version

    from scdiff_core import __version__

    return {"version": __version__, "learn": perturb_methods.learn_hash(), "seeds": asked.seeds, "preset": asked.preset,
            "settings": asked.set, "ours": asked.ours, "cell_eval2": version("cell-eval2"),
            "e_distance": scores.E_DISTANCE}


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="What a perturbation would do: ours beside every baseline.")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--preset", default="quick", help="of the codec and the diffusion, as in `train`")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings, as in `train`")
    parser.add_argument("--no-ours", dest="ours", action="store_false", help="train nothing: baselines, and our mean")
    parser.add_argument("--fresh", action="store_true", help="make everything anew")
    parser.add_argument("--results", type=Path, default=stages.RESULTS, help="the folder for results")
    parser.add_argument("--quick", action="store_true", help="one seed, and nothing that takes long: only to try it")
    asked = parser.parse_args()
    if asked.quick:
        asked.seeds, asked.ours = asked.seeds[:1], False
    if not stages.paths_of([data.NORMAN, data.KANG]):
        asked.parts = [p for p in asked.parts if p == "demo"]
    panel.warm()
    for part in asked.parts:
        found = MEASURE[part](asked)
        write_json(asked.results / f"perturb-{part}.json", {"about": about(asked), **perturb_tables.plain(found)})
    there = {part: read_json(asked.results / f"perturb-{part}.json") for part in PARTS}
    words = perturb_tables.text({part: found for part, found in there.items() if isinstance(found, dict)})
    (asked.results / "perturb.md").write_text(words + "\n", encoding="utf-8")
    print(words)


if __name__ == "__main__":
    main()
