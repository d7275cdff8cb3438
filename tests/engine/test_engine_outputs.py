"""A generated set on disk. What is written here are real cells that play the generated ones."""

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from helpers import prepared_tiny

from scdiff_core import keys
from scdiff_core.config import GenerateConfig, TrainConfig
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine import cards, outputs
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir, Workspace


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A small prepared dataset with cell types and batches."""
    return prepared_tiny(tmp_path_factory.mktemp("w"))


@pytest.fixture
def run(prepared: Prepared, tmp_path: Path) -> JobDir:
    """A run of that dataset, in another workspace."""
    return Workspace(tmp_path).create(TrainConfig(dataset="tiny", fingerprint=prepared.fingerprint), "a")


def as_generated(prepared: Prepared, rows: np.ndarray) -> AnnData:
    """Real cells in the shape that the engine gives to generated ones."""
    columns = list(prepared.roles.columns().values())
    obs = prepared.obs.iloc[rows][columns].copy()
    obs.index = [f"synthetic{i}" for i in range(len(rows))]
    cells = AnnData(prepared.counts[rows], obs=obs, var=pd.DataFrame(index=prepared.genes),
                    layers={keys.LOG1P: prepared.log1p(rows)})
    cells.obs[keys.TOTAL_COUNTS] = prepared.total_counts[rows]
    cells.obs[keys.SYNTHETIC] = True
    cells.uns[keys.SCDIFF] = json.dumps({"run": "a", "seed": 0})
    return cells


def test_a_set_comes_back_as_it_was_written(prepared: Prepared, run: JobDir) -> None:
    rows = prepared.rows(keys.TEST)[:30]
    cells, asked = as_generated(prepared, rows), GenerateConfig(run="a", n_cells=30)
    made = outputs.write_set(outputs.new_path(run), cells, asked, prepared)
    assert [s.id for s in outputs.list_sets(run)] == [made.id]
    again = made.cells()
    assert (again.X != cells.X).nnz == 0
    assert again.obs[keys.SYNTHETIC].all()
    assert made.recipe() == {"run": "a", "seed": 0, "n_cells": 30, "config": asked.model_dump(mode="json")}
    assert made.report() is None
    (run.outputs / "unfinished").mkdir()
    assert len(outputs.list_sets(run)) == 1


def test_the_view_is_the_true_place_of_the_cells(prepared: Prepared, run: JobDir) -> None:
    train = prepared.rows(keys.TRAIN)[:40]
    made = outputs.write_set(outputs.new_path(run), as_generated(prepared, train),
                             GenerateConfig(run="a", n_cells=40), prepared)
    view = made.view()
    assert view is not None
    assert {k: (v.shape, v.dtype.kind) for k, v in view.items()} == {
        "xy": ((40, 2), "f"), "pca": ((40, 2), "f"), "distance": ((40,), "f"), "codes": ((40, 2), "i"),
        "exact": ((), "b")}
    assert view["exact"]
    np.testing.assert_allclose(view["pca"], prepared.X_pca[train, :2], atol=1e-3)
    np.testing.assert_allclose(view["distance"], 0, atol=0.05)  # they are training cells
    np.testing.assert_allclose(view["xy"], outputs.umap_of(prepared).transform(prepared.X_pca[train]), atol=0.1)
    spread = np.linalg.norm(prepared.X_umap - prepared.X_umap.mean(axis=0), axis=1).mean()
    off = np.linalg.norm(view["xy"] - prepared.X_umap[train], axis=1)
    assert np.median(off) < 0.2 * spread
    np.testing.assert_array_equal(view["codes"], prepared.vocab.encode(prepared.obs.iloc[train])[0])


def test_the_dataset_of_a_run_is_told_by_name_and_fingerprint(prepared: Prepared, tmp_path: Path) -> None:
    assert prepared.path is not None
    space = Workspace(prepared.path.parent.parent)
    assert outputs.open_dataset(space, "tiny", prepared.fingerprint).n_cells == prepared.n_cells
    with pytest.raises(ScdiffError, match="not the one that this run was trained on"):
        outputs.open_dataset(space, "tiny", "0" * 64)
    with pytest.raises(ScdiffError, match="There is no dataset 'tiny'"):
        outputs.open_dataset(Workspace(tmp_path), "tiny", prepared.fingerprint)
    there, note = outputs.dataset_beside(space, TrainConfig(dataset="tiny", fingerprint="0"))
    assert there is None and "not placed on the UMAP" in note


def test_the_report_card_is_kept(prepared: Prepared, run: JobDir) -> None:
    half = prepared.rows(keys.TRAIN)[::2]
    asked = GenerateConfig(run="a", n_cells=len(half))
    made = outputs.write_set(outputs.new_path(run), as_generated(prepared, half), asked, prepared)
    phases: list[float] = []
    report = cards.write_report(made, prepared, asked, lambda words, share: phases.append(share))
    assert phases == sorted(phases) and len(phases) > 2
    card = made.report()
    assert card == report.to_dict()
    assert card is not None
    assert outputs.find_set(run, asked) == made
    assert outputs.find_set(run, asked.model_copy(update={"seed": 1})) is None


def test_real_cells_are_those_of_the_same_conditions(prepared: Prepared) -> None:
    labels, batches = prepared.labels("cell_type"), prepared.labels("batch")
    rows = cards.real_rows(prepared, {"cell_type": "B", "batch": "one"}, keys.TRAIN)
    assert set(rows) == {i for i in prepared.rows(keys.TRAIN) if labels[i] == "B" and batches[i] == "one"}
    anything = cards.real_rows(prepared, {"cell_type": keys.ANY, "batch": keys.AS_IN_DATA}, keys.TEST)
    np.testing.assert_array_equal(anything, prepared.rows(keys.TEST))
    with pytest.raises(ScdiffError, match="no held-out cell with cell_type = X"):
        cards.real_rows(prepared, {"cell_type": "X"}, keys.TEST)


@pytest.mark.parametrize("name", ["cells.h5ad", "cells.csv.gz", "cells.csv", "cells.tsv.gz"])
def test_cells_are_written_by_the_ending_of_the_name(prepared: Prepared, tmp_path: Path, name: str) -> None:
    cells = as_generated(prepared, np.arange(300))
    outputs.write_cells(tmp_path / name, cells)
    if name.endswith(".h5ad"):
        assert (anndata.read_h5ad(tmp_path / name).X != cells.X).nnz == 0
        return
    table = pd.read_csv(tmp_path / name, sep="\t" if ".tsv" in name else ",", index_col=0)
    assert table.index.name == "cell_id"
    assert list(table.columns[:4]) == ["cell_type", "batch", keys.TOTAL_COUNTS, keys.SYNTHETIC]
    np.testing.assert_array_equal(table.iloc[:, 4:].to_numpy(), cells.X.toarray())
    assert (table.iloc[:, 4:].dtypes == np.int64).all()
    assert table["cell_type"].isna().sum() == (prepared.labels("cell_type") == "").sum()


def test_other_cells_and_other_endings_are_refused(prepared: Prepared, run: JobDir, tmp_path: Path) -> None:
    with pytest.raises(ScdiffError, match="No cells are written under that ending"):
        outputs.write_cells(tmp_path / "a.xlsx", as_generated(prepared, np.arange(3)))
    with pytest.raises(ScdiffError, match="do not go with the dataset"):
        outputs.write_set(outputs.new_path(run), as_generated(prepared, np.arange(3))[:, ::-1].copy(),
                          GenerateConfig(run="a", n_cells=3), prepared)
    (tmp_path / "cells.h5ad").write_text("no")
    with pytest.raises(ScdiffError, match="cannot be opened"):
        outputs.GeneratedSet(tmp_path).cells()
