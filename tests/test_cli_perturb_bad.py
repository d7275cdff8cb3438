"""Bad input for a model of perturbations, one by one, at the command line: what, why and fix, and nothing is lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from helpers import prepare_adata
from perturb_run import SMALL, trained_run

from scdiff_core import cli
from scdiff_core.config import QC, Roles
from scdiff_core.data.simulate import CONTROL, simulate
from scdiff_core.workspace import Workspace

READ = ("--perturbation", "perturbation", "--cell-type", "cell_type", "--no-qc", "--genes", "all")
TABLE = pd.DataFrame(np.random.default_rng(0).normal(size=(4, 3)), ["TF01", "TF02", "TF03", "XX1"])


@pytest.fixture(scope="module")
def cells() -> AnnData:
    return simulate(700, 200)


@pytest.fixture(scope="module")
def run_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a model that learnt from a table of embeddings in which most perturbations are missing."""
    root = tmp_path_factory.mktemp("rows")
    TABLE.to_csv(root / "vectors.csv")
    trained_run(root, (), tables=(str(root / "vectors.csv"),))
    return root


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, cells: AnnData) -> Path:
    root = tmp_path_factory.mktemp("good")
    prepared(cells, root)
    return root / "w"


@pytest.fixture
def data(root: Path, good: Path) -> Path:
    """A workspace with a dataset that has nothing wrong."""
    shutil.copytree(good, root / "w")
    return root


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(tmp_path / "w"))
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must be refused, and return the three lines that say so."""
    code = cli.main(list(arguments))
    out, err = capsys.readouterr()
    assert code == 2 and "Traceback" not in err and "unexpected" not in err, err
    error: dict[str, Any] = json.loads(out.splitlines()[-1])["error"]
    assert set(error) == {"what", "why", "fix"} and all(error.values())
    return " ".join(error.values())


def written(cells: AnnData, root: Path) -> str:
    cells.write_h5ad(root / "cells.h5ad")
    return str(root / "cells.h5ad")


def prepared(cells: AnnData, root: Path, dose: str | None = "dose", control: str | None = CONTROL) -> None:
    """Prepare cells as a command would that leaves out what is to be refused later."""
    prepare_adata(cells, root / "w", "d", genes="all", qc=QC(), roles=Roles(
        perturbation="perturbation", control=control, cell_type="cell_type", dose=dose))


def nothing_trained(root: Path) -> bool:
    return not Workspace(root / "w").list("train")


def test_no_control_cells(cells: AnnData, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = written(cells[cells.obs["perturbation"] != CONTROL].copy(), root)
    said = refused(capsys, "prepare", source, "--name", "d", "--control", CONTROL, *READ)
    assert "has no value 'control'" in said and "TF01-kd" in said


def test_no_control_label_was_chosen(cells: AnnData, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepared(cells, root, control=None)
    said = refused(capsys, "train", "d", "--task", "perturb")
    assert "has no control cells" in said and "--control" in said and nothing_trained(root)


def test_a_control_label_that_does_not_exist(cells: AnnData, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "prepare", written(cells, root), "--name", "d", "--control", "contrl", *READ)
    assert "no value 'contrl'" in said and "Did you mean 'control'?" in said


def test_a_perturbation_with_two_cells(cells: AnnData, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = np.flatnonzero(cells.obs["perturbation"] == "TF01-kd")
    keep = np.setdiff1d(np.arange(cells.n_obs), rows[2:])
    prepared(cells[keep].copy(), root)
    said = refused(capsys, "train", "d", "--task", "perturb")
    assert "'TF01-kd' has too few cells. It has 2" in said and nothing_trained(root)


def test_a_dose_as_text(cells: AnnData, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stimulated = (cells.obs["perturbation"] == "stimulus").to_numpy()
    bad = cells.copy()
    bad.obs["amount"] = np.where(stimulated, "1+1", "")
    prepared(bad, root, dose="amount")
    said = refused(capsys, "train", "d", "--task", "perturb")
    assert "doses in 'amount' cannot be used. '1+1' is no number" in said and nothing_trained(root)
    said = refused(capsys, "prepare", str(root / "w" / "d.h5ad"), "--name", "e", "--control", CONTROL,
                   "--dose", "amount", "--hold-out", "unseen-dose", *READ)
    assert "'1+1' is no number" in said


def test_a_dose_as_text_in_a_request(run_root: Path, capsys: pytest.CaptureFixture[str],
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(run_root))
    for command in ("predict", "screen"):
        what = ("--perturbation", "TF01-kd") if command == "predict" else ("--all-singles",)
        assert "'1+1'" in refused(capsys, command, "run", *what, "--dose", "1+1")


def test_perturbed_genes_that_are_not_among_the_genes(cells: AnnData, root: Path,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    other = cells.copy()
    other.var_names = [f"ENSG{i:011d}" for i in range(other.n_vars)]
    prepared(other, root)
    settings = [x for part, of in SMALL.items() for k, v in of.items() for x in ("--set", f"{part}.{k}={v}")]
    code = cli.main(["train", "d", "--task", "perturb", "--name", "r", "--set", "perturb.spread=moved", *settings])
    _, err = capsys.readouterr()
    assert code == 0 and "None of the perturbed names is a gene of this data (" in err and "gene sets or a table" in err
    # what is known of is still predicted; what is not is refused, with what is missing
    assert cli.main(["predict", "r", "--perturbation", "TF01-kd+TF02-kd", "--cells", "10"]) == 0
    capsys.readouterr()
    said = refused(capsys, "predict", "r", "--perturbation", "TF01-kd+TF99-kd")
    assert "Nothing is known about 'TF99-kd'" in said and "Add an embedding that has it" in said


@pytest.mark.parametrize(("write", "said"), [
    (lambda p: TABLE.set_axis([f"ENSG{i}" for i in range(4)]).to_csv(p), "None of its 4 names (such as ensg0"),
    (lambda p: TABLE.mask(np.repeat((TABLE.index == "TF02")[:, None], 3, axis=1)).to_csv(p), "1 of 4 rows have a"),
    (lambda p: TABLE.set_axis(["TF01", "TF01", "TF02", "TF03"]).to_csv(p), "'TF01' stands in it more than once"),
    (lambda p: TABLE.assign(note="text").to_csv(p), "The column 'note' holds no numbers"),
    (lambda p: TABLE.set_axis(["TF01", "", "TF02", "TF03"]).to_csv(p), "has no name"),
    (lambda p: p.write_bytes(b"\x00\x01\xff\xfe"), "cannot be"),
    (lambda p: p.write_text(""), "cannot be read"),
    (lambda p: None, "There is no such file")],
    ids=["names that do not match", "a NaN row", "a name twice", "text", "no name", "no table", "empty", "not there"])
def test_a_table_of_embeddings_that_cannot_be_used(write: Any, said: str, data: Path,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    write(data / "vectors.csv")
    assert said in refused(capsys, "train", "d", "--task", "perturb", "--set",
                           f"perturb.tables=[{data / 'vectors.csv'}]")
    assert nothing_trained(data)  # it is told before anything is trained, not at the end


def test_an_embedding_table_with_missing_rows_refuses_what_it_lacks(
        run_root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(run_root))
    assert cli.main(["predict", "run", "--perturbation", "XX1", "--cells", "10"]) == 0  # a row of the table alone
    capsys.readouterr()
    said = refused(capsys, "predict", "run", "--perturbation", "XX2+TF01-kd")
    assert "Nothing is known about 'XX2'" in said and "vectors" in said and "one row for each name" in said


@pytest.mark.parametrize(("content", "said"), [
    (b"\x1f\x8b\x08packed", "packed"), (b"A,B,C\n1,2,3\n", "no tab"), (b"<!doctype html><html>", "web page"),
    (b"", "empty"), (b"SET\tabout\tG1\tG2\n", "0 of 1 sets have 5 to 500"),
    (b"".join(b"S%d\tx\t" % i + b"\t".join(b"Mm%d" % j for j in range(9)) + b"\n" for i in range(3)),
     "None of its 9 names")], ids=["packed", "table", "page", "empty", "small", "of another organism"])
def test_a_wrong_file_of_gene_sets(content: bytes, said: str, data: Path,
                                   capsys: pytest.CaptureFixture[str]) -> None:
    (data / "sets.gmt").write_bytes(content)
    assert said in refused(capsys, "train", "d", "--task", "perturb", "--set",
                           f"perturb.gene_sets=[{data / 'sets.gmt'}]")
    assert nothing_trained(data)


@pytest.mark.parametrize(("content", "said"), [
    (b"a,b\n1,2\n", "no column 'tf' (it has a, b)"), (b"\xff\xfe\x00", "no text"), (b"", "empty"),
    (b"tf,target\nZZ1,ZZ2\n", "None of its 2 names")])
def test_a_wrong_file_of_regulons(content: bytes, said: str, data: Path,
                                  capsys: pytest.CaptureFixture[str]) -> None:
    (data / "net.tsv").write_bytes(content)
    assert said in refused(capsys, "train", "d", "--task", "perturb", "--set",
                           f"perturb.regulons=[{data / 'net.tsv'}]")
