"""Processes of their own: start one, tell whether it is alive, end it, and how many threads it has."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent  # of the project, so that a child finds the package
SAME_START = 2.0  # s; the clock may be set while a job runs, and a pid is not used again that fast

_children: dict[int, subprocess.Popen[bytes]] = {}
_lock = threading.Lock()


def started_at(pid: int) -> float | None:
    """Return when a process started (seconds since the epoch); None if it has ended.

    A finished child that nobody has waited for still answers to its pid: children of this process are
    reaped first, and those of others are told by their state.
    """
    with _lock:
        child = _children.get(pid)
        if child is not None and child.poll() is not None:
            del _children[pid]
            return None
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        return process.create_time()
    except (psutil.NoSuchProcess, ValueError, OverflowError):
        return None
    except psutil.AccessDenied:
        return 0.0


def alive(pid: object, start: object) -> bool:
    """Say whether the process with this pid *and* this start time is running."""
    if not isinstance(pid, int) or isinstance(pid, bool) or pid <= 0 or not isinstance(start, int | float):
        return False
    now = started_at(pid)
    return now is not None and abs(now - start) < SAME_START


def identity() -> dict[str, float | int]:
    """Return the pid and start time of this process, as status.json keeps them."""
    return {"pid": os.getpid(), "pid_started": psutil.Process().create_time()}


def spawn(arguments: Sequence[str], log: Path, threads: int) -> int:
    """Start `python -m scdiff_core ARGUMENTS` in a session of its own and return its pid.

    What it says goes to `log`. Its own session keeps it running when the server that started it ends.
    """
    with open(log, "ab") as handle:
        child = subprocess.Popen(
            [sys.executable, "-u", "-m", "scdiff_core", *arguments],
            stdin=subprocess.DEVNULL, stdout=handle, stderr=handle, start_new_session=True,
            env=environment(threads))
    with _lock:
        _children[child.pid] = child
    return child.pid


def environment(threads: int) -> dict[str, str]:
    """Return the environment of a child: the package on its path, and its number of threads set."""
    path = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH", "")) if p)
    return {**os.environ, **thread_settings(threads), "PYTHONPATH": path}


def end(pid: int, start: float, patience: float = 10.0) -> None:
    """Ask a process and its session to end; after `patience` seconds, make them."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if not alive(pid, start):
            return
        try:
            if os.getpgid(pid) == pid:  # the leader of its own group: its helpers go with it
                os.killpg(pid, sign)
            else:
                os.kill(pid, sign)
        except ProcessLookupError:
            return
        wait(pid, start, patience)


def wait(pid: int, start: float, patience: float) -> bool:
    """Wait until a process has ended, at most `patience` seconds; say whether it has."""
    until = time.monotonic() + patience
    while alive(pid, start):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def threads_for(asked: int = 0) -> int:
    """Return how many threads a job has: what was asked for, `OMP_NUM_THREADS`, or one less than the cores.

    One is left to the server and its pages: two threads on two busy cores ran twenty times slower than one.
    """
    if asked > 0:
        return asked
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdigit() and int(told) > 0:
        return int(told)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores - 1)


def thread_settings(threads: int) -> dict[str, str]:
    """Return the environment variables that hold numpy, torch and numba to `threads`."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
             "NUMBA_NUM_THREADS")
    return dict.fromkeys(names, str(threads))
