"""Take generated cells along: as .h5ad, as a table, with figures and the recipe; all of it says synthetic."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import streamlit as st

from pages._shared import worker
from pages._shared.marker_data import DOTS, MEANS, CellSet, Markers
from scdiff_core import keys
from scdiff_core.analysis.markers import top_markers
from scdiff_core.data.prepared import Prepared
from scdiff_core.data.vocab import as_labels
from scdiff_core.engine.outputs import CELLS, TABLE, GeneratedSet
from scdiff_core.errors import ScdiffError
from scdiff_core.figures import export
from scdiff_core.figures.base import natural
from scdiff_core.figures.palette import colour_map


def table_of(made: GeneratedSet) -> bytes:
    """Return the cells as a packed table, written by the worker at the first call."""
    asked = worker.submit(f"export-{made.path}", "export", out_dir=str(made.path), format="csv.gz")
    said = asked.look(patience=600)
    worker.forget(f"export-{made.path}")
    if said.get("error"):
        raise ScdiffError(**said["error"])
    return (made.path / TABLE).read_bytes()


def umap_file(made: GeneratedSet, prepared: Prepared, fmt: str) -> bytes:
    """Return the map of real and generated cells as a file."""
    view = made.view()
    assert view is not None, "asked only where there is a map"
    column = prepared.roles.cell_type or next(iter(prepared.roles.columns().values()), None)
    labels = None
    if column is not None:
        labels = np.concatenate([prepared.labels(column), as_labels(made.cells().obs[column])])
    xy = np.concatenate([prepared.X_umap, view["xy"]])
    return export.export_umap(xy, labels, generated=np.arange(len(xy)) >= prepared.n_cells, fmt=fmt)


def markers_of(made: GeneratedSet, prepared: Prepared) -> Markers:
    """Return the marker figures of the generated cells beside those real cells whose group was generated too."""
    cells = made.cells()
    column = next((c.column for c in prepared.vocab.categorical), None)
    if column is None:
        real, own = np.full(prepared.n_cells, "all cells"), np.full(cells.n_obs, "all cells")
    else:
        real, own = prepared.labels(column), as_labels(cells.obs[column])
    groups = sorted(set(own.tolist()) - {""}, key=natural)
    sets = (CellSet("real", prepared.log1p(), real),
            CellSet("generated", sp.csr_matrix(cells.layers[keys.LOG1P]), own, synthetic=True))
    colour = colour_map(sorted(set(real.tolist()) - {""}, key=natural))
    return Markers(sets, prepared.genes, tuple(first_genes(prepared, groups)), tuple(groups), colour=colour)


def first_genes(prepared: Prepared, groups: list[str]) -> list[str]:
    """Return the best markers of the groups, or the first genes where the dataset has no markers of them."""
    table = prepared.markers()
    table = table[table["group"].isin(groups)] if len(table) else table
    if not len(table):
        return [str(g) for g in prepared.genes[:12]]
    return top_markers(table, per_group=3 if len(groups) > 3 else 8, at_most=24)


def bundle(made: GeneratedSet, prepared: Prepared) -> bytes:
    """Return a zip of the map and of every marker figure, as SVG, PDF and PNG, with the tables behind them."""
    markers = markers_of(made, prepared)
    figures = markers.files()
    if made.view() is not None:
        figures = {"umap": partial(umap_file, made, prepared), **figures}
    return export.figure_bundle(figures, {"dot-plot": markers.table(DOTS), "mean-against-mean": markers.table(MEANS)})


def show_downloads(made: GeneratedSet, prepared: Prepared) -> None:
    """Draw the downloads of a generated set."""
    stem = f"{prepared.name}-synthetic-{made.id}"
    with st.container(horizontal=True, key="downloads"):
        # a callable is run when pressed, so that nothing large is held for a button nobody presses
        st.download_button(
            "Cells (.h5ad)",
            data=lambda: (made.path / CELLS).read_bytes(),
            on_click="ignore",
            file_name=f"{stem}.h5ad",
            mime="application/x-hdf5",
            icon=":material/download:",
            key="download_h5ad",
            type="primary",
        )
        st.download_button(
            "Table (.csv.gz)",
            data=lambda: table_of(made),
            on_click="ignore",
            file_name=f"{stem}.csv.gz",
            mime="application/gzip",
            icon=":material/table:",
            key="download_csv",
        )
        st.download_button(
            "Figures (.zip)",
            data=lambda: bundle(made, prepared),
            on_click="ignore",
            file_name=f"{stem}-figures.zip",
            mime="application/zip",
            icon=":material/image:",
            key="download_figures",
            help="The map and the marker figures as SVG, PDF and PNG, with the tables behind them.",
        )
        st.download_button(
            "Recipe (.json)",
            data=lambda: json.dumps(made.recipe(), indent=1),
            on_click="ignore",
            file_name=f"{stem}-recipe.json",
            mime="application/json",
            icon=":material/receipt_long:",
            key="download_recipe",
        )
    st.caption(
        "Every file says that the cells are synthetic: generated by a model, not measured. The `.h5ad` opens "
        "in scanpy and on the Data page."
    )
    recipe = made.recipe()
    with st.expander("Recipe: how these cells were made", icon=":material/receipt_long:"):
        st.json(recipe, expanded=1)
    st.caption(f"On disk: `{Path(*made.path.parts[-4:])}` in the workspace.")
