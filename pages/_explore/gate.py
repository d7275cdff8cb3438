"""Gates: select cells by thresholds on genes or measures, or whole groups by their labels."""

from __future__ import annotations

import numpy as np
import streamlit as st

from pages._explore import state
from pages._explore.scene import Scene
from pages._shared.words import plural
from scdiff_core.gates import Gate, apply

HOW = ("Replace", "Add", "Take away", "Keep only")


def combine(scene: Scene, found: dict[str, np.ndarray], how: str) -> None:
    """Make the found cells the selection, or change the selection by them."""
    now = state.selected(scene)
    out = {}
    for source in scene.sources:
        before = now.get(source, np.zeros(scene.n(source), bool))
        new = found.get(source, np.zeros(scene.n(source), bool))
        out[source] = {"Replace": new, "Add": before | new, "Take away": before & ~new,
                       "Keep only": before & new}[how]
    state.select(scene, out)


def _gates(scene: Scene, names: list[str]) -> list[Gate]:
    gates = []
    for name in names:
        low, high = st.session_state[state.key(scene, f"gate-{name}")]
        top = _range(scene, name)
        gates.append(Gate(gene=name, low=low if low > top[0] else None, high=high if high < top[1] else None))
    return gates


def _range(scene: Scene, name: str) -> tuple[float, float]:
    values = np.concatenate([scene.numbers(name, s) for s in scene.sources])
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = float(np.floor(values.min() * 100) / 100), float(np.ceil(values.max() * 100) / 100)
    return low, high if high > low else low + 1.0


def passing(scene: Scene, gates: list[Gate]) -> dict[str, np.ndarray]:
    """Return the cells that pass all gates: source -> bool [n]."""
    return {s: apply(gates, {g.gene: scene.numbers(g.gene, s) for g in gates}) for s in scene.sources}


def _apply_gates(scene: Scene, names: list[str]) -> None:
    how = str(st.session_state.get(state.key(scene, "gate_how")) or HOW[0])
    combine(scene, passing(scene, _gates(scene, names)), how)


def _take_group(scene: Scene) -> None:
    column = st.session_state.get(state.key(scene, "group_column"))
    values = st.session_state.get(state.key(scene, f"group_values-{column}")) or []
    if not column or not values:
        return
    names = scene.categories(column)
    wanted = [i for i, n in enumerate(names) if n in values]
    how = str(st.session_state.get(state.key(scene, "group_how")) or HOW[0])
    combine(scene, {s: np.isin(scene.codes(column, s, names), wanted) for s in scene.sources}, how)


def popover(scene: Scene) -> None:
    """Draw where cells are selected by thresholds or by labels; what is in it only once it is opened."""
    box = st.popover("Gate", icon=":material/tune:", help="Select cells by thresholds on genes, or whole groups.",
                     key=state.key(scene, "gate"), on_change="rerun")
    if not box.open:
        return
    with box:
        by_genes, by_labels = st.tabs(["By genes", "By groups"])
        with by_genes:
            names = st.multiselect(
                "Genes or measures", [*scene.prepared.genes.tolist(), *scene.numeric_columns()],
                key=state.key(scene, "gate_genes"), persist_state="session", max_selections=5,
                placeholder="type a gene", help="A cell is taken when it passes all thresholds. Genes are in log1p.")
            for name in names:
                low, high = _range(scene, name)
                # a gate on a gene begins at "expressed": above zero
                first = (min(0.01, high), high) if scene.is_gene(name) and low == 0 else (low, high)
                st.slider(name, low, high, first, 0.01, key=state.key(scene, f"gate-{name}"), persist_state="session")
            if names:
                found = passing(scene, _gates(scene, names))
                st.caption(" and ".join(f"{plural(int(m.sum()), scene.word(s) + ' cell')} of {len(m):,}"
                                        for s, m in found.items()) + " would pass.")
            st.segmented_control("Selection", HOW, default=HOW[0], key=state.key(scene, "gate_how"), required=True,
                                 persist_state="session", label_visibility="collapsed")
            st.button("Select these cells", type="primary", key=state.key(scene, "gate_go"), disabled=not names,
                      on_click=_apply_gates, args=(scene, names))
        with by_labels:
            columns = scene.grouping_columns()
            if not columns:
                st.caption("This dataset has no column of groups.")
                return
            column = st.selectbox("Column", columns, key=state.key(scene, "group_column"), persist_state="session")
            st.multiselect("Groups", scene.categories(str(column)), key=state.key(scene, f"group_values-{column}"),
                           placeholder="choose groups")
            st.segmented_control("Selection", HOW, default=HOW[0], key=state.key(scene, "group_how"), required=True,
                                 persist_state="session", label_visibility="collapsed")
            st.button("Select these groups", type="primary", key=state.key(scene, "group_go"), on_click=_take_group,
                      args=(scene,))
