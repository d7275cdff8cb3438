"""Which cells a model learns from and which it is judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from scdiff_core import keys
from scdiff_core.config import HoldOut
from scdiff_core.data.vocab import as_labels
from scdiff_core.errors import ScdiffError, nearest


def stratified(strata: np.ndarray, test_fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Draw the test cells of each stratum; bool [N], True for test.

    A stratum of n cells gives n · test_fraction of them, rounded up or down by chance so that the whole
    keeps the fraction; a stratum never gives all its cells, so a single cell stays in training, and one with
    at least four gives at least one.
    """
    test = np.zeros(len(strata), bool)
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        wanted = len(rows) * test_fraction
        n = int(wanted) + int(rng.random() < wanted - int(wanted))
        n = int(np.clip(n, 1 if len(rows) >= 4 else 0, len(rows) - 1))
        test[rng.permutation(rows)[:n]] = True
    return test


def held_out(obs: pd.DataFrame, hold_out: Sequence[HoldOut]) -> np.ndarray:
    """Return the cells that one of the rules holds out, bool [N].

    Raises
    ------
    ScdiffError
        A column or a value is not there (the nearest ones are named), or no cell has all that a rule asks for.
    """
    out = np.zeros(len(obs), bool)
    for rule in hold_out:
        fits = _having(obs, rule)
        for also in rule.also:
            fits &= held_out(obs, (also,))
        if not fits.any():
            raise ScdiffError("No cell would be held out.", f"None has {words(rule)}.",
                              "Choose values that occur together (after quality control).")
        out |= fits
    return out


def words(rule: HoldOut | Mapping[str, Any]) -> str:
    """Return a rule in words: which values in which column, and which in the others."""
    told = rule if isinstance(rule, Mapping) else rule.model_dump()
    every = [f"{' or '.join(map(str, told['values']))} in {told['column']}", *map(words, told.get("also") or ())]
    return " and ".join(every)


def _having(obs: pd.DataFrame, rule: HoldOut) -> np.ndarray:
    """Return the cells that have one of the values of a rule in its column, bool [N]."""
    if rule.column not in obs:
        raise ScdiffError(f"There is no column '{rule.column}' to hold values out of.",
                          nearest(rule.column, obs.columns) or "The cells have the columns "
                          + ", ".join(map(str, obs.columns)) + ".", "Choose one of these columns.")
    labels = as_labels(obs[rule.column])
    known = sorted(set(labels.tolist()) - {""})
    for value in rule.values:
        if value not in known:
            raise ScdiffError(f"No cell has '{value}' in '{rule.column}', so it cannot be held out.",
                              nearest(value, known) or "Its values are " + ", ".join(known[:10]) + ".",
                              "Choose one of the values that cells have (after quality control).")
    return np.isin(labels, rule.values)


def split(obs: pd.DataFrame, columns: Sequence[str], hold_out: Sequence[HoldOut], test_fraction: float,
          seed: int) -> np.ndarray:
    """Return ``"train"`` or ``"test"`` for each cell [N].

    Cells with a held-out value are test cells, all of them. The others are split at random within each
    combination of the values of `columns` (cell type, perturbation); a missing label is a value of its own.

    Raises
    ------
    ScdiffError
        A held-out column or value is unknown, or no cell is left to learn from.
    """
    test = held_out(obs, hold_out)
    if test.all():
        raise ScdiffError("No cell is left to learn from.", "Every cell has one of the held-out values.",
                          "Hold out fewer values.")
    rest = np.flatnonzero(~test)
    strata = np.full(len(rest), "", dtype=object)
    for column in columns:
        strata = strata + "\x1f" + as_labels(obs[column])[rest].astype(object)
    rng = np.random.default_rng(seed)
    test[rest[stratified(strata.astype(str), test_fraction, rng)]] = True
    return np.where(test, keys.TEST, keys.TRAIN)
