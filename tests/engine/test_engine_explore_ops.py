"""Differential expression and gene-set scores by the worker, on real and generated cells."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from helpers import prepared_tiny

from scdiff_core import keys
from scdiff_core.analysis import differential, gene_sets
from scdiff_core.config import TrainConfig
from scdiff_core.data.prepared import Prepared, to_log1p
from scdiff_core.engine import outputs
from scdiff_core.engine.explore_ops import score_file
from scdiff_core.engine.worker import Service
from scdiff_core.engine.worker_loop import Cancelled
from scdiff_core.errors import ScdiffError
from scdiff_core.selection import pack_rows
from scdiff_core.worker_client import Worker
from scdiff_core.workspace import Workspace, read_json

SET = "r/made"


def write_made(path: Path, prepared: Prepared, n: int, genes: np.ndarray) -> None:
    """A generated set: real cells with new noise, without a training."""
    rng = np.random.default_rng(0)
    counts = sp.csr_matrix(rng.poisson(prepared.counts[:n].toarray()[:, :len(genes)] * 0.8).astype(np.float32))
    total = np.asarray(counts.sum(1)).ravel() + 1
    adata = anndata.AnnData(counts, var=pd.DataFrame(index=genes),
                            obs=pd.DataFrame(index=[f"synthetic_{i}" for i in range(n)]))
    adata.layers[keys.LOG1P] = to_log1p(counts, total)
    outputs.write_cells(path / outputs.CELLS, adata)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A small dataset, and a run with a set of 80 generated cells and one of other genes."""
    root = tmp_path_factory.mktemp("w")
    found = prepared_tiny(root)
    job = Workspace(root).create(TrainConfig(dataset="tiny", fingerprint=found.fingerprint), "r")
    write_made(job.outputs / "made", found, 80, found.genes)
    write_made(job.outputs / "odd", found, 10, found.genes[:-1])
    return found


@pytest.fixture
def service(prepared: Prepared) -> Service:
    """What the worker's process holds."""
    assert prepared.path is not None
    return Service(Workspace(prepared.path.parent.parent))


def ask(service: Service, op: str, prepared: Prepared, **values: Any) -> dict[str, Any]:
    return service.answer(op, {"dataset": "tiny", "fingerprint": prepared.fingerprint, **values},
                          lambda words, share: None)


def test_a_selection_is_compared_with_the_rest(service: Service, prepared: Prepared, tmp_path: Path) -> None:
    kind = prepared.labels(keys.CELL_TYPE)
    mine = kind == "T"
    told: list[float] = []
    result = service.answer("compare", {
        "dataset": "tiny", "fingerprint": prepared.fingerprint, "a": {"source": "real", "rows": pack_rows(mine)},
        "b": {"source": "real", "rows": pack_rows(~mine)}, "names": {"a": "T", "b": "the rest"},
        "out_dir": str(tmp_path / "o")}, lambda words, share: told.append(share))
    assert (result["n_a"], result["n_b"]) == (mine.sum(), (~mine).sum()) and told == sorted(told) and told[-1] < 1
    table = differential.read_table(Path(result["path"]))
    x = prepared.log1p()
    expected = differential.compare(x[np.flatnonzero(mine)], x[np.flatnonzero(~mine)], prepared.genes)
    pd.testing.assert_frame_equal(table, expected, rtol=1e-5, check_dtype=False)
    recipe = read_json(tmp_path / "o" / "recipe.json")
    assert recipe["a"] == {"name": "T", "source": "real", "n_cells": int(mine.sum()), "of": prepared.n_cells,
                           "rows": pack_rows(mine)}
    assert recipe["fingerprint"] == prepared.fingerprint and recipe["b"]["name"] == "the rest"
    assert "Wilcoxon" in recipe["test"] and "Benjamini-Hochberg" in recipe["correction"]
    assert {"scdiff_studio", "scipy"} <= set(recipe["versions"])
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == ["recipe.json", "table.csv"]
    assert json.dumps(result)


def test_real_is_compared_with_generated(service: Service, prepared: Prepared, tmp_path: Path) -> None:
    result = ask(service, "compare", prepared, a={"source": SET}, b={"source": "real"}, out_dir=str(tmp_path))
    assert (result["n_a"], result["n_b"]) == (80, prepared.n_cells)
    made = service.workspace.open("train", "r").outputs / "made"
    x = outputs.GeneratedSet(made).cells().layers[keys.LOG1P]
    expected = differential.compare(x, prepared.log1p(), prepared.genes)
    table = differential.read_table(tmp_path / "table.csv")
    pd.testing.assert_frame_equal(table, expected, rtol=1e-5, check_dtype=False)
    assert read_json(tmp_path / "recipe.json")["a"]["name"] == "a"
    some = np.arange(80) < 20  # the same rows of two sources are other cells
    result = ask(service, "compare", prepared, a={"source": SET, "rows": pack_rows(some)},
                 b={"source": "real", "rows": pack_rows(np.arange(prepared.n_cells) < 20)}, out_dir=str(tmp_path / "2"))
    assert (result["n_a"], result["n_b"]) == (20, 20)


def test_what_is_loaded_stays_loaded(service: Service, prepared: Prepared, tmp_path: Path) -> None:
    for _ in range(2):
        ask(service, "compare", prepared, a={"source": SET}, b={"source": "real"}, out_dir=str(tmp_path))
    assert len(service.datasets.items) == 1 == len(service.sets.items)
    assert service.dataset("tiny", prepared.fingerprint) is next(iter(service.datasets.items.values()))


def test_what_cannot_be_compared_is_told_and_leaves_nothing(
        service: Service, prepared: Prepared, tmp_path: Path) -> None:
    n = prepared.n_cells
    first, second = pack_rows(np.arange(n) < 50), pack_rows(np.arange(n) >= 47)
    for a, b, said in (
            ({"rows": first}, {"rows": second}, "3 cells are in both 'mine' and 'b'"),
            ({"rows": first}, {}, "50 cells are in both"),
            ({"source": SET}, {"source": SET}, "80 cells are in both"),
            ({"rows": pack_rows(np.arange(n) < 2)}, {"rows": second}, "has 2 cells"),
            ({"rows": pack_rows(np.arange(n + 40) < 9)}, {"source": SET}, f"there are {n}"),
            ({"rows": "???"}, {"source": SET}, "base64"),
            ({"source": "r/odd"}, {}, "199 genes are not the 200"),
            ({"source": "r/none"}, {}, "no generated cells 'none'"),
            ({"source": "q/made"}, {}, "no run 'q'"),
            ({"source": "../r/made"}, {}, "no cells"), ({"source": "r/../made"}, {}, "no cells"),
            ({"source": "real", "row": first}, {}, "no setting 'row'")):
        with pytest.raises(ScdiffError, match=said.replace("?", r"\?")):
            ask(service, "compare", prepared, a=a, b=b, names={"a": "mine"}, out_dir=str(tmp_path / "o"))
    with pytest.raises(ScdiffError, match="prepared again"):
        service.answer("compare", {"dataset": "tiny", "fingerprint": "0" * 64, "a": {}, "b": {"source": SET},
                                   "out_dir": str(tmp_path / "o")}, lambda words, share: None)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("op", ["compare", "score"])
def test_a_request_can_be_cancelled_at_any_of_its_steps(
        service: Service, prepared: Prepared, tmp_path: Path, op: str) -> None:
    values: dict[str, Any] = {"a": {"source": SET}, "b": {}} if op == "compare" else \
        {"sources": ["real", SET], "name": "x", "genes": ["GENE1"]}
    asked = {"dataset": "tiny", "fingerprint": prepared.fingerprint, **values, "out_dir": str(tmp_path / "o")}
    told: list[str] = []
    service.answer(op, {**asked, "out_dir": str(tmp_path / "whole")}, lambda words, share: told.append(words))
    assert len(told) >= 4
    for step in range(len(told)):
        left = iter(range(step))

        def tell(words: str, share: float, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise Cancelled

        with pytest.raises(Cancelled):
            service.answer(op, asked, tell)
    assert not (tmp_path / "o").exists()


def test_a_gene_set_is_scored_on_one_scale(service: Service, prepared: Prepared, tmp_path: Path) -> None:
    wanted = ["gene3", "GENE5", "GENE8", "NOPE", "GENE5"]
    result = ask(service, "score", prepared, sources=["real", SET], name="mine", genes=wanted, out_dir=str(tmp_path))
    assert (result["found"], result["missing"]) == (["GENE3", "GENE5", "GENE8"], ["NOPE"])
    real, made = (np.load(tmp_path / name) for name in ("real.npy", "r__made.npy"))
    assert (score_file("real"), score_file(SET)) == ("real.npy", "r__made.npy")
    assert real.dtype == made.dtype == np.float32 and (len(real), len(made)) == (prepared.n_cells, 80)
    cells = outputs.GeneratedSet(service.workspace.open("train", "r").outputs / "made").cells().layers[keys.LOG1P]
    together = gene_sets.score(sp.vstack([prepared.log1p(), cells]), prepared.genes, wanted)
    np.testing.assert_allclose(np.concatenate([real, made]), together, atol=1e-6)
    assert read_json(tmp_path / "recipe.json")["missing"] == ["NOPE"]
    for sources, genes, said in ((["real"], ["NOPE"], "None of its 1 genes"), ([], ["GENE3"], "No cells are named"),
                                 (["r/odd"], ["GENE3"], "199 genes"), (["../x"], ["GENE3"], "no cells")):
        with pytest.raises(ScdiffError, match=said):
            ask(service, "score", prepared, sources=sources, name="x", genes=genes, out_dir=str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_the_real_worker_answers(prepared: Prepared, tmp_path: Path) -> None:
    """As the pages ask it: in another process, by lines of JSON."""
    assert prepared.path is not None
    worker = Worker(prepared.path.parent.parent, threads=1)
    try:
        half = np.arange(prepared.n_cells) % 2 == 0
        last = list(worker.request(
            "compare", dataset="tiny", fingerprint=prepared.fingerprint, a={"source": "real", "rows": pack_rows(half)},
            b={"source": "real", "rows": pack_rows(~half)}, out_dir=str(tmp_path / "o")))[-1]
        assert last["done"] and len(differential.read_table(Path(last["path"]))) == prepared.n_genes
        last = list(worker.request("score", dataset="tiny", fingerprint=prepared.fingerprint, sources=["real"],
                                   name="x", genes=["nope"], out_dir=str(tmp_path / "s")))[-1]
        assert set(last["error"]) == {"what", "why", "fix"}
    finally:
        worker.close()
