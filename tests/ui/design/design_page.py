"""What the tests of the Design page do on it."""

from __future__ import annotations

from collections.abc import Callable

from streamlit.testing.v1 import AppTest

Open = Callable[..., AppTest]


def paste(at: AppTest, text: str) -> AppTest:
    at.text_area(key="design_pasted").set_value(text)
    at = next(b for b in at.button if b.label == "Add these").click().run()
    assert not at.exception
    return at


def rows(at: AppTest) -> dict[str, tuple[str, float | None]]:
    """The rows of the target: name -> direction and level."""
    return {i.name: (i.direction, i.level) for i in at.session_state["design-draft-run"].present.items}


def upload(at: AppTest, text: str | bytes) -> AppTest:
    data = text if isinstance(text, bytes) else text.encode()
    at.file_uploader(key="design-upload-run").set_value(("target.yaml", data, "application/yaml")).run()
    assert not at.exception
    return at
