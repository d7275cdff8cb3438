"""What a perturbation would do: ours beside every baseline, on held-out perturbations, pairs, types and doses.

    python -m benchmarks.perturb [--parts check norman-singles ...] [--seeds 0 1 2] [--preset quick] [--no-ours]

The parts: `check` (the protocol against figures known from elsewhere: ceilings, mean response, additive, latent
arithmetic), `norman-singles` (k562, five folds of unseen single perturbations), `norman-pairs` (both, one or no member
seen), `mcfaline` (nine perturbations that hardly do anything), `kang` (each type's stimulated cells held out), `demo`
(against the known truth of a simulation), `halves` (which half of ours earned what, and what pre-training brings).
Every method learns from the same cells and is asked for equally many cells.
Prints markdown tables; writes benchmarks/results/perturb-<part>.json and, from all of these that are there, perturb.md.
`--no-ours` measures the baselines and the mean of ours alone, in a few minutes. What has been trained is taken from
`.bench/` (see stages.py).
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch: CPU seconds, not cores, are compared

from benchmarks import perturb_data as data
from benchmarks import perturb_halves, perturb_known, perturb_methods, perturb_tables, stages
from scdiff_core.analysis.perturb import baselines, card, panel, scores, splits
from scdiff_core.workspace import Workspace, read_json, write_json

PARTS = ("check", "norman-singles", "norman-pairs", "mcfaline", "kang", "demo", "halves")
METHODS = (perturb_methods.OURS, perturb_methods.MEAN, baselines.LATENT, *baselines.SHIFTS)


def held_out(part: str, case: data.Case, asked: argparse.Namespace) -> dict[str, Any]:
    """Measure a part that consists of folds."""
    rows: list[dict[str, Any]] = []
    panels: list[dict[str, Any]] = []
    trained: list[dict[str, Any]] = []
    leaks: list[str] = []
    refused: list[str] = []
    workspace = Workspace(stages.CACHE)
    methods = [m for m in METHODS if asked.ours or m not in (perturb_methods.OURS, baselines.LATENT)]
    for seed in asked.seeds:
        together: dict[str, tuple[Any, list[splits.Condition], dict[str, dict[str, Any]], dict[str, Any]]] = {}
        for fold in data.folds(part, case, seed):
            stages.say(f"{part}: {fold.name}, seed {seed}")
            task = data.prepare(workspace, case, fold, asked.fresh)
            fitted = perturb_methods.fit(workspace, task, seed, asked.preset, tuple(asked.set), asked.ours, asked.fresh)
            found, cells = card.measure(task.bench, fold.asked, fitted.answers(methods), seed)
            rows += [{**row, "fold": fold.name, "seed": seed, **fitted.said.get((row["method"], row["condition"]), {})}
                     for row in found]
            refused += [f"{name}: {said['refused']}" for (_, name), said in fitted.said.items() if "refused" in said]
            trained.append({"fold": fold.name, "seed": seed, "train_s": fitted.train_s})
            leaks += [leak.words() for leak in splits.leakage(case.table, fold, case.adata.obs)] if seed == 0 else []
            key = fold.name if part == "kang" else fold.kind
            _, conditions, every, real = together.setdefault(key, (task, [], {m: {} for m in methods}, {}))
            conditions += fold.asked
            real |= {card.name_of(c): task.bench.rows_of(c) for c in fold.asked}
            for method, made in cells.items():
                every[method] |= made
        for key, (task, conditions, every, real) in together.items():
            stages.say(f"{part}: six scores of {key}, seed {seed}")
            own = every[perturb_methods.OURS if asked.ours else perturb_methods.MEAN]
            answered = [c for c in conditions if card.name_of(c) in own]
            if answered:
                panels.append({"kind": key, **card.six(task.bench, answered, every, seed, rows=real)})
    return {"part": part, "rows": rows, "panels": panels, "trained": trained, "leakage": leaks, "refused": refused}


MEASURE: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "check": perturb_known.check,
    "norman-singles": lambda asked: held_out("norman-singles", data.norman(), asked),
    "norman-pairs": lambda asked: held_out("norman-pairs", data.norman(), asked),
    "mcfaline": perturb_known.mcfaline,
    "kang": lambda asked: held_out("kang", data.kang(), asked),
    "demo": perturb_known.demo,
    "halves": perturb_halves.measure,
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
    if not asked.ours:
        asked.parts = [p for p in asked.parts if p != "halves"]  # there is nothing in it but what is trained
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
