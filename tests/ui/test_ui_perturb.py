"""The Perturb page by AppTest: on fake predictions, it says what it must and refuses what it cannot do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_perturb import FakeModel, copied, fake_workspace, no_worker
from streamlit.testing.v1 import AppTest
from test_ui_pages import open_page, words

from scdiff_core import jobs, process
from scdiff_core.config_screen import ScreenConfig
from scdiff_core.data.prepared import Prepared
from scdiff_core.data.simulate import Truth
from scdiff_core.engine import screen as engine
from scdiff_core.engine import screens
from scdiff_core.selection import Selection
from scdiff_core.selections import Selections
from scdiff_core.workspace import JobDir, Workspace, read_json, write_json

PAIR, *MORE = (c for c in Truth.build(n_genes=250).conditions() if "+" in c)  # held out
NEVER = next(p for p in ("TF01-kd+TF05-kd", "TF01-kd+TF02-kd", "TF02-kd+TF04-kd") if p not in (PAIR, *MORE))
TABS = ("Overview", "Genes", "Marker figures", "Explore", "Programs", "Side by side", "Download")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a dataset, a run that is one by its files, and a prediction of three perturbations."""
    return fake_workspace(tmp_path_factory.mktemp("perturb"), ("TF01-kd", PAIR, NEVER), 900, 250, (PAIR,))


@pytest.fixture
def space(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The same for a test of its own, as the server's."""
    return copied(made, tmp_path / "w", monkeypatch)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What the page asks of the worker, which is not started."""
    return no_worker(monkeypatch)


Open = Callable[..., AppTest]


@pytest.fixture
def page(space: Workspace, asked: list[Any]) -> Open:
    """What opens the page."""
    def start(**state: Any) -> AppTest:
        at = open_page("perturb", dataset="screen", run="run", **state)
        assert not at.error, [e.value for e in at.error]
        return at

    return start


def press(at: AppTest, label: str) -> AppTest:
    at = next(b for b in at.button if b.label == label).click().run()
    assert not at.exception and not at.error, [e.value for e in at.error]
    return at


def run_of(space: Workspace) -> JobDir:
    return space.open("train", "run")


@pytest.mark.parametrize("tab", TABS)
def test_every_part_opens(page: Open, tab: str) -> None:
    at = page(**{"perturb-tabs": tab})
    said = words(at)
    assert "clear effect" in said and "moved controls" in said
    wanted = {"Overview": "started from", "Genes": "90 % interval", "Marker figures": "Dot size",
              "Explore": "Nothing selected", "Programs": "No gene sets yet", "Side by side": "How alike they are",
              "Download": "synthetic"}[tab]
    assert wanted in said


def test_predicted_cells_are_explored_like_all_others(page: Open) -> None:
    for tab in ("Compare", "Marker figures"):
        at = page(**{"perturb-tabs": "Explore", "perturb-explore-tabs": tab})
        assert not at.error and len(at.selectbox) > 2


def test_no_cell_is_promised_a_counterfactual_and_each_half_is_named(page: Open) -> None:
    said = words(page())
    assert "None of them is one of your control cells after treatment" in said
    assert "Control cells moved by the predicted mean; the diffusion was no better" in said


def test_measured_and_never_measured_perturbations_are_told_apart(page: Open) -> None:
    at = page()
    assert "in training" in words(at) and "flatters" in words(at)
    at = page(perturb_shown=NEVER)
    assert "never trained on" in words(at) and "Against the real cells" not in words(at)
    at = page(perturb_shown=PAIR)  # held out, so measured and not trained on
    assert "never trained on" in words(at) and "Against the real cells" in words(at) and "flatters" not in words(at)


def change_summary(space: Workspace, **values: Any) -> None:
    path = next(run_of(space).outputs.glob("*/summary.json"))
    told = read_json(path)
    told["perturbations"][0] |= values
    write_json(path, told)


def test_no_detectable_effect_is_an_answer(page: Open, space: Workspace) -> None:
    change_summary(space, effect="none")
    at = page()
    assert any("No detectable effect" in i.value for i in at.info)


def test_what_is_out_of_reach_is_told(page: Open, space: Workspace) -> None:
    change_summary(space, reach=0.95)
    at = page()
    assert any("Out of reach" in w.value for w in at.warning)


def test_a_prediction_is_asked_for_with_what_was_chosen(page: Open, asked: list[Any]) -> None:
    at = page()
    key = next(m.key for m in at.multiselect if m.key.startswith("perturbations-"))
    at.multiselect(key=key).set_value(["TF01-kd", "TF02-kd"]).run()
    next(s for s in at.selectbox if s.label == "Cell type").select("type_B").run()
    press(at, "Predict")
    values = next(v for op, v in asked if op == "predict")
    assert values["config"]["perturbations"] == ["TF01-kd", "TF02-kd"]
    assert values["config"]["where"] == {"cell_type": "type_B"} and values["selection"] is None
    assert "settings changed since" in words(at)


def test_the_order_of_a_typed_pair_does_not_matter(space: Workspace) -> None:
    from pages._perturb import shown

    prepared = Prepared.open(space.open("prepare", "screen"))
    assert shown.read_name(prepared, "+".join(NEVER.split("+")[::-1])) == NEVER
    assert shown.read_name(prepared, "control") == ""
    assert PAIR in shown.known(prepared).values() and PAIR not in shown.trained_on(prepared)


def test_a_saved_selection_confines_the_control_cells(page: Open, space: Workspace, asked: list[Any]) -> None:
    job = space.open("prepare", "screen")
    prepared = Prepared.open(job)
    kept = Selections(job, prepared.fingerprint)
    mask = np.zeros(prepared.n_cells, bool)
    mask[:200] = True
    kept.save(kept.keep(Selection({"real": mask})), "half of them")
    at = page()
    next(s for s in at.selectbox if s.label == "Saved selection").select("half of them").run()
    press(at, "Predict")
    values = next(v for op, v in asked if op == "predict")
    assert values["selection"]["name"] == "half of them" and values["selection"]["rows"]


def test_programs_are_told_from_the_gene_sets_of_the_workspace(page: Open, space: Workspace) -> None:
    genes = Prepared.open(space.open("prepare", "screen")).genes
    folder = space.root / "gene_sets"
    folder.mkdir()
    (folder / "mine.gmt").write_text("\t".join(["SET_ONE", "", *genes[30:60]]) + "\n"
                                     + "\t".join(["SET_TWO", "", *genes[60:90]]) + "\n")
    (folder / "broken.gmt").write_text("<html>no sets</html>")
    at = page(**{"perturb-tabs": "Programs", "program_sets": "mine"})
    assert "of 2 with adjusted p" in words(at)


def screened(space: Workspace) -> screens.Screen:
    run = run_of(space)
    prepared = Prepared.open(space.open("prepare", "screen"))
    asked = engine.ScreenConfig.model_validate({
        "run": "run", "items": [{"perturbation": n} for n in ("TF01-kd", "TF02-kd", "TF01-kd+TF02-kd", "TF03-kd")],
        "where": {"cell_type": "type_A"}, "n_cells": 40})
    steps = engine.screen(FakeModel(prepared), asked)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found, _ = end.value
            break
    return engine.write_screen(run.path / screens.SCREENS / "one", FakeModel(prepared), asked, found,
                               {"NOPE": "There is no embedding of NOPE."}, prepared, {"TF01-kd"}, 2.0, "My own list")


@pytest.mark.parametrize(("tab", "wanted"), [
    ("Ranking", "1 perturbation refused"), ("Map of perturbations", "Classical scaling"),
    ("Heat map", "perturbation"), ("Pairs", "in synergy"), ("Take along", "not measured")])
def test_a_screen_is_shown(page: Open, space: Workspace, tab: str, wanted: str) -> None:
    screened(space)
    assert wanted in words(page(perturb_mode="Screen", **{"screen-tabs": tab}))


def test_a_screen_is_started_as_a_job_and_found_again(page: Open, space: Workspace,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    def start(job: JobDir) -> None:  # a process is at work, of which this server knows by what is on disk alone
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
        job.write_status(state=jobs.RUNNING, pid=child.pid, pid_started=process.started_at(child.pid),
                         phase="predicting NOPE", step=500, total=1000)
        children.append(child)

    children: list[subprocess.Popen[bytes]] = []
    monkeypatch.setattr(jobs, "start", start)
    at = page(perturb_mode="Screen", **{"screen-kind": "My own list", "screen-own": "TF01-kd\nstimulus @ 0.5, NOPE"})
    press(at, "Screen")
    (job,) = screens.unfinished(run_of(space))
    assert [i.name for i in job.config().items] == ["TF01-kd", "stimulus @ 0.5", "NOPE"]
    again = page(perturb_mode="Screen")  # another visit knows of it by what is on disk
    assert any("Predicting NOPE · 50%" in str(p.proto) for p in again.get("progress"))
    assert next(b for b in again.button if b.label == "Screen").disabled
    next(b for b in again.button if b.label == "Cancel").click().run()
    assert job.stop_requested() and children[0].wait(timeout=30) != 0


def test_a_screen_that_came_to_nothing_says_so_and_can_be_started_again(
        page: Open, space: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(jobs, "start", lambda job: started.append(job.id))
    config = ScreenConfig.model_validate({"run": "run", "items": [{"perturbation": "NOPE"}]})
    job = screens.create(run_of(space), config)
    trouble = {"what": "Nothing in the list can be predicted.", "why": "W.", "fix": "F."}
    job.write_status(state=jobs.FAILED, error=trouble)
    at = open_page("perturb", dataset="screen", run="run", perturb_mode="Screen")
    assert any("Nothing in the list can be predicted" in e.value for e in at.error)
    next(b for b in at.button if b.label == "Start it again").click().run()
    assert started == [job.id]
    job.write_status(state=jobs.STOPPED, error=None)
    at = page(perturb_mode="Screen")
    assert "The screen of 1 perturbation was stopped before it was done" in words(at)
    press(at, "Take it away")
    assert not screens.unfinished(run_of(space))


def test_which_experiment_next_is_asked_for_among_what_was_not_measured(page: Open, asked: list[Any]) -> None:
    at = page(perturb_mode="What next?", **{"next-kind": "My own list", "next-own": f"TF01-kd\n{PAIR}"})
    assert "1 candidate that" in words(at)
    press(at, "What next?")
    assert next(v for op, v in asked if op == "next")["candidates"] == [PAIR]


def test_the_lists_are_what_they_say(space: Workspace) -> None:
    from pages._perturb import lists

    prepared = Prepared.open(space.open("prepare", "screen"))
    assert lists.suffix(prepared) == "-kd" and "TF01-kd" in lists.singles(prepared)
    new = lists.untouched(prepared, 5)
    assert len(new) == 5 and all(n.endswith("-kd") and n.startswith("GENE") for n in new)
    assert lists.between([0.1, 1.0]) == [0.1, 0.316, 1.0]


def test_without_a_model_of_perturbations_it_says_where_one_is_made(tmp_path: Path,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(tmp_path))
    at = open_page("perturb")
    assert not at.error and "No model of perturbations yet" in words(at)


def test_training_offers_the_task_where_there_are_perturbations(space: Workspace) -> None:
    from pages._train import start

    prepared = Prepared.open(space.open("prepare", "screen"))
    times = {start.estimate_key(prepared, t): dict.fromkeys(start.PRESETS, 60.0) for t in start.TASKS}
    at = open_page("train", dataset="screen", run="run", estimates=times)
    assert not at.error, [e.value for e in at.error]
    assert any(s.label == "Cells round the mean" for s in at.selectbox)
    at = open_page("train", dataset="screen", run="run", estimates=times, **{"train_task-screen": "generate"})
    assert not any(s.label == "Cells round the mean" for s in at.selectbox)
