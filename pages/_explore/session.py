"""A session as a file that another person can open, and what was kept of the last one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial

import numpy as np
import streamlit as st

from pages._explore import look as looks
from pages._explore import state
from pages._explore.look import Look
from pages._explore.scene import Scene
from pages._shared import marker_lists
from pages._shared.trouble import error_box, escape
from scdiff_core.errors import ScdiffError
from scdiff_core.selection import Selection
from scdiff_core.views import SessionFile, View, read_session, write_session
from scdiff_core.workspace import atomic_write

LAST = "last-view.json"  # beside the dataset: the view that was looked at last
PLACES = dict(zip(looks.MAPS, ("UMAP", "PCA", "columns"), strict=True))
SHOWS = {looks.BOTH: ("both", False), looks.GREY: ("both", True), looks.REAL_ONLY: ("real", False),
         looks.MADE_ONLY: ("generated", False)}


def view_of(scene: Scene) -> View:
    """Return the present view."""
    get = st.session_state.get
    place = str(get(state.key(scene, "map")) or looks.MAPS[0])
    show, grey = SHOWS.get(str(get(state.key(scene, "show")) or looks.BOTH), ("both", False))
    split = str(get(state.key(scene, "split")) or "")
    lists = marker_lists.history(state.key(scene, "marker")).present
    return View(
        colour=str(get(state.key(scene, "colour")) or ""), place=PLACES[place],  # type: ignore[arg-type]
        x=str(get(state.key(scene, "map-x")) or ""), y=str(get(state.key(scene, "map-y")) or ""),
        split="" if split == looks.NO_SPLIT else split, show=show, grey=grey,  # type: ignore[arg-type]
        genes=lists.genes, groups=lists.groups, palette=scene.palette_name(), selection=state.history(scene).present)


def apply(scene: Scene, session: SessionFile) -> list[str]:
    """Look at the cells as a session did, from a callback; returns what could not be taken over.

    Raises
    ------
    ScdiffError
        A selection cannot be kept.
    """
    view, lost = session.view, []
    known = set(looks.colour_options(scene))
    for name, value in (("colour", view.colour), ("map-x", view.x), ("map-y", view.y)):
        if value and value in known:
            state.set_value(scene, name, value)
        elif value:
            lost.append(value)
    state.set_value(scene, "map", next(k for k, v in PLACES.items() if v == view.place))
    state.set_value(scene, "split", view.split or looks.NO_SPLIT)
    state.set_value(scene, "show", next(k for k, v in SHOWS.items() if v == (view.show, view.grey and view.show
                                                                             == "both")))
    genes = set(scene.prepared.genes.tolist())
    lost += [g for g in view.genes if g not in genes]
    kept = [g for g in view.genes if g in genes]
    if kept:
        marker_lists.change(state.key(scene, "marker"), genes=kept, groups=view.groups)
    scene.job.write_notes(palette=view.palette)
    if session.fingerprint == scene.prepared.fingerprint:
        store, names = scene.selections, scene.selections.named()
        for name, selection in session.named().items():
            number = store.keep(selection)
            if names.get(name) != number:
                store.save(number, name if name not in names else f"{name[:60]} (from the session)")
        now = session.current()
        state.move(scene, store.keep(now) if now is not None else "")
    elif session.selections or session.selected:
        lost.append("the selections, which were made on other cells")
    return lost


def _file(scene: Scene, view: View, masks: Mapping[str, np.ndarray]) -> bytes:
    named = {}
    for name, number in scene.selections.named().items():
        try:
            named[name] = scene.selections.open(number)
        except ScdiffError:
            continue
    return write_session(scene.job.id, scene.prepared.fingerprint, view, named,
                         current=Selection(masks) if masks else None)


def _open(scene: Scene) -> None:
    given = st.session_state.get(state.key(scene, "session"))
    if given is None:
        return
    _take(scene, given.getvalue())


def _take(scene: Scene, data: bytes) -> None:
    try:
        session = read_session(data)
        lost = apply(scene, session)
    except ScdiffError as error:
        st.session_state[state.key(scene, "session_trouble")] = error.to_dict()
        return
    st.session_state.pop(state.key(scene, "session_trouble"), None)
    words = "The session is open."
    if session.fingerprint != scene.prepared.fingerprint:
        words += f" It was made on the dataset '{session.dataset}', which is not this one."
    if lost:
        words += " Not found here: " + ", ".join(lost[:5]) + (" and more." if len(lost) > 5 else ".")
    st.session_state[state.key(scene, "session_said")] = words


def show(scene: Scene) -> None:
    """Draw where a session is saved and opened."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "Save session", data=partial(_file, scene, view_of(scene), state.selected(scene)),
            file_name=f"{scene.name}-session.json", mime="application/json",
            on_click="ignore", icon=":material/save:", key=state.key(scene, "session_save"),
            help="The view, the selections and the gene list as a file that another person can open.")
        last = scene.job.path / LAST
        if last.exists():
            when = time.strftime("%d %b, %H:%M", time.localtime(last.stat().st_mtime))
            st.button("Last view", icon=":material/history:", key=state.key(scene, "session_last"),
                      on_click=lambda: _take(scene, last.read_bytes()),
                      help=f"As these cells were looked at last in this workspace ({when}).")
    st.file_uploader("Open a session (.json)", key=state.key(scene, "session"), type=["json"], on_change=_open,
                     args=(scene,))
    if trouble := st.session_state.get(state.key(scene, "session_trouble")):
        error_box(trouble)
    if said := st.session_state.get(state.key(scene, "session_said")):
        st.caption(f":material/check: {escape(said)}")


def autosave(scene: Scene, look: Look) -> None:
    """Keep the view beside the dataset when it has changed."""
    view = view_of(scene)
    where = state.key(scene, "autosaved")
    if st.session_state.get(where) == view:
        return
    if where in st.session_state:  # the first view of a session is not one that anybody chose
        masks = state.selected(scene)
        data = write_session(scene.job.id, scene.prepared.fingerprint, view,
                             current=Selection(masks) if masks else None)
        try:
            atomic_write(scene.job.path / LAST, lambda p: p.write_bytes(data))
        except ScdiffError:
            return  # a full disk or a folder that nobody may write to: looking goes on
    st.session_state[where] = view
