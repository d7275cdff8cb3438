"""Columns of obs in types that every reader of an .h5ad understands."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from scdiff_core import keys
from scdiff_core.data.vocab import CATEGORICAL, Vocab, as_labels

RESERVED = (keys.TOTAL_COUNTS, keys.N_GENES, keys.PCT_MT, keys.DOUBLET_SCORE, keys.SPLIT)


def plain(obs: pd.DataFrame, vocab: Vocab | None = None) -> pd.DataFrame:
    """Return obs with plain columns: numbers and bools as they are, everything else as text labels.

    Mixed objects, dates, intervals and nullable types become categories of text with missing values; the
    categorical covariates of `vocab` do so in the vocabulary's order.
    """
    out: dict[str, object] = {}
    for column in obs.columns:
        series = obs[column]
        dtype = series.dtype
        if isinstance(dtype, np.dtype) and dtype.kind in "iufb":
            out[str(column)] = series.to_numpy()
        elif pd.api.types.is_numeric_dtype(dtype) and not isinstance(dtype, np.dtype) \
                and not pd.api.types.is_bool_dtype(dtype) and dtype.kind in "iuf":
            out[str(column)] = series.to_numpy(np.float64, na_value=np.nan)
        else:
            out[str(column)] = _categories(as_labels(series))
    for covariate in vocab or ():
        if covariate.kind == CATEGORICAL:
            out[covariate.column] = _categories(as_labels(obs[covariate.column]), covariate.values)
        else:
            out[covariate.column] = pd.to_numeric(pd.Series(as_labels(obs[covariate.column])),
                                                  errors="coerce").to_numpy(np.float64)
    return pd.DataFrame(out, index=obs.index.astype(str))


def _categories(labels: np.ndarray, values: Iterable[str] | None = None) -> pd.Categorical:
    categories = sorted(set(labels.tolist()) - {""}) if values is None else list(values)
    codes = pd.Index(categories, dtype=object).get_indexer(pd.Index(labels, dtype=object))
    return pd.Categorical.from_codes(codes, pd.Index(categories, dtype=object))


def safe_names(obs: pd.DataFrame, own: pd.DataFrame | None = None,
               reserved: tuple[str, ...] = RESERVED) -> tuple[pd.DataFrame, dict[str, str]]:
    """Give way where a column of the source has a name that the prepared file needs for its own.

    A column that says the same as ours (`own`) is dropped; another one is renamed to ``source_<name>``. Names
    that a file cannot hold (with a slash, or ``_index``) are changed too.

    Returns
    -------
    obs, renamed
        The columns, and old name -> new name for each that was changed.
    """
    renamed: dict[str, str] = {}
    out = obs.copy(deep=False)
    taken = {*map(str, out.columns), *reserved}
    for column in list(out.columns):
        name = str(column)
        if name in reserved and own is not None and name in own and _same(out[column], own[name]):
            out = out.drop(columns=column)
            continue
        new = f"source_{name}" if name in (*reserved, "_index") else name.replace("/", "_")
        if new != name:
            while new in taken:
                new += "_"
            taken.add(new)
            renamed[name] = new
    return out.rename(columns=renamed), renamed


def _same(a: pd.Series, b: pd.Series) -> bool:
    if not (pd.api.types.is_numeric_dtype(a.dtype) and pd.api.types.is_numeric_dtype(b.dtype)):
        return False
    return bool(np.allclose(a.to_numpy(np.float64, na_value=np.nan), b.to_numpy(np.float64), rtol=1e-4,
                            equal_nan=True))
