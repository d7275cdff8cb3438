"""Two processes over gloo learn what one learns from the whole minibatch."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_data import small_config, small_prepared

from scdiff_core import cli_torchrun
from scdiff_core.engine import checkpoint, distributed
from scdiff_core.engine.train import train
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import Workspace

SCRIPT = Path(__file__).parent / "two_processes.py"
ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.mark.slow
def test_two_processes_have_the_loss_curve_of_one(tmp_path: Path) -> None:
    prepared = small_prepared()
    config = small_config(prepared, codec={"dropout": 0.0}, diffusion={"dropout": 0.0})
    space = Workspace(tmp_path)
    both, one = space.create(config, "both"), space.create(config, "one")
    port = str(free_port())
    started = [subprocess.Popen([sys.executable, str(SCRIPT), str(both.path) if rank == 0 else "not told"], cwd=ROOT,
                                stderr=subprocess.PIPE, text=True,
                                env={**os.environ, "RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
                                     "MASTER_PORT": port, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)})
               for rank in (0, 1)]
    alone = [(e.phase, e.step, e.loss_train, e.loss_test) for e in train(one, prepared, config, resume=False)
             if e.loss_test is not None]
    said = [p.communicate(timeout=240)[1] for p in started]
    assert [p.returncode for p in started] == [0, 0], said
    rows = [(r["phase"], r["step"], r["loss_train"], r["loss_test"]) for r in both.metrics()]
    assert [r[:2] for r in rows] == [r[:2] for r in alone]
    np.testing.assert_allclose([r[2:] for r in rows], [r[2:] for r in alone], rtol=2e-4)
    weights = [checkpoint.load(checkpoint.path_of(job, checkpoint.BEST))[0] for job in (both, one)]
    far = max(float((weights[0][k].float() - weights[1][k].float()).abs().max()) for k in weights[0])
    assert far < 0.02  # Adam makes much of roundings where a gradient is next to nothing


def test_each_process_has_its_own_part_of_a_minibatch() -> None:
    parts = [distributed.Group(rank, 4).part(32) for rank in range(4)]
    assert np.concatenate([np.arange(32)[p] for p in parts]).tolist() == list(range(32))
    with pytest.raises(ScdiffError, match="do not divide by 3"):
        distributed.Group(0, 3).part(32)


def test_a_process_alone_needs_no_other() -> None:
    group, x = distributed.Group(), torch.ones(3)
    group.average([x])
    group.share([x])
    assert group.first(2.5) == 2.5 and x.sum() == 3 and group.writes
    assert distributed.join() == group and distributed.told("a") == "a"


def test_the_command_knows_which_process_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not cli_torchrun.launched() and not cli_torchrun.follows()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    assert cli_torchrun.launched() and not cli_torchrun.follows()
    monkeypatch.setenv("RANK", "1")
    assert cli_torchrun.follows()
