"""Held-out cells by what a model is to guess: from a word or a click to the rules that `prepare` follows."""

from __future__ import annotations

import pandas as pd

from scdiff_core.analysis.perturb import splits
from scdiff_core.analysis.perturb.splits import Fold, Table
from scdiff_core.config import HoldOut, Roles
from scdiff_core.data.gene_ids import fold as folded
from scdiff_core.data.perturbations import parse_all
from scdiff_core.data.split import held_out
from scdiff_core.data.vocab import as_labels
from scdiff_core.errors import ScdiffError, nearest

FOLDS = 5
MOST_LINES = 8
SHARED = ("guide", "guideid", "guideidentity", "sgrna", "grna", "donor", "donorid", "patient", "individual")  # folded
KINDS = {
    "unseen-perturbation": "perturbations: a fifth of the single ones, with every combination they are part of",
    "unseen-pair-both": "pairs of which both members are known alone",
    "unseen-pair-one": "pairs of which one member is known alone",
    "unseen-pair-none": "pairs of which no member is known alone",
    "unseen-type": "perturbed cells of a cell type; its control cells stay",
    "unseen-dose": "a dose between two others",
    "unseen-both": "perturbations, in a cell type whose perturbed cells are all unseen",
}


def read_word(word: str) -> tuple[str, str]:
    """Return the kind and what follows its colon (`"unseen-type:B"`: a type, a dose, or the number of a fold).

    Raises
    ------
    ScdiffError
        There is no such kind; the nearest is named.
    """
    kind, _, which = word.strip().partition(":")
    if kind not in KINDS:
        raise ScdiffError(f"'{word}' cannot be held out.", nearest(kind, KINDS) or "The ways are "
                          + ", ".join(KINDS) + ".", "Use one of these, or COL=VALUE.")
    return kind, which.strip()


def folds(table: Table, kind: str, seed: int = 0) -> list[Fold]:
    """Return the splits of a kind that the data allow, in the order in which they are offered.

    Raises
    ------
    ScdiffError
        The data have no condition that can be held out in this way.
    """
    if kind.startswith("unseen-pair-"):
        return [splits.unseen_pairs(table, ("none", "one", "both").index(kind.rpartition("-")[2]))]
    found = {"unseen-perturbation": lambda: splits.unseen_perturbations(table, FOLDS, seed),
             "unseen-type": lambda: splits.unseen_types(table), "unseen-dose": lambda: splits.unseen_doses(table),
             "unseen-both": lambda: splits.unseen_both(table, FOLDS, seed)}[kind]()
    found = [f for f in found if len(f.asked) < len(table.conditions)]
    if not found:
        raise ScdiffError(f"Nothing can be held out as '{kind}'.",
                          "The data have too few conditions, or too few cells of them.", "Choose another way to split.")
    return found


def choose(table: Table, word: str, seed: int = 0) -> Fold:
    """Return the split that a word asks for; the first where it does not say which.

    Raises
    ------
    ScdiffError
        The word is unknown, the data do not allow it, or there is no such type, dose or fold.
    """
    kind, which = read_word(word)
    found = folds(table, kind, seed)
    names = {title(f): f for f in found}
    if not which:
        return found[0]
    if which.isdigit() and which not in names and kind in ("unseen-perturbation", "unseen-both"):
        which = next((t for i, t in enumerate(names, 1) if i == int(which)), which)
    if which not in names:
        raise ScdiffError(f"'{which}' cannot be held out as '{kind}'.",
                          nearest(which, names) or "There are " + ", ".join(names) + ".", "Use one of these.")
    return names[which]


def title(fold: Fold) -> str:
    """Return what a fold holds out, in a few words: a type, a perturbation and its dose, perturbations."""
    if fold.kind == splits.TYPE:
        return fold.asked[0][2]
    if fold.kind == splits.DOSE:
        what, dose, _ = fold.asked[0]
        return f"{what} at {dose:g}"
    labels = list(dict.fromkeys(str(c[0]) for c in fold.asked))
    return ", ".join(labels) + (f" in {fold.asked[0][2]}" if fold.kind == splits.BOTH and fold.asked[0][2] else "")


def rules(fold: Fold, table: Table, obs: pd.DataFrame, roles: Roles) -> tuple[HoldOut, ...]:
    """Return the rules that hold out the conditions of a fold: whole labels, or labels with a type or a dose."""
    assert roles.perturbation is not None
    labels = as_labels(obs[roles.perturbation])
    read = parse_all(labels.tolist(), roles.control)
    written: dict[str, list[str]] = {}
    for label in dict.fromkeys(labels.tolist()):
        written.setdefault(read[label].label, []).append(label)
    hidden = {c for c, rows in table.conditions.items() if fold.test[rows].all()}
    whole = [p for p, conditions in table.by_perturbation.items() if hidden.issuperset(conditions)]
    made = []
    if whole:
        made.append(HoldOut(column=roles.perturbation, values=tuple(v for p in whole for v in written[p.label])))
    parts: dict[tuple[float | None, str], list[str]] = {}
    for what, conditions in table.by_perturbation.items():
        at_doses, in_types = (len({c[i] for c in conditions}) > 1 for i in (1, 2))
        for _, dose, kind in hidden.intersection(conditions) if what not in whole else ():
            parts.setdefault((dose if at_doses else None, kind if in_types else ""), []).extend(written[what.label])
    doses = as_labels(obs[roles.dose]).tolist() if roles.dose else []
    for (dose, kind), values in parts.items():
        also = []
        if kind and roles.cell_type:
            also.append(HoldOut(column=roles.cell_type, values=(kind,)))
        if dose is not None and roles.dose:
            same = [d for d in dict.fromkeys(doses) if d and _number(d) == dose]
            also.append(HoldOut(column=roles.dose, values=tuple(same)))
        made.append(HoldOut(column=roles.perturbation, values=tuple(dict.fromkeys(values)), also=tuple(also)))
    return tuple(made)


def propose(obs: pd.DataFrame, roles: Roles, word: str, seed: int = 0) -> tuple[HoldOut, ...]:
    """Return the rules of a word such as `"unseen-pair-both"` or `"unseen-type:B"` for the cells in `obs`.

    Raises
    ------
    ScdiffError
        There is no perturbation column with a control, the word is unknown, or the data do not allow it.
    """
    read_word(word)
    if not roles.perturbation or not roles.control:
        raise ScdiffError(f"'{word}' cannot be held out.", "It is not known which cells were perturbed, or which are "
                          "the control.", "Name the column (--perturbation) and the control (--control).")
    table = Table.of(obs, roles)
    return rules(choose(table, word, seed), table, obs, roles)


def shared_columns(obs: pd.DataFrame) -> list[str]:
    """Return the columns by which held-out cells may be known to training all the same: guides and donors."""
    return [c for c in obs.columns if folded(str(c)) in SHARED]


def leakage_lines(obs: pd.DataFrame, roles: Roles, hold_out: tuple[HoldOut, ...]) -> list[str]:
    """Say for each condition that is held out as a whole what of it is in training all the same, at most eight lines.

    Nothing is said where `hold_out` is empty or no control is known.
    """
    if not hold_out or not roles.perturbation or not roles.control:
        return []
    try:
        table = Table.of(obs, roles)
    except ScdiffError:  # doses that are no numbers: told where a model of perturbations is asked for
        return []
    test = held_out(obs, hold_out)
    asked = tuple(c for c, rows in table.conditions.items() if test[rows].all())
    found = splits.leakage(table, Fold("", "", asked, test), obs, shared_columns(obs), MOST_LINES)
    lines = [f"Held out: {f.words()}" for f in found]
    return lines + ([f"{len(asked) - MOST_LINES} more conditions are held out."] if len(asked) > MOST_LINES else [])


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
