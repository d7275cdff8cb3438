"""The map of cells as every page shows it: choose a colour, see real cells and generated ones over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import scipy.sparse as sp
import streamlit as st

from pages._shared.cell_canvas import Layer, cell_canvas
from scdiff_core import keys
from scdiff_core.data.prepared import Prepared
from scdiff_core.figures.palette import colours

MAX_CATEGORIES = 60
HIDDEN = {keys.SPLIT}


@dataclass(frozen=True)
class Colour:
    """What the cells are coloured by: categories or continuous values, of real cells."""

    name: str
    title: str
    is_gene: bool = False
    categories: tuple[str, ...] = ()
    palette: tuple[str, ...] = ()
    codes: np.ndarray | None = field(default=None, compare=False)
    values: np.ndarray | None = field(default=None, compare=False)


@st.cache_resource(max_entries=3, show_spinner=False)
def _by_gene(fingerprint: str, _prepared: Prepared) -> sp.csc_matrix:
    return _prepared.log1p().tocsc()


def gene_values(prepared: Prepared, gene: str) -> np.ndarray:
    """Return one gene's log1p values of all real cells; [N]."""
    column = int(np.flatnonzero(prepared.genes == gene)[0])
    return _by_gene(prepared.fingerprint, prepared)[:, [column]].toarray().ravel()


def columns_to_colour(prepared: Prepared) -> list[str]:
    """Return the columns worth colouring by: the roles first, then the others."""
    first = list(prepared.roles.columns().values())
    rest = [
        c
        for c in prepared.obs.columns
        if c not in first
        and c not in HIDDEN
        and (
            pd.api.types.is_numeric_dtype(prepared.obs[c]) or 1 < prepared.obs[c].nunique(dropna=True) <= MAX_CATEGORIES
        )
    ]
    return [*first, *rest, keys.SPLIT]


def colour_by(prepared: Prepared, key: str, label: str = "Colour by") -> Colour:
    """Draw the choice of a column or a gene, and return the colours of the real cells."""
    options = [*columns_to_colour(prepared), *prepared.genes.tolist()]
    name = st.selectbox(label, options, key=key, persist_state="session", help="A column or a gene: type to find it.")
    return colour_of(prepared, name or options[0])


def colour_of(prepared: Prepared, name: str) -> Colour:
    """Return the colours of the real cells by a column or a gene."""
    if name not in prepared.obs.columns:
        return Colour(name, f"{name} (log1p)", is_gene=True, values=gene_values(prepared, name))
    column = prepared.obs[name]
    is_label = name in prepared.roles.columns().values() and not any(
        c.column == name and c.kind == "continuous" for c in prepared.vocab.covariates
    )
    if pd.api.types.is_numeric_dtype(column) and not is_label and column.nunique() > 12:
        return Colour(name, name, values=column.to_numpy(np.float32))
    labels = prepared.labels(name)
    # the vocabulary's order, so that a type has one colour on every page
    known = next((c.values for c in prepared.vocab.categorical if c.column == name), None)
    categories = tuple(known or sorted({v for v in labels if v}, key=_natural))
    index = {c: i for i, c in enumerate(categories)}
    codes = np.array([index.get(v, -1) for v in labels], np.int32)
    return Colour(name, name, categories=categories, palette=tuple(colours(len(categories))), codes=codes)


def _natural(text: str) -> tuple[int, float, str]:
    try:
        return 0, float(text), text
    except ValueError:
        return 1, 0.0, text


def codes_like(colour: Colour, labels: Sequence[str] | np.ndarray) -> np.ndarray:
    """Return the codes of other cells' labels in the categories of `colour`; -1 where there is none."""
    index = {c: i for i, c in enumerate(colour.categories)}
    return np.array([index.get(str(v), -1) for v in labels], np.int32)


def map_of_cells(
    prepared: Prepared,
    colour: Colour,
    *,
    place: str = "UMAP",
    key: str,
    height: int = 600,
    over: Layer | None = None,
    real_grey: bool = False,
    rows: np.ndarray | None = None,
    labels: bool = True,
) -> None:
    """Draw the real cells, and `over` them the generated ones, on the canvas.

    Parameters
    ----------
    over
        A layer of generated cells whose codes or values fit `colour`.
    real_grey
        Real cells in grey beneath, so that the generated ones stand out.
    rows
        Only these real cells; default all.
    """
    xy = prepared.X_umap if place == "UMAP" else prepared.X_pca[:, :2]
    rows = np.arange(prepared.n_cells) if rows is None else rows
    hover: dict[str, np.ndarray] = {}
    for role, column in prepared.roles.columns().items():
        if role in (keys.CELL_TYPE, keys.BATCH, keys.PERTURBATION):
            hover[column] = prepared.labels(column)[rows]
    real = Layer(
        "real",
        xy[rows],
        shape="dot",
        codes=None if colour.codes is None else colour.codes[rows],
        values=None if colour.values is None else colour.values[rows],
        hover=hover,
        grey=real_grey,
    )
    layers = [real] if over is None else [real, over]
    numbers = " and ".join(f"{len(layer.xy):,} {layer.name} cells" for layer in layers)
    values = [v.values for v in layers if v.values is not None and not v.grey]
    span = None
    if values:
        joined = np.concatenate(values)
        joined = joined[np.isfinite(joined)]
        span = (float(joined.min()), float(joined.max())) if joined.size else None
    cell_canvas(
        layers,
        key=key,
        height=height,
        categories=colour.categories,
        palette=colour.palette,
        colour_title=colour.title,
        value_range=span,
        labels=labels and bool(colour.categories),
        summary=f"{place} of {numbers}, coloured by {colour.title}",
    )
