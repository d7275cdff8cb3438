"""Generate: ask for cells, see them beside the real ones, take them along."""

from __future__ import annotations

import streamlit as st

from pages._explore import panel
from pages._explore.scene import Scene
from pages._generate import ask, card, downloads
from pages._shared import context, frame
from pages._shared.trouble import escape
from scdiff_core.config import GenerateConfig
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine.outputs import GeneratedSet, list_sets
from scdiff_core.workspace import JobDir


def show_set(run: JobDir, prepared: Prepared, made: GeneratedSet, wanted: GenerateConfig) -> None:
    """Draw one generated set with everything that belongs to it."""
    config = made.recipe().get("config", {})
    head = escape(ask.asked_words(config))
    if config != wanted.model_dump(mode="json"):
        head += " :orange-badge[:material/history: settings have changed since: press Generate to renew]"
    view = made.view()
    with st.container(key="set_head"):  # one place whatever it says, so that what stands below is not built anew
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


with frame.page("Generate", "Ask the model for new cells and hold them against real ones it has never seen."):
    runs = [r for r in context.workspace().list("train")
            if (r.checkpoints / "best.safetensors").exists() and context.task_of(r) != "perturb"]
    if not runs:
        context.needs("No trained model yet.", "pages/train.py", "Go to Train")
    left, right = st.columns([1, 3], gap="large")
    with left:
        run = context.choose_model(runs)
        prepared = context.dataset_of(run)
        wanted = ask.choose(run, prepared)
        pressed = st.button("Generate", type="primary", icon=":material/auto_awesome:", key="generate")
        if pressed or st.session_state.pop("generate_now", False):
            ask.begin(run, wanted)
        busy = ask.follow(run)
        ask.warm(run)
    with right:
        sets = list_sets(run)
        choice = st.container(key="set_choice")  # its place is kept, for the same reason
        if sets:
            ids = [s.id for s in sets]
            opened = st.session_state.get("output")
            made = sets[ids.index(opened)] if opened in ids else sets[0]
            if len(sets) > 1:
                picked = choice.selectbox(
                    "Generated sets",
                    ids,
                    index=ids.index(made.id),
                    width=520,
                    label_visibility="collapsed",
                    format_func={
                        s.id: f"{s.id} · {ask.asked_words(s.recipe().get('config', {}))}" for s in sets
                    }.__getitem__,
                )
                made = sets[ids.index(picked)]
            context.choose(output=made.id)
            show_set(run, prepared, made, wanted)
        else:
            st.markdown(
                "Real cells. Generated ones appear over them."
                if busy
                else "Real cells. Press **Generate** to see generated ones over them."
            )
            panel.show_map(Scene(context.workspace().open("prepare", prepared.name), prepared), "generate")
