"""Take a prediction along: cells, effects, programs, figures and the recipe; all of it says synthetic."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st

from pages._perturb import cells, markers, verdict
from pages._perturb.genes import P_WORDS, suggested
from pages._perturb.shown import Shown
from pages._shared.marker_data import DOTS, Markers
from scdiff_core.engine import screens
from scdiff_core.engine.outputs import CELLS
from scdiff_core.figures import effect_maps, effects, export
from scdiff_core.figures.palette import MISSING, colours
from scdiff_core.figures.volcano import export_volcano


def markers_of(shown: Shown) -> Markers:
    """Return the marker figures of the surest genes."""
    sets, order = markers.sets_of(shown)
    colour = {markers.CONTROL: MISSING, **dict(zip(shown.names, colours(len(shown.names)), strict=True))}
    return Markers(tuple(sets), shown.prepared.genes, tuple(suggested(shown)), tuple(order), colour=colour)


def bundle(shown: Shown) -> bytes:
    """Return a zip of every figure of every perturbation, as SVG, PDF and PNG, with the tables behind them."""
    figures: dict[str, Callable[[str], bytes]] = {}
    tables = {"effects": shown.effects(), "summary": verdict.table(shown)}
    for name in shown.names:
        table = shown.effects(name)
        stem = "".join(c if c.isalnum() or c in "-+" else "_" for c in name)
        figures[f"{stem}-umap"] = partial(cells.file, shown, name, "UMAP")
        figures[f"{stem}-ranked"] = partial(_ranked, table, name)
        figures[f"{stem}-volcano"] = partial(_volcano, table, name)
    if len(shown.names) > 1:
        figures["heat-map"] = partial(_heat, shown)
    figures |= {f"markers-{k}": v for k, v in markers_of(shown).files().items()}
    tables["dot-plot"] = markers_of(shown).table(DOTS)
    return export.figure_bundle(figures, tables)


def _ranked(table: pd.DataFrame, name: str, fmt: str) -> bytes:
    return effects.export_ranked(table, title=name, fmt=fmt)


def _volcano(table: pd.DataFrame, name: str, fmt: str) -> bytes:
    return export_volcano(table[["gene", "log2fc", "pval_adj"]], fold=0.5, names=(f"{name}, predicted", "control"),
                          synthetic=(True, False), fmt=fmt)


def _heat(shown: Shown, fmt: str) -> bytes:
    return effect_maps.export_effect_heat(screens.matrix(shown.effects()), fmt=fmt)


def show(shown: Shown) -> None:
    """Draw the downloads."""
    with st.container(horizontal=True, key="predict_downloads"):
        # a callable is run when pressed, so that nothing large is held for a button nobody presses
        st.download_button("Cells (.h5ad)", data=lambda: (shown.made.path / CELLS).read_bytes(), on_click="ignore",
                           file_name=f"{shown.stem}.h5ad", mime="application/x-hdf5", icon=":material/download:",
                           key="predict_h5ad", type="primary")
        st.download_button("Effects (.csv)", data=lambda: shown.effects().to_csv(index=False), on_click="ignore",
                           file_name=f"{shown.stem}-effects.csv", mime="text/csv", icon=":material/table:",
                           key="predict_effects", help="Every gene of every perturbation: log2 fold change, 90 % "
                           "interval, measured change. " + P_WORDS)
        st.download_button("Figures (.zip)", data=lambda: bundle(shown), on_click="ignore",
                           file_name=f"{shown.stem}-figures.zip", mime="application/zip", icon=":material/image:",
                           key="predict_figures", help="Maps, volcanoes, ranked genes and marker figures as SVG, PDF "
                           "and PNG, with the tables behind them.")
        st.download_button("Recipe (.json)", data=lambda: json.dumps(shown.made.recipe(), indent=1), on_click="ignore",
                           file_name=f"{shown.stem}-recipe.json", mime="application/json",
                           icon=":material/receipt_long:", key="predict_recipe")
    st.caption("Every file says that the cells are synthetic: predicted by a model, not measured. The `.h5ad` opens in "
               "scanpy and on the Data page. `start_cell` is the row of the control cell that a predicted one started "
               "from; the two are no pair.")
    with st.expander("Recipe: how these cells were made", icon=":material/receipt_long:"):
        st.json(shown.made.recipe(), expanded=1)
    st.caption(f"On disk: `{Path(*shown.made.path.parts[-4:])}` in the workspace.")
