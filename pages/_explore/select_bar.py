"""What stands under the map: how many cells are selected, what they are, and what can be done with them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import streamlit as st

from pages._explore import gate, state
from pages._explore.scene import REAL, Scene
from pages._shared.trouble import error_box, escape
from pages._shared.words import plural
from scdiff_core import keys
from scdiff_core.errors import ScdiffError

TOP = 3  # groups that the line names


def what(scene: Scene, masks: Mapping[str, np.ndarray]) -> str:
    """Return in words which cells these are: how many of each source, and their largest groups."""
    parts = [f"{plural(int(m.sum()), scene.word(s) + ' cell')}" for s, m in masks.items()]
    words = " and ".join(parts)
    column = scene.prepared.roles.columns().get(keys.CELL_TYPE)
    if column is None:
        return words
    labels = pd.Series(np.concatenate([scene.labels(column, s)[m] for s, m in masks.items()]))
    shares = labels[labels != ""].value_counts(normalize=True)
    named = ", ".join(f"{escape(str(n))} {v:.0%}" for n, v in shares.head(TOP).items())
    more = len(shares) - TOP
    return words + (f" · {named}" if named else "") + (f", {plural(more, 'more type')}" if more > 0 else "")


def _invert(scene: Scene) -> None:
    now = state.selected(scene)
    state.select(scene, {s: ~now.get(s, np.zeros(scene.n(s), bool)) for s in scene.sources})


def _save(scene: Scene) -> None:
    name = " ".join(str(st.session_state.get(state.key(scene, "save_as")) or "").split())
    try:
        scene.selections.save(state.history(scene).present, name)
    except ScdiffError as error:
        st.session_state[state.key(scene, "trouble")] = error.to_dict()
    else:
        st.session_state.pop(state.key(scene, "trouble"), None)
        st.session_state[state.key(scene, "save_as")] = ""
        st.toast(f"Saved as '{name}': under *Saved*, *Colour by* and *Compare* on every page.",
                 icon=":material/bookmark:")


def _delete(scene: Scene, name: str) -> None:
    scene.selections.delete(name)


def _rename(scene: Scene, old: str) -> None:
    new = " ".join(str(st.session_state.get(state.key(scene, f"rename-{old}")) or "").split())
    try:
        if new and new != old:
            scene.selections.rename(old, new)
    except ScdiffError as error:
        st.session_state[state.key(scene, "trouble")] = error.to_dict()


def show(scene: Scene) -> None:
    """Draw the bar."""
    now, past = state.selected(scene), state.history(scene)
    saved = scene.selections.named()
    if now:
        name = next((n for n, number in saved.items() if number == past.present), "")
        title = f" · saved as **{escape(name)}**" if name else ""
        st.markdown(f"**{state.total(now):,} selected**{title} :gray[· {what(scene, now)}]")
    else:
        st.markdown(":gray[Nothing selected. Draw round cells with the lasso or a box, gate them by genes, or take "
                    "a whole group.]")
    # only what can be done now: what appears stands to the right of what was there before
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=state.key(scene, "bar")):
        gate.popover(scene)
        if saved:
            _saved_popover(scene, saved)
        if past.past or past.future:
            st.button("", icon=":material/undo:", key=state.key(scene, "undo"), disabled=not past.past,
                      on_click=state.undo, args=(scene,), help="Undo: back to the selection before", type="tertiary")
            st.button("", icon=":material/redo:", key=state.key(scene, "redo"), disabled=not past.future,
                      on_click=state.redo, args=(scene,), help="Redo", type="tertiary")
        if now:
            st.button("Invert", key=state.key(scene, "invert"), on_click=_invert, args=(scene,), type="tertiary")
            st.button("Clear", key=state.key(scene, "clear"), on_click=state.select, args=(scene, {}),
                      type="tertiary")
            _save_popover(scene)


def _save_popover(scene: Scene) -> None:
    with st.popover("Save", icon=":material/bookmark_add:", key=state.key(scene, "save")):
        with st.form(state.key(scene, "save_form"), border=False):
            st.text_input("Name of these cells", key=state.key(scene, "save_as"), placeholder="activated T cells",
                          max_chars=80)
            st.form_submit_button("Save these cells", type="primary", on_click=_save, args=(scene,))
        if trouble := st.session_state.get(state.key(scene, "trouble")):
            error_box(trouble)
        st.caption("Kept with the dataset: after a refresh, and for everybody who uses this workspace.")


def _saved_popover(scene: Scene, saved: Mapping[str, str]) -> None:
    with st.popover(f"Saved ({len(saved)})", icon=":material/bookmarks:", key=state.key(scene, "saved")):
        for name, number in saved.items():
            with st.container(horizontal=True, vertical_alignment="bottom"):
                st.button(name, key=state.key(scene, f"load-{name}"), on_click=state.move, args=(scene, number),
                          help="Select these cells", width="stretch", icon=":material/bookmark:")
                with st.popover("", icon=":material/edit:", help="Rename"):
                    st.text_input("New name", value=name, key=state.key(scene, f"rename-{name}"), max_chars=80,
                                  on_change=_rename, args=(scene, name))
                st.button("", icon=":material/delete:", key=state.key(scene, f"drop-{name}"), on_click=_delete,
                          args=(scene, name), type="tertiary", help=f"Delete '{name}'")
        st.download_button(
            "Lists of cells (.csv)", data=lambda: cells_csv(scene), file_name=f"{scene.name}-saved-cells.csv",
            mime="text/csv", on_click="ignore", icon=":material/table:", key=state.key(scene, "saved_csv"))


def cells_csv(scene: Scene) -> str:
    """Return the saved selections as a table: name, cell, real or synthetic."""
    rows = []
    for name, number in scene.selections.named().items():
        for source, mask in scene.selections.open(number).masks.items():
            if source == REAL and len(mask) == scene.n(REAL):
                ids = np.asarray(scene.prepared.obs.index)[mask]
            elif source == scene.over and len(mask) == scene.n(source):
                ids = np.asarray(scene.cells().obs.index)[mask]
            else:
                ids = np.array([f"{source}#{i + 1}" for i in np.flatnonzero(mask)])
            rows.append(pd.DataFrame({"selection": name, "cell": ids,
                                      "cells": "real" if source == REAL else "synthetic"}))
    return pd.concat(rows, ignore_index=True).to_csv(index=False) if rows else "selection,cell,cells\n"
