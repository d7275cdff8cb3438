"""A run that was stopped and resumed has the weights of one that was not, bit by bit."""

from __future__ import annotations

import shutil

import pytest
import torch
from engine_data import small_config, small_prepared

from scdiff_core.config_files import from_yaml
from scdiff_core.engine import checkpoint
from scdiff_core.engine.train import train
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import Workspace


def weights(job, name="last"):
    return checkpoint.load(checkpoint.path_of(job, name))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    prepared = small_prepared()
    config = small_config(prepared, codec={"dropout": 0.2})
    job = Workspace(tmp_path_factory.mktemp("w")).create(config, "unbroken")
    list(train(job, prepared, config, resume=False))
    return prepared, config, job


def run_with_stops(workspace, prepared, config, stops):
    """Train, stopping at the first event at or past each of the steps."""
    job = workspace.create(config, "broken")
    resume = False
    for stop in [*stops, None]:
        ended = None
        for event in train(job, prepared, config, resume=resume):
            ended = event
            if stop is not None and event.step >= stop:
                (job.path / "stop").touch()
        (job.path / "stop").unlink(missing_ok=True)
        assert ended is not None
        assert ended.stopped is (stop is not None)
        torch.manual_seed(12345)  # whatever another process would have
        resume = True
    return job


@pytest.mark.parametrize("stops", [[7], [30], [31], [45], [3, 12, 33, 50]],
                         ids=["codec", "codec ends", "calibrated", "diffusion", "often"])
def test_stopped_and_resumed_gives_the_same_weights(unbroken, tmp_path, stops):
    prepared, config, job = unbroken
    other = run_with_stops(Workspace(tmp_path), prepared, config, stops)
    for name in ("last", "best"):
        (one, meta), (two, meta_two) = weights(job, name), weights(other, name)
        assert one.keys() == two.keys()
        assert all(torch.equal(one[k], two[k]) for k in one if k != "random.torch")
        assert meta == meta_two
    assert any(k.startswith("optimiser.") for k in weights(job)[0])
    assert any(k.startswith("average.") for k in weights(job)[0])


def test_a_killed_run_goes_on_from_its_last_checkpoint(unbroken, tmp_path):
    """Killed between two checkpoints: the steps since the last one are taken again, to the same end."""
    prepared, config, job = unbroken
    config = config.model_copy(update={"checkpoint_every_s": 1e-9})
    other = Workspace(tmp_path).create(config, "killed")
    for event in train(other, prepared, config, resume=False):
        if event.step >= 44:
            break  # the generator is dropped: nothing is saved on the way out
    list(train(other, prepared, config, resume=True))
    (one, _), (two, _) = weights(job), weights(other)
    assert all(torch.equal(one[k], two[k]) for k in one if k != "random.torch")


def test_a_torn_temporary_file_does_no_harm(unbroken, tmp_path):
    _, _, job = unbroken
    copy = tmp_path / "copy"
    shutil.copytree(job.path, copy)
    (copy / "checkpoints" / ".last.safetensors.1.abc.tmp").write_bytes(b"half")
    tensors, _ = checkpoint.load(copy / "checkpoints" / "last.safetensors")
    assert tensors.keys() == weights(job)[0].keys()


@pytest.mark.parametrize("damage", ["truncated", "text", "missing"])
def test_a_damaged_checkpoint_is_told(unbroken, tmp_path, damage):
    prepared, config, job = unbroken
    other = Workspace(tmp_path).create(config, "damaged")
    shutil.copytree(job.checkpoints, other.checkpoints)
    path = checkpoint.path_of(other, "last")
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:200] if damage == "truncated" else b"not a checkpoint at all")
    with pytest.raises(ScdiffError) as caught:
        list(train(other, prepared, config, resume=True))
    assert "no model yet" in caught.value.what or "cannot be opened" in caught.value.what


def test_a_checkpoint_of_other_data_is_refused(unbroken, tmp_path):
    prepared, config, job = unbroken
    config = config.model_copy(update={"fingerprint": "0" * 64})
    other = Workspace(tmp_path).create(config, "other")
    shutil.copytree(job.checkpoints, other.checkpoints)
    with pytest.raises(ScdiffError, match="other data"):
        list(train(other, prepared, config, resume=True))


def test_the_configuration_on_disk_is_that_of_the_run(unbroken):
    _, config, job = unbroken
    assert from_yaml(job.path / "config.yaml") == config
