"""Typical: which real cells are odd to the model, and which look like two cells in one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from pages._generate import using
from pages._shared import context, worker
from pages._shared.cell_canvas import Layer, box_of, cell_canvas
from pages._shared.copies import copies
from pages._shared.trouble import escape, kept, show_kept
from pages._shared.words import plural
from scdiff_core.config import validate
from scdiff_core.config_uses import TypicalConfig
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine import uses_set
from scdiff_core.engine.uses_set import TABLE
from scdiff_core.figures.uses import score_histogram
from scdiff_core.selection import REAL, Selection
from scdiff_core.selections import Selections
from scdiff_core.workspace import JobDir

SPLITS = {"all": "all cells", "test": "held-out cells", "train": "training cells"}
SCORES = {
    "score": ("How odd", "Standard deviations above ordinary cells of like depth: how badly the cell's code fits the "
              "model's flow, and its counts the code."),
    "distance": ("Far from training cells", "Distance to the nearest in PCA, for its depth: no model. Of six types "
                 "held out of training it found those of PBMC3k as well as *How odd* (area 0.88 and 0.89), and those "
                 "of a pancreas better (0.91 against 0.68)."),
    "doublet": ("Like two cells in one", "How much a cell's neighbourhood, in the model's codes, is doublets simulated "
                "from pairs of training cells: 0 none, 1 all."),
    "log_density": ("Log density of the code", "By the probability-flow ODE. Odd cells need not have a low density: "
                    "look at *How odd* first."),
}
ROWS = 1000  # of the table on the page


def draw(run: JobDir, prepared: Prepared, left: st.delta_generator.DeltaGenerator,
         right: st.delta_generator.DeltaGenerator) -> None:
    """Draw the settings in the left column, and the cells by their score in the right one."""
    with left:
        if not using.needs_counts(prepared, "say which cells are typical"):
            return
        split = str(st.selectbox("Which cells", list(SPLITS), format_func=SPLITS.__getitem__,
                                 key=f"typical-{run.id}-split", persist_state="session",
                                 help="New cells are held against training cells that the model never learnt from; "
                                 "cells that it learnt from against each other."))
        config = validate(TypicalConfig, {"run": run.id, "split": split}, "The settings")
        if st.button("Look for odd cells", type="primary", icon=":material/troubleshoot:", key="typical_go"):
            using.begin(run, "typical", config)
        copies(config, f"typical-{run.id}")
        using.follow(run, "typical")
        worker.warm(run, using.key_of(run, "typical"))
        sets = uses_set.results(run, "typical")
        if sets:
            by = str(st.radio("Colour and order by", list(SCORES), format_func=lambda s: SCORES[s][0],
                              key="typical_by", persist_state="session", captions=[SCORES[s][1] for s in SCORES]))
    with right:
        if not sets:
            st.info("Press **Look for odd cells**: they appear on the map here, with a table of them all. It takes "
                    "about ten seconds for 1,000 cells.", icon=":material/arrow_back:")
            return
        _shown(run, prepared, sets, by)


@st.cache_data(max_entries=4, show_spinner=False)
def _table(path: str, modified: float) -> pd.DataFrame:
    from pathlib import Path

    return uses_set.UsesSet(Path(path)).table()


def _shown(run: JobDir, prepared: Prepared, sets: list[uses_set.UsesSet], by: str) -> None:
    made = using.pick(sets, "Results", _words)
    table = _table(str(made.path), (made.path / TABLE).stat().st_mtime)
    values = table[by].to_numpy(float)
    ordinary = values[table["reference"].to_numpy(bool)]
    sign = -1.0 if by == "log_density" else 1.0
    cut = _cut(run, by, sign * (ordinary if len(ordinary) else values)) * sign
    odd = sign * values >= sign * cut
    st.markdown(f"**{plural(int(odd.sum()), 'cell')}** of {len(table):,} beyond the cut.")
    _map(run, prepared, table, values, odd, by)
    st.plotly_chart(score_histogram(sign * (ordinary if len(ordinary) else values), sign * values, sign * cut,
                                    SCORES[by][0] if sign > 0 else f"minus {SCORES[by][0].lower()}"),
                    key="typical_histogram", alt=f"{SCORES[by][0]} of the cells, over ordinary training cells")
    _rows(table, odd, by, sign)
    _take_along(prepared, made, table, odd, by)


def _cut(run: JobDir, by: str, ordinary: np.ndarray) -> float:
    """Draw the cut as a share of ordinary cells; returns the score there, the larger the odder."""
    share = st.slider("Cut: odder than this share of ordinary training cells", 90.0, 99.9, 99.0, 0.1, format="%.1f %%",
                      key=f"typical-{run.id}-{by}-cut", persist_state="session", width=520,
                      help="Ordinary cells reach beyond it too: at 99 % about one in a hundred does.")
    return float(np.quantile(ordinary, share / 100))


def _map(run: JobDir, prepared: Prepared, table: pd.DataFrame, values: np.ndarray, odd: np.ndarray, by: str) -> None:
    rows = table["row"].to_numpy(int)
    hover = {"cell": table["cell"].to_numpy(), SCORES[by][0]: np.round(values, 2)}
    if "cell_type" in table:
        hover["cell type"] = table["cell_type"].to_numpy()
    layers = [Layer("all cells", prepared.X_umap, behind=True)] if len(rows) < prepared.n_cells else []
    layers.append(Layer("cells", prepared.X_umap[rows], values=values.astype(np.float32), hover=hover))
    if odd.any():
        layers.append(Layer("beyond the cut", prepared.X_umap[rows[odd]], shape="ring", size=1.6,
                            values=values[odd].astype(np.float32), hover={k: v[odd] for k, v in hover.items()}))
    cell_canvas(layers, key=f"typical-{run.id}-map", height=430, colour_title=SCORES[by][0],
                extent=box_of(prepared.X_umap),
                summary=f"UMAP of {len(rows):,} cells, coloured by {SCORES[by][0].lower()}; {int(odd.sum()):,} ringed")


def _rows(table: pd.DataFrame, odd: np.ndarray, by: str, sign: float) -> None:
    """Draw the table with its search; the oddest cells come first."""
    word = st.text_input("Search", key="typical_search", placeholder="Name of a cell, or a cell type",
                         icon=":material/search:", width=420)
    shown = table.assign(beyond=odd).sort_values(by, ascending=sign < 0)
    if word:
        fits = shown["cell"].str.contains(word, case=False, regex=False)
        if "cell_type" in shown:
            fits |= shown["cell_type"].str.contains(word, case=False, regex=False)
        shown = shown[fits]
    if not len(shown):
        st.info(f"No cell is called '{escape(word)}', and no cell type.")
        return
    st.dataframe(shown.drop(columns=["row", "reference"]).head(ROWS).round(3), hide_index=True, height=280,
                 key="typical_table", alt="The cells, the oddest first", column_config={
                     "percentile": st.column_config.NumberColumn(
                         help="Share of ordinary cells of like depth that are less odd."),
                     "noise": st.column_config.NumberColumn(
                         help="Length of the noise that the flow makes of the code, beside that of a normal draw."),
                     "surprise": st.column_config.NumberColumn(
                         help="By how many nats the counts are less likely, given the code, than counts drawn from "
                         "it.")})


def _take_along(prepared: Prepared, made: uses_set.UsesSet, table: pd.DataFrame, odd: np.ndarray, by: str) -> None:
    """Draw the download, and a way to keep the cells beyond the cut as a selection for every page."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.download_button("Table (.csv)", data=lambda: (made.path / TABLE).read_bytes(), on_click="ignore",
                           file_name=f"{prepared.name}-typical-{made.id}.csv", mime="text/csv",
                           icon=":material/download:", key="typical_download")
        name = st.text_input("Name of the selection", "odd cells" if by != "doublet" else "likely doublets", width=220,
                             key=f"typical_name_{by}")
        if st.button("Save the cells beyond the cut", icon=":material/bookmark_add:", key="typical_save",
                     disabled=not odd.any()):
            with kept("typical_saving"):
                mask = np.zeros(prepared.n_cells, bool)
                mask[table["row"].to_numpy(int)[odd]] = True
                shelf = Selections(context.workspace().open("prepare", prepared.name), prepared.fingerprint,
                                   prepared.n_cells)
                shelf.save(shelf.keep(Selection({REAL: mask})), name)
                st.toast(f"Saved as '{name}': every map can show these cells.", icon=":material/bookmark_added:")
    show_kept("typical_saving")


def _words(made: uses_set.UsesSet) -> str:
    recipe = made.recipe()
    return (f"{plural(int(recipe.get('n_cells', 0)), 'cell')} · "
            f"{SPLITS.get(recipe.get('config', {}).get('split', 'all'), '')}")
