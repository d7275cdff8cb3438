"""How to get there, on the Design page by AppTest: perturbations, regulators, small molecules."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from design_page import Open
from fake_design import FakeWorker, write_fake_design
from streamlit.testing.v1 import AppTest
from test_ui_pages import open_page, words

from scdiff_core.analysis.design.candidates import NONE_OF_THESE, NOTHING, PART, THERE, Route, Routes, Side
from scdiff_core.config import TrainConfig
from scdiff_core.engine import routes_set
from scdiff_core.workspace import Workspace, write_json


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


def test_regulons_are_downloaded_only_where_that_is_asked(page: Open, designed: Path, fake: FakeWorker) -> None:
    fake.offline = True
    at = ways(page())
    assert "never goes online" in words(at) and not [op for op, _ in fake.asked if op == "fetch_regulons"]
    at = at.button(key="design_download_CollecTRI").click().run()
    assert "could not be downloaded" in at.error[0].value and "cannot be reached" in at.error[0].value
    fake.offline = False
    at = at.button(key="design_download_CollecTRI").click().run()
    assert not at.error and not at.exception
    assert at.selectbox(key="program_sets").value == "CollecTRI" and at.button(key="design_regulators").label
    assert at.button(key="design_download_CollecTRI").disabled


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
