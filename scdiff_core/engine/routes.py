"""How to get there: perturbations ranked by how near they bring one's own cells to designed ones.

The closed-form change of the mean is predicted for every candidate, which takes a millisecond each; cells are made for
those that are near the top by any of its rules, and held against the designed cells. Which rule ranks is found by
hiding known perturbations in turn (`analysis.design.recovery`), once for each trained run.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from scdiff_core import keys
from scdiff_core.analysis.design import closeness
from scdiff_core.analysis.design.candidates import Checked, Routes
from scdiff_core.analysis.design.closeness import COSINE, DISTANCE, ENERGY, LIKELY, RULES, Populations, Shifts, Way
from scdiff_core.analysis.design.judge import Judge, words
from scdiff_core.analysis.design.recovery import own_columns
from scdiff_core.analysis.metrics import dense, subsample
from scdiff_core.analysis.perturb.response import UNKNOWN, Response
from scdiff_core.analysis.perturb.scores import Space
from scdiff_core.config import FORMAT, Frozen
from scdiff_core.data.perturbations import Perturbation
from scdiff_core.engine.screen import MOST, Asked
from scdiff_core.errors import ScdiffError, nearest

if TYPE_CHECKING:
    from scdiff_core.engine.perturb_model import PerturbModel

MOST_CELLS = 200  # at the start and at the goal, for distances
AT_ONCE = 2  # candidates whose cells are made at the same time
LEAST_SHARED = 0.2  # of the model's genes that the designed cells must have
ERRORS = 30  # draws of an error where none was seen


class RoutesConfig(Frozen):
    """What to rank. Without `items`: all that was measured, at every dose, and (`pairs`) all pairs of its parts."""

    kind: Literal["routes"] = "routes"
    format: int = FORMAT
    run: str
    items: tuple[Asked, ...] = ()
    pairs: bool = True
    where: dict[str, str] = Field(default_factory=dict)  # of the control cells to start from
    leave_out: tuple[str, ...] = ()  # genes that no comparison looks at
    most: int = Field(default=30, ge=1)  # candidates whose cells are made
    n_cells: int = Field(default=100, ge=2)  # of each
    seed: int = 0


@dataclass(frozen=True)
class RoutesProgress:
    """Candidates done of all to do; between two a caller may let go."""

    done: int
    total: int
    name: str


@dataclass(frozen=True)
class Goal:
    """The cells to be reached: log1p csr [n, G] with the names of their genes, and what they are called."""

    log1p: sp.csr_matrix
    genes: np.ndarray
    name: str


@dataclass(frozen=True)
class _Start:
    """The cells to be moved: log1p [S, G], mean over all of them, and their types with shares and means."""

    cells: np.ndarray
    mean: np.ndarray
    n: int
    types: dict[str, tuple[float, np.ndarray]]


def routes(model: PerturbModel, goal: Goal, config: RoutesConfig, prepared: Any = None,
           checked: Checked | None = None) -> Generator[RoutesProgress, None, Routes]:
    """Rank candidates by how near they bring control cells to the goal; `Routes` is the generator's return value.

    Parameters
    ----------
    prepared
        The dataset of the model, for its principal components; None: they are fitted to the cells at hand.
    checked
        What the check inside the training data found; None: ranked by the E-distance, and intervals are those of the
        predicted mean alone.

    Raises
    ------
    ScdiffError
        No control cell to start from, too few cells or shared genes, too long a list, or nothing to be predicted.
    """
    rng = np.random.default_rng([config.seed, 9])
    start = _start(model, config, rng)
    target, keep, warnings = _aligned(goal, model, config.leave_out)
    items, refused = candidates(model, config)
    found: list[tuple[Asked, Perturbation, Response]] = []
    total = len(items) + min(len(items), config.most)
    for i, (item, what) in enumerate(items):
        if i % 20 == 0:
            yield RoutesProgress(i, total, item.name)
        try:
            found.append((item, what, _response(model, what, item.dose, start)))
        except ScdiffError as error:
            refused[item.name] = f"{error.what} {error.why}"
    if not found:
        raise ScdiffError("No candidate can be predicted.", next(iter(refused.values()), "The list is empty."),
                          "Choose perturbations that were measured or have an embedding.")
    wanted = np.where(keep, target.mean(axis=0, dtype=np.float64) - start.mean, 0.0)
    every = [r for _, _, r in found]
    shifts = Shifts(np.array([r.mean - r.control for r in every]), np.array([r.shift for r in every]),
                    np.array([r.sd for r in every]), tuple(own_columns(w, model.response) for _, w, _ in found))
    seen = [i for i, r in enumerate(every) if r.kind in ("measured", "dose", "type")]
    typical = shifts.shift[seen].mean(axis=0) if seen else np.zeros(len(wanted))
    noise = every[0].cell_sd**2 / len(target) + every[0].control_error
    scores = closeness.closed_form(shifts, wanted, noise, every[0].cell_sd, typical, keep)
    near = closeness.prefilter(scores, config.most)
    held = Populations(target[subsample(len(target), MOST_CELLS, rng)], start.cells,
                       _space(prepared, start.cells, target, keep, config.seed))
    ways: dict[int, Way] = {}
    answers = _asked(model, [(found[i][1], found[i][0].dose) for i in near], config)
    for done, (i, cells) in enumerate(zip(near, answers, strict=True)):
        yield RoutesProgress(len(items) + done, total, found[i][0].name)
        ways[int(i)] = held.way(cells, shifts.own[i], _errors(checked, every[i], rng), rng)
    yield RoutesProgress(total, total, "")
    rule = checked.trust.rule if checked is not None and checked.trust is not None else ENERGY
    orders = {r: _order(r, scores, ways) for r in RULES}
    places = {r: {i: rank for rank, i in enumerate(order, 1)} for r, order in orders.items()}
    judge = Judge.of(np.asarray(model.genes).astype(str), str(model.roles.control), _doses(model), wanted, keep,
                     every[0].cell_sd, len(target), start.n)
    rows = tuple(judge.route(found[i][1], found[i][0].dose, found[i][2], ways.get(i), float(scores[COSINE][i]),
                             {r: places[r][i] for r in (rule, *RULES)}, shifts.own[i]) for i in orders[rule])
    unknown = next((i for i, r in enumerate(rows) if r.kind not in UNKNOWN), len(rows))
    if rule == LIKELY and unknown:
        warnings.append(f"Of the first {unknown} little is known: they were not measured, nor was any part of them. "
                        "They come first because what is known of the others speaks against those, not because they "
                        "are sure to get there.")
    return Routes(rows, rule, RULES[rule], words(rows), any(r.useful for r in rows), _start_words(config), goal.name,
                  start.n, len(target), int(keep.sum()), tuple(config.leave_out), refused,
                  None if checked is None else checked.trust, tuple(warnings))


def candidates(model: PerturbModel, config: RoutesConfig) -> tuple[list[tuple[Asked, Perturbation]], dict[str, str]]:
    """Return what is to be ranked, each once, and why some of it was refused.

    Raises
    ------
    ScdiffError
        There are more than can be ranked at a time.
    """
    items = config.items or tuple(_usual(model, config.pairs))
    if len(items) > MOST:
        raise ScdiffError("The candidates cannot be ranked.", f"There are {len(items):,}; {MOST:,} can be ranked at a "
                          "time.", "Leave the pairs out, or name fewer.")
    out: dict[tuple[str, float | None], tuple[Asked, Perturbation]] = {}
    refused: dict[str, str] = {}
    for item in items:
        try:
            what = model.read(item.perturbation)
        except ScdiffError as error:
            refused[item.name] = error.why
            continue
        out.setdefault((what.label, item.dose), (Asked(perturbation=what.label, dose=item.dose), what))
    return list(out.values()), refused


def _usual(model: PerturbModel, pairs: bool) -> list[Asked]:
    measured = list(dict.fromkeys((i.perturbation.label, i.dose) for i in model.response.items))
    labels = {label for label, _ in measured}
    other = [v for v in model.vocab.find(keys.PERTURBATION).values if v != model.roles.control]
    found = [Asked(perturbation=label, dose=dose) for label, dose in measured]
    found += [Asked(perturbation=v) for v in other if model.read(v).label not in labels]
    if pairs:
        singles = [p for p in dict.fromkeys(i.perturbation for i in model.response.items if i.dose is None)
                   if len(p.parts) == 1]
        found += [Asked(perturbation=f"{a.label}+{b.label}") for a, b in itertools.combinations(singles, 2)
                  if a.targets != b.targets]
    return found


def _start(model: PerturbModel, config: RoutesConfig, rng: np.random.Generator) -> _Start:
    rows = model.pool_of(config.where)
    types = model.types_of(rows)
    log1p = model.log1p(model.controls.cells.take(rows))
    if len(rows) < 2:
        raise ScdiffError("There are too few cells to start from.", "It is one control cell.",
                          "Choose other cells, or more of them.")
    means = {t: (float((types == t).mean()), np.asarray(log1p[types == t].mean(0), float).ravel())
             for t in dict.fromkeys(types.tolist())}
    return _Start(dense(log1p[subsample(len(rows), MOST_CELLS, rng)]), np.asarray(log1p.mean(0), float).ravel(),
                  len(rows), means)


def _aligned(goal: Goal, model: PerturbModel, leave_out: Sequence[str]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the goal's cells in the model's genes [n, G], which genes are compared bool [G], and warnings."""
    if goal.log1p.shape[0] < 2:
        raise ScdiffError("There are too few cells to get to.", f"'{goal.name}' has {goal.log1p.shape[0]}.",
                          "Design more cells, or choose another selection.")
    names = np.asarray(model.genes).astype(str)
    place = {str(g): i for i, g in enumerate(goal.genes)}
    at = np.array([place.get(g, -1) for g in names])
    keep = at >= 0
    if keep.mean() < LEAST_SHARED:
        raise ScdiffError("The designed cells do not go with this model.",
                          f"They have {int(keep.sum()):,} of its {len(names):,} genes.",
                          "Design cells with a model of the same dataset.")
    warnings = [] if keep.all() else [f"{int((~keep).sum()):,} of {len(names):,} genes are not in the designed cells "
                                      "and are not compared."]
    cells = np.zeros((goal.log1p.shape[0], len(names)), np.float32)
    cells[:, keep] = dense(goal.log1p[:, at[keep]])
    known = {g.casefold(): i for i, g in enumerate(names)}
    for gene in leave_out:
        if gene.casefold() not in known:
            raise ScdiffError(f"The gene '{gene}' cannot be left out.", nearest(gene, names.tolist()) or
                              "The model does not know it.", "Check its name.")
        keep[known[gene.casefold()]] = False
    return cells, keep, warnings


def _space(prepared: Any, start: np.ndarray, target: np.ndarray, keep: np.ndarray, seed: int) -> Space:
    """Return components in which only the compared genes count."""
    space = Space.fit(np.vstack([start, target]), seed=seed) if prepared is None else \
        Space(prepared.pca_mean, prepared.pca_components)
    return Space(space.mean, np.where(keep, space.components, 0.0).astype(np.float32))


def _response(model: PerturbModel, what: Perturbation, dose: float | None, start: _Start) -> Response:
    """Return the predicted change of the mean of the cells at the start, those of several types together."""
    from scdiff_core.engine.predicted import together

    return together([(max(1, round(share * start.n)), model.response.predict(what, dose, kind, mean))
                     for kind, (share, mean) in start.types.items()])


def _asked(model: PerturbModel, todo: Sequence[tuple[Perturbation, float | None]],
           config: RoutesConfig) -> Generator[np.ndarray, None, None]:
    """Yield the predicted cells of some candidates, log1p [n, G], in order."""
    pool = ThreadPoolExecutor(min(AT_ONCE, os.cpu_count() or 1))
    try:
        waiting = [pool.submit(model.ask, what, dose, config.where, config.n_cells, config.seed)
                   for what, dose in todo]
        for future in waiting:
            yield dense(future.result().log1p)
    finally:  # also where nobody wants the rest any more
        pool.shutdown(wait=True, cancel_futures=True)


def _errors(checked: Checked | None, response: Response, rng: np.random.Generator) -> np.ndarray:
    """Return errors that the mean of a prediction may have [E, G]: those made on hidden ones of its kind."""
    seen = {} if checked is None else checked.errors
    if response.kind in seen and response.kind != "measured":
        return seen[response.kind]
    return rng.normal(0.0, 1.0, (ERRORS, len(response.sd))) * response.sd


def _order(rule: str, scores: Mapping[str, np.ndarray], ways: Mapping[int, Way]) -> list[int]:
    """Return the candidates, best first; by the E-distance, those without cells come last."""
    if rule != ENERGY:
        return np.argsort(-scores[rule], kind="stable").tolist()
    near = sorted(ways, key=lambda i: -(ways[i].nothing - ways[i].energy[0]))
    rest = [i for i in np.argsort(-scores[DISTANCE], kind="stable").tolist() if i not in ways]
    return [*near, *rest]


def _doses(model: PerturbModel) -> dict[Perturbation, list[float]]:
    """Return the measured doses of each perturbation that has any, in order."""
    found: dict[Perturbation, set[float]] = {}
    for i in model.response.items:
        if i.dose is not None:
            found.setdefault(i.perturbation, set()).add(i.dose)
    return {what: sorted(doses) for what, doses in found.items()}


def _start_words(config: RoutesConfig) -> str:
    asked = ", ".join(v for v in config.where.values() if v not in (keys.ANY, keys.AS_IN_DATA))
    return f"control cells of {asked}" if asked else "control cells"
