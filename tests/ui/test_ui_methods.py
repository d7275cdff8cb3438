"""The Methods page and the tour: on an empty workspace, on the demo, and with a generated set and its report."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from test_ui_pages import open_page, words
from test_ui_runs import reported  # noqa: F401  (a fixture: the demo with the report of its run)

from pages._shared import help_texts, tour
from scdiff_core import demo_model
from scdiff_core.workspace import Workspace, read_json


def open_methods(root: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(root))
    return open_page("methods", dataset=demo_model.NAME, run=demo_model.NAME)


def test_an_empty_workspace_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(tmp_path))
    at = open_page("methods")
    assert "nothing to write about" in words(at) and not at.error


def test_the_demo_s_paragraph_stands_there_with_its_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo_model.install(Workspace(tmp_path))
    at = open_methods(tmp_path, monkeypatch)
    said = words(at).replace("\\", "")
    assert not at.error and "24 latent dimensions" in said and "489 cells were used for training" in said
    assert "Generate cells on the" in said and "DPM-Solver" not in said
    assert {b.proto.label for b in at.get("download_button")} >= {"Text (.txt)", "Markdown (.md)", "References (.bib)"}


def test_a_set_with_its_report_brings_sampling_and_figures(
        reported: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    at = open_methods(reported, monkeypatch)
    said = words(at).replace("\\", "")
    assert not at.error and "120 cells were generated" in said and "DPM-Solver++(2M)" in said
    assert re.search(r"random forest on genes \[\d+\] [\d.]+ \([\d.]+\)", said)
    at.selectbox[1].select("").run()
    assert "DPM-Solver" not in words(at)


def test_a_dataset_that_was_prepared_anew_is_not_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo_model.install(Workspace(tmp_path))
    shutil.rmtree(tmp_path / "datasets")
    at = open_methods(tmp_path, monkeypatch)
    assert any("not here any more" in w.value for w in at.warning) and "489 cells" not in words(at)
    assert "24 latent dimensions" in words(at) and not at.error


def test_every_page_of_the_bar_has_a_help_with_an_example() -> None:
    pages = re.findall(r'st\.Page\("pages/\w+\.py", title="(\w+)"',
                       (Path(__file__).resolve().parents[2] / "pages/_shared/frame.py").read_text(encoding="utf-8"))
    assert {"Home", "Methods"} <= set(pages)
    for title in pages:
        assert "**Example" in help_texts.help_of("" if title == "Home" else title), title


def card(at: AppTest) -> str:
    return next((m.value for m in at.markdown if " of 6 · " in m.value or "The tour waits" in m.value), "")


def test_the_tour_goes_from_page_to_page_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(tmp_path))
    at = open_page("home")
    assert at.button(key="tour_begin").label.startswith("Show me round")
    at.session_state[tour.STEP] = 2
    demo_model.install(Workspace(tmp_path))
    at.session_state["run"] = demo_model.NAME
    at.run()
    assert "The tour waits on the *Train* page" in card(at)
    at.switch_page("pages/train.py").run()
    assert card(at).startswith("**3 of 6 · Watch a model learn")
    at.button(key="tour_dismiss").click().run()
    assert card(at) == "" and read_json(tmp_path / tour.FILE) == {"seen": True}
    at.switch_page("pages/home.py").run()
    assert at.button(key="tour_begin").label == "Take the tour again"


def test_the_tour_s_last_step_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo_model.install(Workspace(tmp_path))
    at = open_methods(tmp_path, monkeypatch)
    at.session_state[tour.STEP] = len(tour.STEPS) - 1
    at.run()
    assert "6 of 6" in card(at) and not [b for b in at.button if b.key == "tour_next"]
    at.button(key="tour_done").click().run()
    assert card(at) == "" and not at.exception
