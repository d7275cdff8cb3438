"""The command line as a user meets it: what it prints where, and how it ends. Trainings are stand-ins."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from scdiff_core import cli, cli_tools, jobs
from scdiff_core.config import TrainConfig
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import Workspace

ROOT = Path(__file__).parent.parent
FAKES = Path(__file__).parent / "fakes"


@pytest.fixture(autouse=True)
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """An empty workspace, which the commands take from the environment."""
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(tmp_path / "w"))
    return Workspace()


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Run a command in this process; return its exit code, the last line of stdout and stderr."""
    code = cli.main(arguments)
    out, err = capsys.readouterr()
    return code, json.loads(out.splitlines()[-1]), err


def start(*arguments: str, **settings: str) -> "subprocess.Popen[str]":
    """Start a command whose engine is a stand-in."""
    return subprocess.Popen(
        [sys.executable, "-m", "scdiff_core", *arguments], cwd=ROOT, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(FAKES), "FAKE_ENGINE": "train", **settings})


@pytest.mark.parametrize(("arguments", "said"), [
    (["trian", "x"], "Did you mean 'train'"),
    (["analyse", "x"], "No such command 'analyse'"),
    (["generate", "x"], "Missing option '--cells'"),
    (["generate", "x", "--cells", "many"], "valid integer"),
    (["generate", "x", "--cells", "5", "--wehre", "a=b"], "No such option: --wehre"),
    (["generate", "x", "--cells", "5", "--out", "F.xlsx"], "No cells are written under that ending"),
    (["generate", "x", "--cells", "5", "--out", "F.h5ad"], "holds none yet"),
    (["train"], "Neither a dataset nor a run"),
    (["train", "d", "--resume", "r"], "keeps those it began with"),
    (["train", "d"], "holds none yet"),
    (["report", "x"], "holds none yet"),
    (["prepare", "nowhere.h5ad", "--name", "a"], "Looked for it at"),
    (["prepare", "demo:pbmc68k", "--name", "../a"], "A name has letters"),
    (["prepare", "demo:pbmc68k", "--name", "a", "--genes", "few"], "whole number, or 'all'"),
    (["prepare", "demo:pbmc68k", "--name", "a", "--control", "ctrl"], "--control needs the column"),
    (["prepare", "demo:pbmc68k", "--name", "a", "--hold-out", "donor"], "--hold-out takes COL=VALUE"),
    (["prepare", "demo:pbmc68k", "--name", "a", "--test-fraction", "2"], "less than 1"),
    (["prepare", "demo:pbmc68k", "--name", "a", "--no-qc", "--min-genes", "3"], "--no-qc says to keep all"),
    (["prepare", "demo:pbmc68k", "--name", "a", "--orientation", "up"], "genes_in_rows"),
])
def test_a_mistake_exits_2_with_what_why_and_fix(
        capsys: pytest.CaptureFixture[str], space: Workspace, arguments: list[str], said: str) -> None:
    code, last, err = call(capsys, *arguments)
    assert code == 2
    assert [line.split(":")[0] for line in err.splitlines()[-3:]] == ["What", "Why", "Fix"]
    assert said in err
    assert "Traceback" not in err
    assert set(last["error"]) == {"what", "why", "fix"}
    assert not space.root.exists()  # nothing was made


def test_lists_are_json_on_stdout_and_a_table_on_stderr(
        capsys: pytest.CaptureFixture[str], space: Workspace) -> None:
    code, last, err = call(capsys, "runs")
    assert (code, last) == (0, {"runs": []})
    assert "no runs yet" in err
    space.create(TrainConfig(dataset="d", fingerprint="f", preset="quick"), "a").write_status(state="finished")
    (space.create(TrainConfig(dataset="d", fingerprint="f"), "b").path / "config.yaml").write_text("kind: [")
    code, last, err = call(capsys, "runs")
    assert code == 0
    assert [(r["run"], r["state"], r["preset"]) for r in last["runs"]] == \
        [("b", "failed", None), ("a", "finished", "quick")]
    assert "not valid yaml" in last["runs"][0]["error"]["why"]
    assert err.splitlines()[0].split()[:3] == ["run", "state", "dataset"]
    assert call(capsys, "datasets")[1] == {"datasets": []}


def test_the_workspace_may_be_named_before_or_after_the_command(
        capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Workspace(tmp_path / "other").create(TrainConfig(dataset="d", fingerprint="f"), "a")
    for arguments in (["runs", "--workspace", str(tmp_path / "other")],
                      ["--workspace", str(tmp_path / "other"), "runs"]):
        monkeypatch.setenv("SCDIFF_WORKSPACE", str(tmp_path / "w"))
        assert [r["run"] for r in call(capsys, *arguments)[1]["runs"]] == ["a"]


def test_help_pulls_in_nothing_heavy() -> None:
    out = subprocess.run([sys.executable, "-X", "importtime", "-m", "scdiff_core", "--help"], cwd=ROOT,
                         capture_output=True, text=True, check=True)
    loaded = {line.split("|")[-1].strip() for line in out.stderr.splitlines() if line.startswith("import time")}
    assert not loaded & {"torch", "scanpy", "umap", "numpy", "pandas", "anndata", "scipy"}
    for name in ("prepare", "train", "generate", "report", "datasets", "runs"):
        assert name in out.stdout
    assert "worker" not in out.stdout


def test_without_a_command_it_tells_what_there_is() -> None:
    out = subprocess.run([sys.executable, "-m", "scdiff_core"], cwd=ROOT, capture_output=True, text=True)
    assert out.returncode == 2
    assert "prepare" in out.stderr and "Traceback" not in out.stderr


def test_a_training_is_stopped_by_ctrl_c_and_goes_on_with_resume(space: Workspace) -> None:
    job = space.create(TrainConfig(dataset="d", fingerprint="f", device="cpu"), "a")
    child = start("train", "--resume", "a", FAKE_SECONDS="0.1")
    end = time.monotonic() + 30
    while jobs.watch(job).step < 3 and time.monotonic() < end:
        time.sleep(0.05)
    assert jobs.watch(job).state == jobs.RUNNING  # as the app would see it
    child.send_signal(signal.SIGINT)
    out, err = child.communicate()
    last = json.loads(out.splitlines()[-1])
    assert child.returncode == 130
    assert (last["run"], last["state"]) == ("a", "stopped")
    assert 3 <= last["step"] < 20
    assert "train --resume a" in err and "Traceback" not in err
    again = start("train", "--resume", "a")
    out, err = again.communicate()
    last = json.loads(out.splitlines()[-1])
    assert again.returncode == 0
    assert (last["state"], last["step"], last["total"], last["loss_test"]) == ("finished", 20, 20, 1.0)
    assert len(out.splitlines()) == 1
    assert "diffusion" in err
    assert start("train", "--resume", "a").communicate()[1].count("has finished") == 1


@pytest.mark.parametrize(("ending", "code", "said"), [("error", 2, "learning rate"), ("bug", 1, "unexpected")])
def test_a_training_that_fails_says_why(space: Workspace, ending: str, code: int, said: str) -> None:
    space.create(TrainConfig(dataset="d", fingerprint="f", device="cpu"), "a")
    child = start("train", "--resume", "a", FAKE_ENDING=ending)
    _, err = child.communicate()
    assert child.returncode == code
    assert said in err
    assert "Traceback" not in err


def test_values_of_options() -> None:
    assert cli_tools.where(["cell_type=CD4 T", "x = a=b"]) == {"cell_type": "CD4 T", "x": "a=b"}
    with pytest.raises(ScdiffError, match="given twice"):
        cli_tools.where(["a=b", "a=c"])
    assert cli_tools.words(["CD3D, MS4A1", "NKG7"]) == ("CD3D", "MS4A1", "NKG7")
    rules = cli_tools.hold_out(["donor=d1, d2", "cell type=B"])
    assert [(r.column, r.values) for r in rules] == [("donor", ("d1", "d2")), ("cell type", ("B",))]
    both, = cli_tools.hold_out(["cell type=B & condition=stim,x&y"])
    assert (both.column, both.values) == ("cell type", ("B",))
    assert [(r.column, r.values) for r in both.also] == [("condition", ("stim", "x&y"))]
    assert cli_tools.roles(dict.fromkeys(("cell_type", "perturbation", "control"))) is None
    assert cli_tools.qc({"min_genes": None}, none=False) is None
    assert cli_tools.gene_number("all") == "all"
