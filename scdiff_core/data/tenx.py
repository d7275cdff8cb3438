"""Read what 10x Cell Ranger writes: .h5 (v2, v3) and matrix folders (v2, v3)."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import psutil
import scipy.sparse as sp

from scdiff_core.data.stores import NOTES, damaged, too_large
from scdiff_core.errors import ScdiffError, nearest

GENE_EXPRESSION = "Gene Expression"
MOST_TEXT = 2_000_000_000  # bytes of names that are read from one file


def _text(values: Any) -> np.ndarray:
    return np.array([v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values], dtype=object)


def is_v2(file: h5py.File) -> bool:
    """Say whether an open HDF5 file is 10x v2: one group a genome."""
    return bool(_v2_groups(file))


def _v2_groups(file: h5py.File) -> list[str]:
    parts = {"barcodes", "data", "indices", "indptr", "genes"}
    return [k for k in file if isinstance(file[k], h5py.Group) and parts <= set(file[k])]


def is_v3(file: h5py.File) -> bool:
    """Say whether an open HDF5 file is 10x v3: one group `matrix` with `features`."""
    group = file.get("matrix")
    return isinstance(group, h5py.Group) and {"barcodes", "data", "indices", "indptr", "features"} <= set(group)


def genomes(file: h5py.File) -> tuple[str, ...]:
    """Return the genomes of an open 10x .h5 (of its gene expression, not of antibodies)."""
    if is_v2(file):
        return tuple(_v2_groups(file))
    features = file["matrix/features"]
    if "genome" not in features:
        return ()
    genome = _text(features["genome"][:])
    if "feature_type" in features:
        genome = genome[_text(features["feature_type"][:]) == GENE_EXPRESSION]
    return tuple(sorted(set(genome) - {""}))


def shape(file: h5py.File) -> tuple[int, int]:
    """Return (cells, features) of an open 10x .h5, of its first genome."""
    group = file[_v2_groups(file)[0]] if is_v2(file) else file["matrix"]
    return int(group["barcodes"].shape[0]), int(group["genes" if is_v2(file) else "features/id"].shape[0])


def choose(path: Path, found: tuple[str, ...], genome: str | None, word: str = "genome") -> str | None:
    """Return the genome to take of those found; raises `ScdiffError` where it must be asked, or is not there."""
    listed = ", ".join(f"'{g}'" for g in found)
    if genome is not None:
        if found and genome not in found:
            raise ScdiffError(f"'{path.name}' has no {word} '{genome}'.", nearest(genome, found) or f"It has {listed}.",
                              f"Choose one of these: {listed}.")
        return genome if found else None
    if len(found) > 1:
        raise ScdiffError(f"'{path.name}' holds several {word}s.", f"They are {listed}, each with genes of its own.",
                          f"Choose the {word} to read.")
    return found[0] if found else None


def _matrix(group: h5py.Group, n_cells: int, n_genes: int) -> sp.csr_matrix:
    """Return [cells, genes]: 10x stores the transposed matrix by columns, which is the same arrays."""
    X = sp.csr_matrix((group["data"].astype(np.float32)[:], group["indices"][:], group["indptr"][:]),
                      shape=(n_cells, n_genes))
    X.check_format(full_check=True)
    X.sum_duplicates()
    return X


def _finish(X: sp.csr_matrix, barcodes: np.ndarray, var: pd.DataFrame, keep: np.ndarray | None) -> ad.AnnData:
    """Make the AnnData, leaving out features that are no genes, and tell so."""
    out = ad.AnnData(X, obs=pd.DataFrame(index=pd.Index(barcodes.astype(str))), var=var)
    if keep is None or keep.all():
        return out
    kinds = var.loc[~keep, "feature_types"].value_counts()
    out = out[:, keep].copy()
    out.uns[NOTES] = [["Only gene expression was taken",
                       "Left out: " + ", ".join(f"{n} features of type {k}" for k, n in kinds.items()) + "."]]
    return out


def read_h5(path: Path, file: h5py.File, genome: str | None) -> ad.AnnData:
    """Read an open 10x .h5 of version 2 or 3: counts csr float32 [N, G], symbols as names, ids in var.

    Raises
    ------
    ScdiffError
        There are several genomes and none is chosen, or there is no gene expression in it.
    """
    found = genomes(file)
    chosen = choose(path, found, genome)
    if is_v2(file):
        group = file[chosen]
        symbols = _text(group["gene_names" if "gene_names" in group else "genes"][:])
        var = pd.DataFrame({"gene_ids": _text(group["genes"][:])}, index=pd.Index(symbols))
        return _finish(_matrix(group, group["barcodes"].shape[0], len(var)), _text(group["barcodes"][:]), var, None)
    group, features = file["matrix"], file["matrix/features"]
    var = pd.DataFrame({"gene_ids": _text(features["id"][:])}, index=pd.Index(_text(features["name"][:])))
    keep = np.ones(len(var), bool)
    if "feature_type" in features:
        var["feature_types"] = _text(features["feature_type"][:])
        keep &= (var["feature_types"] == GENE_EXPRESSION).to_numpy()
    out = _finish(_matrix(group, group["barcodes"].shape[0], len(var)), _text(group["barcodes"][:]), var,
                  _some(path, keep))
    if "genome" in features and len(found) > 1:
        wanted = _text(features["genome"][:])[keep] == chosen
        notes = dict(out.uns)
        out = out[:, wanted].copy()
        out.uns.update(notes)
        out.uns[NOTES] = [*notes.get(NOTES, []), [f"Genome {chosen}", f"{out.n_vars} genes of the genome "
                                                  f"'{chosen}' were read, as chosen, of {len(found)} genomes."]]
    return out


def _some(path: Path, keep: np.ndarray) -> np.ndarray:
    if not keep.any():
        raise ScdiffError(f"'{path.name}' holds no gene expression.",
                          "All its features are of other types, such as antibodies or guides.",
                          "Choose the file with the gene expression of the same experiment.")
    return keep


@dataclass(frozen=True)
class MatrixFolder:
    """The three files of one 10x matrix: they may share a prefix, and be compressed or not."""

    matrix: Path
    barcodes: Path
    features: Path
    version: int

    @property
    def name(self) -> str:
        """The name by which it is chosen among several: its folder, and the prefix if there is one."""
        prefix = self.matrix.name.partition("matrix.mtx")[0].rstrip("_.-")
        return f"{self.matrix.parent.name}/{prefix}" if prefix else self.matrix.parent.name


def find_matrices(folder: Path, depth: int = 4) -> list[MatrixFolder]:
    """Return every complete 10x matrix in a folder and in the folders below it.

    Raises
    ------
    ScdiffError
        There is a matrix, but its barcodes or genes are missing.
    """
    found = []
    files = [p for p in sorted(folder.rglob("*")) if len(p.relative_to(folder).parts) <= depth and p.is_file()]
    for path in files:
        prefix, hit, _ = path.name.partition("matrix.mtx")
        if not hit or path.name.removeprefix(prefix) not in ("matrix.mtx", "matrix.mtx.gz"):
            continue

        def beside(*names: str, path: Path = path, prefix: str = prefix) -> Path | None:
            options = [path.with_name(prefix + n + end) for n in names for end in (".tsv.gz", ".tsv")]
            return next((o for o in options if o.is_file()), None)

        barcodes, features = beside("barcodes"), beside("features")
        genes = beside("genes") if features is None else features
        if barcodes is None or genes is None:
            missing = "barcodes.tsv" if barcodes is None else "features.tsv (or genes.tsv)"
            raise ScdiffError(f"'{path.name}' cannot be read alone.",
                              f"There is no {prefix}{missing} or {prefix}{missing.split(' ')[0]}.gz beside it.",
                              "Give all three files of the 10x folder: the matrix, the barcodes and the genes.")
        found.append(MatrixFolder(path, barcodes, genes, 2 if features is None else 3))
    return found


def _table(path: Path) -> list[list[str]]:
    """Read a small tab separated file of names, packed or not."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as handle:
        text = handle.read(MOST_TEXT + 1)
    if len(text) > MOST_TEXT:
        raise damaged(path, "it is larger than any list of names")
    return [line.split("\t") for line in text.decode("utf-8", "replace").splitlines() if line.strip()]


def header(path: Path) -> tuple[int, int, int] | None:
    """Return (cells, genes, stored values) from the header of a matrix.mtx(.gz), None where it has none."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as handle:
            for _ in range(100):
                line = handle.readline(10_000)
                if line and not line.startswith(b"%") and line.strip():
                    numbers = line.split()
                    return int(numbers[1]), int(numbers[0]), int(numbers[2])
    except (OSError, EOFError, ValueError, IndexError, zlib.error):
        return None
    return None


def read_mtx(folder: MatrixFolder) -> ad.AnnData:
    """Read a 10x matrix folder: counts csr float32 [N, G], symbols as names, ids in var.

    Raises
    ------
    ScdiffError
        A file is damaged, or the numbers of barcodes, genes and of the matrix do not fit.
    """
    from scipy.io import mmread

    try:
        names, barcodes = _table(folder.features), [r[0] for r in _table(folder.barcodes)]
        size = header(folder.matrix)
        if size is None:
            raise ValueError("it is not a MatrixMarket file")
        if 16.0 * size[2] > psutil.virtual_memory().available:
            raise too_large(folder.matrix, 16.0 * size[2])
        if size[:2] != (len(barcodes), len(names)):
            raise ScdiffError(f"'{folder.matrix.name}' does not fit the files beside it.",
                              f"It has {size[1]} genes and {size[0]} cells; {folder.features.name} names {len(names)} "
                              f"genes, {folder.barcodes.name} {len(barcodes)} cells.",
                              "Take the three files from the same folder of the same run.")
        X = sp.csr_matrix(mmread(folder.matrix).T, dtype=np.float32)
    except (OSError, EOFError, ValueError, IndexError, OverflowError, zlib.error) as error:
        raise damaged(folder.matrix, error) from error
    X.sum_duplicates()
    ids = np.array([r[0] for r in names], dtype=object)
    symbols = np.array([r[1] if len(r) > 1 and r[1] else r[0] for r in names], dtype=object)
    var, keep = pd.DataFrame({"gene_ids": ids}, index=pd.Index(symbols)), None
    if folder.version == 3 and all(len(r) > 2 for r in names):
        var["feature_types"] = [r[2] for r in names]
        keep = _some(folder.matrix, (var["feature_types"] == GENE_EXPRESSION).to_numpy())
    return _finish(X, np.array(barcodes, dtype=object), var, keep)
