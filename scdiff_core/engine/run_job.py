"""The process of a job: from its configuration to its last status, whatever happens on the way."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import scdiff_core
from scdiff_core import jobs, process, queueing
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir, Workspace, disk_full, is_full, write_json, write_text

STATUS_EVERY = 0.5  # s between two writings of the status
METRIC_EVERY = 0.2  # s between two training losses that are kept; held-out ones are all kept
RATE_MEMORY = 10.0  # s over which the measured rate is averaged
RESERVE = 65536  # bytes set aside, so that the last status can be written on a full disk
PACKAGES = ("torch", "numpy", "scipy", "pandas", "anndata", "scanpy", "umap-learn", "scikit-learn", "h5py")

OK, CRASHED, WRONG, BUSY, INTERRUPTED = 0, 1, 2, 3, 130  # what the process of a job exits with

Echo = Callable[[dict[str, Any]], None]


class Stopped(BaseException):
    """Somebody asked a job to end that has nothing to save. No `Exception`, so that nothing swallows it."""


class Record:
    """The one writer of a job's status, metrics and environment.

    Parameters
    ----------
    job
        Its directory.
    echo
        Called with each status that is written, so that a command can show it.
    """

    def __init__(self, job: JobDir, echo: Echo | None = None) -> None:
        self.job, self.echo = job, echo
        self.before = float(job.status().get("seconds") or 0.0)
        self.began: float | None = None
        self.written = self.kept = -1e9
        self.rate = 0.0  # steps/s
        self.mark: tuple[float, float] | None = None  # time and step of the last look at the rate
        self.phase = ""
        self.resumed = False
        for torn in job.path.rglob(".*.tmp"):  # of a process that was killed while it wrote
            torn.unlink(missing_ok=True)
        with suppress(OSError):  # on a full disk: then the first status says so
            (job.path / ".reserve").write_bytes(bytes(RESERVE))

    def write(self, **values: Any) -> None:
        """Write the status now."""
        seconds = self.before + (time.monotonic() - self.began if self.began is not None else 0.0)
        values = {**process.identity(), **values, "seconds": round(seconds, 2)}
        self.job.write_status(**values)
        self.written = time.monotonic()
        if self.echo is not None:
            self.echo(self.job.status())

    def begin(self) -> None:
        """Note that the work begins now."""
        self.began = time.monotonic()
        self.write(state=jobs.RUNNING, started=time.time(), phase="starting", place=None, error=None,
                   message="", eta_s=None)

    def end(self, state: str, error: ScdiffError | None = None, **values: Any) -> None:
        """Write the last status; room for it was set aside at the start."""
        (self.job.path / ".reserve").unlink(missing_ok=True)
        self.write(state=state, error=error.to_dict() if error else None, eta_s=None, place=None, **values)
        (self.job.path / "stop").unlink(missing_ok=True)

    def progress(self, phase: str, fraction: float) -> None:
        """Take the progress of a look or a preparation; raises `Stopped` if somebody asked for it."""
        if self.job.stop_requested():
            raise Stopped
        now = time.monotonic()
        if phase == self.phase and now - self.written < STATUS_EVERY:
            return
        self.phase = phase
        spent = now - (self.began or now)
        eta = spent * (1 - fraction) / fraction if fraction > 0.02 and spent > 1 else None
        self.write(state=jobs.RUNNING, phase=phase, step=round(1000 * min(1.0, fraction)), total=1000,
                   eta_s=None if eta is None else round(eta, 1))

    def event(self, event: Any) -> None:
        """Take one event of a training: its losses into metrics.jsonl, the rest into the status."""
        if event.stopped:
            return  # it repeats the step before it
        values = {k: v for k, v in dataclasses.asdict(event).items() if k != "stopped"}
        now = time.monotonic()
        if self.resumed:
            self._forget_from(event.step)
            self.resumed = False
        changed = event.phase != self.phase
        if event.loss_test is not None or changed or now - self.kept >= METRIC_EVERY:
            self.job.append_metric(**values, time=round(time.time(), 2))
            self.kept = now
        if changed or now - self.written >= STATUS_EVERY:
            self.phase = event.phase
            self.write(state=jobs.RUNNING, step=event.step, total=event.total, phase=event.phase,
                       eta_s=self._eta(event, now, changed), cells_per_s=event.cells_per_s,
                       memory_mb=event.memory_mb, used_device=event.device, loss_train=event.loss_train)

    def _eta(self, event: Any, now: float, changed: bool) -> float | None:
        """Return the seconds left, by the rate of the last seconds; None until it is measured."""
        if self.mark is None or changed:
            self.mark = (now, event.step)
            if self.mark is None or not self.rate:
                return None
        else:
            spent, steps = now - self.mark[0], event.step - self.mark[1]
            if spent > 0:
                weight = min(1.0, spent / RATE_MEMORY) if self.rate else 1.0
                self.rate += weight * (steps / spent - self.rate)
                self.mark = (now, event.step)
        return round((event.total - event.step) / self.rate, 1) if self.rate > 0 else None

    def _forget_from(self, step: int) -> None:
        """Drop the metrics from `step` on: a killed run had gone further than its last checkpoint."""
        rows = [json.dumps(row) + "\n" for row in self.job.metrics() if row.get("step", 0) < step]
        write_text(self.job.path / "metrics.jsonl", "".join(rows))


def run_job(path: Path | str, echo: Echo | None = None) -> int:
    """Run the job of a directory to its end and return what the process should exit with.

    Everything that goes wrong ends in status.json as what, why and fix; a traceback goes to log.txt only.
    """
    job = jobs.open_dir(path)
    mine = queueing.try_lock(job.path / ".lock")
    if mine is None:
        print(f"'{job.id}' is running already.", file=sys.stderr)
        return BUSY
    with mine:
        record = Record(job, echo)
        try:
            config = job.config()
            threads = process.threads_for(getattr(config, "threads", 0))
            os.environ.update(process.thread_settings(threads))
            with asked_to_end(job):
                return _work(job, config, record, threads)
        except (Stopped, KeyboardInterrupt):
            record.end(jobs.STOPPED, message="Stopped before it was done.")
            return INTERRUPTED
        except ScdiffError as error:
            record.end(jobs.FAILED, error)
            return WRONG
        except (Exception, SystemExit) as error:
            with open(job.path / "log.txt", "a", encoding="utf-8") as log:
                traceback.print_exc(file=log)
            record.end(jobs.FAILED, explain(job, error))
            return CRASHED


def _work(job: JobDir, config: Any, record: Record, threads: int) -> int:
    """Do what the configuration says."""
    lock = None
    if job.kind == "train":
        device = queueing.device_name(config.device)
        record.write(state=jobs.QUEUED, device=device, place=None, phase="waiting for the device",
                     queued=job.status().get("queued") or time.time())
        lock = queueing.wait_for_device(
            job, device, lambda place: record.write(state=jobs.QUEUED, place=place))
        if lock is None:
            raise Stopped
    record.begin()
    write_json(job.path / "env.json", environment(config, threads))
    try:
        if job.kind == "train":
            return _train(job, config, record, threads)
        if job.kind == "inspect":
            from scdiff_core.data.inspect import inspect

            inspect(config, job, record.progress)
        elif job.kind == "screen":
            from scdiff_core.engine.screen_job import run_screen

            run_screen(job, config, record.progress)
        else:
            from scdiff_core.data.prepare import prepare

            prepare(config, job, record.progress)
        record.end(jobs.FINISHED, step=1000, total=1000, phase="done")
        return OK
    finally:
        if lock is not None:
            lock.close()


def _train(job: JobDir, config: Any, record: Record, threads: int) -> int:
    """Train, or go on training from the last checkpoint."""
    import torch

    from scdiff_core.engine.outputs import open_dataset
    from scdiff_core.engine.train import train

    prepared = open_dataset(Workspace(job.path.parent.parent), config.dataset, config.fingerprint)
    record.resumed = jobs.has_checkpoint(job)
    torch.set_num_threads(threads)
    event = None
    for event in train(job, prepared, config, resume=record.resumed):
        record.event(event)
    where: dict[str, Any] = {} if event is None else {"step": event.step, "total": event.total}
    if event is not None and event.stopped:
        record.end(jobs.STOPPED, phase="stopped", message="Stopped and saved.", **where)
        return INTERRUPTED
    record.end(jobs.FINISHED, phase="done", **where)
    return OK


@contextmanager
def asked_to_end(job: JobDir) -> Iterator[None]:
    """Make SIGTERM and Ctrl-C a polite end: a training saves first; a second Ctrl-C ends it at once."""
    def on_signal(number: int, frame: object) -> None:
        if job.kind != "train" or (number == signal.SIGINT and job.stop_requested()):
            raise Stopped
        (job.path / "stop").touch()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def environment(config: Any, threads: int) -> dict[str, Any]:
    """Return what a result depends on besides its configuration: versions, machine, device, seed, threads."""
    versions = {"scdiff_core": scdiff_core.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"versions": versions, "platform": platform.platform(), "machine": platform.machine(),
            "cores": os.cpu_count(), "threads": threads, "device": getattr(config, "device", "cpu"),
            "seed": getattr(config, "seed", 0), "started": time.time()}


def explain(job: JobDir, error: BaseException) -> ScdiffError:
    """Return an unexpected error in three plain sentences."""
    what = f"The {jobs.WORDS[job.kind]} of '{job.id}' stopped."
    if is_full(error):
        return disk_full(job.path / "log.txt")
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return ScdiffError(what, "The memory ran out.",
                           "Use fewer cells or genes, a smaller minibatch, or a machine with more memory.")
    said = ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])[:200]
    return ScdiffError(
        what, f"Something unexpected went wrong ({said}).",
        f"Start it again; if it fails once more, report it with the log in '{job.path / 'log.txt'}'.")
