"""Stages of the benchmark: what was made is found again, what is stale is not, cells survive their file."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from benchmarks import stages
from benchmarks.peers import run as peers
from scdiff_core import keys
from scdiff_core.analysis.cells import Cells
from scdiff_core.data.prepared import to_log1p
from scdiff_core.workspace import Workspace
from tests.helpers import prepared_tiny, tiny_counts_adata


def test_cells_come_back_as_they_were_saved(tmp_path):
    counts = sp.random(20, 7, 0.4, "csr", np.float32, np.random.default_rng(0))
    for labels in (None, np.array(["B", "", "T", "T"] * 5)):
        made = Cells(counts, counts * 2, np.arange(20, dtype=np.float32), labels)
        stages.save_cells(tmp_path / "cells.npz", made)
        back = stages.load_cells(tmp_path / "cells.npz")
        assert (back.counts != counts).nnz == 0 and (back.log1p != counts * 2).nnz == 0
        np.testing.assert_array_equal(back.total_counts, made.total_counts)
        assert back.labels is None if labels is None else (back.labels == labels).all()


def test_hash_of_the_source_leaves_out_what_a_model_does_not_follow_from(tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "ROOT", tmp_path)
    engine = tmp_path / "scdiff_core" / "engine"
    engine.mkdir(parents=True)
    (engine / "train.py").write_text("a")
    (engine / "worker.py").write_text("b")
    before = stages.source_hash(("engine",), ("worker",))
    (engine / "worker.py").write_text("c")
    assert stages.source_hash(("engine",), ("worker",)) == before
    (engine / "train.py").write_text("d")
    assert stages.source_hash(("engine",), ("worker",)) != before


def test_a_dataset_is_prepared_once_and_anew_when_its_bytes_change(tmp_path):
    source = tmp_path / "tiny.h5ad"
    tiny_counts_adata().write_h5ad(source)
    workspace = Workspace(tmp_path / "ws")
    job, seconds = stages.prepare(workspace, source)
    made = (job.path / "prepared.h5ad").stat().st_mtime_ns
    again, same = stages.prepare(workspace, source)
    assert again == job and same == seconds and (job.path / "prepared.h5ad").stat().st_mtime_ns == made
    (job.path / "bench.json").unlink()  # as where it was cut off
    stages.prepare(workspace, source)
    assert (job.path / "prepared.h5ad").stat().st_mtime_ns != made
    tiny_counts_adata(seed=1).write_h5ad(source)
    assert stages.prepare(workspace, source)[0] != job


def test_peers_get_training_cells_alone_and_are_asked_for_the_data_s_own_types(tmp_path):
    prepared = prepared_tiny(tmp_path / "ws")
    rows = peers.exchange(tmp_path / "peer", prepared, seed=0, epochs=3)
    train, test = prepared.rows(keys.TRAIN), prepared.rows(keys.TEST)
    given = sp.load_npz(tmp_path / "peer" / "train.npz")
    assert (given != prepared.counts[train]).nnz == 0
    assert len(rows) == len(test) and np.isin(rows, train).all()
    with np.load(tmp_path / "peer" / "train_cells.npz", allow_pickle=False) as cells:
        assert (cells["labels"] == prepared.labels("cell_type")[train]).all()
        assert set(cells["groups"]) == {"B", "Monocyte", "T", ""}
    again = peers.exchange(tmp_path / "peer", prepared, seed=1, epochs=3)
    assert (rows != again).any()


def test_a_perfect_peer_gives_real_cells(tmp_path):
    prepared = prepared_tiny(tmp_path / "ws")
    rows = prepared.rows(keys.TRAIN)[:40]
    cells = peers.cells_of(prepared, prepared.counts[rows], rows, labelled=True)
    np.testing.assert_allclose(cells.total_counts, prepared.total_counts[rows], rtol=1e-6)
    expected = to_log1p(prepared.counts[rows], prepared.total_counts[rows])
    np.testing.assert_allclose(cells.log1p.toarray(), expected.toarray(), rtol=1e-5)
    assert (cells.labels == prepared.labels("cell_type")[rows]).all()
    assert peers.cells_of(prepared, prepared.counts[rows], rows, labelled=False).labels is None
