"""The columns of a dataset that a model was not trained with, for which a classifier of its cells can be trained."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from scdiff_core import keys
from scdiff_core.config import ByLabel
from scdiff_core.data.prepared import Prepared
from scdiff_core.data.vocab import CONTINUOUS, as_labels
from scdiff_core.errors import ScdiffError, nearest

FEWEST = 10  # training cells that a label must have
MOST_LABELS, MOST_NUMBERS = 100, 20


def columns(prepared: Prepared) -> dict[str, tuple[str, ...]]:
    """Return the columns of a dataset that a classifier can be trained for: column -> labels with enough cells.

    Columns of labels that no covariate of the model is, of at most 100 labels, or 20 whole numbers.
    """
    known = {c.column for c in prepared.vocab}
    found = {}
    for column in map(str, prepared.obs.columns):
        values = prepared.obs[column]
        if column in known or column in (keys.SPLIT, keys.SYNTHETIC) or values.dtype.kind == "f":
            continue
        labels = _enough(prepared, column)
        if len(labels) >= 2 and (values.dtype.kind not in "iu" or len(labels) <= MOST_NUMBERS):
            found[column] = labels
    return found


def _enough(prepared: Prepared, column: str) -> tuple[str, ...]:
    """Return the labels of a column that enough training cells have; none where there are too many."""
    labels, counts = np.unique(as_labels(prepared.obs[column])[prepared.rows(keys.TRAIN)], return_counts=True)
    if len(labels) > MOST_LABELS:
        return ()
    return tuple(str(v) for v, n in zip(labels, counts, strict=True) if v and n >= FEWEST)


def check(prepared: Prepared, asked: ByLabel, where: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """Return the column and the labels of the classifier that is asked for.

    A column that the model was trained with may be one where its value is asked for as a condition too: combinations of
    values that no training cell has are met more surely with both.

    Raises
    ------
    ScdiffError
        The model was trained with that column and its value is no condition, there is none of that name, it is no
        column of labels, or the label is unknown or has too few cells.
    """
    covariate = next((c for c in prepared.vocab if asked.column in (c.column, c.role)), None)
    asks = {k: v for k, v in where.items() if covariate is not None and k in (covariate.column, covariate.role)}
    if covariate is not None and covariate.kind != CONTINUOUS and asked.value in asks.values():
        labels = _enough(prepared, covariate.column)
        if asked.value in labels and len(labels) > 1:
            return covariate.column, labels
        raise ScdiffError(f"No classifier can be trained for '{asked.value}'.",
                          f"It takes {FEWEST} training cells that have it, and as many that do not.",
                          "Leave the classifier out.")
    if covariate is not None:
        option = f'--where "{covariate.column}={asked.value}"'
        raise ScdiffError(f"The model was trained with '{covariate.column}': ask for its value as a condition.",
                          "A classifier of a covariate that the model knows only helps a condition.",
                          f"Choose its value among the conditions ({option})"
                          + ("." if covariate.kind == CONTINUOUS else ", with a guidance scale of its own."))
    able = columns(prepared)
    if asked.column not in prepared.obs:
        raise ScdiffError(f"The dataset has no column '{asked.column}'.", nearest(asked.column, able) or
                          "Columns that a classifier can be trained for: " + (", ".join(able) or "none") + ".",
                          "Use one of the dataset's columns of labels.")
    if asked.column not in able:
        raise ScdiffError(f"No classifier can be trained for '{asked.column}'.",
                          f"It takes a column of 2 to {MOST_LABELS} labels, each of at least {FEWEST} training cells.",
                          "Columns that can be used: " + (", ".join(able) or "none in this dataset") + ".")
    if asked.value not in able[asked.column]:
        there = asked.value in set(as_labels(prepared.obs[asked.column]).tolist())
        raise ScdiffError(f"'{asked.column}' has no value '{asked.value}' to guide towards.",
                          f"Fewer than {FEWEST} training cells have it." if there else
                          nearest(asked.value, able[asked.column]) or "No cell has it.",
                          "Its values with enough cells: " + ", ".join(able[asked.column][:20]) + ".")
    return asked.column, able[asked.column]
