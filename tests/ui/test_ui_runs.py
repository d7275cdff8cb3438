"""The Runs page's reports: absent, under way, there, out of date, and two of them side by side."""

from __future__ import annotations

import html
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest
from test_ui_pages import open_page, words

from pages._runs import making
from pages._shared.trouble import escape
from scdiff_core import demo_model, keys
from scdiff_core.analysis import by_type, report_card
from scdiff_core.analysis.perturb import card
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine import outputs, report_full
from scdiff_core.workspace import JobDir, Workspace, write_json


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's workspace with the report of its run; real training cells play the generated ones."""
    root = tmp_path_factory.mktemp("reported")
    space = Workspace(root)
    demo_model.install(space)
    job = space.open("train", demo_model.NAME)
    prepared = Prepared.open(space.open("prepare", demo_model.NAME))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_card, "THOROUGH", (5, 5, 2))
        patch.setattr(by_type, "TREES", 5)
        report_full.make(job, prepared, lambda asked, tell: as_generated(prepared), n_cells=120)
    return root


def as_generated(prepared: Prepared) -> Any:
    """Training cells in the shape that the engine gives to generated ones."""
    import pandas as pd
    from anndata import AnnData

    rows = prepared.rows(keys.TRAIN)[:120]
    obs = prepared.obs.iloc[rows][list(prepared.roles.columns().values())].copy()
    cells = AnnData(prepared.counts[rows], obs=obs, var=pd.DataFrame(index=prepared.genes),
                    layers={keys.LOG1P: prepared.log1p(rows)})
    cells.obs[keys.TOTAL_COUNTS] = prepared.total_counts[rows]
    cells.uns[keys.SCDIFF] = json.dumps({"run": "demo", "seed": 0})
    return cells


def copy_of(root: Path, to: Path) -> Workspace:
    """A copy that a test may change; times of files stay."""
    shutil.copytree(root, to)
    return Workspace(to)


def open_runs(root: Path, monkeypatch: pytest.MonkeyPatch, tab: str = "Report") -> AppTest:
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(root))
    at = open_page("runs", dataset=demo_model.NAME, run=demo_model.NAME, runs_tabs=tab)
    assert not at.error, [e.value for e in at.error]
    return at


def tables(at: AppTest) -> list[list[str]]:
    return [list(map(str, d.value.columns)) for d in at.dataframe]


def test_without_a_report_there_is_a_button_and_what_it_will_do(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo_model.install(Workspace(tmp_path))
    at = open_runs(tmp_path, monkeypatch)
    assert "No report of this run yet" in words(at) and "one to three minutes" in words(at)
    assert at.button(key="make_report").label == "Make the report"
    at = open_runs(tmp_path, monkeypatch, "Two runs side by side")
    assert any("Two runs with a report are needed, and none has one yet" in i.value for i in at.info)


def test_a_run_without_a_model_says_why_there_is_no_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo_model.install(Workspace(tmp_path))
    (tmp_path / "runs" / demo_model.NAME / "checkpoints" / "best.safetensors").unlink()
    at = open_runs(tmp_path, monkeypatch)
    assert any("no trained model" in i.value for i in at.info)
    assert not [b for b in at.button if b.key == "make_report"]


def test_a_report_is_shown_with_its_tables_figures_and_downloads(
        reported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at = open_runs(reported, monkeypatch)
    values = report_full.read_report(Workspace(reported).open("train", demo_model.NAME))
    assert values is not None
    card = next(h.proto.body for h in at.get("html") if "report-table" in h.proto.body)
    said = card.replace("&nbsp;", " ")
    assert all(r["title"] in said and html.escape(r["sentence"]) in said for r in values["rows"])
    assert any(t[:2] == ["type", "cells"] for t in tables(at))
    assert [f["columns"] for f in values["figures"] if f["columns"] in tables(at)] == \
        [f["columns"] for f in values["figures"]]
    assert all(f"**{escape(f['title'])}**" in words(at) for f in values["figures"])
    assert {b.proto.label for b in at.get("download_button")} >= {"Report (.html)", "Figures (.json)"}
    pictures = [h.proto.body for h in at.get("html") if "report-figure" in h.proto.body]
    assert len(pictures) == len(values["figures"]) and all("alt=" in p for p in pictures)
    assert not [b for b in at.button if b.key == "make_report"]


def test_an_outdated_report_stays_and_can_be_made_anew(
        reported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = copy_of(reported, tmp_path / "w")
    job = space.open("train", demo_model.NAME)
    job.write_status(step=int(job.status()["step"]) + 1)
    at = open_runs(space.root, monkeypatch)
    assert any("trained on since this report was made" in w.value for w in at.warning)
    assert at.button(key="make_report") is not None
    assert any("report-table" in h.proto.body for h in at.get("html"))


def test_two_runs_stand_side_by_side(reported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = copy_of(reported, tmp_path / "w")
    shutil.copytree(space.folder("train") / demo_model.NAME, space.folder("train") / "other")
    other = space.open("train", "other")
    other.write_notes(title="The *other*")
    values = report_full.read_report(other)
    assert values is not None
    recall = next(r for r in values["rows"] if r["key"] == "recall")
    recall["value"] = 0.0
    values["recipe"]["seed"] = 99
    write_json(report_full.folder(other) / report_full.JSON, values)
    at = open_runs(space.root, monkeypatch, "Two runs side by side")
    table = next(d.value for d in at.dataframe if "which is better" in d.value.columns)
    told = dict(zip(table["figure"], table["which is better"], strict=True))
    assert told["Recall"].endswith("is better") and "other" not in told["Recall"]
    assert told["MMD"] == "no difference beyond chance"
    settings = next(d.value for d in at.dataframe if "setting" in d.value.columns)
    assert settings["setting"].tolist() == ["seed"]
    assert "Both (.html)" in {b.proto.label for b in at.get("download_button")}
    at.selectbox(key="beside_1").select(at.selectbox(key="beside_0").value).run()
    assert "Choose two different runs" in words(at)


class Said:
    """A request to the worker whose messages a test writes."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.messages, self.ended, self.cancelled = list(messages), False, False

    def poll(self) -> list[dict[str, Any]]:
        new, self.messages = self.messages, []
        self.ended = self.ended or any("error" in m or "done" in m for m in new)
        return new

    def cancel(self) -> None:
        self.cancelled = True


class FakeWorker:
    """A worker that answers with what it was made with."""

    def __init__(self, said: Said) -> None:
        self.said, self.asked, self.closed = said, {}, False

    def request(self, op: str, **values: Any) -> Said:
        self.asked = {"op": op, **values}
        return self.said

    def close(self) -> None:
        self.closed = True


def fake(monkeypatch: pytest.MonkeyPatch, *messages: dict[str, Any]) -> FakeWorker:
    worker = FakeWorker(Said(*messages))
    monkeypatch.setattr(making, "_worker", lambda root: worker)
    kept: dict[str, Any] = {}
    monkeypatch.setattr(making, "_asked", lambda: kept)
    return worker


def test_a_report_under_way_can_be_followed_and_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo_model.install(Workspace(tmp_path))
    worker = fake(monkeypatch, {"phase": "Drawing: map", "progress": 0.9})
    at = open_runs(tmp_path, monkeypatch)
    at.button(key="make_report").click().run()
    assert worker.asked["op"] == "full" and JobDir(Path(worker.asked["run"]), "train").id == demo_model.NAME
    assert worker.asked["n_cells"] == report_full.CELLS
    assert any("Drawing: map · 90%" in p.proto.text for p in at.get("progress"))
    assert not [b for b in at.button if b.key == "make_report"]
    at.button(key="cancel_report").click().run()
    assert worker.said.cancelled and not at.exception
    assert at.button(key="make_report") is not None


def test_a_report_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo_model.install(Workspace(tmp_path))
    fake(monkeypatch, {"error": {"what": "No report.", "why": "The dataset is gone.", "fix": "Bring it back."}})
    at = open_runs(tmp_path, monkeypatch)
    at.button(key="make_report").click().run()
    assert any("The dataset is gone" in e.value for e in at.error)
    assert at.button(key="make_report") is not None
    assert outputs.list_sets(Workspace(tmp_path).open("train", demo_model.NAME)) is not None


@pytest.fixture(scope="module")
def predicts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a small model of perturbations and its report; the six scores, which take long, are made up."""
    from perturb_run import PAIR, PAIRS, trained_run

    root = tmp_path_factory.mktemp("predicts")
    prepared, job = trained_run(root, (PAIR, *PAIRS[:9]))

    def six(bench: Any, conditions: Any, cells: Any, *more: Any) -> dict[str, Any]:
        names = [card.name_of(c) for c in conditions]
        values = {m: dict.fromkeys(names, 0.5 + 0.1 * i) for i, m in enumerate(cells)}
        values["mean response"] = dict.fromkeys(names, 0.0)
        return {"seed": 0, "replicate": {"pds_cosine": 1.0},
                "methods": {m: {"pds_cosine": of} for m, of in values.items()}}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(card, "six", six)
        report_full.make(job, prepared, lambda asked, tell: None)
    return root


def open_predicts(root: Path, monkeypatch: pytest.MonkeyPatch, tab: str = "Report") -> AppTest:
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(root))
    at = open_page("runs", dataset="screen", run="run", runs_tabs=tab)
    assert not at.error, [e.value for e in at.error]
    return at


def test_the_report_of_a_model_of_perturbations_is_shown_with_every_baseline(
        predicts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at = open_predicts(predicts, monkeypatch)
    values = report_full.read_report(Workspace(predicts).open("train", "run"), report_full.PERTURB)
    assert values is not None and f"**{escape(values['sentence'])}**" in words(at)
    said = " ".join(h.proto.body for h in at.get("html") if "report-table" in h.proto.body)
    for method in ("this model", "additive", "mean response", "nearest", "linear", "latent arithmetic", "floor"):
        assert method in said
    assert all(c["perturbation"] in said for c in values["conditions"]) and "E-distance" in said
    told = " ".join([*(w.value for w in at.warning), *(s.value for s in at.success)])
    assert all(escape(line) in told for line in values["lines"])
    assert "Six scaled scores" in words(at) and "Which half earned what" in words(at)
    assert {b.proto.label for b in at.get("download_button")} >= {"Report (.html)", "Figures (.json)"}
    pictures = [h.proto.body for h in at.get("html") if "report-figure" in h.proto.body]
    assert len(pictures) == len(values["figures"])


def test_a_model_of_perturbations_without_a_report_says_what_one_holds(
        predicts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = copy_of(predicts, tmp_path / "w")
    shutil.rmtree(report_full.folder(space.open("train", "run")))
    at = open_predicts(space.root, monkeypatch)
    assert "holds them against the real cells beside every baseline" in words(at)
    assert at.button(key="make_report").label == "Make the report"


def test_reports_of_two_kinds_are_not_laid_side_by_side(predicts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at = open_predicts(predicts, monkeypatch, "Two runs side by side")
    assert any("none has one yet" in i.value for i in at.info)


def test_the_curves_of_a_model_of_perturbations_are_of_its_own_phases(
        predicts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = copy_of(predicts, tmp_path / "w")
    metrics = space.open("train", "run").path / "metrics.jsonl"
    metrics.unlink(missing_ok=True)
    assert "No curve yet." in words(open_predicts(space.root, monkeypatch, "Learning"))
    rows = [{"phase": phase, "step": step, "loss_train": 1.0, "loss_test": 1.0 / step}
            for phase in ("codec", "sets") for step in (1, 2)]
    metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = words(open_predicts(space.root, monkeypatch, "Learning"))
    assert "describe each cell in a few numbers" in said and "move a set of cells" in said
    assert "make new cells" not in said
