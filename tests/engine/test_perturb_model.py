"""Predictions end to end: training, the populations that come out, resuming, and what is refused."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from anndata import AnnData
from engine_data import small_config
from perturb_data import LABELS, perturbed

from scdiff_core import keys
from scdiff_core.config import PerturbConfig, PredictConfig
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine import checkpoint, move, movers, prediction
from scdiff_core.engine.estimate import estimate_seconds
from scdiff_core.engine.model import Model
from scdiff_core.engine.perturb_model import PerturbModel
from scdiff_core.engine.predict import predict
from scdiff_core.engine.train import Training, train
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir, Workspace

STEPS = {"codec": {"steps": 900, "minibatch": 64, "lr": 5e-3, "hidden": (32,), "dropout": 0.0},
         "diffusion": {"steps": 20, "dropout": 0.0}}


def trained(path: Path, prepared: Prepared, **options: object) -> JobDir:
    config = small_config(prepared, task="perturb", perturb=PerturbConfig(**options), **STEPS)  # type: ignore[arg-type]
    job = Workspace(path).create(config, "run")
    assert [e.phase for e in train(job, prepared, config, resume=False)][-1] in ("sets", "response")
    return job


@pytest.fixture(scope="module")
def data() -> Prepared:
    return perturbed()


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, data: Prepared) -> JobDir:
    return trained(tmp_path_factory.mktemp("perturb"), data)


@pytest.fixture(scope="module")
def model(job: JobDir) -> PerturbModel:
    return PerturbModel.load(job)


def means(prepared: Prepared, label: str) -> np.ndarray:
    rows = np.flatnonzero((prepared.obs["condition"] == label).to_numpy())
    return np.asarray(prepared.log1p(rows).mean(0)).ravel()


def test_a_pair_that_was_held_out_is_predicted(model: PerturbModel, data: Prepared) -> None:
    made = model.ask("G2+G1", n_cells=200)
    assert made.perturbation.label == "G1+G2" and len(made) == 200
    change = np.asarray(made.log1p.mean(0)).ravel() - means(data, "ctrl")
    real = means(data, "G1+G2") - means(data, "ctrl")
    assert np.corrcoef(change, real)[0, 1] > 0.9
    assert np.all(made.counts.data == np.round(made.counts.data)) and made.counts.data.min() > 0
    assert np.all(made.total >= np.asarray(made.counts.sum(1)).ravel() - 1e-3)
    cells = made.log1p.toarray()
    rows = np.flatnonzero((data.obs["condition"] == "G1+G2").to_numpy())
    ratio = cells.var(0) / data.log1p(rows).toarray().var(0)
    assert 0.8 < np.median(ratio) < 1.25


def test_the_mean_of_the_cells_is_the_predicted_one(model: PerturbModel) -> None:
    made = model.ask("G3", where={"type": "A"}, n_cells=120)
    assert np.abs(np.asarray(made.log1p.mean(0)).ravel() - made.response.mean).mean() < 0.15


def test_the_same_seed_gives_the_same_cells_and_the_same_start(model: PerturbModel, data: Prepared) -> None:
    a, b, c = model.ask("G1", seed=3), model.ask("G1", seed=3), model.ask("G3", seed=3)
    assert np.array_equal(a.counts.toarray(), b.counts.toarray())
    assert np.array_equal(a.start_rows, c.start_rows)
    assert set(data.obs["condition"].iloc[a.start_rows]) == {"ctrl"}


def test_where_chooses_the_cells_to_start_from(model: PerturbModel, data: Prepared) -> None:
    made = model.ask("G1", where={"cell_type": "B"}, n_cells=50)
    assert set(data.obs["type"].iloc[made.start_rows]) == {"B"}


@pytest.mark.parametrize(("label", "where", "said"), [
    ("ctrl", {}, "is the control"), ("XYZ", {}, "XYZ"), ("G1", {"type": "C"}, "no value 'C'"),
    ("G1", {"condition": "G2"}, "no condition of the cells"), ("G1", {"colour": "red"}, "no covariate 'colour'")])
def test_what_cannot_be_answered_is_refused(model: PerturbModel, label: str, where: dict[str, str], said: str) -> None:
    with pytest.raises(ScdiffError, match=said):
        model.ask(label, where=where)


def test_prediction_as_a_table_and_a_folder(job: JobDir, model: PerturbModel, data: Prepared) -> None:
    asked = PredictConfig(run=job.id, perturbations=("G1+G2", "G3"), n_cells=60)
    steps, told = predict(model, asked), []
    while True:
        try:
            told.append(next(steps))
        except StopIteration as end:
            adata = end.value
            break
    assert [(t.done, t.total) for t in told] == [(0, 2), (1, 2), (2, 2)]
    assert adata.n_obs == 120 and adata.obs[keys.SYNTHETIC].all()
    assert set(adata.obs["condition"]) == {"G1+G2", "G3"} and set(adata.obs["type"]) <= {"A", "B"}
    made = prediction.write_prediction(job.outputs / "one", adata, asked, data)
    assert [p.path for p in prediction.list_predictions(job)] == [made.path]
    assert prediction.find_prediction(job, asked) is not None
    assert prediction.find_prediction(job, asked.model_copy(update={"seed": 1})) is None
    table = made.effects()
    assert len(table) == 2 * data.n_genes and table["measured_log2fc"].notna().all()
    assert ((table["low"] <= table["log2fc"]) & (table["log2fc"] <= table["high"])).all()
    found = made.summary()["perturbations"]
    assert [f["perturbation"] for f in found] == ["G1+G2", "G3"]
    assert found[0]["pearson"] > 0.85 and found[0]["energy"] > found[0]["e_distance"]
    view = made.view()
    assert view is not None and view["xy"].shape == (120, 2)
    assert json.loads(made.cells().uns[keys.SCDIFF])["kind"] == "predict"


def predicted(model: PerturbModel, asked: PredictConfig) -> AnnData:
    steps = predict(model, asked)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def measured(adata: AnnData, asked: PredictConfig, data: Prepared, within: np.ndarray | None = None) -> pd.DataFrame:
    found = json.loads(adata.uns[keys.SCDIFF])["summary"]
    return prediction.measure(adata, asked, data, adata.uns["effects"], found, within)[0].set_index("gene")


def test_measured_changes_are_those_of_their_gene_with_the_addition_of_predicted_ones(
        job: JobDir, model: PerturbModel, data: Prepared) -> None:
    asked = PredictConfig(run=job.id, perturbations=("G3",), n_cells=30)
    g3, ctrl = ((data.obs["condition"] == label).to_numpy() for label in ("G3", "ctrl"))
    counts = data.counts.toarray()
    counts[g3, 45] = 0
    data = replace(data, counts=sp.csr_matrix(counts))
    table = measured(predicted(model, asked), asked, data)
    over, under = (np.expm1(data.log1p(np.flatnonzero(rows)).toarray().mean(0)) + 0.01 for rows in (g3, ctrl))
    np.testing.assert_allclose(table.loc[data.genes, "measured_log2fc"], np.log2(over / under), rtol=1e-4, atol=1e-5)
    assert -20 < table.loc["G45", "measured_log2fc"] < -5
    up = table.loc[[f"G{i}" for i in range(30, 40)]]
    assert (up["measured_log2fc"] > 1.5).all() and (up["measured_padj"] < 1e-6).all()


def test_measured_changes_stand_against_the_selected_controls(job: JobDir, model: PerturbModel,
                                                              data: Prepared) -> None:
    asked = PredictConfig(run=job.id, perturbations=("G3",), n_cells=30)
    adata, kind = predicted(model, asked), (data.obs["type"] == "A").to_numpy()
    chosen = measured(adata, asked, data, within=kind & (data.obs["condition"] == "ctrl").to_numpy())
    there = measured(adata, asked.model_copy(update={"where": {"type": "A"}}), data)
    pd.testing.assert_frame_equal(chosen, there)
    assert not np.allclose(chosen["measured_log2fc"], measured(adata, asked, data)["measured_log2fc"], atol=0.1)
    none = measured(adata, asked, data, within=np.zeros(data.n_cells, bool))
    assert none["measured_log2fc"].isna().all()


def same_with_and_without_kept_movers(model: PerturbModel) -> None:
    labels = ["G1", "G3", "G1+G2", "G2", "G1"]
    fresh = replace(model, movers=movers.Movers(most=0))
    want = [fresh.ask(label, n_cells=80, seed=1) for label in labels]
    keeps = replace(model, movers=movers.Movers())
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda label: keeps.ask(label, n_cells=80, seed=1), labels))
    for a, b in zip(want, found, strict=True):
        assert np.array_equal(a.counts.toarray(), b.counts.toarray()) and np.array_equal(a.total, b.total)
        assert np.array_equal(a.response.shift, b.response.shift)


def test_kept_movers_change_nothing(model: PerturbModel) -> None:
    same_with_and_without_kept_movers(model)


def test_a_mover_is_kept_with_the_generator_it_leaves(model: PerturbModel) -> None:
    rows, made = np.arange(20), []

    def make(generator: torch.Generator) -> move.Mover:
        made.append(move.Mover(model.codec, move.tensors(model.controls.cells.take(rows), True), generator))
        return made[-1]

    kept = movers.Movers(most=2)
    first, second, other = (torch.Generator().manual_seed(seed) for seed in (0, 0, 1))
    assert kept.get(rows, first, make) is kept.get(rows, second, make) is made[0]
    assert torch.equal(first.get_state(), second.get_state())
    assert not torch.equal(first.get_state(), torch.Generator().manual_seed(0).get_state())
    assert kept.get(rows, other, make) is made[1] and kept.get(rows + 1, other, make) is made[2]
    assert kept.get(rows, torch.Generator().manual_seed(0), make) is made[3]  # the oldest was let go
    small = movers.Movers(values=made[0].here.u.numel() - 1)
    assert small.get(rows, first, make) is not small.get(rows, first, make)


def test_twice_the_same_and_a_dose_without_doses_are_refused(job: JobDir, model: PerturbModel) -> None:
    with pytest.raises(ScdiffError, match="asked for twice"):
        list(predict(model, PredictConfig(run=job.id, perturbations=("G1+G2", "G2+G1"))))
    with pytest.raises(ScdiffError, match="trained without doses"):
        list(predict(model, PredictConfig(run=job.id, perturbations=("G1",), dose=1.0)))


def test_a_run_is_of_one_task(job: JobDir, model: PerturbModel) -> None:
    with pytest.raises(ScdiffError, match="does not generate cells"):
        Model.load(job)
    assert model.why() in model.ask("G1", n_cells=3).words


def test_stopped_and_resumed_gives_the_same_model(tmp_path: Path, data: Prepared, job: JobDir) -> None:
    config = job.config()
    other = Workspace(tmp_path).create(config, "run")
    for event in train(other, data, config, resume=False):
        if event.phase == "sets" and event.step > 902:
            (other.path / "stop").touch()
    (other.path / "stop").unlink(missing_ok=True)
    list(train(other, data, config, resume=True))
    a, b = (checkpoint.load(checkpoint.path_of(j, checkpoint.BEST))[0] for j in (job, other))
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_the_diffusion_makes_cells_round_the_same_mean(tmp_path: Path, data: Prepared) -> None:
    model = PerturbModel.load(trained(tmp_path, data, spread="diffusion", distribution_loss="energy"))
    made = model.ask("G3", n_cells=200)
    assert made.half == "diffusion" and "diffusion" in made.words
    want = made.control_mean + made.response.shift
    assert np.abs(np.asarray(made.log1p.mean(0)).ravel() - want).mean() < 0.35
    same_with_and_without_kept_movers(model)


def test_values_that_are_no_counts(tmp_path: Path) -> None:
    data = perturbed(values=keys.CONTINUOUS)
    model = PerturbModel.load(trained(tmp_path, data, spread="moved"))
    made = model.ask("G1+G2", n_cells=100)
    change = np.asarray(made.log1p.mean(0)).ravel() - means(data, "ctrl")
    real = means(data, "G1+G2") - means(data, "ctrl")
    assert np.corrcoef(change, real)[0, 1] > 0.85


def test_cells_that_are_not_moved_stay_what_they_are(model: PerturbModel) -> None:
    cells = move.tensors(model.controls.cells.take(np.arange(20)), True)
    mover = move.Mover(model.codec, cells, torch.Generator().manual_seed(0))
    values, total = mover.here.read(torch.zeros(model.codec.n_genes))
    same = (values == cells.values.dense()).float().mean()
    assert same > 0.999
    assert torch.allclose(total, cells.total, rtol=0.05)


def test_the_time_of_a_training_is_estimated(data: Prepared) -> None:
    few, many = (small_config(data, task="perturb", codec=STEPS["codec"], diffusion={"steps": n}) for n in (20, 20_000))
    moved = small_config(data, task="perturb", codec=STEPS["codec"], perturb=PerturbConfig(spread="moved"))
    assert estimate_seconds(data, moved) > 0
    assert estimate_seconds(data, many) > 2 * estimate_seconds(data, few) > 0


def test_data_without_controls_is_refused(tmp_path: Path, data: Prepared) -> None:
    roles = data.roles.model_copy(update={"control": "cntrl"})
    with pytest.raises(ScdiffError, match="cntrl"):
        Training(replace(data, roles=roles), small_config(data, task="perturb"))
    assert LABELS[0] == "ctrl"
