"""How cells are looked at: kept from page to page, in the URL, and as ids of selections on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import streamlit as st

from pages._explore.scene import Scene
from scdiff_core.errors import ScdiffError
from scdiff_core.selection import Selection
from scdiff_core.views import History

SELECTED = "sel"  # the parameter of the URL that holds the selection's id


def key(scene: Scene, name: str) -> str:
    """Return the session's key of a setting of a dataset: one for all pages, so that a view follows its viewer."""
    return f"look-{name}-{scene.name}"


def begin(scene: Scene, name: str, options: Sequence[str], first: str) -> str:
    """See that a setting has a value that is possible: the session's, that of the URL, or the first choice."""
    where = key(scene, name)
    for value in (st.session_state.get(where), st.query_params.get(name), first):
        if value in options:
            st.session_state[where] = value
            return str(value)
    st.session_state[where] = options[0] if options else None
    return str(options[0]) if options else ""


def show_in_url(name: str, value: str, usual: str = "") -> None:
    """Write a setting into the URL where it is not the usual one."""
    if value and value != usual:
        if st.query_params.get(name) != value:
            st.query_params[name] = value
    else:
        st.query_params.pop(name, None)


def set_value(scene: Scene, name: str, value: str) -> None:
    """Set a setting before its widget is drawn: from a callback, or by a session file."""
    st.session_state[key(scene, name)] = value


# ---- the selection ----


def history(scene: Scene) -> History[str]:
    """Return the ids of the selections so far; "" is none."""
    where = key(scene, "selection")
    if where not in st.session_state:
        asked = st.query_params.get(SELECTED, "")
        st.session_state[where] = History(present=asked if asked and _known(scene, asked) else "")
    found: History[str] = st.session_state[where]
    return found


def _known(scene: Scene, number: str) -> bool:
    try:
        scene.selections.open(number)
    except ScdiffError:
        return False
    return True


def selected(scene: Scene) -> dict[str, np.ndarray]:
    """Return what is selected: source -> bool [n]; empty where nothing is, or nothing of these cells."""
    number = history(scene).present
    show_in_url(SELECTED, number)
    if not number:
        return {}
    try:
        masks = scene.selections.open(number).masks
    except ScdiffError:
        st.session_state[key(scene, "selection")] = History(present="")
        st.query_params.pop(SELECTED, None)
        return {}
    return {s: masks[s] for s in scene.sources if s in masks and len(masks[s]) == scene.n(s) and masks[s].any()}


def select(scene: Scene, masks: Mapping[str, np.ndarray]) -> None:
    """Make these cells the selection; what was selected before can be brought back by undo."""
    kept = {s: np.asarray(m, bool) for s, m in masks.items() if np.any(m)}
    number = scene.selections.keep(Selection(kept)) if kept else ""
    move(scene, number)


def move(scene: Scene, number: str) -> None:
    """Make the selection of that id the present one."""
    now = history(scene)
    if number != now.present:
        st.session_state[key(scene, "selection")] = now.do(number)


def undo(scene: Scene) -> None:
    """Go back to the selection before."""
    st.session_state[key(scene, "selection")] = history(scene).undo()


def redo(scene: Scene) -> None:
    """Go forward again."""
    st.session_state[key(scene, "selection")] = history(scene).redo()


def total(masks: Mapping[str, np.ndarray]) -> int:
    """Return the number of selected cells."""
    return int(sum(np.count_nonzero(m) for m in masks.values()))
