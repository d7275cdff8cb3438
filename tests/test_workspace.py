"""Directories on disk: made once, found by name, written so that nothing is ever half there."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from scdiff_core.config import TrainConfig
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import Workspace, atomic_write, check_name, read_json, write_json, write_text

TRAIN = TrainConfig(dataset="d", fingerprint="f")


def leftovers(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if p.name.endswith(".tmp")]


@pytest.mark.parametrize("error", [
    OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EDQUOT, "Disk quota exceeded"),
    RuntimeError("Can't write data (file write failed: errno = 28, error message = 'No space left on device')"),
])
def test_a_full_disk_leaves_the_file_before_and_says_what_to_free(tmp_path: Path, error: Exception) -> None:
    path = tmp_path / "last.safetensors"
    write_text(path, "good")

    def write(temporary: Path) -> None:
        temporary.write_text("hal")
        raise error

    with pytest.raises(ScdiffError) as caught:
        atomic_write(path, write)
    assert "disk is full" in caught.value.why
    assert "Free some space" in caught.value.fix and str(tmp_path) in caught.value.fix
    assert path.read_text() == "good"
    assert leftovers(tmp_path) == []


def test_a_file_larger_than_the_system_allows_leaves_the_file_before(tmp_path: Path) -> None:
    path = tmp_path / "cells.bin"
    write_text(path, "good")
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from scdiff_core.errors import ScdiffError; from scdiff_core.workspace import atomic_write\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: atomic_write(Path(sys.argv[1]), lambda p: p.write_bytes(bytes(5000)))\n"
        "except ScdiffError as error: print(error.why)\n")
    out = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True,
                         cwd=Path(__file__).parent.parent)
    assert "disk is full, or your share of it" in out.stdout
    assert path.read_text() == "good"
    assert leftovers(tmp_path) == []


def test_an_interrupted_write_leaves_nothing_behind(tmp_path: Path) -> None:
    def write(temporary: Path) -> None:
        temporary.write_text("hal")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomic_write(tmp_path / "a", write)
    assert list(tmp_path.iterdir()) == []


def test_others_may_read_what_a_library_wrote_for_its_owner_alone(tmp_path: Path) -> None:
    def write(temporary: Path) -> None:
        temporary.unlink()
        temporary.write_text("weights")
        temporary.chmod(0o600)

    write_text(tmp_path / "usual", "")
    atomic_write(tmp_path / "a", write)
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_json_never_holds_a_number_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert not (tmp_path / "a.json").exists()
    (tmp_path / "torn.json").write_text('{"a": ')
    assert read_json(tmp_path / "torn.json", {"b": 1}) == {"b": 1}


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", ".hidden", "a b", "x" * 81, "é"])
def test_a_name_cannot_lead_out_of_the_workspace(tmp_path: Path, name: str) -> None:
    with pytest.raises(ScdiffError):
        check_name(name)
    with pytest.raises(ScdiffError):
        Workspace(tmp_path).open("train", name)


def test_a_job_is_made_once_and_found_again(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    job = space.create(TRAIN, "first")
    assert space.open("train", "first") == job
    assert job.config() == TRAIN
    assert job.status()["state"] == "new"
    with pytest.raises(ScdiffError, match="is there already"):
        space.create(TRAIN, "first")
    with pytest.raises(ScdiffError, match="Did you mean 'first'"):
        space.open("train", "frist")
    assert space.list("prepare") == []
    assert space.datasets() == []


def test_the_newest_job_comes_first_and_one_without_a_status_does_no_harm(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    for i, name in enumerate(["a", "b", "c"]):
        space.create(TRAIN, name).write_status(created=float(i + 1))
    (space.folder("train") / "stray").mkdir()
    (space.folder("train") / "b" / "status.json").write_text("[1, 2")
    assert [j.id for j in space.list("train")][:2] == ["c", "a"]


def test_a_torn_last_line_of_the_metrics_is_dropped(tmp_path: Path) -> None:
    job = Workspace(tmp_path).create(TRAIN, "a")
    assert job.metrics() == []
    job.append_metric(step=1, loss_train=0.5)
    job.append_metric(step=2, loss_train=0.4)
    with open(job.path / "metrics.jsonl", "a") as handle:
        handle.write('{"step": 3, "los')
    assert [row["step"] for row in job.metrics()] == [1, 2]


def test_notes_are_kept_apart_from_what_the_job_writes(tmp_path: Path) -> None:
    job = Workspace(tmp_path).create(TRAIN, "a")
    job.write_notes(title="my best run")
    job.write_notes(note="twice the width")
    job.write_status(state="running")
    assert job.notes() == {"title": "my best run", "note": "twice the width"}


def test_trash_keeps_what_was_there(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    job = space.create(TRAIN, "a")
    there = space.trash(job)
    assert not job.path.exists()
    assert there.parent == tmp_path / "trash"
    assert json.loads((there / "status.json").read_text())["state"] == "new"
    assert space.create(TRAIN, "a").path.is_dir()
