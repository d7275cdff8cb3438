"""What the explorer draws only when it is of use, the panels of a split map, and the frame that all panels share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_ui_pages import open_page

from pages._explore import maps
from pages._generate import ask
from pages._shared.cell_canvas import Layer, box_of, pack
from pages._shared.cell_canvas.plain import plain_scatter
from scdiff_core import demo_model, selection, selections
from scdiff_core.data.prepared import Prepared
from scdiff_core.workspace import Workspace

NAME = demo_model.NAME


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace with the demo, as the server's."""
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(tmp_path))
    demo_model.install(Workspace(tmp_path))
    return Workspace(tmp_path)


def keys_of(at: Any) -> set[str]:
    """The buttons of the bar, by their name in the code."""
    known = ("undo", "redo", "invert", "clear", "save_form")
    return {n for n in known for b in at.button if f"look-{n}-{NAME}" in (b.key or "")}


def test_the_bar_holds_what_can_be_done_now(space: Workspace) -> None:
    job = space.open("prepare", NAME)
    store = selections.Selections(job, Prepared.open(job).fingerprint)
    mask = np.zeros(Prepared.open(job).n_cells, bool)
    mask[:40] = True
    number = store.keep(selection.Selection({"real": mask}))
    assert keys_of(open_page("data", dataset=NAME)) == set()
    store.save(number, "forty")
    at = open_page("data", dataset=NAME)
    next(b for b in at.button if b.key == f"look-load-forty-{NAME}").click().run()
    assert keys_of(at) == {"undo", "redo", "invert", "clear", "save_form"}
    next(b for b in at.button if b.key == f"look-clear-{NAME}").click().run()
    assert keys_of(at) == {"undo", "redo"}


def test_the_panels_of_a_split_map_show_all_cells_behind(space: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[list[Layer], dict[str, Any]]] = []
    monkeypatch.setattr(maps, "cell_canvas", lambda layers, **options: drawn.append((layers, options)))
    prepared = Prepared.open(space.open("prepare", NAME))
    open_page("data", dataset=NAME, **{f"look-split-{NAME}": "phase"})
    phases = prepared.obs["phase"].value_counts()
    assert sorted(len(layers[-1].xy) for layers, _ in drawn) == sorted(phases.tolist())
    for layers, options in drawn:
        behind, own = layers
        assert behind.behind and not own.behind and (behind.name, own.name) == ("all real cells", "real")
        np.testing.assert_array_equal(behind.xy, prepared.X_umap)
        assert options["extent"] == box_of(prepared.X_umap) and "all real" not in options["summary"]
    assert len({pack(layers)[0]["layers"][0]["xy"]["h"] for layers, _ in drawn}) == 1  # sent once for all panels


def test_what_lies_behind_is_grey_and_no_more() -> None:
    xy = np.array([[0, 0], [2, 4], [9, 9]], np.float32)
    layers = [Layer("all", xy, behind=True), Layer("own", xy[:2], codes=np.array([0, 1]))]
    meta, _ = pack(layers, categories=["a", "b"], extent=(0, 1, 0, 1))
    behind, own = meta["layers"]
    assert behind["grey"] and behind["behind"] and behind["outside"] == 0
    assert not own["grey"] and not own["behind"] and own["outside"] == 1
    plain = plain_scatter(layers, categories=["a", "b"])
    assert [len(t.x) for t in plain.data] == [3, 1, 1]


def test_the_frame_of_cells_can_always_be_divided_by() -> None:
    nan = np.nan
    assert box_of(np.array([[1, 2], [3, 8], [nan, 100]])) == (1, 3, 2, 8)
    assert box_of(np.array([[1, 2], [1, 8]])) == (0.5, 1.5, 2, 8)
    assert box_of(np.array([[nan, 2]])) is None and box_of(np.empty((0, 2))) is None


def test_how_cells_are_made_is_drawn_when_it_is_unfolded_and_kept_when_it_is_not(
        space: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Any] = []
    monkeypatch.setattr(ask, "begin", lambda run, config: begun.append(config))
    at = open_page("generate", dataset=NAME, run=NAME)
    assert not at.slider
    next(b for b in at.button if b.key == "generate").click().run()
    at.session_state["generate_advanced"] = True
    at.run()
    at.slider(key="generate_scale").set_value(2.0).run()
    at.selectbox(key="generate_sampler").select("ddim").run()
    at.slider(key="generate_eta").set_value(0.5).run()
    at.number_input(key="generate_seed").set_value(7).run()
    at.session_state["generate_advanced"] = False
    at.run()
    assert not at.slider
    at.switch_page("pages/data.py").run()
    at.switch_page("pages/generate.py").run()
    next(b for b in at.button if b.key == "generate").click().run()
    assert not at.exception and not at.error
    usual, chosen = begun
    assert (usual.guidance_scale, usual.sampler, usual.eta, usual.seed) == (ask.GUIDANCE, "dpm", 0.0, 0)
    assert (chosen.guidance_scale, chosen.sampler, chosen.eta, chosen.seed) == (2.0, "ddim", 0.5, 7)
    assert (usual.steps, chosen.steps) == (ask.SAMPLER_STEPS["dpm"], ask.SAMPLER_STEPS["ddim"])
