"""`run FILE.yaml`: what a page copies, done on the command line, and what is wrong with a file told in words."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from anndata import read_h5ad
from helpers import tiny_counts_adata

from scdiff_core import cli
from scdiff_core.config import GenerateConfig, InspectConfig, PrepareConfig, TrainConfig, override, to_yaml
from scdiff_core.data.prepared import Prepared
from scdiff_core.workspace import Workspace


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = cli.main(arguments)
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


def test_the_whole_way(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    space = tmp_path / "w"
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(space))
    source, file = tmp_path / "cells.h5ad", tmp_path / "what.yaml"
    tiny_counts_adata(150, 120).write_h5ad(source)
    file.write_text(to_yaml(PrepareConfig(source=str(source), name="tiny", genes="all")))
    code, done = call(capsys, "run", str(file))
    assert code == 0 and done["dataset"] == "tiny" and done["n_cells"] == 150

    prepared = Prepared.open(Workspace(space).open("prepare", "tiny"))
    config = override(TrainConfig(dataset="tiny", fingerprint=prepared.fingerprint), [
        "codec.steps=10", "codec.hidden=[16]", "codec.n_latent=4", "diffusion.steps=5", "diffusion.width=16"])
    file.write_text(to_yaml(config))
    code, done = call(capsys, "run", str(file), "--name", "r")
    assert code == 0 and done["run"] == "r" and done["state"] == "finished"
    assert Workspace(space).open("train", "r").config() == config

    file.write_text(to_yaml(GenerateConfig(run="r", n_cells=30, where={"cell_type": "B"}, seed=3)))
    code, _ = call(capsys, "run", str(file), "--out", str(tmp_path / "one.h5ad"))
    assert code == 0
    code, _ = call(capsys, "generate", "r", "--cells", "30", "--where", "cell_type=B", "--seed", "3", "--out",
                   str(tmp_path / "two.h5ad"))
    one, two = (read_h5ad(tmp_path / f"{n}.h5ad").X.toarray() for n in ("one", "two"))
    assert code == 0 and np.array_equal(one, two)

    file.write_text(to_yaml(config.model_copy(update={"fingerprint": "another"})))
    code, done = call(capsys, "run", str(file))
    assert code == 2 and "is not the one" in done["error"]["what"]


@pytest.mark.parametrize(("text", "options", "said"), [
    (None, (), "missing"),
    ("kind: [", (), "not valid yaml"),
    ("a: 1", (), "which kind of job"),
    ("kind: generate\nrun: r\nn_cell: 5\n", (), "Did you mean 'n_cells'"),
    (to_yaml(GenerateConfig(run="r")), (), "holds none yet"),
    (to_yaml(GenerateConfig(run="r")), ("--name", "x"), "neither a dataset nor a run"),
    (to_yaml(TrainConfig(dataset="d", fingerprint="f")), (), "holds none yet"),
    (to_yaml(TrainConfig(dataset="d", fingerprint="f")), ("--out", "x.h5ad"), "goes into the workspace"),
    (to_yaml(PrepareConfig(source="nowhere.h5ad", name="d")), (), "Looked for it at"),
    (to_yaml(InspectConfig(source="x")), (), "which the app alone does"),
])
def test_a_wrong_file_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
                              text: str | None, options: tuple[str, ...], said: str) -> None:
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(tmp_path / "w"))
    file = tmp_path / "what.yaml"
    if text is not None:
        file.write_text(text)
    code, done = call(capsys, "run", str(file), *options)
    assert code == 2 and said in done["error"]["why"]


def test_a_folder_is_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, done = call(capsys, "run", str(tmp_path))
    assert code == 2 and "folder" in done["error"]["why"]
