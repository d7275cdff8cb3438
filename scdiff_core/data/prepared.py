"""A prepared dataset, opened from disk: counts, labels, split, genes, projections and vocabulary."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scdiff_core import keys
from scdiff_core.config import FORMAT, Roles
from scdiff_core.data.vocab import Vocab, as_labels
from scdiff_core.errors import ScdiffError, nearest
from scdiff_core.workspace import JobDir

FILE = "prepared.h5ad"
MARKERS = "markers.csv"
MAPPED, MAPPED_FROM = "mapped", 20_000_000  # non-zero values beyond which counts are not held in memory
PIECE = 1 << 24  # values unpacked at a time
MARKER_COLUMNS = ("group", "gene", "rank", "score", "log2fc", "pval_adj", "frac_in", "frac_out")


def to_log1p(counts: sp.csr_matrix, total_counts: np.ndarray) -> sp.csr_matrix:
    """Return log1p(counts · 10,000 / total_counts) of counts [n, G]; float32 csr [n, G]."""
    scale = keys.TARGET_SUM / np.maximum(np.asarray(total_counts, np.float64), 1e-12)
    out = sp.csr_matrix(counts, dtype=np.float32, copy=True)
    out.data = np.log1p(out.data * np.repeat(scale, np.diff(out.indptr))).astype(np.float32)
    return out


def project(log1p: Any, mean: np.ndarray, components: np.ndarray) -> np.ndarray:
    """Return the PCA scores (log1p − mean)·componentsᵀ of log1p [n, G]; float32 [n, P]."""
    return np.asarray(log1p @ components.T - mean @ components.T, np.float32)


@dataclass(frozen=True)
class Prepared:
    """A prepared dataset of N cells and G genes.

    Parameters
    ----------
    counts
        csr float32 [N, G] of the kept genes: counts, or the continuous values where `values` says so.
    total_counts
        float32 [N] over all genes of the source; constant (10,000) for continuous values.
    obs
        One row a cell: split, QC metrics and the columns of the source under their original names.
    pca_mean, pca_components
        float32 [G] and [P, G], P at most 50, fitted on the log1p values of the training cells.
    X_pca, X_umap
        float32 [N, P] and [N, 2]; the test cells were projected and transformed.
    fingerprint
        sha256 of counts, genes, labels and split.
    """

    name: str
    counts: sp.csr_matrix
    total_counts: np.ndarray
    obs: pd.DataFrame
    genes: np.ndarray
    values: str
    roles: Roles
    vocab: Vocab
    fingerprint: str
    pca_mean: np.ndarray
    pca_components: np.ndarray
    X_pca: np.ndarray
    X_umap: np.ndarray
    path: Path | None = None
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def n_cells(self) -> int:
        """N, all cells of both splits."""
        return int(self.counts.shape[0])

    @property
    def n_genes(self) -> int:
        """G, the kept genes."""
        return int(self.counts.shape[1])

    @classmethod
    def open(cls, job: JobDir | str | Path) -> Prepared:
        """Open a prepared dataset by its job, its directory or its file.

        Raises
        ------
        ScdiffError
            It is not there, is damaged, or comes from a newer version.
        """
        path = Path(job.path if isinstance(job, JobDir) else job)
        path = path / FILE if path.is_dir() or path.suffix != ".h5ad" else path
        import h5py
        from anndata.io import read_elem

        name = path.parent.name
        if not path.exists():
            raise ScdiffError(f"The dataset '{name}' is not prepared.", f"'{path}' is missing.",
                              "Prepare it on the Data page, or with `prepare`.")
        try:
            with h5py.File(path, "r") as f:
                meta = json.loads(read_elem(f["uns"][keys.SCDIFF]))
                _check_format(meta, name)
                return cls(
                    name=name, path=path.parent, meta=meta,
                    counts=_counts(f["X"], path.parent / f"{MAPPED}-{meta['fingerprint'][:16]}"),
                    obs=(obs := read_elem(f["obs"])),
                    total_counts=obs[keys.TOTAL_COUNTS].to_numpy(np.float32),
                    genes=(var := read_elem(f["var"])).index.to_numpy(str),
                    values=meta["values"], roles=Roles(**meta["roles"]),
                    vocab=Vocab.from_dict(meta["vocab"]), fingerprint=meta["fingerprint"],
                    pca_mean=var[keys.PCA_MEAN].to_numpy(np.float32),
                    pca_components=np.ascontiguousarray(read_elem(f["varm"][keys.PCS]).T, np.float32),
                    X_pca=np.asarray(read_elem(f["obsm"][keys.PCA]), np.float32),
                    X_umap=np.asarray(read_elem(f["obsm"][keys.UMAP]), np.float32))
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise ScdiffError(f"The dataset '{name}' cannot be opened.",
                              f"{path.name} is damaged or was not written by scDiff Studio "
                              f"({type(error).__name__}).",
                              "Prepare the data again under a new name.") from error

    def log1p(self, rows: Sequence[int] | np.ndarray | None = None) -> sp.csr_matrix:
        """Return log1p(counts · 10,000 / total_counts) of some or all cells; csr float32 [n, G].

        For continuous values, the values themselves.
        """
        counts = self.counts if rows is None else self.counts[rows]
        if self.values == keys.CONTINUOUS:
            return counts.copy()
        return to_log1p(counts, self.total_counts if rows is None else self.total_counts[rows])

    def rows(self, split: str) -> np.ndarray:
        """Return the indices of the cells of one split (``"train"`` or ``"test"``).

        Raises
        ------
        ScdiffError
            There is no such split.
        """
        if split not in (keys.TRAIN, keys.TEST):
            raise ScdiffError(f"There is no split '{split}'.", "The splits are 'train' and 'test'.",
                              "Use one of these.")
        return np.flatnonzero((self.obs[keys.SPLIT] == split).to_numpy())

    def labels(self, name: str) -> np.ndarray:
        """Return the labels of a role or a column as text [N]; missing ones are ``""``.

        A name that is both means the role.

        Raises
        ------
        ScdiffError
            There is no such role or column; the nearest ones are named.
        """
        column = self.roles.columns().get(name, name)
        if column not in self.obs:
            known = [*self.obs.columns, *self.roles.columns()]
            raise ScdiffError(f"'{self.name}' has no column '{name}'.",
                              nearest(name, known) or "It has " + ", ".join(map(str, known)) + ".",
                              "Use one of the columns that it has.")
        return as_labels(self.obs[column])

    def project(self, log1p: Any) -> np.ndarray:
        """Return the PCA scores of log1p values [n, G] (sparse or dense); float32 [n, P]."""
        return project(log1p, self.pca_mean, self.pca_components)

    def markers(self) -> pd.DataFrame:
        """Return the marker genes of each cell type (columns `MARKER_COLUMNS`); empty without labels."""
        if self.path is None or not (self.path / MARKERS).exists():
            return pd.DataFrame(columns=list(MARKER_COLUMNS))
        return pd.read_csv(self.path / MARKERS, dtype={"group": str, "gene": str}, keep_default_na=False,
                           na_values={c: [""] for c in MARKER_COLUMNS[2:]})


def is_ours(source: str) -> bool:
    """Say whether a source is an .h5ad that scDiff Studio wrote: a prepared dataset, or generated cells."""
    if source.startswith("demo:") or not Path(source).is_file():
        return False
    import h5py

    if not h5py.is_hdf5(source):
        return False
    with h5py.File(source, "r") as file:
        return f"uns/{keys.SCDIFF}" in file


def _counts(group: Any, folder: Path) -> sp.csr_matrix:
    """Return the counts in a file as csr float32; very many (`MAPPED_FROM`) as a map of files, not in memory.

    The file is packed, so they are unpacked once into `folder`, piece by piece. What is looked at is read from there,
    and the system keeps as much of it in memory as there is room for. Where there is no room on the disk, or nothing
    may be written, they are held in memory after all.
    """
    from anndata.io import read_elem

    n = group["data"].shape[0]
    # one type for both kinds of index: of two, scipy makes one at every look at a few cells, for all of them
    index = np.int32 if n <= np.iinfo(np.int32).max else np.int64
    if n >= MAPPED_FROM:
        kinds: dict[str, Any] = {"data": np.float32, "indices": index, "indptr": index}
        with contextlib.suppress(OSError):
            if not folder.is_dir():
                _unpack(group, folder, kinds)
            arrays = [np.memmap(folder / name, kind, "r") for name, kind in kinds.items()]
            return sp.csr_matrix(tuple(arrays), shape=tuple(group.attrs["shape"]), copy=False)
    counts = sp.csr_matrix(read_elem(group), dtype=np.float32)
    counts.indices, counts.indptr = (v.astype(index, copy=False) for v in (counts.indices, counts.indptr))
    return counts


def _unpack(group: Any, folder: Path, kinds: dict[str, Any]) -> None:
    """Write the arrays of a group as plain files of these types into a folder that is there at once or not at all."""
    making = folder.with_name(f".{folder.name}.{os.getpid()}.{secrets.token_hex(3)}.tmp")
    making.mkdir()
    try:
        for name, kind in kinds.items():
            with open(making / name, "wb") as out:  # not through a map: on a full disk that kills the process
                for start in range(0, len(group[name]), PIECE):
                    np.asarray(group[name][start:start + PIECE], kind).tofile(out)
        if not folder.is_dir():  # else somebody was quicker
            os.replace(making, folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _check_format(meta: dict[str, Any], name: str) -> None:
    if int(meta.get("format", FORMAT)) > FORMAT:
        raise ScdiffError(f"The dataset '{name}' cannot be opened.",
                          f"It was written by a newer version of scDiff Studio (format {meta['format']}, "
                          f"this one reads up to {FORMAT}).",
                          "Update scDiff Studio, or prepare the data again.")


def fingerprint(counts: sp.csr_matrix, total_counts: np.ndarray, genes: Sequence[str] | np.ndarray,
                vocab: Vocab, obs: pd.DataFrame, roles: Roles) -> str:
    """Return the sha256 (hex) of what a model learns from: counts, genes, labels of the roles, split."""
    digest = hashlib.sha256()
    matrix = sp.csr_matrix(counts, copy=True)
    matrix.sort_indices()
    for array, dtype in ((matrix.indptr, "<i8"), (matrix.indices, "<i8"), (matrix.data, "<f4"),
                         (total_counts, "<f4")):
        digest.update(np.ascontiguousarray(array, dtype=dtype).tobytes())
    columns = {c.column: as_labels(obs[c.column]).tolist() for c in vocab}
    text = [list(map(str, genes)), roles.model_dump(), columns, obs[keys.SPLIT].astype(str).tolist()]
    digest.update(json.dumps(text, sort_keys=True).encode())
    return digest.hexdigest()
