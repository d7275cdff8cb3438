"""Take designed cells along: cells, tables, figures, recipe and target; all of it says synthetic."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st

from pages._design import overview
from pages._design.shown import Shown
from scdiff_core import target as targets
from scdiff_core.engine.outputs import CELLS
from scdiff_core.figures import design as figures
from scdiff_core.figures import design_effects, export


def bundle(shown: Shown) -> bytes:
    """Return a zip of every figure as SVG, PDF and PNG, with the tables behind them."""
    made: dict[str, Callable[[str], bytes]] = {}
    tables: dict[str, pd.DataFrame] = {"figures": overview.measures(shown)}
    arrays, report = shown.arrays(), shown.report
    if shown.made.view() is not None:
        made["umap"] = partial(overview.map_file, shown)
    rows = overview.row_levels(shown)
    if rows:
        made["rows"] = lambda fmt: figures.export_levels(rows, fmt=fmt)
        tables["rows"] = figures.levels_table(rows)
    made["realism"] = lambda fmt: figures.export_realism(arrays["knn"], arrays["real_knn"], report.unreal_limit,
                                                         fmt=fmt)
    changes = shown.side_effects()
    if len(changes):
        tables["side-effects"] = changes
        if not changes["asked"].astype(bool).all():
            made["side-effects"] = lambda fmt: design_effects.export_side_effects(changes, fmt=fmt)
    return export.figure_bundle(made, tables)


def show(shown: Shown) -> None:
    """Draw the downloads."""
    with st.container(horizontal=True, key="design_downloads"):
        # a callable is run when pressed, so that nothing large is held for a button nobody presses
        st.download_button("Cells (.h5ad)", data=lambda: (shown.made.path / CELLS).read_bytes(), on_click="ignore",
                           file_name=f"{shown.stem}.h5ad", mime="application/x-hdf5", icon=":material/download:",
                           key="design_h5ad", type="primary")
        for words, make, name in (
                ("Figures and baselines (.csv)", lambda: overview.measures(shown).to_csv(index=False), "figures"),
                ("Side effects (.csv)", lambda: shown.side_effects().to_csv(index=False), "side-effects")):
            st.download_button(words, data=make, on_click="ignore", file_name=f"{shown.stem}-{name}.csv",
                               mime="text/csv", icon=":material/table:", key=f"design_{name}")
        st.download_button("Figures (.zip)", data=lambda: bundle(shown), on_click="ignore",
                           file_name=f"{shown.stem}-figures.zip", mime="application/zip", icon=":material/image:",
                           key="design_zip", help="Map, rows, realism and side effects as SVG, PDF and PNG, with the "
                           "tables behind them.")
        st.download_button("Target (.yaml)", data=lambda: targets.write(shown.made.target()), on_click="ignore",
                           file_name=f"{shown.stem}-target.yaml", mime="application/yaml",
                           icon=":material/tune:", key="design_target",
                           help="With every level filled in: for *Target*, *File*, and for the command `design`.")
        st.download_button("Recipe (.json)", data=lambda: json.dumps(shown.made.recipe(), indent=1), on_click="ignore",
                           file_name=f"{shown.stem}-recipe.json", mime="application/json",
                           icon=":material/receipt_long:", key="design_recipe")
    st.caption("Every file says that the cells are synthetic: designed by a model, not measured. The `.h5ad` opens in "
               "scanpy and on the Data page; `meets_target`, `looks_unreal` and `nearest_cell` are columns of it.")
    with st.expander("Recipe: how these cells were made", icon=":material/receipt_long:"):
        st.json(shown.made.recipe(), expanded=1)
    st.caption(f"On disk: `{Path(*shown.made.path.parts[-4:])}` in the workspace.")
