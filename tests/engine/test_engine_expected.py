"""What an experiment would measure stands beside what was measured: wider than the interval of the true change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_perturb import FakeModel, perturb_dataset, write_fake_prediction

from scdiff_core.analysis.perturb.answer import Response, log2_fold_change
from scdiff_core.config import TrainConfig
from scdiff_core.engine import prediction
from scdiff_core.engine.predicted import together
from scdiff_core.workspace import Workspace


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[prediction.Prediction, FakeModel]:
    root = tmp_path_factory.mktemp("expected")
    prepared, _ = perturb_dataset(root, n_cells=700, n_genes=200)
    run = Workspace(root).create(TrainConfig(dataset="screen", fingerprint=prepared.fingerprint, task="perturb"), "run")
    return write_fake_prediction(run, prepared, ("TF01-kd", "TF01-kd+TF02-kd")), FakeModel(prepared)


def test_the_interval_of_an_experiment_is_that_of_the_response_for_as_many_cells(
        made: tuple[prediction.Prediction, FakeModel]) -> None:
    found, model = made
    entry = next(e for e in found.summary()["perturbations"] if e["perturbation"] == "TF01-kd")
    table = found.effects()
    mine = table[table["perturbation"] == "TF01-kd"]
    response = model.ask("TF01-kd", where={"cell_type": "type_A"}, n_cells=60).response
    low, high = response.measured(entry["n_measured"])
    np.testing.assert_allclose(mine["expected_low"], low, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(mine["expected_high"], high, rtol=1e-4, atol=1e-5)
    more = response.measured(10 * entry["n_measured"])  # more cells, less noise
    assert np.all(more[1] - more[0] <= high - low + 1e-9) and (more[1] - more[0]).mean() < 0.8 * (high - low).mean()


def test_there_is_none_where_nothing_was_measured(made: tuple[prediction.Prediction, FakeModel]) -> None:
    table = made[0].effects()
    never = table[table["perturbation"] == "TF01-kd+TF02-kd"]
    assert never["expected_low"].isna().all() and never["measured_log2fc"].isna().all()
    assert prediction.EXPECTED not in made[0].cells().uns  # what it was reckoned from is no part of the result


def test_the_unmoved_controls_are_held_against_the_real_cells(
        made: tuple[prediction.Prediction, FakeModel], tmp_path: Path) -> None:
    entry = next(e for e in made[0].summary()["perturbations"] if e["perturbation"] == "TF01-kd")
    assert entry["e_distance"] < entry["control_e_distance"]
    assert abs(entry["floor"]) < entry["control_e_distance"]


def test_fold_changes_of_several_types_are_of_their_common_mean() -> None:
    def response(control: float, shift: float) -> Response:
        c, s, one = np.array([control]), np.array([shift]), np.array([1.0])
        fold = [log2_fold_change(c + v, c) for v in (s, s - 0.1, s + 0.1)]
        return Response(s, s - 0.1, s + 0.1, "told", 0.1, "clear", *fold, kind="both", control=c, sd=0.05 * one,
                        cell_sd=0.5 * one, control_error=0 * one, control_bias=0 * one)

    found = together([(30, response(0.0, 2.0)), (10, response(2.0, -2.0))])
    # means of 0.5 and 1.5 log1p: (expm1(1.5) + .01) / (expm1(.5) + .01)
    assert found.control == pytest.approx([0.5]) and found.mean == pytest.approx([1.5])
    assert found.log2fc == pytest.approx(np.log2((np.expm1(1.5) + 0.01) / (np.expm1(0.5) + 0.01)))
    assert found.log2fc_low[0] < found.log2fc[0] < found.log2fc_high[0]
    # cells of the types have means 2 and 0, three to one: variance 0.75 besides their own 0.25
    assert found.cell_sd == pytest.approx([1.0])
