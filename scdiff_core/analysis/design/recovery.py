"""Whether a ranking finds known perturbations again: figures of that, and a check inside the training data.

Each perturbation of the training data is hidden in turn (in five folds of names), its real cells are the goal, and all
perturbations of its cell type are ranked, the hidden ones predicted. The rule that finds most is the one users get, and
the errors that were made are those that intervals are drawn from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from scdiff_core.analysis.design import closeness
from scdiff_core.analysis.design.candidates import FIRST, Checked, Trust
from scdiff_core.analysis.design.closeness import ENERGY, RULES, Populations, Shifts
from scdiff_core.analysis.metrics import dense, subsample
from scdiff_core.analysis.perturb.arms import Arms
from scdiff_core.analysis.perturb.response import ResponseModel, fit_arms
from scdiff_core.analysis.perturb.scores import Space
from scdiff_core.data.perturbations import Perturbation
from scdiff_core.errors import ScdiffError

FOLDS = 5
LEAST = 5  # perturbations of a type, for a rank among them to say anything
MOST = 80  # arms that are looked for
CELLS = 100  # of each population
MOST_ERRORS = 60  # of each kind that are kept


def area(rank: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return what each rank (from 1) among n adds to the area under the hit-rate curve: 1 the first, .5 by chance."""
    return np.asarray(1 - (np.asarray(rank, float) - 1) / np.maximum(np.asarray(n, float) - 1, 1))


def recall(rank: np.ndarray, k: int) -> float:
    """Return the share of ranks (from 1) that are among the first k."""
    return float((np.asarray(rank, float) <= k).mean())


def chance(n: np.ndarray, k: int) -> float:
    """Return the share that would be among the first k of n by chance."""
    return float(np.minimum(k / np.asarray(n, float), 1.0).mean())


def check(log1p: Any, arms: Arms, model: ResponseModel, space: Space, seed: int = 0,
          tell: Callable[[float], object] = lambda share: None) -> Checked:
    """Hide the perturbations of the training data in turn, and see which rule finds them again.

    Parameters
    ----------
    log1p
        All cells csr [N, G], of which only those that `arms` names by row are looked at.
    arms
        Of the training cells.
    model
        Fitted to `arms`; its kernel is kept, everything else is fitted without the hidden ones.
    space
        Components in which populations are compared.
    tell
        Called with the share that is done; may end it by raising.
    """
    rng = np.random.default_rng([seed, 5])
    perturbed = np.flatnonzero(~arms.is_control)
    names = rng.permutation(sorted({arms.arms[a].perturbation.label for a in perturbed}))
    looked = _looked_for(arms, perturbed)
    places: list[dict[str, float]] = []
    among: list[int] = []
    errors: dict[str, list[np.ndarray]] = {}
    for f in range(min(FOLDS, len(names))):
        tell(f / FOLDS)
        hidden = np.array([arms.arms[a].perturbation.label in set(names[f::FOLDS]) for a in range(len(arms))])
        if not (~hidden & ~arms.is_control).any():
            continue
        part = fit_arms(arms.take(~hidden), model.genes, model.space.embeddings, model)
        for kind in arms.cell_types:
            goals = [int(a) for a in perturbed if hidden[a] and arms.arms[a].cell_type == kind]
            if goals:
                _one_type(log1p, arms, model, part, space, kind, goals, looked, rng, places, among, errors)
    kept = {k: np.array(v[:MOST_ERRORS], np.float32) for k, v in errors.items()}
    return Checked(_trust(places, np.array(among)), kept)


def _looked_for(arms: Arms, perturbed: np.ndarray) -> set[int]:
    types = np.array([arms.arms[a].cell_type for a in perturbed])
    enough = [a for a, t in zip(perturbed, types, strict=True) if (types == t).sum() >= LEAST]
    return {int(enough[i]) for i in np.linspace(0, len(enough) - 1, min(len(enough), MOST)).round().astype(int)}


def _one_type(log1p: Any, arms: Arms, model: ResponseModel, part: ResponseModel, space: Space, kind: str,
              goals: Sequence[int], looked: set[int], rng: np.random.Generator, places: list[dict[str, float]],
              among: list[int], errors: dict[str, list[np.ndarray]]) -> None:
    """Rank the perturbations of one type for each hidden one, and note the places and the errors made."""
    predicted, known = [], []
    for a, arm in enumerate(arms.arms):
        if arm.perturbation.is_control or arm.cell_type != kind:
            continue
        try:
            predicted.append(part.predict(arm.perturbation, arm.dose, kind))
        except ScdiffError:
            continue  # nothing is known of a hidden one
        known.append(a)
    place = {a: i for i, a in enumerate(known)}
    for a in goals:
        if a in place:
            found = predicted[place[a]]
            errors.setdefault(found.kind, []).append(arms.shift[a] - (found.mean - found.control))
    asked = [a for a in goals if a in place and a in looked]
    if len(known) < LEAST or not asked:
        return
    widen = np.array([np.sqrt(model.calibration.of(r.kind) / part.calibration.of(r.kind)) for r in predicted])
    shifts = Shifts(np.array([r.mean - r.control for r in predicted]), np.array([r.shift for r in predicted]),
                    np.array([r.sd for r in predicted]) * widen.reshape(len(widen), -1),
                    tuple(own_columns(arms.arms[a].perturbation, model) for a in known))
    cell_sd = predicted[0].cell_sd
    home = next(arm.rows for arm in arms.arms if arm.perturbation.is_control and arm.cell_type == kind)
    start = dense(log1p[np.sort(home)[subsample(len(home), CELLS, rng)]])
    made = [np.maximum(start + move.astype(np.float32), min(float(start.min()), 0.0)) for move in shifts.move]
    seen = [i for i, a in enumerate(known) if a not in goals]
    typical = shifts.shift[seen].mean(axis=0) if seen else np.zeros(shifts.shift.shape[1])
    for a in asked:
        rows = arms.arms[a].rows
        held = Populations(dense(log1p[rows[subsample(len(rows), CELLS, rng)]]), start, space)
        if min(len(held.goal), len(start)) < 2:
            continue
        noise = cell_sd**2 / len(rows) + predicted[0].control_error
        scores = closeness.closed_form(shifts, arms.shift[a], noise, cell_sd, typical)
        apart = np.array([held.energy(cells, own) for cells, own in zip(made, shifts.own, strict=True)])
        scores[ENERGY] = apart[:, 1] - apart[:, 0]
        places.append({rule: float(closeness.ranks(s)[place[a]]) for rule, s in scores.items()})
        among.append(len(known))


def own_columns(perturbation: Perturbation, model: ResponseModel) -> tuple[int, ...]:
    """Return the columns of the genes that a perturbation targets, as far as they are measured."""
    return tuple(sorted(set(model.own.columns(perturbation))))


def _trust(places: Sequence[Mapping[str, float]], n: np.ndarray) -> Trust | None:
    if len(places) < LEAST:
        return None
    rank = {rule: np.array([p[rule] for p in places]) for rule in RULES}
    return Trust(choose(rank, n), len(n), int(np.median(n)), {r: float(area(v, n).mean()) for r, v in rank.items()},
                 {r: recall(v, FIRST) for r, v in rank.items()}, chance(n, FIRST))


def choose(rank: Mapping[str, np.ndarray], n: np.ndarray) -> str:
    """Return the rule with the largest area; the E-distance unless that is better by more than its standard error."""
    every = {rule: area(r, n) for rule, r in rank.items()}
    best = max(every, key=lambda rule: every[rule].mean())
    gain = every[best] - every[ENERGY]
    error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.inf
    return best if gain.mean() > error else ENERGY
