import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData
from helpers import tiny_counts_adata

from scdiff_core.config import QC
from scdiff_core.data import qc


def var(names: list[str], **columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame(columns, index=names)


def test_mitochondrial_genes_by_symbol_and_ensembl_id():
    names = ["MT-CO1", "mt-Nd1", "MTOR", "MT1X", "GRCh38_MT-CYB", "ENSG00000198888", "ENSG00000198804.2",
             "ENSMUSG00000064341", "ENSG00000000003", "Mtf1"]
    assert qc.mitochondrial(var(names)).tolist() == [True, True, False, False, True, True, True, True, False, False]
    by_column = var(["ENSG00000000001", "ENSG00000000003"], feature_name=["MT-TF", "TSPAN6"])
    assert qc.mitochondrial(by_column).tolist() == [True, False]


def test_metrics_are_sums_counts_and_percent():
    X = np.array([[1, 2, 7], [0, 0, 5], [0, 0, 0]], np.float32)
    table = qc.metrics(AnnData(sp.csr_matrix(X), var=var(["A", "B", "MT-ND1"])))
    assert table["total_counts"].tolist() == [10, 5, 0]
    assert table["n_genes_by_counts"].tolist() == [3, 1, 0]
    np.testing.assert_allclose(table["pct_counts_mt"], [70, 100, 0])


def test_known_totals_take_the_place_of_sums_and_dilute_the_share():
    cells = AnnData(sp.csr_matrix(np.array([[6, 4]], np.float32)), var=var(["A", "MT-ND1"]))
    table = qc.metrics(cells, np.array([40.0]))
    assert table["total_counts"].tolist() == [40]
    np.testing.assert_allclose(table["pct_counts_mt"], [10])


def table(counts, genes, share=0.0) -> pd.DataFrame:
    return pd.DataFrame({"total_counts": counts, "n_genes_by_counts": genes, "pct_counts_mt": share})


def test_proposal_is_median_and_five_deviations_on_the_log_scale():
    rng = np.random.default_rng(0)
    counts = np.exp(rng.normal(8, 0.3, 20_000))
    proposed = qc.propose(table(counts, np.exp(rng.normal(6, 0.2, 20_000)), np.abs(rng.normal(4, 1, 20_000))))
    assert np.log(proposed.min_counts) == pytest.approx(8 - 5 * 0.3, abs=0.05)
    assert np.log(proposed.max_counts) == pytest.approx(8 + 5 * 0.3, abs=0.05)
    assert np.log(proposed.max_genes) == pytest.approx(6 + 5 * 0.2, abs=0.05)
    assert proposed.max_pct_mt == pytest.approx(9, abs=0.3)
    assert qc.passes(table(counts, 400, 4.0), proposed).mean() > 0.999


def test_no_proposal_where_there_is_nothing_to_judge_by():
    proposed = qc.propose(table(np.full(50, 1000.0), np.full(50, 200)))
    assert proposed == QC()
    assert qc.propose(table(np.zeros(5), np.zeros(5))) == QC()
    tight = qc.propose(table(np.arange(1.0, 51), np.arange(1, 51), np.r_[np.zeros(49), 1]))
    assert tight.max_pct_mt == qc.MIN_PCT_MT  # never stricter than that
    log_values = qc.propose(table(np.arange(1.0, 51), np.arange(100, 150), 3.0), "continuous")
    assert log_values.max_counts is None and log_values.max_pct_mt is None and log_values.min_genes > 0


def test_passes_is_inclusive_and_none_is_no_bound():
    cells = table([10.0, 20, 30, np.nan], [1, 2, 3, 4], [0, 5, 6, 0])
    assert qc.passes(cells, QC()).all()
    assert qc.passes(cells, QC(min_counts=10, max_counts=20)).tolist() == [True, True, False, False]
    assert qc.passes(cells, QC(min_genes=2, max_genes=3)).tolist() == [False, True, True, False]
    assert qc.passes(cells, QC(max_pct_mt=5)).tolist() == [True, True, False, True]


def test_doublets_made_by_hand_are_found_more_often_than_others():
    adata = tiny_counts_adata(600, 400, seed=2)
    rng = np.random.default_rng(0)
    is_b = (adata.obs["cell_type"] == "B").to_numpy()
    pairs = adata.X[rng.choice(np.flatnonzero(is_b), 40)] + adata.X[rng.choice(np.flatnonzero(~is_b), 40)]
    both = AnnData(sp.vstack([adata.X, pairs]).tocsr(), var=adata.var)
    score, call = qc.doublets(both, None, seed=0)
    assert score[600:].mean() > 2 * score[:600].mean()
    assert call[600:].mean() > call[:600].mean() + 0.1
    assert qc.doublets(both[:50], None, seed=0) is None
