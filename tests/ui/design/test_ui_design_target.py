"""The target on the Design page by AppTest: it is edited, told of, and refused where it is wrong."""

from __future__ import annotations

import pytest
import yaml
from design_page import Open, paste, rows, upload
from fake_design import FakeWorker
from test_ui_pages import words

from scdiff_core import target as targets
from scdiff_core.data.prepared import Prepared
from scdiff_core.selection import Selection
from scdiff_core.selections import Selections
from scdiff_core.workspace import Workspace


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
