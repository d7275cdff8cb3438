"""The arrays of a screen, kept in memory while they are unchanged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from scdiff_core.engine.outputs import RECIPE
from scdiff_core.engine.screens import Screen


@st.cache_resource(max_entries=4, show_spinner=False)
def _arrays(path: str, modified: float) -> dict[str, np.ndarray]:
    return Screen(Path(path)).arrays()


def arrays_of(screen: Screen) -> dict[str, np.ndarray]:
    """Return the arrays of a screen (see `Screen.arrays`)."""
    return _arrays(str(screen.path), (screen.path / RECIPE).stat().st_mtime)


def effects_of(screen: Screen, value: str) -> pd.DataFrame:
    """Return one value of all perturbations that were asked for [perturbations, genes]."""
    arrays = arrays_of(screen)
    asked = arrays["asked"]
    return pd.DataFrame(arrays[value][asked], index=arrays["names"][asked], columns=arrays["genes"])
