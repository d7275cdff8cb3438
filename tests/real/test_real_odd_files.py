"""Files as they are found in the world: each is read, or says what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scdiff_core.config import Roles
from scdiff_core.data.check import Checked, check
from scdiff_core.data.read import read
from scdiff_core.data.roles import detect_roles
from scdiff_core.data.sniff import sniff
from scdiff_core.errors import ScdiffError

pytestmark = pytest.mark.real


def checked(path: Path) -> Checked:
    return check(read(str(path)))


@pytest.mark.parametrize(("name", "shape", "kind"), [
    ("10x_v2_filtered.h5", (12, 343), "raw counts"), ("10x_v3_filtered.h5", (1107, 507), "raw counts"),
    ("10x_v2_mtx", (12, 343), "raw counts"), ("10x_v3_mtx", (1107, 507), "raw counts"),
    ("anndata_v0.7.8.h5ad", (30, 20), "raw counts"), ("scp_dup_feature.h5ad", (40, 5), "raw counts"),
    ("krumsiek11.txt", (640, 11), "unclear")])
def test_odd_files_are_read(real_data: Path, name: str, shape: tuple[int, int], kind: str) -> None:
    result = checked(real_data / "odd" / name)
    assert (result.adata.shape, result.kind) == (shape, kind)
    assert result.adata.obs_names.is_unique and result.adata.var_names.is_unique
    assert np.isfinite(result.adata.X.data).all()


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_both_forms_of_10x_agree(real_data: Path, version: str) -> None:
    h5, mtx = (read(str(real_data / "odd" / f"10x_{version}_{f}")) for f in ("filtered.h5", "mtx"))
    np.testing.assert_array_equal(h5.X.toarray(), mtx.X.toarray())
    assert list(h5.var_names) == list(mtx.var_names) and list(h5.obs_names) == list(mtx.obs_names)


def test_genes_named_twice_are_told(real_data: Path) -> None:
    result = checked(real_data / "odd" / "scp_dup_feature.h5ad")
    assert any("'Baz'" in f.detail and "made unique" in f.title for f in result.findings)


def test_missing_values_are_refused_with_their_number(real_data: Path) -> None:
    with pytest.raises(ScdiffError, match="2,556 missing values"):
        checked(real_data / "odd" / "cellxgene_nan.h5ad")


def test_a_text_table_with_comments(real_data: Path) -> None:
    found = sniff(real_data / "odd" / "krumsiek11.txt")
    assert (found.orientation, found.separator, found.n_genes) == ("cells_in_rows", "blanks", 11)
    X = read(str(real_data / "odd" / "krumsiek11.txt"))
    np.testing.assert_allclose(X.X.toarray()[0, :3], [0.8032, -0.0005, -0.0001], rtol=1e-6)


def test_counts_behind_norman(real_data: Path) -> None:
    source = read(str(real_data / "norman_mcfaline_lognorm.h5ad"))
    result = check(source)
    assert result.kind == "log-normalised, counts recovered"
    counts, total = result.adata.X, result.adata.obs["total_counts"].to_numpy()
    assert np.array_equal(counts.data, np.rint(counts.data)) and counts.data.min() == 1
    again = np.log1p(counts.data * np.repeat(1e4 / total, np.diff(counts.indptr)))
    np.testing.assert_allclose(again, source.X.data, rtol=2e-6)
    assert np.all(total <= source.obs["ncounts"]) and np.all(total >= np.asarray(counts.sum(1)).ravel())
    assert np.array_equal(total, np.rint(total))


def test_counts_behind_the_demo() -> None:
    import scanpy as sc

    source = sc.datasets.pbmc68k_reduced()
    result = check(source)
    assert (result.kind, result.adata.shape) == ("log-normalised, counts recovered", (700, 765))
    np.testing.assert_array_equal(result.adata.obs["total_counts"], source.obs["n_counts"])
    again = np.log1p(result.adata.X.toarray() * (1e4 / source.obs["n_counts"].to_numpy())[:, None])
    assert np.abs(again - source.raw.X.toarray()).max() < 1.1e-3  # stored with three decimals


@pytest.mark.parametrize("target", [1e4, None])
@pytest.mark.parametrize("name", ["pbmc3k_counts.h5ad", "kang_ifnb_counts.h5ad", "pancreas_e15_timecourse.h5ad"])
def test_scanpy_normalisation_is_undone(real_data: Path, name: str, target: float | None) -> None:
    import scanpy as sc

    source = read(str(real_data / name))
    normal = source.copy()
    sc.pp.normalize_total(normal, target_sum=target)
    sc.pp.log1p(normal)
    result = check(normal[:, ::3].copy())
    assert result.kind == "log-normalised, counts recovered"
    assert (source.X[:, ::3] != result.adata.X).nnz == 0
    np.testing.assert_array_equal(result.adata.obs["total_counts"], np.asarray(source.X.sum(1)).ravel())


@pytest.mark.parametrize(("name", "roles"), [
    ("pbmc3k_counts.h5ad", Roles(cell_type="cell_type")),
    ("kang_ifnb_counts.h5ad", Roles(cell_type="cell_type", batch="donor", perturbation="condition", control="ctrl")),
    ("norman_mcfaline_lognorm.h5ad", Roles(cell_type="cell_type", batch="dataset", perturbation="perturbation",
                                           control="control")),
    ("pancreas_e15_timecourse.h5ad", Roles(cell_type="clusters")), ("pbmc10k_cite_200cells.h5ad", Roles())])
def test_roles_of_real_data(real_data: Path, name: str, roles: Roles) -> None:
    assert detect_roles(read(str(real_data / name)))[0] == roles
