"""Every page by AppTest: on an empty workspace, on the demo, and on what is broken."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from scdiff_core import demo_model
from scdiff_core.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("home", "data", "train", "generate", "design", "perturb", "runs", "methods")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that holds the demo's dataset and run."""
    root = tmp_path_factory.mktemp("demo")
    demo_model.install(Workspace(root))
    return root


def open_page(name: str, **ids: str) -> AppTest:
    """Run one page as a visitor sees it who has come by way of Home."""
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    for key, value in ids.items():
        at.session_state[key] = value
    at.run()
    if name != "home":
        at.switch_page(f"pages/{name}.py").run()
    assert not at.exception, [e.value for e in at.exception]
    return at


def words(at: AppTest) -> str:
    """Return everything a page says, for a look at what stands on it."""
    kinds = ("title", "subheader", "caption", "markdown", "info", "warning", "error")
    return "\n".join(str(e.value) for kind in kinds for e in getattr(at, kind))


@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens_on_an_empty_workspace_and_says_what_is_missing(
        name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(tmp_path))
    at = open_page(name)
    assert not at.error
    said = words(at)
    wanted = {"home": "No code", "data": "Bring your cells in", "train": "no prepared dataset",
              "generate": "No trained model", "design": "No trained model", "perturb": "No model of perturbations",
              "runs": "No model has been trained", "methods": "No model"}[name]
    assert wanted in said


@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens_on_the_demo(name: str, demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(demo))
    at = open_page(name, dataset=demo_model.NAME, run=demo_model.NAME)
    assert not at.error, [e.value for e in at.error]
    assert "Demo" in words(at) or demo_model.NAME in words(at) or demo_model.NAME in str(
        [s.options for s in at.selectbox])


def test_roles_of_generate_follow_the_dataset(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(demo))
    at = open_page("generate", dataset=demo_model.NAME, run=demo_model.NAME)
    condition = next(s for s in at.selectbox if "as in the data" in s.options)
    assert {"as in the data", "any", "CD14+ Monocyte"} <= set(condition.options)


def test_a_broken_config_is_told_and_the_other_runs_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo_model.install(Workspace(tmp_path))
    broken = tmp_path / "runs" / "broken"
    shutil.copytree(tmp_path / "runs" / demo_model.NAME, broken)
    (broken / "config.yaml").write_text("kind: train\n  format: [\n")
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(tmp_path))
    at = open_page("train", dataset=demo_model.NAME, run="broken")
    assert any("config.yaml" in e.value for e in at.error)
    assert "Traceback" not in words(at)
    at = open_page("runs", run=demo_model.NAME)
    assert not at.exception and set(at.selectbox[0].options) == {"Demo: blood cells"}


def test_a_run_from_a_newer_version_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo_model.install(Workspace(tmp_path))
    config = tmp_path / "runs" / demo_model.NAME / "config.yaml"
    config.write_text(config.read_text().replace("format: 1", "format: 99"))
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(tmp_path))
    at = open_page("generate", dataset=demo_model.NAME, run=demo_model.NAME)
    assert any("newer version" in e.value for e in at.error)


def test_a_run_whose_dataset_was_prepared_again_is_not_compared(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo_model.install(Workspace(tmp_path))
    config = tmp_path / "runs" / demo_model.NAME / "config.yaml"
    lines = [("fingerprint: other" if line.startswith("fingerprint:") else line)
             for line in config.read_text().splitlines()]
    config.write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(tmp_path))
    at = open_page("generate", dataset=demo_model.NAME, run=demo_model.NAME)
    assert any("not the one this run was trained on" in e.value for e in at.error)


def test_renaming_a_run_is_written_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo_model.install(Workspace(tmp_path))
    run = Workspace(tmp_path).open("train", demo_model.NAME)
    run.write_notes(title="My blood", note="first try")
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(tmp_path))
    at = open_page("runs", run=demo_model.NAME)
    assert at.selectbox[0].options == ["My blood"]
    assert json.loads((run.path / "notes.json").read_text())["note"] == "first try"


def test_a_demo_is_opened_and_its_perturbations_held_out_by_a_click(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scdiff_core.data.inspect import inspect

    monkeypatch.setenv("SCDIFF_WORKSPACE", str(tmp_path))
    monkeypatch.setattr("scdiff_core.jobs.start", lambda job: None)  # looked at here, not in a process of its own
    at = open_page("data")
    at.session_state["source_way"] = "A demo"
    at.run()
    next(b for b in at.button if b.key == "open-perturb").click().run()
    job = Workspace(tmp_path).list("inspect")[0]
    assert job.config().source == "demo:perturb"
    inspect(job.config(), job, lambda words, share: None)
    (job.path / "status.json").write_text(json.dumps({"state": "finished", "step": 1, "total": 1}))
    at.run()
    hold = next(s for s in at.selectbox if s.label == "Hold out all cells of")
    hold.select_index([o.startswith("Unseen perturbed cells of a cell type") for o in hold.options].index(True)).run()
    next(s for s in at.selectbox if s.label == "Which").set_value("type_B").run()
    assert "the same perturbation is in training elsewhere" in words(at).replace("\\", "")
    next(b for b in at.button if b.key == "prepare").click().run()
    assert not at.exception and not at.error
    asked = Workspace(tmp_path).list("prepare")[0].config()
    assert asked.hold_out[0].column == "perturbation"
    assert [(a.column, a.values) for a in asked.hold_out[0].also] == [("cell_type", ("type_B",))]
