"""Designing on the Design page by AppTest: it is asked for, cancelled, refused; what came out is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from design_page import Open, paste, upload
from fake_design import FakeWorker
from test_ui_pages import open_page, words

from scdiff_core.config import TrainConfig
from scdiff_core.data.prepared import Prepared
from scdiff_core.workspace import Workspace


def test_a_design_is_asked_for_and_cancelled(page: Open, fake: FakeWorker) -> None:
    at = paste(page(), "GENE1 up 1")
    at = next(n for n in at.number_input if n.label == "How many cells").set_value(64).run()
    at = at.button(key="design").click().run()
    assert not at.error and not at.exception
    values = next(v for op, v in fake.asked if op == "design")
    assert values["config"]["n_cells"] == 64 and values["config"]["method"] == "smc" and values["selection"] is None
    assert values["config"]["target"]["genes"][0]["gene"] == "GENE1"
    assert any(b.label == "Cancel" for b in at.button) and "first estimates" in words(at)
    at = next(b for b in at.button if b.label == "Cancel").click().run()
    at.run()
    assert not any(b.label == "Cancel" for b in at.button) and not at.error
    assert "Nothing has been designed yet" in words(at)


def test_cells_of_mine_are_started_from(page: Open, fake: FakeWorker) -> None:
    at = paste(page(), "GENE1 up 1")
    at = next(s for s in at.selectbox if s.label == "Start").select("type: B").run()
    at = next(s for s in at.segmented_control if s.label == "How far they may move").set_value("at most").run()
    at = next(s for s in at.slider if s.label.startswith("Share of the way")).set_value(0.3).run()
    at = at.button(key="design").click().run()
    start = next(v for op, v in fake.asked if op == "design")["config"]["target"]["start"]
    assert start["cell_type"] == "B" and start["move"] == pytest.approx(0.3)


def test_what_the_worker_refuses_is_told(page: Open, fake: FakeWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    at = paste(page(), "GENE1 up 1")
    monkeypatch.setattr("fake_design.Asked.look", lambda self, patience=0.0: {"error": {
        "what": "No cells were designed.", "why": "The demand of its own gave no number.", "fix": "Correct it."}})
    fake.ends = True
    at = at.button(key="design").click().run()
    assert any("gave no number" in e.value for e in at.error)


def test_code_of_ones_own_runs_only_where_it_is_allowed(page: Open, space: Workspace, fake: FakeWorker) -> None:
    folder = space.root / "objectives"
    folder.mkdir()
    (folder / "ratio.py").write_text("class Objective:\n    pass\n")
    at = paste(page(design_advanced=True), "GENE1 up 1")
    at = next(s for s in at.selectbox if s.label == "Demand written in Python").select("ratio.py").run()
    assert any("Code that will run" in w.value for w in at.warning)
    at = at.button(key="design").click().run()
    config = next(v for op, v in fake.asked if op == "design")["config"]
    assert config["target"]["objective"] == "ratio.py" and "custom" not in config  # which the worker refuses
    at = next(b for b in at.button if b.label == "Cancel").click().run()
    at = at.segmented_control(key="design_view").set_value("Target").run()
    at = at.toggle(key="design_custom").set_value(True).run()
    at = at.button(key="design").click().run()
    assert [v for op, v in fake.asked if op == "design"][-1]["config"]["custom"] is True


def test_a_model_without_cell_types_says_so(space: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from helpers import prepare_adata, tiny_counts_adata

    from pages._shared import worker
    from scdiff_core.config import QC, Roles

    plain, _ = prepare_adata(tiny_counts_adata(), space.root, "plain", genes="all", qc=QC(), roles=Roles())
    run = space.create(TrainConfig(dataset="plain", fingerprint=plain.fingerprint), "without")
    run.checkpoints.mkdir()
    (run.checkpoints / "best.safetensors").write_bytes(b"not opened here")
    fake = FakeWorker(plain)
    for name in ("submit", "under_way", "forget"):
        monkeypatch.setattr(worker, name, getattr(fake, name))
    at = open_page("design", dataset="plain", run="without")
    assert not at.error and "The data has no cell types" in words(at)
    at.file_uploader(key="design-upload-without").set_value(
        ("t.yaml", b"genes:\n  - {gene: GENE1}\ncell_type: B", "application/yaml")).run()
    assert "no cell types" in at.error[0].value


def test_without_a_model_it_says_where_one_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(tmp_path))
    at = open_page("design")
    assert not at.error and "No trained model yet" in words(at)


@pytest.mark.parametrize(("tab", "wanted"), [
    ("Overview", "real cells pushed there"), ("Rows", "the level asked for"), ("Realism", "5 % of real cells are"),
    ("Side effects", "real cells of B"), ("Programs", "No gene sets yet"), ("Nearest cells", "from one donor"),
    ("Explore", "Nothing selected"), ("Download", "not measured")])
def test_every_part_of_a_design_is_shown(page: Open, designed: Path, tab: str, wanted: str) -> None:
    said = words(page(design_view="Designed cells", **{"design-tabs": tab}))
    assert "57 of 60 meet the target; 11 % look unreal" in said and "A word of warning" in said
    assert "moved 40 % of the way" in said and "common" in said
    assert wanted in said


def test_the_explorer_calls_them_designed(page: Open, designed: Path) -> None:
    at = page(design_view="Designed cells", **{"design-tabs": "Explore"})
    shown = next(s for s in at.selectbox if s.label == "Cells")
    assert shown.options == ["real and designed", "designed over grey real ones", "real only", "designed only"]
    assert "generated" not in words(at).lower()


def test_the_baselines_stand_beside_the_designed_cells(page: Open, designed: Path) -> None:
    table = page(design_view="Designed cells").dataframe[0].value.set_index("figure")
    assert list(table.columns[:4]) == ["designed", "real ones", "edited", "floor"]
    assert table.loc["look unreal", "edited"] == "98 %"
    assert table.loc["distance to real ones"].tolist()[:4] == ["0.05", "0.05", "–", "0.006"]


def test_a_target_that_was_edited_since_is_told(page: Open, designed: Path) -> None:
    at = paste(page(), "GENE5 up 1")
    at = at.segmented_control(key="design_view").set_value("Designed cells").run()
    assert "target changed since" in words(at)


def test_levels_that_were_filled_in_are_no_change_of_the_target(page: Open, designed: Path) -> None:
    made = yaml.safe_load((designed / "target.yaml").read_text())
    for row in made["genes"]:
        row.pop("level")
    at = upload(page(), yaml.safe_dump(made))
    at = at.segmented_control(key="design_view").set_value("Designed cells").run()
    assert not at.error and "target changed since" not in words(at)
    at = at.number_input(key="design_n").set_value(64).run()
    at = next(s for s in at.selectbox if s.label == "Of the type").select("T").run()
    assert "target changed since" in words(at)


def test_figures_of_a_design_are_files_and_tables(designed: Path, space: Workspace, prepared: Prepared) -> None:
    import io
    import zipfile

    from pages._design import downloads
    from pages._design.shown import Shown
    from scdiff_core.engine.design_set import list_sets

    run = space.open("train", "run")
    shown = Shown(space.open("prepare", "cells"), prepared, run, list_sets(run)[0])
    names = zipfile.ZipFile(io.BytesIO(downloads.bundle(shown))).namelist()
    assert {"umap.svg", "rows.pdf", "realism.png", "side-effects.svg"} <= {n.split("/")[-1] for n in names}
    assert {"figures.csv", "rows.csv"} <= {n.split("/")[-1] for n in names}
