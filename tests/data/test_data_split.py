import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scdiff_core.config import HoldOut
from scdiff_core.data.split import held_out, split, words
from scdiff_core.errors import ScdiffError


@given(st.lists(st.sampled_from(["a", "b", "c", "rare", ""]), min_size=1, max_size=200), st.floats(0.05, 0.9),
       st.integers(0, 5))
def test_every_label_is_learnt_and_none_is_lost(labels, fraction, seed):
    obs = pd.DataFrame({"t": labels})
    parts = split(obs, ["t"], (), fraction, seed)
    assert set(parts) <= {"train", "test"} and len(parts) == len(labels)
    for label in set(labels):
        of = parts[np.array(labels) == label]
        assert "train" in of
        if len(of) >= 4:
            assert "test" in of
        assert abs((of == "test").sum() - fraction * len(of)) <= 1 + (len(of) < 4) + 1e-9


def test_the_fraction_holds_within_each_combination_and_the_seed_decides():
    obs = pd.DataFrame({"t": np.repeat(["a", "b"], 500), "p": np.tile(["x", "y"], 500)})
    parts = split(obs, ["t", "p"], (), 0.3, 0)
    share = pd.Series(parts == "test").groupby([obs["t"], obs["p"]]).mean()
    np.testing.assert_allclose(share, 0.3, atol=0.005)
    assert (parts == split(obs, ["t", "p"], (), 0.3, 0)).all()
    assert (parts != split(obs, ["t", "p"], (), 0.3, 1)).any()


def test_held_out_values_are_test_cells_all_of_them():
    obs = pd.DataFrame({"t": np.repeat(["a", "b", "c"], 100), "n": np.tile([1, 2], 150)})
    parts = split(obs, ["t"], (HoldOut(column="t", values=("c",)), HoldOut(column="n", values=("7",)))[:1], 0.3, 0)
    assert (parts[obs["t"] == "c"] == "test").all()
    assert (parts[obs["t"] != "c"] == "test").mean() == pytest.approx(0.3, abs=0.01)
    parts = split(obs, ["t"], (HoldOut(column="n", values=("2",)),), 0.3, 0)  # numbers by their text
    assert (parts[obs["n"] == 2] == "test").all()


def test_unknown_columns_and_values_are_named():
    obs = pd.DataFrame({"cell_type": ["B", "NK"] * 20})
    with pytest.raises(ScdiffError, match="Did you mean 'cell_type'"):
        split(obs, [], (HoldOut(column="celltype", values=("B",)),), 0.3, 0)
    with pytest.raises(ScdiffError, match="Its values are B, NK"):
        split(obs, [], (HoldOut(column="cell_type", values=("plasma",)),), 0.3, 0)
    with pytest.raises(ScdiffError, match="No cell is left to learn from"):
        split(obs, [], (HoldOut(column="cell_type", values=("B", "NK")),), 0.3, 0)


def test_a_perturbation_can_be_held_out_in_one_type_alone():
    obs = pd.DataFrame({"type": list("AABB") * 10, "condition": ["ctrl", "stim"] * 20})
    rule = HoldOut(column="type", values=("B",), also=(HoldOut(column="condition", values=("stim",)),))
    where = split(obs, ["type", "condition"], [rule], 0.3, 0)
    out = ((obs["type"] == "B") & (obs["condition"] == "stim")).to_numpy()
    assert (where[out] == "test").all() and (where[~out] == "train").any()
    assert set(where[((obs["type"] == "B") & (obs["condition"] == "ctrl")).to_numpy()]) == {"train", "test"}
    assert words(rule) == "B in type and stim in condition"
    never = obs[~out]
    with pytest.raises(ScdiffError, match="No cell would be held out"):
        held_out(never, [rule])
