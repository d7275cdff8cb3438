"""`trajectory`, `change` and the guidance of `generate` as a user meets them, on a small trained model."""

from __future__ import annotations

import json

import anndata
import pytest
from modes_space import modes_space

from scdiff_core import cli, keys
from scdiff_core.engine.outputs import list_sets


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    return modes_space(tmp_path_factory.mktemp("w"))


@pytest.fixture(autouse=True)
def workspace(space, monkeypatch):
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(space.root))


def call(capsys, *arguments):
    code = cli.main([*arguments])
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_path_is_written(capsys, tmp_path):
    out = tmp_path / "path.h5ad"
    code, said = call(capsys, "trajectory", "run", "--from", "cell_type=B", "--to", "cell_type=Monocyte",
                      "--points", "3", "--cells", "30", "--out", str(out), "--steps", "3")
    assert code == 0 and said["n_cells"] == 30 and said["points"] == 3
    adata = anndata.read_h5ad(out)
    assert sorted(set(adata.obs["position"])) == [0, 0.5, 1] and adata.obs[keys.SYNTHETIC].all()


def test_a_path_between_saved_selections_goes_into_the_run(capsys, space):
    code, said = call(capsys, "trajectory", "run", "--from-selection", "mine", "--to-selection", "yours", "--points",
                      "3", "--cells", "12", "--steps", "3")
    assert code == 0
    made = list_sets(space.open("train", "run"), "trajectory")
    assert str(made[0].path) in said["out"] and made[0].view() is not None
    assert list_sets(space.open("train", "run")) == []  # none of the plain kind


def test_cells_are_changed(capsys, tmp_path):
    out = tmp_path / "changed.h5ad"
    code, said = call(capsys, "change", "run", "--from", "cell_type=B", "--set", "cell_type=Monocyte", "--strength",
                      "0.5", "--out", str(out), "--steps", "3")
    assert code == 0 and said["strength"] == 0.5
    adata = anndata.read_h5ad(out)
    assert set(adata.obs["cell_type"]) == {"Monocyte"} and adata.obs["from_cell"].str.startswith("cell").all()


def test_generate_takes_scales_and_a_classifier(capsys, tmp_path):
    out = tmp_path / "cells.h5ad"
    code, _ = call(capsys, "generate", "run", "--cells", "20", "--where", "cell_type=B", "--guidance", "cell_type=2",
                   "--guidance", "age=0.5", "--classifier", "group=one", "--classifier-scale", "2", "--out",
                   str(out))
    assert code == 0
    adata = anndata.read_h5ad(out)
    assert set(adata.obs["group"]) == {"one"}
    config = json.loads(adata.uns[keys.SCDIFF])["config"]
    assert config["guidance"] == {"cell_type": 2, "age": 0.5}
    assert config["classifier"] == [{"column": "group", "value": "one", "scale": 2}]


@pytest.mark.parametrize(("arguments", "said"), [
    (["trajectory", "run", "--to", "cell_type=B"], "One of --from and --from-selection"),
    (["trajectory", "run", "--from", "cell_type=B", "--to", "cell_type=B"], "same"),
    (["trajectory", "run", "--from", "cell_type=B", "--to", "cell_type=Bc"], "'Bc'"),
    (["trajectory", "run", "--from", "B", "--to", "cell_type=B"], "COL=VALUE"),
    (["trajectory", "run", "--from", "cell_type=B", "--to", "age=1"], "same column"),
    (["trajectory", "run", "--from", "cell_type=B", "--to", "cell_type=Monocyte", "--points", "1"], "points"),
    (["trajectory", "run", "--from", "cell_type=B", "--to", "cell_type=Monocyte", "--reach", "0"], "reach"),
    (["trajectory", "run", "--from-selection", "nobody", "--to", "cell_type=Monocyte"], "nobody"),
    (["change", "run", "--from", "cell_type=B", "--set", "cell_type=B"], "already"),
    (["change", "run", "--from", "cell_type=B", "--set", "cell_type=Monocyte", "--strength", "0"], "strength"),
    (["change", "run", "--from", "cell_type=B", "--set", "cell_type=Monocyte", "--strength", "1.5"], "strength"),
    (["change", "run", "--from", "cell_type=Q", "--set", "cell_type=Monocyte"], "'Q'"),
    (["change", "run", "--set", "colour=red"], "colour"),
    (["change", "run", "--set", "cell_type=Monocyte", "--set", "cell_type=B"], "twice"),
    (["change", "run"], "--set"),
    (["change", "run", "--from", "cell_type=B", "--set", "cell_type=Monocyte", "--out", "x.pdf"], "ending"),
    (["generate", "run", "--cells", "5", "--guidance", "cell_type=much"], "guidance"),
    (["generate", "run", "--cells", "5", "--guidance", "cell_type=-1"], "guidance"),
    (["generate", "run", "--cells", "5", "--guidance", "colour=2"], "colour"),
    (["generate", "run", "--cells", "5", "--guidance", "cell_type=2", "--guidance", "cell_type=3"], "twice"),
    (["generate", "run", "--cells", "5", "--classifier", "cell_type=B"], "--where"),
    (["generate", "run", "--cells", "5", "--classifier", "group=middle"], "middle"),
    (["generate", "run", "--cells", "5", "--classifier", "group"], "COL=VALUE"),
    (["generate", "run", "--cells", "5", "--classifier", "group=one", "--classifier-scale", "-1"], "scale"),
])
def test_what_cannot_be_is_refused_in_plain_words(capsys, arguments, said):
    code, answer = call(capsys, *arguments)
    assert code == 2
    told = " ".join(answer["error"].values())
    assert said in told and "Traceback" not in told
