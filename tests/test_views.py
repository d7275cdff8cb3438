"""Gates, views, the session file and undo."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from scdiff_core.config import to_yaml, validate
from scdiff_core.errors import ScdiffError
from scdiff_core.gates import Gate, apply
from scdiff_core.selection import Selection
from scdiff_core.views import LARGEST, History, SessionFile, View, read_session, write_session

VIEW = View(colour="CD3D", place="columns", x="age", y="LYZ", split="batch", show="generated", grey=False,
            gates=(Gate(gene="CD3D", low=1.0), Gate(gene="LYZ", high=2.5)), genes=("LYZ", "CD3D"),
            groups=("T", "zwölf"), palette="Tol bright", selection="0123456789ab")


def test_gates_hold_together() -> None:
    values = {"a": np.array([0.0, 1.0, 2.0, 3.0, np.nan]), "b": np.array([5.0, 0.0, 0.0, 5.0, 0.0])}
    assert apply([Gate(gene="a", low=1, high=2)], values).tolist() == [False, True, True, False, False]
    assert apply([Gate(gene="a", low=1), Gate(gene="b", high=0)], values).tolist() == [False, True, True, False, False]
    assert apply([Gate(gene="a")], values).all() and apply([], values).tolist() == [True] * 5
    assert apply([Gate(gene="a", low=1), Gate(gene="a", high=1)], values).tolist() == [False, True, False, False, False]
    with pytest.raises(ScdiffError, match="no values of c"):
        apply([Gate(gene="c", low=1)], values)
    with pytest.raises(ScdiffError, match="no values"):
        apply([], {})
    with pytest.raises(ScdiffError, match="4 and 5 cells"):
        apply([Gate(gene="a")], {**values, "c": np.zeros(4)})


def test_gates_have_bounds_in_order_and_go_to_yaml() -> None:
    gate = Gate(gene="CD3D", low=0.5, high=2)
    assert Gate.model_validate(yaml.safe_load(to_yaml(gate))) == gate
    assert [g.words() for g in (gate, Gate(gene="x", low=1), Gate(gene="x", high=0.25))] == [
        "0.5 ≤ CD3D ≤ 2", "1 ≤ x", "x ≤ 0.25"]
    for odd in ({"gene": "x", "low": 2, "high": 1}, {"gene": ""}, {"gene": "x", "low": float("nan")},
                {"gene": "x", "low": "inf"}, {"gene": "x", "lo": 1}):
        with pytest.raises(ValidationError):
            Gate.model_validate(odd)
    with pytest.raises(ValidationError):
        gate.low = 1.0  # type: ignore[misc]
    assert validate(View, yaml.safe_load(to_yaml(VIEW)), "x") == VIEW


def session(**changes: Any) -> bytes:
    """A session file with some fields changed or added."""
    return json.dumps({**json.loads(write_session("pbmc", "f" * 64, VIEW)), **changes}).encode()


def test_a_session_opens_as_it_was_written() -> None:
    rng = np.random.default_rng(0)
    mine = Selection({"real": rng.random(50_000) < 0.1, "run/set": rng.random(999) < 0.5})
    other = Selection({"real": rng.random(50_000) < 0.5})
    lists = {"interferon": ("ISG15", "IFI6"), "empty": ()}
    data = write_session("pbmc", "f" * 64, VIEW, {"zwölf B": mine, "a": other}, lists, current=other)
    assert len(data) < 40_000
    opened = read_session(data)
    assert opened.view == VIEW and (opened.dataset, opened.fingerprint) == ("pbmc", "f" * 64)
    assert list(opened.named().items()) == [("zwölf B", mine), ("a", other)]
    assert opened.current() == other and dict(opened.gene_lists) == lists
    assert read_session(b"\xef\xbb\xbf" + data) == opened
    plain = read_session(write_session("pbmc", "f", View()))
    assert plain.current() is None and plain.named() == {} and plain.view == View()


@pytest.mark.parametrize(("data", "said"), [
    (b"", "not valid JSON at line 1"), (session()[:-50], "not valid JSON"), (b"\x80\x04\x95pickle", "not a text file"),
    (b"[" * 100_000, "text file"), (b"[]", "not a session"), (b'{"kind": "train"}', "not a session"),
    (b'{"kind": "session"}', "which format"), (session(format=True), "which format"), (session(format="1"), "which"),
    (session(format=0), "which format"), (session(format=2), "newer version of scDiff Studio .format 2"),
    (session(colr="x"), "no setting 'colr'"), (session(view={"colr": "x"}), "Did you mean 'view.colour'"),
    (session(view={"place": "tSNE"}), "view.place"), (session(view={"selection": "../x"}), "view.selection"),
    (session(view={"gates": [{"gene": "x", "low": 2, "high": 1}]}), "lower bound of x is above"),
    (session(dataset=None), "'dataset'"), (session(selections={"": {}}), "cannot be a name"),
    (session(selections={"x": {"../y": {"n": 1, "bits": "AA=="}}}), "no cells '../y'"),
    (session(selected={"real": {"n": 9, "bits": "AA=="}}), "there are 9"),
    (session(selected={"real": {"n": -1, "bits": "AA=="}}), "selected.real.n"),
    (session(selected={"real": {"n": 10**12, "bits": "AA=="}}), "there are 1,000,000,000,000"),
    (session(selected={"real": {"n": 8, "bits": "*" * 100_000}}), "base64"),
    (session(gene_lists={"x": "ISG15"}), "gene_lists.x"),
    (session(view={"gates": [{"gene": "x", "low": 0}]}).replace(b'"low": 0', b'"low": NaN'), "not valid JSON"),
    (b" " * (LARGEST + 1), "20 MB at most")], ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_no_session_is_told(data: bytes, said: str) -> None:
    with pytest.raises(ScdiffError, match=said) as told:
        read_session(data)
    assert len(told.value.why) < 400 and told.value.fix
    assert "Value error" not in told.value.why and "pydantic" not in str(told.value)


def test_a_zip_is_no_session() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("session.json", session())
    with pytest.raises(ScdiffError, match="cannot be opened"):
        read_session(packed.getvalue())


def test_what_cannot_be_written_is_told() -> None:
    with pytest.raises(ScdiffError, match="cannot be a name"):
        write_session("d", "f", View(), {"": Selection({"real": np.ones(3, bool)})})
    big = Selection({"real": np.random.default_rng(0).random(20_000_000) < 0.5})
    with pytest.raises(ScdiffError, match="20 MB are the most"):
        write_session("d", "f", View(), {f"{i}": big for i in range(7)})


def test_steps_are_undone_and_done_again() -> None:
    history: History[str] = History("")
    for value in ("a", "ab", "ab", "abc"):
        history = history.do(value)
    assert (history.present, history.past) == ("abc", ("", "a", "ab"))  # the same again is no step
    back = history.undo().undo()
    assert back.present == "a" and back.future == ("ab", "abc") and back.redo().redo() == history
    assert back.do("x").future == () and back.do("x").undo() == History("a", ("",), ("x",))
    assert History("a").undo() == History("a") == History("a").redo()
    for i in range(120):
        history = history.do(str(i))
    assert len(history.past) == 50
    for _ in range(200):
        history = history.undo()
    assert history.present == "69" and len(history.future) == 50


def test_selections_can_be_undone_too() -> None:
    one, two = (Selection({"real": np.arange(9) < i}) for i in (3, 5))
    assert History(one).do(Selection({"real": np.arange(9) < 3})).past == ()
    assert History(one).do(two).undo().present == one


def test_a_session_file_cannot_be_changed() -> None:
    opened = SessionFile(dataset="d", fingerprint="f")
    with pytest.raises(ValidationError):
        opened.dataset = "e"  # type: ignore[misc]
