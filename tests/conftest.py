"""What every test may use: the folder of real data, and one torch thread."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

# the same examples on every machine and at every run
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")

ROOT = Path(__file__).resolve().parent.parent
REAL = Path(os.environ.get("SCDIFF_TEST_DATA", ROOT.parent / "shared" / "data"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests on real data, with the reason, where that data is absent."""
    for item in items:
        if "real" in item.keywords and not REAL.is_dir():
            item.add_marker(pytest.mark.skip(reason=f"no real data at {REAL} (set SCDIFF_TEST_DATA)"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data; only tests marked `real` may ask for it."""
    return REAL
