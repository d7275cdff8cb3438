"""What the worker does for the Design page: live answers in under a second, proposals, designs, and Cancel."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import torch

from scdiff_core import demo_model
from scdiff_core.engine import custom, design_ops, design_set
from scdiff_core.engine.worker import Service
from scdiff_core.engine.worker_loop import Cancelled
from scdiff_core.errors import ScdiffError
from scdiff_core.selection import pack_rows
from scdiff_core.workspace import Workspace


def tell(phase, share):
    pass


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    torch.set_num_threads(1)
    space = Workspace(tmp_path_factory.mktemp("ops"))
    demo_model.install(space)
    made = Service(space)
    design_ops.open_(made, tell, demo_model.NAME)
    return made


def test_a_target_is_answered_while_it_is_edited(service):
    asked = {"genes": [{"gene": "CD79A"}, {"gene": "CST3", "top": 0.2}]}
    began = time.process_time()
    found = design_ops.feasibility(service, tell, demo_model.NAME, asked)
    assert time.process_time() - began < 1
    assert found["feasibility"]["word"] == "beyond the data" and len(found["histograms"]) == 2
    (joint,) = found["joints"]
    assert joint["names"] == ["CD79A", "CST3"] and "real cells have both" in joint["words"]
    assert all(row["level"] is not None for row in found["target"]["genes"])
    with pytest.raises(ScdiffError, match="Did you mean 'CD79A'"):
        design_ops.feasibility(service, tell, demo_model.NAME, {"genes": [{"gene": "CD79a"}]})


def test_rows_are_proposed_for_a_type_and_for_cells(service):
    found = design_ops.propose_rows(service, tell, demo_model.NAME, cell_type="CD19+ B")
    assert "CD79A" in [row["gene"] for row in found["rows"]] and all(r["level"] is not None for r in found["rows"])
    bench = design_ops.bench_of(service, service.job(demo_model.NAME))
    mask = np.asarray(bench.prepared.labels("cell_type") == "CD19+ B")
    again = design_ops.propose_rows(service, tell, demo_model.NAME, rows=pack_rows(mask))
    assert again["rows"] == found["rows"]
    with pytest.raises(ScdiffError, match="Neither cells nor a cell type"):
        design_ops.propose_rows(service, tell, demo_model.NAME)


def test_a_design_is_written_whole_or_not_at_all(service, tmp_path):
    asked = {"target": {"genes": [{"gene": "CD79A", "top": 0.2}]}, "n_cells": 24, "steps": 6}
    out, pictures = tmp_path / "made", []

    def look(phase, share):
        pictures.extend(np.load(p)["xy"].shape for p in out.glob(design_set.LIVE))

    said = design_ops.design(service, look, demo_model.NAME, asked, str(out))
    made = design_set.DesignSet(out)
    assert json.dumps(made.report().to_dict()) == json.dumps(said["report"])
    assert made.recipe()["kind"] == "design" and made.target().genes[0].level > 0
    assert {"values", "real_values", "knn", "unreal", "nearest"} <= set(made.arrays())
    assert pictures and not (out / design_set.LIVE).exists()
    assert {p.name for p in out.iterdir()} >= {"cells.h5ad", "recipe.json", "view.npz", "report.json", "target.yaml",
                                               "figures.csv", "side_effects.csv", "neighbours.csv"}

    def enough(phase, share):
        if phase == "designing":
            raise Cancelled

    with pytest.raises(Cancelled):
        design_ops.design(service, enough, demo_model.NAME, asked, str(tmp_path / "cut"))
    assert not (tmp_path / "cut").exists()
    with pytest.raises(ScdiffError, match="nothing to design"):
        design_ops.design(service, tell, demo_model.NAME, {"target": {"genes": []}}, str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_code_is_run_from_its_folder_alone(service, tmp_path):
    root = service.workspace.root
    (root / custom.FOLDER).mkdir(exist_ok=True)
    (tmp_path / "own.py").write_text("raise SystemExit")
    with pytest.raises(ScdiffError, match="Only files in the workspace's folder"):
        design_ops.inside(root, str(tmp_path / "own.py"))
    with pytest.raises(ScdiffError, match="Only files in the workspace's folder"):
        design_ops.inside(root, "../own.py")
    assert design_ops.inside(root, "own.py").parent.name == custom.FOLDER
