"""Marker genes of each cell type, and the summary tables behind the marker figures."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from scdiff_core.errors import ScdiffError

COLUMNS = ["group", "gene", "rank", "score", "log2fc", "pval_adj", "frac_in", "frac_out"]


def rank_markers(log1p: Any, genes: np.ndarray, labels: np.ndarray, n: int = 50) -> pd.DataFrame:
    """Return the `n` genes that best mark each label, best first.

    Wilcoxon rank-sum test of each label against all other cells with Benjamini-Hochberg correction, by
    `scanpy.tl.rank_genes_groups`, with ties corrected for (most values are zeros).

    Parameters
    ----------
    log1p
        Real cells [N, G], natural log1p.
    labels
        Their labels [N]; cells with "" take no part, nor do labels with a single cell.

    Returns
    -------
    A table with columns group, gene, rank (from 1), score (z), log2fc, pval_adj, and the shares of cells
    with any expression in the group and outside it (frac_in, frac_out; 0 to 1). Empty where fewer than two
    labels have two cells.
    """
    import anndata
    import scanpy as sc

    labels, genes = np.asarray(labels).astype(str), np.asarray(genes).astype(str)
    known, sizes = np.unique(labels, return_counts=True)
    known = known[(sizes > 1) & (known != "")]
    if len(known) < 2:
        return pd.DataFrame({c: pd.Series(dtype=str if c in ("group", "gene") else float) for c in COLUMNS})
    keep = np.flatnonzero(np.isin(labels, known))
    x = sparse.csr_matrix(log1p)[keep].astype(np.float32)
    cells = anndata.AnnData(x, obs=pd.DataFrame({"group": pd.Categorical(labels[keep], categories=known)},
                                                index=[str(i) for i in range(len(keep))]),
                            var=pd.DataFrame(index=pd.Index([str(i) for i in range(len(genes))])))
    with warnings.catch_warnings():
        # a gene without any expression divides zero by zero; its fold change is set to 0 below
        warnings.simplefilter("ignore", RuntimeWarning)
        warnings.simplefilter("ignore", pd.errors.PerformanceWarning)
        sc.tl.rank_genes_groups(cells, "group", method="wilcoxon", tie_correct=True, n_genes=n, use_raw=False)
    found = cells.uns["rank_genes_groups"]
    filled = {g: np.asarray((x[labels[keep] == g] != 0).sum(0)).ravel() for g in known}
    everywhere = sum(filled.values())
    tables = []
    for group in known:
        index = found["names"][group].astype(int)
        size = int((labels[keep] == group).sum())
        tables.append(pd.DataFrame({
            "group": group, "gene": genes[index], "rank": np.arange(1, len(index) + 1),
            "score": found["scores"][group].astype(float),
            "log2fc": np.nan_to_num(found["logfoldchanges"][group].astype(float), posinf=0, neginf=0),
            "pval_adj": found["pvals_adj"][group].astype(float),
            "frac_in": filled[group][index] / size,
            "frac_out": (everywhere - filled[group])[index] / (len(keep) - size)}))
    return pd.concat(tables, ignore_index=True)[COLUMNS]


def top_markers(markers: pd.DataFrame, per_group: int = 2, at_most: int = 30) -> list[str]:
    """Return the best markers of each group, each gene once, in the groups' order.

    Only genes with a positive score and fold change; a gene that marks two groups stays with the first.
    """
    up = markers[(markers["score"] > 0) & (markers["log2fc"] > 0)]
    chosen: list[str] = []
    for _, table in up.groupby("group", sort=False):
        chosen += [g for g in table.sort_values("rank")["gene"] if g not in chosen][:per_group]
    return chosen[:at_most]


def suggest_genes(markers: pd.DataFrame, groups: list[str], genes: np.ndarray) -> list[str]:
    """Return the best markers of these groups, or the first genes [G] where the dataset has no markers.

    Where none of the groups has markers of its own (groups of another column), those of all groups.
    """
    known = markers[markers["group"].isin(groups)] if len(markers) else markers
    table = known if len(known) else markers
    if not len(table):
        return [str(g) for g in genes[:12]]
    return top_markers(table, per_group=3 if len(groups) > 3 else 8, at_most=24)


def find_genes(wanted: list[str], genes: np.ndarray) -> tuple[list[str], list[str]]:
    """Return the genes that exist, each once in the order asked for, and the words that name none.

    Case does not matter where that leaves one gene only (`cd3d` finds `CD3D`).
    """
    exact = set(map(str, genes))
    folded: dict[str, list[str]] = {}
    for gene in exact:
        folded.setdefault(gene.casefold(), []).append(gene)
    found: list[str] = []
    unknown: list[str] = []
    for word in (w.strip() for w in wanted):
        near = [word] if word in exact else folded.get(word.casefold(), [])
        if len(near) == 1 and near[0] not in found:
            found.append(near[0])
        elif len(near) != 1 and word and word not in unknown:
            unknown.append(word)
    return found, unknown


def mean_fraction(log1p: Any, labels: np.ndarray, genes_idx: np.ndarray,
                  genes: np.ndarray | None = None) -> pd.DataFrame:
    """Return each gene's mean and share of expressing cells in each label: group, gene, mean, fraction, n.

    Parameters
    ----------
    log1p
        Cells [N, G], log1p; means are over all cells of the label, zeros too.
    labels
        Labels [N]; cells with "" take no part.
    genes_idx
        Which genes, by position.
    genes
        Names [G]; without them the table holds positions.

    Raises
    ------
    ScdiffError
        Labels and cells differ in number.
    """
    labels, genes_idx = np.asarray(labels).astype(str), np.asarray(genes_idx, dtype=int)
    if len(labels) != log1p.shape[0]:
        raise ScdiffError("The marker table cannot be made.",
                          f"There are {len(labels)} labels for {log1p.shape[0]} cells.",
                          "Give one label for each cell.")
    x = log1p[:, genes_idx]
    names = genes_idx if genes is None else np.asarray(genes)[genes_idx]
    tables = []
    for group in np.unique(labels[labels != ""]):
        rows = x[np.flatnonzero(labels == group)]
        tables.append(pd.DataFrame({
            "group": group, "gene": names, "mean": np.asarray(rows.mean(axis=0), dtype=float).ravel(),
            "fraction": np.asarray((rows != 0).mean(axis=0), dtype=float).ravel(), "n": rows.shape[0]}))
    if not tables:
        return pd.DataFrame({"group": pd.Series(dtype=str), "gene": pd.Series(dtype=names.dtype),
                             "mean": pd.Series(dtype=float), "fraction": pd.Series(dtype=float),
                             "n": pd.Series(dtype=int)})
    return pd.concat(tables, ignore_index=True)
