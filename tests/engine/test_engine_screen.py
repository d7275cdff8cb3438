"""A screen by a model that knows the truth: what is ranked, what does not add up, what is refused, what is written."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from fake_perturb import FakeModel, perturb_dataset

from scdiff_core import keys
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine import screen as engine
from scdiff_core.engine import screens
from scdiff_core.engine.screen import ScreenConfig
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir, new_id


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return perturb_dataset(tmp_path_factory.mktemp("screen"), n_cells=900, n_genes=250)[0]


@pytest.fixture(scope="module")
def model(prepared: Prepared) -> FakeModel:
    return FakeModel(prepared)


def config(*names: str | tuple[str, float], **more: object) -> ScreenConfig:
    items = [{"perturbation": n} if isinstance(n, str) else {"perturbation": n[0], "dose": n[1]} for n in names]
    return ScreenConfig.model_validate({"run": "r", "items": items, "n_cells": 60,
                                        "where": {"cell_type": "type_A"}, **more})


def run(model: FakeModel, asked: ScreenConfig) -> tuple[list[engine.Found], dict[str, str]]:
    steps = engine.screen(model, asked)
    told = []
    while True:
        try:
            told.append(next(steps))
        except StopIteration as end:
            assert [t.done for t in told] == list(range(len(told)))
            return end.value


def test_a_pair_brings_its_singles_and_an_unknown_one_is_refused(model: FakeModel) -> None:
    found, refused = run(model, config("TF05-kd+TF01-kd", "TF01-kd", "NOPE"))
    assert [(f.name, f.asked) for f in found] == [("TF01-kd+TF05-kd", True), ("TF01-kd", True), ("TF05-kd", False)]
    assert list(refused) == ["NOPE"] and "no embedding" in refused["NOPE"]
    with pytest.raises(ScdiffError, match="Nothing in the list can be predicted"):
        run(model, config("NOPE"))
    with pytest.raises(ScdiffError, match="has 0 perturbations"):
        run(model, config())


def test_a_screen_is_written_and_read_again(model: FakeModel, prepared: Prepared, tmp_path: Path) -> None:
    job = JobDir(tmp_path / "run", "train")
    asked = config("TF01-kd", "TF02-kd+TF03-kd", ("stimulus", 0.3), ("stimulus", 3.0))
    found, refused = run(model, asked)
    path = job.path / screens.SCREENS / new_id()
    engine.write_screen(path, model, asked, found, refused, prepared, {"TF01-kd", "stimulus"}, 1.0, "mine")
    screen = screens.list_screens(job)[0]
    table = screen.ranking()
    assert set(table["perturbation"]) == {"TF01-kd", "TF02-kd+TF03-kd", "stimulus @ 0.3", "stimulus @ 3"}
    assert table["strength"].is_monotonic_decreasing
    by = table.set_index("perturbation")
    assert by.loc["stimulus @ 3", "strength"] > by.loc["stimulus @ 0.3", "strength"]
    assert by.loc["stimulus @ 3", "distance"] > by.loc["stimulus @ 0.3", "distance"]
    assert by.loc["TF01-kd", "trained"] and not by.loc["TF02-kd+TF03-kd", "trained"]
    assert np.isfinite(by.loc["TF02-kd+TF03-kd", "additivity"]) and np.isnan(by.loc["TF01-kd", "additivity"])
    arrays = screen.arrays()
    assert arrays["log2fc"].shape == (6, prepared.n_genes) and arrays["asked"].sum() == 4
    cells = anndata.read_h5ad(path / "cells.h5ad")
    assert cells.obs["screened"].value_counts().to_dict() == dict.fromkeys(table["perturbation"], 60)
    assert cells.obs[keys.SYNTHETIC].all() and json.loads(cells.uns[keys.SCDIFF])["kind"] == "screen"
    assert screen.recipe()["title"] == "mine" and screen.recipe()["config"]["seed"] == 0


def test_genes_of_a_pair_are_told_by_what_they_do_to_the_sum() -> None:
    additive = np.array([1.0, 1.0, 1.0, 1.0, 0.05, -1.0])
    pair = np.array([1.05, 1.5, 0.5, -0.5, 0.4, -1.4])
    assert engine.gene_kinds(additive, pair).tolist() == [
        "additive", "synergy", "buffering", "opposite", "synergy", "synergy"]
    assert engine.additivity(additive, 2 * additive) == pytest.approx(2.0)
    assert np.isnan(engine.additivity(np.zeros(3), np.ones(3)))


def test_the_pair_table_says_what_is_beyond_the_intervals() -> None:
    shift = np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [1.0, 1.8, 0.15]], np.float32)
    values = {"names": np.array(["A", "B", "A+B"]), "asked": np.array([False, False, True]),
              "genes": np.array(["g1", "g2", "g3"]), "shift": shift, "shift_low": shift - 0.2,
              "shift_high": shift + 0.2}
    table = engine.pair_table(values)
    assert table["gene"].tolist() == ["g2", "g3"] and table["kind"].tolist() == ["synergy", "synergy"]
    # three intervals of ±0.2 leave ±0.35 open
    assert table["sure"].tolist() == [True, False]
    assert engine.pair_table({**values, "names": np.array(["A", "C", "A+B"])}).empty


def test_the_map_puts_alike_perturbations_together_whatever_their_strength() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(0, 1, (2, 100))
    shift = np.vstack([base[0], 5 * base[0], base[1], 0.3 * base[1]])
    xy = engine.places(shift)
    near, far = np.linalg.norm(xy[0] - xy[1]), np.linalg.norm(xy[0] - xy[2])
    assert near < 1e-6 and far > 0.5
    assert engine.places(shift[:1]).shape == (1, 2)


def test_certainty_knows_the_interval_and_not_the_number_of_cells() -> None:
    effects = pd.DataFrame({"perturbation": "A", "gene": ["a", "b", "c"], "log2fc": [1.0, 1.0, 0.0],
                            "low": [0.5, -1.0, -0.5], "high": [1.5, 3.0, 0.5]})
    p = screens.certainty(effects)
    # 1.0 is 3.29 standard deviations of the first: p 0.001, thrice corrected
    assert p[0] == pytest.approx(3 * 0.001, rel=0.01) and p[1] > 0.3 and p[2] == 1.0
    with pytest.raises(ScdiffError, match="missing or damaged"):
        screens.Screen(Path("/no/such/screen")).ranking()
