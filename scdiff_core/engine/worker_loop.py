"""How the warm worker is asked: lines of JSON on its input, answers on its output.

A request is `{"id": n, "op": ..., ...}` (see `worker`); each answer carries the `id`, the last one `done`, `error` or
`cancelled`. `{"cancel": n}` ends a request between two sampler steps. The process ends with its input.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
import traceback
from functools import partial
from typing import IO, Any

from scdiff_core import process
from scdiff_core.engine.worker import Service
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import Workspace, disk_full, is_full


class Cancelled(BaseException):
    """The request is not wanted any more. No `Exception`, so that nothing swallows it."""


class Loop:
    """Reads requests in one thread, answers them one after another in the main one."""

    def __init__(self, service: Service, lines: IO[str], out: IO[str]) -> None:
        self.service, self.lines, self.out = service, lines, out
        self.todo: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.unwanted: set[int] = set()
        self.ending = False
        self.busy = False
        self.lock = threading.Lock()

    def say(self, number: int, message: dict[str, Any]) -> None:
        """Write one message."""
        with self.lock:
            self.out.write(json.dumps({"id": number, **message}) + "\n")
            self.out.flush()

    def tell(self, number: int, phase: str, fraction: float) -> None:
        """Tell how far a request is; raises `Cancelled` if it is not wanted any more."""
        if number in self.unwanted or self.ending:
            raise Cancelled
        self.say(number, {"phase": phase, "progress": round(fraction, 3)})

    def read(self) -> None:
        """Take requests and cancels until the input closes, then see that the process ends."""
        for line in self.lines:
            message = json.loads(line)
            if "cancel" in message:
                self.unwanted.add(message["cancel"])
                continue
            if self.busy or not self.todo.empty():
                self.say(message["id"], {"phase": "waiting for another request", "progress": 0.0})
            self.todo.put(message)
        self.ending = True
        self.todo.put(None)
        time.sleep(5.0)  # for what it is doing to end
        os._exit(0)

    def serve(self) -> None:
        """Answer requests until the input closes."""
        while (request := self.todo.get()) is not None:
            self.busy = True
            number, op = request.pop("id"), request.pop("op")
            try:
                result = self.service.answer(op, request, partial(self.tell, number))
                self.say(number, {"done": True, **result})
            except BrokenPipeError:
                return
            except Cancelled:
                self.say(number, {"cancelled": True})
            except ScdiffError as error:
                self.say(number, {"error": error.to_dict()})
            except Exception as error:
                traceback.print_exc()
                self.say(number, {"error": explain(self.service.workspace, error).to_dict()})
            self.unwanted.discard(number)
            self.busy = False


def explain(workspace: Workspace, error: Exception) -> ScdiffError:
    """Return an unexpected error in three plain sentences; its traceback is in worker.log."""
    log = workspace.root / "worker.log"
    if is_full(error):
        return disk_full(log)
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return ScdiffError("The request could not be done.", "The memory ran out.",
                           "Ask for fewer cells at a time.")
    return ScdiffError("The request could not be done.",
                       f"Something unexpected went wrong ({type(error).__name__}: {str(error)[:200]}).",
                       f"Try again; if it fails once more, report it with the log in '{log}'.")


def serve(workspace: Workspace) -> None:
    """Be the worker of a workspace on this process's stdin and stdout; prints of libraries go to stderr."""
    import anndata  # noqa: F401 - slow to import, so before the first request
    import torch

    import scdiff_core.engine.generate
    import scdiff_core.engine.model  # noqa: F401  (the slow imports, before somebody waits for them)

    torch.set_num_threads(process.threads_for())
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.stdout = sys.stderr
    loop = Loop(Service(workspace), sys.stdin, out)
    threading.Thread(target=loop.read, daemon=True).start()
    loop.serve()
