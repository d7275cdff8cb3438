"""Marker figures of one or two sets of cells: which figure, which genes and groups, in which order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import streamlit as st

from pages._shared import marker_lists
from pages._shared.figure_bar import figure_bar
from pages._shared.marker_data import DOTS, HEAT, KINDS, MATRIX, MEANS, MOST, VIOLIN, CellSet, Markers
from pages._shared.marker_lists import Lists, change, take_genes
from pages._shared.trouble import escape, guard
from scdiff_core.analysis.markers import find_genes
from scdiff_core.errors import nearest
from scdiff_core.figures.base import natural
from scdiff_core.figures.order import order_by_clustering
from scdiff_core.figures.palette import DEFAULT, colour_map

__all__ = ["CellSet", "show_markers", "take_genes"]

TALLEST = 760  # px of a figure; a taller one scrolls in its frame, and what stands beneath stays near
UNIT = "Values are log1p of counts scaled to 10,000 a cell."
MEANING = {
    DOTS: "Dot size: share of the group's cells in which the gene was seen. Colour: mean over all its cells{scaled}.",
    MATRIX: "Colour: mean over all cells of the group{scaled}.",
    VIOLIN: "Outline: all cells of the group, smoothed, each equally wide. Bar: mean.",
    HEAT: "One column a cell: at most 30 of each group, drawn by chance; each group is equally wide.",
    MEANS: "Each point is a gene of the dataset, means are over all cells of the groups; diamonds: the chosen genes.",
}
SCALED = ", from the gene's lowest group (0) to its highest (1)"
CONFIG: dict[str, Any] = {"displaylogo": False, "displayModeBar": "hover", "toImageButtonOptions": {"format": "svg"}}


def show_markers(
    sets: Sequence[CellSet],
    genes: np.ndarray,
    *,
    suggested: Sequence[str],
    group_order: Sequence[str],
    key: str,
    stem: str,
    palette: str | Mapping[str, str] | None = None,
) -> None:
    """Draw the marker figures with all their choices.

    Parameters
    ----------
    sets
        One or two sets of cells with the same genes.
    genes
        Names [G].
    suggested
        The genes to begin with.
    group_order
        The groups as the data has them; a cell whose group is not among them is left out.
    key
        What the session keeps the lists by.
    stem
        Name of the files.
    palette
        The groups' colours: a map (give the dataset's, so that a type has one colour everywhere), or a palette's name.
    """
    colour = dict(palette) if isinstance(palette, Mapping) else colour_map(group_order, palette or DEFAULT)
    groups = [str(g) for g in group_order]
    _panel(tuple(sets), np.asarray(genes).astype(str), list(suggested), groups, key, stem, colour)


@st.fragment
def _panel(sets: tuple[CellSet, ...], genes: np.ndarray, suggested: list[str], group_order: list[str], key: str,
           stem: str, colour: dict[str, str]) -> None:
    with guard():
        lists = marker_lists.current(key, genes.tolist(), suggested, group_order)
        kind, scaled = _choose_figure(sets, key)
        markers = Markers(sets, genes, lists.genes, lists.groups, scaled, colour)
        _choose_lists(markers, lists, suggested, group_order, key)
        if not lists.genes and kind != MEANS:
            st.info("Choose at least one gene.")
            return
        few = markers.few(kind)
        name = f"{stem}-{kind.lower().replace(' ', '-')}"
        figure_bar(partial(few.file, kind), name, f"{key}-file-{KINDS.index(kind)}", partial(few.table, kind))
        shown = " and ".join(k.words for k in markers.kinds)
        figure = few.figure(kind)
        tall = int(figure.layout.height or 0) > TALLEST
        with st.container(height=TALLEST if tall else "content", border=tall, key=f"{key}-frame"):  # scrolls within
            st.plotly_chart(figure, config=CONFIG, key=f"{key}-figure-{KINDS.index(kind)}",
                            alt=f"{kind} of {len(few.genes)} genes in {len(few.groups)} groups, {shown} cells")
        # beneath the figure, which stays where it is
        more = f"The first {MOST[kind]} of {len(lists.genes)} genes. " if len(lists.genes) > MOST[kind] else ""
        st.caption(more + MEANING[kind].format(scaled=SCALED if scaled else "") + " " + UNIT)
        with st.expander("The figure as a table", icon=":material/table:", on_change="rerun",
                         key=f"{key}-table") as table:
            if table.open:
                st.dataframe(few.table(kind), hide_index=True, height=320, alt=f"Values behind the {kind.lower()}")


def _choose_figure(sets: tuple[CellSet, ...], key: str) -> tuple[str, bool]:
    """Draw the choice of the figure, and whether its colours are scaled by gene."""
    options = [k for k in KINDS if k != MEANS or len(sets) == 2]
    if st.session_state.get(f"{key}-kind") not in options:
        st.session_state[f"{key}-kind"] = DOTS
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        kind = str(st.segmented_control("Figure", options, required=True, key=f"{key}-kind", persist_state="session"))
        possible = kind in (DOTS, MATRIX)
        scaled = st.toggle("Scaled by gene", key=f"{key}-scaled", persist_state="session", disabled=not possible,
                           help="Each gene's colours run from its lowest to its highest group, so that weak genes "
                                "show as well as strong ones. For dots and matrix.")
        past = marker_lists.history(key)
        st.button("Undo", icon=":material/undo:", key=f"{key}-undo", disabled=not past.past, type="tertiary",
                  on_click=marker_lists.undo, args=(key,), help="Bring back the lists as they were before.")
        st.button("Redo", icon=":material/redo:", key=f"{key}-redo", disabled=not past.future, type="tertiary",
                  on_click=marker_lists.redo, args=(key,))
    return kind, bool(scaled) and possible


def _choose_lists(markers: Markers, lists: Lists, suggested: list[str], group_order: list[str], key: str) -> None:
    """Draw the lists of genes and of groups, with what orders them and what takes a change back."""
    # the lists themselves are the truth: the widgets are set from them before they are drawn
    st.session_state[f"{key}-genes"] = list(lists.genes)
    st.session_state[f"{key}-groups"] = list(lists.groups)
    # one line each, however many there are: the figure below stays where it is
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.multiselect("Genes", markers.all_genes.tolist(), key=f"{key}-genes", on_change=_typed, args=(key,),
                       placeholder="type a gene", wrap=False, select_all=False,
                       help="Type to find a gene; they are drawn in this order. The best markers of the groups to "
                            "begin with.")
        with st.popover("Paste", icon=":material/content_paste:", key=f"{key}-paste", help="Paste or copy a list"):
            with st.form(f"{key}-paste-form", border=False, clear_on_submit=True):
                st.text_area("Genes", placeholder="CD3E, MS4A1\nLYZ", height=120, key=f"{key}-pasted")
                st.form_submit_button("Show these", type="primary", on_click=_paste, key=f"{key}-show",
                                      args=(key, markers.all_genes, False))
                st.form_submit_button("Add these", on_click=_paste, key=f"{key}-add",
                                      args=(key, markers.all_genes, True))
            st.caption("The list now, to copy:")
            st.code("\n".join(lists.genes) or " ", language=None, height=120)
        st.multiselect("Groups", group_order, key=f"{key}-groups", on_change=_picked, args=(key, group_order),
                       wrap=False, placeholder="all groups", width=260, help="They are drawn in this order.")
        with st.popover("Order", icon=":material/swap_vert:", key=f"{key}-order"):
            _order(markers, lists, suggested, group_order, key)
    for word in st.session_state.get(f"{key}-unknown", [])[:6]:
        st.warning(f"'{escape(word)}' is not among the genes of this dataset. "
                   f"{escape(nearest(word, markers.all_genes))}".strip(), icon=":material/help:")


def _order(markers: Markers, lists: Lists, suggested: list[str], group_order: list[str], key: str) -> None:
    """Draw what orders genes and groups: by clustering, by name, as the data, or one by one."""
    what = str(st.segmented_control("Order the", ["genes", "groups"], default="genes", required=True, key=f"{key}-what",
                                    persist_state="session"))
    items = list(lists.genes if what == "genes" else lists.groups)
    given = markers.all_genes.tolist() if what == "genes" else group_order
    with st.container(horizontal=True, gap="small"):
        st.button("By likeness", icon=":material/account_tree:", key=f"{key}-cluster", disabled=len(items) < 3,
                  on_click=_cluster, args=(key, what, markers), help="Hierarchical clustering of the means: average "
                  "linkage on 1 − Pearson's r, neighbours most alike.")
        st.button("By name", icon=":material/sort_by_alpha:", key=f"{key}-name",
                  on_click=lambda: change(key, **{what: sorted(items, key=natural)}))
        place = {name: i for i, name in enumerate(given)}
        st.button("As in the data", icon=":material/dataset:", key=f"{key}-data",
                  on_click=lambda: change(key, **{what: sorted(items, key=place.__getitem__)}))
        if what == "genes":
            st.button("The best markers again", icon=":material/restart_alt:", key=f"{key}-markers",
                      on_click=take_genes, args=(key, suggested), help="Undo brings your list back.")
        else:
            st.button("All groups", icon=":material/restart_alt:", key=f"{key}-all",
                      on_click=lambda: change(key, groups=group_order, hidden=()))
    if not items:
        return
    one = st.selectbox(f"Move one of the {what}", items, key=f"{key}-move-{what}")
    at = items.index(one) if one in items else 0
    with st.container(horizontal=True, gap="small"):
        for words, icon, to in (("First", "first_page", "first"), ("Earlier", "chevron_left", -1),
                                ("Later", "chevron_right", 1), ("Last", "last_page", "last")):
            ends = at == 0 if to in ("first", -1) else at == len(items) - 1
            st.button(words, icon=f":material/{icon}:", key=f"{key}-move-{to}", disabled=ends, on_click=_move,
                      args=(key, what, items, one, to))
    st.caption(f"{at + 1} of {len(items)}: " + _around(items, at))


def _around(items: list[str], at: int) -> str:
    """Return the item with its neighbours, to see where it stands."""
    near = items[max(0, at - 2): at + 3]
    words = [f"**{escape(i)}**" if i == items[at] else escape(i) for i in near]
    return ("… " if at > 2 else "") + " · ".join(words) + (" …" if at + 3 < len(items) else "")


def _typed(key: str) -> None:
    st.session_state[f"{key}-unknown"] = []
    change(key, genes=st.session_state[f"{key}-genes"])


def _picked(key: str, group_order: list[str]) -> None:
    chosen = st.session_state[f"{key}-groups"]
    change(key, groups=chosen, hidden=[g for g in group_order if g not in chosen] if chosen else ())


def _paste(key: str, genes: np.ndarray, add: bool) -> None:
    words = list(dict.fromkeys(w for w in re.split(r"[\s,;\"']+", st.session_state.get(f"{key}-pasted") or "") if w))
    found, unknown = find_genes(words, genes)
    st.session_state[f"{key}-unknown"] = unknown
    if found:
        before = marker_lists.history(key).present.genes if add else ()
        take_genes(key, [*before, *found])


def _cluster(key: str, what: str, markers: Markers) -> None:
    rows = "gene" if what == "genes" else "group"
    ordered = order_by_clustering(markers.matrix(rows))
    items = markers.genes if what == "genes" else markers.groups
    change(key, **{what: [*ordered, *(i for i in items if i not in set(ordered))]})


def _move(key: str, what: str, items: list[str], one: str, to: int | str) -> None:
    change(key, **{what: marker_lists.moved(items, one, to)})
