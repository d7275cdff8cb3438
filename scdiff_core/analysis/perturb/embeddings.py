"""Named vectors of perturbations: what says that two of them are alike before either was measured."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scdiff_core.data.perturbations import Perturbation
from scdiff_core.errors import ScdiffError, nearest

WIDTH = 64
SMALLEST, LARGEST = 5, 500  # genes of a set that says something: smaller ones are accidents, larger ones common places
HOW = ("Add an embedding that has it: gene sets (.gmt), regulons, or a table of your own with one row for each name "
       "(.csv, .tsv, .parquet or .h5ad: GenePT, scGPT, ESM, fingerprints of drugs).")


@dataclass(frozen=True)
class Embedding:
    """Vectors of E numbers for n names (genes, drugs); names are found in any case.

    Attributes
    ----------
    name
        What it is, in words, for the report.
    vectors
        float64 [n, E].
    """

    name: str
    names: tuple[str, ...]
    vectors: np.ndarray

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {n.casefold(): i for i, n in reversed(list(enumerate(self.names)))} | {
            n: i for i, n in enumerate(self.names)}

    def row(self, part: str, target: str = "") -> int | None:
        """Return the row of a perturbation's part, by its whole name or by its target's; None if it has none."""
        for name in (part, target, part.casefold(), target.casefold()):
            if name and name in self._rows:
                return self._rows[name]
        return None

    @cached_property
    def unit(self) -> np.ndarray:
        """The vectors less their mean, at length 1 (a vector of zeros stays one) [n, E]."""
        centred = self.vectors - self.vectors.mean(axis=0)
        length = np.linalg.norm(centred, axis=1, keepdims=True)
        return np.asarray(centred / np.where(length > 1e-9 * max(1.0, float(length.max(initial=0))), length, np.inf))

    def take(self, names: Iterable[str]) -> Embedding:
        """Return the rows of some names (those that it has); `unit` is then of the rows' own mean."""
        rows = [r for r in (self.row(n) for n in names) if r is not None]
        return Embedding(self.name, tuple(self.names[r] for r in rows), self.vectors[rows])


def told_apart(embeddings: Sequence[Embedding]) -> tuple[Embedding, ...]:
    """Return the embeddings with a number after names that stand twice: each is a piece of the kernel by its name."""
    seen: dict[str, int] = {}
    out = []
    for e in embeddings:
        seen[e.name] = seen.get(e.name, 0) + 1
        out.append(e if seen[e.name] == 1 else replace(e, name=f"{e.name} ({seen[e.name]})"))
    return tuple(out)


def missing(perturbations: Sequence[Perturbation], embeddings: Sequence[Embedding],
            seen: Iterable[str] = ()) -> list[str]:
    """Return the parts that were not seen in training and have a row in none of the embeddings."""
    known = set(seen)
    parts = dict.fromkeys(pair for p in perturbations for pair in zip(p.parts, p.targets, strict=True))
    return [part for part, target in parts if part not in known
            and all((r := e.row(part, target)) is None or not e.unit[r].any() for e in embeddings)]


def refuse(perturbations: Sequence[Perturbation], embeddings: Sequence[Embedding], seen: Iterable[str] = ()) -> None:
    """Raise `ScdiffError` where a perturbation can be told from nothing: not seen, and in no embedding."""
    seen = list(seen)
    lost = missing(perturbations, embeddings, seen)
    if not lost:
        return
    shown = ", ".join(f"'{n}'" for n in lost[:8]) + (f" and {len(lost) - 8} more" if len(lost) > 8 else "")
    have = ", ".join(e.name for e in embeddings) or "none"
    known = dict.fromkeys([*seen, *(n for e in embeddings for n in e.names)])
    raise ScdiffError(f"Nothing is known about {shown}.",
                      f"It was not measured in training and is in no embedding (there: {have}). "
                      + nearest(lost[0], known), HOW)


def from_control(log1p: Any, genes: Sequence[str], width: int = 32, seed: int = 0) -> Embedding:
    """Embed each gene by its loadings: the leading parts of the correlations of genes in control cells.

    Parameters
    ----------
    log1p
        Control cells of the training split [n, G]; types (and batches) should be centred by the caller if they are
        not to count.
    """
    x = np.asarray(sp.csr_matrix(log1p).todense(), np.float64)
    x -= x.mean(axis=0)
    spread = x.std(axis=0)
    x /= np.where(spread > 1e-8, spread, np.inf)
    width = int(min(width, *x.shape))
    values, vectors = _svd(x.T, width, seed)
    return Embedding("co-expression in control cells", tuple(map(str, genes)), values * vectors / np.sqrt(len(x)))


def from_gene_sets(sets: Mapping[str, Sequence[str]], name: str = "gene sets", width: int = WIDTH, seed: int = 0,
                   smallest: int = SMALLEST, largest: int = LARGEST) -> Embedding:
    """Embed each gene by a truncated SVD of its membership in sets, rare sets weighing more (tf-idf).

    Raises
    ------
    ScdiffError
        No set has between `smallest` and `largest` genes.
    """
    chosen = {k: list(dict.fromkeys(v)) for k, v in sets.items()}
    chosen = {k: v for k, v in chosen.items() if smallest <= len(v) <= largest}
    if len(chosen) < 2:
        raise ScdiffError("The gene sets cannot be used as an embedding.",
                          f"{len(chosen)} of {len(sets)} sets have {smallest} to {largest} genes.",
                          "Take a larger collection, for example GO or Reactome from MSigDB.")
    genes = sorted({g for v in chosen.values() for g in v})
    index = {g: i for i, g in enumerate(genes)}
    rows = [index[g] for v in chosen.values() for g in v]
    columns = np.repeat(np.arange(len(chosen)), [len(v) for v in chosen.values()])
    member = sp.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(genes), len(chosen)))
    return _of_membership(member, genes, name, width, seed)


def from_regulons(table: pd.DataFrame, name: str = "regulons", width: int = WIDTH, seed: int = 0) -> Embedding:
    """Embed genes by regulons: who regulates them, and whom they regulate; columns tf (source), target, mor (weight).

    Raises
    ------
    ScdiffError
        A column is missing.
    """
    renamed = table.rename(columns={"source": "tf", "weight": "mor"})
    for column in ("tf", "target"):
        if column not in renamed:
            raise ScdiffError("The regulons cannot be used.", f"The table has no column '{column}'.",
                              "Give a table with the columns tf (or source), target and, if known, mor (or weight).")
    tf, target = renamed["tf"].astype(str), renamed["target"].astype(str)
    sign = pd.to_numeric(renamed["mor"], errors="coerce").fillna(1.0) if "mor" in renamed else pd.Series(1.0, tf.index)
    genes = sorted(set(tf) | set(target))
    index = {g: i for i, g in enumerate(genes)}
    i, j, w = tf.map(index).to_numpy(), target.map(index).to_numpy(), np.sign(sign.to_numpy(float))
    n = len(genes)
    regulated_by = sp.csr_matrix((w, (j, i)), shape=(n, n))
    regulates = sp.csr_matrix((w, (i, j)), shape=(n, n))
    member = sp.hstack([regulated_by, regulates]).tocsr()
    return _of_membership(member[:, np.asarray(abs(member).sum(axis=0)).ravel() > 0], genes, name, width, seed)


def _of_membership(member: sp.csr_matrix, genes: list[str], name: str, width: int, seed: int) -> Embedding:
    size = np.asarray(abs(member).sum(axis=0)).ravel()
    weighted = member @ sp.diags(np.log(member.shape[0] / size))
    length = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    unit = sp.diags(1 / np.where(length > 0, length, 1.0)) @ weighted
    values, vectors = _svd(unit, int(min(width, min(unit.shape) - 1)), seed)
    return Embedding(name, tuple(genes), values * vectors)


def _svd(x: Any, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.utils.extmath import randomized_svd

    u, s, _ = randomized_svd(x, n_components=max(1, width), random_state=seed)
    return s, u


def read_table(path: str | Path, name: str | None = None) -> Embedding:
    """Read a table of vectors: .csv or .tsv (names first), .parquet, or .h5ad (obs names, X); also .gz.

    Raises
    ------
    ScdiffError
        It cannot be read, has no numbers, a row with missing or infinite numbers, or a name that stands twice.
    """
    path = Path(path)
    suffixes = [s.lower() for s in path.suffixes]
    kind = next((s for s in reversed(suffixes) if s != ".gz"), "")
    try:
        if kind == ".h5ad":
            import anndata

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                a = anndata.read_h5ad(path)
            table = pd.DataFrame(a.X.toarray() if sp.issparse(a.X) else np.asarray(a.X), index=a.obs_names)
        elif kind == ".parquet":
            table = pd.read_parquet(path)
            if isinstance(table.index, pd.RangeIndex):
                table = table.set_index(table.columns[0])
        elif kind in (".csv", ".tsv", ".txt"):
            table = pd.read_csv(path, sep="," if kind == ".csv" else "\t", index_col=0, keep_default_na=True)
        else:
            raise ScdiffError("The embedding table cannot be read.", f"'{path.name}' is of no known kind.",
                              "Give a .csv, .tsv, .parquet or .h5ad file.")
    except ScdiffError:
        raise
    except FileNotFoundError:
        raise ScdiffError("The embedding table cannot be read.", f"'{path.name}' is not there.",
                          "Check the path.") from None
    except Exception as error:
        raise ScdiffError("The embedding table cannot be read.", f"'{path.name}': {str(error).splitlines()[0][:150]}",
                          "Give a table with a name and then numbers in each row.") from error
    return from_table(table, name or path.stem)


def from_table(table: pd.DataFrame, name: str = "table") -> Embedding:
    """Make an embedding of a table: one row a name (the index), one column a number.

    Raises
    ------
    ScdiffError
        See `read_table`.
    """
    numbers = table.apply(pd.to_numeric, errors="coerce")
    empty = [str(c) for c in numbers if numbers[c].isna().all()]
    if not numbers.shape[1] or not len(numbers) or len(empty) == numbers.shape[1]:
        raise ScdiffError("The embedding table cannot be used.", f"It has {len(numbers)} rows and no numbers.",
                          "Give a table with a name and then numbers in each row.")
    if empty:
        raise ScdiffError("The embedding table cannot be used.", f"The column '{empty[0]}' holds no numbers.",
                          "Leave that column out.")
    labels = pd.Series(table.index.astype(str)).str.strip()
    nameless = table.index.isna() | (labels == "").to_numpy()
    if nameless.any():
        raise ScdiffError("The embedding table cannot be used.", f"Row {int(np.argmax(nameless)) + 1} has no name.",
                          "Give every row a name, or leave it out.")
    values = numbers.to_numpy(np.float64)
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        shown = ", ".join(f"'{n}'" for n in labels[bad].head(5)) + (", ..." if bad.sum() > 5 else "")
        raise ScdiffError("The embedding table cannot be used.",
                          f"{int(bad.sum())} of {len(values)} rows have a missing or infinite number ({shown}).",
                          "Fill these numbers in, or leave the rows out: their perturbations are then refused "
                          "unless they were measured.")
    twice = labels[labels.duplicated()]
    if len(twice):
        raise ScdiffError("The embedding table cannot be used.", f"'{twice.iloc[0]}' stands in it more than once.",
                          "Keep one row for each name.")
    return Embedding(name, tuple(labels), values)
