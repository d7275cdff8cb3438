"""Which conditions are held out, and what of them a model may still have seen: folds and the leakage line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from scdiff_core.data.perturbations import Perturbation, parse_all, read_doses
from scdiff_core.data.vocab import as_labels
from scdiff_core.errors import ScdiffError, nearest

PERTURBATION, PAIR_BOTH, PAIR_ONE, PAIR_NONE = ("unseen perturbation", "pair with both members seen",
                                                "pair with one member seen", "pair with no member seen")
TYPE, DOSE, BOTH = "unseen cell type for a seen perturbation", "unseen dose", "unseen perturbation in an unseen type"
MIN_CELLS = 3

Condition = tuple[Perturbation, "float | None", str]


@dataclass(frozen=True)
class Table:
    """The condition of every cell: perturbation, dose and type, read once.

    Attributes
    ----------
    conditions
        Each condition that is no control, with the rows of its cells.
    control
        Cell types to the rows of their control cells.
    n_cells
        N.
    """

    conditions: dict[Condition, np.ndarray]
    control: dict[str, np.ndarray]
    n_cells: int

    @classmethod
    def of(cls, obs: pd.DataFrame, roles: Any, min_cells: int = MIN_CELLS) -> Table:
        """Read the conditions of all cells; those with fewer than `min_cells`, or without a label, are in none."""
        labels = as_labels(obs[roles.perturbation])
        read = parse_all(labels.tolist(), roles.control)
        types = as_labels(obs[roles.cell_type]) if roles.cell_type else np.full(len(obs), "")
        doses = read_doses(obs[roles.dose]) if roles.dose else np.full(len(obs), np.nan)
        groups: dict[Condition, list[int]] = {}
        for i, (label, kind, dose) in enumerate(zip(labels.tolist(), types.tolist(), doses.tolist(), strict=True)):
            if label == "" or (roles.cell_type and kind == ""):
                continue
            what = read[label]
            groups.setdefault((what, None if what.is_control or np.isnan(dose) else dose, kind), []).append(i)
        return cls({k: np.array(v) for k, v in groups.items() if len(v) >= min_cells and not k[0].is_control},
                   {k[2]: np.array(v) for k, v in groups.items() if k[0].is_control}, len(obs))

    @cached_property
    def by_perturbation(self) -> dict[Perturbation, list[Condition]]:
        """Each perturbation to its conditions, perturbations in order."""
        found: dict[Perturbation, list[Condition]] = {}
        for condition in self.conditions:
            found.setdefault(condition[0], []).append(condition)
        return dict(sorted(found.items(), key=lambda item: item[0].parts))

    def singles(self) -> list[Perturbation]:
        """Return the perturbations of one part, in order."""
        return [p for p in self.by_perturbation if len(p.parts) == 1]

    def several(self) -> list[Perturbation]:
        """Return the perturbations of several parts, in order."""
        return [p for p in self.by_perturbation if len(p.parts) > 1]

    def seen_members(self, pair: Perturbation) -> int:
        """Return how many parts of a perturbation were measured alone."""
        return sum(part in self.by_perturbation for part in pair.singles())


@dataclass(frozen=True)
class Fold:
    """One split: what is asked for, and what may be learnt from.

    Attributes
    ----------
    kind, name
        What is unseen, and the name of this fold.
    asked
        The conditions that are judged.
    test
        Rows of all held-out cells, bool [N]: of the asked conditions, and of others that would tell about them.
    """

    kind: str
    name: str
    asked: tuple[Condition, ...]
    test: np.ndarray

    @property
    def train(self) -> np.ndarray:
        """Rows to learn from, int."""
        return np.flatnonzero(~self.test)


def _fold(table: Table, kind: str, name: str, asked: Iterable[Condition],
          hidden: Iterable[Condition] = ()) -> Fold:
    asked = tuple(asked)
    if not asked:
        raise ScdiffError(f"Nothing can be held out for '{kind}'.", "The data has no such condition.",
                          "Choose another way to split.")
    test = np.zeros(table.n_cells, bool)
    for condition in (*asked, *hidden):
        test[table.conditions[condition]] = True
    return Fold(kind, name, asked, test)


def unseen_perturbations(table: Table, k: int = 5, seed: int = 0) -> list[Fold]:
    """Deal the single perturbations to `k` folds; with one goes every combination that it is part of.

    Only the singles are asked for: the combinations are hidden, since they show what the single does.
    """
    singles = table.singles()
    order = np.random.default_rng(seed).permutation(len(singles))
    folds = []
    for f, part in enumerate(np.array_split(order, min(k, len(order)))):
        chosen = {singles[i] for i in part}
        parts = {p for c in chosen for p in c.parts}
        asked = [c for c in table.conditions if c[0] in chosen]
        hidden = [c for c in table.conditions if parts & set(c[0].parts) and c[0] not in chosen]
        folds.append(_fold(table, PERTURBATION, f"singles {f + 1} of {min(k, len(order))}", asked, hidden))
    return folds


def unseen_pairs(table: Table, seen: int) -> Fold:
    """Hold out the combinations of which `seen` (0, 1 or 2) members were measured alone, all at once.

    Members not measured alone are hidden wherever else they appear.
    """
    kind = (PAIR_NONE, PAIR_ONE, PAIR_BOTH)[seen]
    alone = set(table.singles())
    chosen = {p for p in table.several() if len(p.parts) == 2 and table.seen_members(p) == seen}
    unseen = {part.parts[0] for p in chosen for part in p.singles() if part not in alone}
    asked = [c for c in table.conditions if c[0] in chosen]
    hidden = [c for c in table.conditions if c[0] not in chosen and unseen & set(c[0].parts)]
    return _fold(table, kind, kind, asked, hidden)


def leave_out(table: Table, perturbation: Perturbation) -> Fold:
    """Hold out one perturbation alone, and learn from all others."""
    asked = [c for c in table.conditions if c[0] == perturbation]
    return _fold(table, PERTURBATION, f"without {perturbation}", asked)


def unseen_types(table: Table, types: Sequence[str] | None = None, min_cells: int = 30) -> list[Fold]:
    """Hold out the perturbed cells of one type in turn; its control cells stay.

    `types`: these, or all whose conditions and controls have `min_cells` cells.
    """
    if types is None:
        types = sorted({c[2] for c, rows in table.conditions.items() if len(rows) >= min_cells
                        and len(table.control.get(c[2], ())) >= min_cells})
    known = sorted({c[2] for c in table.conditions})
    for name in types:
        if name not in known:
            raise ScdiffError(f"No perturbed cell is of the type '{name}'.", nearest(name, known) or
                              "The types are " + ", ".join(known) + ".", "Choose one of these types.")
    return [_fold(table, TYPE, f"without perturbed {name}", [c for c in table.conditions if c[2] == name])
            for name in types]


def unseen_doses(table: Table) -> list[Fold]:
    """Hold out each dose that lies between two others of its perturbation, in turn."""
    by: dict[Perturbation, set[float]] = {}
    for what, dose, _ in table.conditions:
        if dose is not None:
            by.setdefault(what, set()).add(dose)
    return [_fold(table, DOSE, f"{what} without dose {dose:g}",
                  [c for c in table.conditions if c[0] == what and c[1] == dose])
            for what, doses in sorted(by.items(), key=lambda x: x[0].parts) for dose in sorted(doses)[1:-1]]


def unseen_both(table: Table, k: int = 5, seed: int = 0) -> list[Fold]:
    """Hold out single perturbations, and every perturbed cell of one type: asked for is the one in the other."""
    types = sorted({c[2] for c in table.conditions})
    folds = []
    for i, fold in enumerate(unseen_perturbations(table, k, seed)):
        name = types[i % len(types)]
        asked = [c for c in fold.asked if c[2] == name]
        hidden = [c for c in table.conditions if c not in asked
                  and (c[2] == name or fold.test[table.conditions[c]].all())]
        if asked:
            folds.append(_fold(table, BOTH, f"{fold.name} in {name}", asked, hidden))
    return folds


@dataclass(frozen=True)
class Leakage:
    """What a held-out condition shares with the training cells, for the line that a report shows.

    Attributes
    ----------
    nearest
        The training perturbation that shares most parts with it, "" where none shares any.
    shared
        Columns such as guide or donor, with the share of the held-out cells whose value is also in training.
    """

    condition: Condition
    nearest: str
    same_elsewhere: bool
    shared: dict[str, float]

    def words(self) -> str:
        """Say it in one sentence."""
        what, dose, kind = self.condition
        name = what.label + (f" at {dose:g}" if dose is not None else "") + (f" in {kind}" if kind else "")
        near = ("the same perturbation is in training elsewhere" if self.same_elsewhere else
                f"the nearest in training is {self.nearest}" if self.nearest else "nothing in training shares a part")
        also = "".join(f"; {100 * share:.0f} % of its cells share their {column} with training cells"
                       for column, share in self.shared.items())
        return f"{name}: {near}{also}."


def leakage(table: Table, fold: Fold, obs: pd.DataFrame, columns: Sequence[str] = (),
            most: int | None = None) -> list[Leakage]:
    """Return what each asked condition of a fold shares with the cells that are learnt from.

    Parameters
    ----------
    columns
        Columns of `obs` that may be shared: guides, donors, batches.
    most
        Look at the first so many conditions alone; each is held against all that are left.
    """
    left = [c for c, rows in table.conditions.items() if not fold.test[rows].any()]
    labels = {column: as_labels(obs[column]) for column in columns}
    found = []
    for condition in fold.asked[:most]:
        parts = set(condition[0].parts)
        scored = [(len(parts & set(c[0].parts)) / len(parts | set(c[0].parts)), c[0].label) for c in left]
        best = max(scored, default=(0.0, ""), key=lambda s: s[0])
        shared = {}
        for column, every in labels.items():
            own = every[table.conditions[condition]]
            own = own[own != ""]
            if len(own):
                shared[column] = float(np.isin(own, every[fold.train]).mean())
        elsewhere = any(c[0] == condition[0] for c in left)
        found.append(Leakage(condition, best[1] if best[0] > 0 else "", elsewhere, shared))
    return found
