"""Counts come back exactly from every usual normalisation, and never where they are not there."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from scdiff_core.data.recover import half_step, recover_counts


def made(n: int = 200, g: int = 300, seed: int = 0, mean: float = 0.4) -> sp.csr_matrix:
    """Negative-binomial counts [n, g] with depths that vary and genes from rare to abundant."""
    rng = np.random.default_rng(seed)
    genes = rng.lognormal(0, 1.5, g)
    rate = rng.lognormal(0, 0.5, (n, 1)) * genes / genes.mean() * mean * rng.gamma(2, 0.5, (n, g))
    counts = rng.poisson(rate).astype(np.float32)
    counts[:, -1] += 1  # no cell is empty
    return sp.csr_matrix(counts)


def normalise(counts: sp.csr_matrix, target: float | None = 1e4, how: str = "log1p",
              dtype: type = np.float32) -> sp.csr_matrix:
    """Do as scanpy does: scale every cell to `target` (None: the median total) in float32, take the logarithm."""
    total = np.asarray(counts.sum(1)).ravel().astype(dtype)
    target = float(np.median(total)) if target is None else target
    out = counts.astype(dtype).copy()
    out.data = out.data / np.repeat(total / dtype(target), np.diff(out.indptr))
    function = {"log1p": np.log1p, "log2(x + 1)": lambda x: np.log2(x + 1), "log10(x + 1)": lambda x: np.log10(x + 1),
                "linear": lambda x: x}[how]
    out.data = function(out.data).astype(dtype)
    return out


def total(counts: sp.csr_matrix) -> np.ndarray:
    return np.asarray(counts.sum(1)).ravel()


@pytest.mark.parametrize("how", ["log1p", "log2(x + 1)", "log10(x + 1)", "linear"])
@pytest.mark.parametrize("target", [1e4, 1e6, None, 3000.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_usual_normalisation_is_undone(how: str, target: float | None, dtype: type) -> None:
    counts = made()
    found = recover_counts(normalise(counts, target, how, dtype).astype(np.float32))
    assert found is not None and found.transform == how and found.source == "sum"
    np.testing.assert_array_equal(found.counts.toarray(), counts.toarray())
    np.testing.assert_array_equal(found.totals, total(counts))
    assert found.target == (target or np.median(total(counts)))


@pytest.mark.parametrize("target", [1e4, 1e6, None])
def test_totals_over_all_genes_follow_from_some_of_them(target: float | None) -> None:
    counts = made(mean=2.0)
    kept = np.sort(np.random.default_rng(1).permutation(300)[:120])
    found = recover_counts(normalise(counts, target)[:, kept])
    assert found is not None and found.source == "scale"
    np.testing.assert_array_equal(found.counts.toarray(), counts[:, kept].toarray())
    np.testing.assert_array_equal(found.totals, total(counts))


def test_the_smallest_count_of_a_cell_need_not_be_one() -> None:
    rng = np.random.default_rng(0)
    counts = sp.csr_matrix(rng.integers(2, 60, (40, 30)).astype(np.float32))
    found = recover_counts(normalise(sp.hstack([counts, made(40, 50, 1)]).tocsr())[:, :30])
    assert found is not None
    np.testing.assert_array_equal(found.counts.toarray(), counts.toarray())


def test_a_common_divisor_is_found_by_the_totals() -> None:
    counts = made(100, 200, mean=1.0)
    counts[7] = sp.csr_matrix(counts[7].toarray() * 2)
    whole = normalise(counts)
    kept = np.r_[0:60]
    for columns in ({}, {"n_counts": total(counts)}):
        found = recover_counts(whole[:, kept], columns)
        assert found is not None
        wrong = np.flatnonzero(np.abs(found.counts - counts[:, kept]).sum(1))
        assert set(wrong) <= {7}
        if columns:
            assert found.source == "n_counts" and not len(wrong)
            np.testing.assert_array_equal(found.totals, total(counts))


@pytest.mark.parametrize("decimals", [3, 4, 5])
def test_rounded_values(decimals: int) -> None:
    counts = made(mean=1.0)
    X = normalise(counts)
    X.data = np.round(X.data.astype(np.float64), decimals).astype(np.float32)
    found = recover_counts(X[:, :150], {"total": total(counts)})
    assert found is not None and found.source == "total"
    np.testing.assert_array_equal(found.counts.toarray(), counts[:, :150].toarray())
    np.testing.assert_array_equal(found.totals, total(counts))
    alone = recover_counts(X[:, :150])
    assert alone is not None and alone.totals is not None
    np.testing.assert_allclose(alone.totals, total(counts), atol=1.5)


def test_size_factors_of_any_kind_give_counts_without_totals() -> None:
    counts = made()
    X = counts.copy()
    X.data = np.log1p(X.data * np.repeat(np.random.default_rng(3).lognormal(0, 0.4, 200), np.diff(X.indptr)))
    found = recover_counts(X.astype(np.float32))
    assert found is not None and found.totals is None and found.target is None
    np.testing.assert_array_equal(found.counts.toarray(), counts.toarray())


def test_a_logarithm_of_plain_counts_keeps_the_depth() -> None:
    counts = made()
    X = counts.copy()
    X.data = np.log1p(X.data)
    found = recover_counts(X)
    assert found is not None and found.source == "unscaled"
    np.testing.assert_array_equal(found.counts.toarray(), counts.toarray())
    np.testing.assert_array_equal(found.totals, total(counts))


def test_scaling_without_the_highest_genes_gives_no_false_totals() -> None:
    counts = made(mean=2.0)
    dense = counts.toarray()
    dense[:, 0] = np.random.default_rng(4).integers(300, 900, 200)
    part = dense[:, 1:].sum(1, keepdims=True)
    found = recover_counts(sp.csr_matrix(np.log1p(dense / part * 1e4).astype(np.float32)))
    assert found is not None and found.totals is None
    np.testing.assert_array_equal(found.counts.toarray(), dense)


def test_the_scale_reproduces_the_values() -> None:
    X = normalise(made())
    found = recover_counts(X)
    assert found is not None
    again = np.log1p(found.counts.data * np.repeat(found.scale, np.diff(found.counts.indptr)))
    np.testing.assert_allclose(again, X.data, rtol=1e-5)
    assert np.all(found.low <= found.scale) and np.all(found.scale <= found.high)


def spoil(name: str, X: sp.csr_matrix) -> sp.csr_matrix:
    """Return values behind which there are no counts of one scale a cell."""
    rng, X = np.random.default_rng(5), X.copy()
    if name == "noise":
        X.data = np.abs(X.data + rng.normal(0, 0.01, X.nnz)).astype(np.float32)
    elif name == "genes scaled":
        X.data = (X.data * rng.uniform(0.8, 1.2, X.shape[1])[X.indices]).astype(np.float32)
    elif name == "one value":
        X.data[1234] *= 1.01
    elif name == "smoothed":
        X = sp.csr_matrix((X[:-1] + X[1:]) / 2)
    elif name == "two decimals":
        X.data = np.round(X.data, 1).astype(np.float32)
    elif name == "random":
        X.data = rng.gamma(2, 1, X.nnz).astype(np.float32)
    elif name == "negative":
        X.data = X.data - 1
    elif name == "nan":
        X.data[5] = np.nan
    elif name == "logged twice":
        X.data = np.log1p(X.data)
    return X


@pytest.mark.parametrize("name", ["noise", "genes scaled", "one value", "smoothed", "two decimals", "random",
                                  "negative", "nan", "logged twice"])
def test_no_counts_are_made_up(name: str) -> None:
    assert recover_counts(spoil(name, normalise(made(mean=2.0)))) is None


def test_too_little_to_tell() -> None:
    assert recover_counts(sp.csr_matrix((5, 7), dtype=np.float32)) is None
    assert recover_counts(sp.csr_matrix(np.diag(np.linspace(0.5, 3, 20)).astype(np.float32))) is None


def test_empty_cells_and_stored_zeros_are_kept_in_place() -> None:
    counts = made().toarray()
    counts[[3, 60]] = 0
    X = normalise(sp.csr_matrix(counts))
    X[10, 0] = 0.0
    X = sp.csr_matrix(X)
    found = recover_counts(X)
    assert found is not None
    counts[10, 0] = 0
    np.testing.assert_array_equal(found.counts.toarray(), counts)
    assert np.isnan(found.scale[[3, 60]]).all() and np.isfinite(np.delete(found.scale, [3, 60])).all()


def test_the_input_is_not_changed() -> None:
    X = normalise(made())
    before = X.data.copy()
    recover_counts(X)
    np.testing.assert_array_equal(X.data, before)


def test_pieces_give_the_same_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    X = normalise(made())
    whole = recover_counts(X)
    monkeypatch.setattr("scdiff_core.data.recover.CHUNK", 1000)
    pieces = recover_counts(X)
    assert whole is not None and pieces is not None
    np.testing.assert_array_equal(whole.counts.data, pieces.counts.data)
    np.testing.assert_array_equal(whole.scale, pieces.scale)


def test_rounding_is_recognised() -> None:
    x = np.random.default_rng(0).gamma(2, 1, 5000) + 0.01
    assert np.allclose(half_step(np.round(x, 3)), 0.5e-3, rtol=1e-2)
    half = x.astype(np.float16).astype(np.float64)
    assert np.all(half_step(half) >= np.abs(half - x))
    assert np.all(np.abs(x.astype(np.float32) - x) <= half_step(x.astype(np.float32).astype(np.float64)))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1e3, 1e4, 1e6, None]), st.floats(0.3, 5))
def test_any_counts_come_back(seed: int, target: float | None, mean: float) -> None:
    counts = made(40, 120, seed, mean)
    found = recover_counts(normalise(counts, target))
    assert found is not None
    # cells whose counts all share a divisor could not be told apart without the sums
    np.testing.assert_array_equal(found.counts.toarray(), counts.toarray())
