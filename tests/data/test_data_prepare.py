import json
from itertools import pairwise

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from helpers import prepare_adata, quiet, tiny_counts_adata

from scdiff_core.config import QC, HoldOut, PrepareConfig, Roles
from scdiff_core.data import embed
from scdiff_core.data.prepare import prepare
from scdiff_core.data.prepared import Prepared, to_log1p
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import Workspace


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The usual case: QC, 60 variable genes of 200, one gene asked for."""
    adata = tiny_counts_adata()
    prepared, job = prepare_adata(adata, tmp_path_factory.mktemp("w"), genes=60, keep_genes=["GENE7"])
    return adata, prepared, json.loads((job.path / "report.json").read_text())


def test_counts_and_totals_are_those_of_the_source(made):
    adata, prepared, _ = made
    cells, genes = adata.obs_names.get_indexer(prepared.obs.index), adata.var_names.get_indexer(prepared.genes)
    np.testing.assert_array_equal(prepared.counts.toarray(), adata.X[cells][:, genes].toarray())
    np.testing.assert_array_equal(prepared.total_counts, np.asarray(adata.X[cells].sum(axis=1)).ravel())
    assert prepared.values == "counts" and prepared.total_counts.max() > prepared.counts.sum(axis=1).max()


def test_genes_are_the_variable_ones_and_the_named_one(made):
    _, prepared, report = made
    assert 60 <= prepared.n_genes <= 61 and "GENE7" in prepared.genes
    assert report["steps"][-1]["genes_after"] == prepared.n_genes


def test_roles_are_detected_and_labels_kept(made):
    adata, prepared, report = made
    assert prepared.roles.cell_type == "cell_type" and prepared.roles.batch == "batch"
    before = adata.obs.loc[prepared.obs.index, "cell_type"].astype(object)
    assert before.isna().sum() == report["missing_labels"]["cell_type"] > 0
    assert (before.fillna("") == prepared.labels("cell_type")).all()
    np.testing.assert_allclose(prepared.obs["age"], adata.obs.loc[prepared.obs.index, "age"])


def test_the_report_adds_up(made):
    adata, prepared, report = made
    steps = report["steps"]
    assert [s["name"] for s in steps] == ["read", "qc", "split", "genes"]
    assert steps[0]["cells_before"] == adata.n_obs
    assert all(a["cells_after"] == b["cells_before"] for a, b in pairwise(steps))
    assert report["n_train"] + report["n_test"] == report["n_cells"] == prepared.n_cells
    assert report["fingerprint"] == prepared.fingerprint and report["seconds"] > 0
    assert report["summary"][0].startswith(f"{prepared.n_cells} cells of {prepared.n_genes} genes")


def test_everything_fitted_is_fitted_on_training_cells_only(made):
    _, prepared, _ = made
    train = prepared.rows("train")
    mean, components = embed.fit_pca(prepared.log1p(train), 50)
    np.testing.assert_allclose(mean, prepared.pca_mean, atol=1e-5)
    np.testing.assert_allclose(np.abs((components[:5] * prepared.pca_components[:5]).sum(axis=1)), 1, atol=1e-4)


def test_test_cells_change_nothing_that_is_fitted(tmp_path):
    adata = tiny_counts_adata(200, 120)
    plain, _ = prepare_adata(adata, tmp_path / "a", genes=50, qc=QC())
    test = plain.obs.index[plain.rows("test")]
    rows = adata.obs_names.get_indexer(test)
    shuffled = adata.X.toarray()
    shuffled[rows] = np.random.default_rng(0).permuted(shuffled[rows], axis=1)
    adata.X = sp.csr_matrix(shuffled)
    other, _ = prepare_adata(adata, tmp_path / "b", genes=50, qc=QC())
    assert other.obs.index[other.rows("test")].equals(test)
    assert (other.genes == plain.genes).all()
    np.testing.assert_array_equal(other.pca_components, plain.pca_components)
    np.testing.assert_array_equal(other.X_umap[other.rows("train")], plain.X_umap[plain.rows("train")])
    pd.testing.assert_frame_equal(other.markers(), plain.markers())
    assert other.fingerprint != plain.fingerprint


def test_the_same_seed_gives_the_same_dataset_another_one_another_split(tmp_path):
    adata = tiny_counts_adata(120, 60)
    first, again, other = (prepare_adata(adata, tmp_path / n, qc=QC(), seed=s)[0] for n, s in
                           (("a", 0), ("b", 0), ("c", 1)))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    np.testing.assert_array_equal(first.X_umap, again.X_umap)


def test_recovered_counts_keep_their_totals_over_all_genes(tmp_path):
    adata = tiny_counts_adata(150, 200)
    truth, total = adata.X.copy(), np.asarray(adata.X.sum(axis=1)).ravel()
    log = to_log1p(truth, total)
    part = ad.AnnData(log[:, :100], obs=adata.obs, var=adata.var[:100])
    prepared, _ = prepare_adata(part, tmp_path, genes="all", qc=QC())
    assert prepared.values == "counts"
    genes = part.var_names.get_indexer(prepared.genes)
    np.testing.assert_array_equal(prepared.counts.toarray(), truth[:, :100][:, genes].toarray())
    np.testing.assert_allclose(prepared.total_counts, total, rtol=1e-3)
    np.testing.assert_allclose(prepared.log1p().toarray(), log[:, :100][:, genes].toarray(), atol=2e-3)


def test_a_prepared_file_can_be_prepared_again_with_its_totals(made, tmp_path):
    _, first, _ = made
    config = PrepareConfig(source=str(first.path / "prepared.h5ad"), name="again", qc=QC(), genes="all")
    job = Workspace(tmp_path).create(config, "again")
    again = prepare(config, job, quiet)
    np.testing.assert_array_equal(again.total_counts, first.total_counts)
    assert "source_total_counts" not in again.obs and "source_split" in again.obs
    assert again.vocab.find("cell_type") == first.vocab.find("cell_type")


def test_values_without_counts_are_kept_as_they_are(tmp_path):
    adata = tiny_counts_adata(120, 80)
    adata.X = sp.csr_matrix(np.log1p(adata.X.toarray()) * np.random.default_rng(0).uniform(0.8, 1.2, adata.shape))
    prepared, job = prepare_adata(adata, tmp_path, genes=40, qc=QC(remove_doublets=True))
    assert prepared.values == "continuous" and (prepared.total_counts == 1e4).all()
    genes = adata.var_names.get_indexer(prepared.genes)
    np.testing.assert_allclose(prepared.log1p().toarray(), adata.X.toarray()[:, genes], rtol=1e-5)
    titles = [f["title"] for f in json.loads((job.path / "report.json").read_text())["findings"]]
    assert "Doublets were not looked for" in titles


def test_scaled_values_can_be_prepared(tmp_path):
    adata = tiny_counts_adata(100, 60)
    X = np.log1p(adata.X.toarray())
    adata.X = ((X - X.mean(axis=0)) / X.std(axis=0)).astype(np.float32)
    prepared, _ = prepare_adata(adata, tmp_path, genes=30)
    assert prepared.values == "continuous" and prepared.n_genes == 30 and prepared.counts.min() < 0


def test_dense_counts_without_any_label(tmp_path):
    adata = tiny_counts_adata(60, 80)
    dense = ad.AnnData(adata.X.toarray(), var=adata.var, obs=pd.DataFrame(index=adata.obs_names))
    prepared, _ = prepare_adata(dense, tmp_path)
    assert prepared.vocab.covariates == () and prepared.markers().empty
    assert prepared.vocab.encode(prepared.obs)[0].shape == (prepared.n_cells, 0)


def test_one_cell_type_has_no_markers(tmp_path):
    adata = tiny_counts_adata(60, 80)
    adata.obs["cell_type"] = "T"
    prepared, _ = prepare_adata(adata, tmp_path, roles=Roles(cell_type="cell_type"))
    assert prepared.markers().empty and prepared.vocab.find("cell_type").values == ("T",)


def test_an_embedding_of_the_source_is_not_used(tmp_path):
    adata = tiny_counts_adata(60, 80)
    adata.obsm["X_umap"], adata.obsm["X_pca"] = np.full((60, 2), 7.0), np.full((60, 3), 7.0)
    prepared, _ = prepare_adata(adata, tmp_path)
    assert prepared.X_umap.std() > 0.1 and prepared.X_pca.shape[1] > 3


def test_columns_with_our_names_and_odd_types(tmp_path):
    adata = tiny_counts_adata(60, 80)
    adata.obs["split"] = pd.Categorical(["a", "b"] * 30)
    adata.obs["total_counts"] = np.asarray(adata.X.sum(axis=1)).ravel()
    adata.obs["pct_counts_mt"] = 99.0
    prepared, job = prepare_adata(adata, tmp_path, qc=QC(), roles=Roles(cell_type="split"),
                                  hold_out=[{"column": "split", "values": ["b"]}])
    assert prepared.roles.cell_type == "source_split" and set(prepared.labels("source_split")) == {"a", "b"}
    assert (prepared.obs["split"][prepared.obs["source_split"] == "b"] == "test").all()
    assert "source_total_counts" not in prepared.obs and (prepared.obs["source_pct_counts_mt"] == 99).all()
    titles = [f["title"] for f in json.loads((job.path / "report.json").read_text())["findings"]]
    assert "Column 'split' is now 'source_split'" in titles


def test_perturbed_genes_are_kept_and_held_out_ones_tested(tmp_path):
    adata = tiny_counts_adata(200, 100)
    adata.obs["guide"] = np.tile(["control", "GENE1", "GENE2+GENE3", "drug"], 50)
    prepared, job = prepare_adata(
        adata, tmp_path, genes=20, roles=Roles(cell_type="cell_type", perturbation="guide", control="control"),
        hold_out=[HoldOut(column="guide", values=("GENE2+GENE3",))], qc=QC())
    assert {"GENE1", "GENE2", "GENE3"} <= set(prepared.genes)
    parts = prepared.obs["split"].to_numpy()
    held = prepared.labels("perturbation") == "GENE2+GENE3"
    assert (parts[held] == "test").all() and 0.2 < (parts[~held] == "test").mean() < 0.4
    assert "GENE2+GENE3" in prepared.vocab.find("guide").values
    findings = json.loads((job.path / "report.json").read_text())["findings"]
    assert any("drug" in f["detail"] for f in findings if "not a gene" in f["title"])


def test_doublets_can_be_left_out(tmp_path):
    adata = tiny_counts_adata(300, 200, seed=2)
    pairs = adata.X[:30] + adata.X[30:60]
    both = ad.AnnData(sp.vstack([adata.X, pairs]).tocsr(), var=adata.var,
                      obs=pd.DataFrame(index=[f"c{i}" for i in range(330)]))
    prepared, job = prepare_adata(both, tmp_path, qc=QC(remove_doublets=True))
    steps = {s["name"]: s for s in json.loads((job.path / "report.json").read_text())["steps"]}
    assert steps["doublets"]["cells_before"] - steps["doublets"]["cells_after"] == 330 - prepared.n_cells > 0
    assert prepared.obs["doublet_score"].between(0, 1).all()


@pytest.mark.parametrize(("settings", "words"), [
    ({"keep_genes": ["GENE_7"]}, "Did you mean 'GENE7'"),
    ({"roles": Roles(cell_type="celltype")}, "cell_type"),
    ({"hold_out": [HoldOut(column="cell_type", values=("Monocytes",))]}, "Did you mean 'Monocyte'"),
    ({"qc": QC(min_genes=10_000)}, "too few cells"),
    ({"qc": QC(min_cells_per_gene=1000)}, "too few genes"),
])
def test_mistakes_are_told_with_the_fix(tmp_path, settings, words):
    with pytest.raises(ScdiffError, match=words):
        prepare_adata(tiny_counts_adata(60, 80), tmp_path, **settings)
    assert not (tmp_path / "datasets/tiny/prepared.h5ad").exists()


@pytest.mark.parametrize("n_cells", [3, 12])
def test_a_handful_of_cells_is_refused(tmp_path, n_cells):
    with pytest.raises(ScdiffError, match="too few cells"):
        prepare_adata(tiny_counts_adata(n_cells, 80), tmp_path)


def test_fifty_cells_are_enough(tmp_path):
    prepared, _ = prepare_adata(tiny_counts_adata(50, 80), tmp_path)
    assert prepared.n_cells >= 45 and np.isfinite(prepared.X_umap).all()


def test_a_demo_by_its_name_and_progress_that_only_grows(tmp_path):
    config = PrepareConfig(source="demo:pbmc68k", name="demo68k")
    job = Workspace(tmp_path).create(config, "demo68k")
    told: list[tuple[str, float]] = []
    prepared = prepare(config, job, lambda words, share: told.append((words, share)))
    assert prepared.values == "counts" and prepared.roles.cell_type == "bulk_labels"
    assert [share for _, share in told] == sorted(share for _, share in told) and told[-1] == ("Done", 1.0)
    assert Prepared.open(job).fingerprint == prepared.fingerprint


def test_progress_may_stop_it(tmp_path):
    class Stopped(Exception):
        pass

    def stop(words: str, share: float) -> None:
        if share > 0.3:
            raise Stopped

    config = PrepareConfig(source="demo:pbmc68k", name="x")
    job = Workspace(tmp_path).create(config, "x")
    with pytest.raises(Stopped):
        prepare(config, job, stop)
    assert not (job.path / "prepared.h5ad").exists()
    assert prepare(config, job, quiet).n_cells > 600


def test_what_is_to_be_guessed_is_held_out_by_a_word(tmp_path):
    from scdiff_core.data.simulate import simulate

    adata = simulate(1500, 250)
    roles = Roles(cell_type="cell_type", perturbation="perturbation", control="control", dose="dose")
    made, job = prepare_adata(adata, tmp_path, unseen=("unseen-pair-both",), roles=roles, qc=QC(), genes=200)
    report = json.loads((job.path / "report.json").read_text())
    out = made.obs["perturbation"].astype(str).str.contains("+", regex=False).to_numpy()
    assert (made.obs["split"][out] == "test").all()
    assert set(report["hold_out"][0]["values"]) == set(made.obs["perturbation"][out])
    assert any("the nearest in training is" in line for line in report["summary"])
    with pytest.raises(ScdiffError, match="Did you mean 'unseen-dose'"):
        prepare_adata(adata, tmp_path / "x", unseen=("unseen-dosis",), roles=roles, qc=QC(), genes=200)
