"""The servers of the browser's tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class App:
    """A server of the app and what is in its workspace."""

    url: str
    workspace: Path
    dataset: str
    run: str


class Servers:
    """The Streamlit servers of the tests, by their address, and their logs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: dict[str, subprocess.Popen] = {}
        self.logs: dict[str, Path] = {}
        self.lasting: set[str] = set()  # those that do not end with a test file

    def __call__(
        self, script: Path, workspace: Path | None = None, env: dict[str, str] | None = None, port: int | None = None
    ) -> str:
        """Start `script` and return its address once it answers."""
        port = port or _free_port()
        url = f"http://127.0.0.1:{port}"
        extra = {"SCDIFF_WORKSPACE": str(workspace)} if workspace else {}
        settings = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **extra, **(env or {})}
        self.logs[url] = log = self.folder / f"server-{port}-{time.monotonic_ns()}.txt"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(port),
                 "--server.headless", "true", "--server.address", "127.0.0.1",
                 "--browser.gatherUsageStats", "false", "--server.fileWatcherType", "none"],
                cwd=ROOT, env=settings, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            )
        self.running[url] = process
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline and process.poll() is None:
            try:
                with urllib.request.urlopen(f"{url}/_stcore/health", timeout=5) as answer:
                    if answer.status == 200:
                        return url
            except OSError:
                time.sleep(0.1)
        self.stop(url)
        raise RuntimeError(f"the server did not start:\n{log.read_text(errors='replace')[-3000:]}")

    def stop(self, url: str) -> None:
        """End the server at this address, as a restart of the machine would; jobs it started go on."""
        process = self.running.pop(url)
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
