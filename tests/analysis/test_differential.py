"""Differential expression against scanpy's and scipy's own tests."""

from __future__ import annotations

import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from scipy import sparse

from scdiff_core.analysis.differential import COLUMNS, compare, read_table, write_table
from scdiff_core.errors import ScdiffError

GENES = np.array([f"G{i}" for i in range(40)])


def cells(n: int, seed: int, up: int = 0, kind: type = np.float32) -> sparse.csr_matrix:
    """Log1p of n cells of 40 genes, from silent to everywhere; the first `up` genes are higher, the last silent."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(np.linspace(3, 0.02, 40) * rng.gamma(2, 0.5, (n, 40)))
    counts[:, :up] += rng.poisson(1.5, (n, up))
    counts[:, -1] = 0
    scale = 1e3 / (counts.sum(1, keepdims=True) + 1)
    # some genes hold bare counts, so that there are many ties above zero too
    values = np.where(np.arange(40) % 4 == 0, np.log1p(counts), np.log1p(counts * scale))
    return sparse.csr_matrix(values.astype(kind))


def by_scanpy(a: sparse.csr_matrix, b: sparse.csr_matrix) -> pd.DataFrame:
    """The same table by `scanpy.tl.rank_genes_groups`, which this product took before it had its own."""
    import scanpy as sc

    both = anndata.AnnData(sparse.vstack([a, b], format="csr"), var=pd.DataFrame(index=GENES), obs=pd.DataFrame(
        {"side": pd.Categorical(["a"] * a.shape[0] + ["b"] * b.shape[0])},
        index=[str(i) for i in range(a.shape[0] + b.shape[0])]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sc.tl.rank_genes_groups(both, "side", groups=["a"], reference="b", method="wilcoxon", tie_correct=True)
    return sc.get.rank_genes_groups_df(both, "a").set_index("names")


@pytest.mark.parametrize(("n", "m", "kind"), [(30, 300, np.float32), (300, 30, np.float32), (120, 120, np.float64)])
def test_every_figure_is_scanpys(n: int, m: int, kind: type) -> None:
    a, b = cells(n, 1, up=5, kind=kind), cells(m, 2, kind=kind)
    table = compare(a, b, GENES)
    assert list(table.columns) == COLUMNS and sorted(table["gene"]) == sorted(GENES)
    assert (np.diff(table["score"]) <= 0).all()
    theirs = by_scanpy(a, b).loc[table["gene"]]
    for ours, name in (("score", "scores"), ("pval", "pvals"), ("pval_adj", "pvals_adj"), ("log2fc", "logfoldchanges")):
        np.testing.assert_allclose(table[ours], theirs[name], rtol=2e-6, atol=2e-6, err_msg=ours)
    expressed = {side: np.asarray((x != 0).mean(0)).ravel() for side, x in (("a", a), ("b", b))}
    order = [int(g[1:]) for g in table["gene"]]
    for side, x in (("a", a), ("b", b)):
        np.testing.assert_allclose(table[f"mean_{side}"], x.toarray().astype(float).mean(0)[order], rtol=1e-9)
        np.testing.assert_allclose(table[f"frac_{side}"], expressed[side][order])
    assert len({f"G{i}" for i in range(5)} & set(table["gene"][:6])) >= 4


@pytest.mark.parametrize("shift", [0.0, -3.5])
def test_every_p_value_is_scipys(shift: float) -> None:
    """Also where values lie below zero, as in data that are no counts."""
    a, b = cells(60, 3, up=3).toarray(), cells(90, 4).toarray()
    for x in (a, b):
        x[:, 1::2] = np.where(x[:, 1::2] > 0, x[:, 1::2] + shift, 0)
    table = compare(a, b, GENES).set_index("gene").loc[GENES]
    with np.errstate(invalid="ignore"):
        exact = scipy.stats.mannwhitneyu(a.astype(float), b.astype(float), use_continuity=False, method="asymptotic")
    expected = np.nan_to_num(exact.pvalue, nan=1.0)
    np.testing.assert_allclose(table["pval"], expected, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(table["pval_adj"], scipy.stats.false_discovery_control(expected), rtol=1e-6, atol=1e-12)
    above = exact.statistic - 60 * 90 / 2
    assert (np.sign(table["score"]) == np.sign(above)).all()
    assert table["log2fc"].isna().any() == (shift < 0)  # a mean below zero has no fold change


def test_sides_can_be_swapped_and_cells_shuffled() -> None:
    a, b = cells(50, 5, up=4), cells(80, 6)
    there = compare(a, b, GENES).set_index("gene").loc[GENES]
    back = compare(b, a[np.random.default_rng(0).permutation(50)], GENES).set_index("gene").loc[GENES]
    np.testing.assert_allclose(there["score"], -back["score"], atol=1e-9)
    np.testing.assert_allclose(there["log2fc"], -back["log2fc"], atol=1e-5)
    np.testing.assert_allclose(there["pval"], back["pval"], rtol=1e-9)


def test_genes_that_are_silent_or_the_same_everywhere_say_nothing() -> None:
    a, b = cells(20, 7).tolil(), cells(30, 8).tolil()
    a[:, 3], b[:, 3] = 2.5, 2.5
    b[:, 5] = 0  # expressed in one side alone
    stored = sparse.csr_matrix(b)
    stored.data[stored.indices == 7] = 0  # zeros that are written out count as zeros
    table = compare(sparse.csr_matrix(a), stored, GENES).set_index("gene")
    assert table.loc["G39", ["score", "log2fc", "pval", "mean_a", "frac_a"]].tolist() == [0, 0, 1, 0, 0]
    assert table.loc["G3", ["score", "log2fc", "pval", "frac_b"]].tolist() == [0, 0, 1, 1]
    assert table.loc["G5", "log2fc"] > 20 and table.loc["G5", "frac_b"] == 0
    np.testing.assert_allclose(table["frac_b"].loc[GENES], (stored.toarray() != 0).mean(0))
    assert np.isfinite(table).all(axis=None)


def test_cells_of_one_kind_are_not_called_different() -> None:
    x = cells(2000, 9)
    half = np.random.default_rng(1).permutation(2000) < 1000
    table = compare(x[half], x[~half], GENES)
    assert table["pval_adj"].min() > 0.05
    assert 0.2 < table["pval"][table["pval"] < 1].mean() < 0.8


def test_what_cannot_be_compared_is_told() -> None:
    x = cells(10, 10)
    with pytest.raises(ScdiffError, match=r"2 cells; .* at least 3"):
        compare(x[:2], x, GENES)
    with pytest.raises(ScdiffError, match="1 cell;"):
        compare(x, x[:1], GENES)
    with pytest.raises(ScdiffError, match="40 genes, the other 39"):
        compare(x, x[:, :39], GENES)
    broken = x.copy()
    broken.data[0] = np.nan
    with pytest.raises(ScdiffError, match="missing or infinite"):
        compare(broken, x, GENES)


def test_progress_is_told_and_may_end_it() -> None:
    x = sparse.csr_matrix(np.tile(cells(10, 11).toarray(), (1, 10)))
    genes = np.array([f"{i}" for i in range(400)])
    told: list[float] = []
    compare(x[:5], x[5:], genes, lambda words, share: told.append(share))
    assert told == [0, 0.25, 0.5, 0.75]

    def stop(words: str, share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(x[:5], x[5:], genes, stop)


def test_a_table_is_read_as_it_was_written(tmp_path) -> None:
    genes = GENES.copy()
    genes[0] = "NA"
    table = compare(cells(20, 1, up=3), cells(20, 2), genes)
    write_table(tmp_path / "t.csv", table)
    back = read_table(tmp_path / "t.csv")
    assert back["gene"].tolist() == table["gene"].tolist() and "NA" in set(back["gene"])
    pd.testing.assert_frame_equal(back, table, rtol=1e-5, check_dtype=False)
