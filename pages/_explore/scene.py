"""What is explored: the real cells of a dataset and, over them, a set of generated ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import streamlit as st
from anndata import AnnData

from scdiff_core import keys
from scdiff_core.data.prepared import FILE, Prepared
from scdiff_core.data.vocab import as_labels
from scdiff_core.engine.outputs import GeneratedSet
from scdiff_core.figures.palette import colours
from scdiff_core.selections import Selections
from scdiff_core.workspace import JobDir, read_json

REAL, GENERATED = "real", "generated"
MADE_WORDS = {"design": "designed", "predict": "predicted"}  # by the kind of their recipe; all others: generated
MAX_CATEGORIES = 60
FEW_NUMBERS = 12  # a numeric column of no more values than this is one of groups
DISTANCE = "distance to real"
SAVED, SET = "my cells: ", "gene set: "  # how a saved selection and a gene set are named among the colours


@dataclass(frozen=True)
class Colour:
    """What cells are coloured by: categories with their colours, or continuous values.

    `codes` and `values` hold one array a source, -1 and NaN where a cell has none.
    """

    name: str
    title: str
    categories: tuple[str, ...] = ()
    palette: tuple[str, ...] = ()
    codes: dict[str, np.ndarray] | None = None
    values: dict[str, np.ndarray] | None = None

    def names(self, source: str) -> np.ndarray:
        """Return each cell's category as text [n], "" where it has none."""
        assert self.codes is not None, "asked only of categories"
        known = np.array([*self.categories, ""], dtype=object)
        codes = self.codes[source]
        return known[np.where((codes >= 0) & (codes < len(self.categories)), codes, len(self.categories))].astype(str)


@st.cache_resource(max_entries=4, show_spinner=False)
def _cells(path: str, modified: float) -> AnnData:
    return GeneratedSet(Path(path)).cells()


@st.cache_resource(max_entries=64, show_spinner=False)
def _kind(path: str, modified: float) -> str:
    return str(GeneratedSet(Path(path)).recipe().get("kind", ""))


@st.cache_resource(max_entries=3, show_spinner=False)
def _by_gene(path: str, state: str, _prepared: Prepared) -> sp.csc_matrix:
    return _prepared.log1p().tocsc()


@st.cache_resource(max_entries=4, show_spinner=False)
def _made_by_gene(path: str, modified: float) -> sp.csc_matrix:
    return sp.csc_matrix(_cells(path, modified).layers[keys.LOG1P])


@dataclass(frozen=True)
class Scene:
    """The cells that a page shows: those of a dataset, and a generated set of one of its runs."""

    job: JobDir
    prepared: Prepared
    run: JobDir | None = None
    made: GeneratedSet | None = None

    @property
    def name(self) -> str:
        """The dataset's name, by which widgets keep their state."""
        return self.job.id

    @property
    def over(self) -> str:
        """The source of the generated cells, `RUN/SET`; empty without any."""
        return f"{self.run.id}/{self.made.id}" if self.run is not None and self.made is not None else ""

    @property
    def sources(self) -> tuple[str, ...]:
        """Where cells come from: "real", and the generated set."""
        return (REAL, self.over) if self.over else (REAL,)

    @property
    def selections(self) -> Selections:
        """The selections that are kept with the dataset."""
        return Selections(self.job, self.prepared.fingerprint)

    def word(self, source: str) -> str:
        """Return what people call a source."""
        return REAL if source == REAL else self.made_word

    @property
    def made_word(self) -> str:
        """What people call the cells that were made: generated, designed or predicted."""
        kind = "" if self.made is None else _kind(str(self.made.path), self._changed())
        return MADE_WORDS.get(kind, GENERATED)

    def cells(self) -> AnnData:
        """Return the generated cells, kept in memory while they are unchanged."""
        assert self.made is not None
        return _cells(str(self.made.path), self._changed())

    def _state(self) -> tuple[str, str]:
        """The dataset's folder, and what changes when it is prepared again: what is kept of it goes by these."""
        file = self.job.path / FILE
        changed = file.stat().st_mtime_ns if file.exists() else 0
        return str(self.job.path), f"{self.prepared.fingerprint}-{changed}"

    def _changed(self) -> float:
        assert self.made is not None
        return (self.made.path / "recipe.json").stat().st_mtime

    def view(self) -> dict[str, np.ndarray] | None:
        """Return where the generated cells lie on the maps, None where that is not known."""
        return None if self.made is None else self.made.view()

    def n(self, source: str) -> int:
        """Return the number of cells of a source."""
        return self.prepared.n_cells if source == REAL else int(self.cells().n_obs)

    def log1p(self, source: str) -> sp.csc_matrix:
        """Return the log1p values of a source [n, G], quick to take genes from."""
        if source == REAL:
            return _by_gene(*self._state(), self.prepared)
        assert self.made is not None
        return _made_by_gene(str(self.made.path), self._changed())

    def gene(self, name: str, source: str) -> np.ndarray:
        """Return one gene's log1p values of a source; float32 [n]."""
        column = int(np.flatnonzero(self.prepared.genes == name)[0])
        return self.log1p(source)[:, [column]].toarray().ravel().astype(np.float32)

    def column(self, name: str, source: str) -> pd.Series | None:
        """Return a column of the cells, None where a source has no such column."""
        obs = self.prepared.obs if source == REAL else self.cells().obs
        return obs[name] if name in obs.columns else None

    def is_gene(self, name: str) -> bool:
        """Say whether a name is that of a gene (a column of the same name goes first)."""
        return name not in self.prepared.obs.columns and bool((self.prepared.genes == name).any())

    def numbers(self, name: str, source: str) -> np.ndarray:
        """Return a gene's or a numeric column's values of a source; float32 [n], NaN where there are none."""
        if self.is_gene(name):
            return self.gene(name, source)
        if name == DISTANCE:
            view = self.view()
            if source == REAL or view is None:
                return np.full(self.n(source), np.nan, np.float32)
            return np.asarray(view["distance"], np.float32)
        column = self.column(name, source)
        if column is None:
            return np.full(self.n(source), np.nan, np.float32)
        return pd.to_numeric(column, errors="coerce").to_numpy(np.float32)

    def grouping_columns(self) -> list[str]:
        """Return the columns that put cells into groups: the roles first."""
        return list(_columns(*self._state(), self.prepared)[1])

    def columns(self) -> list[str]:
        """Return the columns worth colouring by: the roles first, then the others, the split last."""
        return list(_columns(*self._state(), self.prepared)[0])

    def numeric_columns(self) -> list[str]:
        """Return the columns that hold numbers."""
        every, grouping = _columns(*self._state(), self.prepared)
        return [c for c in every if c not in grouping]

    def _is_grouping(self, name: str) -> bool:
        every, grouping = _columns(*self._state(), self.prepared)
        return name in grouping if name in every else _groups(self.prepared, name)

    def categories(self, name: str) -> tuple[str, ...]:
        """Return the categories of a column, in the vocabulary's order where it is known there."""
        return _categories(*self._state(), name, self.prepared)

    def codes(self, name: str, source: str, categories: Iterable[str]) -> np.ndarray:
        """Return the category of each cell of a source by a column; int32 [n], -1 where there is none."""
        column = self.column(name, source)
        if column is None:
            return np.full(self.n(source), -1, np.int32)
        if source == REAL:
            return _codes(*self._state(), name, tuple(categories), column)
        return _codes_of(column, tuple(categories))

    def labels(self, name: str, source: str) -> np.ndarray:
        """Return the labels of a source by a column as text [n], "" where there is none."""
        categories = self.categories(name)
        codes = self.codes(name, source, categories)
        return np.array([*categories, ""], dtype=object)[codes].astype(str)

    def xy(self, place: str, source: str, x: str = "", y: str = "") -> np.ndarray | None:
        """Return the positions of a source on a map [n, 2]; None where they are not known."""
        if place == "UMAP" or place == "PCA":
            if source == REAL:
                return self.prepared.X_umap if place == "UMAP" else self.prepared.X_pca[:, :2]
            view = self.view()
            return None if view is None else view["xy" if place == "UMAP" else "pca"]
        return np.stack([self.numbers(x, source), self.numbers(y, source)], 1)

    def palette_name(self) -> str:
        """Return the palette that was chosen for the dataset."""
        return str(read_json(self.job.path / "notes.json", {}).get("palette") or "Okabe-Ito")

    def colour(self, name: str, scores: dict[str, np.ndarray] | None = None) -> Colour:
        """Return the colours of all sources by a column, a gene, a saved selection, or a gene set's scores."""
        if name.startswith(SET):
            known = scores or {s: np.full(self.n(s), np.nan, np.float32) for s in self.sources}
            return Colour(name, f"{name.removeprefix(SET)} (score)", values=known)
        if name.startswith(SAVED):
            words = name.removeprefix(SAVED)
            masks = self.selections.open(self.selections.named()[words]).masks
            codes = {s: np.where(masks.get(s, np.zeros(self.n(s), bool)), 0, 1).astype(np.int32) for s in self.sources}
            return Colour(name, words, (words, "other cells"), ("#D55E00", "#8C8C8C"), codes=codes)
        if name == DISTANCE or self.is_gene(name) or not self._is_grouping(name):
            title = f"{name} (log1p)" if self.is_gene(name) else name
            return Colour(name, title, values={s: self.numbers(name, s) for s in self.sources})
        categories = self.categories(name)
        return Colour(name, name, categories, tuple(colours(len(categories), self.palette_name())),
                      codes={s: self.codes(name, s, categories) for s in self.sources})

    def hover(self, source: str) -> dict[str, Any]:
        """Return what the tooltip says of each cell: its labels, and how far from real ones it lies."""
        wanted = (keys.CELL_TYPE, keys.BATCH, keys.PERTURBATION)
        out: dict[str, Any] = {}
        for role, column in self.prepared.roles.columns().items():
            series = self.column(column, source)
            if role in wanted and series is not None:
                out[column] = pd.Categorical(series)
        if source != REAL and (view := self.view()) is not None:
            out[DISTANCE] = view["distance"]
        return out


# What follows from a dataset's columns alone is worked out once, not whenever the page is drawn; the arrays are shared.


@st.cache_resource(max_entries=8, show_spinner=False)
def _columns(path: str, state: str, _prepared: Prepared) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns worth colouring by, and those of them that put cells into groups."""
    obs, roles = _prepared.obs, list(_prepared.roles.columns().values())
    rest = [c for c in obs.columns if c not in roles and c != keys.SPLIT
            and (pd.api.types.is_numeric_dtype(obs[c]) or 1 < obs[c].nunique(dropna=True) <= MAX_CATEGORIES)]
    every = (*roles, *rest, keys.SPLIT)
    return every, tuple(c for c in every if _groups(_prepared, c))


def _groups(prepared: Prepared, name: str) -> bool:
    column = prepared.obs[name]
    continuous = any(c.column == name and c.kind == "continuous" for c in prepared.vocab.covariates)
    if name in prepared.roles.columns().values() and not continuous:
        return True
    return not pd.api.types.is_numeric_dtype(column) or column.nunique() <= FEW_NUMBERS


@st.cache_resource(max_entries=256, show_spinner=False)
def _categories(path: str, state: str, name: str, _prepared: Prepared) -> tuple[str, ...]:
    known = next((c.values for c in _prepared.vocab.categorical if c.column == name), None)
    if known:
        return tuple(known)
    kind = pd.Categorical(_prepared.obs[name])
    used = kind.categories[np.unique(kind.codes[kind.codes >= 0])]
    return tuple(sorted(set(as_labels(pd.Series(used.astype(object), dtype=object))) - {""}, key=_natural))


@st.cache_resource(max_entries=32, show_spinner=False)
def _codes(path: str, state: str, name: str, categories: tuple[str, ...], _column: pd.Series) -> np.ndarray:
    codes = _codes_of(_column, categories)
    codes.flags.writeable = False
    return codes


def _codes_of(column: pd.Series, categories: tuple[str, ...]) -> np.ndarray:
    index = {c: i for i, c in enumerate(categories)}
    kind = pd.Categorical(column)
    own = as_labels(pd.Series(kind.categories.astype(object), dtype=object))
    of = np.array([*(index.get(v, -1) for v in own), -1], np.int32)
    return of[kind.codes]


def _natural(text: str) -> tuple[int, float, str]:
    try:
        return 0, float(text), text
    except ValueError:
        return 1, 0.0, text
