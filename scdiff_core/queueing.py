"""One training at a time on a device: the next ones wait in line, oldest first.

The line is nothing but the runs whose status says "queued" and whose process is alive, in the order
of their asking; the device is held by a lock on a file, which the system frees however its holder ends.
So the line outlives the server, and a killed job leaves nothing behind.
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from scdiff_core import process
from scdiff_core.workspace import JobDir, Workspace

START_GRACE = 60.0  # s in which a started process must have said who it is


def device_name(asked: str) -> str:
    """Return the device a run will use, told without importing torch (`auto` takes the best there is)."""
    if asked != "auto":
        return asked
    if Path("/proc/driver/nvidia/gpus").is_dir() and os.environ.get("CUDA_VISIBLE_DEVICES") != "":
        return "cuda"
    return "mps" if platform.system() == "Darwin" and platform.machine() == "arm64" else "cpu"


def try_lock(path: Path) -> IO[bytes] | None:
    """Return an open file that holds the lock at `path`, or None if another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = open(path, "ab")  # noqa: SIM115 - the caller keeps it open for as long as it holds the lock
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        return None
    return handle


def waiting(workspace: Workspace, device: str | None = None) -> list[JobDir]:
    """Return the runs that wait for a device (for any, if None), the oldest first."""
    line = []
    for job in workspace.list("train"):
        status = job.status()
        if status.get("state") != "queued" or (device is not None and status.get("device") != device):
            continue
        asked = status.get("queued", 0.0)
        starting = status.get("pid") is None and time.time() - asked < START_GRACE
        if starting or process.alive(status.get("pid"), status.get("pid_started")):
            line.append((asked, job.id, job))
    return [job for _, _, job in sorted(line, key=lambda entry: entry[:2])]


def wait_for_device(job: JobDir, device: str, told: Callable[[int], None],
                    poll: float = 0.3) -> IO[bytes] | None:
    """Wait until `device` is free and no older run waits for it; return the lock, None if asked to stop.

    Parameters
    ----------
    job
        The run, whose status says "queued", with the time of asking and the device.
    told
        Called with the place in line (1: next) whenever it changes.
    """
    workspace = Workspace(job.path.parent.parent)
    path = workspace.root / "locks" / (re.sub(r"[^A-Za-z0-9]+", "-", device) + ".lock")
    place = 0
    while not job.stop_requested():
        line = [j.id for j in waiting(workspace, device)]
        now = line.index(job.id) + 1 if job.id in line else 1
        if now == 1:
            lock = try_lock(path)
            if lock is not None:
                return lock
        if now != place:
            place = now
            told(place)
        time.sleep(poll)
    return None
