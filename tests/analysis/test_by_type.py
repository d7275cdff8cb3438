"""Each type and each gene on its own, against the single metrics and numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_report_card import simulate

from scdiff_core import keys
from scdiff_core.analysis import by_type, metrics, types
from scdiff_core.analysis.by_type import gene_table, type_table


@pytest.fixture(autouse=True)
def small_forests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_type, "TREES", 10)


def test_rows_hold_the_single_metrics_of_a_type() -> None:
    train, test, made = simulate(400, 1), simulate(200, 2), simulate(230, 3)
    rows = {r["label"]: r for r in type_table(made, train, test, classify=lambda x: np.repeat("T", x.shape[0]))}
    assert list(rows) == ["B", "NK", "T"]
    row, of = rows["T"], {c: np.flatnonzero(s.labels == "T") for c, s in (("made", made), ("test", test))}
    assert (row["generated"], row["test"]) == (len(of["made"]), len(of["test"]))
    assert row["zeros"] == pytest.approx(metrics.zero_share(made.counts[of["made"]]))
    assert row["library_real"] == pytest.approx(np.median(test.total_counts[of["test"]]))
    assert row["agreement"] == row["agreement_real"] == 1 and rows["B"]["agreement"] == 0
    expected = types.fold_change_agreement(test.log1p, test.labels, made.log1p, made.labels,
                                           types.expressed_genes(train.log1p))
    assert row["slope"] == pytest.approx(expected["T"]["slope"])
    assert 0.2 < row["rf_auc"] < 0.8 and row["energy"] < 4 * row["energy_floor"]


def test_a_type_that_came_out_wrong_stands_out() -> None:
    train, test, made = simulate(400, 1), simulate(200, 2), simulate(200, 3)
    swapped = replace(made, labels=np.where(made.labels == "B", "NK", np.where(made.labels == "NK", "B", "T")))
    rows = {r["label"]: r for r in type_table(swapped, train, test)}
    assert rows["B"]["energy"] > 10 * rows["B"]["energy_floor"] and rows["B"]["slope"] < 0.5
    assert rows["T"]["energy"] < 4 * rows["T"]["energy_floor"] and rows["T"]["agreement"] is None


def test_few_absent_and_no_labels() -> None:
    train, test, made = simulate(100, 1, 12), simulate(30, 2, 12), simulate(30, 3, 12)
    test = replace(test, labels=np.where(np.arange(30) < 5, "rare", "T"))
    made = replace(made, labels=np.where(np.arange(30) < 3, "", "T"))
    train = replace(train, labels=np.where(np.arange(100) < 5, "rare", "T"))
    common, rare = type_table(made, train, test, values=keys.CONTINUOUS)
    assert (rare["label"], rare["generated"], rare["energy"], rare["zeros"]) == ("rare", 0, None, None)
    assert rare["zeros_real"] is not None and rare["library_real"] is None
    assert common["energy"] is not None and common["rf_auc"] is None
    assert type_table(replace(made, labels=None), train, test) == []


def test_genes_are_numpys() -> None:
    real, made = simulate(40, 1, 9), simulate(30, 2, 9)
    table = gene_table(real, made, np.array([f"G{i}" for i in range(9)]))
    x = made.counts.toarray()
    np.testing.assert_allclose(table["count_mean_generated"], x.mean(0), rtol=1e-6)
    np.testing.assert_allclose(table["count_variance_generated"], x.var(0), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(table["zeros_generated"], (x == 0).mean(0))
    np.testing.assert_allclose(table["mean_real"], real.log1p.toarray().mean(0), rtol=1e-5)
