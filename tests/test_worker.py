"""The warm worker, asked as the pages ask it. Generation is a stand-in here; the real one has its own test."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scdiff_core import process
from scdiff_core.config import TrainConfig
from scdiff_core.errors import ScdiffError
from scdiff_core.worker_client import Worker
from scdiff_core.workspace import JobDir, Workspace, read_json

FAKES = Path(__file__).parent / "fakes"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> JobDir:
    """A run whose dataset is not at hand."""
    return Workspace(tmp_path_factory.mktemp("w")).create(TrainConfig(dataset="d", fingerprint="f"), "a")


@pytest.fixture(scope="module")
def worker(run: JobDir) -> Iterator[Worker]:
    """One worker for all tests of this file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(FAKES))
        patch.setenv("FAKE_ENGINE", "worker")
        patch.setenv("FAKE_SECONDS", "0.03")
        one = Worker(run.path.parent.parent, threads=1)
        yield one
        one.close()


def generate(worker: Worker, run: JobDir, name: str, **config: Any) -> Any:
    return worker.request("generate", run=run.id, config={"n_cells": 3, **config},
                          out_dir=str(run.outputs / name))


def test_a_request_tells_how_far_it_is_and_ends_with_the_files_written(worker: Worker, run: JobDir) -> None:
    messages = list(generate(worker, run, "one"))
    shares = [m["progress"] for m in messages if m.get("phase") == "generating"]
    assert len(shares) == 20 and shares == sorted(shares) and shares[-1] < 1
    last = messages[-1]
    assert (last["done"], last["n_cells"], last["out_dir"]) == (True, 3, str(run.outputs / "one"))
    assert "no dataset 'd'" in last["note"]  # without it the cells are made, and not placed on its UMAP
    recipe = read_json(run.outputs / "one" / "recipe.json")
    assert (recipe["run"], recipe["n_cells"], recipe["config"]["n_cells"]) == ("a", 3, 3)
    assert not (run.outputs / "one" / "view.npz").exists()


def test_a_table_is_written_beside_the_cells(worker: Worker, run: JobDir) -> None:
    list(generate(worker, run, "table"))
    done = list(worker.request("export", out_dir=str(run.outputs / "table")))[-1]
    import pandas as pd

    table = pd.read_csv(done["path"])
    assert list(table.columns) == ["cell_id", "total_counts", "synthetic", "0", "1", "2", "3"]
    assert table["synthetic"].all()
    assert (table[["0", "1", "2", "3"]] == 1).all(axis=None)


def test_a_mistake_comes_back_in_three_sentences(worker: Worker, run: JobDir) -> None:
    for said, request in {
        "There is no run 'b'": worker.request("generate", run="b", config={}, out_dir="x"),
        "'n_cells'": generate(worker, run, "x", n_cells=0),
        "no setting 'sead'": generate(worker, run, "x", sead=1),
        "Did you mean 'generate'": worker.request("generat"),
        "is not one that": worker.request("report", out_dir=str(run.outputs / "none")),
    }.items():
        last = list(request)[-1]
        assert set(last["error"]) == {"what", "why", "fix"}
        if said != "is not one that":
            assert said in " ".join(last["error"].values())
    assert not (run.outputs / "x").exists()


def test_a_cancel_takes_hold_between_two_steps_and_leaves_no_cells(worker: Worker, run: JobDir) -> None:
    request = generate(worker, run, "cancelled")
    while next(request).get("phase") != "generating":
        pass
    request.cancel()
    assert list(request)[-1] == {"cancelled": True}
    assert not (run.outputs / "cancelled").exists()
    assert list(generate(worker, run, "after"))[-1]["done"]


def test_a_request_that_is_no_longer_read_is_cancelled(worker: Worker, run: JobDir) -> None:
    request = generate(worker, run, "left")
    while next(request).get("phase") != "generating":
        pass
    del request
    assert list(generate(worker, run, "next"))[-1]["done"]
    assert not (run.outputs / "left").exists()


def test_requests_of_several_sessions_wait_for_each_other_and_keep_their_messages_apart(
        worker: Worker, run: JobDir) -> None:
    worker.start()
    pid = worker.pid
    last: dict[str, Any] = {}

    def ask(name: str) -> None:
        last[name] = list(generate(worker, run, name))[-1]

    threads = [threading.Thread(target=ask, args=(f"many{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: m["out_dir"] for name, m in last.items()} == \
        {f"many{i}": str(run.outputs / f"many{i}") for i in range(4)}
    assert worker.pid == pid


def test_a_poll_never_waits(worker: Worker, run: JobDir) -> None:
    request = generate(worker, run, "polled")
    seen: list[dict[str, Any]] = []
    end = time.monotonic() + 30
    while not request.ended and time.monotonic() < end:
        seen += request.poll()
        time.sleep(0.01)
    assert seen[-1]["done"] is True
    assert request.poll() == []


def test_a_killed_worker_is_reported_and_started_again(worker: Worker, run: JobDir) -> None:
    request = generate(worker, run, "killed")
    next(request)
    pid = worker.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    last = list(request)[-1]
    assert "ended" in last["error"]["what"] and "started anew" in last["error"]["fix"]
    assert list(generate(worker, run, "again"))[-1]["done"]
    assert worker.pid not in (None, pid)


def test_a_worker_that_dies_at_its_work_ends_its_request(
        run: JobDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(FAKES))
    monkeypatch.setenv("FAKE_ENGINE", "worker")
    monkeypatch.setenv("FAKE_ENDING", "die")
    dying = Worker(run.path.parent.parent, threads=1)
    assert "error" in list(generate(dying, run, "died"))[-1]
    dying.close()


def test_the_worker_ends_with_the_server(run: JobDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_ENGINE", "worker")
    script = ("import sys, time; from scdiff_core.worker_client import Worker; w = Worker(sys.argv[1]);"
              "print(list(w.request('nothing'))[-1]['error']['what'], w.pid, flush=True); time.sleep(60)")
    root = Path(__file__).parent.parent
    server = subprocess.Popen([sys.executable, "-c", script, str(run.path.parent.parent)], text=True, cwd=root,
                              stdout=subprocess.PIPE,
                              env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{FAKES}"})
    assert server.stdout is not None
    pid = int(server.stdout.readline().split()[-1])
    start = process.started_at(pid)
    assert start is not None
    server.kill()
    server.wait()
    server.stdout.close()
    assert process.wait(pid, start, patience=20)


def test_a_bug_is_told_as_an_error_and_the_next_request_is_answered(
        capsys: pytest.CaptureFixture[str]) -> None:
    from scdiff_core.engine.worker_loop import Loop

    class Service:
        workspace = Workspace("nowhere")

        def answer(self, op: str, values: dict[str, Any], tell: Any) -> dict[str, Any]:
            if op == "bug":
                raise ValueError("bad\nvalue")
            tell("half", 0.5)
            return {"op": op, **values}

    out = io.StringIO()
    loop = Loop(Service(), io.StringIO(), out)  # type: ignore[arg-type]
    loop.todo.put({"id": 1, "op": "bug"})
    loop.todo.put({"id": 2, "op": "x", "a": 2})
    loop.todo.put(None)
    loop.serve()
    said = [json.loads(line) for line in out.getvalue().splitlines()]
    assert "ValueError: bad" in said[0]["error"]["why"] and "worker.log" in said[0]["error"]["fix"]
    assert said[1:] == [{"id": 2, "phase": "half", "progress": 0.5}, {"id": 2, "done": True, "op": "x", "a": 2}]
    assert "Traceback" in capsys.readouterr().err  # which goes to worker.log


def test_a_worker_that_cannot_start_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    broken = Worker(tmp_path)
    try:
        last = list(broken.request("warm", run="a"))[-1]
    except ScdiffError as error:
        last = {"error": error.to_dict()}
    assert "worker.log" in last["error"]["why"]
    broken.close()


def test_a_worker_that_cannot_start_tells_its_requests(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "torch.py").write_text("raise RuntimeError('a broken installation')\n")
    monkeypatch.setenv("PYTHONPATH", str(broken))
    worker = Worker(tmp_path / "w", threads=1)
    last = list(worker.request("warm", run="a"))[-1]
    assert "ended" in last["error"]["what"]
    worker.close()
