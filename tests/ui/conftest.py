"""Pages by AppTest: the worker starts when it is asked, not with every workspace that a test makes."""

from __future__ import annotations

import pytest

from pages._shared import frame


@pytest.fixture(autouse=True)
def no_prewarming(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty idle workers would take 7 GB and half a minute of the suite."""
    monkeypatch.setattr(frame, "prewarm", lambda root: None)
