"""New cells: ask for cells of the types you name, see them beside real ones the model has never seen."""

from __future__ import annotations

import streamlit as st

from pages._explore import panel
from pages._explore.scene import Scene
from pages._generate import ask, card, downloads, using
from pages._shared import context
from pages._shared.copies import copies
from pages._shared.trouble import escape
from scdiff_core.config import GenerateConfig
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine.outputs import GeneratedSet, list_sets
from scdiff_core.workspace import JobDir


def draw(run: JobDir, prepared: Prepared, left: st.delta_generator.DeltaGenerator,
         right: st.delta_generator.DeltaGenerator) -> None:
    """Draw the settings in the left column, and the cells in the right one."""
    with left:
        wanted = ask.choose(run, prepared)
        pressed = st.button("Generate", type="primary", icon=":material/auto_awesome:", key="generate")
        if pressed or st.session_state.pop("generate_now", False):
            ask.begin(run, wanted)
        busy = ask.follow(run)
        ask.warm(run)
        copies(wanted, f"generate-{run.id}")
    with right:
        show_sets(run, prepared, wanted, busy)


def show_sets(run: JobDir, prepared: Prepared, wanted: GenerateConfig, busy: bool) -> None:
    """Draw the generated set that is open, with the choice among all; the real cells where there is none yet."""
    sets = list_sets(run)
    choice = st.container(key="set_choice")  # its place is kept, so that what stands below is not built anew
    if not sets:
        st.markdown(
            "Real cells. Generated ones appear over them."
            if busy
            else "Real cells. Press **Generate** to see generated ones over them."
        )
        panel.show_map(Scene(context.workspace().open("prepare", prepared.name), prepared), "generate")
        return
    with choice:
        made = using.pick(sets, "Generated sets", lambda s: ask.asked_words(s.recipe().get("config", {})))
    show_set(run, prepared, made, wanted)


def show_set(run: JobDir, prepared: Prepared, made: GeneratedSet, wanted: GenerateConfig) -> None:
    """Draw one generated set with everything that belongs to it."""
    config = made.recipe().get("config", {})
    head = escape(ask.asked_words(config))
    # what a recipe of an earlier version does not name has its default
    if {**GenerateConfig(run=run.id).model_dump(mode="json"), **config} != wanted.model_dump(mode="json"):
        head += " :orange-badge[:material/history: settings have changed since: press Generate to renew]"
    view = made.view()
    with st.container(key="set_head"):  # one place whatever it says, for the same reason
        if view is not None and not view["exact"]:
            head += (" :gray[:material/hourglass_top: placed among their nearest real cells; the true map follows in a "
                     "moment]")
        st.markdown(head)
        if view is None:
            st.info("The generated cells have no place on this map: their dataset was not at hand when they were made.")
    panel.show_tabs(
        Scene(context.workspace().open("prepare", prepared.name), prepared, run, made),
        "generate",
        {"Report card": lambda: card.show_card(made), "Download": lambda: downloads.show_downloads(made, prepared)},
    )
