"""Is a known perturbation found again from what its cells look like? Ours beside the plain signature and chance.

    python -m benchmarks.recovery [--parts norman demo] [--seeds 0 1 2] [--preset quick] [--no-ours] [--quick]

Each held-out perturbation's real cells are the goal, control cells of the same type the start, and all candidates are
ranked, the held-out one among them, predicted and not measured. `norman`: k562, five folds of unseen single
perturbations and the pairs with two, one or no member seen, among the 33 that were measured, and among all singles and
pairs of their parts. `demo`: a simulation, three folds of unseen singles, three of pairs, and one dose, in each of four
types. No comparison looks at any perturbed gene, so that a missing one cannot give the answer away. The rule that ranks
is found inside the training cells (see analysis/design/recovery.py); the others stand beside it.
Prints markdown tables; writes benchmarks/results/recovery.json, fold by fold, and recovery.md. `--no-ours` trains no
codec: the mean of ours, round which control cells are moved. What has been trained is taken from `.bench/`.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch: CPU seconds, not cores, are compared

import numpy as np

from benchmarks import perturb_data as data
from benchmarks import perturb_methods, stages, tables
from benchmarks.mean_alone import MeanAlone
from scdiff_core.analysis.design import recovery
from scdiff_core.analysis.design.candidates import Checked
from scdiff_core.analysis.design.closeness import CENTRED, COSINE, DISTANCE, ENERGY, LIKELY, RULES
from scdiff_core.analysis.perturb import splits
from scdiff_core.analysis.perturb.scores import Space, target_mask
from scdiff_core.workspace import Workspace, read_json, write_json, write_text

PARTS = ("norman", "demo")
MEASURED, ALL = "the measured ones", "all singles and pairs"
OURS, CHANCE = "ours (the rule chosen in training)", "chance"
TITLES = {OURS: OURS, ENERGY: "E-distance of cells", LIKELY: "likelihood of the change",
          DISTANCE: "expected distance of means", CENTRED: "centred cosine (Systema)",
          COSINE: "plain signature cosine"}
FIRST = (1, 5, 10)
AREA, TWICE = 0.9, 2.0  # musts: the area on the demo; recall at 10 over the signature's on Norman


@dataclass(frozen=True)
class Asked:
    """One goal to be found again: the condition, and the lists it is looked for in."""

    condition: splits.Condition
    lists: dict[str, list[tuple[str, float | None]]]


def measure(workspace: Workspace, part: str, asked: argparse.Namespace,
            done: Collection[tuple[Any, ...]]) -> Iterator[list[dict[str, Any]]]:
    """Yield, fold by fold, one row a goal, list and rule: the rank of the perturbation that the goal's cells had.

    Folds in `done`, as (part, seed, name), are left out.
    """
    from scdiff_core.engine.routes import Goal

    cases = {seed: data.norman() if part == "norman" else data.demo(seed) for seed in asked.seeds}
    every = {seed: _folds(part, case, seed, asked.quick) for seed, case in cases.items()}
    # fold by fold, not seed by seed: a run that is cut off has the same of each seed
    for seed, fold in [(seed, fold) for row in zip(*every.values(), strict=True)
                       for seed, fold in zip(every, row, strict=True)]:
        if (part, seed, fold.name) in done:
            continue
        stages.say(f"recovery, {part}: {fold.name}, seed {seed}")
        rows: list[dict[str, Any]] = []
        task = data.prepare(workspace, cases[seed], fold, asked.fresh)
        fitted = perturb_methods.fit(workspace, task, seed, asked.preset, (), asked.ours, asked.fresh)
        model = fitted.model if asked.ours else MeanAlone(fitted)
        prepared, bench = task.prepared, task.bench
        space = Space(prepared.pca_mean, prepared.pca_components)
        checked = recovery.check(bench.log1p, bench.known.arms, model.response, space, seed)
        left_out = _perturbed_genes(task)
        for goal in _goals(part, task, fold):
            cells = Goal(bench.log1p[bench.table.conditions[goal.condition]], np.asarray(prepared.genes), "real cells")
            base = {"part": part, "seed": seed, "fold": fold.name, "kind": fold.kind,
                    "condition": str(goal.condition[0]), "dose": goal.condition[1], "cell_type": goal.condition[2],
                    "chosen": checked.trust.rule if checked.trust else ENERGY}
            for name, items in goal.lists.items():
                found = _ranks(model, cells, goal.condition, items, left_out, prepared, checked, seed)
                rows += [{**base, "list": name, "rule": rule, "rank": rank, "n": n, "refused": refused}
                         for rule, (rank, n, refused) in found.items()]
        yield rows


def _ranks(model: Any, goal: Any, condition: splits.Condition, items: list[tuple[str, float | None]],
           left_out: tuple[str, ...], prepared: Any, checked: Checked,
           seed: int) -> dict[str, tuple[float, int, bool]]:
    """Return rule -> rank of the condition, number of candidates, and whether it was refused, which counts as last."""
    from scdiff_core.engine.routes import RoutesConfig, routes
    from scdiff_core.engine.steps import follow

    what, dose, kind = condition
    where = {str(prepared.roles.cell_type): kind} if kind else {}
    config = RoutesConfig(run="bench", where=where, leave_out=left_out, seed=seed,
                          items=tuple({"perturbation": p, "dose": d} for p, d in items))  # type: ignore[misc]
    made = follow(routes(model, goal, config, prepared, checked), lambda step, share: None)
    true = [r for r in made.rows if r.perturbation == what.label and r.dose == dose]
    n = len(made.rows) + len(made.refused)
    return {OURS: (float(true[0].rank if true else n), n, not true)} | {
        rule: (float(true[0].ranks[rule] if true else n), n, not true) for rule in RULES}


def _perturbed_genes(task: data.Task) -> tuple[str, ...]:
    """Return every gene that is perturbed somewhere and measured."""
    genes = np.asarray(task.prepared.genes).astype(str)
    return tuple(genes[target_mask(genes, [t for c in task.bench.table.conditions for t in c[0].targets])].tolist())


def _goals(part: str, task: data.Task, fold: splits.Fold) -> Iterator[Asked]:
    """Yield the goals of a fold; candidates are the same for all of one type."""
    table = task.bench.table
    for condition in fold.asked:
        if len(table.conditions[condition]) < 2:
            continue
        lists = {MEASURED: [(c[0].label, c[1]) for c in table.conditions if c[2] == condition[2]]}
        if part == "norman":
            parts = sorted({p for c in table.conditions for p in c[0].parts})
            lists[ALL] = [("+".join(p), None) for k in (1, 2) for p in itertools.combinations(parts, k)]
        yield Asked(condition, lists)


def _folds(part: str, case: data.Case, seed: int, quick: bool) -> Sequence[splits.Fold]:
    if part == "norman":
        found = [*data.folds("norman-singles", case, seed), *data.folds("norman-pairs", case, seed)]
        return found[-3:-2] if quick else found
    from benchmarks.perturb_known import _demo_folds

    pairs = [f for f in _demo_folds(case.table, seed) if f.kind == "held-out pairs"]
    dose = splits.unseen_doses(case.table)[1]
    singles = splits.unseen_perturbations(case.table, 3, seed)
    return pairs[:1] if quick else [pairs[0], dose, *singles, *pairs[1:]]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return one line a rule: area under the hit-rate curve and recall, over goals of all seeds, and chance."""
    lines = [["", "area", *(f"recall at {k}" for k in FIRST), "goals"]]
    n = np.array([r["n"] for r in rows if r["rule"] == OURS], float)
    for rule, title in TITLES.items():
        own = [r for r in rows if r["rule"] == rule]
        if not own:
            continue
        rank, among = (np.array([r[k] for r in own], float) for k in ("rank", "n"))
        areas = recovery.area(rank, among)
        lines.append([title, f"{areas.mean():.3f} ± {_error(own, areas):.3f}",
                      *(f"{recovery.recall(rank, k):.3f}" for k in FIRST), str(len(own))])
    lines.append([CHANCE, "0.500", *(f"{recovery.chance(n, k):.3f}" for k in FIRST), ""])
    return tables.markdown(lines)


def _error(rows: Sequence[dict[str, Any]], areas: np.ndarray) -> float:
    """Return the standard error over conditions, of means over seeds."""
    by: dict[tuple[Any, ...], list[float]] = {}
    for r, a in zip(rows, areas, strict=True):
        by.setdefault((r["condition"], r["dose"], r["cell_type"]), []).append(float(a))
    means = np.array([np.mean(v) for v in by.values()])
    return float(means.std(ddof=1) / np.sqrt(len(means))) if len(means) > 1 else float("nan")


def candidates(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of goals whose perturbation can be ranked at all: it was measured or has an embedding."""
    return [r for r in rows if not r["refused"]]


def verdicts(every: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line for each must, as far as it was measured, and one for what was refused."""
    said = []
    rows = candidates(every)
    demo = [r for r in rows if r["part"] == "demo" and r["rule"] == OURS]
    if demo:
        value = _area(demo)
        said.append(f"demo:perturb: area {value:.3f}, must be at least {AREA}: "
                    f"{'holds' if value >= AREA else 'fails'}.")
    for part in PARTS:
        own = [r for r in every if r["part"] == part and r["rule"] == OURS and r["list"] == MEASURED]
        refused = [r for r in own if r["refused"]]
        if refused:
            names = ", ".join(sorted({r["condition"] for r in refused}))
            said.append(f"{part}: {names} ({len(refused)} of {len(own)} goals) has no embedding and is no candidate "
                        f"where it was never measured: it is refused, and is in no table here. Counted as found last, "
                        f"the area over all goals would be {_area(own):.3f}.")
    for name in (MEASURED, ALL):
        own, sign = (np.array([r["rank"] for r in rows if r["part"] == "norman" and r["list"] == name
                               and r["rule"] == rule]) for rule in (OURS, COSINE))
        if not len(own):
            continue
        a, b = recovery.recall(own, 10), recovery.recall(sign, 10)
        said.append(f"Norman, among {name}: recall at 10 {a:.3f}, plain signature {b:.3f}; must be at least twice as "
                    f"much: {'holds' if a >= TWICE * b and a > 0 else 'fails'}"
                    f"{', as anything would: that is more than all' if TWICE * b > 1 else ''}.")
    return said


def _area(rows: Sequence[dict[str, Any]]) -> float:
    return float(recovery.area(np.array([r["rank"] for r in rows]), np.array([r["n"] for r in rows])).mean())


def text(found: dict[str, Any]) -> str:
    """Return the page of results."""
    rows, about = candidates(found["rows"]), found["about"]
    lines = ["# Known perturbations found again", "", "Written by `python -m benchmarks.recovery`. "
             f"Preset {about['preset']}; " + (
                 "whole predictions" if about["ours"] else "the predicted mean alone, control cells moved by it")
             + ". ± is the standard error over conditions, of means over seeds. No comparison looks at any perturbed "
             "gene.", "", *(f"- {v}" for v in verdicts(found["rows"]))]
    for part in PARTS:
        own = [r for r in rows if r["part"] == part]
        for name in dict.fromkeys(r["list"] for r in own):
            here = [r for r in own if r["list"] == name]
            n = sorted({r["n"] for r in here})
            among = f"{n[0]}" if n[0] == n[-1] else f"{n[0]} to {n[-1]}"
            seeds = ", ".join(map(str, sorted({r["seed"] for r in here})))
            lines += ["", f"## {part}: among {name} ({among} candidates; seeds {seeds})", "", table(here)]
            chosen: dict[str, int] = {}
            for r in here:
                if r["rule"] == OURS:
                    chosen[r["chosen"]] = chosen.get(r["chosen"], 0) + 1
            lines += ["", "Chosen in training: " + ", ".join(f"{TITLES[k]} for {v} goals" for k, v in chosen.items())
                      + "."]
            for kind in dict.fromkeys(r["kind"] for r in here):
                lines += ["", f"### {part}, {name}: {kind}", "", table([r for r in here if r["kind"] == kind])]
    return "\n".join(lines)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="Known perturbations found again from their cells.")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--preset", default="quick", help="of the codec, as in `train`")
    parser.add_argument("--no-ours", dest="ours", action="store_false", help="train no codec: the mean alone")
    parser.add_argument("--fresh", action="store_true", help="make everything anew")
    parser.add_argument("--results", type=Path, default=stages.RESULTS, help="the folder for results")
    parser.add_argument("--quick", action="store_true", help="one seed, one fold of each, no codec: only to try it")
    asked = parser.parse_args()
    if asked.quick:
        asked.seeds, asked.ours = asked.seeds[:1], False
    if not stages.paths_of([data.NORMAN]):
        asked.parts = [p for p in asked.parts if p != "norman"]
    about = {"seeds": asked.seeds, "preset": asked.preset, "ours": asked.ours, "learn": perturb_methods.learn_hash()}
    before = read_json(asked.results / "recovery.json", {})
    rows = before.get("rows", []) if before.get("about") == about and not asked.fresh else []
    done = {(r["part"], r["seed"], r["fold"]) for r in rows}
    workspace = Workspace(stages.CACHE)
    for part in asked.parts:
        for more in measure(workspace, part, asked, done):
            rows += more
            write_json(asked.results / "recovery.json", {"about": about, "rows": rows})  # to be gone on with
    words = text({"about": about, "rows": rows})
    write_text(asked.results / "recovery.md", words + "\n")
    print(words)


if __name__ == "__main__":
    main()
