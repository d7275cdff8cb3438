"""Denoise, Fill up and Typical on the Generate page, with a worker that does the work at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest
from uses_run import small_run

from pages._shared import worker
from scdiff_core import config_uses as uses
from scdiff_core.engine import uses_ops, uses_set
from scdiff_core.engine.worker import Service
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir, Workspace


class Done:
    """A request that was fulfilled as it was made."""

    def __init__(self, service: Service, op: str, values: dict[str, Any], note: str) -> None:
        self.note, self.ended = note, True
        self.request = self
        try:
            self.said = {"done": True, **getattr(uses_ops, op)(service, lambda words, share: None, **values)} \
                if op in ("use", "study") else {"done": True}
        except ScdiffError as error:
            self.said = {"error": error.to_dict()}

    def look(self, patience: float = 0.0) -> dict[str, Any]:
        return self.said

    def seconds(self) -> float:
        return 0.0


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> JobDir:
    return small_run(tmp_path_factory.mktemp("uses"))


@pytest.fixture
def at(run: JobDir, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    root = run.path.parents[1]
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(root))
    service, kept = Service(Workspace(root)), {}

    def submit(key: str, op: str, note: str = "", **values: Any) -> Done:
        kept[key] = Done(service, op, values, note)
        return kept[key]

    monkeypatch.setattr(worker, "submit", submit)
    monkeypatch.setattr(worker, "under_way", kept.get)
    monkeypatch.setattr(worker, "forget", lambda key: kept.pop(key, None))
    at = AppTest.from_file(str(Path(__file__).resolve().parents[2] / "app.py"), default_timeout=120)
    at.session_state["run"] = run.id
    at.run()
    return at.switch_page("pages/generate.py")


def mode(at: AppTest, name: str) -> AppTest:
    at.session_state["generate_mode"] = name
    at.run()
    assert not at.exception
    return at


def text(at: AppTest) -> str:
    return " ".join([*(m.value for m in at.markdown), *(c.value for c in at.caption), *(i.value for i in at.info),
                     *(e.value for e in at.error)])


def test_denoise_shows_two_genes_before_and_after_and_which_way_is_best(at: AppTest, run: JobDir) -> None:
    mode(at, "denoise")
    assert "Press **Denoise**" in text(at)
    at.button("denoise_go").click().run()
    assert not at.exception and "estimated by the model, not measured" in text(at)
    assert len(at.get("plotly_chart")) == 1 and "as measured" in text(at)
    at.button("denoise_study").click().run()
    found = uses_set.read_study(run, "denoise")
    assert found is not None and len(at.dataframe[0].value) == len(found["rows"])
    genes = [s for s in at.selectbox if s.label in ("Gene", "Against")]
    genes[1].select(genes[0].value).run()
    assert "two different genes" in text(at) and not at.exception


def test_fill_says_how_many_and_shows_what_was_made(at: AppTest, run: JobDir) -> None:
    mode(at, "fill")
    assert "to generate, for 3 types" in text(at)
    at.number_input(f"fill-{run.id}-to").set_value(1).run()
    at.button("fill_go").click().run()
    assert "not said how many" in text(at) or "Nothing is to be filled up" in text(at)
    at.number_input(f"fill-{run.id}-to").set_value(140).run()
    at.button("fill_go").click().run()
    assert not at.exception and "synthetic" in text(at) and not at.error
    at.button("fill_study").click().run()
    assert "classifier of" in text(at) and not at.exception


def test_typical_shows_odd_cells_with_a_cut_and_a_search(at: AppTest, run: JobDir) -> None:
    mode(at, "typical")
    assert "Look for odd cells" in text(at)
    at.button("typical_go").click().run()
    assert not at.exception and "beyond the cut" in text(at)
    every = len(at.dataframe[0].value)
    at.text_input("typical_search").set_value("monocyte").run()
    assert 0 < len(at.dataframe[0].value) < every
    at.text_input("typical_search").set_value("nobody").run()
    assert "No cell is called" in text(at)
    at.text_input("typical_search").set_value("").run()
    at.slider(f"typical-{run.id}-score-cut").set_value(90.0).run()
    at.button("typical_save").click().run()
    assert not at.exception and not at.error


def test_what_goes_wrong_is_told_and_stays(at: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*given: Any, **values: Any) -> dict[str, Any]:
        raise ScdiffError("There is no such cell.", "None has it.", "Ask for less.")

    monkeypatch.setattr(uses_ops, "use", wrong)
    for name, button in (("denoise", "denoise_go"), ("fill", "fill_go"), ("typical", "typical_go")):
        mode(at, name)
        at.button(button).click().run()
        assert "There is no such cell" in text(at) and not at.exception
        at.run()
        assert "There is no such cell" in text(at)


def test_a_model_of_values_is_told_why_it_cannot(at: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    from scdiff_core.data.prepared import Prepared

    real = Prepared.open
    monkeypatch.setattr("pages._shared.context._open", lambda path, modified: __import__("dataclasses").replace(
        real(path), values="continuous"))
    for name in ("denoise", "typical"):
        mode(at, name)
        assert "no counts" in text(at) and not [b for b in at.button if b.key in ("denoise_go", "typical_go")]


def test_configurations_refuse_what_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="greater"):
        uses.FillConfig(run="r", numbers={"B": 0})
