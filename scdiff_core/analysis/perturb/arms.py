"""Arms of a perturbation experiment: the cells of one perturbation, dose and type, beside their matched controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scdiff_core.data.perturbations import Perturbation, parse_all, read_doses
from scdiff_core.data.vocab import as_labels
from scdiff_core.errors import ScdiffError

PSEUDO_CELLS = 5.0  # of all controls of the type, added to the controls of one batch: few cells say little


@dataclass(frozen=True)
class Arm:
    """The cells of one perturbation at one dose in one cell type; the control's has no parts and no dose.

    Attributes
    ----------
    rows
        Indices of the cells, int [n].
    """

    perturbation: Perturbation
    dose: float | None
    cell_type: str
    rows: np.ndarray


@dataclass(frozen=True)
class Arms:
    """A arms of G genes, in log1p values.

    Attributes
    ----------
    mean, var
        Mean and variance (ddof 1) over the arm's cells, float64 [A, G].
    n
        Cells, int [A].
    control, control_var, control_n
        Mean, variance and effective number of the matched control cells: the same cell type, the batches (and times)
        in the shares that the arm has them. [A, G], [A, G], [A].
    left_out
        Sentences on cells that are in no arm.
    together
        How much more than independent genes the cells of an arm's type vary in what a change of all rates by one factor
        moves [A]: cells are deep or shallow in all their genes at once. None: as independent genes.
    """

    arms: tuple[Arm, ...]
    mean: np.ndarray
    var: np.ndarray
    n: np.ndarray
    control: np.ndarray
    control_var: np.ndarray
    control_n: np.ndarray
    left_out: tuple[str, ...] = ()
    together: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.arms)

    @cached_property
    def shift(self) -> np.ndarray:
        """The change of the mean against the matched controls, log1p [A, G]."""
        return self.mean - self.control

    @cached_property
    def noise(self) -> np.ndarray:
        """The sampling variance of `shift` [A, G]: of the arm's mean and of the controls' mean."""
        return self.var / self.n[:, None] + self.control_var / self.control_n[:, None]

    @cached_property
    def is_control(self) -> np.ndarray:
        """Which arms are controls, bool [A]."""
        return np.array([arm.perturbation.is_control for arm in self.arms], bool)

    @property
    def cell_types(self) -> tuple[str, ...]:
        """The cell types, in order; ``("",)`` without labels."""
        return tuple(sorted({arm.cell_type for arm in self.arms}))

    @property
    def perturbations(self) -> tuple[Perturbation, ...]:
        """The perturbations without the control, in order."""
        return tuple(sorted({a.perturbation for a in self.arms if not a.perturbation.is_control},
                            key=lambda p: (len(p.parts), p.parts)))

    def take(self, which: np.ndarray | Sequence[int]) -> Arms:
        """Return some of the arms, by indices or bool [A]."""
        index = np.arange(len(self.arms))[np.asarray(which)]
        return replace(self, arms=tuple(self.arms[i] for i in index), mean=self.mean[index], var=self.var[index],
                       n=self.n[index], control=self.control[index], control_var=self.control_var[index],
                       control_n=self.control_n[index],
                       together=None if self.together is None else self.together[index])

    def find(self, perturbation: Perturbation, dose: float | None = None, cell_type: str = "") -> int | None:
        """Return the index of an arm, None if it was not measured."""
        return self._index.get((perturbation, dose, cell_type))

    @cached_property
    def _index(self) -> dict[tuple[Perturbation, float | None, str], int]:
        return {(a.perturbation, a.dose, a.cell_type): i for i, a in enumerate(self.arms)}


def collect(log1p: Any, obs: pd.DataFrame, roles: Any, rows: np.ndarray | None = None, min_cells: int = 3) -> Arms:
    """Gather the arms of the cells `rows` (all, if None) of log1p values [N, G]; controls come first.

    Where there is a cell-type column, cells without a type are in no arm. An arm has at least `min_cells` cells, and
    controls of its type to stand beside.

    Raises
    ------
    ScdiffError
        No control cells, no arm at all, or doses that are no numbers.
    """
    rows = np.arange(log1p.shape[0]) if rows is None else np.asarray(rows)
    here = obs.iloc[rows]
    values = sp.csr_matrix(log1p)[rows].astype(np.float64)
    labels = as_labels(here[roles.perturbation])
    types = as_labels(here[roles.cell_type]) if roles.cell_type else np.full(len(rows), "")
    doses = read_doses(here[roles.dose]) if roles.dose else np.full(len(rows), np.nan)
    strata = _strata(here, roles)
    read = parse_all(as_labels(obs[roles.perturbation]).tolist(), roles.control)
    groups: dict[tuple[Perturbation, float | None, str], list[int]] = {}
    untyped = 0
    for i, (label, kind, dose) in enumerate(zip(labels.tolist(), types.tolist(), doses.tolist(), strict=True)):
        if label == "" or (roles.cell_type and kind == ""):
            untyped += 1
            continue
        what = read[label]
        groups.setdefault((what, None if what.is_control or np.isnan(dose) else dose, kind), []).append(i)
    with_control = {k[2] for k, v in groups.items() if k[0].is_control and len(v) >= min_cells}
    if not with_control:
        raise ScdiffError("There are no control cells to compare with.",
                          f"No cell type has {min_cells} cells labelled '{roles.control}'.",
                          "Choose the label that unperturbed cells have, or other cells.")
    kept = {k: np.array(v) for k, v in groups.items() if len(v) >= min_cells and k[2] in with_control}
    order = sorted(kept, key=lambda k: (len(k[0].parts), k[0].parts, -1.0 if k[1] is None else k[1], k[2]))
    if not any(k[0].parts for k in order):
        raise ScdiffError("There is no perturbation to learn from.",
                          f"None has {min_cells} cells of a type that has controls as well.",
                          "Choose other data, or join small perturbations.")
    lost = [f"{untyped:,} cells have no label and are in no arm."] if untyped else []
    few = len(groups) - len(kept)
    lost += [f"{few} combinations of perturbation, dose and type have fewer than {min_cells} cells or no controls."
             ] if few else []
    return _summarise(values, [Arm(*k, rows=kept[k]) for k in order], strata, rows, tuple(lost))


def _strata(obs: pd.DataFrame, roles: Any) -> np.ndarray:
    """Return the batch and time of each cell as text [n]; ``""`` where neither is known."""
    columns = [as_labels(obs[c]) for c in (roles.batch, roles.time) if c]
    return np.array(["\x1f".join(p) if any(p) else "" for p in zip(*columns, strict=True)] if columns
                    else [""] * len(obs), dtype=object)


def _moments(values: sp.csr_matrix, groups: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, variance (ddof 1) [A, G] and number [A] of groups of rows."""
    n = np.array([len(g) for g in groups])
    member = sp.csr_matrix((np.ones(n.sum()), (np.repeat(np.arange(len(groups)), n), np.concatenate(groups))),
                           shape=(len(groups), values.shape[0]))
    mean = (member @ values).toarray() / n[:, None]
    square = (member @ values.multiply(values)).toarray() / n[:, None]
    return mean, np.maximum(square - mean**2, 0.0) * (n / np.maximum(n - 1, 1))[:, None], n


def _summarise(values: sp.csr_matrix, arms: list[Arm], strata: np.ndarray, rows: np.ndarray,
               left_out: tuple[str, ...]) -> Arms:
    mean, var, n = _moments(values, [arm.rows for arm in arms])
    whole = {arm.cell_type: i for i, arm in enumerate(arms) if arm.perturbation.is_control}
    cells = {(kind, s): arms[i].rows[strata[arms[i].rows] == s] for kind, i in whole.items()
             for s in np.unique(strata[arms[i].rows])}
    names = list(cells)
    means = dict(zip(names, _moments(values, [cells[k] for k in names])[0], strict=True))
    control, control_n = np.empty_like(mean), np.empty(len(arms))
    for a, arm in enumerate(arms):
        i = whole[arm.cell_type]
        if a == i:
            control[a], control_n[a] = mean[i], n[i]
            continue
        control[a], weight = 0.0, np.zeros(len(arms[i].rows))
        found, count = np.unique(strata[arm.rows], return_counts=True)
        for s, share in zip(found, count / len(arm.rows), strict=True):
            own = cells.get((arm.cell_type, s), np.empty(0, int))
            part = len(own) / (len(own) + PSEUDO_CELLS) if s != "" else 0.0
            control[a] += share * (1 - part) * mean[i]
            weight += share * (1 - part) / n[i]
            if part:
                control[a] += share * part * means[arm.cell_type, s]
                weight[np.isin(arms[i].rows, own)] += share * part / len(own)
        control_n[a] = 1.0 / (weight**2).sum()
    final = tuple(replace(arm, rows=rows[arm.rows]) for arm in arms)
    index = [whole[arm.cell_type] for arm in arms]
    return Arms(final, mean, var, n, control, var[index], control_n, left_out, _together(values, arms, mean, var, n))


def _together(values: sp.csr_matrix, arms: list[Arm], mean: np.ndarray, var: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return by how much a factor on all rates varies between the cells of each arm's type, beyond independent genes.

    Genes weigh as least squares would weigh them: how far the mean moves with the log of the rate, over the variance.
    """
    types = np.array([arm.cell_type for arm in arms])
    out = np.ones(len(arms))
    for kind in np.unique(types):
        rows = np.flatnonzero(types == kind)
        free = np.maximum(n[rows] - 1, 0)
        pooled = (free[:, None] * var[rows]).sum(axis=0) / max(free.sum(), 1)
        level = (n[rows, None] * mean[rows]).sum(axis=0) / n[rows].sum()
        if level.min() < 0 or not pooled.any():
            continue
        weight = (1 - np.exp(-level)) / np.maximum(pooled, 0.01 * pooled.max())
        seen = values @ weight
        spread = sum(float(((seen[arms[a].rows] - seen[arms[a].rows].mean()) ** 2).sum()) for a in rows)
        expected = float((free[:, None] * var[rows] * weight**2).sum())
        out[rows] = max(spread / expected, 1.0) if expected > 0 else 1.0
    return out
