"""Read .h5ad and .zarr element by element: only what is needed, in one pass, never unpickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import psutil
import scipy.sparse as sp

from scdiff_core.errors import ScdiffError, nearest

BLOCK = 16_000_000  # dense values taken into memory at once
MOST_DENSE = 2e11  # values of a dense matrix: beyond it a small file can keep a machine busy for hours
NOTES = "scdiff_notes"  # uns: pairs (title, detail) of what reading did, told again by `check`


def damaged(path: Path, error: BaseException | str) -> ScdiffError:
    """Return the error for a file that is of the right kind but cannot be read to the end."""
    text = str(error)
    if "truncated" in text:
        return ScdiffError(f"'{path.name}' cannot be read.",
                           "The file is cut off: it ends before its content does, as after a broken copy or download.",
                           "Copy or download it again, and compare the sizes.")
    detail = (text.splitlines() or ["no detail"])[0][:200]
    return ScdiffError(f"'{path.name}' cannot be read.", f"A part of it is damaged ({detail}).",
                       "Copy or download it again; if it comes from a program of yours, save it anew.")


def too_large(path: Path, wanted: float) -> ScdiffError:
    """Return the error for content that does not fit in memory."""
    return ScdiffError(f"'{path.name}' is too large for this machine.",
                       f"It needs about {wanted / 1e9:.1f} GB of memory; "
                       f"{psutil.virtual_memory().available / 1e9:.1f} GB are free.",
                       "Take a subset of the cells, store the matrix as sparse, or use a larger machine.")


def check_hdf5(path: Path, file: h5py.File) -> None:
    """Refuse an HDF5 file that points to other files: it could show what its owner may not see.

    Raises
    ------
    ScdiffError
        There is an external link, external storage or a virtual dataset.
    """
    def look(group: h5py.Group, depth: int) -> str | None:
        for key in group:
            if isinstance(group.get(key, getlink=True), h5py.ExternalLink):
                return f"{group.name}/{key}"
            if isinstance(group.get(key, getlink=True), h5py.SoftLink):
                continue
            item = group[key]
            if isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    return str(item.name)
            elif isinstance(item, h5py.Group) and depth < 12:
                found = look(item, depth + 1)
                if found:
                    return found
        return None

    found = look(file, 0)
    if found:
        raise ScdiffError(f"'{path.name}' was not opened.", f"Its part '{found}' lies in another file.",
                          "Save it as one file of its own, for example with adata.write_h5ad(...).")


def to_csr(X: Any) -> sp.csr_matrix:
    """Return a matrix in memory as csr float32, without a copy where it is that already."""
    if sp.issparse(X):
        out = sp.csr_matrix(X)
        if out.dtype != np.float32:
            out = sp.csr_matrix((out.data.astype(np.float32), out.indices, out.indptr), shape=out.shape)
        if not out.has_canonical_format:
            out = out.copy() if out is X else out
            out.sum_duplicates()
        return out
    return dense_to_csr(np.asarray(X), X.shape)


def dense_to_csr(source: Any, shape: tuple[int, int]) -> sp.csr_matrix:
    """Return a dense array (in memory or on disk) as csr float32, a bounded piece at a time."""
    step = max(1, BLOCK // max(1, shape[1]))
    parts = [sp.csr_matrix(np.asarray(source[i:i + step]).astype(np.float32)) for i in range(0, shape[0], step)]
    return sp.vstack(parts, format="csr", dtype=np.float32) if parts else sp.csr_matrix(shape, dtype=np.float32)


def check_numbers(path: Path, item: Any, where: str) -> None:
    """Refuse a matrix of text or objects; raises `ScdiffError`."""
    if item.dtype.kind not in "biuf":
        raise ScdiffError(f"'{path.name}' cannot be used.",
                          f"Its matrix {where} holds text or objects (type {item.dtype}), not numbers.",
                          "Store the counts as numbers, for example adata.X = adata.X.astype('float32').")


def _fits(path: Path, item: Any) -> None:
    """Refuse a matrix that does not fit, before anything of the file is read."""
    if hasattr(item, "dtype"):
        if item.ndim == 2 and float(item.shape[0]) * item.shape[1] > MOST_DENSE:
            raise too_large(path, item.shape[0] * item.shape[1] * 4.0)
    elif "data" in item and 12.0 * item["data"].shape[0] > psutil.virtual_memory().available:
        raise too_large(path, 12.0 * item["data"].shape[0])


def matrix(path: Path, item: Any, shape: tuple[int, int] | None, where: str) -> sp.csr_matrix:
    """Read one matrix of an .h5ad or .zarr as csr float32 [N, G].

    Raises
    ------
    ScdiffError
        It holds text, does not fit the names of cells and genes, does not fit in memory, or is damaged.
    """
    attributes = dict(item.attrs)
    _fits(path, item)
    if hasattr(item, "dtype"):
        check_numbers(path, item, where)
        if item.ndim == 1 and shape and item.size == shape[0] * shape[1]:
            return to_csr(np.asarray(item[()]).reshape(shape))
        if item.ndim != 2 or (shape and tuple(item.shape) != shape):
            raise damaged(path, f"the matrix {where} is {tuple(item.shape)}, the names say {shape}")
        return dense_to_csr(item, (int(item.shape[0]), int(item.shape[1])))
    kind = str(attributes.get("encoding-type", attributes.get("h5sparse_format", "")))
    if not {"data", "indices", "indptr"} <= set(item.keys()) or kind[:3] not in ("csr", "csc"):
        raise damaged(path, f"{where} is neither a dense nor a sparse matrix")
    check_numbers(path, item["data"], where)
    size = attributes.get("shape", attributes.get("h5sparse_shape"))
    dims = (int(size[0]), int(size[1])) if size is not None else shape
    if dims is None or (shape and dims != shape):
        raise damaged(path, f"the matrix {where} is {dims}, the names say {shape}")
    if isinstance(item, h5py.Group):
        data = item["data"].astype(np.float32)[:]
    else:
        data = np.asarray(item["data"][:]).astype(np.float32, copy=False)
    indices, indptr = np.asarray(item["indices"][:]), np.asarray(item["indptr"][:])
    make = sp.csr_matrix if kind.startswith("csr") else sp.csc_matrix
    out = make((data, indices, indptr), shape=dims)
    out.check_format(full_check=True)  # a damaged index would be read outside of the matrix
    return to_csr(out)


def has_raw(root: Any) -> bool:
    """Say whether an open .h5ad or .zarr has a .raw with a matrix (zarr keeps an empty place for it)."""
    return "raw" in root and hasattr(root["raw"], "keys") and "X" in root["raw"]


def _layer_choice(path: Path, layer: str, root: Any) -> str:
    layers = list(root.get("layers", {}))
    known = [*layers, *(["raw"] if has_raw(root) else []), "X"]
    if layer in layers:
        return f"layers/{layer}"
    if layer == "X" or (layer == "raw" and has_raw(root)):
        return "X" if layer == "X" else "raw/X"
    raise ScdiffError(f"'{path.name}' has no layer '{layer}'.",
                      nearest(layer, known) or ("It has " + ", ".join(f"'{k}'" for k in known) + "."),
                      "Choose one of these, or none to let the app find the counts.")


def _frame(root: Any, key: str) -> pd.DataFrame:
    from anndata.io import read_elem

    frame = read_elem(root[key])
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"{key} is not a table")
    frame.index = pd.Index(frame.index.astype(str))
    frame.columns = [str(c) for c in frame.columns]
    return frame


def _elements(path: Path, root: Any, layer: str | None) -> ad.AnnData:
    """Read an anndata group of HDF5 or zarr; with `layer`, that matrix alone."""
    chosen = _layer_choice(path, layer, root) if layer else "X"
    if chosen in root:
        _fits(path, root[chosen])
    obs = _frame(root, "obs")
    var = _frame(root["raw"] if chosen == "raw/X" else root, "var")
    shape = (len(obs), len(var))
    out = ad.AnnData(obs=obs, var=var)
    if chosen in root and root[chosen].attrs.get("encoding-type") != "null":
        out.X = matrix(path, root[chosen], shape, chosen)
    if layer is None:
        for key in root.get("layers", {}):
            item = root["layers"][key]
            if not hasattr(item, "dtype") or item.dtype.kind in "biuf":
                out.layers[key] = matrix(path, item, shape, f"layers/{key}")
        if has_raw(root):
            raw_var = _frame(root["raw"], "var")
            raw_X = matrix(path, root["raw"]["X"], (len(obs), len(raw_var)), "raw/X")
            out.raw = ad.AnnData(raw_X, obs=pd.DataFrame(index=obs.index), var=raw_var)
    else:
        out.uns[NOTES] = [[f"Values from '{layer}'", f"The values are those of '{layer}', as chosen."]]
    return out


def _is_legacy(root: Any) -> bool:
    """Say whether obs is stored as anndata did before 0.7, which only anndata itself still reads."""
    return not (hasattr(root["obs"], "keys") and "encoding-type" in root["obs"].attrs)


def read_h5ad(path: Path, file: h5py.File, layer: str | None) -> ad.AnnData:
    """Read an open .h5ad: X, layers and .raw as csr float32, obs and var; raises `ScdiffError`."""
    if "obs" not in file or "var" not in file:
        raise damaged(path, "there are no cells (obs) or genes (var) in it")
    if not _is_legacy(file):
        return _elements(path, file, layer)
    for key in ("X", "raw.X", "raw/X"):
        if isinstance(file.get(key), h5py.Dataset):
            check_numbers(path, file[key], key)
    old = ad.read_h5ad(path)
    if layer:
        if layer not in old.layers and layer != "X" and (layer != "raw" or old.raw is None):
            raise ScdiffError(f"'{path.name}' has no layer '{layer}'.", nearest(layer, old.layers)
                              or f"It has {', '.join(old.layers) or 'none'}.", "Choose one of these, or none.")
        if layer == "raw":
            return ad.AnnData(to_csr(old.raw.X), obs=old.obs, var=old.raw.var)
        return ad.AnnData(to_csr(old.X if layer == "X" else old.layers[layer]), obs=old.obs, var=old.var)
    out = ad.AnnData(to_csr(old.X), obs=old.obs, var=old.var, layers={k: to_csr(v) for k, v in old.layers.items()})
    if old.raw is not None:
        out.raw = ad.AnnData(to_csr(old.raw.X), obs=pd.DataFrame(index=old.obs_names), var=old.raw.var)
    return out


def _pickled(value: Any) -> bool:
    """Say whether zarr metadata asks for a codec that runs code on reading."""
    if isinstance(value, dict):
        if any(str(value.get(k, "")).rpartition(".")[2].casefold() == "pickle" for k in ("id", "name")):
            return True
        return any(_pickled(v) for v in value.values())
    return isinstance(value, list) and any(_pickled(v) for v in value)


def is_zarr(path: Path) -> bool:
    """Say whether a folder is a zarr store."""
    return path.is_dir() and any((path / n).exists() for n in (".zgroup", ".zattrs", "zarr.json", ".zmetadata"))


def open_zarr(path: Path) -> Any:
    """Open a zarr folder for reading, after a look that nothing in it would be unpickled or lies elsewhere.

    Raises
    ------
    ScdiffError
        An array is pickled, a part is a link out of the folder, or there are no cells and genes in it.
    """
    import zarr

    root = path.resolve()
    for part in root.rglob("*"):
        if part.is_symlink() and not part.resolve().is_relative_to(root):
            raise ScdiffError(f"'{path.name}' was not opened.", f"Its part '{part.relative_to(root)}' lies elsewhere.",
                              "Copy the whole store with its content, not its links.")
        if part.name in (".zarray", ".zmetadata", "zarr.json"):
            try:
                metadata = json.loads(part.read_text(encoding="utf-8"))
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise damaged(path, f"{part.relative_to(root)}: {error}") from None
            if _pickled(metadata):
                raise ScdiffError(f"'{path.name}' was not opened.",
                                  f"Its part '{part.parent.relative_to(root)}' is pickled: reading it could run "
                                  "any program.", "Save it anew with adata.write_zarr(...) of a newer anndata.")
    group = zarr.open_group(str(root), mode="r")
    if "obs" not in group or "var" not in group:
        raise damaged(path, "there are no cells (obs) or genes (var) in it")
    return group


def read_zarr(path: Path, layer: str | None) -> ad.AnnData:
    """Read an AnnData .zarr folder, as `read_h5ad` does; raises `ScdiffError`."""
    group = open_zarr(path)
    if _is_legacy(group):
        raise damaged(path, "it was written by an anndata older than 0.7")
    return _elements(path, group, layer)
