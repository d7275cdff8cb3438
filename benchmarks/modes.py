"""The modes of generation, each measured for what it claims, beside its floor and its baselines.

    python -m benchmarks.modes [--seeds 0 1 2] [--only alone combinations labels path change] [--quick]

Unseen combinations (Kang: a cell type under a stimulus that training never showed), guidance by a classifier towards a
label that the model was not trained with (pancreas), paths through a state that was held out (pancreas: Ngn3-high
cells, the middle of Ductal to Beta), and real cells changed in one respect (Kang). Models are those of the preset
`quick`. Prints markdown tables; writes results/modes.json.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch: CPU seconds, not cores, are compared

import numpy as np
import scipy.sparse as sp
import torch

from benchmarks import modes_data as data
from benchmarks import modes_path, modes_tables, stages
from benchmarks.modes_data import Asked
from scdiff_core import keys
from scdiff_core.analysis import metrics
from scdiff_core.config import UNSEEN_GUIDANCE, UNSEEN_SCALE, ByLabel, GenerateConfig
from scdiff_core.config_modes import ChangeConfig
from scdiff_core.config_screen import Chosen
from scdiff_core.engine.classifier import classifiers_for, ready
from scdiff_core.engine.denoised import Denoised
from scdiff_core.engine.from_cells import FROM, change
from scdiff_core.engine.generate import generate
from scdiff_core.engine.realism import log1p_of, sampled
from scdiff_core.engine.steps import follow
from scdiff_core.selection import pack_rows
from scdiff_core.workspace import Workspace, write_json

Row = dict[str, Any]
CELLS = 400  # of each combination or label
GUIDANCES: dict[str, dict[str, Any]] = {
    "scale 1": {"guidance_scale": 1.0}, "scale 1.15 (the usual)": {},
    "2 for each covariate": {"guidance_scale": 1.0, "guidance": {"cell_type": 2.0, "condition": 2.0}},
}
STRICTER = f"{UNSEEN_GUIDANCE:g} for each covariate"
BY_LABELS = "classifiers of both labels"
PAGE = f"{STRICTER}, and classifiers of both labels (the page's way)"
SCALES = (1.0, 2.0, 4.0)  # of classifier guidance
LABELS = ("Alpha", "Beta", "Delta", "Epsilon")
STRENGTHS = (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
RESPONDS = 0.25  # log1p: genes whose mean differs by less between the arms, within each type, do not respond
EXPRESSED = 0.2  # log1p: least mean of a gene


def made(asked: Asked, **settings: Any) -> Any:
    """Return the log1p values of generated cells."""
    config = GenerateConfig(run=asked.job.id, **settings)
    classifiers = classifiers_for(asked.model, asked.job, config, lambda: asked.prepared)
    return follow(generate(asked.model, config, classifiers), lambda step, share: None).layers[keys.LOG1P]


def combinations(asked: Asked, seed: int, n: int) -> list[Row]:
    """Share of cells that carry both labels of a combination that training never showed.

    Classifiers of type and of condition learn from the real training cells and half of the held-out ones (with those
    they know both parts and the whole); the other half is the floor.
    """
    p, rng = asked.prepared, np.random.default_rng(seed)
    types, arms, log1p = p.labels("cell_type"), p.labels("condition"), p.log1p()
    out = [(dict(rule)["cell_type"], dict(rule)["condition"]) for rule in asked.question.hold_out]
    held = [np.flatnonzero((types == c) & (arms == s)) for c, s in out]
    halves = [np.array_split(rng.permutation(h), 2) for h in held]
    known = np.concatenate([p.rows(keys.TRAIN), *(h[0] for h in halves)])
    typed = known[types[known] != ""]
    type_of = metrics.label_classifier(log1p[typed], types[typed])
    arm_of = metrics.label_classifier(log1p[known], arms[known])
    real = Denoised.of(asked.model, p, seed=seed)
    rows: list[Row] = []
    for (cell, arm), (first, floor) in zip(out, halves, strict=True):
        def shares(cells: Any, who: str, cell: str = cell, arm: str = arm, floor: np.ndarray = floor) -> None:
            right = [type_of(cells) == cell, arm_of(cells) == arm]
            rows.append({"seed": seed, "combination": f"{cell}, {arm}", "cells": who,
                         "both": float(np.mean(right[0] & right[1])), "type": float(np.mean(right[0])),
                         "arm": float(np.mean(right[1])),
                         "energy": _energy(cells, log1p[floor]), "n": int(cells.shape[0])})

        shares(log1p[floor], "real, held out (floor)")
        rows[-1]["energy"] = _energy(log1p[first], log1p[floor])
        for name, how in GUIDANCES.items():
            shares(made(asked, n_cells=n, where={"cell_type": cell, "condition": arm}, seed=seed, **how), name)
        where = {"cell_type": cell, "condition": arm}
        both = tuple(ByLabel(column=c, value=v, scale=UNSEEN_SCALE) for c, v in where.items())
        stricter = dict.fromkeys(where, UNSEEN_GUIDANCE)
        shares(made(asked, n_cells=n, where=where, seed=seed, guidance=stricter), STRICTER)
        shares(made(asked, n_cells=n, where=where, seed=seed, classifier=both), BY_LABELS)
        shares(made(asked, n_cells=n, where=where, seed=seed, guidance=stricter, classifier=both), PAGE)
        own = _train(p, (types == cell) & (arms != arm))
        shares(log1p[own], "real, the other arm")
        shares(log1p[rng.permutation(_train(p, arms == arm))], "real, any type of that arm")
        shares(_arithmetic(asked, real, types, arms, cell, arm, n, seed), "latent arithmetic")
    return rows


def _energy(cells: Any, real: Any) -> float | None:
    """Return the energy distance of two sets, equally many of each, in principal components of both; None for few."""
    few = min(cells.shape[0], real.shape[0])
    return metrics.energy_distance(*metrics.joint_pca(cells[:few], real[:few], 20)) if few > 4 else None


def _train(prepared: Any, keep: np.ndarray) -> np.ndarray:
    """Return the training cells of a mask."""
    rows = prepared.rows(keys.TRAIN)
    return rows[keep[rows]]


def _arithmetic(asked: Asked, real: Denoised, types: np.ndarray, arms: np.ndarray, cell: str, arm: str, n: int,
                seed: int) -> Any:
    """Return cells of a type in the other arm, their codes moved by the mean difference of the arms in other types."""
    t, a = types[real.rows], arms[real.rows]
    moves = [real.z[_at((t == k) & (a == arm))].mean(0) - real.z[_at((t == k) & (a != arm))].mean(0)
             for k in sorted(set(t.tolist()) - {"", cell})
             if ((t == k) & (a == arm)).sum() >= 10 and ((t == k) & (a != arm)).sum() >= 10]
    own = real.z[_at((t == cell) & (a != arm))]
    some = torch.from_numpy(np.random.default_rng(seed).integers(len(own), size=n))
    values, totals = sampled(asked.model, own[some] + torch.stack(moves).mean(0), torch.Generator().manual_seed(seed))
    return log1p_of(asked.model, values, totals)


def _at(mask: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.flatnonzero(mask))


def labels(asked: Asked, seed: int, n: int) -> list[Row]:
    """Share of cells with a label that the model was not trained with, by guidance, without it, and by rejection."""
    p = asked.prepared
    types, log1p = p.labels("type"), p.log1p()
    train, test = p.rows(keys.TRAIN), p.rows(keys.TEST)
    classify = metrics.label_classifier(log1p[train], types[train])
    where = {"stage": "4"}
    plain = made(asked, n_cells=4 * n, where=where, seed=seed)
    rows: list[Row] = []
    for label in LABELS:
        truth = test[types[test] == label]

        def add(cells: Any, who: str, draws: float | None, label: str = label, truth: np.ndarray = truth) -> None:
            energy = _energy(cells, log1p[truth])
            share = float(np.mean(classify(cells) == label)) if cells.shape[0] else None
            rows.append({"seed": seed, "label": label, "cells": who, "share": share, "energy": energy,
                         "draws": draws, "n": int(cells.shape[0])})

        add(log1p[truth], "real, held out (floor)", None)
        rows[-1]["energy"] = _energy(log1p[train[types[train] == label]], log1p[truth])
        add(plain[:n], "no guidance", 1.0)
        for scale in SCALES:
            add(made(asked, n_cells=n, where=where, seed=seed,
                     classifier=(ByLabel(column="type", value=label, scale=scale),)), f"guidance {scale:g}", 1.0)
        kept = _rejected(asked, label, plain)
        add(kept[:n], "rejection", plain.shape[0] / max(1, kept.shape[0]))
    return rows


def _rejected(asked: Asked, label: str, plain: Any) -> Any:
    """Return the plain cells that the guiding classifier itself takes for the label, by their codes without noise."""
    classifier = ready(asked.model, asked.job, asked.prepared, ByLabel(column="type", value=label))
    log1p = torch.from_numpy(plain.toarray())
    with torch.no_grad():
        z = asked.model.codec.encode(log1p, torch.full((len(log1p),), float(np.median(asked.model.total_counts)))).mean
    found = classifier.log_prob(z[:, :classifier.n_latent]).argmax(1).numpy() == classifier.index(label, "type")
    return plain[np.flatnonzero(found)]


def changed(asked: Asked, seed: int, n: int) -> list[Row]:
    """How many changed cells carry the new label and how much of the rest is kept, by how far they were noised."""
    p = asked.prepared
    types, arms, log1p = p.labels("cell_type"), p.labels("condition"), p.log1p()
    unseen = [c for c, s in data.COMBINATIONS if s == "stim"] + [""]
    train, test = p.rows(keys.TRAIN), p.rows(keys.TEST)
    typed = train[types[train] != ""]
    type_of = metrics.label_classifier(log1p[typed], types[typed])
    arm_of = metrics.label_classifier(log1p[train], arms[train])
    rows_ = test[(arms[test] == "ctrl") & ~np.isin(types[test], unseen)]
    quiet = _quiet(p, types, arms)
    centre = {t: np.asarray(log1p[train[types[train] == t]][:, quiet].mean(0)).ravel() for t in set(types[rows_])}
    own = np.stack([centre[t] for t in types[rows_]])
    before = log1p[rows_][:, quiet].toarray() - own
    target = test[(arms[test] == "stim") & ~np.isin(types[test], unseen)]
    mask = np.zeros(p.n_cells, bool)
    mask[rows_] = True
    rows: list[Row] = []

    def add(cells: Any, who: str, strength: float | None) -> None:
        after = cells[:, quiet].toarray() - own
        few = min(len(target), cells.shape[0])
        energy = metrics.energy_distance(*metrics.joint_pca(cells[:few], log1p[target[:few]], 20))
        rows.append({"seed": seed, "cells": who, "strength": strength, "new": float(np.mean(arm_of(cells) == "stim")),
                     "type": float(np.mean(type_of(cells) == types[rows_])), "kept": _by_cell(before, after),
                     "energy": energy, "n": len(rows_)})

    add(log1p[rows_], "as they were", 0.0)
    for strength in STRENGTHS:
        config = ChangeConfig(run=asked.job.id, cells=Chosen(id="0" * 12, name="test", rows=pack_rows(mask)),
                              to={"condition": "stim"}, strength=strength, seed=seed)
        adata = follow(change(asked.model, p, config), lambda step, share: None)
        assert list(adata.obs[FROM]) == list(p.obs.index[rows_].astype(str))
        add(adata.layers[keys.LOG1P], "changed", strength)
    rng = np.random.default_rng(seed)
    pools = [test[(arms[test] == "ctrl") & (types[test] == types[r])] for r in rows_]
    other = [rng.choice(pool[pool != r] if len(pool) > 1 else pool) for r, pool in zip(rows_, pools, strict=True)]
    add(log1p[np.array(other)], "another real cell of its type", None)
    add(_moved(asked, types, arms, rows_, seed), "latent arithmetic", None)
    new = made_like(asked, types[rows_], seed)
    add(new, "new cells of its type and the new arm", None)
    return rows


def made_like(asked: Asked, types: np.ndarray, seed: int) -> Any:
    """Return one wholly new stimulated cell for each type in a list."""
    cells, order = [], []
    for i, t in enumerate(sorted(set(types.tolist()))):
        where = np.flatnonzero(types == t)
        cells.append(made(asked, n_cells=len(where), where={"cell_type": t, "condition": "stim"}, seed=seed + 100 + i))
        order.append(where)
    return sp.vstack(cells, format="csr")[np.argsort(np.concatenate(order))]


def _moved(asked: Asked, types: np.ndarray, arms: np.ndarray, rows: np.ndarray, seed: int) -> Any:
    """Return cells whose codes are moved by the mean difference of the arms in their own type."""
    real = Denoised.of(asked.model, asked.prepared, seed=seed)
    mine = Denoised.of(asked.model, asked.prepared, rows=rows, seed=seed)
    t, a = types[real.rows], arms[real.rows]
    shift = torch.stack([real.z[_at((t == k) & (a == "stim"))].mean(0) - real.z[_at((t == k) & (a == "ctrl"))].mean(0)
                         for k in types[rows]])
    shift[:, -1] = 0  # the depth stays
    values, totals = sampled(asked.model, mine.z + torch.nan_to_num(shift), torch.Generator().manual_seed(seed))
    return log1p_of(asked.model, values, totals)


def _quiet(p: Any, types: np.ndarray, arms: np.ndarray) -> np.ndarray:
    """Return the expressed genes that do not respond within any type of enough training cells."""
    log1p, train = p.log1p(), p.rows(keys.TRAIN)
    most = np.zeros(p.n_genes)
    for t in set(types[train].tolist()) - {""}:
        arm = [train[(types[train] == t) & (arms[train] == s)] for s in ("ctrl", "stim")]
        if min(map(len, arm)) >= 20:
            ctrl, stim = (np.asarray(log1p[r].mean(0)).ravel() for r in arm)
            most = np.maximum(most, np.abs(stim - ctrl))
    return np.flatnonzero((most < RESPONDS) & (np.asarray(log1p[train].mean(0)).ravel() > EXPRESSED))


def _by_cell(before: np.ndarray, after: np.ndarray) -> float:
    """Return the mean correlation of what cells are beyond the mean of their type, before and after."""
    a, b = before - before.mean(1, keepdims=True), after - after.mean(1, keepdims=True)
    return float(np.mean((a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1) + 1e-12)))


ALONE = tuple(f"combination-{i}" for i in range(len(data.COMBINATIONS)))
CHOOSING = tuple(f"choosing-{i}" for i in range(len(data.CHOOSING)))
PARTS: dict[str, tuple[tuple[str, ...], Callable[[Asked, int, int], list[Row]]]] = {  # models, and what is measured
    "alone": (ALONE, combinations), "combinations": (("combinations",), combinations),
    "choosing": (CHOOSING, combinations), "labels": (("time",), labels),
    "change": (("combinations",), changed), "path": (("types",), modes_path.by_type),
    "time": (("time",), modes_path.by_number),
}


def main() -> None:
    """Train what is not there, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=[p for p in PARTS if p != "choosing"])
    parser.add_argument("--quick", action="store_true", help="one seed, few steps: to try it out")
    parser.add_argument("--results", type=Path, default=stages.RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    seeds, n = (args.seeds[:1], 60) if args.quick else (args.seeds, CELLS)
    settings = ("codec.steps=60", "diffusion.steps=80") if args.quick else ()
    workspace = Workspace(stages.CACHE)
    path = args.results / "modes.json"
    found: dict[str, list[Row]] = {}
    for seed in seeds:
        for part in args.only:
            questions, measure = PARTS[part]
            for question in questions:
                asked = data.asked(workspace, data.QUESTIONS[question], seed, settings=settings)
                found.setdefault(part, []).extend(measure(asked, seed, n))
            stages.say(f"{part}, seed {seed}: done")
            write_json(path, {"seeds": seeds, "preset": data.PRESET, "parts": found})
    print(modes_tables.tables(found))


if __name__ == "__main__":
    main()
