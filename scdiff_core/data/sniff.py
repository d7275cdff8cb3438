"""Tell what a source of cells is without reading its values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scdiff_core.data import archive, stores, table_layout, tenx
from scdiff_core.data.read import ARCHIVE, H5AD, LOOM, TABLE, TENX_H5, TENX_MTX, ZARR, check_exists, kind_of, open_hdf5
from scdiff_core.errors import ScdiffError


@dataclass(frozen=True)
class Sniffed:
    """What a source is, found without reading its values.

    Attributes
    ----------
    format
        h5ad, 10x_h5, 10x_mtx, table, loom, zarr, or archive (whose content is then named in `content`).
    genomes
        Of a 10x .h5, or the matrices of a folder that holds several: one must be chosen if more than one.
    layers
        Matrices other than X that could be taken, with 'raw' among them.
    orientation, reason, separator
        Of a table: what its rows are, by what it was recognised, and what cuts its columns.
    n_cells, n_genes
        Where the file tells them cheaply.
    """

    format: str
    genomes: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    orientation: str | None = None
    reason: str = ""
    separator: str = ""
    n_cells: int | None = None
    n_genes: int | None = None
    content: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


def _sniff_hdf5(path: Path, kind: str) -> Sniffed:
    with open_hdf5(path) as file:
        if kind == TENX_H5:
            cells, genes = tenx.shape(file)
            return Sniffed(kind, tenx.genomes(file), n_cells=cells, n_genes=genes)
        if kind == LOOM:
            genes, cells = file["matrix"].shape
            return Sniffed(kind, layers=tuple(file.get("layers", ())), n_cells=cells, n_genes=genes)
        return _sniff_anndata(file, kind)


def _sniff_anndata(root: Any, kind: str) -> Sniffed:
    def rows(frame: Any) -> int | None:
        if not hasattr(frame, "keys"):
            return int(frame.shape[0])
        index = frame.attrs.get("_index", "_index")
        return int(frame[index].shape[0]) if index in frame else None

    raw = ["raw"] if stores.has_raw(root) or "raw.X" in root else []
    return Sniffed(kind, layers=(*root.get("layers", {}), *raw), n_cells=rows(root["obs"]),
                   n_genes=rows(root["var"]))


def sniff(path: Path) -> Sniffed:
    """Return what a file or folder is, without reading its values.

    Raises
    ------
    ScdiffError
        It is not there, is damaged, or of an unknown kind.
    """
    path = check_exists(str(path))
    kind = kind_of(path)
    try:
        if kind in (H5AD, TENX_H5, LOOM):
            return _sniff_hdf5(path, kind)
        if kind == ZARR:
            return _sniff_anndata(stores.open_zarr(path), kind)
        if kind == TENX_MTX:
            folder = path if path.is_dir() else path.parent
            found = [m for m in tenx.find_matrices(folder) if path.is_dir() or m.matrix == path]
            size = tenx.header(found[0].matrix) if len(found) == 1 else None
            return Sniffed(kind, tuple(m.name for m in found) if len(found) > 1 else (),
                           n_cells=size[0] if size else None, n_genes=size[1] if size else None)
        if kind == TABLE:
            layout = table_layout.detect(path)
            known = len(layout.columns)
            cells_in_rows = layout.orientation == "cells_in_rows"
            return Sniffed(kind, orientation=layout.orientation, reason=layout.reason,
                           separator=layout.separator_name, n_cells=None if cells_in_rows else known,
                           n_genes=known if cells_in_rows else None)
        inside = archive.names(path)
        return Sniffed(ARCHIVE, content=next((n for n in inside if "matrix.mtx" in n), inside[0] if inside else ""))
    except ScdiffError:
        raise
    except Exception as error:  # as in `read`
        raise stores.damaged(path, error) from error
