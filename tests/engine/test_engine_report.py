"""Full reports of every kind of data. What is compared are real cells that play the generated ones."""

from __future__ import annotations

import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from anndata import AnnData
from helpers import prepare_adata, tiny_counts_adata
from test_engine_outputs import as_generated

from scdiff_core import keys
from scdiff_core.analysis import by_type, report_card, verdict
from scdiff_core.config import QC, GenerateConfig, Roles, TrainConfig
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine import report_compare, report_full
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir, Workspace

EVERY = {"umap", "mean", "variance", "zeros", "markers", "correlation", "library", "confusion"}


@pytest.fixture(autouse=True, scope="module")
def small_forests():
    """Forests that are enough to make a report of."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_card, "THOROUGH", (10, 10, 2))
        patch.setattr(by_type, "TREES", 10)
        yield


def prepare(root: Path, adata: AnnData | None = None, name: str = "tiny", **settings: Any) -> Prepared:
    """Prepare cells with all genes and no cell left out."""
    cells = tiny_counts_adata(n_cells=200, n_genes=80) if adata is None else adata
    return prepare_adata(cells, root, name, genes="all", qc=QC(), **settings)[0]


def make(root: Path, prepared: Prepared, run: str = "a", rows: np.ndarray | None = None,
         progress: Any = None) -> tuple[JobDir, dict[str, Any]]:
    """Make the report of a run whose generated cells are training cells; returns both."""
    job = Workspace(root).create(TrainConfig(dataset=prepared.name, fingerprint=prepared.fingerprint), run)
    job.checkpoints.mkdir()
    (job.checkpoints / "best.safetensors").touch()
    os.utime(job.checkpoints / "best.safetensors", (1, 1))
    rows = prepared.rows(keys.TRAIN)[::2] if rows is None else rows
    values = report_full.make(job, prepared, lambda asked, tell: as_generated(prepared, rows), n_cells=len(rows),
                              progress=progress)
    return job, values


class Outline(HTMLParser):
    """What a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.links: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        told = dict(attributes)
        self.links += [str(told[k]) for k in ("href", "src") if k in told]
        if "id" in told:
            self.ids.append(str(told["id"]))
        if tag == "img":
            self.images.append(told)
        if tag not in ("img", "meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def outline(page: str) -> Outline:
    """Read a page; every tag must close."""
    found = Outline()
    found.feed(page)
    assert found.open == []
    return found


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Prepared, JobDir, dict[str, Any]]:
    """A report of labelled counts."""
    root = tmp_path_factory.mktemp("w")
    prepared = prepare(root, roles=Roles(cell_type="cell_type", batch="batch"))
    return root, prepared, *make(root, prepared)


def test_a_report_has_every_row_type_and_figure(counts: tuple[Path, Prepared, JobDir, dict[str, Any]]) -> None:
    _, prepared, job, values = counts
    assert values == report_full.read_report(job) == json.loads(json.dumps(values, allow_nan=False))
    assert [r["key"] for r in values["rows"]] == list(verdict.METRICS)
    assert {f["key"] for f in values["figures"]} == EVERY == set(report_full.read_figures(job))
    assert [t["label"] for t in values["types"]] == ["B", "Monocyte", "T"]
    largest = values["types"][2]
    assert largest["train"] > 50 and largest["energy_floor"] > 0 and 0 < largest["agreement_real"] <= 1
    assert values["confusion"]["labels"] == ["B", "Monocyte", "T"]
    assert values["cfgen"]["types"] == 3 and values["cfgen"]["w2_floor"] > 0
    assert len(values["genes"]["gene"]) == prepared.n_genes
    assert values["data"]["n_cells"] == 200 and values["data"]["steps"] and "preset: standard" in values["recipe_yaml"]
    assert all(f["rows"] and f["alt"] and f["caption"] for f in values["figures"])


def test_the_page_needs_nothing_else_and_says_everything(
        counts: tuple[Path, Prepared, JobDir, dict[str, Any]]) -> None:
    _, _, job, values = counts
    page = (report_full.folder(job) / report_full.PAGE).read_text(encoding="utf-8")
    found = outline(page)
    assert all(link.startswith(("#", "data:image/svg+xml;base64,")) for link in found.links)
    assert "<script" not in page and "http" not in page and "@import" not in page and len(page) < 5e6
    assert len(found.images) == len(EVERY) and all(image["alt"] for image in found.images)
    assert len(found.ids) == len(set(found.ids))
    assert {link[1:] for link in found.links if link[0] == "#"} <= set(found.ids)
    assert "@media print" in page and "prefers-color-scheme:dark" in page
    for words in (values["sentence"].split("(")[0], "Monocyte", "synthetic", values["data"]["fingerprint"], "tiny.h5ad",
                  "codec.n_latent", "kind: train", "seeds", *(row["title"] for row in values["rows"])):
        assert words in page, words
    assert page.count("The table behind it") == len(EVERY)


def test_a_copied_run_keeps_its_report(counts: tuple[Path, Prepared, JobDir, dict[str, Any]], tmp_path: Path) -> None:
    _, _, job, values = counts
    there = JobDir(tmp_path / "copied", "train")
    shutil.copytree(job.path, there.path, copy_function=shutil.copyfile)
    os.utime(there.checkpoints / "best.safetensors", (4e9, 4e9))
    assert report_full.stale(there) == "" and report_full.read_report(there) == values


def test_a_report_is_made_once_and_told_stale_when_the_model_goes_on(
        counts: tuple[Path, Prepared, JobDir, dict[str, Any]]) -> None:
    _, prepared, job, values = counts
    asked = GenerateConfig.model_validate(values["generated"]["config"])

    def never(asked: GenerateConfig, tell: Any) -> AnnData:
        raise AssertionError("the report is there already")

    assert report_full.make(job, prepared, never, n_cells=asked.n_cells) == values
    assert report_full.stale(job) == "" and report_full.find(job, asked.model_copy(update={"seed": 5})) is None
    job.write_status(step=70)
    assert "trained on since" in report_full.stale(job) and report_full.find(job, asked) is None
    assert report_full.read_report(job) == values
    (report_full.folder(job) / report_full.JSON).write_text(json.dumps({**values, "format": 0}))
    assert "another version" in report_full.stale(job) and report_full.read_report(job) is None


def test_without_a_model_the_reason_is_told(tmp_path: Path) -> None:
    job = Workspace(tmp_path).create(TrainConfig(dataset="d", fingerprint="f"), "a")
    assert report_full.read_report(job) is None and report_full.stale(job) == ""
    with pytest.raises(ScdiffError, match="no trained model"):
        report_full.make(job, None, lambda asked, tell: None)  # type: ignore[arg-type]


def test_without_labels(tmp_path: Path) -> None:
    adata = tiny_counts_adata(n_cells=160, n_genes=60)
    del adata.obs["cell_type"]
    del adata.obs["batch"]
    shares: list[float] = []
    job, values = make(tmp_path, prepare(tmp_path, adata, roles=Roles()),
                       progress=lambda words, share: shares.append(share))
    assert shares == sorted(shares) and shares[-1] == 1
    assert {f["key"] for f in values["figures"]} == EVERY - {"markers", "confusion"}
    assert values["types"] == [] and values["confusion"] is None and values["cfgen"] is None
    page = (report_full.folder(job) / report_full.PAGE).read_text(encoding="utf-8")
    assert "Each type" not in page and "no cell types" in page
    outline(page)


def test_with_one_label_and_names_that_are_html(tmp_path: Path) -> None:
    adata = tiny_counts_adata(n_cells=160, n_genes=60)
    adata.obs["cell_type"] = "T <b> & \"co\""
    _, values = make(tmp_path, prepare(tmp_path, adata, roles=Roles(cell_type="cell_type")))
    assert {f["key"] for f in values["figures"]} == EVERY - {"markers", "confusion"}
    assert [t["label"] for t in values["types"]] == ["T <b> & \"co\""]
    assert values["types"][0]["slope"] is None and values["types"][0]["agreement"] is None


def test_with_few_cells_and_another_column_than_the_cell_type(tmp_path: Path) -> None:
    prepared = prepare(tmp_path, tiny_counts_adata(n_cells=40, n_genes=30), roles=Roles(batch="batch"))
    job, values = make(tmp_path, prepared, rows=prepared.rows(keys.TRAIN)[:4])
    assert values["n_cells"] == 4 and {r["verdict"] for r in values["rows"]} == {"unclear"}
    assert "markers" in {f["key"] for f in values["figures"]}  # of the batches
    assert "too few cells" in (report_full.folder(job) / report_full.PAGE).read_text(encoding="utf-8")


def test_values_without_counts(tmp_path: Path) -> None:
    adata = tiny_counts_adata(n_cells=160, n_genes=60)
    x = np.log1p(adata.X.toarray())
    adata.X = ((x - x.mean(0)) / (x.std(0) + 0.1)).astype(np.float32)
    prepared = prepare(tmp_path, adata, roles=Roles(cell_type="cell_type"))
    assert prepared.values == keys.CONTINUOUS
    job, values = make(tmp_path, prepared)
    assert {f["key"] for f in values["figures"]} == EVERY - {"library", "zeros"}
    assert all(t["library"] is t["zeros"] is t["zeros_real"] is None for t in values["types"])
    assert "Poisson" not in re.sub(r"base64,[^\"]*", "", (report_full.folder(job) / report_full.PAGE).read_text())


def test_two_reports_side_by_side(counts: tuple[Path, Prepared, JobDir, dict[str, Any]], tmp_path: Path) -> None:
    _, prepared, job, values = counts
    same = report_compare.compare(values, values)
    assert {line.better for line in same} == {""} and report_compare.caution(values, values) == ""
    assert report_compare.differences(values, values) == []
    poor, worse = make(tmp_path, prepared, "b", prepared.rows(keys.TRAIN)[1::3])
    recall = next(r for r in worse["rows"] if r["key"] == "recall")
    recall["value"] = recall["floor"] - 5 * recall["noise"]
    worse = {**worse, "recipe": {**worse["recipe"], "seed": 7}}
    lines = {line.title: line for line in report_compare.compare(values, worse)}
    assert len(lines) == len(values["rows"])
    found = lines["Recall"]
    assert found.better == "a" and found.said == "a is better" and found.a is not None and found.b is not None
    assert {line.better for line in report_compare.compare(worse, values) if line.title == "Recall"} == {"b"}
    assert ("seed", "0", "7") in report_compare.differences(values, worse)
    assert "cells a side" in report_compare.caution(values, worse)
    page = report_compare.compare_page(values, worse, report_full.read_figures(job), report_full.read_figures(poor))
    whole = outline(page)
    assert len(whole.images) == 2 * len(EVERY) and all(image["alt"] for image in whole.images)
    assert "http" not in page and "is better" in page and "What was done differently" in page
    other = {**worse, "data": {**worse["data"], "fingerprint": "x"}}
    assert "different data" in report_compare.caution(values, other)
