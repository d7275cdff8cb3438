"""The report of a model of perturbations: held-out conditions, ours beside every baseline and the floor.

It lies where every full report lies (see `report_full`) and is read without torch. The figures are those of
`analysis.perturb.card`, as in the benchmark.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import scdiff_core
from scdiff_core.analysis.perturb import card, hold_out, judged, panel, splits
from scdiff_core.analysis.perturb.answer import log2_fold_change
from scdiff_core.analysis.perturb.baselines import Guess
from scdiff_core.analysis.perturb.scores import target_mask
from scdiff_core.config import to_yaml
from scdiff_core.engine import report_full
from scdiff_core.engine.report_perturb_words import MEAN, MOVED, OURS, OWN, notes, number, said_below, sentence
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir, read_json

if TYPE_CHECKING:
    from scdiff_core.data.prepared import Prepared
    from scdiff_core.engine.perturb_model import PerturbModel, Predicted

MOST = 20  # conditions that are judged: a minute on two cores
SPLITS = 3  # of the real cells, for the replicate of the six scores
SCORES = tuple(judged.TITLES)
JUDGED = ("half", "n_judged", "e_moved", "e_diffusion", "spread_moved", "spread_diffusion")  # see `train_sets.verdict`
Tell = Callable[[str, float], None]


def make(job: JobDir, prepared: Prepared, *, seed: int = 0, progress: Tell | None = None) -> dict[str, Any]:
    """Return the values of the report of a run: the one on disk, or one made now.

    Raises
    ------
    ScdiffError
        The data has no held-out cell of a perturbation with enough cells to judge by.
    """
    known = report_full.read_report(job, report_full.PERTURB)
    page = report_full.folder(job) / report_full.PAGE
    if known is not None and not report_full.stale(job) and known["settings"]["seed"] == seed and page.is_file():
        return known
    report = full_report(job, prepared, seed, progress)
    report_full.write_full(job, report)
    return report.values


@dataclass
class Judge:
    """A model and the data it is judged by; `said` takes what the model says of each condition."""

    model: PerturbModel
    bench: card.Bench
    seed: int
    said: dict[str, dict[str, Any]] = field(default_factory=dict)

    def answers(self) -> dict[str, card.Answer]:
        """Return ours, whole and in parts, and every baseline as callables."""
        from scdiff_core.engine import report_answers as engine

        def ours(model: PerturbModel, note: bool) -> card.Answer:
            def answer(condition: splits.Condition, n: int) -> Guess | None:
                try:
                    guess, found = engine.whole(model, condition, n, self.seed)
                except ScdiffError as error:
                    self.said[card.name_of(condition)] = {"refused": f"{error.what} {error.why}"}
                    return None
                if note:
                    self._note(condition, found)
                return guess
            return answer

        def mean(condition: splits.Condition, n: int) -> Guess | None:
            try:
                return engine.mean_alone(self.model.response, self.bench.known, condition, n, self.seed)[0]
            except ScdiffError:
                return None

        found: dict[str, card.Answer] = {OURS: ours(self.model, True)}
        if self.model.spread is not None:
            found[MOVED] = ours(replace(self.model, spread=None), False)
        codec = engine.codec_calls(self.bench.prepared, self.model.codec, self.seed)
        return found | {MEAN: mean} | self.bench.baselines(self.seed, codec)

    def _note(self, condition: splits.Condition, found: Predicted) -> None:
        """Keep what is said beside the cells, and how much of what was measured lies within the intervals."""
        response, genes = found.response, self.bench.prepared.genes
        real = self.bench.log1p[self.bench.rows_of(condition)]
        measured = log2_fold_change(np.asarray(real.mean(axis=0)).ravel(), response.control)
        low, high = response.measured(real.shape[0])
        keep = ~target_mask(genes, condition[0].targets)
        inside = (measured >= low - 1e-9) & (measured <= high + 1e-9)
        self.said[card.name_of(condition)] = {
            "effect": response.effect, "reach": float(response.reach), "how": response.how, "half": found.half,
            "coverage": float(inside[keep].mean())}


def full_report(job: JobDir, prepared: Prepared, seed: int = 0,
                progress: Tell | None = None) -> report_full.FullReport:
    """Make the report of a run, with its figures; raises `ScdiffError` where nothing was held out."""
    from scdiff_core.engine.perturb_model import PerturbModel

    tell = progress or (lambda words, share: None)
    tell("Loading the model", 0.0)
    model = PerturbModel.load(job)
    bench = card.Bench(prepared, vectors(model, splits.Table.of(prepared.obs, prepared.roles)))
    asked = bench.asked()
    if not asked:
        raise ScdiffError(
            f"No report can be made of '{job.id}'.",
            f"No perturbation in '{prepared.name}' has {card.LEAST_CELLS} held-out cells that it could be judged by.",
            "Prepare the data with perturbations held out (--hold-out unseen-perturbation), and train again.")
    chosen = some(asked, bench, seed)
    judge = Judge(model, bench, seed)
    rows, cells = card.measure(bench, chosen, judge.answers(), seed, lambda w, s: tell(w, 0.05 + 0.55 * s))
    group = panel_of([c for c in chosen if card.name_of(c) in cells[OURS]])
    panels = [card.six(bench, group, cells, seed, lambda w, s: tell(w, 0.6 + 0.38 * s), SPLITS)] if group else []
    tell("Drawing", 0.98)
    values = told(rows, panels, judge, chosen, len(asked))
    figures = draw(values)
    recipe = job.config()
    about = {
        "format": report_full.FORMAT, "kind": report_full.PERTURB, "version": scdiff_core.__version__, "run": job.id,
        "title": job.notes().get("title") or job.id, "made": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "figures": [f.to_dict() for f in figures], "data": report_full.data_facts(prepared),
        "recipe": recipe.model_dump(mode="json"), "recipe_yaml": to_yaml(recipe),
        "training": report_full.training_facts(job), "environment": read_json(job.path / "env.json", {}),
        "settings": {"seed": seed, "most_conditions": MOST, "most_cells": card.MOST_CELLS,
                     "six": {"cell_type": group[0][2] if group else "", "conditions": len(group)}}}
    tell("Done", 1.0)
    return report_full.FullReport(_plain({**about, **values}), tuple(figures))


def some(asked: list[splits.Condition], bench: card.Bench, seed: int, most: int = MOST) -> list[splits.Condition]:
    """Return at most so many conditions, drawn evenly from each kind of what is unseen."""
    order = np.random.default_rng(seed).permutation(len(asked))
    by: dict[str, list[int]] = {}
    for i in order.tolist():
        by.setdefault(bench.kind(asked[i]), []).append(i)
    turns = [i for turn in range(len(asked)) for of in by.values() for i in of[turn:turn + 1]]
    return [asked[i] for i in sorted(turns[:most])]


def panel_of(conditions: list[splits.Condition]) -> list[splits.Condition]:
    """Return those for the six scores, which must share their controls: of the cell type that has most of them."""
    by: dict[str, list[splits.Condition]] = {}
    for condition in conditions:
        by.setdefault(condition[2], []).append(condition)
    return max(by.values(), key=len, default=[])


def vectors(model: PerturbModel, table: splits.Table) -> dict[str, np.ndarray]:
    """Return vectors of perturbed genes for the baselines: of that source of the model that has most of them."""
    names = {pair for what in table.by_perturbation for pair in zip(what.parts, what.targets, strict=True)}
    best: dict[str, np.ndarray] = {}
    for source in model.response.space.embeddings:
        found = {target: source.vectors[row] for part, target in names if (row := source.row(part, target)) is not None}
        best = found if len(found) >= len(best) else best  # what was brought comes after co-expression
    return best


def told(rows: list[dict[str, Any]], panels: list[dict[str, Any]], judge: Judge, chosen: list[splits.Condition],
         n_asked: int) -> dict[str, Any]:
    """Return all that a report says, as plain values."""
    bench, model = judge.bench, judge.model
    kinds = []
    for kind in dict.fromkeys(r["kind"] for r in rows):
        mine = [r for r in rows if r["kind"] == kind]
        kinds.append({"kind": kind, "n": len({r["condition"] for r in mine}), "methods": judged.shown(mine, SCORES)})
    others = [m for m in judged.methods(rows) if m not in (*OWN, card.FLOOR)]
    below = judged.below(rows, OURS, others) + judged.below_scaled(panels, OURS, others)
    scaled = judged.scaled_rows(panels)
    values: dict[str, Any] = {
        "rows": rows, "panels": panels, "kinds": kinds, "six": judged.shown(scaled, panel.SIX) if scaled else [],
        "below": [asdict(b) for b in below],
        "below_own": [asdict(b) for b in judged.below(rows, OURS, (MEAN, MOVED))],
        "conditions": [_condition(rows, c, judge) for c in chosen], "leakage": leakage(bench, chosen),
        "left_out": [{"kind": k, **v} for k, v in model.response.left_out.items()],
        "halves": {"made": model.why(), **{k: model.meta.get("sets", {}).get(k) for k in JUDGED}},
        "n_conditions": len(chosen), "n_asked": n_asked,
        "unseen": card.SEEN not in {k["kind"] for k in kinds}}
    return values | {"sentence": sentence(values), "lines": said_below(values), "notes": notes(values)}


def leakage(bench: card.Bench, chosen: list[splits.Condition]) -> list[str]:
    """Return what of the judged conditions is in training all the same, like ones together."""
    test = np.zeros(bench.table.n_cells, bool)
    for condition in bench.unseen():  # not the single cells that are kept back of all others
        test[bench.table.conditions[condition]] = True
    asked = tuple(c for c in chosen if test[bench.table.conditions[c]].all())
    found = splits.leakage(bench.table, splits.Fold("", "", asked, test), bench.prepared.obs,
                           hold_out.shared_columns(bench.prepared.obs))
    seen = [f"{card.name_of(c)}: other cells of the same condition are in training." for c in chosen if c not in asked]
    return judged.leaks([*(f.words() for f in found), *seen])


def _condition(rows: list[dict[str, Any]], condition: splits.Condition, judge: Judge) -> dict[str, Any]:
    """Return what stands in a report of one condition."""
    name = card.name_of(condition)
    mine = {r["method"]: r for r in rows if r["condition"] == name}
    rest = {m: r for m, r in mine.items() if m not in (*OWN, card.FLOOR)}
    best = max(rest, key=lambda m: number(rest[m].get("pearson"), -9.0))
    nearest = min(rest, key=lambda m: number(rest[m].get("e_distance"), 9e9))
    ours, floor = mine.get(OURS, {}), mine[card.FLOOR]
    what, dose, kind = condition
    return {"perturbation": what.label, "dose": dose, "cell_type": kind, "kind": floor["kind"],
            "n_real": floor["n_real"], "pearson": ours.get("pearson"), "best": best,
            "best_pearson": rest[best].get("pearson"), "pearson_floor": floor["pearson"],
            "e_distance": ours.get("e_distance"), "nearest": nearest,
            "nearest_e_distance": rest[nearest].get("e_distance"), "e_floor": floor["e_distance"],
            "variance_ratio": ours.get("variance_ratio"), **judge.said.get(name, {})}


def draw(values: dict[str, Any]) -> list[report_full.Figure]:
    """Return the figures: every method's scores, and each condition."""
    from scdiff_core.figures.perturb_report import export_conditions, export_methods

    out = []
    for i, kind in enumerate(values["kinds"]):
        titles = {k: judged.TITLES[k] for k in ("pearson", "pearson_centroid", "e_distance", "variance_ratio")}
        table = pd.DataFrame([{"method": m["method"], "conditions": m["n"],
                               **{judged.TITLES[k]: m[k][0] if m[k] else None for k in SCORES}}
                              for m in kind["methods"]])
        out.append(report_full.Figure(
            f"methods-{i}", f"Every method: {kind['kind']}",
            f"Means over {kind['n']} conditions with their standard errors. The dotted line is one half of the real "
            "cells against the other.", f"Scores of {len(table)} methods beside each other.",
            export_methods(kind["methods"], titles, OWN, card.FLOOR), table))
    rows = [{**c, "name": " ".join(str(v) for v in (c["perturbation"], c["dose"], c["cell_type"]) if v)}
            for c in sorted(values["conditions"], key=lambda c: -number(c["pearson"], -9.0))]
    for key, rival, floor, title in (("pearson", "best_pearson", "pearson_floor", "Pearson of change, against control"),
                                     ("e_distance", "nearest_e_distance", "e_floor", "E-distance to the real cells")):
        out.append(report_full.Figure(
            f"conditions-{key}", f"Each condition: {title}", "This model, the best baseline for that very condition "
            "(which nobody knows beforehand), and half of the real cells against the other half.",
            f"{title} of {len(rows)} conditions.", export_conditions(rows, key, rival, floor, title),
            pd.DataFrame([{"condition": r["name"], "this model": r[key], "best baseline": r[rival], "floor": r[floor]}
                          for r in rows])))
    return out


def _plain(value: Any) -> Any:
    """Return values as JSON takes them (`report_full.plain`), in lists and dictionaries of any depth."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return report_full.plain(value)
