"""Quality control of cells: the three usual figures, thresholds proposed from them, and who passes."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pandas as pd

from scdiff_core import keys
from scdiff_core.config import QC
from scdiff_core.data.gene_ids import symbol_column

N_MADS = 5.0
TO_SD = 1.4826  # a median absolute deviation in standard deviations of a normal distribution
MIN_PCT_MT = 5.0  # no proposal is stricter than this many percent

_SYMBOL = re.compile(r"^(?:(?:grch3[78]|hg19|hg38|mm10|mm39|grcm3[89])_+)?mt[-.]", re.IGNORECASE)
# the 13 coding genes and two rRNAs of the mitochondrial chromosome (Ensembl)
_HUMAN = ("198888 198763 198804 198712 228253 198899 198938 198840 212907 198886 198786 198695 198727 "
          "211459 210082")
_MOUSE = ("64341 64345 64351 64354 64356 64357 64358 64360 65947 64363 64367 64368 64370 64337 64339")
_ENSEMBL = {f"ENSG{int(n):011d}" for n in _HUMAN.split()} | {f"ENSMUSG{int(n):011d}" for n in _MOUSE.split()}


def mitochondrial(var: pd.DataFrame) -> np.ndarray:
    """Say which genes are mitochondrial, bool [G], by symbol (MT-, mt-) or Ensembl id (human, mouse)."""
    names = var.index.astype(str)
    found = np.array([bool(_SYMBOL.match(n)) or n.split(".")[0].upper() in _ENSEMBL for n in names], bool)
    column = symbol_column(var)
    if column is not None:
        found |= np.array([bool(_SYMBOL.match(n)) for n in var[column].astype(str)], bool)
    return found


def metrics(adata: Any, total_counts: np.ndarray | None = None) -> pd.DataFrame:
    """Return the QC figures of each cell, by scanpy's `calculate_qc_metrics`.

    Parameters
    ----------
    adata
        AnnData with counts [N, G] (or continuous values) in X.
    total_counts
        float [N]: the cells' totals where they are known to be over more genes than X has.

    Returns
    -------
    DataFrame [N] with total_counts, n_genes_by_counts and pct_counts_mt (percent), indexed by cell.
    """
    import scanpy as sc
    from anndata import AnnData

    shell = AnnData(adata.X, obs=pd.DataFrame(index=adata.obs_names),
                    var=pd.DataFrame({"mt": mitochondrial(adata.var)}, index=adata.var_names))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table, _ = sc.pp.calculate_qc_metrics(shell, qc_vars=["mt"], percent_top=None, log1p=False)
    table = table[[keys.TOTAL_COUNTS, keys.N_GENES, keys.PCT_MT]].copy()
    if total_counts is not None:
        own = table[keys.TOTAL_COUNTS].to_numpy(np.float64)
        table[keys.PCT_MT] = table[keys.PCT_MT] * own / np.maximum(total_counts, 1e-12)
        table[keys.TOTAL_COUNTS] = np.asarray(total_counts, np.float32)
    table[keys.PCT_MT] = table[keys.PCT_MT].fillna(0.0).astype(np.float32)
    table[keys.N_GENES] = table[keys.N_GENES].astype(np.int64)
    return table


def propose(table: pd.DataFrame, values: str = keys.COUNTS) -> QC:
    """Propose thresholds from the data: median ± 5 median absolute deviations (each scaled by 1.4826).

    Unscaled deviations would cost PBMC3k 9 of its 14 platelets and 8 of 32 dendritic cells; scaled ones leave
    out 31 cells, of which 28 have no label.

    Counts and genes are judged on the log scale, the mitochondrial share (percent) from above only and never
    stricter than 5 %. A figure without spread gets no threshold; without counts only `min_genes` is proposed.
    """
    bounds: dict[str, float | int | None] = {}
    low, high = _interval(table[keys.N_GENES].to_numpy(np.float64))
    bounds["min_genes"] = None if low is None or low < 1 else int(np.floor(low))
    if values == keys.COUNTS:
        bounds["max_genes"] = None if high is None else int(np.ceil(high))
        low, high = _interval(table[keys.TOTAL_COUNTS].to_numpy(np.float64))
        bounds["min_counts"] = None if low is None else float(np.floor(low))
        bounds["max_counts"] = None if high is None else float(np.ceil(high))
        share = table[keys.PCT_MT].to_numpy(np.float64)
        if np.any(share > 0):
            middle = float(np.median(share))
            mad = float(np.median(np.abs(share - middle)))
            bounds["max_pct_mt"] = float(max(MIN_PCT_MT, np.ceil((middle + N_MADS * TO_SD * mad) * 10) / 10))
    return QC.model_validate(bounds)


def _interval(x: np.ndarray) -> tuple[float | None, float | None]:
    x = np.log(x[x > 0])
    if len(x) == 0:
        return None, None
    middle = float(np.median(x))
    mad = float(np.median(np.abs(x - middle)))
    if mad == 0:
        return None, None
    return float(np.exp(middle - N_MADS * TO_SD * mad)), float(np.exp(middle + N_MADS * TO_SD * mad))


def passes(table: pd.DataFrame, qc: QC) -> np.ndarray:
    """Say which cells keep to the thresholds, bool [N]. Cheap: the page calls it at each change."""
    keep = np.ones(len(table), bool)
    for column, low, high in ((keys.N_GENES, qc.min_genes, qc.max_genes),
                              (keys.TOTAL_COUNTS, qc.min_counts, qc.max_counts),
                              (keys.PCT_MT, None, qc.max_pct_mt)):
        x = np.nan_to_num(table[column].to_numpy(np.float64))
        if low is not None:
            keep &= x >= low
        if high is not None:
            keep &= x <= high
    return keep


def doublets(adata: Any, batches: np.ndarray | None, seed: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return Scrublet's doublet score [N] and call (bool [N]) of counts, batch by batch (Wolock et al. 2019).

    None where there are too few cells (fewer than 100) or Scrublet finds no threshold.
    """
    n = adata.n_obs
    groups = np.zeros(n, int) if batches is None else np.unique(batches, return_inverse=True)[1]
    if n < 100:
        return None
    import scanpy as sc
    from anndata import AnnData

    score, call, judged = np.zeros(n, np.float32), np.zeros(n, bool), False
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        if len(rows) < 100:
            continue
        part = AnnData(adata.X[rows].astype(np.float32))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sc.pp.filter_genes(part, min_cells=3)
            sc.pp.scrublet(part, random_state=seed, verbose=False, n_prin_comps=min(30, min(part.shape) - 2))
        score[rows] = part.obs[keys.DOUBLET_SCORE]
        if "predicted_doublet" in part.obs:
            call[rows], judged = part.obs["predicted_doublet"].to_numpy(bool), True
    return (score, call) if judged else None
