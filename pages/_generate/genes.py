"""Marker genes of generated cells beside real ones: dots, violins, heat map, and mean against mean."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
import streamlit as st
from anndata import AnnData

from pages._data.options import names_in
from scdiff_core import keys
from scdiff_core.analysis.markers import find_genes, mean_fraction, top_markers
from scdiff_core.data.prepared import Prepared
from scdiff_core.data.vocab import as_labels
from scdiff_core.engine.outputs import GeneratedSet
from scdiff_core.errors import nearest
from scdiff_core.figures import plots

FIGURES = ["Dot plot", "Violin", "Heat map", "Mean against mean"]
VIOLIN_GENES = 8  # more do not fit on a screen


@st.cache_resource(max_entries=4, show_spinner=False)
def _cells(path: str, modified: float) -> AnnData:
    return GeneratedSet(Path(path)).cells()


def cells_of(made: GeneratedSet) -> AnnData:
    """Return the generated cells of a set, kept in memory while they are unchanged."""
    return _cells(str(made.path), (made.path / "recipe.json").stat().st_mtime)


def values_of(made: GeneratedSet, gene: str) -> np.ndarray:
    """Return one gene's log1p values of the generated cells; [n]."""
    cells = cells_of(made)
    column = cells.layers[keys.LOG1P][:, [cells.var_names.get_loc(gene)]]
    return np.asarray(column.todense()).ravel().astype(np.float32)


@dataclass(frozen=True)
class Compared:
    """Real and generated cells as the marker figures take them: log1p [N, G] and [M, G] with their groups."""

    real: sp.csr_matrix
    real_groups: np.ndarray
    generated: sp.csr_matrix
    generated_groups: np.ndarray
    groups: list[str]


def compared(made: GeneratedSet, prepared: Prepared, column: str | None) -> Compared:
    """Return both sets of cells, with those real cells alone whose group was generated too."""
    cells = cells_of(made)
    generated = sp.csr_matrix(cells.layers[keys.LOG1P])
    if column is None:
        real_groups, own = np.full(prepared.n_cells, "all cells"), np.full(cells.n_obs, "all cells")
    else:
        real_groups, own = prepared.labels(column), as_labels(cells.obs[column])
    groups = sorted(set(own) - {""})
    rows = np.flatnonzero(np.isin(real_groups, groups))
    return Compared(prepared.log1p(rows), real_groups[rows], generated, own, groups)


def choose_genes(prepared: Prepared, markers: list[str]) -> list[str]:
    """Draw the choice of genes: the markers to begin with, any other by typing, or a pasted list."""
    key = f"genes-{prepared.name}"
    if key not in st.session_state:
        st.session_state[key] = markers
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.multiselect("Genes", prepared.genes.tolist(), key=key, persist_state="session",
                                placeholder="type a gene", help="The best markers of each group to begin with.")
        with st.popover("Paste a list", icon=":material/content_paste:"):
            with st.form("paste_genes", border=False, clear_on_submit=True):
                st.text_area("Genes", placeholder="CD3E, MS4A1\nLYZ", height=120, key="pasted_genes")
                st.form_submit_button("Show these", on_click=_paste, args=(key, prepared.genes), type="primary")
            st.button("Back to the markers", on_click=_set, args=(key, markers))
    for word in st.session_state.get("unknown_genes", [])[:6]:
        st.warning(f"'{word}' is not among the genes of this dataset. {nearest(word, prepared.genes)}".strip(),
                   icon=":material/help:")
    return list(chosen)


def _set(key: str, genes: list[str]) -> None:
    st.session_state[key] = genes
    st.session_state["unknown_genes"] = []


def _paste(key: str, genes: np.ndarray) -> None:
    found, unknown = find_genes(names_in(st.session_state["pasted_genes"]), genes)
    if found:
        st.session_state[key] = found
    st.session_state["unknown_genes"] = unknown


def show_genes(made: GeneratedSet, prepared: Prepared) -> None:
    """Draw the marker figures of a generated set beside the real cells."""
    columns = [c.column for c in prepared.vocab.categorical]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        kind = st.segmented_control("Figure", FIGURES, default=FIGURES[0], required=True, key="gene_figure",
                                    persist_state="session")
        column = st.selectbox("Groups", columns, key=f"gene_groups-{prepared.name}", persist_state="session",
                              width=220) if columns else None
    data = compared(made, prepared, column)
    if not len(data.real_groups):
        st.info("There are no real cells of this kind to compare with.")
        return
    table = prepared.markers()
    markers = top_markers(table[table["group"].isin(data.groups)] if len(table) else table,
                          per_group=3 if len(data.groups) > 3 else 8, at_most=24) if len(table) else []
    genes = choose_genes(prepared, markers or prepared.genes[:12].tolist())
    if not genes and kind != "Mean against mean":
        st.info("Choose at least one gene.")
        return
    index = np.array([int(np.flatnonzero(prepared.genes == g)[0]) for g in genes], int)
    frame = draw(kind, data, prepared, genes, index)
    with st.expander("The figures as a table", icon=":material/table:"):
        st.dataframe(frame, hide_index=True, height=320, alt=f"Values behind the {kind.lower()}")
        st.download_button("Table (.csv)", frame.to_csv(index=False), file_name=f"{kind.lower().replace(' ', '-')}-"
                           f"synthetic-{made.id}.csv", mime="text/csv", on_click="ignore", key="genes_csv")


def draw(kind: str, data: Compared, prepared: Prepared, genes: list[str], index: np.ndarray) -> pd.DataFrame:
    """Draw one kind of figure and return the table behind it."""
    config = {"displaylogo": False, "toImageButtonOptions": {"format": "svg"}}
    dots = [mean_fraction(x, groups, index, prepared.genes) for x, groups in
            ((data.real, data.real_groups), (data.generated, data.generated_groups))]
    if kind == "Mean against mean":
        table = plots.mean_table(data.real, data.generated, prepared.genes)
        st.plotly_chart(plots.mean_vs_mean(table, highlight=genes), config=config, key="fig_means",
                        alt="Mean of each gene in generated cells against its mean in real cells")
        return table
    if kind == "Dot plot":
        st.plotly_chart(plots.dot_plot(*dots, genes=genes, groups=data.groups), config=config, key="fig_dots",
                        alt="Dot plot of the chosen genes, real and generated cells")
    elif kind == "Violin":
        shown, few = genes[:VIOLIN_GENES], index[:VIOLIN_GENES]
        if len(genes) > VIOLIN_GENES:
            st.caption(f"The first {VIOLIN_GENES} genes; choose fewer to see others.")
        st.plotly_chart(plots.violin_plot(data.real[:, few], data.real_groups, data.generated[:, few],
                                          data.generated_groups, genes=shown, groups=data.groups), config=config,
                        key="fig_violin", alt="Violins of the chosen genes, real and generated cells")
    else:
        st.plotly_chart(plots.heat_map(data.real[:, index], data.real_groups, data.generated[:, index],
                                       data.generated_groups, genes=genes), config=config, key="fig_heat",
                        alt="Heat map of the chosen genes, real and generated cells")
    return plots.dot_table(*dots)
