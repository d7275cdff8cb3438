import json

import pandas as pd
import pytest
from helpers import quiet, tiny_counts_adata

from scdiff_core.config import QC, InspectConfig
from scdiff_core.data import qc
from scdiff_core.data.inspect import inspect
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import Workspace


def look(source: str, root) -> tuple[dict, pd.DataFrame, list[str]]:
    config = InspectConfig(source=source)
    job = Workspace(root).create(config)
    inspect(config, job, quiet)
    return (json.loads((job.path / "findings.json").read_text()), pd.read_parquet(job.path / "cells.parquet"),
            (job.path / "genes.txt").read_text().splitlines())


def test_a_file_is_described(tmp_path):
    adata = tiny_counts_adata()
    adata.obs["split"] = "mine"
    adata.write_h5ad(tmp_path / "x.h5ad")
    found, cells, genes = look(str(tmp_path / "x.h5ad"), tmp_path)
    assert (found["kind"], found["values"], found["n_cells"], found["n_genes"]) == ("raw counts", "counts", 300, 200)
    assert found["roles"]["cell_type"] == "cell_type" and found["has_mitochondrial"]
    assert {c["name"]: c["kind"] for c in found["columns"]} == {
        "cell_type": "categorical", "batch": "categorical", "age": "continuous", "split": "constant"}
    assert found["sniffed"]["format"] == "h5ad" and found["gene_id_kind"] == "symbols"
    assert genes == adata.var_names.tolist() and found["genes_preview"] == genes[:20]
    assert cells.index.tolist() == adata.obs_names.tolist()
    pd.testing.assert_frame_equal(cells[list(qc.metrics(adata))], qc.metrics(adata), check_dtype=False)
    assert cells["source_split"].unique().tolist() == ["mine"]
    proposed = QC(**found["proposed_qc"])
    assert qc.passes(cells, proposed).mean() > 0.95


def test_a_demo_is_described(tmp_path):
    found, cells, _ = look("demo:pbmc68k", tmp_path)
    assert found["kind"] == "log-normalised, counts recovered" and found["sniffed"] == {}
    assert (cells["total_counts"] - cells["n_counts"]).abs().max() < 1


def test_a_bad_file_leaves_no_findings(tmp_path):
    (tmp_path / "x.h5ad").write_text("not a file of cells")
    with pytest.raises(ScdiffError):
        look(str(tmp_path / "x.h5ad"), tmp_path)
    assert not list(tmp_path.glob("inbox/*/findings.json"))
