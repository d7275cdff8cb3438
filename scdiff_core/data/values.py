"""What the numbers of a source are, and which of its matrices to use: counts wherever they can be had."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scdiff_core import keys
from scdiff_core.data.gene_ids import fold
from scdiff_core.data.recover import Recovered, recover_counts
from scdiff_core.data.stores import to_csr

RAW, RECOVERED, LOGGED, SCALED, UNCLEAR = ("raw counts", "log-normalised, counts recovered", "log-normalised",
                                           "scaled", "unclear")
COUNT_LAYERS = {"counts", "count", "rawcounts", "rawcount", "countsraw", "countraw", "raw", "umi", "umis", "umicounts",
                "xcounts", "originalcounts", "integercounts"}
VELOCITY = {"spliced", "unspliced", "ambiguous", "matrix", "mature", "nascent", "ms", "mu", "velocity",
            "variancevelocity"}
MOST_LOG = 30.0  # no logarithm of a count is larger
BLOCK = 500_000  # values looked at together: they stay in the processor's cache


@dataclass(frozen=True)
class Look:
    """Figures of the stored values of a matrix, found in one pass without a copy."""

    n_nan: int
    n_infinite: int
    n_negative: int
    whole: bool  # every finite value is a whole number
    smallest: float
    largest: float

    @property
    def bad(self) -> int:
        """Values that are no numbers: NaN or infinite."""
        return self.n_nan + self.n_infinite

    @property
    def counts(self) -> bool:
        """Whether they can be counts: whole, finite, not negative, not all zero."""
        return self.whole and not self.bad and not self.n_negative and self.largest > 0


def _blocks(data: np.ndarray) -> Iterator[np.ndarray]:
    for i in range(0, len(data), BLOCK):
        yield data[i:i + BLOCK]


def look(X: sp.csr_matrix) -> Look:
    """Return the figures of a csr matrix [N, G]."""
    n_nan = n_infinite = n_negative = 0
    whole, smallest, largest = True, np.inf, -np.inf
    for part in _blocks(X.data):
        fine = np.isfinite(part)
        if not fine.all():
            nan = int(np.isnan(part).sum())
            n_nan += nan
            n_infinite += len(part) - int(fine.sum()) - nan
            part = part[fine]
        if len(part):
            n_negative += int((part < 0).sum())
            whole = whole and bool(np.all(np.abs(part - np.rint(part)) <= 1e-6 * np.maximum(1.0, np.abs(part))))
            smallest, largest = min(smallest, float(part.min())), max(largest, float(part.max()))
    if X.nnz < X.shape[0] * X.shape[1]:
        smallest, largest = min(smallest, 0.0), max(largest, 0.0)
    return Look(n_nan, n_infinite, n_negative, whole, smallest, largest)


@dataclass(frozen=True)
class Chosen:
    """The matrix to go on with.

    Attributes
    ----------
    X
        csr float32 [N, G], counts or continuous values as `values` says.
    var
        The genes of it.
    values, kind
        `keys.COUNTS` or `keys.CONTINUOUS`; and what the source held, in words.
    where
        'X', 'raw' or the name of a layer.
    recovered
        How counts were won back, or None.
    notes
        Triples (level, title, detail) on how it was judged.
    """

    X: sp.csr_matrix
    var: pd.DataFrame
    values: str
    kind: str
    where: str
    recovered: Recovered | None = None
    notes: tuple[tuple[str, str, str], ...] = field(default=())


def candidates(adata: Any) -> list[tuple[str, sp.csr_matrix, pd.DataFrame]]:
    """Return (name, matrix, genes) of X, the layers and .raw, those that are there, as csr float32."""
    found = [("X", to_csr(adata.X), adata.var)] if adata.X is not None else []
    found += [(str(k), to_csr(v), adata.var) for k, v in adata.layers.items()]
    if adata.raw is not None:
        found.append(("raw", to_csr(adata.raw.X), adata.raw.var))
    return found


def _rounded(X: sp.csr_matrix) -> sp.csr_matrix:
    if all(np.array_equal(part, np.rint(part)) for part in _blocks(X.data)):
        return X
    return sp.csr_matrix((np.rint(X.data), X.indices, X.indptr), shape=X.shape)


def _totals_columns(obs: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the numeric columns of whole numbers, those named like totals first."""
    out = {}
    for name in sorted(map(str, obs.columns), key=lambda c: not any(w in fold(c) for w in ("count", "umi", "total"))):
        if pd.api.types.is_numeric_dtype(obs[name].dtype) and not pd.api.types.is_bool_dtype(obs[name].dtype):
            values = obs[name].to_numpy(np.float64, na_value=np.nan)
            if np.isfinite(values).all() and len(values) and values.min() > 0 and np.all(values == np.rint(values)):
                out[name] = values
    return out


def _moments(X: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of every gene [G]."""
    n = max(1, X.shape[0])
    total = np.bincount(X.indices, weights=X.data, minlength=X.shape[1])
    squares = np.bincount(X.indices, weights=np.square(X.data, dtype=np.float64), minlength=X.shape[1])
    mean = total / n
    return mean, np.sqrt(np.maximum(0.0, squares / n - mean**2))


def judge(X: sp.csr_matrix, seen: Look) -> str:
    """Return what continuous values are: log-normalised, scaled or unclear."""
    mean, sd = _moments(X)
    varies = sd > 1e-8
    if not varies.any():
        return UNCLEAR
    if seen.n_negative:
        centred = np.median(np.abs(mean[varies]) / sd[varies]) < 0.3
        return SCALED if centred and seen.n_negative > 0.1 * X.shape[0] * X.shape[1] else UNCLEAR
    if np.mean(np.abs(sd[varies] - 1) < 0.03) > 0.8 and varies.sum() > 10:
        return SCALED
    return LOGGED if 1.0 < seen.largest <= MOST_LOG else UNCLEAR


def _log1p(X: sp.csr_matrix) -> sp.csr_matrix:
    """Scale every cell to 10,000 and take log1p."""
    total = np.asarray(X.sum(1), np.float64).ravel()
    factor = np.divide(keys.TARGET_SUM, total, out=np.zeros_like(total), where=total > 0)
    data = np.log1p(X.data * np.repeat(factor, np.diff(X.indptr))).astype(np.float32)
    return sp.csr_matrix((data, X.indices, X.indptr), shape=X.shape)


def choose(adata: Any) -> Chosen | None:
    """Choose the matrix to use: counts as they are, then counts won back, then continuous values.

    Counts are looked for in X, in a layer of a known name and in .raw; normalised values are turned back
    into counts where that is exact, from .raw first if it has as many genes. Returns None where every matrix
    has values that are no numbers, or nothing but zeros.
    """
    found = candidates(adata)
    seen = {name: look(X) for name, X, _ in found}
    usable = [(name, X, var) for name, X, var in found if not seen[name].bad and X.nnz and X.shape[1]]
    for name, X, var in usable:
        if seen[name].counts and (name in ("X", "raw") or fold(name) in COUNT_LAYERS):
            return Chosen(_rounded(X), var, keys.COUNTS, RAW, name, notes=_counts_notes(X, seen[name], name, seen))
    n_genes = adata.n_vars
    order = sorted((c for c in usable if fold(c[0]) not in VELOCITY and not seen[c[0]].n_negative),
                   key=lambda c: (c[0] != "raw" or c[1].shape[1] < n_genes, c[0] != "X"))
    columns = _totals_columns(adata.obs) if order else {}
    for name, X, var in order:
        back = recover_counts(X, columns)
        if back is not None:
            return Chosen(back.counts, var, keys.COUNTS, RECOVERED, name, back)
    return _continuous(usable, seen)


def _counts_notes(X: sp.csr_matrix, seen_X: Look, name: str, seen: dict[str, Look],
                  ) -> tuple[tuple[str, str, str], ...]:
    notes = []
    if seen_X.largest == 1:
        notes.append(("warning", "Every count is 0 or 1", "They say whether a gene was seen, not how much."))
    if name != "X" and "X" in seen:
        notes.append(("note", "X was not used", "It holds " + ("values that are no numbers" if seen["X"].bad
                                                               else "other values than counts") + "."))
    return tuple(notes)


def _continuous(usable: list[tuple[str, sp.csr_matrix, pd.DataFrame]], seen: dict[str, Look]) -> Chosen | None:
    """Choose among matrices without counts: logged values before scaled ones, X before the others."""
    judged = [(name, X, var, judge(X, seen[name])) for name, X, var in usable if fold(name) not in VELOCITY]
    if not judged:
        return None
    rank = {LOGGED: 0, SCALED: 1, UNCLEAR: 2}
    own = next((k for n, _, _, k in judged if n == "X"), None)
    name, X, var, kind = min(judged, key=lambda c: (rank[c[3]] if own != LOGGED else 0, c[0] != "X"))
    notes: list[tuple[str, str, str]] = []
    if kind == UNCLEAR and not seen[name].n_negative and seen[name].largest > MOST_LOG:
        X = _log1p(X)
        notes.append(("warning", "log1p was taken",
                      f"The values go up to {seen[name].largest:,.0f} and are no whole numbers, as after a "
                      "correction or normalisation (TPM, CPM); each cell was scaled to 10,000 and log1p was taken."))
    velocity = " and ".join(f"'{n}'" for n, v in seen.items() if fold(n) in VELOCITY and v.counts)
    if velocity:
        notes.append(("note", "A layer holds counts", f"Counts are in the layer {velocity}, which holds a part of "
                      "them; choose it as the layer if that is what you want."))
    return Chosen(X, var, keys.CONTINUOUS, kind, name, notes=tuple(notes))
