"""Read .loom files: genes in rows, attributes as tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

from scdiff_core.data.stores import BLOCK, MOST_DENSE, check_numbers, too_large
from scdiff_core.errors import ScdiffError, nearest

LOOM_CELLS = ("CellID", "cell_id", "obs_names", "CellIDs", "barcode", "barcodes", "Barcode", "cell_names")
LOOM_GENES = ("Gene", "gene", "var_names", "gene_name", "gene_names", "GeneName", "Symbol", "Accession", "gene_id")


def _names(group: Any, wanted: tuple[str, ...], n: int, stem: str) -> tuple[pd.Index, str | None]:
    for key in wanted:
        if key in group and group[key].shape == (n,):
            return pd.Index([_text(v) for v in group[key][:]]), key
    return pd.Index([f"{stem}{i}" for i in range(n)]), None


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _attributes(group: Any, index: pd.Index, used: str | None) -> pd.DataFrame:
    frame = pd.DataFrame(index=index)
    for key in group:
        item = group[key]
        if key == used or not isinstance(item, h5py.Dataset) or item.shape != (len(index),):
            continue
        values = item[:]
        frame[key] = values if values.dtype.kind in "biuf" else pd.Categorical([_text(v) for v in values])
    return frame


def read_loom(path: Path, file: h5py.File, layer: str | None) -> ad.AnnData:
    """Read an open .loom (genes in rows): values csr float32 [N, G], row and column attributes as var and obs.

    Format: linnarssonlab.org/loompy/format. Raises `ScdiffError` where there is no such layer.
    """
    layers = list(file["layers"]) if "layers" in file else []
    if layer and layer not in layers:
        raise ScdiffError(f"'{path.name}' has no layer '{layer}'.",
                          nearest(layer, layers) or f"It has {', '.join(layers) or 'none'}.",
                          "Choose one of these, or none for its main matrix.")
    item = file["layers"][layer] if layer else file["matrix"]
    check_numbers(path, item, layer or "matrix")
    n_genes, n_cells = item.shape
    if float(n_genes) * n_cells > MOST_DENSE:
        raise too_large(path, 4.0 * n_genes * n_cells)
    step = max(1, BLOCK // max(1, n_genes))
    parts = [sp.csr_matrix(np.ascontiguousarray(item[:, i:i + step].T).astype(np.float32))
             for i in range(0, n_cells, step)]
    X = sp.vstack(parts, format="csr") if parts else sp.csr_matrix((n_cells, n_genes), dtype=np.float32)
    rows, columns = file.get("row_attrs", {}), file.get("col_attrs", {})
    genes, gene_key = _names(rows, LOOM_GENES, n_genes, "gene_")
    cells, cell_key = _names(columns, LOOM_CELLS, n_cells, "cell_")
    return ad.AnnData(X, obs=_attributes(columns, cells, cell_key), var=_attributes(rows, genes, gene_key))
