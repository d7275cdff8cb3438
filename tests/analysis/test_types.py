"""Fold changes, confusion and the protocol of CFGen against other implementations and known truths."""

from __future__ import annotations

import anndata
import numpy as np
import ot
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse
from scipy.odr import ODR, Data, unilinear
from sklearn.decomposition import PCA
from sklearn.metrics import confusion_matrix
from sklearn.metrics.pairwise import rbf_kernel

from scdiff_core.analysis import types


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def cells(rng: np.random.Generator, n: int, strength: float = 1.0, genes: int = 150) -> tuple[np.ndarray, np.ndarray]:
    """log1p of Poisson counts per 10,000 of three types whose genes differ by `strength` times a known effect."""
    world = np.random.default_rng(9)
    base, effect = world.normal(2, 0.7, genes), world.normal(0, 0.8, (3, genes))
    labels = np.array(["B", "NK", "T"])[rng.integers(3, size=n)]
    effect = effect - effect.mean(0)
    rate = np.exp(base + strength * effect[np.searchsorted(["B", "NK", "T"], labels)])
    return np.log1p(rng.poisson(rate)).astype(np.float32), labels


def test_fold_changes_are_scanpys(rng: np.random.Generator) -> None:
    x, labels = cells(rng, 200)
    adata = anndata.AnnData(x, obs=pd.DataFrame({"t": pd.Categorical(labels)}, index=[str(i) for i in range(200)]))
    sc.tl.rank_genes_groups(adata, "t", method="t-test", n_genes=150)
    ours = types.log2_fold_changes(sparse.csr_matrix(x), labels, ["B", "NK", "T"], pseudocount=1e-9)
    # scanpy goes by expm1 of the mean of logs; that of single cells is what is meant here
    for i, k in enumerate(("B", "NK", "T")):
        table = sc.get.rank_genes_groups_df(adata, k).set_index("names")["logfoldchanges"]
        theirs = table.loc[[str(g) for g in range(150)]].to_numpy()
        assert np.corrcoef(ours[i], theirs)[0, 1] > 0.98
    inside, outside = np.expm1(x[labels == "NK"]).mean(0), np.expm1(x[labels != "NK"]).mean(0)
    np.testing.assert_allclose(types.log2_fold_changes(x, labels, ["NK"])[0], np.log2((inside + 1) / (outside + 1)),
                               rtol=1e-5, atol=1e-7)


def test_cells_without_a_label_take_no_part_and_an_absent_label_has_no_fold_change(rng: np.random.Generator) -> None:
    x, labels = cells(rng, 60)
    some = labels.copy()
    some[:20] = ""
    rest = types.log2_fold_changes(x[20:], some[20:], ["B"])
    np.testing.assert_allclose(types.log2_fold_changes(x, some, ["B"]), rest, atol=1e-9)
    assert np.isnan(types.log2_fold_changes(x, labels, ["absent"])).all()
    assert np.isnan(types.log2_fold_changes(x, np.repeat("B", 60), ["B"])).all()


def test_values_below_zero_are_no_logs(rng: np.random.Generator) -> None:
    x = rng.normal(size=(80, 12))
    labels = np.repeat(["a", "b"], 40)
    assert not types.is_log(x) and not types.is_log(np.full((2, 2), 900.0)) and types.is_log(np.abs(x))
    found = types.log2_fold_changes(x, labels, ["a"], logs=False)
    np.testing.assert_allclose(found[0], x[:40].mean(0) - x[40:].mean(0), atol=1e-9)
    assert len(types.expressed_genes(x)) == 12
    assert types.fold_change_agreement(x, labels, x, labels, np.arange(12))["a"]["slope"] == pytest.approx(1)


def test_orthogonal_slope_is_that_of_scipy(rng: np.random.Generator) -> None:
    truth = rng.normal(size=400)
    x, y = truth + 0.5 * rng.normal(size=400), 0.8 * truth + 0.5 * rng.normal(size=400)
    fitted = ODR(Data(x, y), model=unilinear, beta0=[1.0, 0.0]).run().beta[0]
    assert types.orthogonal_slope(x, y) == pytest.approx(fitted, rel=1e-4)
    assert types.orthogonal_slope(x, y) == pytest.approx(0.8, abs=0.08)
    assert np.polyfit(x, y, 1)[0] < 0.72  # which is why it is not least squares
    assert types.orthogonal_slope(x, -x) == pytest.approx(-1)
    assert np.isnan(types.orthogonal_slope(np.ones(5), np.arange(5.0)))
    assert types.orthogonal_slope(np.arange(5.0), np.ones(5)) == 0


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_slope_of_fold_changes_finds_types_that_are_too_alike(strength: float, rng: np.random.Generator) -> None:
    real, labels = cells(rng, 900)
    made, asked = cells(rng, 900, strength)
    genes = types.expressed_genes(real)
    found = types.fold_change_agreement(real, labels, sparse.csr_matrix(made), asked, genes)
    assert set(found) == {"", "B", "NK", "T"}
    assert found[""]["slope"] == pytest.approx(strength, abs=0.08) and found[""]["r"] > 0.95


def test_types_with_few_cells_are_left_out(rng: np.random.Generator) -> None:
    x, labels = cells(rng, 100)
    labels = np.where(np.arange(100) < 5, "rare", labels)
    assert "rare" not in types.fold_change_agreement(x, labels, x, labels, np.arange(50))
    assert types.fold_change_agreement(x, np.repeat("T", 100), x, np.repeat("T", 100), np.arange(50)) == {}
    assert types.fold_change_agreement(x[:9], labels[:9], x, labels, np.arange(50)) == {}


def test_confusion_is_sklearns_and_skips_unknown_labels(rng: np.random.Generator) -> None:
    x, labels = cells(rng, 90)
    said = rng.permutation(labels)
    table = types.confusion(lambda c: said[c[:, 0].astype(int)], np.arange(90)[:, None], labels, ["B", "NK", "T"])
    np.testing.assert_array_equal(table, confusion_matrix(labels, said, labels=["B", "NK", "T"]))
    odd = np.where(np.arange(90) < 10, "", labels)
    kept = types.confusion(lambda c: said[c[:, 0].astype(int)], np.arange(90)[:, None], odd, ["B", "NK", "T"])
    assert kept.sum() == 80 and not types.confusion(lambda c: c, x, np.repeat("", 90), ["B"]).any()


def test_the_protocol_of_cfgen_step_by_step(rng: np.random.Generator) -> None:
    real, labels = cells(rng, 120)
    made, asked = cells(rng, 200)
    labels = np.where(np.arange(120) == 0, "single", labels)
    found = types.cfgen_w2(made, asked, real, labels, components=10)
    assert set(found["types"]) == {"B", "NK", "T"}
    pca = PCA(10, svd_solver="full").fit(real)
    a, b = pca.transform(real[labels == "B"]), pca.transform(made[asked == "B"])
    size = min(len(a), len(b))
    assert found["types"]["B"]["n"] == size
    whole = np.sqrt(ot.emd2([], [], ot.dist(a, b)))
    assert found["types"]["B"]["w2"] == pytest.approx(whole, rel=0.05)
    assert found["w2"] == pytest.approx(np.mean([t["w2"] for t in found["types"].values()]))
    assert np.isnan(types.cfgen_w2(made, np.repeat("", 200), real, labels)["w2"])
    same = types.cfgen_w2(real, labels, real, labels, components=10)
    assert same["w2"] == pytest.approx(0, abs=1e-5) and same["mmd"] == pytest.approx(0, abs=1e-9)


def test_mmd_of_gammas_is_sklearns(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(20, 3)), rng.normal(1, 1, size=(25, 3))
    parts = [rbf_kernel(a, a, g).mean() + rbf_kernel(b, b, g).mean() - 2 * rbf_kernel(a, b, g).mean()
             for g in (2.0, 0.1)]
    assert types.gamma_mmd(a, b, (2.0, 0.1)) == pytest.approx(np.mean(parts))
