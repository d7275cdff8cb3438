"""What the tests of the Design page begin with: a workspace, a run that is one by its files, a worker that answers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from design_page import Open
from fake_design import FakeWorker, write_fake_design
from helpers import prepared_tiny
from streamlit.testing.v1 import AppTest
from test_ui_pages import open_page

from scdiff_core.config import TrainConfig
from scdiff_core.data.prepared import Prepared
from scdiff_core.workspace import Workspace


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a dataset of three types and a run that is one by its files."""
    root = tmp_path_factory.mktemp("design")
    prepared = prepared_tiny(root, "cells")
    run = Workspace(root).create(TrainConfig(dataset="cells", fingerprint=prepared.fingerprint), "run")
    run.write_status(state="finished")
    run.checkpoints.mkdir()
    (run.checkpoints / "best.safetensors").write_bytes(b"not opened here")
    return root


@pytest.fixture
def space(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The same for a test of its own, as the server's."""
    shutil.copytree(made, tmp_path / "w")
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(tmp_path / "w"))
    return Workspace(tmp_path / "w")


@pytest.fixture
def prepared(space: Workspace) -> Prepared:
    """The dataset."""
    return Prepared.open(space.open("prepare", "cells"))


@pytest.fixture
def fake(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> FakeWorker:
    """The worker, which answers out of the real cells' values."""
    from pages._shared import worker

    fake = FakeWorker(prepared)
    for name in ("submit", "under_way", "forget"):
        monkeypatch.setattr(worker, name, getattr(fake, name))
    return fake


@pytest.fixture
def page(space: Workspace, fake: FakeWorker) -> Open:
    """What opens the page."""
    def start(**state: object) -> AppTest:
        at = open_page("design", dataset="cells", run="run", **state)
        assert not at.error, [e.value for e in at.error]
        return at

    return start


@pytest.fixture
def two(prepared: Prepared) -> tuple[str, str]:
    """Two genes at which most cells of one type are, each of a type of its own: hardly any cell has both."""
    x, labels = prepared.log1p().toarray(), prepared.labels("cell_type")
    found = []
    for kind in ("B", "T"):
        inside = labels == kind
        level = np.quantile(x[inside], 0.3, axis=0)
        best = int(np.argmax((x[inside] >= level).mean(0) - (x[~inside] >= level).mean(0)))
        found.append(f"{prepared.genes[best]} up {level[best]:.2f}")
    return found[0], found[1]


@pytest.fixture
def designed(space: Workspace, prepared: Prepared) -> Path:
    """A designed set."""
    return write_fake_design(space.open("train", "run"), prepared)
