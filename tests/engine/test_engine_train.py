"""Training: events, checkpoints, previews, early stopping, and what happens when the loss comes apart."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from engine_data import small_config, small_prepared

from scdiff_core import keys
from scdiff_core.engine import checkpoint, device
from scdiff_core.engine.batches import Cells, split_training
from scdiff_core.engine.estimate import estimate_seconds
from scdiff_core.engine.preview import Preview
from scdiff_core.engine.train import Training, train
from scdiff_core.engine.train_codec import CodecPhase
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import Workspace


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    prepared = small_prepared()
    config = small_config(prepared, preview_every_s=0.001)
    job = Workspace(tmp_path_factory.mktemp("w")).create(config, "one")
    return job, prepared, config, list(train(job, prepared, config, resume=False))


def test_events_tell_every_phase_and_end_at_the_total(trained):
    _, _, config, events = trained
    assert [e.phase for i, e in enumerate(events) if not i or events[i - 1].phase != e.phase] == [
        "codec", "calibrate", "diffusion"]
    assert [e.step for e in events] == sorted(e.step for e in events)
    assert events[-1].step == events[-1].total == config.codec.steps + 1 + config.diffusion.steps
    assert all(math.isfinite(e.loss_train) for e in events)
    assert sum(e.loss_test is not None for e in events) > 20
    assert {e.device for e in events} == {"cpu"}
    assert all(e.memory_mb > 50 for e in events)
    assert not any(e.stopped for e in events)
    json.dumps([vars(e) for e in events], allow_nan=False)


def test_codec_and_diffusion_learn(tmp_path):
    prepared = small_prepared(600)
    config = small_config(prepared, codec={"steps": 200, "kl_weight": 0.1}, diffusion={"steps": 200, "width": 64})
    job = Workspace(tmp_path).create(config, "longer")
    events = list(train(job, prepared, config, resume=False))
    codec, diffusion = ([e.loss_test for e in events if e.phase == p and e.loss_test] for p in ("codec", "diffusion"))
    assert codec[-1] < 0.95 * codec[0]
    assert diffusion[-1] < diffusion[0] - 0.02


def test_previews_are_small_arrays_with_an_index(trained):
    job, _, config, _ = trained
    real = np.load(job.preview / "real.npz", allow_pickle=False)
    assert json.loads(str(real["names"])) == ["B", "CD4 T", "NK"]
    assert real["xy"].shape == real["pca2"].shape == (len(real["codes"]), 2)
    steps = json.loads((job.preview / "index.json").read_text())["snapshots"]
    assert steps == sorted(steps)
    assert steps[-1] == config.codec.steps + 1 + config.diffusion.steps
    assert {p.name for p in job.preview.glob("snap_*")} == {f"snap_{s}.npz" for s in steps}
    snap = np.load(job.preview / f"snap_{steps[-1]}.npz", allow_pickle=False)
    assert snap["xy"].shape == snap["pca2"].shape == (len(snap["codes"]), 2)
    assert set(snap["codes"]) <= {0, 1, 2, 3}
    assert np.all(snap["distance"] >= 0)
    assert int(snap["step"]) == steps[-1]


def test_old_snapshots_are_thinned_out(trained, tmp_path):
    _, prepared, config, _ = trained
    job = Workspace(tmp_path).create(config, "many")
    rows, _ = split_training(prepared, 0)
    preview = Preview(job, prepared, Cells(prepared, rows, torch.device("cpu")), rows, 1.0)
    for step in range(200):
        (job.preview / f"snap_{step}.npz").touch()
        preview._index([*preview.steps(), step])
    kept = preview.steps()
    assert len(kept) <= 121
    assert kept[0] == 0
    assert kept[-60:] == list(range(140, 200))
    assert len(list(job.preview.glob("snap_*"))) == len(kept)


def test_checkpoints_are_single_safetensors_files(trained):
    job = trained[0]
    assert {p.name for p in job.checkpoints.iterdir()} == {
        "last.safetensors", "best.safetensors", "reference.safetensors"}
    _, meta = checkpoint.load(checkpoint.path_of(job, "best"))
    assert meta["phase"] == "diffusion"
    assert meta["held_out"] < 1.05


def test_held_out_cells_are_of_the_training_split_and_the_test_split_is_left_alone():
    prepared = small_prepared(600)
    learnt, watched = split_training(prepared, 0)
    assert sorted([*learnt, *watched]) == list(prepared.rows(keys.TRAIN))
    assert len(watched) == round(0.06 * len(prepared.rows(keys.TRAIN)))
    few = small_prepared(40)
    assert np.array_equal(*split_training(few, 0))


def test_no_information_of_test_cells_reaches_the_weights(tmp_path):
    """Other values in the test cells, the same model."""
    states = []
    for change in (0, 5):
        prepared = small_prepared()
        for row in prepared.rows(keys.TEST):
            at = slice(prepared.counts.indptr[row], prepared.counts.indptr[row + 1])
            prepared.counts.data[at] += change
        job = Workspace(tmp_path).create(config := small_config(prepared), f"run{change}")
        list(train(job, prepared, config, resume=False))
        states.append(checkpoint.load(checkpoint.path_of(job, "last"))[0])
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def test_minibatches_hold_the_cells_and_their_normalised_values():
    prepared = small_prepared()
    cells = Cells(prepared, np.array([5, 9, 3]), torch.device("cpu"))
    m = cells.take(np.array([2, 0]))
    assert np.array_equal(m.values.dense().numpy(), prepared.counts[[3, 5]].toarray())
    np.testing.assert_allclose(m.log1p.numpy(), prepared.log1p([3, 5]).toarray(), rtol=1e-5)
    np.testing.assert_allclose(m.total.numpy(), prepared.total_counts[[3, 5]])


def test_thinning_keeps_a_share_of_every_molecule():
    prepared = small_prepared()
    cells = Cells(prepared, np.arange(200), torch.device("cpu"))
    rows = np.arange(200)
    less, total, values = cells.thinned(rows, 0.7, torch.Generator().manual_seed(0))
    counts = less.values.dense()
    whole = cells.take(rows)
    assert torch.equal(values.dense(), whole.values.dense())
    assert torch.equal(total, whole.total)
    assert torch.all(counts <= whole.values.dense())
    assert torch.equal(counts, counts.round())
    assert (counts.sum() / whole.values.dense().sum()).item() == pytest.approx(0.7, abs=0.01)
    assert (less.total.sum() / whole.total.sum()).item() == pytest.approx(0.7, abs=0.01)
    assert torch.all(less.total >= counts.sum(1))


@pytest.mark.parametrize(("values", "kind"), [(keys.CONTINUOUS, "vae"), (keys.CONTINUOUS, "pca"), (keys.COUNTS, "pca")])
def test_other_codecs_and_values_train(tmp_path, values, kind):
    prepared = small_prepared(values=values)
    config = small_config(prepared, codec={"kind": kind, "thin": 1.0})
    job = Workspace(tmp_path).create(config, "other")
    events = list(train(job, prepared, config, resume=False))
    codec = [e.loss_test for e in events if e.phase == "codec" and e.loss_test is not None]
    assert codec[-1] < codec[0]
    assert checkpoint.path_of(job, "best").exists()


def test_no_labels_at_all_train(tmp_path):
    prepared = small_prepared(labels=False)
    job = Workspace(tmp_path).create(config := small_config(prepared), "plain")
    list(train(job, prepared, config, resume=False))
    assert json.loads(str(np.load(job.preview / "real.npz")["names"])) == ["cells"]


def test_early_stopping_ends_a_phase_that_gets_worse(tmp_path):
    prepared = small_prepared(100)
    config = small_config(prepared, codec={"kl_weight": 0.0, "steps": 60}, diffusion={
        "steps": 2000, "lr": 5e-3, "ema": 0.9, "patience": 3, "width": 96, "dropout": 0.0})
    job = Workspace(tmp_path).create(config, "early")
    events = list(train(job, prepared, config, resume=False))
    assert events[-1].step == events[-1].total < config.codec.steps + 1 + 2000
    losses = [e.loss_test for e in events if e.phase == "diffusion" and e.loss_test]
    _, meta = checkpoint.load(checkpoint.path_of(job, "best"))
    assert meta["held_out"] <= min(losses) + 0.006
    assert min(losses[-3:]) > min(losses) + 0.005


@pytest.mark.parametrize("phase", ["codec", "diffusion"])
def test_a_loss_that_is_not_finite_stops_the_run_with_a_remedy(tmp_path, phase):
    prepared = small_prepared()
    config = small_config(prepared, **{phase: {"lr": 1e18}})
    job = Workspace(tmp_path).create(config, "broken")
    with pytest.raises(ScdiffError) as caught:
        list(train(job, prepared, config, resume=False))
    assert "came apart" in caught.value.what
    assert phase in caught.value.why
    assert f"{phase}.lr" in caught.value.fix


def test_a_full_disk_leaves_the_checkpoint_before_it_intact(trained, monkeypatch):
    job = trained[0]
    path = checkpoint.path_of(job, "best")
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(ScdiffError, match="disk is full"):
        checkpoint.save(path, {"a": torch.zeros(3)}, {})
    assert path.read_bytes() == before
    assert not list(job.checkpoints.glob(".*"))


def test_no_cells_to_learn_from_is_told(tmp_path):
    prepared = small_prepared(30)
    prepared.obs[keys.SPLIT] = keys.TEST
    with pytest.raises(ScdiffError, match="nothing to learn from"):
        Training(prepared, small_config(prepared))


def test_device_settings():
    assert device.choose("cpu").type == "cpu"
    assert device.choose("auto").type in device.DEVICES
    with pytest.raises(ScdiffError, match="no device 'gpu'"):
        device.choose("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(ScdiffError, match="'cuda' cannot be used"):
            device.choose("cuda")


def test_threads_are_set_explicitly(tmp_path):
    prepared = small_prepared(60)
    job = Workspace(tmp_path).create(config := small_config(prepared, threads=1), "threads")
    next(iter(train(job, prepared, config, resume=False)))
    assert torch.get_num_threads() == 1


def test_the_estimate_grows_with_the_steps_and_leaves_torch_as_it_was():
    prepared = small_prepared()
    state = torch.get_rng_state()
    short, long = (estimate_seconds(prepared, small_config(prepared, codec={"steps": 2000 * k},
                                                           diffusion={"steps": 2000 * k})) for k in (1, 50))
    assert 0 < short < long
    assert torch.equal(state, torch.get_rng_state())


def test_dispersions_learn_ten_times_as_fast():
    prepared = small_prepared()
    training = Training(prepared, small_config(prepared))
    phase = training.phase("codec")
    assert isinstance(phase, CodecPhase)
    assert phase.rates[1] == pytest.approx(10 * phase.rates[0])
