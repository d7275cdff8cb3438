"""Arms and their matched controls."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from scdiff_core.analysis.perturb.arms import PSEUDO_CELLS, collect
from scdiff_core.config import Roles
from scdiff_core.data.perturbations import Perturbation, parse
from scdiff_core.errors import ScdiffError

ROLES = Roles(perturbation="p", control="c", cell_type="t")


def test_means_variances_and_controls_of_the_same_type() -> None:
    rng = np.random.default_rng(0)
    x = rng.poisson(2.0, (60, 4)).astype(float)
    frame = pd.DataFrame({"p": ["c", "A", "B+A"] * 20, "t": ["x"] * 30 + ["y"] * 30})
    arms = collect(sp.csr_matrix(x), frame, ROLES)
    assert len(arms) == 6
    i = arms.find(parse("A+B"), None, "y")
    assert i is not None
    rows = np.flatnonzero((frame["p"] == "B+A") & (frame["t"] == "y"))
    np.testing.assert_array_equal(arms.arms[i].rows, rows)
    np.testing.assert_allclose(arms.mean[i], x[rows].mean(axis=0))
    np.testing.assert_allclose(arms.var[i], x[rows].var(axis=0, ddof=1))
    control = np.flatnonzero((frame["p"] == "c") & (frame["t"] == "y"))
    np.testing.assert_allclose(arms.control[i], x[control].mean(axis=0))
    np.testing.assert_allclose(arms.shift[i], arms.mean[i] - arms.control[i])
    np.testing.assert_allclose(arms.noise[i], arms.var[i] / 10 + x[control].var(axis=0, ddof=1) / 10)
    assert arms.perturbations == (parse("A"), parse("A+B"))
    assert arms.take(arms.is_control).cell_types == ("x", "y")


def test_rows_are_of_the_whole_data_and_held_out_cells_are_not_looked_at() -> None:
    x = np.arange(20.0)[:, None] * np.ones(2)
    frame = pd.DataFrame({"p": ["c", "A"] * 10, "t": ["x"] * 20})
    rows = np.arange(10, 20)
    changed = x.copy()
    changed[:10] = 1e6
    first, second = (collect(v, frame, ROLES, rows) for v in (x, changed))
    np.testing.assert_array_equal(first.mean, second.mean)
    assert np.concatenate([a.rows for a in first.arms]).min() == 10


def test_controls_are_matched_by_batch() -> None:
    n = 400
    batch = np.array(["b1", "b2"])[np.arange(n) % 2]
    p = np.where(np.arange(n) < 200, "c", "A")
    keep = (p == "c") | (batch == "b2")  # the perturbed cells are of one batch
    x = np.where(batch == "b2", 3.0, 1.0)[:, None] * np.ones(3)
    arms = collect(x[keep], pd.DataFrame({"p": p, "batch": batch})[keep], Roles(perturbation="p", control="c",
                                                                                batch="batch"))
    i = arms.find(parse("A"))
    assert i is not None
    share = 100 / (100 + PSEUDO_CELLS)
    np.testing.assert_allclose(arms.control[i], share * 3 + (1 - share) * 2)
    assert 100 < arms.control_n[i] < 120  # about the cells of the one batch


def test_cells_without_a_type_and_small_arms_are_left_out_and_said() -> None:
    frame = pd.DataFrame({"p": ["c"] * 6 + ["A"] * 6 + ["B"] * 2 + ["A"] * 3,
                          "t": ["x"] * 6 + ["x"] * 5 + [None] + ["x"] * 2 + ["z"] * 3})
    arms = collect(np.ones((len(frame), 2)), frame, ROLES)
    assert [a.perturbation.label for a in arms.arms] == ["", "A"]
    assert arms.n.tolist() == [6, 5]
    assert len(arms.left_out) == 2


def test_no_controls_or_no_perturbation_is_refused() -> None:
    x = np.ones((6, 2))
    with pytest.raises(ScdiffError, match="no control cells"):
        collect(x, pd.DataFrame({"p": ["A"] * 6, "t": ["x"] * 6}), ROLES)
    with pytest.raises(ScdiffError, match="no perturbation"):
        collect(x, pd.DataFrame({"p": ["c"] * 6, "t": ["x"] * 6}), ROLES)
    arms = collect(x, pd.DataFrame({"p": ["c", "A"] * 3, "t": ["x"] * 6}), ROLES)
    assert arms.find(Perturbation(), None, "x") == 0
    assert arms.find(Perturbation(), None, "q") is None


def test_doses_make_arms() -> None:
    frame = pd.DataFrame({"p": ["c"] * 4 + ["A"] * 8, "d": [0.0] * 4 + [1.0] * 4 + [10.0] * 4})
    arms = collect(np.ones((12, 2)), frame, Roles(perturbation="p", control="c", dose="d"))
    assert [a.dose for a in arms.arms] == [None, 1.0, 10.0]
