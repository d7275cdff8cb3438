"""The server's end of the warm worker: a process that keeps models loaded, asked by lines of JSON.

Every session of the server shares one `Worker`. Requests from several threads wait in the worker's own
line; each has its messages to itself. A request that is no longer read (the page was left) is cancelled.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scdiff_core import process
from scdiff_core.errors import ScdiffError

Mailbox = queue.SimpleQueue[dict[str, Any]]
Child = subprocess.Popen[str]


class Request(Iterator[dict[str, Any]]):
    """What the worker says to one request: progress, and last `done`, `error` or `cancelled`."""

    def __init__(self, worker: Worker, number: int) -> None:
        self.worker, self.number = worker, number
        self.messages: Mailbox = queue.SimpleQueue()
        self.ended = False

    def __next__(self) -> dict[str, Any]:
        """Wait for the next message and return it."""
        if self.ended:
            raise StopIteration
        message = self.messages.get()
        self.ended = is_last(message)
        return message

    def poll(self) -> list[dict[str, Any]]:
        """Return the messages that have come since the last look, without waiting."""
        new = []
        while not self.ended and not self.messages.empty():
            new.append(next(self))
        return new

    def cancel(self) -> None:
        """Ask the worker to leave it at that; the last message then is `cancelled`."""
        if not self.ended:
            self.worker.cancel(self)

    def __del__(self) -> None:
        self.cancel()


def is_last(message: dict[str, Any]) -> bool:
    """Say whether a message is the last one of its request."""
    return any(key in message for key in ("done", "error", "cancelled"))


class Worker:
    """One warm worker process; it is started when it is first asked, and again after it died.

    Parameters
    ----------
    workspace
        The root of the workspace it serves.
    threads
        How many threads it computes with; 0: one less than there are cores.
    """

    def __init__(self, workspace: Path | str, threads: int = 0) -> None:
        self.workspace = Path(workspace).absolute()
        self.threads = process.threads_for(threads)
        self._lock = threading.RLock()
        self._child: Child | None = None
        self._pending: dict[int, tuple[Child, Mailbox]] = {}
        self._numbers = itertools.count(1)

    @property
    def pid(self) -> int | None:
        """The worker's pid, None if it is not running."""
        child = self._child
        return child.pid if child is not None and child.poll() is None else None

    def start(self) -> None:
        """Start the process if it is not running."""
        with self._lock:
            if self.pid is not None:
                return
            self.workspace.mkdir(parents=True, exist_ok=True)
            with open(self.workspace / "worker.log", "wb") as log:
                child = subprocess.Popen(
                    [sys.executable, "-u", "-m", "scdiff_core", "worker", "--workspace", str(self.workspace)],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, encoding="utf-8",
                    start_new_session=True, env=process.environment(self.threads))
            self._child = child
            threading.Thread(target=self._listen, args=(child,), daemon=True).start()

    def request(self, op: str, **values: Any) -> Request:
        """Send a request and return its messages, to be read one by one.

        The last message has `done` with the result, `error` with what, why and fix, or `cancelled`.
        """
        with self._lock:
            for _ in range(2):  # it may have died a moment ago
                self.start()
                assert self._child is not None
                request = Request(self, next(self._numbers))
                self._pending[request.number] = (self._child, request.messages)
                try:
                    self._send({"id": request.number, "op": op, **values})
                    return request
                except OSError:
                    self._pending.pop(request.number, None)
                    self._child.wait()
            raise self._gone()

    def cancel(self, request: Request | None = None) -> None:
        """Cancel one request, or all of them."""
        with self._lock:
            numbers = list(self._pending) if request is None else [request.number]
            for number in numbers:
                if number in self._pending and self.pid is not None:
                    try:
                        self._send({"cancel": number})
                    except OSError:
                        return  # it just died; its requests are told so by the listening thread

    def close(self) -> None:
        """End the process: it ends by itself when its input closes."""
        with self._lock:
            child, self._child = self._child, None
        if child is None:
            return
        if child.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it is gone already
                child.stdin.close()
        try:
            child.wait(timeout=3)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def _send(self, message: dict[str, Any]) -> None:
        assert self._child is not None and self._child.stdin is not None
        self._child.stdin.write(json.dumps(message) + "\n")
        self._child.stdin.flush()

    def _gone(self) -> ScdiffError:
        return ScdiffError(
            "The generating process ended.",
            f"It was killed, or the memory ran out (its log is '{self.workspace / 'worker.log'}').",
            "Try again: it is started anew. If it ends again, ask for fewer cells at a time.")

    def _listen(self, child: Child) -> None:
        """Hand each message to its request; when the process ends, tell those that still wait for it."""
        assert child.stdout is not None
        for line in child.stdout:
            try:
                message = json.loads(line)
                number = message.pop("id")
            except (ValueError, KeyError, AttributeError):
                continue  # no answer to a request: it could not start, and says so on its way out
            with self._lock:
                _, mailbox = self._pending.get(number, (None, None))
                if is_last(message):
                    self._pending.pop(number, None)
            if mailbox is not None:
                mailbox.put(message)
        child.wait()
        with self._lock:
            left = [(n, mailbox) for n, (its, mailbox) in self._pending.items() if its is child]
            for number, mailbox in left:
                del self._pending[number]
                mailbox.put({"error": self._gone().to_dict()})
