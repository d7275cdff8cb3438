"""The only door between names and indices: which covariates there are and which values they take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from scdiff_core import keys
from scdiff_core.config import Roles
from scdiff_core.errors import ScdiffError, nearest

CATEGORICAL = "categorical"
CONTINUOUS = "continuous"
_ALWAYS_CATEGORICAL = (keys.CELL_TYPE, keys.BATCH, keys.PERTURBATION)
_BLANK = {"", "nan", "NaN", "<NA>", "NaT", "None"}


def as_labels(column: pd.Series) -> np.ndarray:
    """Return a column as text [N], whole numbers without a point, missing values as ``""``."""
    if isinstance(column.dtype, pd.CategoricalDtype):  # each category once, instead of each cell
        names = as_labels(pd.Series(column.cat.categories.astype(object), dtype=object))
        return np.append(names, "")[column.cat.codes.to_numpy()]
    missing = column.isna().to_numpy()
    values = column.astype(object).to_numpy()
    out = np.array([_text(v) for v in values], dtype=object)
    out[missing | np.isin(out.astype(str), list(_BLANK))] = ""
    return out.astype(str)


def _text(value: Any) -> str:
    if isinstance(value, (float, np.floating)) and np.isfinite(value) and float(value).is_integer():
        return str(int(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace").strip()
    return str(value).strip()


def as_numbers(column: pd.Series) -> np.ndarray | None:
    """Return a column as float64 [N] with nan for missing values, or None if it holds other text."""
    if isinstance(column.dtype, pd.CategoricalDtype) or column.dtype == object:
        text = as_labels(column)
        numbers = pd.to_numeric(pd.Series(text), errors="coerce").to_numpy(np.float64)
        return None if np.any(np.isnan(numbers) & (text != "")) else numbers
    if not pd.api.types.is_numeric_dtype(column.dtype):
        return as_numbers(column.astype(object))
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return np.where(np.isfinite(numbers), numbers, np.nan)


@dataclass(frozen=True)
class Covariate:
    """One covariate of the cells: a column of obs and the values it takes.

    Parameters
    ----------
    column, role
        The column of obs under its original name, and the part it plays (one of `keys.ROLES`).
    kind
        ``"categorical"`` or ``"continuous"``.
    values
        The labels of a categorical covariate, in order; empty for a continuous one.
    mean, std
        Mean and standard deviation of a continuous covariate on the training cells.
    """

    column: str
    role: str
    kind: str
    values: tuple[str, ...] = ()
    mean: float = 0.0
    std: float = 1.0

    @property
    def null(self) -> int:
        """The code that means missing."""
        return len(self.values)

    def number(self, text: str, besides: str = "") -> float:
        """Return the number that a continuous covariate is asked to be; `besides` is what else it could be.

        Raises
        ------
        ScdiffError
            The text is no number.
        """
        try:
            return float(text)
        except ValueError:
            raise ScdiffError(f"'{self.column}' cannot be '{text}'.", "It is a number for each cell.",
                              f"Give a number for '{self.column}'{besides}.") from None

    def standard(self, number: Any) -> Any:
        """Return a number, or an array of them, in standard deviations from the mean of the training cells."""
        return (number - self.mean) / self.std


@dataclass(frozen=True)
class Vocab:
    """All covariates of a prepared dataset, in the order of `keys.ROLES`."""

    covariates: tuple[Covariate, ...] = ()

    @property
    def categorical(self) -> tuple[Covariate, ...]:
        """The categorical covariates, in the order of the columns of `codes`."""
        return tuple(c for c in self.covariates if c.kind == CATEGORICAL)

    @property
    def continuous(self) -> tuple[Covariate, ...]:
        """The continuous covariates, in the order of the columns of `conts`."""
        return tuple(c for c in self.covariates if c.kind == CONTINUOUS)

    def __iter__(self) -> Iterator[Covariate]:
        return iter(self.covariates)

    @classmethod
    def from_obs(cls, obs: pd.DataFrame, roles: Roles) -> Vocab:
        """Make the vocabulary of `obs`; labels come from all cells, mean and spread from training cells.

        A dose or time that is numeric throughout and takes at least two values is continuous; everything
        else is categorical. A column without any label is left out.

        Raises
        ------
        ScdiffError
            A role names a column that `obs` does not have.
        """
        train = (obs[keys.SPLIT] == keys.TRAIN).to_numpy() if keys.SPLIT in obs else np.ones(len(obs), bool)
        covariates = []
        for role, column in roles.columns().items():
            if column not in obs:
                raise ScdiffError(f"There is no column '{column}' for the role {role}.",
                                  nearest(column, obs.columns) or "The cells have the columns "
                                  + ", ".join(map(str, obs.columns)) + ".",
                                  "Choose one of the columns of this file.")
            numbers = None if role in _ALWAYS_CATEGORICAL else as_numbers(obs[column])
            if numbers is not None and len(np.unique(numbers[~np.isnan(numbers)])) >= 2:
                seen = numbers[train & ~np.isnan(numbers)]
                seen = seen if len(seen) else numbers[~np.isnan(numbers)]
                covariates.append(Covariate(column, role, CONTINUOUS, (), float(seen.mean()),
                                            float(seen.std()) or 1.0))
                continue
            labels = as_labels(obs[column])
            values = _ordered(labels, obs[column])
            if values:
                covariates.append(Covariate(column, role, CATEGORICAL, values))
        return cls(tuple(covariates))

    def to_dict(self) -> list[dict[str, Any]]:
        """Return the vocabulary as plain JSON."""
        return [{**asdict(c), "values": list(c.values)} for c in self.covariates]

    @classmethod
    def from_dict(cls, value: list[dict[str, Any]]) -> Vocab:
        """Make the vocabulary from what `to_dict` returned."""
        return cls(tuple(Covariate(**{**c, "values": tuple(c["values"])}) for c in value))

    def find(self, name: str) -> Covariate:
        """Return a covariate by its column, or by its role.

        Raises
        ------
        ScdiffError
            There is none of that name; the nearest ones are named.
        """
        for match in (lambda c: c.column == name, lambda c: c.role == name):
            for covariate in self.covariates:
                if match(covariate):
                    return covariate
        known = [c.column for c in self.covariates]
        raise ScdiffError(f"The model knows no covariate '{name}'.",
                          nearest(name, known + [c.role for c in self.covariates])
                          or ("It knows " + ", ".join(known) + "." if known else "It was made without any."),
                          "Use one of these names, or prepare the data with that column in a role.")

    def index(self, column: str, value: str) -> int:
        """Return the code of a label.

        Raises
        ------
        ScdiffError
            The covariate is unknown or continuous, or has no such label; the nearest ones are named.
        """
        covariate = self.find(column)
        if covariate.kind == CONTINUOUS:
            raise ScdiffError(f"'{covariate.column}' has no labels.", "It is a number for each cell.",
                              f"Give a number for '{covariate.column}'.")
        if value not in covariate.values:
            raise unknown_label(covariate, value)
        return covariate.values.index(value)

    def encode(self, obs: pd.DataFrame | Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """Turn names into indices.

        A missing label gets the covariate's null (`len(values)`), a missing number nan; a column that `obs`
        lacks is missing for all cells.

        Returns
        -------
        codes, conts
            int64 [N, number of categorical covariates]; float32 [N, number of continuous ones], standardised.

        Raises
        ------
        ScdiffError
            A label is unknown, or a continuous covariate holds text.
        """
        obs = obs if isinstance(obs, pd.DataFrame) else pd.DataFrame(obs)
        codes = np.empty((len(obs), len(self.categorical)), np.int64)
        conts = np.full((len(obs), len(self.continuous)), np.nan, np.float32)
        for j, covariate in enumerate(self.categorical):
            codes[:, j] = covariate.null
            if covariate.column in obs:
                labels = as_labels(obs[covariate.column])
                found = pd.Index(covariate.values).get_indexer(pd.Index(labels))
                wrong = (found < 0) & (labels != "")
                if wrong.any():
                    raise unknown_label(covariate, str(labels[wrong][0]))
                codes[:, j] = np.where(found < 0, covariate.null, found)
        for j, covariate in enumerate(self.continuous):
            if covariate.column in obs:
                numbers = as_numbers(obs[covariate.column])
                if numbers is None:
                    raise ScdiffError(f"'{covariate.column}' must be a number.",
                                      "Some cells hold text there.", "Give numbers, or leave it missing.")
                conts[:, j] = (numbers - covariate.mean) / covariate.std
        return codes, conts

    def decode(self, codes: np.ndarray, conts: np.ndarray) -> pd.DataFrame:
        """Turn indices back into columns of obs; nulls become missing values. The inverse of `encode`."""
        out: dict[str, Any] = {}
        for j, covariate in enumerate(self.categorical):
            column = np.asarray(codes)[:, j]
            column = np.where((column < 0) | (column >= covariate.null), -1, column).astype(np.int64)
            values = pd.Index(covariate.values, dtype=object)
            out[covariate.column] = pd.Categorical.from_codes(column, values)
        for j, covariate in enumerate(self.continuous):
            out[covariate.column] = np.asarray(conts, np.float64)[:, j] * covariate.std + covariate.mean
        return pd.DataFrame({c.column: out[c.column] for c in self.covariates},
                            index=pd.RangeIndex(len(codes)))


def unknown_label(covariate: Covariate, value: str) -> ScdiffError:
    """Return the error for a label that a covariate does not have."""
    some = ", ".join(covariate.values[:10]) + (", ..." if len(covariate.values) > 10 else "")
    return ScdiffError(f"'{covariate.column}' has no value '{value}'.",
                       nearest(value, covariate.values) or f"Its values are {some}.",
                       "Use one of the values that the training data has.")


def _ordered(labels: np.ndarray, column: pd.Series) -> tuple[str, ...]:
    """Return the labels in the order of an ordered categorical, by number, or by name."""
    seen = set(labels.tolist()) - {""}
    if isinstance(column.dtype, pd.CategoricalDtype) and column.dtype.ordered:
        return tuple(t for t in (_text(v) for v in column.cat.categories) if t in seen)
    numbers = pd.to_numeric(pd.Series(sorted(seen), dtype=object), errors="coerce")
    if len(seen) and numbers.notna().all():
        return tuple(sorted(seen, key=float))
    return tuple(sorted(seen, key=lambda s: (s.casefold(), s)))
