"""One designed set on disk: its report, arrays, cells and tables, kept in memory while they are unchanged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import streamlit as st
from anndata import AnnData

from scdiff_core import keys
from scdiff_core.analysis.design.report import DesignReport
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine.design_set import DesignSet
from scdiff_core.engine.outputs import RECIPE
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir


@st.cache_resource(max_entries=4, show_spinner=False)
def _cells(path: str, modified: float) -> AnnData:
    return DesignSet(Path(path)).cells()


@st.cache_resource(max_entries=4, show_spinner=False)
def _arrays(path: str, modified: float) -> dict[str, np.ndarray]:
    return DesignSet(Path(path)).arrays()


@st.cache_resource(max_entries=8, show_spinner=False)
def _report(path: str, modified: float) -> DesignReport:
    found = DesignSet(Path(path)).report()
    if found is None:
        raise ScdiffError("These designed cells have no report.", "Its file is missing or damaged.",
                          "Design them again.")
    return found


@dataclass(frozen=True)
class Shown:
    """A designed set with the dataset that its model learned from."""

    job: JobDir
    prepared: Prepared
    run: JobDir
    made: DesignSet

    def _changed(self) -> float:
        return (self.made.path / RECIPE).stat().st_mtime

    @property
    def report(self) -> DesignReport:
        """What is said of it."""
        return _report(str(self.made.path), self._changed())

    @property
    def config(self) -> dict[str, Any]:
        """What was asked for."""
        found = self.made.recipe().get("config", {})
        return found if isinstance(found, dict) else {}

    def cells(self) -> AnnData:
        """Return the designed cells."""
        return _cells(str(self.made.path), self._changed())

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the levels of designed, real and edited cells, and how far they lie from real ones."""
        return _arrays(str(self.made.path), self._changed())

    def log1p(self) -> sp.csr_matrix:
        """Return the log1p values of the designed cells."""
        return sp.csr_matrix(self.cells().layers[keys.LOG1P])

    def side_effects(self) -> pd.DataFrame:
        """Return the genes that changed, the strongest first."""
        return pd.DataFrame([dict(r) for r in self.report.side_effects])

    @property
    def stem(self) -> str:
        """How the files of this set begin."""
        return f"{self.prepared.name}-designed-synthetic-{self.made.id}"
