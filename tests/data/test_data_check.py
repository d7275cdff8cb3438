"""What `check` finds, puts right and refuses; every finding is told, nothing is changed in the input."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from scdiff_core import keys
from scdiff_core.data.check import Checked, check
from scdiff_core.data.findings import Finding
from scdiff_core.errors import ScdiffError


def cells(X: object = None, n: int = 60, g: int = 120, **more: object) -> ad.AnnData:
    if X is None:
        rng = np.random.default_rng(0)
        X = sp.csr_matrix(rng.poisson(rng.lognormal(0, 1, g), (n, g)).astype(np.float32))
    n, g = X.shape  # type: ignore[attr-defined]
    return ad.AnnData(X, obs=pd.DataFrame(index=[f"c{i}" for i in range(n)]),
                      var=pd.DataFrame(index=[f"GENE{i}" for i in range(g)]), **more)


def log1p(counts: sp.spmatrix | np.ndarray, target: float = 1e4) -> sp.csr_matrix:
    X = sp.csr_matrix(counts, dtype=np.float32, copy=True)
    X.data = np.log1p(X.data / np.repeat(np.asarray(X.sum(1)).ravel() / target, np.diff(X.indptr))).astype(np.float32)
    return X


def told(result: Checked, words: str, level: str | None = None) -> Finding:
    hits = [f for f in result.findings if words in f.title or words in f.detail]
    assert hits, [f.title for f in result.findings]
    assert level is None or hits[0].level == level
    return hits[0]


def test_raw_counts_are_used_without_a_copy() -> None:
    source = cells()
    result = check(source)
    assert (result.kind, result.values) == ("raw counts", keys.COUNTS)
    assert np.shares_memory(result.adata.X.data, source.X.data)
    assert result.adata.X.dtype == np.float32 and sp.isspmatrix_csr(result.adata.X)
    assert told(result, "Raw counts").level == "ok" and keys.TOTAL_COUNTS not in result.adata.obs
    assert all(set(f.to_dict()) == {"level", "title", "detail", "fix"} for f in result.findings)


@pytest.mark.parametrize("form", [lambda x: x.toarray(), lambda x: x.toarray().astype(np.int64),
                                  lambda x: x.tocsc(), lambda x: x.astype(np.float64), lambda x: x.astype(np.uint16)])
def test_counts_in_any_form(form: object) -> None:
    source = cells(form(cells().X))  # type: ignore[operator]
    result = check(source)
    assert result.kind == "raw counts" and result.adata.X.dtype == np.float32
    np.testing.assert_array_equal(result.adata.X.toarray(), cells().X.toarray())


def test_counts_recovered_with_totals() -> None:
    counts = cells().X
    result = check(cells(log1p(counts)[:, :50]))
    assert (result.kind, result.values) == ("log-normalised, counts recovered", keys.COUNTS)
    np.testing.assert_array_equal(result.adata.X.toarray(), counts[:, :50].toarray())
    np.testing.assert_array_equal(result.adata.obs[keys.TOTAL_COUNTS], np.asarray(counts.sum(1)).ravel())
    assert "Verified in every cell and every gene" in told(result, "recovered exactly", "ok").detail


def test_counts_in_a_layer_or_in_raw_are_preferred_and_told() -> None:
    counts = cells().X
    layered = cells(log1p(counts), layers={"counts": counts, "spliced": counts * 0.5})
    result = check(layered)
    np.testing.assert_array_equal(result.adata.X.toarray(), counts.toarray())
    assert result.kind == "raw counts" and told(result, "from the layer 'counts'")
    backed = cells(log1p(counts)[:, :40])
    backed.raw = cells(counts)
    result = check(backed)
    assert result.adata.shape == (60, 120) and told(result, "Raw counts from .raw")
    np.testing.assert_array_equal(result.adata.X.toarray(), counts.toarray())
    assert backed.shape == (60, 40) and "counts" in layered.layers


def test_scaled_x_with_logged_raw_gives_counts() -> None:
    counts = cells().X
    logged = log1p(counts)
    dense = logged.toarray()[:, :80]
    source = cells((dense - dense.mean(0)) / dense.std(0).clip(1e-3))
    source.raw = cells(logged)
    result = check(source)
    assert result.kind == "log-normalised, counts recovered"
    np.testing.assert_array_equal(result.adata.X.toarray(), counts.toarray())


def test_x_of_counts_wins_over_raw_and_splicing_layers_stay_out() -> None:
    counts = cells().X
    source = cells(counts, layers={"spliced": counts * 2})
    source.raw = cells(counts * 3)
    np.testing.assert_array_equal(check(source).adata.X.toarray(), counts.toarray())
    rng = np.random.default_rng(1)
    smooth = cells(sp.csr_matrix(np.log1p(rng.gamma(2, 1, (60, 120))).astype(np.float32)), layers={"spliced": counts})
    result = check(smooth)
    assert result.kind == "log-normalised" and "'spliced'" in told(result, "A layer holds counts").detail


def test_without_counts_the_values_stay_and_it_is_told() -> None:
    rng = np.random.default_rng(1)
    dense = np.log1p(rng.gamma(1, 2, (60, 120))).astype(np.float32)
    result = check(cells(dense))
    assert (result.kind, result.values) == ("log-normalised", keys.CONTINUOUS)
    np.testing.assert_array_equal(result.adata.X.toarray(), dense)
    assert "counts cannot be recovered" in told(result, "without counts", "warning").detail
    scaled = check(cells((dense - dense.mean(0)) / dense.std(0)))
    assert (scaled.kind, scaled.values) == ("scaled", keys.CONTINUOUS)
    assert check(cells(dense / dense.std(0))).kind == "scaled"
    assert check(cells(dense - 0.2)).kind == "unclear"
    large = check(cells((rng.gamma(1, 300, (60, 120))).astype(np.float32)))
    assert (large.kind, large.values) == ("unclear", keys.CONTINUOUS)
    assert large.adata.X.max() < 10 and told(large, "log1p was taken", "warning")


def test_missing_values_everywhere_are_refused_and_few_are_left_out() -> None:
    rng = np.random.default_rng(0)
    dense = cells().X.toarray()
    everywhere = dense.copy()
    everywhere[rng.random(dense.shape) < 0.2] = np.nan
    with pytest.raises(ScdiffError, match="missing values") as caught:
        check(cells(everywhere))
    assert "60 of 60 cells" in caught.value.why and "invent" in caught.value.why
    gene = dense.copy()
    gene[:, 5] = np.nan
    gene[3, 9] = np.inf
    result = check(cells(gene))
    assert result.adata.shape == (60, 118) and result.kind == "raw counts"
    assert "GENE5" not in result.adata.var_names and "GENE9" not in result.adata.var_names
    finding = told(result, "left out", "warning")
    assert "60 missing values (NaN) and 1 infinite value" in finding.detail and "'GENE5'" in finding.detail
    cell = dense.copy()
    cell[4, ::2] = np.nan
    result = check(cells(cell))
    assert result.adata.shape == (59, 120) and "c4" not in result.adata.obs_names
    assert np.isnan(cell[4, 0])


def test_missing_values_in_x_do_not_matter_where_raw_has_counts() -> None:
    source = cells(np.full((60, 120), np.nan, np.float32))
    source.raw = cells()
    result = check(source)
    assert result.kind == "raw counts" and result.adata.shape == (60, 120) and told(result, "X was not used")


def test_logged_values_of_raw_are_used_where_x_is_full_of_holes() -> None:
    dense = np.log1p(np.random.default_rng(1).gamma(1, 2, (60, 120))).astype(np.float32)
    holes = np.where(np.random.default_rng(2).random(dense.shape) < 0.3, np.nan, dense)
    source = cells(holes)
    source.raw = cells(dense)
    result = check(source)
    assert result.kind == "log-normalised" and told(result, "X was not used")
    np.testing.assert_array_equal(result.adata.X.toarray(), dense)


def test_negative_values_are_no_counts() -> None:
    counts = cells().X.toarray()
    counts[0, 0] = -1
    assert check(cells(counts)).values == keys.CONTINUOUS


@pytest.mark.parametrize(("X", "words"), [
    (np.zeros((0, 5), np.float32), "empty"), (np.zeros((30, 0), np.float32), "empty"),
    (np.zeros((30, 20), np.float32), "zero"), (np.ones((3, 20), np.float32), "3 cells"),
    (np.ones((30, 1), np.float32), "1 gene;"), (np.full((30, 20), np.nan, np.float32), "missing"),
    (np.full((30, 20), "high", object), "text or objects"), (np.full((30, 20), np.inf, np.float32), "infinite")])
def test_what_cannot_be_used_says_why(X: np.ndarray, words: str) -> None:
    with pytest.raises(ScdiffError) as caught:
        check(cells(X))
    assert words in str(caught.value)
    assert caught.value.what and caught.value.why and caught.value.fix


def test_no_matrix_at_all() -> None:
    source = ad.AnnData(obs=pd.DataFrame(index=[f"c{i}" for i in range(30)]),
                        var=pd.DataFrame(index=[f"g{i}" for i in range(30)]))
    with pytest.raises(ScdiffError, match="no values"):
        check(source)
    source.layers["counts"] = np.ones((30, 30), np.float32) + np.eye(30, dtype=np.float32)
    assert check(source).kind == "raw counts"


def test_names_that_occur_twice() -> None:
    source = cells()
    source.var_names = ["A", "A", "A-1", "B", "A", *source.var_names[5:]]
    source.obs_names = ["x", "x", *source.obs_names[2:]]
    result = check(source)
    assert list(result.adata.var_names[:5]) == ["A", "A-2", "A-1", "B", "A-3"]
    assert list(result.adata.obs_names[:2]) == ["x", "x-1"]
    assert result.adata.var_names.is_unique and result.adata.obs_names.is_unique
    assert "'A'" in told(result, "gene name", "note").detail and "'x'" in told(result, "cell name", "note").detail
    assert list(source.var_names[:2]) == ["A", "A"]


def test_ensembl_ids_versions_and_symbols() -> None:
    source = cells()
    ids = [f"ENSG{i:011d}.{i % 9 + 1}" for i in range(120)]
    source.var_names = ids
    result = check(source)
    assert list(result.adata.var_names[:2]) == ["ENSG00000000000", "ENSG00000000001"]
    assert "120 Ensembl ids" in told(result, "Versions cut off").title
    assert told(result, "named by Ensembl ids with version (human)")
    source.var["feature_name"] = [f"SYM{i}" if i else None for i in range(120)]
    result = check(source)
    assert list(result.adata.var_names[:3]) == ["ENSG00000000000", "SYM1", "SYM2"]
    assert list(result.adata.var["gene_ids"][:2]) == ["ENSG00000000000", "ENSG00000000001"]
    assert told(result, "from 'feature_name'") and list(source.var_names) == ids
    source.var_names = [f"RP11-{i}P13.{i}" for i in range(120)]
    assert list(check(source).adata.var_names) == list(source.var_names)


def test_empty_cells_and_genes_are_told() -> None:
    dense = cells().X.toarray()
    dense[[2, 5]], dense[:, 7] = 0, 0
    result = check(cells(dense))
    assert result.adata.shape == (60, 120)
    assert told(result, "2 empty cells", "warning") and told(result, "1 empty gene", "note")
    recovered = check(cells(log1p(dense + 0)[:, :90]))
    assert recovered.adata.obs[keys.TOTAL_COUNTS].iloc[2] == 0


def test_labels_of_one_cell_constant_columns_and_missing_labels() -> None:
    source = cells()
    source.obs["kind"] = pd.Categorical(["a"] * 29 + ["b"] * 28 + ["rare", None, None],
                                        categories=["a", "b", "rare", "z"])
    source.obs["plate"] = "one"
    before = source.obs.copy()
    result = check(source)
    assert "'rare'" in told(result, "one cell only", "warning").detail
    assert "'plate'" in told(result, "one value only", "note").detail
    assert "'kind' (2)" in told(result, "Labels are missing").detail
    assert "'kind'" in told(result, "labels that no cell has").detail
    pd.testing.assert_frame_equal(source.obs, before)


def test_synthetic_cells_are_told() -> None:
    source = cells()
    source.obs["synthetic"] = True
    assert told(check(source), "These cells are synthetic", "warning")


def test_notes_of_reading_are_told_again() -> None:
    source = cells()
    source.uns["scdiff_notes"] = [["Cells in rows", "60 cells, as chosen."]]
    assert told(check(source), "Cells in rows").detail == "60 cells, as chosen."
