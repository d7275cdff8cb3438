"""The Design page by AppTest: its target is edited, told of, refused where it is wrong; its results are shown."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import yaml
from fake_design import FakeWorker, write_fake_design
from helpers import prepared_tiny
from streamlit.testing.v1 import AppTest
from test_ui_pages import open_page, words

from scdiff_core import target as targets
from scdiff_core.analysis.design.candidates import NONE_OF_THESE, NOTHING, PART, THERE, Route, Routes, Side
from scdiff_core.config import TrainConfig
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine import routes_set
from scdiff_core.selection import Selection
from scdiff_core.selections import Selections
from scdiff_core.workspace import Workspace, write_json

Open = Callable[..., AppTest]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a dataset of three types and a run that is one by its files."""
    root = tmp_path_factory.mktemp("design")
    prepared = prepared_tiny(root, "cells")
    run = Workspace(root).create(TrainConfig(dataset="cells", fingerprint=prepared.fingerprint), "run")
    run.write_status(state="finished")
    run.checkpoints.mkdir()
    (run.checkpoints / "best.safetensors").write_bytes(b"not opened here")
    return root


@pytest.fixture
def space(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The same for a test of its own, as the server's."""
    shutil.copytree(made, tmp_path / "w")
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(tmp_path / "w"))
    return Workspace(tmp_path / "w")


@pytest.fixture
def prepared(space: Workspace) -> Prepared:
    """The dataset."""
    return Prepared.open(space.open("prepare", "cells"))


@pytest.fixture
def fake(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> FakeWorker:
    """The worker, which answers out of the real cells' values."""
    from pages._shared import worker

    fake = FakeWorker(prepared)
    for name in ("submit", "under_way", "forget"):
        monkeypatch.setattr(worker, name, getattr(fake, name))
    return fake


@pytest.fixture
def page(space: Workspace, fake: FakeWorker) -> Open:
    """What opens the page."""
    def start(**state: object) -> AppTest:
        at = open_page("design", dataset="cells", run="run", **state)
        assert not at.error, [e.value for e in at.error]
        return at

    return start


@pytest.fixture
def two(prepared: Prepared) -> tuple[str, str]:
    """Two genes at which most cells of one type are, each of a type of its own: hardly any cell has both."""
    x, labels = prepared.log1p().toarray(), prepared.labels("cell_type")
    found = []
    for kind in ("B", "T"):
        inside = labels == kind
        level = np.quantile(x[inside], 0.3, axis=0)
        best = int(np.argmax((x[inside] >= level).mean(0) - (x[~inside] >= level).mean(0)))
        found.append(f"{prepared.genes[best]} up {level[best]:.2f}")
    return found[0], found[1]


def paste(at: AppTest, text: str) -> AppTest:
    at.text_area(key="design_pasted").set_value(text)
    at = next(b for b in at.button if b.label == "Add these").click().run()
    assert not at.exception
    return at


def rows(at: AppTest) -> dict[str, tuple[str, float | None]]:
    """The rows of the target: name -> direction and level."""
    return {i.name: (i.direction, i.level) for i in at.session_state["design-draft-run"].present.items}


def test_an_empty_target_says_where_to_begin_and_cannot_be_designed(page: Open) -> None:
    at = page()
    assert "What are the cells to be like?" in words(at)
    assert next(b for b in at.button if b.label.startswith("Design")).disabled


def test_a_target_is_told_of_while_it_is_edited(page: Open, two: tuple[str, str]) -> None:
    at = page()
    at = at.selectbox(key="design-gene-run").select(two[0].split()[0]).run()
    assert rows(at) == {two[0].split()[0]: ("up", None)} and "common" in words(at)
    assert not next(b for b in at.button if b.label.startswith("Design")).disabled
    at = paste(at, "\n".join(two))
    assert "These hardly go together" in words(at)
    at = next(b for b in at.button if b.help == f"Remove {two[1].split()[0]}").click().run()
    assert list(rows(at)) == [two[0].split()[0]] and "These hardly go together" not in words(at)
    at = next(n for n in at.number_input if n.label.startswith("Level of")).set_value(0.0).run()
    assert "100 %" in words(at)


def test_the_word_on_feasibility_changes_with_the_target(page: Open, prepared: Prepared) -> None:
    lists = [f"{g} up" for g in prepared.genes[:8]]
    at = paste(page(), lists[0])
    assert any("Many real cells are like this" in c.value for c in at.caption)
    at = paste(at, "\n".join(lists))
    assert any("No real cell is like this" in c.value for c in at.caption)


def test_a_list_is_pasted_with_directions_and_levels(page: Open, prepared: Prepared) -> None:
    a, b, c = prepared.genes[:3]
    at = paste(page(), f"{a} up 1.5\n{b}-, {c} down 0.5")
    assert rows(at) == {a: ("up", 1.5), b: ("down", None), c: ("down", 0.5)}


def test_unknown_genes_are_named_with_the_nearest_and_the_others_are_taken(page: Open) -> None:
    at = paste(page(), "GENE1, GENE2x, NOSUCH")
    assert list(rows(at)) == ["GENE1"]
    assert "does not know 'GENE2x'" in at.error[0].value and "NOSUCH" in at.error[0].value
    assert "GENE2" in at.error[0].value.split("Did you mean")[1]


def test_a_level_beyond_any_cell_is_refused_and_the_nearest_possible_is_offered(page: Open) -> None:
    at = paste(page(), "GENE1")
    at = next(n for n in at.number_input if n.label == "Level of GENE1").set_value(30.0).run()
    assert "cannot be as high as 30" in at.error[0].value and "Take a level up to" in at.error[0].value
    at = next(b for b in at.button if "nearest possible" in b.label).click().run()
    assert not at.error and rows(at)["GENE1"][1] < 30


def test_rows_that_contradict_each_other_are_refused(page: Open) -> None:
    at = paste(page(), "GENE1 up 2")
    at = next(s for s in at.selectbox if s.label == "Direction of GENE1").select("between").run()
    at = next(n for n in at.number_input if n.label == "Highest level of GENE1").set_value(0.05).run()
    assert any("between" in e.value for e in at.error)


def test_must_and_wish_levels_and_undo(page: Open) -> None:
    at = paste(page(), "GENE1, GENE2")
    assert sum(s.value == "a must" for s in at.segmented_control) == 2
    at = at.segmented_control(key="design-run-1-1-hard").set_value("a wish").run()
    assert [i.hard for i in at.session_state["design-draft-run"].present.items] == [False, True]
    at = at.number_input(key="design-run-1-1-weight").set_value(2.0).run()
    at = at.number_input(key="design-run-1-1-top").set_value(25.0).run()
    item = at.session_state["design-draft-run"].present.items[0]
    assert item.weight == 2 and item.top == 0.25
    for _ in range(3):
        at = at.button(key="design_undo").click().run()
    assert [i.hard for i in at.session_state["design-draft-run"].present.items] == [True, True]
    assert not at.exception and not at.error


def test_the_target_outlives_the_session(page: Open) -> None:
    paste(page(), "GENE1 up 1.5")
    assert rows(page()) == {"GENE1": ("up", 1.5)}


def test_types_are_asked_for_and_stayed_away_from(page: Open, fake: FakeWorker) -> None:
    at = paste(page(), "GENE1")
    at = next(s for s in at.selectbox if s.label == "Of the type").select("B").run()
    at = next(m for m in at.multiselect if m.label == "Away from").set_value(["T"]).run()
    asked = [v for op, v in fake.asked if op == "feasibility"][-1]["target"]
    assert asked["cell_type"] == "B" and asked["away_from"] == {"cell_type": ["T"]}
    at = next(m for m in at.multiselect if m.label == "Away from").set_value(["B"]).run()
    assert any("contradicts itself" in e.value for e in at.error)


def test_cells_of_a_type_and_saved_ones_propose_rows(page: Open, space: Workspace, prepared: Prepared,
                                                     fake: FakeWorker) -> None:
    kept = Selections(space.open("prepare", "cells"), prepared.fingerprint)
    mask = prepared.labels("cell_type") == "Monocyte"
    kept.save(kept.keep(Selection({"real": mask})), "my monocytes")
    at = page()
    assert at.selectbox(key="design-like-run").options[0] == "saved: my monocytes"
    at = at.button(key="design_propose").click().run()
    assert fake.asked[-1][1]["rows"] and not at.error
    at = at.button(key="design_like_add").click().run()
    assert len(rows(at)) == 6 and all(level is not None for _, level in rows(at).values())
    at.selectbox(key="design-like-run").select("type: B").run()
    at = at.button(key="design_propose").click().run()
    asked = [v for op, v in fake.asked if op == "propose"][-1]
    assert asked["cell_type"] == "B" and asked["rows"] is None


def test_a_program_is_added_and_one_without_a_known_gene_is_refused(page: Open) -> None:
    at = page()
    at.text_input(key="design_set_name").set_value("Mine")
    at.text_area(key="design_set_genes").set_value("GENE1 GENE2\nNOSUCH").run()
    at = at.button(key="design_set_add").click().run()
    item = at.session_state["design-draft-run"].present.items[0]
    assert item.name == "Mine" and item.members == ("GENE1", "GENE2") and not at.error
    at.text_area(key="design_set_genes").set_value("NOSUCH").run()
    at = at.button(key="design_set_add").click().run()
    assert "cannot be used" in at.error[0].value


def upload(at: AppTest, text: str | bytes) -> AppTest:
    data = text if isinstance(text, bytes) else text.encode()
    at.file_uploader(key="design-upload-run").set_value(("target.yaml", data, "application/yaml")).run()
    assert not at.exception
    return at


def test_a_target_file_is_opened(page: Open, prepared: Prepared) -> None:
    text = yaml.safe_dump({"genes": [{"gene": "GENE3", "direction": "between", "level": 0.5, "upper": 1.5}],
                           "programs": [{"name": "P", "members": ["GENE1", "GENE2"], "hard": False}],
                           "cell_type": "B"})
    at = upload(page(), text)
    assert not at.error and rows(at)["GENE3"] == ("between", 0.5) and "P" in rows(at)
    from pages._design import draft as drafts

    again = targets.parse(drafts.of_target(targets.parse(yaml.safe_load(text))).values())
    assert again == targets.parse(yaml.safe_load(text))  # what is edited is what was asked


@pytest.mark.parametrize(("text", "wanted"), [
    (b"\x89PNG\r\n\x1a\n\x00", "not a target file"), ("a: [1", "not a target file"), ("just words", "cannot be used"),
    ("genes:\n  - {gene: GENE99x, direction: up}", "does not know the gene"),
    ("genes:\n  - {gene: GENE1, direction: sideways}", "target.yaml"), ("genes: []", "nothing to design"),
    ("genes:\n  - {gene: GENE1}\ncell_type: Neuron", "no cell type 'Neuron'"),
    ("genes:\n  - {gene: GENE1, direction: up, level: 2}\n  - {gene: GENE1, direction: down, level: 1}",
     "contradict each other"),
])
def test_a_wrong_file_is_refused_and_the_target_stays(page: Open, text: str | bytes, wanted: str) -> None:
    at = upload(paste(page(), "GENE2"), text)
    assert len(at.error) == 1 and wanted in at.error[0].value, at.error[0].value
    assert list(rows(at)) == ["GENE2"]


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


@pytest.fixture
def designed(space: Workspace, prepared: Prepared) -> Path:
    """A designed set."""
    return write_fake_design(space.open("train", "run"), prepared)


@pytest.mark.parametrize(("tab", "wanted"), [
    ("Overview", "real cells pushed there"), ("Rows", "the level asked for"), ("Realism", "5 % of real cells are"),
    ("Side effects", "real cells of B"), ("Programs", "No gene sets yet"), ("Nearest cells", "from one donor"),
    ("Explore", "Nothing selected"), ("Download", "not measured")])
def test_every_part_of_a_design_is_shown(page: Open, designed: Path, tab: str, wanted: str) -> None:
    said = words(page(design_view="Designed cells", **{"design-tabs": tab}))
    assert "57 of 60 meet the target; 11 % look unreal" in said and "A word of warning" in said
    assert "moved 40 % of the way" in said and "common" in said
    assert wanted in said


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


# ---- how to get there ----


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Workspace, Path]:
    """A workspace with perturbations, a model of either kind, and a designed set."""
    from fake_perturb import perturb_dataset

    from pages._shared import worker

    monkeypatch.setenv("SCDIFF_WORKSPACE", str(tmp_path))
    space = Workspace(tmp_path)
    prepared, _ = perturb_dataset(tmp_path, n_cells=900, n_genes=250)
    for task, name in (("generate", "maker"), ("perturb", "mover")):
        run = space.create(TrainConfig(dataset="screen", fingerprint=prepared.fingerprint, task=task), name)
        run.write_status(state="finished")
        run.checkpoints.mkdir()
        (run.checkpoints / "best.safetensors").write_bytes(b"not opened here")
    fake = FakeWorker(prepared)
    for name in ("submit", "under_way", "forget"):
        monkeypatch.setattr(worker, name, getattr(fake, name))
    return space, write_fake_design(space.open("train", "maker"), prepared, kind="type_A")


def ways(at: AppTest) -> AppTest:
    at = at.segmented_control(key="design_view").set_value("How to get there").run()
    assert not at.exception and not at.error, [e.value for e in at.error]
    return at


def rank(space: Workspace, design: Path, gets_there: bool = True) -> None:
    """Write a ranking of three candidates for a design."""
    def route(name: str, way: float, word: str) -> Route:
        plain: dict[str, object] = {f.name: () if "tuple" in str(f.type) else "" if f.type == "str" else {}
                                    if "Mapping" in str(f.type) else 0.5 for f in fields(Route)}
        return Route(**{**plain, "perturbation": name, "dose": None, "way": way, "way_low": way - 0.1, "n_cells": 100,
                        "way_high": way + 0.1, "word": word, "rank": 1,
                        "side_effects": (Side("GENE7", 1.2, 0.9, 1.5, 0.0),)})

    rows = (route("TF01-kd", 0.9, THERE), route("TF01-kd+TF02-kd", 0.4, PART)) if gets_there else \
        (route("TF03-kd", -0.1, NOTHING),)
    plain: dict[str, object] = {f.name: "" if f.type == "str" else () for f in fields(Routes)}
    words = "TF01-kd is predicted to go 90 % of the way." if gets_there else NONE_OF_THESE
    found = Routes(**{**plain, "rows": rows, "words": words, "gets_there": gets_there, "n_start": 30, "n_goal": 57,
                      "n_genes": 249, "refused": {"NOPE": "There is no embedding of NOPE."}, "trust": None,
                      "rule": "energy", "rule_words": "E-distance of the predicted cells"})
    run = space.open("train", "mover")
    routes_set.write(run.path / routes_set.FOLDER / "one", found, {"goal": {"design": str(design)}, "config": {}})


def test_candidates_are_ranked_and_one_is_sent_to_perturb(both: tuple[Workspace, Path]) -> None:
    space, design = both
    at = ways(open_page("design", dataset="screen", run="maker"))
    assert "without the genes that it acts on itself" in words(at)
    rank(space, design)
    at = ways(open_page("design", dataset="screen", run="maker"))
    said = words(at)
    assert "90 % of the way" in said and "an experiment has to show it" in said
    table = next(d.value for d in at.dataframe if "candidate" in d.value and "way" in d.value)
    assert table["candidate"].tolist() == ["TF01-kd", "TF01-kd+TF02-kd"] and "GENE7 +1.2" in table["side_effects"][0]
    at = at.button(key="design_send").click().run()
    assert not at.exception
    assert at.session_state["perturbations-mover"] == ["TF01-kd"] and at.session_state["run"] == "mover"


def test_where_nothing_gets_there_it_says_so_first(both: tuple[Workspace, Path]) -> None:
    rank(*both, gets_there=False)
    assert NONE_OF_THESE in words(ways(open_page("design", dataset="screen", run="maker")))


def test_candidates_of_my_own_are_asked_for(both: tuple[Workspace, Path]) -> None:
    from pages._shared import worker

    at = ways(open_page("design", dataset="screen", run="maker"))
    at = at.selectbox(key="design_routes_which").select("a list of my own").run()
    at = at.text_area(key="design_routes_own").set_value("TF01-kd\nstimulus @ 0.5").run()
    next(s for s in at.selectbox if s.label == "Cell type").select("type_B").run()
    at = at.button(key="design_routes").click().run()
    asked = next(v for op, v in worker.submit.__self__.asked if op == "routes")
    assert asked["config"]["items"] == [{"perturbation": "TF01-kd", "dose": None},
                                        {"perturbation": "stimulus", "dose": 0.5}]
    assert asked["config"]["where"] == {"cell_type": "type_B"} and asked["goal"]["design"].endswith(both[1].name)


def test_without_perturbations_there_are_hypotheses(page: Open, designed: Path, space: Workspace) -> None:
    at = ways(page())
    assert "No model of perturbations has been trained" in words(at) and "Bring gene sets" in words(at)
    out = space.open("train", "run").path / "design" / f"regulators-{designed.name}.csv"
    out.parent.mkdir(exist_ok=True)
    out.write_text("rank,regulator,activity,pval_adj,reading,n_targets,own_change,targets\n1,TP53,5.1,1e-4,more,9,0.3,A\n")
    write_json(out.with_suffix(".json"), {"n_start": 300, "n_goal": 57, "start": "all real cells"})
    (space.root / "gene_sets").mkdir()
    (space.root / "gene_sets" / "mine.gmt").write_text("SET_ONE\t\tGENE1\tGENE2\tGENE3\n")
    at = ways(page())
    assert "Hypotheses from observation, not causes" in words(at)
    assert at.dataframe[0].value["regulator"].tolist() == ["TP53"]
    at = at.segmented_control(key="design_way").set_value("Small molecules").run()
    assert "No signatures yet" in words(at)
