"""The report card of a model of perturbations: held-out conditions, ours beside every baseline and the floor.

What a report shows and what the benchmark measures are reckoned here, by the same functions, from a prepared dataset
and one callable a method. Nothing but the training cells is given to any method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from scdiff_core import keys
from scdiff_core.analysis.perturb import baselines, latent, panel, scores, splits
from scdiff_core.analysis.perturb.arms import collect
from scdiff_core.data.chosen import evenly
from scdiff_core.errors import ScdiffError

FLOOR, SCALED_BY = "floor", "mean response"
SEEN = "held-out cells of what was trained on"
MOST_CELLS = 200
LEAST_CELLS = 8  # real cells that a condition must have to be judged
MOST_REAL, MOST_CONTROL, MOST_SPACE = 4_000, 10_000, 50_000  # that are looked at: of a condition, a type, of all
Tell = Callable[[str, float], None]

Answer = Callable[[splits.Condition, int], "baselines.Guess | None"]


def name_of(condition: splits.Condition) -> str:
    """Return a condition as text: ``"A+B|3|type"``, without what it does not have."""
    what, dose, kind = condition
    return "|".join([what.label, *([f"{dose:g}"] if dose is not None else []), *([kind] if kind else [])])


@dataclass(frozen=True)
class Bench:
    """A prepared dataset, laid out to judge predictions of its held-out conditions.

    Attributes
    ----------
    prepared
        Its training cells are what may be known.
    vectors
        Perturbed genes to their vectors, for the baselines that need a likeness.
    """

    prepared: Any
    vectors: Mapping[str, np.ndarray] = field(default_factory=dict)
    _kept: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def log1p(self) -> Any:
        """All cells, log1p csr [N, G]."""
        return self.prepared.log1p()

    @cached_property
    def table(self) -> splits.Table:
        """The conditions of all cells."""
        return splits.Table.of(self.prepared.obs, self.prepared.roles)

    @cached_property
    def known(self) -> baselines.Known:
        """What the baselines may know."""
        rows = self.prepared.rows(keys.TRAIN)
        arms = collect(self.log1p, self.prepared.obs, self.prepared.roles, rows)
        return baselines.Known(self.log1p, arms, self.prepared.genes, self.vectors)

    @cached_property
    def space(self) -> scores.Space:
        """Where populations are compared: of all real cells of the data."""
        return scores.Space.fit(self.log1p[evenly(np.arange(self.log1p.shape[0]), MOST_SPACE)])

    @cached_property
    def test(self) -> np.ndarray:
        """The cells that are not learnt from, bool [N]."""
        return np.asarray((self.prepared.obs[keys.SPLIT] == keys.TEST).to_numpy())

    def unseen(self) -> list[splits.Condition]:
        """Return the conditions of which no cell is learnt from, and whose type has controls to start from."""
        kinds = {a.cell_type for a in self.known.arms.arms if a.perturbation.is_control}
        return [c for c, rows in self.table.conditions.items() if self.test[rows].all() and c[2] in kinds]

    def asked(self) -> list[splits.Condition]:
        """Return the conditions to judge, of at least `LEAST_CELLS` held-out cells: the unseen ones, else the seen."""
        unseen = [c for c in self.unseen() if len(self.rows_of(c)) >= LEAST_CELLS]
        return unseen or [c for c in self.table.conditions if len(self.rows_of(c)) >= LEAST_CELLS]

    def rows_of(self, condition: splits.Condition) -> np.ndarray:
        """Return the held-out cells of a condition: all of an unseen one."""
        rows = self.table.conditions[condition]
        return evenly(rows[self.test[rows]], MOST_REAL)

    def controls(self, kind: str) -> np.ndarray:
        """Return the control cells of a type that were learnt from: every change, real or predicted, is against these.

        With others as the reference, an unmoved control would have a direction: their noise.
        """
        rows = self.table.control[kind]
        own = rows[~self.test[rows]]
        return evenly(own if len(own) else rows, MOST_CONTROL)

    def kind(self, condition: splits.Condition) -> str:
        """Return what is unseen of a condition, in words; `SEEN` where it was trained on."""
        if not self.test[self.table.conditions[condition]].all():
            return SEEN
        seen = [c for c, rows in self.table.conditions.items() if not self.test[rows].all()]
        what, dose, kind = condition
        same = [c for c in seen if c[0] == what]
        if same:
            here = [c for c in same if c[2] == kind]
            return splits.DOSE if here and dose is not None else splits.TYPE
        if len(what.parts) > 1:
            alone = {c[0] for c in seen}
            found = sum(p in alone for p in what.singles())
            return splits.PAIR_BOTH if found == len(what.parts) else splits.PAIR_ONE if found else splits.PAIR_NONE
        return splits.PERTURBATION if any(c[2] == kind for c in seen) else splits.BOTH

    def truth(self, condition: splits.Condition) -> scores.Truth:
        """Return the held-out real cells of a condition, with what predictions of it are held against."""
        kind = condition[2]
        return scores.Truth.of(self.log1p[self.rows_of(condition)], self.log1p[self.controls(kind)],
                               baselines.centroid(self.known, kind), self.prepared.genes, condition[0].targets,
                               self.space)

    def n_cells(self, condition: splits.Condition) -> int:
        """Return how many cells every method is asked for: no more than there are controls to start from."""
        return int(min(MOST_CELLS, len(self.known.control_rows(condition[2]))))

    def discrimination(self, condition: splits.Condition, mean: np.ndarray) -> float:
        """Return the PDS of a predicted mean [G] among the real changes of all conditions of its type.

        NaN where there is but one.
        """
        real, control, keep = self._changes(condition[2])
        if len(real) < 2:
            return float("nan")
        name = name_of(condition)
        return panel.discrimination({name: (mean - control)[keep]}, real)[name]

    def _changes(self, kind: str) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """Return the real changes of all conditions of a type, its control mean, and the genes that count."""
        if kind not in self._kept:
            same = [c for c in self.table.conditions if c[2] == kind]
            keep = ~scores.target_mask(self.prepared.genes, [t for c in same for t in c[0].targets])
            control = self._mean(self.controls(kind))
            real = {name_of(c): (self._mean(self.table.conditions[c]) - control)[keep] for c in same}
            self._kept[kind] = real, control, keep
        return self._kept[kind]

    def _mean(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self.log1p[rows].astype(np.float64).mean(axis=0)).ravel()

    def baselines(self, seed: int = 0, codec: tuple[Any, Any] | None = None) -> dict[str, Answer]:
        """Return every baseline as a callable; latent arithmetic only with `codec` (encode and decode callables)."""
        def shifted(method: str) -> Answer:
            return lambda c, n: baselines.guess(method, self.known, baselines.Question(*c), n, seed)

        found: dict[str, Answer] = {method: shifted(method) for method in baselines.SHIFTS}
        if codec is not None:
            found[baselines.LATENT] = lambda c, n: latent.latent_arithmetic(
                self.known, baselines.Question(*c), n, seed, *codec)
        return found


def measure(bench: Bench, conditions: Sequence[splits.Condition], methods: Mapping[str, Answer],
            seed: int = 0, tell: Tell = lambda words, share: None
            ) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """Score every method on every condition; `tell(words, share done)` is called before each.

    Returns
    -------
    Rows with condition, kind, method, n_real and the scores (`scores.scores` and ``pds``), the floor among them with
    its ``spread``; and each method's cells to be tested, as many as there are real ones, method -> condition -> log1p,
    for `six`.
    """
    rows: list[dict[str, Any]] = []
    cells: dict[str, dict[str, Any]] = {m: {} for m in methods}
    for i, condition in enumerate(conditions):
        tell(f"Judging {condition[0]}", i / len(conditions))
        truth, name, n = bench.truth(condition), name_of(condition), bench.n_cells(condition)
        base = {"condition": name, "kind": bench.kind(condition), "n_real": len(truth.log1p)}
        mean, spread = scores.floor(truth, seed=seed)
        rows.append({**base, "method": FLOOR, **mean, "spread": spread})
        for method, answer in methods.items():
            found = answer(condition, n)
            if found is None:
                continue
            said = scores.scores(truth, found.cells, found.mean, found.tested)
            said["pds"] = bench.discrimination(condition, found.mean)
            rows.append({**base, "method": method, "how": found.how, **said})
            # as many as there are real ones; fewer are some of those that are there (their order says nothing)
            as_many = found if len(truth.log1p) <= n else answer(condition, len(truth.log1p))
            assert as_many is not None
            tested = as_many.cells if as_many.tested is None else as_many.tested
            cells[method][name] = tested[:len(truth.log1p)]
    return rows, cells


def six(bench: Bench, conditions: Sequence[splits.Condition], cells: Mapping[str, Mapping[str, Any]],
        seed: int = 0, tell: Tell = lambda words, share: None, splits_of_real: int = 5,
        rows: Mapping[str, np.ndarray] | None = None) -> dict[str, Any]:
    """Return the six scores, for conditions of one cell type: of a replicate, and of each method that has them all.

    Parameters
    ----------
    rows
        The held-out cells of each condition by name, where several folds are judged together; else those of `bench`.

    Raises
    ------
    ScdiffError
        The conditions are of several types: they do not share their controls.
    """
    kinds = {c[2] for c in conditions}
    if len(kinds) != 1:
        raise ScdiffError("The conditions cannot be scored together.", "They are of different cell types: "
                          + ", ".join(sorted(kinds)) + ".", "Score the types one by one.")
    held = {name_of(c): bench.rows_of(c) for c in conditions} if rows is None else rows
    real = {name_of(c): bench.log1p[held[name_of(c)]] for c in conditions}
    judged = panel.Panel(real, bench.log1p[bench.controls(kinds.pop())], bench.prepared.genes,
                         [t for c in conditions for t in c[0].targets])
    able = [m for m, made in cells.items() if set(real) <= set(made)]
    tell("Six scores: a replicate", 0.0)
    replicate = judged.replicate(splits_of_real, seed)
    found = {}
    for i, method in enumerate(able):
        tell(f"Six scores: {method}", (i + 5) / (len(able) + 5))  # a replicate is some of these
        found[method] = judged.score(cells[method])
    return {"seed": seed, "replicate": replicate, "methods": found}
