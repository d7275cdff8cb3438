"""The explorer on every page by AppTest: what it says, keeps, selects and refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest
from test_ui_pages import open_page, words

from scdiff_core import demo_model, selection, selections, views
from scdiff_core.data.prepared import Prepared
from scdiff_core.workspace import JobDir, Workspace

NAME = demo_model.NAME


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace with the demo, as the server's."""
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(tmp_path))
    demo_model.install(Workspace(tmp_path))
    return Workspace(tmp_path)


@pytest.fixture
def job(space: Workspace) -> JobDir:
    """The demo's dataset."""
    return space.open("prepare", NAME)


def kept(job: JobDir, mask: np.ndarray) -> str:
    """Keep a selection of real cells and return its id."""
    return selections.Selections(job, Prepared.open(job).fingerprint).keep(selection.Selection({"real": mask}))


def open_data(**state: Any) -> AppTest:
    """The Data page with what folds on it unfolded."""
    at = open_page("data", dataset=NAME, run=NAME, **{f"look-more-{NAME}": True, f"look-gate-{NAME}": True, **state})
    assert not at.error, [e.value for e in at.error]
    return at


def box(at: AppTest, label: str) -> Any:
    return next(s for s in at.selectbox if s.label == label)


def press(at: AppTest, start: str) -> AppTest:
    """Press the button whose key begins so."""
    at = next(b for b in at.button if (b.key or "").startswith(start)).click().run()
    assert not at.exception and not at.error
    return at


def test_groups_are_selected_inverted_undone_and_saved(job: JobDir) -> None:
    prepared = Prepared.open(job)
    label = str(prepared.labels("bulk_labels")[0])
    many = int((prepared.labels("bulk_labels") == label).sum())
    at = open_data()
    assert "Nothing selected" in words(at)
    next(m for m in at.multiselect if m.label == "Groups").select(label).run()
    at = press(at, "look-group_go")
    assert f"**{many:,} selected**" in words(at) and f"{many} real cells" in words(at)
    at = press(at, "look-invert")
    assert f"**{prepared.n_cells - many:,} selected**" in words(at)
    at = press(at, "look-undo")
    assert f"**{many:,} selected**" in words(at)
    next(t for t in at.text_input if t.label == "Name of these cells").set_value("  my   group ")
    at = press(at, "FormSubmitter:look-save_form")
    assert selections.Selections(job, prepared.fingerprint).named()
    assert "saved as **my group**" in words(at)
    at = box(at, "Colour by").select("my cells: my group").run()
    assert not at.exception and not at.error
    at = press(at, "look-clear")
    assert "Nothing selected" in words(at)


def test_gates_select_the_cells_between_their_thresholds(job: JobDir) -> None:
    prepared = Prepared.open(job)
    gene = str(prepared.genes[0])
    values = prepared.log1p()[:, [0]].toarray().ravel()
    at = open_data()
    next(m for m in at.multiselect if m.label == "Genes or measures").select(gene).run()
    at = press(at, "look-gate_go")
    assert f"**{int((values >= 0.01).sum()):,} selected**" in words(at)


def test_the_address_names_the_view_and_what_it_names_wrongly_is_ignored(job: JobDir) -> None:
    prepared = Prepared.open(job)
    mask = np.zeros(prepared.n_cells, bool)
    mask[:33] = True
    number = kept(job, mask)
    at = AppTest.from_file(str(Path(__file__).resolve().parents[2] / "app.py"), default_timeout=120)
    at.query_params["dataset"] = NAME
    at.run()
    at.session_state[f"look-more-{NAME}"] = True
    at.query_params.update({"colour": str(prepared.genes[5]), "map": "PCA", "split": "no such column", "sel": number})
    at.switch_page("pages/data.py").run()
    assert not at.exception and not at.error
    assert box(at, "Colour by").value == str(prepared.genes[5])
    assert box(at, "Split by").value == "nothing"
    assert "**33 selected**" in words(at)


@pytest.mark.parametrize("number", ["0123456789ab", "../../etc", "x"])
def test_a_selection_that_is_not_there_is_nothing(job: JobDir, number: str) -> None:
    at = AppTest.from_file(str(Path(__file__).resolve().parents[2] / "app.py"), default_timeout=120)
    at.session_state["dataset"] = NAME
    at.run()
    at.query_params["sel"] = number
    at.switch_page("pages/data.py").run()
    assert not at.exception and not at.error and "Nothing selected" in words(at)


def test_every_part_of_the_explorer_opens_on_every_page(job: JobDir) -> None:
    for page in ("data", "generate"):
        for tab, said in (("Compare", "Wilcoxon"), ("Marker figures", "Dot size")):
            at = open_page(page, dataset=NAME, run=NAME, **{f"{page}-tabs": tab})
            assert not at.error, [e.value for e in at.error]
            assert said in words(at) or page == "generate"  # where nothing is generated yet there is the map alone
    at = open_page("runs", dataset=NAME, run=NAME, runs_tabs="Cells")
    assert not at.error and "has not generated any cells yet" in words(at)


def test_two_columns_a_second_map_and_a_palette(job: JobDir) -> None:
    at = open_data(**{f"look-map-{NAME}": "Two columns"})
    assert box(at, "Across").value != box(at, "Upwards").value
    next(t for t in at.toggle if t.label == "A second map beside it").set_value(True).run()
    assert not at.exception and box(at, "Second map: colour by")
    box(at, "Palette").select("Tol muted").run()
    assert not at.exception
    assert job.notes()["palette"] == "Tol muted"


def test_a_session_of_other_cells_brings_its_view_and_says_what_is_lost(job: JobDir) -> None:
    from pages._explore import session
    from pages._explore.scene import Scene

    prepared = Prepared.open(job)
    data = views.write_session(
        "other", "f" * 64, views.View(colour="NO_SUCH_GENE", place="PCA"),
        {"theirs": selection.Selection({"real": np.ones(5, bool)})})
    script = """
        import streamlit as st
        from pages._explore import session
        st.session_state["take"]()
        """
    at = AppTest.from_string(script, default_timeout=60)
    scene = Scene(job, prepared)
    at.session_state["take"] = lambda: session._take(scene, data)
    at.run()
    assert not at.exception
    said = at.session_state[f"look-session_said-{NAME}"]
    assert "NO_SUCH_GENE" in said and "'other'" in said and "other cells" in said
    assert at.session_state[f"look-map-{NAME}"] == "PCA"
    assert not scene.selections.named()
