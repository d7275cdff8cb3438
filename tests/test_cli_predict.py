"""`train --task perturb` and `predict` as commands."""

import json
from pathlib import Path
from typing import Any

import pytest

from scdiff_core import cli
from scdiff_core.cli_perturb import read_sources
from scdiff_core.errors import ScdiffError


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any], str]:
    code = cli.main(arguments)
    out, err = capsys.readouterr()
    return code, json.loads(out.splitlines()[-1]), err


def test_the_whole_way(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    from fake_perturb import perturb_dataset

    monkeypatch.setenv("SCDIFF_WORKSPACE", str(tmp_path))
    perturb_dataset(tmp_path, n_cells=700, n_genes=250)
    settings = ("codec.steps=20", "codec.hidden=[16]", "codec.n_latent=4", "diffusion.steps=5", "diffusion.width=16")
    code, done, _ = call(capsys, "train", "screen", "--task", "perturb", "--name", "r",
                         *(x for s in settings for x in ("--set", s)))
    assert code == 0 and done["state"] == "finished"
    out = tmp_path / "cells.h5ad"
    code, done, err = call(capsys, "predict", "r", "--perturbation", "TF03-kd+TF01-kd", "--perturbation", "stimulus",
                           "--dose", "1", "--where", "cell_type=type_A", "--cells", "30", "--out", str(out))
    if code:  # a dose goes with the stimulus alone
        assert "dose" in done["error"]["what"].lower()
        code, done, err = call(capsys, "predict", "r", "--perturbation", "TF03-kd+TF01-kd", "--where",
                               "cell_type=type_A", "--cells", "30", "--out", str(out))
    assert code == 0 and out.is_file() and done["perturbations"][0]["perturbation"] == "TF01-kd+TF03-kd"
    assert (Path(done["path"]) / "effects.csv").is_file() and "TF01-kd+TF03-kd:" in err
    code, done, _ = call(capsys, "predict", "r", "--perturbation", "TF99-kd")
    assert code == 2 and "TF99-kd" in done["error"]["what"]
    code, done, _ = call(capsys, "generate", "r", "--cells", "3")
    assert code == 2 and "does not generate" in done["error"]["what"]


def test_paths_of_sources_mean_the_same_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.gmt").write_text("x")
    monkeypatch.chdir(tmp_path)
    assert read_sources(["perturb.gene_sets=[a.gmt]", "seed=1"]) == [
        f"perturb.gene_sets=['{tmp_path / 'a.gmt'}']", "seed=1"]
    with pytest.raises(ScdiffError, match="no such file"):
        read_sources(["perturb.tables=b.csv"])
