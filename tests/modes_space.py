"""A workspace with a small dataset, a run on it and two saved selections: for the tests of the modes of generation."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "engine"))
from engine_data import small_config
from helpers import prepare_adata, tiny_counts_adata

from scdiff_core.config import QC, Roles
from scdiff_core.engine.train import train
from scdiff_core.selection import REAL, Selection
from scdiff_core.selections import Selections
from scdiff_core.workspace import Workspace


def modes_space(root: Path) -> Workspace:
    """Cell types B, Monocyte and T, `age` as a number, and `group` (one, two), which the run `run` does not know."""
    adata = tiny_counts_adata(200, 80)
    adata.obs = adata.obs.rename(columns={"batch": "group"})
    prepared, dataset = prepare_adata(adata, root, genes="all", qc=QC(), roles=Roles(cell_type="cell_type", dose="age"))
    config = small_config(prepared)
    run = Workspace(root).create(config, "run")
    list(train(run, prepared, config, resume=False))
    run.write_status(state="finished")
    kept = Selections(dataset, prepared.fingerprint, prepared.n_cells)
    for name, label in (("mine", "B"), ("yours", "T")):
        kept.save(kept.keep(Selection({REAL: prepared.labels("cell_type") == label})), name)
    return Workspace(root)
