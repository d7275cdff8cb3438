"""Marker genes of generated cells beside real ones: dots, violins, heat map, and mean against mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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
from scdiff_core.figures import export, plots

FIGURES = ["Dot plot", "Violin", "Heat map", "Mean against mean"]
FORMATS = {"svg": "image/svg+xml", "pdf": "application/pdf", "png": "image/png"}
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


def positions(prepared: Prepared, genes: list[str]) -> np.ndarray:
    """Return where genes stand in the dataset."""
    place = {g: i for i, g in enumerate(prepared.genes.tolist())}
    return np.array([place[g] for g in genes], int)


def first_genes(prepared: Prepared, groups: list[str]) -> list[str]:
    """Return the best markers of the groups, or the first genes where the dataset has no markers of them."""
    table = prepared.markers()
    table = table[table["group"].isin(groups)] if len(table) else table
    if not len(table):
        return prepared.genes[:12].tolist()
    return top_markers(table, per_group=3 if len(groups) > 3 else 8, at_most=24)


def choose_genes(prepared: Prepared, markers: list[str]) -> list[str]:
    """Draw the choice of genes: the markers to begin with, any other by typing, or a pasted list."""
    key = f"genes-{prepared.name}"
    if key not in st.session_state:
        st.session_state[key] = markers
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.multiselect(
            "Genes",
            prepared.genes.tolist(),
            key=key,
            persist_state="session",
            placeholder="type a gene",
            wrap=True,
            help="The best markers of each group to begin with.",
        )
        with st.popover("Paste a list", icon=":material/content_paste:"):
            with st.form("paste_genes", border=False, clear_on_submit=True):
                st.text_area("Genes", placeholder="CD3E, MS4A1\nLYZ", height=120, key="pasted_genes")
                st.form_submit_button("Show these", on_click=_paste, args=(key, prepared.genes), type="primary")
            st.button("Back to the markers", on_click=_set, args=(key, markers))
    for word in st.session_state.get("unknown_genes", [])[:6]:
        st.warning(
            f"'{word}' is not among the genes of this dataset. {nearest(word, prepared.genes)}".strip(),
            icon=":material/help:",
        )
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
        kind = st.segmented_control(
            "Figure", FIGURES, default=FIGURES[0], required=True, key="gene_figure", persist_state="session"
        )
        column = (
            st.selectbox("Groups", columns, key=f"gene_groups-{prepared.name}", persist_state="session", width=220)
            if columns
            else None
        )
    data = compared(made, prepared, column)
    if not len(data.real_groups):
        st.info("There are no real cells of this kind to compare with.")
        return
    genes = choose_genes(prepared, first_genes(prepared, data.groups))
    if not genes and kind != "Mean against mean":
        st.info("Choose at least one gene.")
        return
    index = positions(prepared, genes)
    frame = draw(kind, data, prepared, genes, index)
    stem = f"{kind.lower().replace(' ', '-')}-synthetic-{made.id}"
    figure_buttons(exporters(data, prepared, genes, index)[kind], stem, "genes")
    with st.expander("The figure as a table", icon=":material/table:"):
        st.dataframe(frame, hide_index=True, height=320, alt=f"Values behind the {kind.lower()}")
        st.download_button(
            "Table (.csv)",
            lambda: frame.to_csv(index=False),
            file_name=f"{stem}.csv",
            mime="text/csv",
            on_click="ignore",
            key="genes_csv",
            icon=":material/table:",
        )


def exporters(
    data: Compared, prepared: Prepared, genes: list[str], index: np.ndarray
) -> dict[str, Callable[[str], bytes]]:
    """Return each figure as a function of the file's format (svg, pdf, png)."""
    few, shown = index[:VIOLIN_GENES], genes[:VIOLIN_GENES]
    return {
        "Dot plot": lambda fmt: export.export_dot_plot(
            *dot_tables(data, prepared, index), genes=genes, groups=data.groups, fmt=fmt
        ),
        "Violin": lambda fmt: export.export_violin(
            data.real[:, few],
            data.real_groups,
            data.generated[:, few],
            data.generated_groups,
            genes=shown,
            groups=data.groups,
            fmt=fmt,
        ),
        "Heat map": lambda fmt: export.export_heat_map(
            data.real[:, index], data.real_groups, data.generated[:, index], data.generated_groups, genes=genes, fmt=fmt
        ),
        "Mean against mean": lambda fmt: export.export_mean_vs_mean(
            plots.mean_table(data.real, data.generated, prepared.genes), highlight=genes, fmt=fmt
        ),
    }


def figure_buttons(draw_file: Callable[[str], bytes], stem: str, key: str) -> None:
    """Draw one button a format; the file is made when it is pressed."""
    with st.container(horizontal=True, key=f"figure_files_{key}"):
        for fmt, mime in FORMATS.items():
            st.download_button(
                fmt.upper(),
                data=partial(draw_file, fmt),
                file_name=f"{stem}.{fmt}",
                mime=mime,
                on_click="ignore",
                key=f"{key}-{fmt}",
                icon=":material/image:",
                type="tertiary",
            )


def dot_tables(data: Compared, prepared: Prepared, index: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return mean and share of expressing cells a group, of the real and of the generated cells."""
    return (
        mean_fraction(data.real, data.real_groups, index, prepared.genes),
        mean_fraction(data.generated, data.generated_groups, index, prepared.genes),
    )


def draw(kind: str, data: Compared, prepared: Prepared, genes: list[str], index: np.ndarray) -> pd.DataFrame:
    """Draw one kind of figure and return the table behind it."""
    config = {"displaylogo": False, "toImageButtonOptions": {"format": "svg"}}
    if kind == "Mean against mean":
        table = plots.mean_table(data.real, data.generated, prepared.genes)
        st.plotly_chart(
            plots.mean_vs_mean(table, highlight=genes),
            config=config,
            key="fig_means",
            alt="Mean of each gene in generated cells against its mean in real cells",
        )
        return table
    dots = dot_tables(data, prepared, index)
    if kind == "Dot plot":
        st.plotly_chart(
            plots.dot_plot(*dots, genes=genes, groups=data.groups),
            config=config,
            key="fig_dots",
            alt="Dot plot of the chosen genes, real and generated cells",
        )
    elif kind == "Violin":
        shown, few = genes[:VIOLIN_GENES], index[:VIOLIN_GENES]
        if len(genes) > VIOLIN_GENES:
            st.caption(f"The first {VIOLIN_GENES} genes; choose fewer to see others.")
        st.plotly_chart(
            plots.violin_plot(
                data.real[:, few],
                data.real_groups,
                data.generated[:, few],
                data.generated_groups,
                genes=shown,
                groups=data.groups,
            ),
            config=config,
            key="fig_violin",
            alt="Violins of the chosen genes, real and generated cells",
        )
    else:
        st.plotly_chart(
            plots.heat_map(
                data.real[:, index], data.real_groups, data.generated[:, index], data.generated_groups, genes=genes
            ),
            config=config,
            key="fig_heat",
            alt="Heat map of the chosen genes, real and generated cells",
        )
    return plots.dot_table(*dots)
