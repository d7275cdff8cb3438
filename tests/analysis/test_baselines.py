"""The simple generators keep what they promise and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from scdiff_core.analysis.baselines import gaussian_per_type, gene_shuffle


@pytest.fixture
def cells() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Counts [300, 40], log1p, labels of three types with own programs, library sizes."""
    rng = np.random.default_rng(1)
    which = rng.integers(3, size=300)
    rates = np.exp(rng.normal(-0.5, 1, size=(3, 40)))[which]
    total = rng.lognormal(8, 0.3, size=300).round()
    counts = rng.poisson(rates * (total / total.mean())[:, None]).astype(np.float32)
    return counts, np.log1p(counts * 1e4 / total[:, None]), np.array(["a", "b", "c"])[which], total


@pytest.mark.parametrize("make", [sparse.csr_matrix, np.asarray])
def test_gene_shuffle_keeps_each_gene_and_breaks_the_rest(cells, make) -> None:
    counts = cells[0]
    before = counts.copy()
    got = gene_shuffle(make(counts), np.random.default_rng(2))
    got = got.toarray() if sparse.issparse(got) else got
    np.testing.assert_array_equal(np.sort(got, axis=0), np.sort(counts, axis=0))
    np.testing.assert_array_equal(counts, before)
    correlation = np.corrcoef(counts.sum(1), got.sum(1))[0, 1]
    assert abs(correlation) < 0.2 and (got != counts).any()


def test_gene_shuffle_deals_two_spaces_alike_with_one_seed(cells) -> None:
    counts = sparse.csr_matrix(cells[0])
    log1p = counts.copy()
    log1p.data = np.log1p(log1p.data)
    a = gene_shuffle(counts, np.random.default_rng(3)).toarray()
    b = gene_shuffle(log1p, np.random.default_rng(3)).toarray()
    np.testing.assert_allclose(np.log1p(a), b, rtol=1e-6)


def test_gaussian_per_type_keeps_distributions_types_and_counts(cells) -> None:
    counts, log1p, labels, total = cells
    made, values, sizes, drawn = gaussian_per_type(log1p, labels, total, 900, np.random.default_rng(4))
    assert made.shape == values.shape == (900, 40) and (made == np.rint(made)).all() and (made >= 0).all()
    np.testing.assert_array_equal(made > 0, values > 0)
    assert set(sizes) <= set(total) and set(np.unique(values)) <= set(np.unique(log1p.astype(np.float32)))
    np.testing.assert_allclose(values.mean(0), log1p.mean(0), atol=0.35)
    assert (made == 0).mean() == pytest.approx((counts == 0).mean(), abs=0.01)
    for name in "abc":
        assert (drawn == name).mean() == pytest.approx((labels == name).mean(), abs=0.05)
        near = [np.corrcoef(values[drawn == name].mean(0), log1p[labels == k].mean(0))[0, 1] for k in "abc"]
        assert "abc"[int(np.argmax(near))] == name


def test_gaussian_per_type_without_labels_with_a_lone_cell_and_three_cells(cells) -> None:
    _, log1p, labels, total = cells
    assert set(gaussian_per_type(log1p, None, total, 20, np.random.default_rng(0))[3]) == {""}
    odd = labels.astype("U4")
    odd[0] = "lone"
    assert np.isfinite(gaussian_per_type(log1p, odd, total, 2000, np.random.default_rng(0))[1]).all()
    few = gaussian_per_type(log1p[:3], labels[:3], total[:3], 5, np.random.default_rng(0))
    assert few[0].shape == (5, 40) and np.isfinite(few[0]).all()


def test_gaussian_per_type_of_continuous_values_and_the_same_seed(cells) -> None:
    _, log1p, labels, total = cells
    first, again = (gaussian_per_type(log1p, labels, total, 50, np.random.default_rng(5), counts=False) for _ in "ab")
    np.testing.assert_array_equal(first[0], first[1])
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
