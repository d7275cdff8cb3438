"""Differential expression between two sets of cells: scanpy's Wilcoxon test, on the values that are not zero."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from scdiff_core.errors import ScdiffError

COLUMNS = ["gene", "score", "log2fc", "pval", "pval_adj", "mean_a", "mean_b", "frac_a", "frac_b"]
LEAST = 3  # cells of a side
TELL_EVERY = 100  # genes
TEST = ("Wilcoxon rank-sum test, two-sided, normal approximation with correction for ties "
        "(as scanpy.tl.rank_genes_groups with method='wilcoxon', tie_correct=True)")
CORRECTION = "Benjamini-Hochberg, over all genes"
TINY = 1e-9  # scanpy's own, which keeps the fold change of a silent gene finite


def compare(a: Any, b: Any, genes: np.ndarray, progress: Callable[[str, float], None] | None = None) -> pd.DataFrame:
    """Return how each gene differs between the cells `a` and the cells `b`, the highest score first.

    The figures are those of `scanpy.tl.rank_genes_groups` (Wilcoxon rank-sum, ties corrected for,
    Benjamini-Hochberg); the tests hold them against scanpy's and against `scipy.stats.mannwhitneyu`. They are
    reckoned here, since scanpy makes every gene dense and sorts all its cells, once for the ranks and again for the
    ties, and no option of it does otherwise (benchmarks/differential.py has the times). Here the zeros of a gene,
    which are one tie, are counted, and only the other values are sorted: the same ranks, exactly.

    Parameters
    ----------
    a, b
        Cells [N1, G] and [N2, G], natural log1p, sparse or dense; values below zero are allowed.
    genes
        Names [G].
    progress
        Told words and a share (0 to 1) every hundred genes; what it raises ends the comparison.

    Returns
    -------
    One row a gene: gene, score (z; above zero where `a` is higher), log2fc (log2 of expm1(mean_a) over
    expm1(mean_b), with 1e-9 added to both; nan where a mean is below zero), pval, pval_adj, the means of all cells
    (log1p) and the shares of cells with any expression (0 to 1). A gene that is silent in both, or the same in all
    cells, has score 0 and p 1.

    Raises
    ------
    ScdiffError
        A side has fewer than three cells, the genes differ in number, or a value is not a number.
    """
    from scipy import stats  # half a second, which pages that only read the table need not wait for

    genes = np.asarray(genes).astype(str)
    left, right = _columns(a), _columns(b)
    _check(left, right, len(genes))
    n, m = left.shape[0], right.shape[0]
    total = float(n + m)
    ranks, ties, mean_a, mean_b = np.zeros((4, len(genes)))
    for j in range(len(genes)):
        if progress is not None and j % TELL_EVERY == 0:
            progress("comparing the genes", j / len(genes))
        x, y = (side.data[side.indptr[j]:side.indptr[j + 1]] for side in (left, right))
        ranks[j], ties[j] = _rank_sum(x, n, y, m)
        # in double precision: sparse sums are taken in that of the values
        mean_a[j], mean_b[j] = x.sum(dtype=np.float64) / n, y.sum(dtype=np.float64) / m
    spread = np.sqrt((1 - ties / (total**3 - total)) * n * m * (total + 1) / 12)
    centred = ranks - n * (total + 1) / 2
    score = np.divide(centred, spread, out=np.zeros(len(genes)), where=spread > 0)
    pval = 2 * stats.norm.sf(np.abs(score))
    over, under = np.expm1(mean_a) + TINY, np.expm1(mean_b) + TINY
    log2fc = np.log2(np.divide(over, under, out=np.full(len(genes), np.nan), where=(over > 0) & (under > 0)))
    table = pd.DataFrame({
        "gene": genes, "score": score, "log2fc": log2fc, "pval": pval,
        "pval_adj": stats.false_discovery_control(pval) if len(genes) else pval,
        "mean_a": mean_a, "mean_b": mean_b,
        "frac_a": np.diff(left.indptr) / n, "frac_b": np.diff(right.indptr) / m})
    return table.sort_values("score", ascending=False, kind="stable", ignore_index=True)[COLUMNS]


def _columns(x: Any) -> sparse.csc_matrix:
    """Return cells gene by gene, without zeros that are written out."""
    columns = sparse.csc_matrix(x)
    if columns.nnz and not columns.data.all():
        columns = columns.copy()
        columns.eliminate_zeros()
    return columns


def _rank_sum(a: np.ndarray, n: int, b: np.ndarray, m: int) -> tuple[float, float]:
    """Return the sum of the ranks of the first side, and Σ(t³ − t) over its ties with the other one.

    `a` and `b` are the values that are not zero of n and of m cells. A value's rank is the mean of the ranks that it
    and its equals take together.
    """
    every = np.sort(np.concatenate([a, b]))
    zeros = n + m - len(every)
    starts = np.flatnonzero(np.concatenate([[True], every[1:] != every[:-1]])) if len(every) else np.empty(0, int)
    values, counts = every[starts], np.diff(np.append(starts, len(every)))
    # all zeros come after the values below zero and before those above it
    below = int(np.searchsorted(values, 0))
    values, counts = np.insert(values, below, 0), np.insert(counts, below, zeros).astype(np.float64)
    rank = np.cumsum(counts) - (counts - 1) / 2
    # the ranks of one side tell those of the other: look up the one with fewer values
    own, size = (a, n) if len(a) <= len(b) else (b, m)
    summed = rank[np.searchsorted(values, own)].sum() + (size - len(own)) * rank[below]
    whole = (n + m) * (n + m + 1) / 2
    return float(summed if own is a else whole - summed), float((counts**3 - counts).sum())


def _check(a: sparse.csc_matrix, b: sparse.csc_matrix, n_genes: int) -> None:
    if a.shape[1] != n_genes or b.shape[1] != n_genes:
        raise ScdiffError("The two sets of cells cannot be compared.",
                          f"One has {a.shape[1]:,} genes, the other {b.shape[1]:,}, and {n_genes:,} are named.",
                          "Compare cells of the same genes.")
    for x in (a, b):
        if x.shape[0] < LEAST:
            count = f"{x.shape[0]} cell" + ("" if x.shape[0] == 1 else "s")
            raise ScdiffError("The two sets of cells cannot be compared.",
                              f"One of them has {count}; a test of differences needs at least {LEAST}.",
                              "Select more cells.")
        if not np.isfinite(x.data).all():
            raise ScdiffError("The two sets of cells cannot be compared.",
                              "Some values are missing or infinite.",
                              "Prepare the data again; its check names the cells and genes.")


def read_table(path: Path) -> pd.DataFrame:
    """Return a table that `write_table` wrote; a gene named NA stays one."""
    return pd.read_csv(path, dtype={"gene": str}, keep_default_na=False, na_values={c: [""] for c in COLUMNS[1:]})


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write the table of `compare` as .csv, with six digits."""
    table.to_csv(path, index=False, float_format="%.6g")
