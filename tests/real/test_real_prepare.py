"""Every kind of real data prepared, end to end."""

import json

import numpy as np
import pytest
from helpers import quiet

from scdiff_core.config import HoldOut, PrepareConfig, Roles
from scdiff_core.data.embed import UmapModel, nearest_rows
from scdiff_core.data.prepare import prepare
from scdiff_core.data.prepared import Prepared
from scdiff_core.workspace import Workspace

pytestmark = pytest.mark.real


def run(source: str, root, **settings) -> tuple[Prepared, dict]:
    config = PrepareConfig.model_validate({"source": source, "name": "x", **settings})
    job = Workspace(root).create(config, "x")
    return prepare(config, job, quiet), json.loads((job.path / "report.json").read_text())


@pytest.fixture(scope="module")
def pbmc3k(real_data, tmp_path_factory):
    return run(str(real_data / "pbmc3k_counts.h5ad"), tmp_path_factory.mktemp("w"))


def test_pbmc3k_loses_few_labelled_cells(pbmc3k):
    prepared, report = pbmc3k
    assert prepared.n_genes == 2000 and prepared.n_cells > 2600
    assert (prepared.labels("cell_type") != "").sum() >= 2638 - 15
    assert set(prepared.vocab.find("cell_type").values) >= {"Platelet", "DC", "B", "NK"}
    assert report["missing_labels"]["cell_type"] > 0


def test_pbmc3k_keeps_the_known_markers(pbmc3k):
    prepared, _ = pbmc3k
    markers = prepared.markers().groupby("group")["gene"].apply(set)
    for label, gene in (("B", "MS4A1"), ("CD14+ Mono", "S100A8"), ("NK", "GNLY"), ("Platelet", "PPBP"),
                        ("FCGR3A+ Mono", "FCGR3A"), ("DC", "FCER1A")):
        assert gene in markers[label]


def test_pbmc3k_map_shows_the_types_of_test_cells_too(pbmc3k):
    prepared, _ = pbmc3k
    labels = prepared.labels("cell_type")
    coarse = np.where(np.isin(labels, ["B", "CD14+ Mono", "NK"]), labels, "other")
    train, test = prepared.rows("train"), prepared.rows("test")
    index, _ = nearest_rows(prepared.X_umap[test], prepared.X_umap[train], 1)
    assert (coarse[train][index[:, 0]] == coarse[test]).mean() > 0.93
    again = UmapModel(prepared.X_pca[train], prepared.X_umap[train]).transform(prepared.X_pca[test])
    np.testing.assert_allclose(again, prepared.X_umap[test], atol=1e-4)


def test_kang_keeps_missing_labels_and_holds_out(real_data, tmp_path):
    prepared, report = run(str(real_data / "kang_ifnb_counts.h5ad"), tmp_path, roles=Roles(
        cell_type="cell_type", perturbation="condition", control="ctrl"),
        hold_out=[HoldOut(column="cell_type", values=("CD14 Mono",))])
    assert report["missing_labels"]["cell_type"] > 800
    held = prepared.labels("cell_type") == "CD14 Mono"
    assert held.sum() > 290 and (prepared.obs["split"][held] == "test").all()
    assert {"ISG15", "IFI6"} <= set(prepared.genes)


def test_norman_counts_and_totals_come_back(real_data, tmp_path):
    prepared, _ = run(str(real_data / "norman_mcfaline_lognorm.h5ad"), tmp_path, genes="all")
    assert prepared.values == "counts" and prepared.roles.perturbation is not None
    assert prepared.roles.control == "control"
    data = prepared.counts.data
    np.testing.assert_array_equal(data, np.rint(data))
    known = prepared.obs["ncounts"].to_numpy()
    assert np.median(np.abs(prepared.total_counts / known - 1)) < 0.02


def test_pancreas_with_types_that_are_numbers(real_data, tmp_path):
    prepared, _ = run(str(real_data / "pancreas_e15_timecourse.h5ad"), tmp_path, roles=Roles(cell_type="clusters"))
    assert prepared.vocab.find("cell_type").values == tuple("01234567")
    assert set(prepared.markers()["group"].astype(str)) == set("01234567")


def test_200_dense_cells_without_labels(real_data, tmp_path):
    prepared, _ = run(str(real_data / "pbmc10k_cite_200cells.h5ad"), tmp_path)
    assert prepared.n_cells > 180 and prepared.n_genes == 2000 and prepared.vocab.covariates == ()
