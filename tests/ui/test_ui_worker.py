"""Following a request to the worker on a page: its progress, Cancel, something to see early, and its end."""

from __future__ import annotations

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from pages._shared import worker


class Request:
    """A request to the worker whose messages a test writes."""

    def __init__(self) -> None:
        self.coming: list[dict[str, Any]] = []
        self.ended = self.cancelled = False

    def poll(self) -> list[dict[str, Any]]:
        messages, self.coming = self.coming, []
        self.ended = self.ended or any("done" in m for m in messages)
        return messages

    def cancel(self) -> None:
        self.cancelled = True


@pytest.fixture
def request_(monkeypatch: pytest.MonkeyPatch) -> Request:
    """What is under way, under the key `predict-run`."""
    request = Request()
    kept = {"predict-run": worker.Asked(request, "made")}  # type: ignore[arg-type]
    monkeypatch.setattr(worker, "_asked", lambda: kept)
    return request


def page() -> AppTest:
    def draw() -> None:
        from pathlib import Path

        import streamlit as st

        from pages._shared import worker

        ended = worker.wait("predict-run", early=lambda asked: worker.appeared(asked, Path(st.session_state["file"])))
        st.markdown(f"ended: {ended.note if ended else None}")
        st.markdown(f"opened: {st.session_state.get('output')}")

    at = AppTest.from_function(draw)
    at.session_state["file"] = "nowhere"
    return at


def said(at: AppTest) -> list[str]:
    return [m.value for m in at.markdown]


def test_progress_is_shown_and_cancel_is_passed_on(request_: Request) -> None:
    at = page().run()
    assert said(at) == ["ended: None", "opened: None"] and [b.label for b in at.button] == ["Cancel"]
    request_.coming = [{"phase": "predicting", "progress": 0.5}]
    at.run()
    assert not request_.cancelled
    at.button[0].click().run()
    assert request_.cancelled and not at.exception


def test_the_end_is_told_once(request_: Request) -> None:
    request_.coming = [{"done": True}]
    at = page().run()
    assert said(at) == ["ended: made", "opened: None"] and not at.button
    assert said(at.run()) == ["ended: None", "opened: None"]


def test_what_is_there_before_the_end_is_opened_once(request_: Request, tmp_path: Any) -> None:
    at = page()
    at.session_state["file"] = str(tmp_path)
    at.run()
    assert said(at) == ["ended: None", "opened: made"] and [b.label for b in at.button] == ["Cancel"]
    assert not at.exception
