"""Parts of the benchmark of perturbations that are held against something known: figures, no effect, a simulation."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from benchmarks import perturb_data as data
from benchmarks import perturb_methods, stages
from scdiff_core.analysis.metrics import pearson
from scdiff_core.analysis.perturb import baselines, scores, splits
from scdiff_core.analysis.perturb.effects import interaction
from scdiff_core.data.perturbations import Perturbation, parse
from scdiff_core.workspace import Workspace

SPLITS = 20
CHECK_LATENTS = 32
DEMO_PAIRS, DEMO_DOSES = 40, (0.2, 0.55, 1.7, 5.5)
EFFECTS = ("none", "weak", "clear", "strong")


def check(asked: argparse.Namespace) -> dict[str, Any]:
    """Reproduce what is known of the two data sets, with this protocol: (what, known, here)."""
    workspace = Workspace(stages.CACHE)
    found = _check_norman(workspace) + _check_kang(workspace, asked.ours)
    return {"part": "check", "figures": found}


def _check_norman(workspace: Workspace) -> list[dict[str, Any]]:
    case = data.norman()
    whole = data.prepare(workspace, case, None)
    table, control = whole.bench.table, whole.bench.table.control[""]
    five = {c for c in table.conditions if len(c[0].parts) == 2 and table.seen_members(c[0]) == 2}
    values: dict[str, dict[splits.Condition, float]] = {}

    def note(what: str, condition: splits.Condition, value: float) -> None:
        values.setdefault(what, {})[condition] = value

    for condition in table.conditions:
        task = data.prepare(workspace, case, splits.leave_out(table, condition[0]))
        truth = task.bench.truth(condition)
        half = [_split_half(truth.log1p, truth.control, seed) for seed in range(SPLITS)]
        note("half", condition, float(np.mean(half)))
        question = baselines.Question(*condition)
        asked = ["mean response"] if condition not in five else ["mean response", "additive", "control"]
        for method in asked:
            guess = baselines.guess(method, task.bench.known, question, len(control))
            assert guess is not None
            of = scores.scores(truth, guess.cells, guess.mean)
            note(f"{method} pearson", condition, of["pearson"])
            note(f"{method} e", condition, of["e_distance"])
        if condition in five:
            note("floor e", condition, scores.floor(truth, splits=10)[0]["e_distance"])

    def over(what: str, which: set[splits.Condition] | None = None) -> float:
        return float(np.mean([v for c, v in values[what].items() if which is None or c in which]))

    everything, of_five = over("half"), over("half", five)
    rows = [("Norman, ceiling of the Pearson of change over all: half against half, control shared", "", everything),
            ("the same, half against as many cells as there are (reliability of the whole by Spearman-Brown)", "0.83",
             _half_to_whole(everything)),
            ("Norman, ceiling over the five pairs: half against half", "", of_five),
            ("the same, half against as many cells as there are", "0.90", _half_to_whole(of_five)),
            ("Norman, mean response over all (each left out alone)", "0.32", over("mean response pearson")),
            ("Norman, mean response over the five pairs", "0.15", over("mean response pearson", five)),
            ("Norman, additive over the five pairs", "0.87", over("additive pearson")),
            ("Norman, additive, E-distance", "0.016", over("additive e")),
            ("Norman, unmoved control, E-distance", "0.60", over("control e")),
            ("Norman, floor, E-distance", "about 0", over("floor e"))]
    return [{"what": w, "known": k, "here": v} for w, k, v in rows]


def _half_to_whole(half: float) -> float:
    """Return the correlation of half the cells' change with all the cells' of another sample: √(r · 2r/(1+r))."""
    return float(np.sqrt(half * 2 * half / (1 + half)))


def _split_half(cells: np.ndarray, control: np.ndarray, seed: int) -> float:
    order = np.random.default_rng(seed).permutation(len(cells))
    a, b = (cells[o].mean(axis=0, dtype=np.float64) for o in np.array_split(order, 2))
    base = control.mean(axis=0, dtype=np.float64)
    return pearson(a - base, b - base)


def _check_kang(workspace: Workspace, latent: bool) -> list[dict[str, Any]]:
    case = data.kang()
    ceilings, means, distances, latents, latent_e, floors = [], [], [], [], [], []
    for fold in splits.unseen_types(case.table, data.KANG_TYPES):
        stages.say(f"check: {fold.name}")
        task = data.prepare(workspace, case, fold)
        (condition,) = fold.asked
        truth = task.bench.truth(condition)
        ceilings.append(float(np.mean([_split_half(truth.log1p, truth.control, s) for s in range(SPLITS)])))
        floors.append(scores.floor(truth)[0]["e_distance"])
        n = task.bench.n_cells(condition)
        guess = baselines.guess("same in other types", task.bench.known, baselines.Question(*condition), n)
        assert guess is not None
        of = scores.scores(truth, guess.cells, guess.mean)
        means.append(of["pearson"])
        distances.append(of["e_distance"])
        if latent:
            settings = (f"codec.n_latent={CHECK_LATENTS}",)
            fitted = perturb_methods.fit(workspace, task, 0, "quick", settings)
            answer = fitted.answers([baselines.LATENT])[baselines.LATENT](condition, n)
            assert answer is not None
            of = scores.scores(truth, answer.cells)
            latents.append(of["pearson"])
            latent_e.append(of["e_distance"])
    rows = [("Kang (B, CD14 Mono, CD4 Memory, CD4 Naive), ceiling, half against half", "0.83 to 0.99", ceilings),
            ("Kang, mean of the other types, Pearson of change", "0.65 to 0.80", means),
            ("Kang, mean of the other types, E-distance", "1.4 to 14", distances),
            ("Kang, floor, E-distance", "0", floors)]
    if latent:
        rows += [("Kang, latent arithmetic (VAE-32), Pearson of change", "0.85 to 0.90", latents),
                 ("Kang, latent arithmetic (VAE-32), E-distance", "0.2 to 0.4, and 7.3 (CD14 Mono)", latent_e)]
    return [{"what": w, "known": k, "here": v} for w, k, v in rows]


def mcfaline(asked: argparse.Namespace) -> dict[str, Any]:
    """Count what is said of each of the nine perturbations in three lines: measured, and held out in turn."""
    case, workspace, rows = data.mcfaline(), Workspace(stages.CACHE), []
    for seed in asked.seeds:
        stages.say(f"mcfaline: seed {seed}")
        folds: list[splits.Fold | None] = [None, *splits.unseen_perturbations(case.table, 9, seed)]
        for fold in folds:
            task = data.prepare(workspace, case, fold)
            fitted = perturb_methods.fit(workspace, task, seed, asked.preset, tuple(asked.set), False)
            for condition in (fold.asked if fold else task.bench.table.conditions):
                said = fitted.response.predict(*condition)
                rows.append({"seed": seed, "held_out": fold is not None, "perturbation": condition[0].label,
                             "cell_type": condition[2], "effect": said.effect, "reach": said.reach})
    return {"part": "mcfaline", "rows": rows}


def demo(asked: argparse.Namespace) -> dict[str, Any]:
    """Hold the mean of ours, and the baselines, against the truth: pairs and doses that no cell was made for."""
    from scdiff_core.data.simulate import ACTIVATION, KNOCK_DOWN, STIMULUS, TYPES, Truth

    workspace, rows, synergy = Workspace(stages.CACHE), [], []
    for seed in asked.seeds:
        stages.say(f"demo: seed {seed}")
        case = data.demo(seed)
        truth = Truth.of(case.adata)
        task = data.prepare(workspace, case, None)
        fitted = perturb_methods.fit(workspace, task, seed, asked.preset, tuple(asked.set), False)
        made = truth.conditions()
        singles = [c for c in made if "+" not in c]
        assert all(s.endswith((KNOCK_DOWN, ACTIVATION)) for s in singles)
        every = [f"{a}+{b}" for i, a in enumerate(singles) for b in singles[i + 1:] if f"{a}+{b}" not in made]
        pairs = np.random.default_rng(seed).choice(every, DEMO_PAIRS, replace=False).tolist()
        kept = np.searchsorted(truth.genes, task.prepared.genes, sorter=(order := np.argsort(truth.genes)))

        def mean(name: str, kind: str, dose: float | None = None, truth: Any = truth,
                 kept: np.ndarray = order[kept]) -> np.ndarray:
            return np.asarray(truth.mean(name, kind, dose or 1.0)[kept])

        base = {kind: mean("control", kind) for kind in TYPES}
        for kind in TYPES:
            questions = [("unseen pair", p, None) for p in pairs] + [("unseen dose", STIMULUS, d) for d in DEMO_DOSES]
            for what, name, dose in questions:
                rows += _against_truth(fitted, what, parse(name, "control"), dose, kind,
                                       mean(name, kind, dose) - base[kind], base[kind], _target_mask(task, name), seed)
        for fold in _demo_folds(task.bench.table, seed):
            held = data.prepare(workspace, case, fold)
            fitted_held = perturb_methods.fit(workspace, held, seed, asked.preset, tuple(asked.set), False)
            for what, dose, kind in fold.asked:
                name = _label_of(made, what) if dose is None else STIMULUS
                held_out = "held-out pair" if dose is None else "held-out dose"
                rows += _against_truth(fitted_held, held_out, what, dose, kind,
                                       mean(name, kind, dose) - base[kind], base[kind], _target_mask(task, name), seed)
        synergy += _synergy(fitted, truth, [c for c in made if "+" in c], TYPES, seed)
    return {"part": "demo", "rows": rows, "synergy": synergy}


def _label_of(made: list[str], what: Perturbation) -> str:
    return next(c for c in made if parse(c, "control") == what)


def _demo_folds(table: splits.Table, seed: int) -> list[splits.Fold]:
    """Three folds of the measured pairs, and the doses that lie between others."""
    pairs = table.several()
    order = np.random.default_rng(seed).permutation(len(pairs))
    folds = []
    for f, part in enumerate(np.array_split(order, 3)):
        chosen = {pairs[i] for i in part}
        test = np.zeros(table.n_cells, bool)
        asked = [c for c in table.conditions if c[0] in chosen]
        for c in asked:
            test[table.conditions[c]] = True
        folds.append(splits.Fold("held-out pairs", f"pairs {f + 1} of 3", tuple(asked), test))
    return folds + splits.unseen_doses(table)


def _target_mask(task: data.Task, name: str) -> np.ndarray:
    return scores.target_mask(task.prepared.genes, parse(name, "control").targets)


def _against_truth(fitted: perturb_methods.Fitted, what: str, perturbation: Perturbation, dose: float | None, kind: str,
                   change: np.ndarray, control: np.ndarray, targets: np.ndarray, seed: int) -> list[dict[str, Any]]:
    """Return one row a method: Pearson of the stated change with the true one, and the coverage of ours."""
    from scdiff_core.analysis.perturb.response import log2_fold_change

    known, question = fitted.task.bench.known, baselines.Question(perturbation, dose, kind)
    base = {"what": what, "condition": f"{perturbation.label}{'' if dose is None else f' at {dose:g}'}|{kind}",
            "seed": seed}
    ours = fitted.response.predict(perturbation, dose, kind)
    fold = log2_fold_change(control + change, control)
    inside = (fold >= ours.log2fc_low) & (fold <= ours.log2fc_high)
    inside_shift = (change >= ours.low) & (change <= ours.high)
    rows = [{**base, "method": perturb_methods.MEAN, "pearson": _agree(ours.shift, change, targets),
             "coverage": float(inside.mean()), "coverage_shift": float(inside_shift.mean()), "reach": ours.reach,
             "effect": ours.effect}]
    for name in baselines.SHIFTS:
        guess = baselines.SHIFTS[name](known, question)
        if guess is not None and name != "control":
            rows.append({**base, "method": name, "pearson": _agree(guess[0], change, targets)})
    return rows


def _agree(predicted: np.ndarray, true: np.ndarray, targets: np.ndarray) -> float:
    return scores.change_agreement(predicted, true, np.zeros_like(true), targets)


def _synergy(fitted: perturb_methods.Fitted, truth: Any, pairs: list[str], types: tuple[str, ...],
             seed: int) -> list[dict[str, Any]]:
    """Return for each measured pair how many times its parts' sum it does, by ours, and what it truly is."""
    rows = []
    for name in pairs:
        pair = parse(name, "control")
        multiples = []
        for kind in types:
            whole = fitted.response.predict(pair, None, kind)
            parts = [fitted.response.predict(p, None, kind).shift for p in pair.singles()]
            keep = ~_target_mask(fitted.task, name)
            said = interaction(whole.shift[keep], [p[keep] for p in parts], scale=whole.cell_sd[keep])
            multiples.append(said.scale)
        rows.append({"pair": name, "seed": seed, "kind": truth.pair_kind(name), "multiple": float(np.mean(multiples))})
    return rows
