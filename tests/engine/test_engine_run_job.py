"""The job's process on real work: a look, a preparation, and a training with all its bad days."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from helpers import prepared_tiny, tiny_counts_adata

from scdiff_core import jobs, process
from scdiff_core.config import QC, InspectConfig, PrepareConfig, TrainConfig
from scdiff_core.engine import checkpoint, run_job
from scdiff_core.workspace import JobDir, Workspace, read_json

PATIENCE = 120.0


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small .h5ad of counts."""
    path = tmp_path / "cells.h5ad"
    tiny_counts_adata().write_h5ad(path)
    return path


def test_a_look_is_a_job(source: Path, tmp_path: Path) -> None:
    job = Workspace(tmp_path / "w").create(InspectConfig(source=str(source)))
    said: list[str] = []
    assert run_job.run_job(job.path, echo=lambda status: said.append(status["phase"])) == run_job.OK
    status = jobs.watch(job)
    assert (status.state, status.fraction, status.pid) == (jobs.FINISHED, 1.0, os.getpid())
    assert read_json(job.path / "findings.json")["n_cells"] == 300
    assert said[0] == "starting" and said[-1] == "done"


def test_a_preparation_is_a_job_and_keeps_what_it_depends_on(source: Path, tmp_path: Path) -> None:
    asked = PrepareConfig(source=str(source), name="a", genes=100, qc=QC(), seed=4)
    job = Workspace(tmp_path / "w").create(asked, "a")
    assert run_job.run_job(job.path) == run_job.OK
    assert jobs.watch(job).state == jobs.FINISHED
    assert read_json(job.path / "report.json")["n_genes"] == 100
    told = read_json(job.path / "env.json")
    assert told["seed"] == 4 and "anndata" in told["versions"]
    assert not list(job.path.rglob("*.tmp"))


def test_a_preparation_ends_when_asked_and_can_begin_again(source: Path, tmp_path: Path) -> None:
    job = Workspace(tmp_path / "w").create(PrepareConfig(source=str(source), name="a", qc=QC()), "a")

    def stop_at(status: dict[str, object]) -> None:
        if status["phase"] == "Choosing genes":
            (job.path / "stop").touch()

    assert run_job.run_job(job.path, echo=stop_at) == run_job.INTERRUPTED
    assert jobs.watch(job).state == jobs.STOPPED
    assert not (job.path / "prepared.h5ad").exists()
    assert run_job.run_job(job.path) == run_job.OK
    assert (job.path / "prepared.h5ad").exists()


def test_a_source_that_cannot_be_read_is_a_failed_job(tmp_path: Path) -> None:
    (tmp_path / "bad.h5ad").write_text("these are not cells")
    job = Workspace(tmp_path / "w").create(InspectConfig(source=str(tmp_path / "bad.h5ad")))
    assert run_job.run_job(job.path) == run_job.WRONG
    status = jobs.watch(job)
    assert status.state == jobs.FAILED
    assert status.error is not None and "bad.h5ad" in " ".join(status.error.values())


def test_a_second_process_leaves_a_running_job_alone(source: Path, tmp_path: Path) -> None:
    job = Workspace(tmp_path / "w").create(InspectConfig(source=str(source)))
    codes: list[int] = []
    run_job.run_job(job.path, echo=lambda status: codes.append(run_job.run_job(job.path)))
    assert set(codes) == {run_job.BUSY}
    assert jobs.watch(job).state == jobs.FINISHED


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a small prepared dataset."""
    root = tmp_path_factory.mktemp("w")
    prepared_tiny(root)
    return Workspace(root)


@pytest.fixture
def run(space: Workspace) -> Iterator[JobDir]:
    """A small training that has begun in a process of its own and has saved once."""
    fingerprint = read_json(space.folder("prepare") / "tiny" / "report.json")["fingerprint"]
    job = space.create(TrainConfig.model_validate({
        "dataset": "tiny", "fingerprint": fingerprint, "device": "cpu", "threads": 1, "preset": "quick",
        "codec": {"steps": 100, "n_latent": 4, "hidden": [16], "minibatch": 32},
        "diffusion": {"steps": 3000, "width": 16, "depth": 1, "minibatch": 32},
        "checkpoint_every_s": 0.3, "preview_every_s": 0.3}))
    jobs.start(job)
    until(job, lambda s: s.phase == "diffusion" and jobs.has_checkpoint(job))
    yield job
    told = job.status()
    if process.alive(told.get("pid"), told.get("pid_started")):
        process.end(told["pid"], told["pid_started"], patience=1.0)


def until(job: JobDir, wanted: Callable[[jobs.Status], bool]) -> jobs.Status:
    """Watch a job until it is as wanted; fails with what it was instead."""
    end = time.monotonic() + PATIENCE
    while not wanted(status := jobs.watch(job)):
        if time.monotonic() > end or status.state == jobs.FAILED:
            raise AssertionError(f"{status}\n{(job.path / 'log.txt').read_text()}")
        time.sleep(0.05)
    return status


def ended(job: JobDir) -> jobs.Status:
    end = time.monotonic() + PATIENCE
    while (status := jobs.watch(job)).active and time.monotonic() < end:
        time.sleep(0.05)
    return status


def test_a_killed_training_leaves_a_good_checkpoint_and_goes_on_from_it(run: JobDir) -> None:
    pid = jobs.watch(run).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    status = ended(run)
    assert status.state == jobs.FAILED
    assert status.error is not None and "--resume" in status.error["fix"]
    checkpoint.load(checkpoint.path_of(run, checkpoint.LAST))  # the one saved before is whole
    jobs.resume(run)
    until(run, lambda s: s.state == jobs.RUNNING and s.phase == "diffusion")
    jobs.stop(run)
    stopped = ended(run)
    assert stopped.state == jobs.STOPPED, stopped
    steps = [row["step"] for row in run.metrics()]
    assert steps == sorted(set(steps))
    assert not list(run.path.rglob("*.tmp"))


def test_a_disk_that_fills_up_leaves_the_checkpoint_before_and_says_what_to_free(run: JobDir) -> None:
    pid = jobs.watch(run).pid
    assert pid is not None
    psutil.Process(pid).rlimit(psutil.RLIMIT_FSIZE, (4096, 4096))  # no file may grow beyond one page
    status = ended(run)
    assert status.state == jobs.FAILED
    assert status.error is not None
    assert "disk is full" in status.error["why"]
    assert "Free some space" in status.error["fix"]
    tensors, about = checkpoint.load(checkpoint.path_of(run, checkpoint.LAST))
    assert about["step"] > 0 and all(t.isfinite().all() for t in tensors.values())
    assert not list(run.path.rglob("*.tmp"))
