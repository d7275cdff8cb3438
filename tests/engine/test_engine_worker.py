"""What the worker does, on a small model that is really trained, and the same by the command line."""

import json
import os
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
from helpers import prepared_tiny

from scdiff_core import cli, jobs, keys
from scdiff_core import config as cfg
from scdiff_core.analysis import report_card
from scdiff_core.analysis.report_card import Report
from scdiff_core.config import TrainConfig
from scdiff_core.engine import outputs, report_full, run_job
from scdiff_core.engine.worker import Service
from scdiff_core.engine.worker_loop import Cancelled
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir, Workspace


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> JobDir:
    """A finished run of a small dataset."""
    root = tmp_path_factory.mktemp("w")
    prepared = prepared_tiny(root)
    job = Workspace(root).create(TrainConfig.model_validate({
        "dataset": "tiny", "fingerprint": prepared.fingerprint, "device": "cpu", "threads": 1,
        "codec": {"steps": 40, "n_latent": 4, "hidden": [16], "minibatch": 32},
        "diffusion": {"steps": 60, "width": 16, "depth": 1, "minibatch": 32}}), "r")
    assert run_job.run_job(job.path) == run_job.OK
    return job


@pytest.fixture
def service(run: JobDir) -> Service:
    """What the worker's process holds."""
    return Service(Workspace(run.path.parent.parent))


def ask(service: Service, op: str, **values: Any) -> dict[str, Any]:
    return service.answer(op, values, lambda phase, share: None)


def command(capsys: pytest.CaptureFixture[str], run: JobDir, *arguments: str) -> dict[str, Any]:
    code = cli.main([*arguments, "--workspace", str(run.path.parent.parent)])
    out, err = capsys.readouterr()
    assert code == 0, err
    return json.loads(out.splitlines()[-1])


def test_a_run_records_its_training(run: JobDir) -> None:
    status = jobs.watch(run)
    assert (status.state, status.fraction) == (jobs.FINISHED, 1.0)
    assert {row["phase"] for row in run.metrics()} == {"codec", "calibrate", "diffusion"}
    assert run.status()["used_device"] == "cpu"


def test_generated_cells_have_their_places_and_their_report_card(service: Service, run: JobDir) -> None:
    made = outputs.GeneratedSet(outputs.new_path(run))
    told: list[float] = []
    result = service.answer("generate", {"run": run.id, "config": {"n_cells": 60, "where": {"cell_type": "T"}},
                                         "out_dir": str(made.path)}, lambda phase, share: told.append(share))
    assert (result["n_cells"], result["note"]) == (60, "")
    assert told == sorted(told) and len(told) > cfg.GenerateConfig(run="r").steps
    cells, view = made.cells(), made.view()
    assert set(cells.obs["cell_type"]) == {"T"}
    assert cells.obs[keys.SYNTHETIC].all()
    assert np.array_equal(cells.X.data, np.round(cells.X.data))
    assert view is not None and bool(view["exact"])
    prepared = outputs.open_dataset(service.workspace, "tiny", run.config().fingerprint)
    np.testing.assert_allclose(
        view["xy"], outputs.umap_of(prepared).transform(prepared.project(cells.layers[keys.LOG1P])), atol=1e-3)
    report = Report.from_dict(ask(service, "report", out_dir=str(made.path))["report"])
    assert report.to_dict() == made.report()
    assert report.n_cells <= 60
    assert {"rf_genes", "mmd"} <= {row.key for row in report.rows}


def test_what_is_loaded_stays_loaded_until_it_changes(service: Service, run: JobDir) -> None:
    ask(service, "warm", run=run.id)
    model = service.model(run)
    assert service.model(run) is model
    best = next(run.checkpoints.glob("best*"))
    os.utime(best, (0, 0))
    os.utime(best)
    assert service.model(run) is not model
    config = run.config()
    assert service.dataset("tiny", config.fingerprint) is service.beside(config)[0]
    assert len(service.models.items) == 2


def test_a_request_that_is_not_wanted_stops_between_two_steps(service: Service, run: JobDir) -> None:
    told: list[str] = []

    def tell(phase: str, share: float) -> None:
        told.append(phase)
        if told.count("generating") == 3:
            raise Cancelled

    where = outputs.new_path(run)
    with pytest.raises(Cancelled):
        service.answer("generate", {"run": run.id, "config": {"n_cells": 5}, "out_dir": str(where)}, tell)
    assert told[-1] == "generating" and not where.exists()


def test_the_time_of_each_preset_is_measured(service: Service) -> None:
    seconds = ask(service, "estimate", dataset="tiny", presets=["quick", "thorough"])["seconds"]
    assert 0 < seconds["quick"] < seconds["thorough"]
    with pytest.raises(ScdiffError, match="no preset 'quik'"):
        ask(service, "estimate", dataset="tiny", presets=["quik"])


def test_a_copied_run_generates_elsewhere_without_its_dataset(run: JobDir, tmp_path: Path) -> None:
    import shutil

    elsewhere = Service(Workspace(tmp_path))
    shutil.copytree(run.path, elsewhere.workspace.folder("train") / "copy")
    job = elsewhere.workspace.open("train", "copy")
    made = outputs.GeneratedSet(outputs.new_path(job))
    result = ask(elsewhere, "generate", run=str(job.path), config={"n_cells": 4}, out_dir=str(made.path))
    assert "no dataset 'tiny'" in result["note"]
    assert made.cells().n_obs == 4
    assert made.view() is None
    with pytest.raises(ScdiffError, match="no dataset 'tiny'"):
        ask(elsewhere, "report", out_dir=str(made.path))


def test_the_command_line_makes_the_same_cells_as_the_worker(
        service: Service, run: JobDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = outputs.GeneratedSet(outputs.new_path(run))
    ask(service, "generate", run=run.id, out_dir=str(made.path),
        config={"n_cells": 12, "seed": 5, "steps": 6, "where": {"cell_type": "B"}, "guidance_scale": 2.0})
    told = command(capsys, run, "generate", "r", "--cells", "12", "--seed", "5", "--steps", "6", "--where",
                   "cell_type=B", "--guidance-scale", "2", "--out", str(tmp_path / "c.h5ad"))
    assert (told["run"], told["n_cells"], told["seed"]) == ("r", 12, 5)
    cells = anndata.read_h5ad(told["out"])
    assert (cells.X != made.cells().X).nnz == 0
    assert json.loads(cells.uns[keys.SCDIFF])["config"] == made.recipe()["config"]


def test_the_report_of_the_command_line_is_made_once(
        run: JobDir, tmp_path: Path, capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_card, "THOROUGH", (20, 20, 2))
    page, figures = tmp_path / "r.html", tmp_path / "r.json"
    told = command(capsys, run, "report", "r", "--cells", "50", "--out", str(page), "--json", str(figures))
    assert told["figures"]["rf_genes"].keys() == {"value", "floor", "verdict"}
    assert json.loads(figures.read_text())["sentence"] == told["sentence"]
    assert "synthetic" in page.read_text()
    made = report_full.read_report(run)
    assert made is not None and made == json.loads(figures.read_text())
    assert command(capsys, run, "report", "r", "--cells", "50")["report"] == told["report"]
    alone = tmp_path / "alone.html"
    assert command(capsys, run, "report", "r", "--cells", "50", "--out", str(alone))["json"] == str(
        alone.with_suffix(".json"))
    assert report_full.read_report(run) == made  # nothing was made again
    assert json.loads(alone.with_suffix(".json").read_text()) == made


def test_the_worker_makes_the_same_full_report(service: Service, run: JobDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_card, "THOROUGH", (20, 20, 2))
    told: list[tuple[str, float]] = []
    result = service.answer("full", {"run": run.id, "n_cells": 40}, lambda words, share: told.append((words, share)))
    assert [share for _, share in told] == sorted(share for _, share in told) and told[-1][1] == 1
    assert {"generating", "Comparing the generated cells", "Drawing: map"} <= {words for words, _ in told}
    values = report_full.read_report(run)
    assert values is not None and values["generated"]["config"]["n_cells"] == 40
    assert Path(result["page"]).read_text().count("data:image/svg+xml") == len(values["figures"])


def test_a_training_by_the_command_line_is_a_run_like_any_other(
        run: JobDir, capsys: pytest.CaptureFixture[str]) -> None:
    told = command(capsys, run, "train", "tiny", "--preset", "quick", "--name", "mine", "--device", "cpu",
                   "--seed", "3", "--set", "codec.steps=20", "--set", "codec.hidden=[16]", "--set",
                   "diffusion.steps=20", "--set", "diffusion.width=16", "--set", "threads=1")
    job = Workspace(run.path.parent.parent).open("train", "mine")
    assert (told["run"], told["state"], told["path"]) == ("mine", "finished", str(job.path))
    config = job.config()
    assert (config.preset, config.seed, config.codec.steps, config.codec.hidden) == ("quick", 3, 20, (16,))
    assert jobs.watch(job).state == jobs.FINISHED
    assert job.metrics()[-1]["step"] == told["step"] == told["total"]
    assert {"mine", "r"} <= {row["run"] for row in command(capsys, run, "runs")["runs"]}
    assert [row["name"] for row in command(capsys, run, "datasets")["datasets"]] == ["tiny"]
