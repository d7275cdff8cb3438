import datetime as dt

import anndata as ad
import numpy as np
import pandas as pd

from scdiff_core.config import Roles
from scdiff_core.data.plain_obs import plain, safe_names
from scdiff_core.data.vocab import Vocab


def odd() -> pd.DataFrame:
    n = 4
    return pd.DataFrame({
        "mixed": np.array([1, "a", None, 2.5], dtype=object), "flag": [True, False, True, True],
        "maybe": pd.array([True, None, False, True], dtype="boolean"),
        "whole": pd.array([1, None, 3, 4], dtype="Int64"),
        "day": pd.to_datetime(["2024-01-01", None, "2024-01-03", "2024-01-04"]),
        "span": pd.to_timedelta([1, 2, 3, 4], unit="D"), "range": pd.cut(range(n), 2),
        "date": [dt.date(2024, 1, 1)] * n, "text": pd.array(["x", None, "y", "x"], dtype="string"),
        "codes": pd.Categorical([2, 10, 2, None]), "lists": [[1], [2], [1], None],
        "real": np.arange(n, dtype=np.float32),
    }, index=[f"c{i}" for i in range(n)])


def test_odd_columns_go_into_a_file_and_come_back(tmp_path):
    cells = plain(odd())
    ad.AnnData(np.ones((4, 2), np.float32), obs=cells).write_h5ad(tmp_path / "x.h5ad")
    back = ad.read_h5ad(tmp_path / "x.h5ad").obs
    assert list(back.columns) == list(odd().columns)
    assert back["mixed"].astype(object).where(back["mixed"].notna(), None).tolist() == ["1", "a", None, "2.5"]
    assert back["flag"].tolist() == [True, False, True, True] and back["flag"].dtype == bool
    assert back["maybe"].isna().tolist() == [False, True, False, False]
    np.testing.assert_array_equal(back["whole"], [1, np.nan, 3, 4])
    assert back["day"].astype(str).tolist()[0].startswith("2024-01-01") and back["day"].isna().sum() == 1
    assert back["text"].isna().sum() == 1 and back["real"].dtype == np.float32
    assert back["lists"].tolist()[0] == "[1]"


def test_parquet_too(tmp_path):
    plain(odd()).to_parquet(tmp_path / "x.parquet")
    assert pd.read_parquet(tmp_path / "x.parquet").shape == (4, 12)


def test_covariates_follow_the_vocabulary():
    obs = pd.DataFrame({"k": [10, 2, 2], "d": ["1", None, "3"]})
    out = plain(obs, Vocab.from_obs(obs, Roles(cell_type="k", dose="d")))
    assert out["k"].cat.categories.tolist() == ["2", "10"]
    np.testing.assert_array_equal(out["d"], [1, np.nan, 3])


def test_columns_give_way_to_the_files_own():
    own = pd.DataFrame({"total_counts": [10.0, 20.0], "n_genes_by_counts": [1, 2]})
    obs = pd.DataFrame({"total_counts": [10.0, 20.00001], "n_genes_by_counts": [5, 6], "split": ["a", "b"],
                        "source_split": [1, 2], "a/b": [1, 2], "cell_type": ["x", "y"]})
    out, renamed = safe_names(obs, own)
    assert renamed == {"n_genes_by_counts": "source_n_genes_by_counts", "split": "source_split_", "a/b": "a_b"}
    assert set(out.columns) == {"source_n_genes_by_counts", "source_split_", "source_split", "a_b", "cell_type"}
    assert "total_counts" in obs  # the input is untouched
