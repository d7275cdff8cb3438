"""Bad input for a model of perturbations, one by one, on the pages: a clear box, no traceback, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_perturb import FakeModel, copied, fake_workspace, no_worker
from helpers import prepare_adata
from streamlit.testing.v1 import AppTest
from test_ui_pages import open_page, words

from scdiff_core.config import QC, Roles
from scdiff_core.data.simulate import CONTROL, Truth, simulate
from scdiff_core.workspace import Workspace

GENES = Truth.build(n_genes=200).genes
GOOD = "".join(f"SET{i}\tabout\t" + "\t".join(GENES[40 * i:40 * i + 30]) + "\n" for i in range(3)).encode()
WRONG = {"packed": (b"\x1f\x8b\x08\x00packed", "packed"), "table": (b"A,B,C\n1,2,3\n", "no tab"),
         "page": (b"<!doctype html><html></html>", "web page"), "empty": (b"", "empty"),
         "binary": (b"\x00\xff\xfe\x01", "no text")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_workspace(tmp_path_factory.mktemp("bad"), ("TF01-kd",), 700, 200)


@pytest.fixture
def space(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    no_worker(monkeypatch)
    return copied(made, tmp_path / "w", monkeypatch)


def upload(at: AppTest, key: str, name: str, data: bytes) -> AppTest:
    at = at.file_uploader(key=key).set_value((name, data, "application/octet-stream")).run()
    assert not at.exception
    return at


def errors(at: AppTest) -> str:
    return " ".join(e.value for e in at.error)


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_file_of_gene_sets_on_the_perturb_page(kind: str, space: Workspace) -> None:
    data, said = WRONG[kind]
    at = open_page("perturb", dataset="screen", run="run", **{"perturb-tabs": "Programs"})
    at = upload(at, "program_file", "mine.gmt", GOOD)
    assert not at.error and (space.root / "gene_sets" / "mine.gmt").read_bytes() == GOOD
    at = upload(at, "program_file", "mine.gmt", data)
    assert "The gene sets cannot be read" in errors(at) and said in errors(at)
    assert (space.root / "gene_sets" / "mine.gmt").read_bytes() == GOOD  # nothing is lost
    assert "adjusted p" in words(at)  # and what was there is still told
    assert not upload(at, "program_file", "mine.gmt", GOOD).error


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_file_of_gene_sets_on_the_train_page(kind: str, space: Workspace) -> None:
    data, said = WRONG[kind]
    at = train(space)
    at = upload(at, "knowledge_file", "mine.gmt", GOOD)
    assert not at.error and at.session_state["train_knowledge"] == ["mine.gmt"]
    at = upload(at, "knowledge_file", "mine.gmt", data)
    assert "The gene sets cannot be read" in errors(at) and said in errors(at)
    assert (space.root / "gene_sets" / "mine.gmt").read_bytes() == GOOD
    assert at.session_state["train_knowledge"] == ["mine.gmt"]


@pytest.mark.parametrize(("name", "data", "said"), [
    ("net.tsv", b"a\tb\n1\t2\n", "no column 'tf'"), ("net.tsv", b"\xff\xfe\x00", "no text"),
    ("v.csv", b"name,a,b\nTF01,1,\nTF02,1,2\n", "1 of 2 rows have a missing"),
    ("v.csv", b"name,a\nTF01,x\n", "no numbers"), ("v.csv", b"name,a\nTF01,1\nTF01,2\n", "more than once"),
    ("v.parquet", b"PAR1 no parquet", "cannot be read"), ("v.h5ad", b"no hdf5", "cannot be read")])
def test_wrong_vectors_and_regulons_on_the_train_page(name: str, data: bytes, said: str, space: Workspace) -> None:
    at = upload(train(space), "knowledge_file", name, data)
    assert said in errors(at)
    assert not any(p.name == name for folder in ("gene_sets", "embeddings") for p in
                   (space.root / folder).glob("*") if (space.root / folder).is_dir())
    assert not at.session_state["train_knowledge"]


def test_names_that_do_not_match_are_told_before_the_training_begins(space: Workspace) -> None:
    table = pd.DataFrame(np.eye(3), ["ENSG1", "ENSG2", "ENSG3"])
    at = upload(train(space), "knowledge_file", "other.csv", table.to_csv().encode())
    assert not at.error
    at = at.button(key="start_training").click().run()
    assert "None of its 3 names" in errors(at) and "Ensembl" in errors(at)
    assert [r.id for r in space.list("train")] == ["run"]


def train(space: Workspace, dataset: str = "screen") -> AppTest:
    from pages._train import start
    from scdiff_core.data.prepared import Prepared

    prepared = Prepared.open(space.open("prepare", dataset))
    times = {start.estimate_key(prepared, t): dict.fromkeys(start.PRESETS, 60.0) for t in start.TASKS}
    at = open_page("train", dataset=dataset, run="run", estimates=times, **{f"train_task-{dataset}": "perturb"})
    assert not at.exception
    return at


@pytest.mark.parametrize(("trouble", "said"), [
    ("control", "has no control cells"), ("two", "has too few cells"), ("dose", "is no number")])
def test_data_that_cannot_teach_perturbations_on_the_train_page(trouble: str, said: str, space: Workspace) -> None:
    cells = simulate(500, 200)
    control: str | None = CONTROL
    if trouble == "control":
        control = None
    elif trouble == "two":
        rows = np.flatnonzero(cells.obs["perturbation"] == "TF01-kd")
        cells = cells[np.setdiff1d(np.arange(cells.n_obs), rows[2:])].copy()
    else:
        cells.obs["dose"] = np.where(cells.obs["perturbation"] == "stimulus", "1+1", "")
    prepare_adata(cells, space.root, "d", genes="all", qc=QC(), roles=Roles(
        perturbation="perturbation", control=control, cell_type="cell_type", dose="dose"))
    at = train(space, "d")
    assert said in errors(at) and "Something went wrong" not in errors(at)
    assert not [b for b in at.button if b.key == "start_training"]  # there is nothing to start
    assert at.segmented_control(key="train_task-d").value == "perturb"  # and another task can be chosen


def test_a_dose_as_text_in_a_list_to_screen_is_refused_by_its_name(space: Workspace) -> None:
    from scdiff_core.config_screen import ScreenConfig, read_list
    from scdiff_core.data.prepared import Prepared
    from scdiff_core.engine import screen
    from scdiff_core.engine.steps import follow

    model = FakeModel(Prepared.open(space.open("prepare", "screen")))
    asked = ScreenConfig(run="run", items=tuple(read_list("TF01-kd\nstimulus @ 1+1")), n_cells=20,
                         where={"cell_type": "type_A"})
    found, refused = follow(screen.screen(model, asked), lambda step, share: None)
    assert [f.name for f in found] == ["TF01-kd"]
    assert refused == {"stimulus @ 1+1": "Its dose is no number. Write it as 'NAME @ 0.5'."}
