"""Small data for tests, made in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from scdiff_core.config import QC, PrepareConfig, Roles
from scdiff_core.data.prepare import prepare
from scdiff_core.data.prepared import Prepared
from scdiff_core.workspace import JobDir, Workspace


def tiny_counts_adata(n_cells: int = 300, n_genes: int = 200, seed: int = 0) -> AnnData:
    """Three well-parted cell types with negative-binomial counts; cell_type (one in 20 missing), batch, age."""
    rng = np.random.default_rng(seed)
    types = np.array(["B", "Monocyte", "T"])[rng.choice(3, n_cells, p=[0.2, 0.3, 0.5])]
    base = rng.normal(0, 1, n_genes)
    shift = {t: np.where(rng.random(n_genes) < 0.2, rng.normal(0, 1.5, n_genes), 0) for t in ("B", "Monocyte", "T")}
    log_mean = base + np.array([shift[t] for t in types])
    share = np.exp(log_mean) / np.exp(log_mean).sum(axis=1, keepdims=True)
    depth = 1500 * np.exp(rng.normal(0, 0.3, (n_cells, 1)))
    counts = rng.poisson(share * depth * rng.gamma(4, 1 / 4, (n_cells, n_genes)))
    labels = pd.Series(types, dtype=object)
    labels[rng.random(n_cells) < 0.05] = np.nan
    obs = pd.DataFrame({"cell_type": pd.Categorical(labels), "batch": rng.choice(["one", "two"], n_cells),
                        "age": rng.normal(50, 10, n_cells)})
    obs.index = [f"cell{i}" for i in range(n_cells)]
    var = pd.DataFrame(index=[*(f"GENE{i}" for i in range(n_genes - 3)), "MT-CO1", "MT-ND1", "MT-CYB"])
    return AnnData(sp.csr_matrix(counts, dtype=np.float32), obs=obs, var=var)


def quiet(words: str, share: float) -> None:
    """Take progress and say nothing."""


def prepare_adata(adata: AnnData, root: Path, name: str = "tiny", **settings: object) -> tuple[Prepared, JobDir]:
    """Write cells to a file below `root` and prepare them with the real `prepare`."""
    source = Path(root) / f"{name}.h5ad"
    source.parent.mkdir(parents=True, exist_ok=True)
    adata.write_h5ad(source)
    config = PrepareConfig.model_validate({"source": str(source), "name": name, **settings})
    job = Workspace(root).create(config, name)
    return prepare(config, job, quiet), job


def prepared_tiny(workspace_root: Path, name: str = "tiny", seed: int = 0, n_cells: int = 300,
                  n_genes: int = 200) -> Prepared:
    """Return `tiny_counts_adata` prepared into `workspace_root`, with all genes and no cell left out."""
    adata = tiny_counts_adata(n_cells, n_genes, seed)
    return prepare_adata(adata, workspace_root, name, genes="all", qc=QC(),
                         roles=Roles(cell_type="cell_type", batch="batch"))[0]
