"""Reading .h5ad, 10x .h5, .loom and .zarr: the same cells come back, and bad files say what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from scdiff_core.config import ReadConfig
from scdiff_core.data.read import read, resolve_in_root
from scdiff_core.data.sniff import sniff
from scdiff_core.errors import ScdiffError

pytestmark = pytest.mark.filterwarnings("ignore:Writing zarr v2")
BARCODES = [f"AAACCTGAGACC{b}-1" for b in ("AAAA", "AAAC", "AAAG", "AAAT", "AACA", "AACC")]


def counts(n: int = 6, g: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).poisson(1.0, (n, g)).astype(np.float32)


def cells(X: object | None = None, **more: object) -> ad.AnnData:
    X = counts() if X is None else X
    n, g = X.shape  # type: ignore[attr-defined]
    return ad.AnnData(X, obs=pd.DataFrame({"cell_type": pd.Categorical(["B", "T"] * (n // 2))},
                                          index=[f"c{i}" for i in range(n)]),
                      var=pd.DataFrame(index=[f"g{i}" for i in range(g)]), **more)


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix, sp.csc_matrix, np.asfortranarray,
                                  lambda x: x.astype(np.int64), lambda x: sp.csr_matrix(x.astype(np.float64)),
                                  lambda x: sp.csc_matrix(x.astype(np.uint8)), lambda x: x.astype(bool)])
@pytest.mark.parametrize("ending", ["h5ad", "zarr"])
def test_any_form_of_matrix_becomes_csr_float32(tmp_path: Path, form: object, ending: str) -> None:
    source = cells(form(counts()), layers={"counts": sp.csc_matrix(counts(seed=1))})  # type: ignore[operator]
    path = tmp_path / f"a.{ending}"
    source.write_h5ad(path) if ending == "h5ad" else source.write_zarr(path)
    out = read(str(path))
    expected = np.asarray(form(counts()).astype(np.float32).todense()  # type: ignore[operator]
                          if sp.issparse(form(counts())) else form(counts()), np.float32)  # type: ignore[operator]
    assert sp.isspmatrix_csr(out.X) and out.X.dtype == np.float32
    np.testing.assert_array_equal(out.X.toarray(), expected)
    np.testing.assert_array_equal(out.layers["counts"].toarray(), counts(seed=1))
    assert list(out.obs_names) == list(source.obs_names) and list(out.var_names) == list(source.var_names)
    assert list(out.obs["cell_type"]) == list(source.obs["cell_type"])
    found = sniff(path)
    assert (found.format, found.n_cells, found.n_genes, found.layers) == (ending, 6, 4, ("counts",))


def test_raw_and_a_chosen_layer(tmp_path: Path) -> None:
    source = cells(layers={"counts": counts(seed=1)})
    source.raw = ad.AnnData(counts(g=7, seed=2), obs=source.obs, var=pd.DataFrame(index=[f"r{i}" for i in range(7)]))
    path = tmp_path / "a.h5ad"
    source.write_h5ad(path)
    np.testing.assert_array_equal(read(str(path)).raw.X.toarray(), counts(g=7, seed=2))
    layer = read(str(path), ReadConfig(layer="counts"))
    np.testing.assert_array_equal(layer.X.toarray(), counts(seed=1))
    assert not layer.layers and layer.raw is None
    raw = read(str(path), ReadConfig(layer="raw"))
    assert raw.shape == (6, 7) and raw.var_names[0] == "r0"
    with pytest.raises(ScdiffError, match="Did you mean 'counts'"):
        read(str(path), ReadConfig(layer="count"))


def test_a_file_cut_off_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.h5ad"
    cells(counts(60, 50)).write_h5ad(path)
    data = path.read_bytes()
    for share in (0.3, 0.7, 0.95):
        path.write_bytes(data[:int(len(data) * share)])
        with pytest.raises(ScdiffError, match="cut off"):
            read(str(path))


def test_damaged_content_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "a.h5ad"
    cells(sp.csr_matrix(counts(60, 50))).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        file["X/indices"][3] = 900  # would be read outside of the matrix
    with pytest.raises(ScdiffError, match="damaged"):
        read(str(path))
    with h5py.File(path, "r+") as file:
        del file["X/indptr"]
    with pytest.raises(ScdiffError, match="neither a dense nor a sparse matrix"):
        read(str(path))
    with h5py.File(path, "r+") as file:
        del file["obs"]
    with pytest.raises(ScdiffError, match="no cells and genes"):
        read(str(path))


def test_names_that_do_not_fit_the_matrix(tmp_path: Path) -> None:
    path = tmp_path / "a.h5ad"
    cells().write_h5ad(path)
    with h5py.File(path, "r+") as file:
        del file["X"]
        file["X"] = counts(6, 9)
    with pytest.raises(ScdiffError, match="the names say"):
        read(str(path))


def test_text_renamed_and_text_inside(tmp_path: Path) -> None:
    path = tmp_path / "a.h5ad"
    path.write_text("gene,c1,c2\nTP53,1,2\n")
    with pytest.raises(ScdiffError, match="text file"):
        read(str(path))
    path.write_bytes(bytes(range(256)) * 10)
    with pytest.raises(ScdiffError, match="not an HDF5 file"):
        read(str(path))
    path.write_bytes(b"")
    with pytest.raises(ScdiffError, match="0 bytes"):
        read(str(path))
    source = cells()
    source.write_h5ad(path)
    with h5py.File(path, "r+") as file:
        del file["X"]
        file["X"] = np.full((6, 4), b"high")
    with pytest.raises(ScdiffError, match="text or objects"):
        read(str(path))


def test_an_h5_that_is_not_10x(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["weights/layer1"] = np.zeros(3)
    with pytest.raises(ScdiffError, match="no part of a 10x matrix") as caught:
        read(str(path))
    assert "weights" in caught.value.why


def test_the_content_counts_and_not_the_ending(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    cells().write_h5ad(path)
    assert sniff(path).format == "h5ad"
    np.testing.assert_array_equal(read(str(path)).X.toarray(), counts())


@pytest.mark.parametrize("trick", ["link", "storage", "virtual"])
def test_a_file_that_shows_another_file_is_refused(tmp_path: Path, trick: str) -> None:
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["X"] = counts()
    path = tmp_path / "a.h5ad"
    cells().write_h5ad(path)
    with h5py.File(path, "r+") as file:
        del file["X"]
        if trick == "link":
            file["X"] = h5py.ExternalLink(str(secret), "/X")
        elif trick == "storage":
            file.create_dataset("X", (6, 4), np.float32, external=[(str(secret), 0, 96)])
        else:
            layout = h5py.VirtualLayout((6, 4), np.float32)
            layout[:] = h5py.VirtualSource(str(secret), "X", (6, 4))
            file.create_virtual_dataset("X", layout)
    with pytest.raises(ScdiffError, match="lies in another file"):
        read(str(path))


def test_a_matrix_too_large_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.h5ad"
    n = 2_000_000
    with h5py.File(path, "w") as file:
        file.create_dataset("X", (n, n), np.float32, chunks=(1000, 1000), compression="gzip")
        file.attrs["encoding-type"] = "anndata"
        for key in ("obs", "var"):
            group = file.create_group(key)
            group.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": "i"})
            group.attrs["column-order"] = np.array([], "S1")
            names = group.create_dataset("i", data=np.arange(n), chunks=(100_000,), compression="gzip")
            names.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    assert path.stat().st_size < 10_000_000
    with pytest.raises(ScdiffError, match="too large for this machine"):
        read(str(path))


def ten_x(path: Path, version: int, genomes: tuple[str, ...] = ("GRCh38",), antibodies: int = 0) -> np.ndarray:
    dense = counts(6, 5 * len(genomes) + antibodies)
    with h5py.File(path, "w") as file:
        for k, genome in enumerate(genomes if version == 2 else ("matrix",)):
            part = dense[:, 5 * k:5 * k + 5] if version == 2 else dense
            group, X = file.create_group(genome), sp.csr_matrix(part)
            group["data"], group["indices"], group["indptr"] = X.data.astype(np.int32), X.indices, X.indptr
            group["shape"] = part.shape[::-1]
            group["barcodes"] = np.array(BARCODES, "S18")
            if version == 2:
                group["genes"] = np.array([f"ENSG{i:011d}" for i in range(5)], "S15")
                group["gene_names"] = np.array([f"{genome}_G{i}" for i in range(5)], "S20")
                continue
            features, n = group.create_group("features"), part.shape[1]
            features["id"] = np.array([f"ENSG{i:011d}" for i in range(n)], "S15")
            features["name"] = np.array([f"G{i}" for i in range(n)], "S15")
            features["genome"] = np.array([genomes[i // 5] if i < n - antibodies else "" for i in range(n)], "S10")
            features["feature_type"] = np.array(["Gene Expression"] * (n - antibodies)
                                                + ["Antibody Capture"] * antibodies, "S20")
    return dense


@pytest.mark.parametrize("version", [2, 3])
def test_10x_h5_as_scanpy_reads_it(tmp_path: Path, version: int) -> None:
    import scanpy as sc

    path = tmp_path / "a.h5"
    dense = ten_x(path, version)
    out, theirs = read(str(path)), sc.read_10x_h5(path)
    np.testing.assert_array_equal(out.X.toarray(), dense)
    np.testing.assert_array_equal(out.X.toarray(), theirs.X.toarray())
    assert list(out.var_names) == list(theirs.var_names) and list(out.obs_names) == list(theirs.obs_names)
    assert list(out.var["gene_ids"]) == list(theirs.var["gene_ids"])
    assert sniff(path).genomes == ("GRCh38",) and sniff(path).n_cells == 6


@pytest.mark.parametrize("version", [2, 3])
def test_several_genomes_are_asked_for(tmp_path: Path, version: int) -> None:
    path = tmp_path / "a.h5"
    dense = ten_x(path, version, ("GRCh38", "mm10"))
    assert sniff(path).genomes == ("GRCh38", "mm10")
    with pytest.raises(ScdiffError, match="'GRCh38', 'mm10'"):
        read(str(path))
    np.testing.assert_array_equal(read(str(path), ReadConfig(genome="mm10")).X.toarray(), dense[:, 5:])
    with pytest.raises(ScdiffError, match="Did you mean 'mm10'"):
        read(str(path), ReadConfig(genome="mm1"))


def test_antibodies_are_left_out_and_told(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    dense = ten_x(path, 3, antibodies=2)
    out = read(str(path))
    np.testing.assert_array_equal(out.X.toarray(), dense[:, :5])
    assert "2 features of type Antibody Capture" in out.uns["scdiff_notes"][0][1]


def test_loom(tmp_path: Path) -> None:
    path, dense = tmp_path / "a.loom", counts()
    with h5py.File(path, "w") as file:
        file["matrix"] = dense.T
        file["layers/spliced"] = dense.T * 2
        file["row_attrs/Gene"] = np.array(["A", "B", "C", "D"], "S5")
        file["row_attrs/Accession"] = np.array(["e1", "e2", "e3", "e4"], "S5")
        file["col_attrs/CellID"] = np.array(BARCODES, "S20")
        file["col_attrs/cluster"] = np.array(["x", "y"] * 3, "S5")
        file["col_attrs/size"] = np.arange(6.0)
        file["col_attrs/pca"] = np.zeros((6, 2))
    out = read(str(path))
    np.testing.assert_array_equal(out.X.toarray(), dense)
    assert list(out.var_names) == ["A", "B", "C", "D"] and list(out.obs_names) == BARCODES
    assert list(out.obs["cluster"]) == ["x", "y"] * 3 and list(out.var["Accession"]) == ["e1", "e2", "e3", "e4"]
    np.testing.assert_array_equal(read(str(path), ReadConfig(layer="spliced")).X.toarray(), dense * 2)
    assert (sniff(path).format, sniff(path).n_cells, sniff(path).layers) == ("loom", 6, ("spliced",))


def test_a_pickled_zarr_is_never_opened(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    cells().write_zarr(path)
    bad = path / "obs" / "evil"
    bad.mkdir()
    (bad / ".zarray").write_text(json.dumps({"zarr_format": 2, "shape": [1], "chunks": [1], "dtype": "|O",
                                             "filters": [{"id": "pickle", "protocol": 5}]}))
    with pytest.raises(ScdiffError, match="pickled"):
        read(str(path))
    (bad / ".zarray").write_text("{}")
    (path / "link").symlink_to(tmp_path.parent)
    with pytest.raises(ScdiffError, match="lies elsewhere"):
        read(str(path))


def test_paths_stay_in_their_root(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "deep").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret.h5ad").write_bytes(b"x")
    inside = root / "deep" / "a.h5ad"
    inside.write_bytes(b"x")
    (root / "way_out").symlink_to(outside)
    (root / "file_out").symlink_to(outside / "secret.h5ad")
    (root / "way_in").symlink_to(root / "deep")
    assert resolve_in_root("deep/a.h5ad", root) == inside.resolve()
    assert resolve_in_root(str(inside), root) == inside.resolve()
    assert resolve_in_root("deep/../deep/a.h5ad", root) == inside.resolve()
    assert resolve_in_root("way_in/a.h5ad", root) == inside.resolve()
    for typed in ("../outside/secret.h5ad", str(outside / "secret.h5ad"), "way_out/secret.h5ad", "file_out",
                  "deep/../../outside/secret.h5ad", "/etc/passwd", "."):
        with pytest.raises(ScdiffError, match="does not lie in the data folder"):
            resolve_in_root(typed, root)
    with pytest.raises(ScdiffError, match=r"Did you mean 'a\.h5ad'"):
        resolve_in_root("deep/b.h5ad", root)
    for typed in ("", "a\0b"):
        with pytest.raises(ScdiffError):
            resolve_in_root(typed, root)


def test_unknown_kinds_say_what_to_give(tmp_path: Path) -> None:
    for name, words in (("a.rds", "R object"), ("a.xlsx", "Excel"), ("a.pkl", "pickle"), ("a.foo", "not known")):
        (tmp_path / name).write_bytes(b"something")
        with pytest.raises(ScdiffError, match=words):
            read(str(tmp_path / name))
    with pytest.raises(ScdiffError, match=r"Did you mean 'a\.rds'"):
        read(str(tmp_path / "b.rds"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ScdiffError, match="it is empty"):
        read(str(tmp_path / "empty"))
