"""Generating: conditions by name, counts, seeds, units, and a run directory that opens elsewhere."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from engine_data import small_config, small_prepared

from scdiff_core import keys
from scdiff_core.config import GenerateConfig
from scdiff_core.diffusion.sampler import SAMPLERS
from scdiff_core.engine import checkpoint
from scdiff_core.engine.generate import conditions, generate, sparse
from scdiff_core.engine.model import Model
from scdiff_core.engine.train import train
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir, Workspace


def made(model, **settings):
    steps = generate(model, GenerateConfig(**{"run": model.run, "n_cells": 40, "steps": 4, **settings}))
    told = []
    while True:
        try:
            told.append(next(steps))
        except StopIteration as end:
            return end.value, told


def run(path, prepared, **changes):
    config = small_config(prepared, **changes)
    job = Workspace(path).create(config, "run")
    list(train(job, prepared, config, resume=False))
    return job


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    return run(tmp_path_factory.mktemp("w"), small_prepared(500), codec={"steps": 300, "lr": 4e-3},
               diffusion={"steps": 400, "width": 64})


@pytest.fixture(scope="module")
def model(job):
    return Model.load(job, "cpu")


def test_the_file_is_as_the_contract_says(model):
    cells, told = made(model)
    assert np.array_equal(cells.X.data, np.round(cells.X.data))
    assert cells.X.min() >= 0
    assert cells.X.format == "csr"
    total = cells.obs[keys.TOTAL_COUNTS].to_numpy()
    assert np.all(total >= np.asarray(cells.X.sum(1)).ravel())
    expected = np.log1p(cells.X.toarray() * (1e4 / total)[:, None])
    np.testing.assert_allclose(cells.layers[keys.LOG1P].toarray(), expected, rtol=1e-4)
    assert cells.obs[keys.SYNTHETIC].all()
    assert {"celltype", "donor", "dose"} <= set(cells.obs)
    recipe = json.loads(cells.uns[keys.SCDIFF])
    assert recipe["synthetic"] is True
    assert {"run", "seed", "fingerprint", "version", "config", "training", "dataset"} <= recipe.keys()
    assert [t.done for t in told] == list(range(1, told[-1].total + 1))


def test_it_is_written_and_read_again(model, tmp_path):
    import anndata

    cells, _ = made(model)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    again = anndata.read_h5ad(tmp_path / "cells.h5ad")
    assert again.uns[keys.SCDIFF] == cells.uns[keys.SCDIFF]
    assert (again.X != cells.X).nnz == 0


def test_same_seed_same_cells(model):
    one, two, other = (made(model, seed=s)[0] for s in (3, 3, 4))
    assert (one.X != two.X).nnz == 0
    pd.testing.assert_frame_equal(one.obs, two.obs)
    assert (one.X != other.X).nnz > 0


def test_cells_of_a_type_have_its_markers(model):
    for k, name in enumerate(("B", "CD4 T", "NK")):
        cells, _ = made(model, where={"cell_type": name}, n_cells=100, steps=10)
        mean = cells.X.toarray().mean(0)
        groups = [mean[i * 15:(i + 1) * 15].mean() for i in range(3)]
        assert int(np.argmax(groups)) == k
        assert groups[k] > 2 * sorted(groups)[1]
        assert set(cells.obs["celltype"]) == {name}


def test_depth_and_zeros_are_those_of_the_data(model):
    prepared = small_prepared(500)
    cells, _ = made(model, n_cells=400, steps=12)
    assert np.median(cells.obs[keys.TOTAL_COUNTS]) == pytest.approx(np.median(prepared.total_counts), rel=0.15)
    assert (cells.X.toarray() == 0).mean() == pytest.approx((prepared.counts.toarray() == 0).mean(), abs=0.05)


def test_conditions_as_in_the_data_any_and_named(model):
    generator = torch.Generator().manual_seed(0)
    config = GenerateConfig(run="r", n_cells=4000, where={"celltype": "NK", "batch": keys.ANY})
    codes, conts = conditions(model, config, generator)
    assert set(codes[:, 0]) == {2}
    assert set(codes[:, 1]) == {2}
    real = model.conts[model.codes[:, 0] == 2, 0]
    assert set(np.unique(conts)) == set(np.unique(real))
    codes, _ = conditions(model, GenerateConfig(run="r", n_cells=4000), generator)
    shares = [np.bincount(c[:, 0], minlength=4) / len(c) for c in (codes, model.codes)]
    np.testing.assert_allclose(*shares, atol=0.04)
    assert shares[0][3] > 0  # cells without a label are drawn as such
    frame = made(model, where={"cell_type": keys.ANY, "dose": "10"})[0].obs
    assert frame["celltype"].isna().all()
    np.testing.assert_allclose(frame["dose"], 10, atol=1e-4)


@pytest.mark.parametrize(("where", "said"), [({"cell_type": "CD4T"}, "CD4 T"), ({"celltyp": "B"}, "celltype"),
                                             ({"dose": "high"}, "number")])
def test_unknown_names_are_refused_with_the_nearest(model, where, said):
    with pytest.raises(ScdiffError) as caught:
        made(model, where=where)
    assert said in str(caught.value)


@pytest.mark.parametrize("settings", [*({"sampler": n} for n in SAMPLERS), {"sampler": "ddim", "eta": 0.5},
                                      {"guidance_scale": 0.0}, {"guidance_scale": 2.0}])
def test_every_sampler_and_guidance_makes_finite_counts(model, settings):
    cells, _ = made(model, **settings)
    assert np.all(np.isfinite(cells.X.data))
    assert cells.X.sum() > 0


@pytest.mark.parametrize("shape", [(1, 1), (7, 11), (3, 0), (0, 4)])
def test_sparse_is_the_csr_of_scipy(shape):
    values = np.random.default_rng(0).poisson(0.4, shape).astype(np.float32)
    ours, theirs = sparse(values), sp.csr_matrix(values)
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    assert ours.shape == theirs.shape


def test_a_caller_may_let_go_between_two_steps(model):
    steps = generate(model, GenerateConfig(run="r", n_cells=10, steps=50))
    first = next(steps)
    steps.close()
    assert first.done == 1
    assert first.total == 51


def test_more_cells_than_a_chunk(model, monkeypatch):
    monkeypatch.setattr(sys.modules["scdiff_core.engine.generate"], "CHUNK", 16)
    cells, told = made(model)
    assert cells.n_obs == 40
    assert cells.obs_names.is_unique
    assert told[-1].done == told[-1].total == 3 * 5


def test_a_copied_run_opens_elsewhere(job, model, tmp_path):
    copy = tmp_path / "elsewhere" / "run"
    shutil.copytree(job.path, copy)
    again = Model.load(JobDir(copy, "train"), "cpu")
    one, two = made(model)[0], made(again)[0]
    assert (one.X != two.X).nnz == 0
    assert list(one.var_names) == [f"G{i}" for i in range(60)]


def test_best_and_last_can_be_chosen(job):
    best, last = (Model.load(job, "cpu", which) for which in ("best", "last"))
    assert best.step <= last.step == 400


def test_values_that_are_no_counts_come_out_as_such(tmp_path):
    prepared = small_prepared(300, keys.CONTINUOUS)
    cells, _ = made(Model.load(run(tmp_path, prepared, codec={"steps": 150}, diffusion={"steps": 150}), "cpu"),
                    n_cells=200)
    assert not np.array_equal(cells.X.data, np.round(cells.X.data))
    assert (cells.layers[keys.LOG1P] != cells.X).nnz == 0
    assert (cells.X.toarray() == 0).mean() == pytest.approx((prepared.counts.toarray() == 0).mean(), abs=0.08)
    assert cells.X.toarray().mean() == pytest.approx(prepared.counts.toarray().mean(), rel=0.15)


def test_a_run_without_a_model_says_so(tmp_path):
    prepared = small_prepared()
    config = small_config(prepared)
    job = Workspace(tmp_path).create(config, "new")
    with pytest.raises(ScdiffError, match="no model yet"):
        Model.load(job, "cpu")
    for event in train(job, prepared, config, resume=False):
        if event.step >= 3:
            (job.path / "stop").touch()
    with pytest.raises(ScdiffError, match="no model yet"):
        Model.load(job, "cpu", "last")


def test_weights_that_do_not_fit_and_newer_versions_are_told(job, tmp_path):
    copy = JobDir(tmp_path / "run", "train")
    shutil.copytree(job.path, copy.path)
    text = (copy.path / "config.yaml").read_text()
    (copy.path / "config.yaml").write_text(text.replace("width: 64", "width: 32"))
    with pytest.raises(ScdiffError, match="do not fit"):
        Model.load(copy, "cpu")
    (copy.path / "config.yaml").write_text(text)
    path = checkpoint.path_of(copy, "best")
    tensors, meta = checkpoint.load(path)
    checkpoint.save(path, tensors, {**meta, "format": 99})
    with pytest.raises(ScdiffError, match="newer version"):
        Model.load(copy, "cpu")
