"""What needs no model: the simple predictions that every report holds a model against.

Each is a function of what was measured in training (`Known`) and a `Question`, and returns a `Guess`: a mean and cells,
in log1p. Cells are real control cells of the type asked for, moved by the predicted change of the mean: the spread of a
baseline is that of its controls, copied. None looks at a held-out cell.

They are moved in two ways. Added to, in log1p and cut off at zero, they come nearest to the real cells as a population.
But then no zero is left, a test finds every gene changed, and scores of differential expression say nothing: for those,
each gene's counts are multiplied instead, as `cell_eval2` makes its own baseline, and zeros stay what they are; to a
gene that the controls hardly have, molecules are added at random.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scdiff_core.analysis.metrics import dense
from scdiff_core.analysis.perturb.arms import Arms
from scdiff_core.analysis.perturb.multiplied import multiplied
from scdiff_core.data.perturbations import Perturbation

LINEAR_COMPONENTS, LINEAR_RIDGE = 10, 0.1  # as Ahlmann-Eltze, Huber and Anders 2025


@dataclass(frozen=True)
class Question:
    """One condition to predict."""

    perturbation: Perturbation
    dose: float | None = None
    cell_type: str = ""


@dataclass(frozen=True)
class Known:
    """What may be known: the training cells alone.

    Attributes
    ----------
    log1p
        All cells csr [N, G], of which only those that `arms` names by row are looked at.
    arms
        Arms of the training cells (`arms.collect` on training rows): controls and perturbations.
    genes
        Names [G].
    vectors
        Perturbed genes to their vectors (gene sets, or a user's table), for the baselines that need a likeness of
        perturbations that were not seen; empty where there are none.
    """

    log1p: Any
    arms: Arms
    genes: np.ndarray
    vectors: Mapping[str, np.ndarray]

    def control_rows(self, cell_type: str) -> np.ndarray:
        """Return the training control cells of a type, or all of them where the type has none."""
        own = [a.rows for a in self.arms.arms if a.perturbation.is_control and a.cell_type == cell_type]
        every = [a.rows for a in self.arms.arms if a.perturbation.is_control]
        return np.concatenate(own or every)

    def control_mean(self, cell_type: str) -> np.ndarray:
        """Return the mean of the control cells of a type, log1p [G]."""
        return dense(self.log1p[self.control_rows(cell_type)]).mean(axis=0, dtype=np.float64)

    def perturbed(self, cell_type: str | None = None) -> np.ndarray:
        """Return the indices of the arms that are no controls (of one type)."""
        return np.array([i for i, a in enumerate(self.arms.arms) if not a.perturbation.is_control
                         and cell_type in (None, a.cell_type)], int)

    def shift(self, perturbation: Perturbation, dose: float | None, cell_type: str) -> np.ndarray | None:
        """Return the measured change of a perturbation, log1p [G]: in the type asked for, else the mean over types.

        Of several doses the one asked for, else the nearest in log; None where it was not measured at all.
        """
        arms = [(i, a) for i, a in enumerate(self.arms.arms) if a.perturbation == perturbation]
        arms = [(i, a) for i, a in arms if a.cell_type == cell_type] or arms
        if not arms:
            return None
        if dose is not None:
            gap = {i: abs(np.log((a.dose or 1.0) / dose)) if dose > 0 else abs(a.dose or 0.0) for i, a in arms}
            nearest = min(gap.values())
            arms = [(i, a) for i, a in arms if gap[i] <= nearest + 1e-9]
        return np.asarray(self.arms.shift[[i for i, _ in arms]].mean(axis=0))


@dataclass(frozen=True)
class Guess:
    """A prediction: cells float32 [n, G] and their intended mean [G], log1p; and what it rests on.

    `tested` are the cells to test for differential expression, where those are others.
    """

    cells: np.ndarray
    mean: np.ndarray
    how: str
    tested: np.ndarray | None = None


def centroid(known: Known, cell_type: str = "") -> np.ndarray:
    """Return the mean of the mean profiles of the training perturbations [G], log1p, of the type (else of all).

    Systema's reference: what perturbed cells have in common, whatever was perturbed.
    """
    rows = known.perturbed(cell_type)
    rows = rows if len(rows) else known.perturbed()
    return known.control_mean(cell_type) + known.arms.shift[rows].mean(axis=0)


def moved(known: Known, cell_type: str, shift: np.ndarray, n: int, rng: np.random.Generator, how: str) -> Guess:
    """Return control cells moved by `shift` [G], log1p: added to, and (`tested`) multiplied.

    As many different control cells as there are before one is taken twice.
    """
    rows = known.control_rows(cell_type)
    turns = [rng.permutation(rows) for _ in range(-(-n // len(rows)))]
    start = dense(known.log1p[np.concatenate(turns)[:n]])
    mean = known.control_mean(cell_type) + shift
    if not np.any(shift):
        return Guess(start, mean, how)
    return Guess(np.maximum(start + shift.astype(np.float32), 0), mean, how,
                 multiplied(dense(known.log1p[rows]), start, mean, rng))


def control(known: Known, asked: Question) -> tuple[np.ndarray, str]:
    """The control as it is: no change."""
    return np.zeros(len(known.genes)), "control cells as they are"


def mean_response(known: Known, asked: Question) -> tuple[np.ndarray, str]:
    """The mean change over all training perturbations, doses and types, each counting the same."""
    return known.arms.shift[known.perturbed()].mean(axis=0), "mean of all training perturbations"


def mean_response_of_type(known: Known, asked: Question) -> tuple[np.ndarray, str] | None:
    """The mean change over the training perturbations of the cell type asked for; None where it has none."""
    rows = known.perturbed(asked.cell_type)
    return (known.arms.shift[rows].mean(axis=0), f"mean of the {len(rows)} in this type") if len(rows) else None


def other_types(known: Known, asked: Question) -> tuple[np.ndarray, str] | None:
    """The mean change of the same perturbation in the other types; None where none has it."""
    shift = known.shift(asked.perturbation, asked.dose, "\x00")
    return None if shift is None else (shift, "mean of the same perturbation in other types")


def additive(known: Known, asked: Question) -> tuple[np.ndarray, str] | None:
    """The sum of the measured changes of the parts; an unseen part counts as the mean single one.

    None for single perturbations, and where no part was measured alone.
    """
    parts = asked.perturbation.singles()
    found = [known.shift(part, asked.dose, asked.cell_type) for part in parts]
    seen = [f for f in found if f is not None]
    if len(parts) < 2 or not seen:
        return None
    singles = [i for i in known.perturbed() if len(known.arms.arms[i].perturbation.parts) == 1]
    typical = known.arms.shift[singles].mean(axis=0)
    return (np.sum([typical if f is None else f for f in found], axis=0),
            "sum of the measured singles" if len(seen) == len(parts) else "measured singles, the mean for the rest")


def nearest(known: Known, asked: Question) -> tuple[np.ndarray, str] | None:
    """The measured change of the nearest training perturbation.

    Nearest is: the same perturbation (at the nearest dose, or in other types), else the one that shares most parts
    (intersection over union), ties and no sharing broken by the cosine of the summed vectors of the genes; None where
    nothing is shared and a gene has no vector.
    """
    own = known.shift(asked.perturbation, asked.dose, asked.cell_type)
    if own is not None:
        return own, "the same perturbation at the nearest dose or in other types"
    here = [known.arms.arms[i].perturbation for i in known.perturbed(asked.cell_type)]
    candidates = list(dict.fromkeys(here or [known.arms.arms[i].perturbation for i in known.perturbed()]))
    wanted = vector(known, asked.perturbation)
    scored = []
    for other in candidates:
        union = set(other.parts) | set(asked.perturbation.parts)
        shared = len(set(other.parts) & set(asked.perturbation.parts)) / len(union)
        theirs = vector(known, other)
        alike = (float(wanted @ theirs / (np.linalg.norm(wanted) * np.linalg.norm(theirs) + 1e-12))
                 if wanted is not None and theirs is not None else -2.0)
        scored.append((shared, alike, other))
    shared, alike, best = max(scored, key=lambda s: s[:2])
    if shared == 0 and alike == -2.0:
        return None
    shift = known.shift(best, asked.dose, asked.cell_type)
    return None if shift is None else (shift, f"as {best}")


def vector(known: Known, perturbation: Perturbation) -> np.ndarray | None:
    """Return the sum of the vectors of the perturbed genes; None where one has none."""
    found = [known.vectors[t] for t in perturbation.targets if t in known.vectors]
    return np.sum(found, axis=0) if found and len(found) == len(perturbation.targets) else None


def linear(known: Known, asked: Question) -> tuple[np.ndarray, str] | None:
    """The linear model of Ahlmann-Eltze, Huber and Anders (2025): change ≈ gene · W · perturbation + mean.

    Genes are their loadings on the first ten principal components of the training changes; perturbations the same
    loadings of the perturbed genes, or, where a perturbed gene is not among the genes, ten principal components of
    the vectors of gene sets. W is ridge regression with a weight of 0.1 on both sides, as published. Several genes
    are summed. Training perturbations without such numbers are left out; None where the one asked for has none.
    """
    where = {str(g).casefold(): i for i, g in enumerate(known.genes)}

    def has(name: str, measured: bool) -> bool:
        return name.casefold() in where if measured else name in known.vectors

    targets = asked.perturbation.targets
    measured = all(has(t, True) for t in targets)
    if not targets or not (measured or all(has(t, False) for t in targets)):
        return None
    every = known.perturbed(asked.cell_type)
    rows = [i for i in (every if len(every) > 2 else known.perturbed())
            if all(has(t, measured) for t in known.arms.arms[i].perturbation.targets)]
    if len(rows) < 2:
        return None
    y = known.arms.shift[rows].T  # [G, P]
    mean = y.mean(axis=1, keepdims=True)
    left, size, _ = np.linalg.svd(y - mean, full_matrices=False)
    k = min(LINEAR_COMPONENTS, int((size > 1e-9).sum()))
    if k == 0:
        return None
    genes = left[:, :k]
    labels = [known.arms.arms[i].perturbation for i in rows] + [asked.perturbation]
    names = sorted({t for p in labels for t in p.targets})
    if measured:
        table, how = {t: genes[where[t.casefold()]] for t in names}, "loadings of the perturbed genes"
    else:
        x = np.array([known.vectors[t] for t in names])
        u, s, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
        table, how = dict(zip(names, (u * s)[:, :k], strict=True)), "gene sets of the perturbed genes"
    p = np.array([np.sum([table[t] for t in q.targets], axis=0) for q in labels])
    p, new = p[:-1], p[-1]
    inner = np.linalg.solve(genes.T @ genes + LINEAR_RIDGE * np.eye(k), genes.T @ (y - mean) @ p)
    w = np.linalg.solve(p.T @ p + LINEAR_RIDGE * np.eye(p.shape[1]), inner.T).T
    return genes @ (w @ new) + mean[:, 0], how


SHIFTS: dict[str, Callable[[Known, Question], tuple[np.ndarray, str] | None]] = {
    "control": control, "mean response": mean_response, "mean response of the type": mean_response_of_type,
    "same in other types": other_types, "additive": additive, "nearest": nearest, "linear": linear}
LATENT = "latent arithmetic"


def guess(name: str, known: Known, asked: Question, n: int, seed: int = 0) -> Guess | None:
    """Return what the baseline `name` (a key of `SHIFTS`) says of a condition, with `n` cells; None: nothing."""
    found = SHIFTS[name](known, asked)
    return None if found is None else moved(known, asked.cell_type, found[0], n, np.random.default_rng(seed), found[1])
