"""Marker genes against scipy's test, and the tables against pandas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from scipy import sparse

from scdiff_core.analysis.markers import COLUMNS, find_genes, mean_fraction, rank_markers, suggest_genes, top_markers
from scdiff_core.errors import ScdiffError

GENES = np.array([f"G{i}" for i in range(12)])


@pytest.fixture
def cells() -> tuple[sparse.csr_matrix, np.ndarray]:
    """Log1p of 90 cells: A has high G0 and G1, B high G5, 10 cells without a label have high G7."""
    rng = np.random.default_rng(0)
    labels = np.array(["A"] * 40 + ["B"] * 40 + [""] * 10)
    x = rng.poisson(0.8, size=(90, 12)).astype(float)
    x[:40, :2] += 4
    x[40:80, 5] += 5
    x[80:, 7] += 50
    x[:, 11] = 0
    return sparse.csr_matrix(np.log1p(x).astype(np.float32)), labels


def test_markers_are_found_and_scored_as_scipy_does(cells) -> None:
    x, labels = cells
    table = rank_markers(x, GENES, labels, n=12)
    assert list(table.columns) == COLUMNS and set(table["group"]) == {"A", "B"}
    assert set(table[(table["group"] == "A") & (table["rank"] <= 2)]["gene"]) == {"G0", "G1"}
    dense = x.toarray()
    for _, line in table[table["gene"].isin(["G0", "G5", "G3"])].iterrows():
        j = int(line["gene"][1:])
        inside, outside = dense[labels == line["group"], j], dense[(labels != line["group"]) & (labels != ""), j]
        exact = scipy.stats.mannwhitneyu(inside, outside, use_continuity=False, method="asymptotic")
        assert 2 * scipy.stats.norm.sf(abs(line["score"])) == pytest.approx(exact.pvalue, rel=1e-3)
        fold = np.log2(np.expm1(inside.mean()) / np.expm1(outside.mean()))
        assert line["log2fc"] == pytest.approx(fold, rel=1e-3)
        assert line["frac_in"] == pytest.approx((inside > 0).mean())
        assert line["frac_out"] == pytest.approx((outside > 0).mean())
    assert np.isfinite(table[["score", "log2fc", "pval_adj"]].to_numpy()).all()


def test_one_label_and_lone_cells_give_an_empty_table(cells) -> None:
    x, labels = cells
    assert rank_markers(x, GENES, np.repeat("A", 90)).empty
    lone = np.where(np.arange(90) == 0, "B", "A")
    assert rank_markers(x, GENES, lone).empty
    assert list(rank_markers(x, GENES, np.repeat("", 90)).columns) == COLUMNS
    assert top_markers(rank_markers(x, GENES, lone)) == []
    assert set(rank_markers(x, GENES, np.where(lone == "B", "lone", labels), n=3)["group"]) == {"A", "B"}


def test_suggested_genes_are_the_groups_markers_or_all_groups_or_the_first(cells) -> None:
    x, labels = cells
    table = rank_markers(x, GENES, labels)
    assert set(suggest_genes(table, ["B"], GENES)) <= set(table[table["group"] == "B"]["gene"])
    assert suggest_genes(table, ["of another column"], GENES) == top_markers(table, per_group=8, at_most=24)
    assert suggest_genes(table[:0], ["A"], GENES) == [f"G{i}" for i in range(12)]


def test_top_markers_go_round_the_groups_once_each(cells) -> None:
    x, labels = cells
    best = top_markers(rank_markers(x, GENES, labels), per_group=1)
    assert len(best) == 2 and best[0] in {"G0", "G1"} and best[1] == "G5"
    table = pd.DataFrame({"group": ["A", "A", "B", "B"], "gene": ["x", "y", "x", "z"], "rank": [1, 2, 1, 2],
                          "score": [3.0, 2.0, 9.0, -1.0], "log2fc": [1.0, 1.0, 2.0, 1.0]})
    assert top_markers(table) == ["x", "y"]


def test_mean_fraction_is_what_pandas_says(cells) -> None:
    x, labels = cells
    wanted = np.array([5, 0])
    for values in (x, x.toarray()):
        table = mean_fraction(values, labels, wanted, GENES)
        frame = pd.DataFrame(x.toarray()[:, wanted], columns=["G5", "G0"])[labels != ""]
        by = frame.groupby(labels[labels != ""])
        for _, line in table.iterrows():
            assert line["mean"] == pytest.approx(by[line["gene"]].mean()[line["group"]], rel=1e-5)
            filled = (frame[line["gene"]] > 0).groupby(labels[labels != ""]).mean()
            assert line["fraction"] == pytest.approx(filled[line["group"]])
        assert table["n"].tolist() == [40] * 4 and len(table) == 4


def test_mean_fraction_of_no_labels_and_of_too_few(cells) -> None:
    x, labels = cells
    assert mean_fraction(x, np.repeat("", 90), np.array([0])).empty
    with pytest.raises(ScdiffError, match="5 labels for 90 cells"):
        mean_fraction(x, labels[:5], np.array([0]))


def test_find_genes_takes_any_case_and_names_what_is_unknown() -> None:
    genes = np.array(["CD3D", "Cd8a", "CD8A", "LYZ"])
    assert find_genes(["cd3d", " LYZ ", "lyz", "CD8A", "cd8a", "NOPE", "NOPE", ""], genes) == (
        ["CD3D", "LYZ", "CD8A"], ["cd8a", "NOPE"])


@pytest.mark.real
def test_known_markers_of_blood_cells_are_found(real_data) -> None:
    import anndata

    adata = anndata.read_h5ad(real_data / "pbmc3k_counts.h5ad")
    labels = adata.obs["cell_type"].astype(object).fillna("").to_numpy(str)
    x = sparse.csr_matrix(adata.X, dtype=np.float32)
    x = sparse.diags_array(1e4 / np.asarray(x.sum(1)).ravel()) @ x
    keep = np.asarray((x > 0).sum(0)).ravel() > 200
    table = rank_markers(x.tocsr()[:, keep].log1p(), adata.var_names[keep].to_numpy(str), labels, n=10)
    found = table.groupby("group")["gene"].agg(set)
    assert {"CD79A", "MS4A1"} <= found["B"] and {"NKG7", "GZMB"} <= found["NK"]
    assert {"S100A8", "S100A9"} <= found["CD14+ Mono"]
