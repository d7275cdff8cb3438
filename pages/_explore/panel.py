"""The explorer as pages show it: a map with its choices and selections, comparisons, marker figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import streamlit as st

from pages._explore import compare, gene_sets, look, maps, markers, select_bar, session, state
from pages._explore.scene import Scene
from pages._shared.trouble import guard

TABS = ("Map of cells", "Compare", "Marker figures")


def show_map(scene: Scene, key: str, *, height: int = 460, first: str = "") -> None:
    """Draw the map with all that belongs to it."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key=f"choices-{key}"):
        with st.container(width=270):
            colour = look.choose_colour(scene, first=first)
        with st.container(width="content"):
            place, x, y = look.choose_place(scene)
        if scene.over:
            with st.container(width=210):
                show = look.choose_show(scene)
        else:
            show = look.choose_show(scene)
        more = st.popover("More", icon=":material/tune:", help="Split the map, a second one beside it, palette, gene "
                          "sets, session file.", key=state.key(scene, "more"), on_change="rerun")
        if more.open:
            with more:
                split = _more(scene)
        else:  # what nobody sees is not drawn: it would take its time at every change of page
            split = look.choose_split(scene, draw=False)
    second = bool(st.session_state.get(state.key(scene, "second")))
    view = look.Look(colour, place, x, y, show, split)
    if second and split == look.NO_SPLIT:
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key=f"second-{key}"):
            with st.container(width=270):
                other = look.choose_colour(scene, "colour2", "Second map: colour by", str(scene.prepared.genes[0]))
            with st.container(width="content"):
                place2, x2, y2 = look.choose_place(scene, "map2")
        left, right = st.columns(2, gap="small")
        with left:
            maps.draw(scene, view, key=f"{key}-{place}", height=height)
        with right:
            maps.draw(scene, look.Look(other, place2, x2, y2, show), key=f"{key}-second-{place2}", height=height)
    else:
        maps.draw(scene, view, key=f"{key}-{place}", height=height)
    select_bar.show(scene)
    maps.files(scene, view, f"{key}-files")
    session.autosave(scene, view)


def _more(scene: Scene) -> str:
    """Draw the choices that are not made every day; returns by what the map is split."""
    views, sets, sessions = st.tabs(["View", "Gene sets", "Session"])
    with views:
        split = look.choose_split(scene)
        st.toggle("A second map beside it", key=state.key(scene, "second"), persist_state="session",
                  help="Another colour or map of the same cells; what you select in one is selected in both.")
        look.choose_palette(scene)
    with sets:
        gene_sets.bring(scene)
    with sessions:
        session.show(scene)
    return split


def show_tabs(scene: Scene, key: str, more: Mapping[str, Callable[[], None]], *, height: int = 460) -> None:
    """Draw the tabs of the explorer and those that the page adds behind them; only the open one does any work."""
    own: dict[str, Callable[[], None]] = {
        TABS[0]: lambda: show_map(scene, key, height=height), TABS[1]: lambda: compare.show(scene),
        TABS[2]: lambda: markers.show(scene)}
    every = {**own, **more}
    for tab, draw in zip(st.tabs(list(every), key=f"{key}-tabs", on_change="rerun"), every.values(), strict=True):
        if tab.open:
            with tab, guard():
                draw()
