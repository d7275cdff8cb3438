"""Start, watch, stop, resume and delete the process behind a job's directory.

The job's process is the only writer of its status; what is told here is that status, held against
whether the process is alive. Nothing here imports torch or scanpy: pages use it.
"""

from __future__ import annotations

import math
import os
import signal
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from scdiff_core import process, queueing
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import CONFIG, JobDir, Workspace

NEW, QUEUED, RUNNING, STOPPING = "new", "queued", "running", "stopping"
STOPPED, FINISHED, FAILED = "stopped", "finished", "failed"
WORDS = {"inspect": "look at the file", "prepare": "preparation", "train": "training", "screen": "screen"}
_spawned: dict[Path, int] = {}  # jobs started by this process, which can tell at once if one never came up


@dataclass(frozen=True)
class Status:
    """What a job is doing, as a page or a command shows it. Times in seconds."""

    state: str  # new | queued | running | stopping | stopped | finished | failed
    pid: int | None = None
    step: int = 0
    total: int = 0
    eta_s: float | None = None
    phase: str = ""
    message: str = ""
    error: dict[str, str] | None = None  # what, why, fix
    place: int | None = None  # in the queue; 1 is next
    started: float | None = None  # since the epoch
    seconds: float = 0.0  # of work so far, over all its resumes

    @property
    def active(self) -> bool:
        """Say whether its process is at work or in line."""
        return self.state in (QUEUED, RUNNING, STOPPING)

    @property
    def fraction(self) -> float:
        """Return how much is done, 0 to 1."""
        return min(1.0, self.step / self.total) if self.total else float(self.state == FINISHED)


def open_dir(path: Path | str) -> JobDir:
    """Return the job whose directory this is, told by the configuration file in it.

    Raises
    ------
    ScdiffError
        It is no directory of a job.
    """
    path = Path(path).absolute()
    for kind, name in CONFIG.items():
        if (path / name).is_file():
            return JobDir(path, kind)
    raise ScdiffError(f"'{path}' is not a run, a dataset or an opened source.",
                      f"It holds none of {', '.join(CONFIG.values())}.",
                      "Give the directory of a run, or start anew.")


def create(workspace: Workspace, config: Any, job_id: str | None = None) -> JobDir:
    """Make the directory of a job; one of that name that never came to anything makes way to the trash.

    Raises
    ------
    ScdiffError
        A dataset or run of that name is there and is worth keeping, or is being made.
    """
    if job_id is not None:
        path = workspace.folder(config.kind) / job_id
        old = JobDir(path, config.kind)
        if config.kind != "train" and path.is_dir() and watch(old).state in (NEW, STOPPED, FAILED) \
                and not (path / "prepared.h5ad").exists():
            workspace.trash(old)
    return workspace.create(config, job_id)


def start(job: JobDir) -> None:
    """Start the process of a job in a session of its own; a training waits there until its device is free.

    Raises
    ------
    ScdiffError
        It is running already, or its configuration is broken.
    """
    config = job.config()
    threads = process.threads_for(getattr(config, "threads", 0))
    enqueue(job)
    _spawned[job.path] = process.spawn(["job", str(job.path)], job.path / "log.txt", threads)


def enqueue(job: JobDir) -> None:
    """Note that a job is about to run: as the last in line for its device, if it is a training.

    Raises
    ------
    ScdiffError
        It is running already, or its configuration is broken.
    """
    config = job.config()
    if watch(job).active:
        raise is_running(job)
    (job.path / "stop").unlink(missing_ok=True)
    device = queueing.device_name(config.device) if job.kind == "train" else None
    job.write_status(state=QUEUED, queued=time.time(), device=device, pid=None, pid_started=None,
                     error=None, place=None, eta_s=None, message="", phase="starting")


def is_running(job: JobDir) -> ScdiffError:
    """Return the error of who starts a job twice."""
    return ScdiffError(f"'{job.id}' is running already.", "A job has one process at a time.",
                       "Wait for it to end, or stop it first.")


def watch(job: JobDir) -> Status:
    """Return what a job is doing; one whose process is gone without a word reads as failed."""
    told = job.status()
    state = told.get("state")
    running = process.alive(told.get("pid"), told.get("pid_started"))
    error = told.get("error") if isinstance(told.get("error"), dict) else None
    seconds = _number(told.get("seconds")) or 0.0
    if state in (QUEUED, RUNNING) and running:
        if state == RUNNING:
            seconds += max(0.0, time.time() - (_number(told.get("updated")) or time.time()))
        if job.stop_requested():
            state = STOPPING
    elif state in (QUEUED, RUNNING) and not _starting(job, told):
        if job.status() != told:  # it ended between the two looks: what it said last counts
            return watch(job)
        state, error = FAILED, _gone(job)
    broken = None if running else _broken(job)
    if broken is not None:
        state, error = FAILED, broken
    elif state not in (NEW, QUEUED, RUNNING, STOPPING, STOPPED, FINISHED, FAILED):
        state, error = FAILED, _unreadable(job)
    place = told.get("place")
    return Status(
        state=str(state), pid=told.get("pid") if running else None,
        step=int(_number(told.get("step")) or 0), total=int(_number(told.get("total")) or 0),
        eta_s=_number(told.get("eta_s")) if state == RUNNING else None,
        phase=str(told.get("phase") or ""), message=str(told.get("message") or ""),
        error=error if state == FAILED else None,
        place=place if state == QUEUED and isinstance(place, int) else None,
        started=_number(told.get("started")), seconds=seconds)


def stop(job: JobDir) -> None:
    """Ask a job to stop: a training finishes its step and saves, the others end at once."""
    if not watch(job).active:
        return
    (job.path / "stop").touch()
    told = job.status()
    if job.kind != "train" and process.alive(told.get("pid"), told.get("pid_started")):
        os.kill(told["pid"], signal.SIGTERM)


def resume(job: JobDir) -> None:
    """Start a job again that was stopped or failed: a training goes on from its last checkpoint.

    Raises
    ------
    ScdiffError
        It has finished or is running, or its configuration is broken.
    """
    check_resumable(job)
    start(job)


def check_resumable(job: JobDir) -> None:
    """Raise `ScdiffError` if there is nothing to resume: the job has finished, or is running."""
    job.config()
    state = watch(job).state
    if state == FINISHED:
        raise ScdiffError(f"'{job.id}' cannot be resumed.", "It has finished: all its steps are done.",
                          "Generate from it, or start a new run with more steps.")
    if state in (QUEUED, RUNNING, STOPPING):
        raise ScdiffError(f"'{job.id}' cannot be resumed.", f"It is {state}.",
                          "Wait for it to end, or stop it first.")


def delete(job: JobDir, patience: float = 10.0) -> Path:
    """Stop a job, move its directory to the trash folder of its workspace, and return where it lies now.

    The screens of a run end with it.
    """
    for config in job.path.glob(f"screens/*/{CONFIG['screen']}"):
        _end(JobDir(config.parent, "screen"), patience)
    _end(job, patience)
    return Workspace(job.path.parent.parent).trash(job)


def _end(job: JobDir, patience: float) -> None:
    """Ask a job to stop; after `patience` seconds, end its process."""
    told = job.status()
    pid, born = told.get("pid"), told.get("pid_started")
    if isinstance(pid, int) and isinstance(born, float) and process.alive(pid, born):
        stop(job)
        if not process.wait(pid, born, patience):
            process.end(pid, born, patience=2.0)


def queue(workspace: Workspace) -> list[JobDir]:
    """Return the runs that wait for a device, the next one first."""
    return queueing.waiting(workspace)


def revive(workspace: Workspace) -> list[JobDir]:
    """Start those queued runs again whose process is gone, in their old order; return them.

    A server does this once when it starts, so the queue survives a restart of the machine too.
    """
    gone = []
    for job in workspace.list("train"):
        told = job.status()
        if told.get("state") == QUEUED and watch(job).state == FAILED and _broken(job) is None:
            gone.append((_number(told.get("queued")) or 0.0, job))
    jobs = [job for _, job in sorted(gone, key=lambda entry: entry[0])]
    for job in jobs:
        start(job)
    return jobs


def has_checkpoint(job: JobDir) -> bool:
    """Say whether a training has something saved to go on from."""
    return job.checkpoints.is_dir() and any(p.name.startswith("last") for p in job.checkpoints.iterdir())


def _starting(job: JobDir, told: dict[str, Any]) -> bool:
    """Say whether a job was started just now and may not have written a word yet."""
    pid = _spawned.get(job.path)
    if told.get("state") != QUEUED or told.get("pid") is not None:
        return False
    if pid is not None:
        return process.started_at(pid) is not None
    return time.time() - (_number(told.get("queued")) or 0.0) < queueing.START_GRACE


def _gone(job: JobDir) -> dict[str, str]:
    """Return the error of a job whose process ended without a word."""
    if job.kind != "train":
        fix = "Start it again; if it ends that way once more, give it fewer cells or more memory."
    elif has_checkpoint(job):
        fix = f"Press Resume, or run {resume_command(job)}: it goes on from its last checkpoint."
    else:
        fix = f"Press Resume, or run {resume_command(job)}: nothing was saved yet, so it begins anew."
    return ScdiffError(
        f"The {WORDS[job.kind]} of '{job.id}' ended without a word.",
        "Its process is gone: it was killed, the memory ran out, or the machine was restarted.",
        fix).to_dict()


def resume_command(job: JobDir) -> str:
    """Return the command that resumes a run, for the eyes of the user."""
    return f"`python -m scdiff_core train --resume {job.id}`"


def _unreadable(job: JobDir) -> dict[str, str]:
    """Return the error of a job whose status.json is missing or makes no sense."""
    return ScdiffError(
        f"What '{job.id}' is doing is not known.", "Its status.json is missing or cannot be read.",
        "Press Resume: what is saved of it is used." if job.kind == "train" else "Start it again.").to_dict()


def _broken(job: JobDir) -> dict[str, str] | None:
    """Return what is wrong with a job's configuration, None if it is good."""
    path = job.path / CONFIG[job.kind]
    try:
        changed = path.stat().st_mtime_ns
    except OSError:
        changed = 0
    return _config_error(job, changed)


@lru_cache(maxsize=512)
def _config_error(job: JobDir, changed: int) -> dict[str, str] | None:
    """Read a configuration once for each time it has changed."""
    try:
        job.config()
    except ScdiffError as error:
        return error.to_dict()
    return None


def _number(value: object) -> float | None:
    """Return a finite number, or None for anything else a file may hold."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None
