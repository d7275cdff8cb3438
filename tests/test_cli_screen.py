"""`screen` as a command: which list, what is written, what is refused; and the job behind it, which outlives all."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from perturb_run import PAIR, trained_run

from scdiff_core import cli, jobs
from scdiff_core.config import validate
from scdiff_core.config_screen import Asked, ScreenConfig, all_pairs, read_list
from scdiff_core.engine import screens
from scdiff_core.workspace import JobDir, Workspace


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("screens")
    trained_run(root, ())
    return root


@pytest.fixture
def run(root: Path, monkeypatch: pytest.MonkeyPatch) -> JobDir:
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(root))
    return Workspace(root).open("train", "run")


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any], str]:
    code = cli.main(["screen", "run", *arguments])
    out, err = capsys.readouterr()
    return code, json.loads(out.splitlines()[-1]), err


def test_a_list_is_ranked_and_written_with_its_recipe(run: JobDir, tmp_path: Path,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    listed, out = tmp_path / "list.txt", tmp_path / "ranking.csv"
    listed.write_text("TF01-kd\nTF02-kd+TF01-kd, TF99-kd\n\nstimulus @ 0.5\n")
    code, done, err = call(capsys, "--perturbations", str(listed), "--cells", "20", "--where", "cell_type=type_A",
                           "--out", str(out))
    assert code == 0 and done["n"] == 3 and list(done["refused"]) == ["TF99-kd"] and "Refused: TF99-kd" in err
    table = pd.read_csv(out)
    assert set(table["perturbation"]) == {"TF01-kd", "TF01-kd+TF02-kd", "stimulus @ 0.5"}
    assert table["strength"].is_monotonic_decreasing and done["strongest"] == table["perturbation"].tolist()
    recipe = json.loads(out.with_suffix(".json").read_text())
    assert recipe["kind"] == "screen" and recipe["synthetic"] and recipe["config"]["n_cells"] == 20
    # the very job of the page: its list, its status and what came of it are one directory
    kept = screens.list_screens(run)[0]
    assert kept.id == done["screen"] and jobs.watch(JobDir(kept.path, "screen")).state == jobs.FINISHED
    assert Path(done["cells"]).is_file() and not screens.unfinished(run)


def test_all_singles_and_all_pairs_come_from_the_data(run: JobDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[ScreenConfig] = []
    from scdiff_core.engine import screen_job

    monkeypatch.setattr(screen_job, "run_screen", lambda job, config, tell: asked.append(config))
    call(capsys, "--all-singles")
    assert "TF01-kd" in (names := [i.perturbation for i in asked[-1].items]) and not any("+" in n for n in names)
    call(capsys, "--all-pairs")
    assert len(asked[-1].items) == len(names) * (len(names) - 1) / 2
    listed = tmp_path / "few.txt"
    listed.write_text("TF03-kd\nTF01-kd\nTF02-kd")
    call(capsys, "--all-pairs", "--perturbations", str(listed), "--dose", "0.5,2")
    assert [i.name for i in asked[-1].items][:3] == ["TF01-kd+TF03-kd @ 0.5", "TF01-kd+TF03-kd @ 2",
                                                     "TF02-kd+TF03-kd @ 0.5"]
    assert asked[-1].title == "all pairs"
    for nothing in screens.unfinished(run):
        screens.discard(nothing)


@pytest.mark.parametrize(("arguments", "said"), [
    ((), "No list was given"),
    (("--perturbations", "nowhere.txt"), "There is no such file"),
    (("--perturbations", "{}/empty.txt"), "No line names a perturbation"),
    (("--perturbations", "{}/binary.txt"), "It is no text"),
    (("--all-pairs", "--perturbations", "{}/one.txt"), "The list has 1 perturbation"),
    (("--perturbations", "{}/one.txt", "--dose", "1+1"), "'1+1' is no dose"),
    (("--perturbations", "{}/one.txt", "--out", "ranking.xlsx"), "End the name in .csv"),
    (("--perturbations", "{}/one.txt", "--where", "cell_type"), "--where takes COL=VALUE"),
    (("--perturbations", "{}/one.txt", "--where", "cell_type=nowhere"), "nowhere"),
    (("--perturbations", "{}/unknown.txt"), "Nothing in the list can be predicted"),
])
def test_a_wrong_list_says_what_why_and_fix_and_leaves_nothing(
        run: JobDir, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str) -> None:
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00\x01")
    (tmp_path / "one.txt").write_text("TF01-kd")
    (tmp_path / "unknown.txt").write_text("XYZ1\nXYZ2+TF01-kd")
    before = {s.id for s in screens.list_screens(run)}
    code, last, err = call(capsys, *(a.format(tmp_path) for a in arguments))
    assert code == 2 and said in err and "Traceback" not in err and set(last["error"]) == {"what", "why", "fix"}
    assert {s.id for s in screens.list_screens(run)} == before and not screens.unfinished(run)


def test_a_screen_goes_on_without_the_one_who_started_it_and_is_found_again(run: JobDir) -> None:
    job = screens.create(run, config(["TF01-kd", "TF02-kd", PAIR]))
    jobs.start(job)
    jobs._spawned.clear()  # as a server that was started anew: it knows nothing but what is on disk
    assert [j.id for j in screens.unfinished(run)] == [job.id]
    assert wait(job, lambda s: not s.active).state == jobs.FINISHED
    assert not screens.unfinished(run) and screens.list_screens(run)[0].id == job.id
    assert len(screens.Screen(job.path).ranking()) == 3


def test_a_screen_is_cancelled_and_can_be_started_again(run: JobDir) -> None:
    job = screens.create(run, config([f"TF{i:02d}-kd" for i in range(1, 11)] * 1, n_cells=400))
    jobs.start(job)
    wait(job, lambda s: s.state == jobs.RUNNING)
    jobs.stop(job)
    assert wait(job, lambda s: not s.active).state == jobs.STOPPED
    assert [j.id for j in screens.unfinished(run)] == [job.id]
    assert job.id not in {s.id for s in screens.list_screens(run)}
    screens.discard(job)
    assert not screens.unfinished(run)


def config(names: list[str], **more: Any) -> ScreenConfig:
    return validate(ScreenConfig, {"run": "run", "items": [{"perturbation": n} for n in names], "n_cells": 20, **more},
                    "The test")


def wait(job: JobDir, done: Any, seconds: float = 300.0) -> jobs.Status:
    until = time.monotonic() + seconds
    while not done(status := jobs.watch(job)):
        assert time.monotonic() < until, status
        assert status.active or done(status), status
        time.sleep(0.2)
    return status


def test_lists_are_read_as_they_are_written() -> None:
    assert read_list("A\n\nB @ 2, C;A") == [Asked(perturbation="A"), Asked(perturbation="B", dose=2.0),
                                            Asked(perturbation="C")]
    assert read_list("\ufeffA @ 1+1") == [Asked(perturbation="A @ 1+1")]  # refused by its name, not taken as A
    assert all_pairs(["b", "a", "c", "a"]) == ["a+b", "b+c", "a+c"]
