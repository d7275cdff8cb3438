"""What is held out, and that nothing which tells about it is left in training."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from scdiff_core.analysis.perturb import splits
from scdiff_core.data.perturbations import parse
from scdiff_core.errors import ScdiffError

ROLES = SimpleNamespace(perturbation="p", control="ctrl", cell_type="t", dose="d", batch=None, time=None)


@pytest.fixture
def obs() -> pd.DataFrame:
    rows = []
    for kind in ("x", "y"):
        for name in ("ctrl", "A", "B", "C", "A+B", "B+A", "A+Z", "Y+Z", "Y+A"):
            rows += [(name, kind, np.nan, f"donor {i}") for i in range(3)]
        for dose in (1.0, 3.0, 10.0):
            rows += [("drug", kind, dose, "donor 0")] * 3
    rows.append(("few", "x", np.nan, "donor 0"))
    return pd.DataFrame(rows, columns=["p", "t", "d", "donor"])


@pytest.fixture
def table(obs: pd.DataFrame) -> splits.Table:
    return splits.Table.of(obs, ROLES)


def _labels(obs: pd.DataFrame, rows: np.ndarray) -> set[str]:
    return set(obs["p"].iloc[rows])


def test_conditions_are_read_once_whatever_the_order(table: splits.Table) -> None:
    assert len(table.conditions[parse("A+B"), None, "x"]) == 6  # A+B and B+A
    assert (parse("few"), None, "x") not in table.conditions
    assert len(table.control["y"]) == 3
    assert [p.label for p in table.singles()] == ["A", "B", "C", "drug"]
    assert [table.seen_members(parse(p)) for p in ("A+B", "A+Z", "Y+Z")] == [2, 1, 0]


def test_every_single_is_asked_once_and_its_combinations_are_hidden(obs: pd.DataFrame, table: splits.Table) -> None:
    folds = splits.unseen_perturbations(table, 3, seed=1)
    asked = [c for f in folds for c in f.asked]
    assert len(asked) == len(set(asked)) == 2 * 3 + 6
    for fold in folds:
        parts = {p for c in fold.asked for p in c[0].parts}
        left = {p for label in _labels(obs, fold.train) for p in label.split("+")}
        assert not parts & left and "ctrl" in left
        assert all(len(c[0].parts) == 1 for c in fold.asked)


@pytest.mark.parametrize(("seen", "asked", "gone"), [
    (2, {"A+B"}, {"A+B", "B+A"}), (1, {"A+Z", "A+Y"}, {"A+Z", "Y+A", "Y+Z"}), (0, {"Y+Z"}, {"A+Z", "Y+A", "Y+Z"})])
def test_pairs(obs: pd.DataFrame, table: splits.Table, seen: int, asked: set[str], gone: set[str]) -> None:
    fold = splits.unseen_pairs(table, seen)
    assert {c[0].label for c in fold.asked} == asked
    assert set(obs["p"]) - _labels(obs, fold.train) == gone


def test_unseen_type_keeps_its_controls(obs: pd.DataFrame, table: splits.Table) -> None:
    (fold,) = splits.unseen_types(table, ["y"])
    left = obs.iloc[fold.train]
    assert set(left.loc[left["t"] == "y", "p"]) == {"ctrl"}
    assert all(c[2] == "y" for c in fold.asked)
    with pytest.raises(ScdiffError, match="No perturbed cell is of the type 'z'"):
        splits.unseen_types(table, ["z"])


def test_unseen_doses_lie_between_others(table: splits.Table) -> None:
    (fold,) = splits.unseen_doses(table)
    assert {c[1] for c in fold.asked} == {3.0} and {c[2] for c in fold.asked} == {"x", "y"}


def test_both_unseen(obs: pd.DataFrame, table: splits.Table) -> None:
    for fold in splits.unseen_both(table, 2, seed=0):
        kind = fold.asked[0][2]
        left = obs.iloc[fold.train]
        assert set(left.loc[left["t"] == kind, "p"]) <= {"ctrl", "few"}
        assert not {c[0].label for c in fold.asked} & set(left["p"])


def test_leakage_says_what_is_nearest_and_shared(obs: pd.DataFrame, table: splits.Table) -> None:
    fold = splits.unseen_pairs(table, 2)
    leak = next(k for k in splits.leakage(table, fold, obs, ["donor"]) if k.condition[2] == "x")
    assert leak.nearest in ("A", "B") and not leak.same_elsewhere and leak.shared == {"donor": 1.0}
    assert leak.words() == (f"A+B in x: the nearest in training is {leak.nearest}; "
                            "100 % of its cells share their donor with training cells.")
    (type_fold,) = splits.unseen_types(table, ["y"])
    assert all(k.same_elsewhere for k in splits.leakage(table, type_fold, obs))


def test_nothing_to_hold_out_is_said() -> None:
    only = splits.Table.of(pd.DataFrame({"p": ["ctrl"] * 3 + ["A"] * 3, "t": "x", "d": np.nan}), ROLES)
    with pytest.raises(ScdiffError, match="Nothing can be held out"):
        splits.unseen_pairs(only, 2)
