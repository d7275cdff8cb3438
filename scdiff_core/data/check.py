"""Check cells before anything is done with them, put right what can be put right, and tell all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import anndata as ad
import numpy as np
import scipy.sparse as sp

from scdiff_core import keys
from scdiff_core.data import values
from scdiff_core.data.findings import Finding, many, some
from scdiff_core.data.names import check_cells, check_genes
from scdiff_core.data.recover import Recovered
from scdiff_core.data.stores import NOTES
from scdiff_core.errors import ScdiffError

MIN_CELLS, MIN_GENES = 10, 2
FEW_CELLS, FEW_GENES = 200, 100
MOST_LOST = 0.2  # share of cells or genes that may be left out for values that are no numbers


@dataclass(frozen=True)
class Checked:
    """Cells that can be worked with.

    Attributes
    ----------
    adata
        X csr float32 [N, G] (counts, or continuous values), names unique, no layers and no .raw. Where counts
        were won back, obs["total_counts"] holds the cells' totals over all genes, as far as they are known.
    values
        `keys.COUNTS` or `keys.CONTINUOUS`.
    kind
        'raw counts', 'log-normalised, counts recovered', 'log-normalised', 'scaled' or 'unclear'.
    findings
        Everything that was found and done, for the user to read.
    """

    adata: ad.AnnData
    values: str
    kind: str
    findings: tuple[Finding, ...]


def _numeric(adata: ad.AnnData) -> None:
    """Raise where a matrix holds text or objects."""
    X = adata.X
    dtype = getattr(X, "dtype", None)
    if X is not None and dtype is not None and dtype.kind not in "biuf":
        first = next((v for v in np.asarray(X).ravel()[:1000] if not isinstance(v, (int, float, np.number))), None)
        raise ScdiffError("The matrix cannot be used.",
                          f"It holds text or objects (type {dtype}), not numbers"
                          + (f", such as '{str(first)[:40]}'." if first is not None else "."),
                          "Store the counts as numbers, for example adata.X = adata.X.astype('float32').")


def _size(adata: ad.AnnData) -> None:
    n_genes = max(adata.n_vars, adata.raw.n_vars if adata.raw is not None else 0)
    if adata.n_obs == 0 or n_genes == 0 or (adata.X is None and not adata.layers and adata.raw is None):
        raise ScdiffError("There is nothing to work with.",
                          f"The matrix is empty: {adata.n_obs} cells and {n_genes} genes"
                          + ("." if adata.n_obs == 0 or n_genes == 0 else ", and no values."),
                          "Choose the file that holds the expression values.")
    if adata.n_obs < MIN_CELLS:
        raise ScdiffError("There are too few cells.",
                          f"The data has {many(adata.n_obs, 'cell')}; a model needs at least {MIN_CELLS}, and is of "
                          "use from a few hundred on.",
                          "Bring more cells; if each row is a gene, turn the table round.")
    if n_genes < MIN_GENES:
        raise ScdiffError("There are too few genes.",
                          f"The data has {many(n_genes, 'gene')}; a model needs at least {MIN_GENES}, and is of use "
                          "from a few hundred on.", "Bring the whole expression matrix.")


def _bad_parts(X: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Return how many values are no numbers in every cell [N] and in every gene [G]."""
    where = np.flatnonzero(~np.isfinite(X.data))
    rows = np.searchsorted(X.indptr, where, side="right") - 1
    return np.bincount(rows, minlength=X.shape[0]), np.bincount(X.indices[where], minlength=X.shape[1])


def _without_bad(adata: ad.AnnData) -> tuple[ad.AnnData, Finding]:
    """Leave out the cells or genes of X that hold NaN or infinite values, if few of them do.

    Raises
    ------
    ScdiffError
        More than a fifth of the cells and of the genes are hit: nothing is filled in.
    """
    X = values.to_csr(adata.X)
    seen = values.look(X)
    words = " and ".join([many(seen.n_nan, "missing value") + " (NaN)"] * bool(seen.n_nan)
                         + [many(seen.n_infinite, "infinite value")] * bool(seen.n_infinite))
    in_cells, in_genes = _bad_parts(X)
    hit_cells, hit_genes = int((in_cells > 0).sum()), int((in_genes > 0).sum())
    cells = in_cells > 0.5 * X.shape[1]
    genes = in_genes > 0.5 * X.shape[0]
    rest = X[~cells][:, ~genes]
    left_cells, left_genes = _bad_parts(rest) if rest.nnz else (np.zeros((~cells).sum()), np.zeros((~genes).sum()))
    if left_genes.any():  # whichever loses the smaller share
        if np.mean(left_genes > 0) <= np.mean(left_cells > 0):
            genes[np.flatnonzero(~genes)[left_genes > 0]] = True
        else:
            cells[np.flatnonzero(~cells)[left_cells > 0]] = True
    if cells.mean() > MOST_LOST or genes.mean() > MOST_LOST:
        raise ScdiffError(
            f"The matrix has {words}.",
            f"They are in {hit_cells:,} of {X.shape[0]:,} cells and {hit_genes:,} of {X.shape[1]:,} genes: too many to "
            "leave out, and filling them in would be inventing data.",
            "Find out how they came about and export the matrix again, best as raw counts.")
    kept = ad.AnnData(X[~cells][:, ~genes], obs=adata.obs[~cells], var=adata.var[~genes], uns=dict(adata.uns))
    lost = " and ".join([many(int(cells.sum()), "cell")] * bool(cells.any())
                        + [many(int(genes.sum()), "gene")] * bool(genes.any()))
    names = some(adata.var_names[genes]) if genes.any() else some(adata.obs_names[cells])
    return kept, Finding("warning", f"{lost} with values that are no numbers left out",
                         f"The matrix has {words}; nothing was filled in. Left out: {names}.",
                         "Export the matrix again without missing values to keep them.")


def _matrix(adata: ad.AnnData) -> tuple[ad.AnnData, values.Chosen, list[Finding]]:
    """Choose the matrix; raises where there is none to use."""
    found: list[Finding] = []
    chosen = values.choose(adata)
    if (chosen is None or chosen.values == keys.CONTINUOUS) and adata.X is not None \
            and values.look(values.to_csr(adata.X)).bad:
        logged = chosen is not None and chosen.kind == values.LOGGED
        try:
            kept, finding = _without_bad(adata)
            own = values.choose(kept)
        except ScdiffError:
            if not logged:
                raise
            own = None
        if own is not None and (own.values == keys.COUNTS or not logged):
            adata, chosen = kept, own
            found.append(finding)
        elif chosen is not None:
            found.append(Finding("note", "X was not used", "It holds values that are no numbers."))
    if chosen is None:
        raise ScdiffError("There is nothing to work with.", "Every value of the matrix is zero, or there is no matrix.",
                          "Choose the file that holds the expression values.")
    return adata, chosen, found


def _recovered_words(back: Recovered, n_genes: int) -> str:
    words = (f"Verified in every cell and every gene: undoing {back.transform} leaves one whole number for each of "
             f"the {back.counts.nnz:,} values.")
    if back.source == "unscaled":
        return words + " The cells had not been scaled to a common total."
    if back.totals is None or back.target is None:
        return words + " How many counts the cells had in other genes cannot be told."
    target = f"{back.target:,.0f}"
    return words + {
        "sum": f" Every cell was scaled to {target}.",
        "scale": f" Every cell was scaled to {target} counts over more genes than these {n_genes:,}; the totals over "
                 "all of them follow exactly.",
        "rounded": f" Every cell was scaled to {target} counts over more genes than these {n_genes:,}; the totals over "
                   "all of them follow to about one count, since the values are rounded.",
        "assumed": f" The totals over all genes follow if every cell was scaled to {target}, as is usual; the rounding "
                   "of the values hides whether it was.",
    }.get(back.source, f" Every cell was scaled to {target} counts; the totals over all genes are in '{back.source}'.")


def _values_finding(chosen: values.Chosen) -> Finding:
    place = {"X": "", "raw": " from .raw"}.get(chosen.where, f" from the layer '{chosen.where}'")
    largest = chosen.X.data.max() if chosen.X.nnz else 0.0
    if chosen.recovered is not None:
        return Finding("ok", f"Normalised values{place}: the counts were recovered exactly",
                       _recovered_words(chosen.recovered, chosen.X.shape[1]))
    if chosen.kind == values.RAW:
        return Finding("ok", f"Raw counts{place}", f"Every value is a whole number; the largest is {largest:,.0f}.")
    if chosen.kind == values.LOGGED:
        return Finding("warning", f"Log-normalised values{place}, without counts",
                       f"The values (up to {largest:.1f}) do not come from whole counts by one scale a cell, so counts "
                       "cannot be recovered; a likelihood for continuous values is used.",
                       "Bring the raw counts if you can: generated cells are then counts too.")
    if chosen.kind == values.SCALED:
        return Finding("warning", f"Scaled values{place}, without counts",
                       "Each gene was centred or brought to unit spread, which cannot be undone; a likelihood for "
                       "continuous values is used.", "Bring the raw counts, or the values before scaling.")
    return Finding("warning", f"It is unclear what the values{place} are",
                   f"They run from {chosen.X.data.min() if chosen.X.nnz else 0:.3g} to {largest:.3g} and are neither "
                   "counts nor log-normalised nor scaled; a likelihood for continuous values is used.",
                   "Bring the raw counts if you can.")


def _empty(X: sp.csr_matrix, counts: bool) -> list[Finding]:
    """Tell of cells and genes without a single value; preparing leaves them out."""
    found = []
    if not X.data.all():
        X = X.copy()
        X.eliminate_zeros()
    cells = int((np.diff(X.indptr) == 0).sum())
    seen = np.zeros(X.shape[1], bool)
    seen[X.indices] = True
    genes = int((~seen).sum())
    word = "count" if counts else "value"
    if cells:
        found.append(Finding("warning", f"{many(cells, 'empty cell')}", f"Without a single {word}; preparing leaves "
                             "them out."))
    if genes:
        found.append(Finding("note", f"{many(genes, 'empty gene')}", f"Without a single {word} in any cell; preparing "
                             "leaves them out."))
    return found


def check(adata: ad.AnnData) -> Checked:
    """Check cells as they were read, and return them in the form that everything else expects.

    The input is not changed, and its matrix is not copied where it can be used as it is.

    Raises
    ------
    ScdiffError
        The matrix is empty, all zero, holds text, has fewer than 10 cells or 2 genes, or has missing or
        infinite values in too many places to leave them out.
    """
    _size(adata)
    _numeric(adata)
    adata, chosen, found = _matrix(adata)
    for title, detail in _pairs(adata.uns.get(NOTES)):
        found.append(Finding("note", title, detail))
    found.insert(0, _values_finding(chosen))
    found += [Finding(*note) for note in chosen.notes]
    var, of_genes = check_genes(chosen.var)
    obs, of_cells = check_cells(adata.obs)
    if chosen.recovered is not None:
        back = chosen.recovered
        totals = back.totals if back.totals is not None else np.asarray(back.counts.sum(1)).ravel()
        obs[keys.TOTAL_COUNTS] = np.where(np.isfinite(totals), totals, 0.0)
    out = ad.AnnData(chosen.X, obs=obs, var=var)
    found += of_genes + _empty(chosen.X, chosen.values == keys.COUNTS) + of_cells
    if out.n_vars < MIN_GENES or out.n_obs < MIN_CELLS:
        _size(out)
    if out.n_obs < FEW_CELLS:
        found.append(Finding("warning", f"Only {out.n_obs} cells", "Models of so few cells remember them rather than "
                             "learn from them.", "Bring a few hundred cells or more."))
    if out.n_vars < FEW_GENES:
        found.append(Finding("warning", f"Only {out.n_vars} genes",
                             "Types of cells can hardly be told apart by so few.",
                             "Bring the whole expression matrix if you can."))
    return Checked(out, chosen.values, chosen.kind, tuple(found))


def _pairs(notes: Any) -> list[tuple[str, str]]:
    return [(str(a), str(b)) for a, b in notes] if isinstance(notes, list) else []
