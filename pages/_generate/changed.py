"""From my cells: change a covariate of real cells and keep the rest of them; a slider says how far."""

from __future__ import annotations

from typing import Any

import streamlit as st

from pages._explore import panel
from pages._explore.scene import Scene
from pages._generate import card, cells_from, downloads, using
from pages._shared import context, worker
from pages._shared.copies import copies
from pages._shared.trouble import escape, kept
from pages._shared.words import plural
from scdiff_core.config import GUIDANCE, SAMPLER_STEPS, validate
from scdiff_core.config_modes import STRENGTH, ChangeConfig
from scdiff_core.data.prepared import Prepared
from scdiff_core.data.vocab import CONTINUOUS
from scdiff_core.engine.outputs import GeneratedSet, list_sets
from scdiff_core.workspace import JobDir

KIND, EVERY = "change", "all cells"


def draw(run: JobDir, prepared: Prepared, left: st.delta_generator.DeltaGenerator,
         right: st.delta_generator.DeltaGenerator) -> None:
    """Draw the settings in the left column, and the changed cells in the right one."""
    with left:
        st.caption("Begin with real cells, change one thing about them, and keep the rest.")
        if not prepared.vocab.covariates:
            st.info("This model knows no covariate that could be changed. Prepare the data with a column in a role.")
            return
        config = _asked(run, prepared)
        if st.button("Change cells", type="primary", icon=":material/swap_horiz:", key="change_go"):
            with kept(using.trouble(KIND)):
                using.begin(run, KIND, validate(ChangeConfig, config(), "The settings"), "modes")
        copies(validate(ChangeConfig, config(), "The settings"), f"{KIND}-{run.id}")
        using.follow(run, KIND)
        worker.warm(run, using.key_of(run, KIND))
    with right:
        _shown(run, prepared)


def _asked(run: JobDir, prepared: Prepared) -> Any:
    """Draw the settings and return what makes the values of a request of them."""
    known = {f"{c.column}: {v}": {c.column: v} for c in prepared.vocab.categorical for v in c.values}
    mine = {f"{cells_from.SAVED}{n}": n for n in cells_from.saved_names(prepared)}
    origin = str(st.selectbox("Which cells", [EVERY, *mine, *known], key=f"change-{run.id}-from",
                              persist_state="session", help="Real cells to begin with: a value, or cells that you "
                              "selected on a map and saved."))
    columns = {c.column: c for c in prepared.vocab.covariates}
    column = columns[str(st.selectbox("What to change", list(columns), key=f"change-{run.id}-column",
                                      persist_state="session", help="A covariate that the model was trained with."))]
    if column.kind == CONTINUOUS:
        number = st.number_input("To", value=float(round(column.mean, 3)), format="%g", key=f"change-{run.id}-number",
                                 persist_state="session")
        value = f"{number:g}"
    else:
        value = str(st.selectbox("To", column.values, index=len(column.values) - 1,
                                 key=f"change-{run.id}-{column.column}", persist_state="session"))
    strength = st.slider("How far", 0.05, 1.0, STRENGTH, 0.05, key="change_strength", persist_state="session",
                         help="How much of each cell is made anew. Below 0.5 hardly anything changes. 1: the whole "
                         "state is made anew under the new value; the cell's depth and its own noise of counting stay.")
    with st.expander("Advanced", icon=":material/tune:"):
        n_cells = st.number_input("How many cells (0: each once)", 0, 20_000, 0, key="change_n",
                                  persist_state="session")
        scale = st.slider("Guidance scale", 0.0, 5.0, GUIDANCE, 0.05, key="change_scale", persist_state="session",
                          help="How strictly the new value is followed.")
        steps = st.number_input("Steps", 1, 1000, SAMPLER_STEPS["dpm"], key="change_steps", persist_state="session")
        seed = st.number_input("Seed", 0, 2**31 - 1, 0, key="change_seed", persist_state="session")

    def values() -> dict[str, Any]:
        return {"run": run.id, "origin": known.get(origin, {}), "to": {column.column: value},
                "cells": cells_from.saved(prepared, mine[origin]) if origin in mine else None,
                "strength": float(strength), "n_cells": int(n_cells), "guidance_scale": float(scale),
                "steps": int(steps), "seed": int(seed)}

    return values


def change_words(config: dict[str, Any], n: int) -> str:
    """Return in words which cells were changed to what."""
    chosen = config.get("cells")
    of = ", ".join(config["origin"].values()) or ("" if chosen is None else chosen["name"]) or "all types"
    to = ", ".join(f"{k}: {v}" for k, v in config["to"].items())
    return f"{plural(n, 'changed cell')} of {of} → {to}, how far {config['strength']:g}"


def _words(made: GeneratedSet) -> str:
    recipe = made.recipe()
    return change_words(recipe["config"], recipe.get("n_cells", 0))


def _shown(run: JobDir, prepared: Prepared) -> None:
    sets = list_sets(run, KIND)
    if not sets:
        st.markdown("Choose cells and what is to change about them, and press **Change cells**.")
        panel.show_map(Scene(context.workspace().open("prepare", prepared.name), prepared), KIND)
        return
    made = using.pick(sets, "Changed cells", _words)
    st.markdown(escape(_words(made)))
    st.caption("`from_cell` in the file names the real cell that each was. The report card holds the cells against "
               "real ones that have the new value.")
    panel.show_tabs(Scene(context.workspace().open("prepare", prepared.name), prepared, run, made), KIND, {
        "Report card": lambda: card.show_card(made), "Download": lambda: downloads.show_downloads(made, prepared)})
