"""What one prediction shows: its cells and effects, and the real cells that stand beside them."""

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
from scdiff_core.data.perturbations import Perturbation, parse, parse_all
from scdiff_core.data.prepared import Prepared
from scdiff_core.data.vocab import as_labels, as_numbers
from scdiff_core.engine.outputs import RECIPE
from scdiff_core.engine.prediction import Prediction
from scdiff_core.engine.screens import certainty
from scdiff_core.errors import ScdiffError
from scdiff_core.selection import REAL
from scdiff_core.selections import Selections
from scdiff_core.workspace import JobDir

CONTROL, MEASURED, PREDICTED = "control (real)", "measured (real)", "predicted (synthetic)"


@st.cache_resource(max_entries=6, show_spinner=False)
def _cells(path: str, modified: float) -> AnnData:
    return Prediction(Path(path)).cells()


@st.cache_resource(max_entries=6, show_spinner=False)
def _effects(path: str, modified: float) -> pd.DataFrame:
    table = Prediction(Path(path)).effects()
    return table.assign(pval_adj=certainty(table))


@st.cache_resource(max_entries=4, show_spinner=False)
def _read_labels(fingerprint: str, column: str, control: str, _prepared: Prepared) -> dict[str, Perturbation]:
    labels = _prepared.labels(column)
    return parse_all(np.unique(labels[labels != ""]).tolist(), control)


def known(prepared: Prepared) -> dict[str, str]:
    """Return every label of the data that is a perturbation -> how it is written here ("A+B"), in order."""
    read = _read_labels(prepared.fingerprint, keys.PERTURBATION, prepared.roles.control or "", prepared)
    found = {label: p.label for label, p in read.items() if not p.is_control}
    return dict(sorted(found.items(), key=lambda item: (item[1].count("+"), item[1])))


def read_name(prepared: Prepared, name: str) -> str:
    """Return a perturbation that somebody typed as it is written here: the order of a pair does not matter."""
    read = _read_labels(prepared.fingerprint, keys.PERTURBATION, prepared.roles.control or "", prepared)
    return parse(name, prepared.roles.control, list(read)).label


def trained_on(prepared: Prepared) -> set[str]:
    """Return the perturbations of which there are cells in the training split."""
    labels = prepared.labels(keys.PERTURBATION)
    names = known(prepared)
    return {names[v] for v in np.unique(labels[prepared.rows(keys.TRAIN)]).tolist() if v in names}


@dataclass(frozen=True)
class Shown:
    """One prediction with the dataset that its model learned from."""

    job: JobDir
    prepared: Prepared
    run: JobDir
    made: Prediction

    @property
    def config(self) -> dict[str, Any]:
        """What was asked for."""
        found = self.made.recipe().get("config", {})
        return found if isinstance(found, dict) else {}

    @property
    def dose(self) -> float | None:
        """The dose that was asked for, None without one."""
        return self.config.get("dose")

    @property
    def names(self) -> tuple[str, ...]:
        """The perturbations, as they were asked for."""
        return tuple(self.effects()["perturbation"].drop_duplicates())

    def told(self, name: str) -> dict[str, Any]:
        """Return what the summary says of a perturbation."""
        every = self.made.summary().get("perturbations", [])
        return next((dict(t) for t in every if t.get("perturbation") == name), {})

    def effects(self, name: str | None = None) -> pd.DataFrame:
        """Return the effects of all perturbations or of one, with `pval_adj` out of the intervals."""
        table = _effects(str(self.made.path), self._changed())
        return table if name is None else table[table["perturbation"] == name].reset_index(drop=True)

    def _changed(self) -> float:
        return (self.made.path / RECIPE).stat().st_mtime

    def cells(self) -> AnnData:
        """Return the predicted cells, kept in memory while they are unchanged."""
        return _cells(str(self.made.path), self._changed())

    def rows_of(self, name: str) -> np.ndarray:
        """Return the rows of the predicted cells of a perturbation."""
        column = self.prepared.roles.perturbation
        assert column is not None, "a model of perturbations has them"
        return np.flatnonzero(as_labels(self.cells().obs[column]) == name)

    def log1p(self) -> sp.csr_matrix:
        """Return the log1p values of all predicted cells."""
        return sp.csr_matrix(self.cells().layers[keys.LOG1P])

    def _fits(self) -> np.ndarray:
        """Return which real cells fulfil the conditions that were asked for, bool [N]."""
        fits = np.ones(self.prepared.n_cells, bool)
        for name, value in (self.config.get("where") or {}).items():
            if value not in (keys.ANY, keys.AS_IN_DATA):
                fits &= self._has(name, str(value))
        return fits

    def _has(self, name: str, value: str) -> np.ndarray:
        column = self.prepared.roles.columns().get(name, name)
        covariate = next((c for c in self.prepared.vocab.continuous if c.column == column), None)
        if covariate is None:
            return np.asarray(self.prepared.labels(name) == value)
        numbers = as_numbers(self.prepared.obs[column])
        assert numbers is not None, "a continuous covariate holds numbers"
        return np.isclose(numbers, float(value))

    def selection(self) -> np.ndarray | None:
        """Return which real cells it was confined to, bool [N]; None where it was not, or they are not known now."""
        asked = self.made.recipe().get("selection") or {}
        if not asked.get("id"):
            return None
        try:
            kept = Selections(self.job, self.prepared.fingerprint, self.prepared.n_cells).open(str(asked["id"]))
        except ScdiffError:
            return None
        return kept.mask(REAL, self.prepared.n_cells)

    def control_rows(self) -> np.ndarray:
        """Return the real control cells of the conditions asked for."""
        fits = self._fits() & (self.prepared.labels(keys.PERTURBATION) == (self.prepared.roles.control or ""))
        chosen = self.selection()
        return np.flatnonzero(fits if chosen is None else fits & chosen)

    def measured_rows(self, name: str) -> np.ndarray:
        """Return the real cells of a perturbation under the conditions asked for; none where it was not measured.

        Where it was confined to a selection, those of the cell types that its control cells have.
        """
        labels = self.prepared.labels(keys.PERTURBATION)
        fits = self._fits() & np.isin(labels, [v for v, called in known(self.prepared).items() if called == name])
        dose = self.prepared.roles.dose
        if dose and self.dose is not None:
            numbers = as_numbers(self.prepared.obs[dose])
            fits &= np.isclose(numbers, self.dose) if numbers is not None else False
        if self.selection() is not None and self.prepared.roles.cell_type:
            kinds = self.prepared.labels(keys.CELL_TYPE)
            fits &= np.isin(kinds, np.unique(kinds[self.control_rows()]))
        return np.flatnonzero(fits)

    @property
    def stem(self) -> str:
        """How the files of this prediction begin."""
        return f"{self.prepared.name}-predicted-synthetic-{self.made.id}"
