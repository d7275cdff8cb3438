"""The command `design` on the demo: cells that meet a target, and mistakes told."""

from __future__ import annotations

import json
import sys

import anndata
import pytest

from scdiff_core import cli, demo_model
from scdiff_core.workspace import Workspace


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    root = tmp_path_factory.mktemp("space")
    demo_model.install(Workspace(root))
    return root


def call(capsys, *arguments):
    code = cli.main(list(arguments))
    out, err = capsys.readouterr()
    print(err, file=sys.stderr)
    return code, json.loads(out.strip().splitlines()[-1]), err


def test_cells_meet_the_target_and_carry_it(space, tmp_path, capsys):
    (tmp_path / "t.yaml").write_text("genes:\n  - {gene: CD79A, direction: up}\nprograms:\n  - {name: myeloid, "
                                     "direction: down, level: 2.5}\n")
    (tmp_path / "s.gmt").write_text("myeloid\tx\tCST3\tLYZ\tNOT_A_GENE\n")
    out = tmp_path / "cells.h5ad"
    code, said, _ = call(capsys, "design", demo_model.NAME, "--target", str(tmp_path / "t.yaml"), "--cells", "40",
                         "--gene-sets", str(tmp_path / "s.gmt"), "--out", str(out), "--workspace", str(space))
    assert code == 0 and said["met"] == 40 and "40 of 40 meet the target" in said["words"]
    cells = anndata.read_h5ad(out)
    assert cells.obs["meets_target"].all() and cells.obs["synthetic"].all()
    recipe = json.loads(cells.uns["scdiff"])
    assert recipe["kind"] == "design" and recipe["config"]["target"]["programs"][0]["members"] == ["CST3", "LYZ"]
    assert recipe["config"]["target"]["genes"][0]["level"] > 0 and recipe["summary"]["rows"][0]["designed"] == 1


def test_cells_begin_from_a_type_and_a_design_is_kept_in_the_run(space, tmp_path, capsys):
    from scdiff_core.engine import design_set

    (tmp_path / "t.yaml").write_text("genes:\n  - {gene: CST3, direction: up, level: 2.0}\n")
    code, said, _ = call(capsys, "design", demo_model.NAME, "--target", str(tmp_path / "t.yaml"), "--cells", "30",
                         "--from-type", "CD14+ Monocyte", "--move", "0.4", "--workspace", str(space))
    assert code == 0 and said["moved"]["t"] == 0.4 and said["met"] == 30
    job = Workspace(space).list("train")[0]
    (kept,) = design_set.list_sets(job)
    assert kept.report().words == said["words"] and kept.target().genes[0].level == 2.0
    assert kept.view()["xy"].shape == (30, 2) and set(kept.cells().obs["start_cell"])
    assert (kept.path / design_set.FIGURES).read_text().count("\n") >= 3


def test_code_is_run_only_when_that_is_said(space, tmp_path, capsys):
    (tmp_path / "own.py").write_text("class Objective:\n    def log_likelihood(self, log1p, genes):\n"
                                     "        return log1p[:, genes.index('CST3')]\n")
    (tmp_path / "t.yaml").write_text("objective: own.py\n")
    asked = ("design", demo_model.NAME, "--target", str(tmp_path / "t.yaml"), "--cells", "20", "--out",
             str(tmp_path / "c.h5ad"), "--workspace", str(space))
    code, _, err = call(capsys, *asked)
    assert code == 2 and "was not run" in err and "--run-code" in err
    assert call(capsys, *asked, "--run-code")[0] == 0


@pytest.mark.parametrize(("text", "said"), [
    ("genes: []", "nothing to design"), ("genes:\n  - {gene: NOPE1}", "does not know the gene 'NOPE1'"),
    ("programs:\n  - {name: x}", "The program 'x' is not known"), ("nonsense", "no list of rows")])
def test_a_target_that_cannot_be_followed_exits_2(space, tmp_path, capsys, text, said):
    (tmp_path / "t.yaml").write_text(text)
    code, _, err = call(capsys, "design", demo_model.NAME, "--target", str(tmp_path / "t.yaml"), "--workspace",
                        str(space))
    assert code == 2 and said in err
