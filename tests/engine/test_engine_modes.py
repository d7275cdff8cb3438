"""Paths, cells changed in one respect, guidance for each covariate and by a classifier: what they claim, and refuse."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from engine_data import small_config, small_prepared

from scdiff_core import keys
from scdiff_core.config import ByLabel, GenerateConfig
from scdiff_core.config_modes import ChangeConfig, Ends, TrajectoryConfig
from scdiff_core.config_screen import Chosen
from scdiff_core.data import label_columns
from scdiff_core.data.chosen import rows_of
from scdiff_core.engine import classifier as classifiers
from scdiff_core.engine.from_cells import FROM, change
from scdiff_core.engine.generate import generate
from scdiff_core.engine.model import Model
from scdiff_core.engine.steps import follow
from scdiff_core.engine.train import train
from scdiff_core.engine.trajectory import POSITION, trajectory
from scdiff_core.errors import ScdiffError
from scdiff_core.selection import pack_rows
from scdiff_core.workspace import Workspace


@pytest.fixture(scope="module")
def prepared():
    found = small_prepared(500)
    kind = pd.Series(found.counts.toarray()[:, :45].reshape(-1, 3, 15).sum(2).argmax(1))
    found.obs["group"] = kind.map({0: "x", 1: "y", 2: "z"}).to_numpy()  # a column that the model is not told of
    found.obs["few"] = np.where(np.arange(500) < 3, "rare", "often")
    return found


@pytest.fixture(scope="module")
def job(prepared, tmp_path_factory):
    config = small_config(prepared, codec={"steps": 300, "lr": 4e-3}, diffusion={"steps": 400, "width": 64})
    job = Workspace(tmp_path_factory.mktemp("w")).create(config, "run")
    list(train(job, prepared, config, resume=False))
    return job


@pytest.fixture(scope="module")
def model(job):
    return Model.load(job, "cpu")


def done(steps):
    return follow(steps, lambda step, share: None)


def markers(adata):
    """The mean of each type's own 15 genes, [types]."""
    return adata.X.toarray().mean(0)[:45].reshape(3, 15).mean(1)


def cells_of(prepared, mask):
    return Chosen(id="0" * 12, name="mine", rows=pack_rows(mask))


def path(model, prepared, start, end, **more):
    config = TrajectoryConfig(**{"run": "run", "start": start, "end": end, "points": 5, "n_cells": 200, **more})
    return done(trajectory(model, config, prepared))


B, NK = Ends(column="celltype", value="B"), Ends(column="celltype", value="NK")


@pytest.mark.parametrize("ends", ["types", "cells"])
def test_a_path_goes_from_one_end_to_the_other(model, prepared, ends):
    labels = prepared.labels("celltype")
    chosen = [Ends(cells=cells_of(prepared, labels == k)) for k in ("B", "NK")]
    adata = path(model, prepared, *((B, NK) if ends == "types" else chosen))
    position = adata.obs[POSITION].to_numpy()
    assert np.array_equal(np.unique(position), np.float32([0, 0.25, 0.5, 0.75, 1]))
    assert set(np.bincount((position * 4).astype(int))) == {40}
    own = np.stack([markers(adata[position == p]) for p in np.unique(position)])
    assert own[0, 0] > 2 * own[0, 2] and own[-1, 2] > 2 * own[-1, 0]
    assert np.all(np.diff(own[:, 2]) > -0.4) and own[2, 2] > own[0, 2]
    recipe = json.loads(adata.uns[keys.SCDIFF])
    assert recipe["kind"] == "trajectory" and recipe["synthetic"] is True


def test_a_path_along_a_number_stands_at_the_numbers_between(model, prepared):
    adata = path(model, prepared, Ends(column="dose", value="0"), Ends(column="dose", value="8"),
                 where={"celltype": "NK"})
    np.testing.assert_allclose(adata.obs["dose"], 8 * adata.obs[POSITION], atol=1e-3)
    assert set(adata.obs["celltype"]) == {"NK"}


def test_a_path_from_real_cells_says_which(model, prepared):
    adata = path(model, prepared, B, NK, reach=0.6, n_cells=50)
    rows = [prepared.obs.index.get_loc(i) for i in adata.obs[FROM]]
    assert set(prepared.labels("celltype")[rows]) == {"B"}


@pytest.mark.parametrize(("start", "end", "more", "said"), [
    (B, B, {}, "same"), (B, Ends(column="celltype", value="Bb"), {}, "Bb"), (B, Ends(), {}, "no end"),
    (Ends(column="dose", value="1"), Ends(column="dose", value="1.0"), {}, "same number"),
    (Ends(column="dose", value="1"), NK, {}, "same column"), (Ends(column="dose", value="low"), NK, {}, "number"),
    (B, Ends(column="nothing", value="x"), {}, "no column"), (B, NK, {"where": {"cell_type": "B"}}, "twice"),
    (B, NK, {"n_cells": 4}, "too few"), (B, Ends(column="few", value="often"), {}, "both at its start"),
])
def test_a_path_that_cannot_be_is_refused(model, prepared, start, end, more, said):
    with pytest.raises(ScdiffError) as caught:
        path(model, prepared, start, end, **more)
    assert said in str(caught.value)


def test_ends_that_are_too_small_or_empty_are_refused(model, prepared):
    some = np.arange(500) < 3
    with pytest.raises(ScdiffError, match="too few"):
        path(model, prepared, Ends(cells=cells_of(prepared, some)), Ends(cells=cells_of(prepared, ~some)))
    with pytest.raises(ScdiffError, match="No cell is chosen"):
        path(model, prepared, Ends(cells=cells_of(prepared, some & ~some)), NK)
    with pytest.raises(ScdiffError, match="not in this workspace"):
        path(model, None, Ends(cells=cells_of(prepared, some)), NK)


def changed(model, prepared, **more):
    return done(change(model, prepared, ChangeConfig(**{"run": "run", "origin": {"celltype": "B"},
                                                        "to": {"celltype": "NK"}, **more})))


def test_changed_cells_become_what_is_asked_and_keep_the_rest(model, prepared):
    rows = np.flatnonzero(prepared.labels("celltype") == "B")
    real = prepared.counts[rows].toarray()
    kept, new = [], []
    for strength in (0.02, 0.5, 1.0):
        adata = changed(model, prepared, strength=strength)
        assert list(adata.obs[FROM]) == list(prepared.obs.index[rows])
        x = adata.X.toarray()
        kept.append((x[:, 45:] == real[:, 45:]).mean())  # genes that tell no type
        new.append(markers(adata)[2])
        assert set(adata.obs["celltype"]) == {"NK"}
        assert np.array_equal(x, np.round(x)) and x.min() >= 0
    assert kept[0] > 0.97 and kept[2] > 0.8 and new[0] < 0.7 and new[2] > 2.5
    assert new[0] < new[1] < new[2]
    other = real[np.random.default_rng(0).permutation(len(real))]
    assert kept[2] > (other[:, 45:] == real[:, 45:]).mean() + 0.1  # no chance of the background


def test_how_many_and_which_cells_are_changed(model, prepared):
    n = int((prepared.labels("celltype") == "B").sum())
    assert changed(model, prepared).n_obs == n
    assert changed(model, prepared, n_cells=7).n_obs == 7
    twice = changed(model, prepared, n_cells=2 * n).obs[FROM].value_counts()
    assert set(twice) == {2}
    mask = np.zeros(500, bool)
    mask[20:30] = True
    chosen = changed(model, prepared, origin={}, cells=cells_of(prepared, mask), to={"dose": "7"})
    assert chosen.n_obs == 10 and np.allclose(chosen.obs["dose"], 7, atol=1e-3)


@pytest.mark.parametrize(("settings", "said"), [
    ({"to": {"celltype": "B"}}, "already"), ({"to": {"celltype": "any"}}, "name"), ({"to": {"group": "x"}}, "group"),
    ({"to": {"celltype": "NKK"}}, "NK"), ({"to": {"dose": "high"}}, "number"), ({"origin": {"celltype": "Q"}}, "'Q'"),
    ({"origin": {"colour": "B"}}, "no column"), ({"origin": {"celltype": "B", "few": "x"}}, "'x'"),
])
def test_a_change_that_cannot_be_is_refused(model, prepared, settings, said):
    with pytest.raises(ScdiffError) as caught:
        changed(model, prepared, **settings)
    assert said.lower() in str(caught.value).lower()


def test_rows_are_those_that_have_every_label_asked_for(prepared):
    rows = rows_of(prepared, {"cell_type": "B", "batch": "d1"}, split=keys.TRAIN)
    obs = prepared.obs.iloc[rows]
    assert set(obs["celltype"]) == {"B"} and set(obs["donor"]) == {"d1"} and set(obs[keys.SPLIT]) == {keys.TRAIN}


def test_a_classifier_guides_to_a_label_that_the_model_does_not_know(model, job, prepared):
    ask = ByLabel(column="group", value="y", scale=2.0)
    config = GenerateConfig(run="run", n_cells=150, where={"celltype": keys.ANY}, classifier=(ask,))
    found = classifiers.ready(model, job, prepared, ask)
    guided = done(generate(model, config, (found,)))
    plain = done(generate(model, config.model_copy(update={"classifier": ()})))

    def share(adata):
        return (adata.X.toarray()[:, :45].reshape(-1, 3, 15).sum(2).argmax(1) == 1).mean()

    assert share(guided) > 0.9 > 0.6 > share(plain)
    assert set(guided.obs["group"]) == {"y"}
    again = classifiers.ready(model, job, prepared, ask)  # kept in the run, as safetensors
    assert [p.suffix for p in (job.path / classifiers.FOLDER).iterdir()] == [".safetensors"]
    assert again.names == found.names and bool((again.means == found.means).all())


def test_the_gradient_of_the_classifier_is_that_of_its_log_probability(model, job, prepared):
    import torch

    found = classifiers.ready(model, job, prepared, ByLabel(column="group", value="y"))
    x = torch.randn((6, model.codec.n_dims), generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    for sigma in (0.0, 0.5, 3.0):
        log_prob = found.log_prob(x[:, :found.n_latent], torch.tensor(sigma))[:, 1]
        expected = torch.autograd.grad(log_prob.sum(), x)[0]
        torch.testing.assert_close(found.gradient(x.detach(), torch.tensor(sigma), 1), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("column", "value", "said"), [
    ("celltype", "B", "--where"), ("cell_type", "B", "--where"), ("grup", "y", "group"), ("group", "yy", "y"),
    ("few", "rare", "No classifier"), (keys.SPLIT, "train", "No classifier"), (keys.TOTAL_COUNTS, "9", "No classifier"),
])
def test_labels_that_cannot_guide_are_refused(prepared, column, value, said):
    with pytest.raises(ScdiffError) as caught:
        label_columns.check(prepared, ByLabel(column=column, value=value), {"celltype": "NK"})
    assert said in str(caught.value)


def test_a_condition_may_have_a_classifier_too(model, job, prepared):
    ask = (ByLabel(column="cell_type", value="NK", scale=4.0), ByLabel(column="donor", value="d1", scale=4.0))
    config = GenerateConfig(run="run", n_cells=60, where={"celltype": "NK", "batch": "d1"}, classifier=ask)
    adata = done(generate(model, config, classifiers.classifiers_for(model, job, config, lambda: prepared)))
    assert (adata.X.toarray()[:, :45].reshape(-1, 3, 15).sum(2).argmax(1) == 2).mean() > 0.95
    assert set(adata.obs["celltype"]) == {"NK"} and "cell_type" not in adata.obs


def test_a_classifier_needs_the_dataset(model, job):
    with pytest.raises(ScdiffError, match="not in this workspace"):
        classifiers.ready(model, job, None, ByLabel(column="group", value="y"))


def test_a_scale_for_each_covariate(model):
    same = [done(generate(model, GenerateConfig(run="run", n_cells=30, where={"celltype": "NK"}, **how)))
            for how in ({}, {"guidance": {"celltype": 1.15, "donor": 1.15}})]
    assert (same[0].X != same[1].X).nnz == 0
    strong = done(generate(model, GenerateConfig(run="run", n_cells=150, where={"celltype": "NK"}, guidance_scale=1.0,
                                                 guidance={"cell_type": 4.0})))
    none = done(generate(model, GenerateConfig(run="run", n_cells=150, where={"celltype": "NK"}, guidance_scale=1.0,
                                               guidance={"cell_type": 0.0})))
    assert markers(strong)[2] > 2 * markers(none)[2]
    with pytest.raises(ScdiffError, match="celltyp"):
        done(generate(model, GenerateConfig(run="run", n_cells=5, guidance={"celltyp": 2.0})))
