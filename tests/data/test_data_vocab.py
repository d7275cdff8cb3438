import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scdiff_core.config import Roles
from scdiff_core.data.vocab import Covariate, Vocab, as_labels, as_numbers
from scdiff_core.errors import ScdiffError

ROLES = Roles(cell_type="type", batch="donor", dose="um")


@pytest.fixture
def obs() -> pd.DataFrame:
    return pd.DataFrame({"type": pd.Categorical(["T", "B", None, "T", "NK"]), "donor": [2, 10, 2, 2, 10],
                         "um": [0.0, 1.0, np.nan, 3.0, 4.0], "other": list("abcde"),
                         "split": ["train", "train", "train", "train", "test"]})


def test_labels_are_text_with_missing_ones_empty():
    column = pd.Series(["a ", None, 3, 2.0, True, "nan", b"bytes"], dtype=object)
    assert as_labels(column).tolist() == ["a", "", "3", "2", "True", "", "bytes"]
    assert as_labels(pd.Series([1.0, np.nan, 2.5])).tolist() == ["1", "", "2.5"]
    assert as_labels(pd.Series(pd.Categorical(["x", None]))).tolist() == ["x", ""]


def test_numbers_are_read_from_text_and_refused_with_other_text():
    np.testing.assert_array_equal(as_numbers(pd.Series(["1", None, " 2.5"])), [1, np.nan, 2.5])
    np.testing.assert_array_equal(as_numbers(pd.Series([1, pd.NA], dtype="Int64")), [1, np.nan])
    np.testing.assert_array_equal(as_numbers(pd.Series([1.0, np.inf])), [1, np.nan])
    assert as_numbers(pd.Series(["1", "1+1"])) is None


def test_from_obs_kinds_order_and_training_statistics(obs):
    vocab = Vocab.from_obs(obs, ROLES)
    assert [(c.column, c.role, c.kind) for c in vocab] == [
        ("type", "cell_type", "categorical"), ("donor", "batch", "categorical"), ("um", "dose", "continuous")]
    assert vocab.find("type").values == ("B", "NK", "T")
    assert vocab.find("batch").values == ("2", "10")  # by number, not by letter
    assert vocab.find("um").mean == pytest.approx(4 / 3)  # 0, 1, 3: the test cell's 4 is not seen
    assert vocab.find("um").std == pytest.approx(np.std([0, 1, 3]))


def test_an_ordered_categorical_keeps_its_order():
    day = pd.Categorical(["late", "early"], categories=["early", "never", "late"], ordered=True)
    assert Vocab.from_obs(pd.DataFrame({"day": day}), Roles(time="day")).find("day").values == ("early", "late")


def test_dose_of_text_or_of_one_value_is_categorical():
    for values in (["low", "high"], [1.0, 1.0]):
        vocab = Vocab.from_obs(pd.DataFrame({"d": values}), Roles(dose="d"))
        assert vocab.find("d").kind == "categorical"


def test_a_column_without_any_label_is_left_out():
    assert Vocab.from_obs(pd.DataFrame({"t": [None, np.nan]}, dtype=object), Roles(cell_type="t")).covariates == ()


def test_encode_decode_go_there_and_back(obs):
    vocab = Vocab.from_obs(obs, ROLES)
    codes, conts = vocab.encode(obs)
    assert codes.tolist() == [[2, 0], [0, 1], [3, 0], [2, 0], [1, 1]]  # 3: the null of type
    assert codes.dtype == np.int64 and conts.dtype == np.float32
    back = vocab.decode(codes, conts)
    assert back["type"].astype(object).where(back["type"].notna(), None).tolist() == ["T", "B", None, "T", "NK"]
    np.testing.assert_allclose(back["um"], obs["um"], atol=1e-6)
    again, conts_again = vocab.encode(back)
    np.testing.assert_array_equal(again, codes)
    np.testing.assert_allclose(conts_again, conts, atol=1e-5)


def test_a_column_that_is_not_there_is_missing_for_all(obs):
    codes, conts = Vocab.from_obs(obs, ROLES).encode(obs[["type"]])
    assert (codes[:, 1] == 2).all() and np.isnan(conts).all()


def test_json_keeps_everything(obs):
    vocab = Vocab.from_obs(obs, ROLES)
    assert Vocab.from_dict(vocab.to_dict()) == vocab


def test_unknown_names_are_refused_with_the_nearest(obs):
    vocab = Vocab.from_obs(obs, ROLES)
    with pytest.raises(ScdiffError, match="Did you mean 'donor'"):
        vocab.find("doner")
    with pytest.raises(ScdiffError, match="Did you mean 'NK'"):
        vocab.index("cell_type", "nk")
    with pytest.raises(ScdiffError, match="no labels"):
        vocab.index("um", "1")
    with pytest.raises(ScdiffError, match="no value 'plasma'"):
        vocab.encode(pd.DataFrame({"type": ["plasma"]}))
    with pytest.raises(ScdiffError, match="must be a number"):
        vocab.encode(pd.DataFrame({"um": ["much"]}))
    with pytest.raises(ScdiffError, match="no column 'tipe'"):
        Vocab.from_obs(obs, Roles(cell_type="tipe"))


@given(st.lists(st.one_of(st.none(), st.text("abcXYZ 12+/", min_size=1, max_size=6)), min_size=1, max_size=30))
def test_any_labels_survive(labels):
    obs = pd.DataFrame({"t": pd.Series(labels, dtype=object)})
    vocab = Vocab.from_obs(obs, Roles(cell_type="t"))
    codes, conts = vocab.encode(obs)
    if vocab.covariates:
        assert as_labels(vocab.decode(codes, conts)["t"]).tolist() == as_labels(obs["t"]).tolist()


def test_null_is_past_the_last_value():
    assert Covariate("t", "cell_type", "categorical", ("a", "b")).null == 2
