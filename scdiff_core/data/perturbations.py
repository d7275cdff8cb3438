"""Labels of perturbations read as what they say: which parts, which genes, which direction, which dose."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from scdiff_core import keys
from scdiff_core.data.vocab import as_labels, as_numbers
from scdiff_core.errors import ScdiffError, nearest

MIN_CELLS = 3  # fewer cells have no mean and no spread to learn from
CONTROL_WORDS = ("ctrl", "control", "non-targeting", "nt")  # parts of a label that mean "nothing more": "KLF1+ctrl"
DIRECTIONS = {
    "kd": "knock-down", "inh": "knock-down", "crispri": "knock-down", "ko": "knock-out", "crispr": "knock-out",
    "crisprn": "knock-out", "oe": "activation", "act": "activation", "crispra": "activation"}
_SUFFIX = re.compile(r"[\s_\-./(]+(" + "|".join(sorted(DIRECTIONS, key=len, reverse=True)) + r"|sg\d*|g\d+)\)?$",
                     re.IGNORECASE)
_OTHER_SEPARATORS = re.compile(r"\s*(?:__|[_,;|&]|\s+and\s+)\s*")
_WITH_UNIT = re.compile(r"(\d*\.?\d+(?:e[-+]?\d+)?)\s*([a-zµμ%/]+)$", re.IGNORECASE)


@dataclass(frozen=True)
class Perturbation:
    """A perturbation of one part or several; their order never matters, and no part is the control.

    Attributes
    ----------
    parts
        The parts as the data writes them, sorted, each once (``("TF03-kd", "TF07-kd")``).
    """

    parts: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The parts joined by ``+``; ``""`` for the control."""
        return "+".join(self.parts)

    @property
    def is_control(self) -> bool:
        """Whether nothing is perturbed."""
        return not self.parts

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """The parts without a direction or guide number at the end: ``"TF03-kd"`` is of the gene ``"TF03"``."""
        return tuple(_SUFFIX.sub("", part) for part in self.parts)

    @cached_property
    def directions(self) -> tuple[str, ...]:
        """``"knock-down"``, ``"knock-out"`` or ``"activation"`` for each part, ``""`` where the label does not say."""
        found = (_SUFFIX.search(part) for part in self.parts)
        return tuple(DIRECTIONS.get(hit[1].lower(), "") if hit else "" for hit in found)

    def singles(self) -> tuple[Perturbation, ...]:
        """Return each part as a perturbation of its own."""
        return tuple(Perturbation((part,)) for part in self.parts)

    def __str__(self) -> str:
        return self.label or "control"


def parse(label: str, control: str | None = None, known: Collection[str] = ()) -> Perturbation:
    """Read the label of a perturbation: ``"B+A"`` and ``"A+B"`` are one, ``"A+ctrl"`` is ``"A"``, `control` is ().

    Parameters
    ----------
    control
        The label of unperturbed cells.
    known
        Names that are perturbations by themselves. A label with another separator (``"A_B"``, ``"A,B"``) is taken apart
        only where every half is one of them, or the control.
    """
    label = label.strip()
    if label in ("", control):
        return Perturbation()
    parts = _parts(label, control, known)
    nothing = {control, *CONTROL_WORDS} if len(parts) > 1 else {control}
    folded = {word.casefold() for word in nothing if word}
    return Perturbation(tuple(sorted({p for p in parts if p.casefold() not in folded})))


def _parts(label: str, control: str | None, known: Collection[str]) -> list[str]:
    halves = [p.strip() for p in label.split("+")]
    whole = all(halves) and all(p.count("(") == p.count(")") for p in halves)  # "(+)-catechin" is one drug
    if len(halves) > 1 and whole:
        return halves
    others = [p for p in _OTHER_SEPARATORS.split(label) if p]
    words = {control, *CONTROL_WORDS}
    if len(others) > 1 and any(p in known for p in others) and all(p in known or p in words for p in others):
        return others
    return [label]


def parse_all(labels: Iterable[str], control: str | None = None) -> dict[str, Perturbation]:
    """Read every different label, with the single ones known to the others; label -> perturbation."""
    unique = dict.fromkeys(labels)
    return {label: parse(label, control, unique.keys()) for label in unique}


def read_doses(column: pd.Series) -> np.ndarray:
    """Return doses as float64 [N], nan where there is none; ``"10 uM"`` is 10 where all have the same unit.

    Raises
    ------
    ScdiffError
        A value is no number (``"1+1"``), doses have different units, or one is negative; names the first such value.
    """
    name = str(column.name if column.name is not None else "dose")
    numbers = as_numbers(column)
    if numbers is None:
        labels = as_labels(column)
        hits = {text: _WITH_UNIT.match(text) for text in dict.fromkeys(labels)}
        units = {hit[2].casefold() for hit in hits.values() if hit}
        bad = [t for t, hit in hits.items() if t and not hit and pd.isna(pd.to_numeric(t, errors="coerce"))]
        if bad:
            raise ScdiffError(f"The doses in '{name}' cannot be used.", f"'{bad[0]}' is no number.",
                              "Leave the dose column out, or write each dose as one number.")
        if len(units) > 1:
            raise ScdiffError(f"The doses in '{name}' cannot be used.",
                              "They have different units: " + ", ".join(sorted(units)) + ".",
                              "Write all doses as numbers of one unit.")
        value = {t: float(hit[1]) if hit else float(t) if t else np.nan for t, hit in hits.items()}
        numbers = np.array([value[t] for t in labels], float)
    if np.any(numbers < 0):
        raise ScdiffError(f"The doses in '{name}' cannot be used.", f"{numbers[numbers < 0][0]:g} is below zero.",
                          "Write the dose itself, not its logarithm, or leave the dose column out.")
    return numbers


def check(prepared: Any) -> tuple[str, ...]:
    """Check that a prepared dataset can teach what perturbations do; returns warnings as sentences.

    Raises
    ------
    ScdiffError
        No perturbation column, no control label or one that no cell has (the nearest are named), no control cells to
        learn from, no perturbation at all, one with fewer than three cells (named), or doses that are no numbers.
    """
    return check_obs(prepared.obs, prepared.roles, prepared.genes, prepared.name)


def check_obs(obs: pd.DataFrame, roles: Any, genes: Collection[str], name: str = "The data") -> tuple[str, ...]:
    """Check the columns of the cells as `check` does; `genes` are those kept."""
    if not roles.perturbation or roles.perturbation not in obs:
        raise ScdiffError(f"'{name}' has no perturbations to learn from.", "No column says which cells were perturbed.",
                          "Prepare it again and choose the perturbation column on the Data page (--perturbation).")
    labels = as_labels(obs[roles.perturbation])
    found, n = np.unique(labels[labels != ""], return_counts=True)
    _check_control(roles, found.tolist(), name)
    if keys.SPLIT in obs and not ((labels == roles.control) & (obs[keys.SPLIT] == keys.TRAIN).to_numpy()).any():
        raise ScdiffError(f"'{name}' has no control cells to learn from.",
                          f"All cells labelled '{roles.control}' are held out for testing.",
                          "Prepare it again without holding the control out.")
    read = parse_all(found.tolist(), roles.control)
    cells: dict[Perturbation, int] = {}
    for label, count in zip(found.tolist(), n.tolist(), strict=True):
        cells[read[label]] = cells.get(read[label], 0) + count
    cells.pop(Perturbation(), None)
    if not cells:
        raise ScdiffError(f"'{name}' has no perturbations to learn from.",
                          f"All cells in '{roles.perturbation}' are '{roles.control}'.",
                          "Choose the column that says which cells were perturbed, or other data.")
    few = {p: c for p, c in cells.items() if c < MIN_CELLS}
    if few:
        first, count = next(iter(few.items()))
        more = f", and {len(few) - 1} more have too few cells as well" if len(few) > 1 else ""
        raise ScdiffError(f"The perturbation '{first}' has too few cells.",
                          f"It has {count}, and {MIN_CELLS} are the least that a mean can be taken of{more}.",
                          "Take these cells out of the data, or join them to a like perturbation.")
    if roles.dose:
        read_doses(obs[roles.dose])
    return _warnings(cells, genes)


def _check_control(roles: Any, found: list[str], name: str) -> None:
    if not roles.control:
        raise ScdiffError(f"'{name}' has no control cells.", "No label is chosen as that of unperturbed cells.",
                          "Prepare it again and say which label is the control (--control).")
    if roles.control not in found:
        shown = ", ".join(found[:8]) + (", ..." if len(found) > 8 else "")
        raise ScdiffError(f"No cell is labelled '{roles.control}' in '{roles.perturbation}'.",
                          nearest(roles.control, found) or (f"Its labels are {shown}." if found else "It is empty."),
                          "Prepare it again with the label that unperturbed cells have (--control).")


def _warnings(cells: Iterable[Perturbation], genes: Collection[str]) -> tuple[str, ...]:
    known = {str(g).casefold() for g in genes}
    targets = dict.fromkeys(t for p in cells for t in p.targets)
    missing = [t for t in targets if t.casefold() not in known]
    if not missing:
        return ()
    shown = ", ".join(missing[:8]) + (", ..." if len(missing) > 8 else "")
    if len(missing) == len(targets):
        return (f"None of the perturbed names is a gene of this data ({shown}): they are read as labels (drugs, "
                "stimuli). For genes, check that names and gene names are written alike; what is not measured can "
                "still be predicted from gene sets or a table of embeddings.",)
    return (f"{len(missing)} of {len(targets)} perturbed names are not among the genes ({shown}): what they share with "
            "others is learnt from gene sets or a table of embeddings, not from their own expression.",)
