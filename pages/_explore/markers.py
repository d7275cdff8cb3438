"""Marker figures of the cells that are explored: of whole groups, or of the selected cells against the rest."""

from __future__ import annotations

import numpy as np
import streamlit as st

from pages._explore import state
from pages._explore.scene import REAL, SAVED, Scene
from pages._shared.marker_panel import CellSet, show_markers
from scdiff_core.analysis.markers import suggest_genes
from scdiff_core.figures.palette import colours

SELECTION = "the selection"
IN, OUT = "selected", "not selected"


def groups_by(scene: Scene, name: str) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the group of each cell by a column, the selection or a saved one: source -> names, and their order."""
    if name in (SELECTION,) or name.startswith(SAVED):
        masks = state.selected(scene) if name == SELECTION else scene.selections.open(
            scene.selections.named()[name.removeprefix(SAVED)]).masks
        inside = IN if name == SELECTION else name.removeprefix(SAVED)
        found = {s: np.where(masks.get(s, np.zeros(scene.n(s), bool)), inside, OUT) for s in scene.sources}
        return found, [inside, OUT]
    return {s: scene.labels(name, s) for s in scene.sources}, list(scene.categories(name))


def show(scene: Scene) -> None:
    """Draw the choice of groups and cells, and the figures."""
    options = [*scene.grouping_columns(), *([SELECTION] if state.selected(scene) else []),
               *(SAVED + n for n in scene.selections.named())]
    if not options:
        st.info("This dataset has no groups: select cells on the map, and compare them with the rest.")
        return
    state.begin(scene, "groups", options, options[0])
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        st.selectbox("Groups", options, key=state.key(scene, "groups"), persist_state="session", width=280)
        only = False
        if state.selected(scene) and st.session_state[state.key(scene, "groups")] != SELECTION:
            only = st.toggle("Selected cells only", key=state.key(scene, "marker_only"), persist_state="session")
    name = str(st.session_state[state.key(scene, "groups")])
    labels, order = groups_by(scene, name)
    if only:
        now = state.selected(scene)
        labels = {s: np.where(now.get(s, np.zeros(scene.n(s), bool)), labels[s], "") for s in scene.sources}
    made = set(labels[scene.over].tolist()) - {""} if scene.over else set()
    if scene.over and made:  # beside generated cells stand the real ones of the same groups
        labels[REAL] = np.where(np.isin(labels[REAL], sorted(made)), labels[REAL], "")
    present = set(np.concatenate([np.unique(v) for v in labels.values()]).tolist()) - {""}
    every, order = order, [g for g in order if g in present]
    if not order:
        st.info("None of the selected cells has a group of this column.")
        return
    sets = [CellSet(scene.word(s), scene.log1p(s), labels[s], synthetic=s != REAL) for s in scene.sources
            if (labels[s] != "").any()]
    genes = scene.prepared.genes
    show_markers(sets, genes, suggested=suggest_genes(scene.prepared.markers(), order, genes), group_order=order,
                 key=state.key(scene, "marker"), stem=f"{scene.name}-markers" + ("-synthetic" if scene.over else ""),
                 palette=dict(zip(every, colours(len(every), scene.palette_name()), strict=True)))
