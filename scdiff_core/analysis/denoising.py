"""Which way of denoising is the best on a dataset: every one judged by counts that it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from scdiff_core.analysis import smoothing
from scdiff_core.analysis.smoothing import Company
from scdiff_core.analysis.thinning import Halves, deviance, error_log1p, halve
from scdiff_core.data.prepared import Prepared, to_log1p

MOST_CHOSEN, MOST_JUDGED = 200, 400  # cells on which parameters are chosen, and methods judged
PSEUDO = (100.0, 300.0, 1000.0, 3000.0, 10000.0)
NEAREST, DIFFUSED, STEPS = (10, 20, 40, 80, 160), (5, 15, 30, 60), (1, 2, 3, 5)
OWN = (0.0, 0.1, 0.3, 0.5)  # share of a cell's own counts that is mixed in again
OURS, PLAIN = "model, with the cell's counts", "model, code alone"
RAW, KNN = "own counts, scaled", "nearest cells summed"
DIFFUSION, MEAN = "diffusion over neighbours", "mean of all cells"


@dataclass(frozen=True)
class Step:
    """How much of the study is done."""

    done: int
    total: int


Way = Callable[[Company], np.ndarray]
Model = Callable[[Halves], dict[str, np.ndarray]]


def ways() -> dict[str, dict[str, Way]]:
    """Return the simple ways with all their parameters: method -> words of the parameters -> way."""
    return {
        RAW: {f"{p:g} pseudo counts": partial(smoothing.scaled, pseudo=p) for p in PSEUDO},
        KNN: {f"{k} neighbours": partial(smoothing.nearest_summed, k=k) for k in NEAREST},
        DIFFUSION: {f"{k} neighbours, {t} step{'s' if t > 1 else ''}": partial(smoothing.diffused, k=k, steps=t)
                    for k, t in product(DIFFUSED, STEPS)},
        MEAN: {"": partial(smoothing.scaled, pseudo=1e9)},
    }


def _mixed(smooth: np.ndarray, own: float, company: Company) -> np.ndarray:
    """Return smoothed shares with so much of a cell's own counts mixed in again."""
    if not own:
        return smooth
    return (1 - own) * smooth + own * smoothing.shares(company.own_counts, company.own_total).toarray()


def _best(options: dict[str, Way], mixtures: tuple[float, ...], company: Company, trial: Halves
          ) -> Generator[None, None, tuple[str, float]]:
    """Return the parameters that predict best, and how much of the own counts to mix in; yields after each."""
    scores: dict[tuple[str, float], float] = {}
    for words, way in options.items():
        smooth = way(company)
        for own in mixtures:
            share = _mixed(smooth, own, company)
            scores[words, own] = float(deviance(trial.kept, trial.total_kept, share).mean())
        yield
    return min(scores, key=scores.__getitem__)


def company_of(prepared: Prepared, rows: np.ndarray, halves: Halves, others: np.ndarray, seed: int) -> Company:
    """Return what the simple ways are given: cells as seen, and other cells.

    Neighbours are found among cells thinned alike, where the two are most alike; their counts are the whole ones.
    """
    others = np.setdiff1d(others, rows)
    thin = halve(prepared.counts[others], prepared.total_counts[others], seed + 1)
    place = [prepared.project(to_log1p(c, np.maximum(t, 1))) for c, t in
             ((halves.seen, halves.total_seen), (thin.seen, thin.total_seen))]
    return Company(place[0], halves.seen, halves.total_seen, place[1], prepared.counts[others],
                   prepared.total_counts[others])


def study(prepared: Prepared, learnt: np.ndarray, judged: np.ndarray, model: Model, seed: int = 0,
          more: dict[str, dict[str, Way]] | None = None) -> Generator[Step, None, dict[str, Any]]:
    """Compare the ways of denoising on cells that no model was trained on; the result is plain JSON.

    Half of each cell's molecules is seen, the other half is what is predicted (`thinning.halve`). The parameters of
    each simple way are those that predict best on training cells. Lower deviance is better; `gap` is by how much a
    way's deviance is above that of the model in the mean of the cells, and `gap_se` its standard error.

    Parameters
    ----------
    learnt, judged
        Rows of the training cells, and of cells that were not trained on.
    model
        What the model expects of thinned cells: name -> shares [n, G]; `OURS` is among them.
    more
        Further ways to compare with, as `ways` gives them.
    """
    rng = np.random.default_rng(seed)
    few = np.sort(rng.permutation(learnt)[:min(MOST_CHOSEN, len(learnt) // 2)])  # the others are their neighbours
    rows = np.sort(rng.permutation(judged)[:MOST_JUDGED])
    every = {**ways(), **(more or {})}
    total, done = 1 + sum(len(v) for v in every.values()) + len(every), 0
    trial = halve(prepared.counts[few], prepared.total_counts[few], seed)
    company = company_of(prepared, few, trial, learnt, seed)
    best: dict[str, tuple[str, float]] = {}
    for method, options in every.items():
        search = _best(options, (0.0,) if method in (RAW, MEAN) else OWN, company, trial)
        while True:
            try:
                next(search)
            except StopIteration as end:
                best[method] = end.value
                break
            done += 1
            yield Step(done, total)
    halves = halve(prepared.counts[rows], prepared.total_counts[rows], seed)
    company = company_of(prepared, rows, halves, learnt, seed)
    found = model(halves)
    done += 1
    yield Step(done, total)
    for method, options in every.items():
        words, own = best[method]
        found[method] = _mixed(options[words](company), own, company)
        done += 1
        yield Step(done, total)
    told = {method: ", ".join(w for w in (words, f"{own:.0%} own" if own else "") if w)
            for method, (words, own) in best.items()}
    each = {name: deviance(halves.kept, halves.total_kept, share) for name, share in found.items()}
    nothing = each[MEAN].mean()
    table: list[dict[str, Any]] = [{"method": name, "parameters": told.get(name, ""), "deviance": float(values.mean()),
              "gain": float(1 - values.mean() / nothing),
              "gap": float((values - each[OURS]).mean()),
              "gap_se": float((values - each[OURS]).std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0,
              "error_log1p": float(error_log1p(halves.kept, halves.total_kept, found[name]).mean())}
             for name, values in each.items()]
    table.sort(key=lambda row: float(row["deviance"]))
    return {"rows": table, "n_cells": len(rows), "n_chosen": len(few), "seed": seed, "sentence": sentence(table)}


def sentence(table: list[dict[str, Any]]) -> str:
    """Say in words which way is the best; within two standard errors nothing is."""
    ours = next(row for row in table if row["method"] == OURS)
    others = [row for row in table if row["method"] not in (OURS, PLAIN)]
    rival = min(others, key=lambda row: row["deviance"])
    share = abs(rival["gap"]) / max(ours["deviance"], 1e-12)
    if rival["gap"] > 2 * rival["gap_se"]:
        return (f"Best here: the model, with each cell's own counts. The next best, {rival['method']}, is off by "
                f"{share:.0%} more.")
    if rival["gap"] < -2 * rival["gap_se"]:
        return (f"Better here than the model: {rival['method']} ({rival['parameters']}), off by {share:.0%} less. "
                "Take the denoised values of this model with care.")
    return f"The model and {rival['method']} are equally good here, as far as these cells can tell."
