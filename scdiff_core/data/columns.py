"""The columns of the cells as they are shown: of what kind each is, and its values with how often they occur."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from scdiff_core.data.vocab import as_labels, as_numbers

CATEGORICAL, CONTINUOUS, CONSTANT, ID = "categorical", "continuous", "constant", "id"
SHOWN = 50
MOST_CODES = 50  # whole numbers of at most so many values can be codes of clusters
METRIC = re.compile(r"^n_|_n$|count|genes|umi|feature|score|pct|percent|fraction|mito|ribo|total|size|depth|ratio",
                    re.IGNORECASE)


@dataclass(frozen=True)
class ColumnInfo:
    """One column of the cells, as it is shown.

    Attributes
    ----------
    name, kind
        The column, and 'categorical', 'continuous', 'constant' or 'id' (another value in nearly every cell).
    n_missing, n_unique
        Cells without a value, and different values.
    values
        The (label, number of cells) pairs, the most frequent first, at most 50; none for ids and measures.
    role
        The part it was guessed to play, or None.
    """

    name: str
    kind: str
    n_missing: int
    values: tuple[tuple[str, int], ...]
    n_unique: int
    role: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {**asdict(self), "values": [list(v) for v in self.values]}


def tally(column: pd.Series) -> tuple[list[tuple[str, int]], int]:
    """Return (label, cells) pairs, the most frequent first, and how many cells have no label."""
    if not isinstance(column.dtype, pd.CategoricalDtype) and column.dtype == object:
        column = pd.Series(as_labels(column))
    raw = column.value_counts(dropna=True)
    raw = raw[raw > 0]
    joined: dict[str, int] = {}
    labels = as_labels(pd.Series(raw.index.astype(object), dtype=object))
    for label, n in zip(labels, raw.to_numpy(), strict=True):
        joined[str(label)] = joined.get(str(label), 0) + int(n)
    joined.pop("", None)
    pairs = sorted(joined.items(), key=lambda p: (-p[1], p[0]))
    return pairs, len(column) - sum(joined.values())


def _numeric_kind(name: str, column: pd.Series, n_unique: int) -> str:
    values = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    values = values[np.isfinite(values)]
    if not np.all(values == np.rint(values)):
        return CONTINUOUS
    running = n_unique == len(values) > 20 and np.ptp(values) == len(values) - 1
    if running or (n_unique == len(values) > 20 and re.search(r"(^|_)(id|index|barcode)$", name.casefold())):
        return ID
    coded = n_unique <= MOST_CODES and n_unique * 5 <= len(values) and not METRIC.search(name)
    return CATEGORICAL if coded else CONTINUOUS


def describe(column: pd.Series) -> ColumnInfo:
    """Say what kind of column it is, with its values and how often they occur."""
    name = str(column.name)
    pairs, n_missing = tally(column)
    n_unique, n = len(pairs), len(column) - n_missing
    numeric = pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)
    if n_unique <= 1:
        kind = CONSTANT
    elif numeric:
        kind = _numeric_kind(name, column, n_unique)
    elif n_unique > MOST_CODES and n_unique * 4 > n and as_numbers(column) is not None:
        kind = CONTINUOUS  # numbers written as text
    elif (n_unique == n and n >= 10) or n_unique > max(MOST_CODES, n / 2):
        kind = ID
    else:
        kind = CATEGORICAL
    shown = tuple(pairs[:SHOWN]) if kind in (CATEGORICAL, CONSTANT) or n_unique <= SHOWN else ()
    return ColumnInfo(name, kind, n_missing, shown, n_unique)


def describe_columns(obs: pd.DataFrame) -> tuple[ColumnInfo, ...]:
    """Describe every column of the cells."""
    return tuple(describe(obs[c]) for c in obs.columns)
