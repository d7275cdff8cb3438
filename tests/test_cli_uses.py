"""The commands `denoise`, `fill` and `typical`: what they write, and what they say of a mistake."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from uses_run import small_run

from scdiff_core import config_uses as uses
from scdiff_core import keys
from scdiff_core.cli import main
from scdiff_core.command_words import command
from scdiff_core.config import to_yaml
from scdiff_core.engine import uses_set
from scdiff_core.workspace import Workspace


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uses")
    small_run(folder)
    return folder


def run(capsys: pytest.CaptureFixture[str], root: Path, *arguments: object) -> tuple[int, dict[str, Any]]:
    code = main([*map(str, arguments), "--workspace", str(root)])
    return code, json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_denoise_writes_counts_and_estimates_side_by_side(root: Path, tmp_path: Path,
                                                          capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "b.h5ad"
    code, said = run(capsys, root, "denoise", "run", "--cells", "cell_type=B", "--out", out, "--study")
    assert code == 0 and said["out"] == str(out) and said["layer"] == "denoised"
    assert said["study"]["sentence"] == uses_set.read_study(Workspace(root).open("train", "run"), "denoise")["sentence"]
    adata = anndata.read_h5ad(out)
    assert set(adata.obs["cell_type"]) == {"B"} and adata.n_obs == said["n_cells"]
    assert np.all(adata.X.data == np.round(adata.X.data)) and adata.layers["denoised"].shape == adata.shape
    assert adata.obs["denoised"].all() and "log1p" in json.loads(adata.uns[keys.SCDIFF])["layers"]["denoised"]


def test_fill_makes_what_is_lacking_into_the_run_or_a_file(root: Path, tmp_path: Path,
                                                           capsys: pytest.CaptureFixture[str]) -> None:
    code, said = run(capsys, root, "fill", "run", "--to", 60, "--type", "T=140")
    assert code == 0 and anndata.read_h5ad(said["out"]).obs[keys.SYNTHETIC].all()
    out = tmp_path / "both.h5ad"
    code, said = run(capsys, root, "fill", "run", "--type", "B=80", "--out", out, "--with-real", "--study", "B")
    assert code == 0 and "classifier of B" in said["study"]["sentence"]
    both = anndata.read_h5ad(out)
    assert int((both.obs["cell_type"] == "B").sum()) == 80 and 0 < both.obs[keys.SYNTHETIC].sum() < both.n_obs


def test_typical_writes_a_table_of_every_cell(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "table.csv"
    code, said = run(capsys, root, "typical", "run", "--split", "test", "--out", out)
    table = pd.read_csv(out)
    assert code == 0 and len(table) == said["n_cells"] and set(table["split"]) == {"test"}
    assert table[["score", "percentile", "log_density", "distance", "doublet"]].notna().all().all()
    assert table["percentile"].between(0, 1).all() and table["doublet"].between(0, 1).all()


@pytest.mark.parametrize("asked", [
    uses.DenoiseConfig(run="run", where={"cell_type": "B"}), uses.FillConfig(run="run", numbers={"B": 80}),
    uses.TypicalConfig(run="run", split="test")], ids=lambda asked: str(asked.kind))
def test_a_yaml_file_asks_for_the_same_as_the_options(root: Path, tmp_path: Path, asked: Any,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text(to_yaml(asked))
    ending = ".csv" if asked.kind == "typical" else ".h5ad"
    files = [tmp_path / f"{name}{ending}" for name in ("yaml", "options")]
    code, _ = run(capsys, root, "run", tmp_path / "mine.yaml", "--out", files[0])
    assert code == 0
    words = shlex.split(command(asked))
    assert words[3] == asked.kind
    assert run(capsys, root, *words[3:], "--out", files[1])[0] == 0
    if asked.kind == "typical":
        assert files[0].read_bytes() == files[1].read_bytes()
    else:
        one, other = (anndata.read_h5ad(f) for f in files)
        assert (one.X != other.X).nnz == 0 and one.obs.equals(other.obs)
    code, said = run(capsys, root, "run", tmp_path / "mine.yaml")  # into the run, as the app does
    assert code == 0 and Path(said["out"]).is_file() and said["n_cells"] > 0


@pytest.mark.parametrize(("arguments", "said"), [
    (["denoise", "run", "--cells", "cell_type=b"], "'B'"),
    (["denoise", "run", "--cells", "celltype=B"], "cell_type"),
    (["denoise", "run", "--cells", "B"], "COL=VALUE"),
    (["denoise", "run", "--split", "tset"], "split"),
    (["denoise", "run", "--out", "cells.csv"], ".h5ad"),
    (["denoise", "runn"], "run"),
    (["denoise", "run", "--cells", "cell_type=B", "--cells", "batch=three"], "one, two"),
    (["fill", "run"], "No number"),
    (["fill", "run", "--type", "b=500"], "'B'"),
    (["fill", "run", "--type", "T=3"], "already"),
    (["fill", "run", "--type", "T"], "TYPE=N"),
    (["fill", "run", "--to", "1"], "as many"),
    (["fill", "run", "--to", "300", "--column", "btch"], "batch"),
    (["fill", "run", "--to", "300", "--with-real"], "--out"),
    (["fill", "run", "--to", "300", "--study", "b"], "'B'"),
    (["typical", "run", "--out", "cells.h5ad"], ".csv"),
    (["typical", "run", "--split", "some"], "split"),
])
def test_mistakes_exit_with_two_and_say_what_to_do(root: Path, arguments: list[str], said: str,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    code, told = run(capsys, root, *arguments)
    assert code == 2 and set(told["error"]) == {"what", "why", "fix"}
    assert said in " ".join(told["error"].values())


@pytest.mark.parametrize("command", [["denoise"], ["fill", "--to", "90"], ["typical"]])
def test_a_run_whose_dataset_is_gone_says_so(root: Path, tmp_path: Path, command: list[str],
                                             capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(root / "runs", tmp_path / "runs")
    code, told = run(capsys, tmp_path, command[0], "run", *command[1:])
    assert code == 2 and "tiny" in told["error"]["what"]
