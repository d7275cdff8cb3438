"""Read any source of cells into an AnnData; keep typed paths in their root."""

from __future__ import annotations

import os
import struct
import tempfile
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import h5py

from scdiff_core.config import ReadConfig
from scdiff_core.data import archive, loom, stores, tables, tenx
from scdiff_core.errors import ScdiffError, nearest

KNOWN = ".h5ad, 10x .h5, a 10x matrix folder (also as .zip or .tar.gz), .csv, .tsv, .txt (also .gz), .loom or .zarr"
DAMAGE = (OSError, KeyError, ValueError, RuntimeError, TypeError, IndexError, AttributeError, EOFError,
          UnicodeDecodeError, zlib.error, struct.error, OverflowError, NotImplementedError)
H5AD, TENX_H5, TENX_MTX, TABLE, LOOM, ZARR, ARCHIVE = "h5ad", "10x_h5", "10x_mtx", "table", "loom", "zarr", "archive"

FOREIGN = {
    ".rds": "R object", ".rdata": "R object", ".rda": "R object", ".h5seurat": "Seurat file", ".qs": "R object",
    ".xlsx": "Excel file", ".xls": "Excel file", ".h5mu": "MuData file", ".pkl": "Python pickle",
    ".pickle": "Python pickle", ".npz": "numpy archive", ".npy": "numpy array", ".fastq": "file of raw reads",
    ".bam": "file of aligned reads", ".cloupe": "Loupe file", ".7z": "7-Zip archive", ".rar": "RAR archive",
}


def resolve_in_root(text: str, root: Path) -> Path:
    """Return the real path of what a user typed, if it lies in `root` (after links and '..').

    A folder must not hold a link that leads out of the root either.

    Raises
    ------
    ScdiffError
        It lies elsewhere, or is not there.
    """
    base = Path(root).expanduser().resolve()
    typed = text.strip().strip("'\"")
    outside = ScdiffError(f"'{typed}' cannot be opened.", f"It does not lie in the data folder '{base}'.",
                          "Put the file into the data folder, or start the app with another one.")
    if not typed or "\0" in typed:
        raise ScdiffError("There is no path to open.", "The field is empty.", f"Type a path in '{base}'.")
    try:
        path = (base / typed).resolve()
        if not path.is_relative_to(base):
            raise outside
        if not path.exists():
            known = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
            raise ScdiffError(f"There is no '{typed}' in the data folder.",
                              nearest(path.name, known) or f"The data folder is '{base}'.",
                              "Correct the path, or upload the file.")
        if path.is_dir():
            for folder, folders, files in os.walk(path):
                for name in (*folders, *files):
                    part = Path(folder, name)
                    if part.is_symlink() and not part.resolve().is_relative_to(base):
                        raise outside
    except (OSError, RuntimeError, ValueError) as error:
        raise ScdiffError(f"'{typed}' cannot be opened.", f"The path cannot be followed ({error}).",
                          "Correct the path, or upload the file.") from error
    return path


def check_exists(source: str) -> Path:
    """Return the path of a source; raises `ScdiffError` where it is missing, empty or may not be read."""
    path = Path(source).expanduser()
    if not path.exists():
        known = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ScdiffError(f"There is no file '{source}'.",
                          nearest(path.name, known) or f"It was looked for in '{path.absolute().parent}'.",
                          "Correct the path.")
    if path.is_file():
        if not os.access(path, os.R_OK):
            raise ScdiffError(f"'{path.name}' cannot be read.", "You do not have the right to read it.",
                              "Ask its owner for the right to read it, or copy it.")
        if path.stat().st_size == 0:
            raise ScdiffError(f"'{path.name}' is empty.", "It has 0 bytes, as after a copy that failed.",
                              "Copy or download it again.")
    return path


def _foreign(path: Path) -> ScdiffError:
    kind = FOREIGN.get(path.suffix.lower())
    if path.name.lower().endswith((".h5ad.gz", ".h5.gz", ".loom.gz", ".mtx.gz")):
        kind = "packed file"
    return ScdiffError(f"'{path.name}' cannot be read.",
                       f"It is a {kind}, which is not opened here." if kind else "Its kind is not known.",
                       f"Give one of these: {KNOWN}." + (
                           " From R, write a 10x folder with DropletUtils::write10xCounts, or an .h5ad with "
                           "zellkonverter." if kind in ("R object", "Seurat file") else ""))


def kind_of(path: Path) -> str:
    """Return the format of a file or folder, by what is in it rather than by its ending."""
    if path.is_dir():
        if stores.is_zarr(path):
            return ZARR
        if tenx.find_matrices(path):
            return TENX_MTX
        inside = sorted(p.name for p in path.iterdir())[:8]
        raise ScdiffError(f"The folder '{path.name}' cannot be read.",
                          "There is no 10x matrix (matrix.mtx) and no .zarr store in it"
                          + (f"; it holds {', '.join(inside)}." if inside else "; it is empty."),
                          "Choose the folder with matrix.mtx, barcodes.tsv and features.tsv, or a single file.")
    lower = path.name.lower()
    if lower.endswith((".mtx", ".mtx.gz")):
        return TENX_MTX
    if archive.is_archive(path):
        return ARCHIVE
    if h5py.is_hdf5(path):
        with open_hdf5(path) as file:
            if "matrix" in file and isinstance(file["matrix"], h5py.Dataset) and "row_attrs" in file:
                return LOOM
            if tenx.is_v3(file) or tenx.is_v2(file):
                return TENX_H5
            if "obs" in file and "var" in file:
                return H5AD
            inside = sorted(file)[:8]
        what = "no part of a 10x matrix or of an .h5ad" if lower.endswith(".h5") else "no cells and genes"
        raise ScdiffError(f"'{path.name}' cannot be read.",
                          f"It is an HDF5 file, but has {what} in it (it holds {', '.join(inside) or 'nothing'}).",
                          "Choose the filtered_feature_bc_matrix.h5 that Cell Ranger writes, or an .h5ad.")
    if lower.endswith((".h5ad", ".h5", ".hdf5", ".loom")):
        with open(path, "rb") as handle:
            start = handle.read(4096)
        text = b"\0" not in start and sum(c < 9 or 13 < c < 32 for c in start) == 0
        raise ScdiffError(f"'{path.name}' cannot be read.",
                          f"It is {'a text file' if text else 'not an HDF5 file'}, in spite of its ending.",
                          "Give the file its true ending (.csv, .tsv or .txt for a table), or export it again."
                          if text else "Copy or download it again, or export it anew as .h5ad.")
    if tables.is_table(path):
        return TABLE
    raise _foreign(path)


def open_hdf5(path: Path) -> h5py.File:
    """Open an HDF5 file for reading, refusing one that points to other files; raises `ScdiffError`."""
    try:
        file = h5py.File(path, "r")
    except (OSError, RuntimeError) as error:
        raise stores.damaged(path, error) from error
    try:
        stores.check_hdf5(path, file)
    except ScdiffError:
        file.close()
        raise
    except DAMAGE as error:
        file.close()
        raise stores.damaged(path, error) from error
    return file


def _matrix_folder(path: Path, genome: str | None) -> tenx.MatrixFolder:
    """Return the one 10x matrix of a folder, or of the folder that a matrix.mtx lies in."""
    if path.is_file():
        found = [m for m in tenx.find_matrices(path.parent, depth=1) if m.matrix == path]
        if not found:
            raise _foreign(path)
        return found[0]
    found = tenx.find_matrices(path)
    names = tuple(m.name for m in found)
    chosen = tenx.choose(path, names, genome if len(found) > 1 else None, "matrix" if len(set(names)) > 1 else "genome")
    return found[names.index(chosen)] if chosen in names else found[0]


def _inside(path: Path, folder: Path) -> Path:
    """Return what is to be read of an unpacked archive: its one file, or the folder with the matrix."""
    for part in (folder, *(p for p in sorted(folder.rglob("*")) if p.is_dir())):
        if stores.is_zarr(part):
            return part
    if tenx.find_matrices(folder):
        return folder
    files = [p for p in folder.rglob("*") if p.is_file()]
    known = [p for p in files if p.name.lower().endswith((".h5ad", ".h5", ".loom", ".hdf5")) or tables.is_table(p)]
    if len(known) == 1:
        return known[0]
    listed = ", ".join(sorted(p.name for p in files)[:6]) or "nothing"
    raise ScdiffError(f"'{path.name}' cannot be read.",
                      f"It holds {'several tables' if known else 'no matrix that is known'} ({listed}).",
                      "Pack one 10x folder (matrix, barcodes, features), or one file, into the archive.")


def _read_file(path: Path, how: ReadConfig, progress: Callable[[str], None] | None) -> ad.AnnData:
    kind = kind_of(path)
    if kind == ARCHIVE:
        with tempfile.TemporaryDirectory(prefix="scdiff-") as folder:
            if progress:
                progress(f"unpacking {path.name}")
            return _read_file(_inside(path, archive.extract(path, Path(folder))), how, progress)
    if how.layer is not None and kind in (TABLE, TENX_MTX, TENX_H5):
        raise ScdiffError(f"'{path.name}' has no layer '{how.layer}'.", "Files of this kind hold one matrix only.",
                          "Read it without a layer.")
    if kind == TABLE:
        return tables.read_table(path, how.orientation, progress)
    if kind == TENX_MTX:
        return tenx.read_mtx(_matrix_folder(path, how.genome))
    if kind == ZARR:
        return stores.read_zarr(path, how.layer)
    with open_hdf5(path) as file:
        if kind == TENX_H5:
            return tenx.read_h5(path, file, how.genome)
        if kind == LOOM:
            return loom.read_loom(path, file, how.layer)
        return stores.read_h5ad(path, file, how.layer)


def read(source: str, read: ReadConfig = ReadConfig(), *,  # noqa: B008 - frozen
         progress: Callable[[str], None] | None = None) -> ad.AnnData:
    """Read a source as it is: X csr float32 [N, G] in the source's own units, nothing filtered or renamed.

    Parameters
    ----------
    source
        A path, or 'demo:NAME'.
    read
        Layer, genome or orientation where the file alone does not say.
    progress
        Called with a few words from time to time.

    Raises
    ------
    ScdiffError
        The source is not there, is damaged, of an unknown kind, or asks for a choice.
    """
    if source.startswith("demo:"):
        from scdiff_core.data.demo import load_demo

        return load_demo(source.removeprefix("demo:"), progress)
    path = check_exists(source)
    if progress:
        progress(f"reading {path.name}")
    try:
        with warnings.catch_warnings():  # `check` makes names unique and tells so
            warnings.filterwarnings("ignore", message=".*names are not unique")
            warnings.filterwarnings("ignore", category=ad.OldFormatWarning)
            return _read_file(path, read, progress)
    except ScdiffError:
        raise
    except MemoryError as error:
        raise stores.too_large(path, 4.0 * path.stat().st_size) from error
    except Exception as error:  # a stranger's file can break a reader in any way
        raise stores.damaged(path, error) from error
