"""The process of a job: its life, its queue, and its bad days. The training itself is a stand-in that counts."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from scdiff_core import jobs, process, queueing
from scdiff_core.config import InspectConfig, TrainConfig
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir, Workspace, read_json

FAKES = Path(__file__).parent / "fakes"
ROOT = Path(__file__).parent.parent
PATIENCE = 30.0


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A workspace whose trainings are stand-ins; whatever is left running at the end is ended."""
    monkeypatch.setenv("PYTHONPATH", str(FAKES))
    monkeypatch.setenv("FAKE_ENGINE", "train")
    workspace = Workspace(tmp_path)
    yield workspace
    for job in workspace.list("train"):
        told = job.status()
        if process.alive(told.get("pid"), told.get("pid_started")):
            process.end(told["pid"], told["pid_started"], patience=2.0)


def new(workspace: Workspace, name: str, **settings: object) -> JobDir:
    return workspace.create(TrainConfig(dataset="d", fingerprint="f", device="cpu", **settings), name)  # type: ignore[arg-type]


def until(job: JobDir, wanted: Callable[[jobs.Status], bool]) -> jobs.Status:
    """Watch a job until it is as wanted; fails with what it was instead."""
    end = time.monotonic() + PATIENCE
    while not wanted(status := jobs.watch(job)):
        if time.monotonic() > end:
            raise AssertionError(f"{status}\n{(job.path / 'log.txt').read_text()}")
        time.sleep(0.03)
    return status


def ended(job: JobDir) -> jobs.Status:
    return until(job, lambda s: not s.active and s.state != jobs.NEW)


def at_step(job: JobDir, step: int) -> jobs.Status:
    return until(job, lambda s: s.state == jobs.RUNNING and s.step >= step)


def test_a_job_runs_to_its_end_and_leaves_a_record(space: Workspace) -> None:
    job = new(space, "a", seed=3, threads=2)
    assert jobs.watch(job).state == jobs.NEW
    jobs.start(job)
    status = ended(job)
    assert (status.state, status.step, status.total, status.error) == (jobs.FINISHED, 20, 20, None)
    assert status.fraction == 1.0
    assert status.seconds > 0
    rows = job.metrics()
    assert [r["step"] for r in rows if r["loss_test"] is not None] == [10, 20]
    assert {"phase", "total", "loss_train", "cells_per_s", "memory_mb", "device", "time"} <= rows[0].keys()
    told = read_json(job.path / "env.json")
    assert (told["seed"], told["threads"], told["device"]) == (3, 2, "cpu")
    assert told["versions"]["torch"].startswith("2.")
    assert not (job.path / ".reserve").exists()


def test_a_job_leads_a_session_of_its_own_and_has_its_threads_set(
        space: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_SECONDS", "0.5")
    job = new(space, "a", threads=3)
    jobs.start(job)
    pid = at_step(job, 1).pid
    assert pid is not None
    assert os.getsid(pid) == pid != os.getsid(0)
    told = psutil.Process(pid).environ()
    assert (told["OMP_NUM_THREADS"], told["MKL_NUM_THREADS"], told["NUMBA_NUM_THREADS"]) == ("3", "3", "3")


def test_the_time_left_comes_from_the_measured_rate(space: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_SECONDS", "0.1")
    monkeypatch.setenv("FAKE_STEPS", "200")
    job = new(space, "a")
    jobs.start(job)
    status = until(job, lambda s: s.eta_s is not None and s.step >= 10)
    assert status.eta_s is not None
    assert 0.5 * (200 - status.step) * 0.1 < status.eta_s < 5 * (200 - status.step) * 0.1


def test_stopped_and_resumed_goes_on_where_it_was(space: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_SECONDS", "0.1")
    job = new(space, "a")
    jobs.start(job)
    at_step(job, 3)
    with pytest.raises(ScdiffError, match="running already"):
        jobs.start(job)
    with pytest.raises(ScdiffError, match="cannot be resumed"):
        jobs.resume(job)
    jobs.stop(job)
    assert jobs.watch(job).state in (jobs.STOPPING, jobs.STOPPED)
    stopped = ended(job)
    assert stopped.state == jobs.STOPPED
    assert 3 <= stopped.step < 20
    assert not (job.path / "stop").exists()
    monkeypatch.setenv("FAKE_SECONDS", "0.01")
    jobs.resume(job)
    assert ended(job).state == jobs.FINISHED
    steps = [r["step"] for r in job.metrics()]
    assert steps == sorted(set(steps))  # none twice, none backwards
    assert jobs.watch(job).seconds > stopped.seconds  # of both
    with pytest.raises(ScdiffError, match="has finished"):
        jobs.resume(job)


def test_a_killed_job_reads_as_failed_and_resumes_from_its_checkpoint(
        space: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_SECONDS", "0.1")
    job = new(space, "a")
    jobs.start(job)
    pid = at_step(job, 8).pid
    assert pid is not None
    (job.path / "stop").touch()
    os.kill(pid, signal.SIGSTOP)  # so that it does not see that
    os.kill(pid, signal.SIGKILL)
    status = ended(job)
    assert status.state == jobs.FAILED
    assert status.error is not None
    assert "killed" in status.error["why"]
    assert "train --resume a" in status.error["fix"] and "last checkpoint" in status.error["fix"]
    with open(job.path / "metrics.jsonl", "a") as handle:
        handle.write('{"step": 9, "lo')  # as a kill in the middle of a line leaves it
    (job.path / "checkpoints" / ".last.json.1.tmp").write_text("hal")
    jobs.resume(job)
    assert ended(job).state == jobs.FINISHED  # the stale `stop` was cleared
    steps = [r["step"] for r in job.metrics()]
    assert steps == sorted(set(steps)) and steps[-1] == 20
    assert [p.name for p in job.checkpoints.iterdir()] == ["last.json"]


def test_a_job_outlives_the_server_that_started_it(space: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_SECONDS", "0.1")
    job = new(space, "a")
    script = ("import sys, time; from scdiff_core import jobs; jobs.start(jobs.open_dir(sys.argv[1]));"
              "print('started', flush=True); time.sleep(60)")
    server = subprocess.Popen([sys.executable, "-c", script, str(job.path)], stdout=subprocess.PIPE,
                              cwd=ROOT, env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{FAKES}"})
    assert server.stdout is not None
    server.stdout.readline()
    at_step(job, 1)
    server.kill()
    server.wait()
    server.stdout.close()
    assert ended(job).state == jobs.FINISHED


def test_another_process_with_the_same_pid_is_not_the_job(space: Workspace) -> None:
    job = new(space, "a")
    mine = process.identity()
    job.write_status(state=jobs.RUNNING, step=4, total=9, **mine)
    assert jobs.watch(job).state == jobs.RUNNING
    job.write_status(pid_started=mine["pid_started"] - 100)
    assert jobs.watch(job).state == jobs.FAILED
    assert not process.alive(None, 1.0)
    assert not process.alive(True, 1.0)
    assert not process.alive(-1, 1.0)


def test_an_ended_child_that_nobody_waited_for_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    start = psutil.Process(child.pid).create_time()
    end = time.monotonic() + PATIENCE
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE and time.monotonic() < end:
        time.sleep(0.02)
    os.kill(child.pid, 0)  # it still answers to its pid
    assert not process.alive(child.pid, start)
    child.wait()


@pytest.mark.parametrize(("ending", "what", "fix"), [
    ("error", "The loss is not a number.", "learning rate"),
    ("bug", "unexpected", "log"),
    ("full", "disk is full", "Free some space"),
    ("memory", "memory ran out", "smaller minibatch"),
])
def test_whatever_goes_wrong_is_told_in_the_status(
        space: Workspace, monkeypatch: pytest.MonkeyPatch, ending: str, what: str, fix: str) -> None:
    monkeypatch.setenv("FAKE_ENDING", ending)
    job = new(space, "a")
    jobs.start(job)
    status = ended(job)
    assert status.state == jobs.FAILED
    assert status.error is not None
    assert what in status.error["what"] + status.error["why"]
    assert fix in status.error["fix"]
    assert "Traceback" not in str(status.error)
    assert ("RuntimeError" in (job.path / "log.txt").read_text()) == (ending == "bug")


def test_a_process_that_never_came_up_reads_as_failed(
        space: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    job = new(space, "a")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    jobs.start(job)
    assert ended(job).state == jobs.FAILED


def test_the_next_job_waits_in_line_and_says_its_place(
        space: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_SECONDS", "0.4")
    first, second, third = (new(space, n) for n in "abc")
    jobs.start(first)
    at_step(first, 1)
    jobs.start(second)
    until(second, lambda s: s.place == 1)
    monkeypatch.setenv("REAL_TORCH", "1")
    jobs.start(third)
    pid = until(third, lambda s: s.place == 2).pid
    assert [j.id for j in jobs.queue(space)] == ["b", "c"]
    assert pid is not None
    mapped = {Path(m.path).name for m in psutil.Process(pid).memory_maps()}
    assert not any(name.startswith(("libtorch", "_multiarray_umath")) for name in mapped)  # nothing heavy yet
    jobs.stop(second)
    assert ended(second).state == jobs.STOPPED
    until(third, lambda s: s.place == 1)
    assert jobs.watch(first).state == jobs.RUNNING
    os.kill(jobs.watch(first).pid or 0, signal.SIGKILL)  # a killed holder frees the device
    at_step(third, 1)
    assert jobs.watch(third).place is None
    assert jobs.queue(space) == []


def test_two_devices_have_two_lines(space: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_SECONDS", "0.1")
    on_cpu, on_cuda = new(space, "a"), space.create(TrainConfig(dataset="d", fingerprint="f", device="cuda"), "b")
    jobs.start(on_cpu)
    jobs.start(on_cuda)
    assert at_step(on_cpu, 1).pid != at_step(on_cuda, 1).pid


def test_the_queue_survives_the_death_of_all_its_processes(space: Workspace) -> None:
    older, newer, broken, running = (new(space, n) for n in "abcd")
    for job, when in ((newer, 200.0), (older, 100.0), (broken, 50.0)):
        job.write_status(state=jobs.QUEUED, queued=when, device="cpu", pid=2**22 - 1, pid_started=1.0)
    running.write_status(state=jobs.RUNNING, pid=2**22 - 1, pid_started=1.0)
    (broken.path / "config.yaml").write_text("kind: [")
    assert [j.id for j in jobs.revive(space)] == ["a", "b"]
    assert ended(older).state == ended(newer).state == jobs.FINISHED
    assert jobs.watch(older).started <= jobs.watch(newer).started  # type: ignore[operator]
    assert jobs.watch(running).state == jobs.FAILED  # that one was at work: the user decides
    assert jobs.revive(space) == []


def test_delete_ends_the_process_and_moves_the_run_to_the_trash(
        space: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_SECONDS", "0.1")
    job = new(space, "a")
    jobs.start(job)
    pid = at_step(job, 1).pid
    there = jobs.delete(job)
    assert there.parent == space.root / "trash"
    assert (there / "config.yaml").is_file()
    assert not job.path.exists()
    assert pid is not None and process.started_at(pid) is None
    assert space.list("train") == []


@pytest.mark.parametrize(("text", "said"), [
    ("kind: train\nformat: 99\ndataset: d\nfingerprint: f\n", "newer version"),
    ("kind: train\n  dataset: d\n", "not valid yaml"),
    ("kind: train\ndataset: d\nfingerprint: f\nseed: many\n", "'seed'"),
])
def test_a_run_that_cannot_be_read_says_why(space: Workspace, text: str, said: str) -> None:
    job = new(space, "a")
    job.write_status(state=jobs.FINISHED)
    assert jobs.watch(job).state == jobs.FINISHED
    (job.path / "config.yaml").write_text(text)
    status = jobs.watch(job)
    assert status.state == jobs.FAILED
    assert status.error is not None and said in status.error["why"]
    for act in (jobs.start, jobs.resume):
        with pytest.raises(ScdiffError, match=said):
            act(job)
    new(space, "b")
    assert {j.id for j in space.list("train")} == {"a", "b"}  # the others are still there


@pytest.mark.parametrize("text", [
    "", "[]", "{", '{"state": "cooking"}', '{"state": "running", "pid": "12", "step": "x", "eta_s": []}',
    '{"state": "failed", "error": "x", "step": NaN, "total": null, "seconds": "y"}'])
def test_a_status_that_makes_no_sense_does_no_harm(space: Workspace, text: str) -> None:
    job = new(space, "a")
    (job.path / "status.json").write_text(text)
    status = jobs.watch(job)
    assert status.state == jobs.FAILED
    assert (status.step, status.total, status.fraction) == (0, 0, 0.0)


def test_a_failed_look_makes_way_for_the_next_and_a_kept_one_does_not(space: Workspace) -> None:
    asked = InspectConfig(source="x")
    jobs.create(space, asked, "x").write_status(state=jobs.FAILED)
    job = jobs.create(space, asked, "x")
    assert job.status()["state"] == jobs.NEW
    assert len(list((space.root / "trash").iterdir())) == 1
    job.write_status(state=jobs.FINISHED)
    with pytest.raises(ScdiffError, match="is there already"):
        jobs.create(space, asked, "x")


def test_only_the_directory_of_a_job_can_be_opened(tmp_path: Path) -> None:
    with pytest.raises(ScdiffError, match="is not a run"):
        jobs.open_dir(tmp_path)


def test_threads_are_what_was_asked_for_or_one_less_than_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)), raising=False)
    assert process.threads_for() == 5
    assert process.threads_for(2) == 2
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
    assert process.threads_for() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert process.threads_for() == 4


def test_the_device_is_told_without_torch() -> None:
    assert queueing.device_name("cuda:1") == "cuda:1"
    assert queueing.device_name("auto") in ("cpu", "cuda", "mps")
