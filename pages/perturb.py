"""Perturb: what a perturbation would do, held against control and, where there are any, measured cells."""

from __future__ import annotations

import streamlit as st

from pages._explore import panel
from pages._explore.scene import Scene
from pages._perturb import (
    ask,
    beside,
    cells,
    downloads,
    genes,
    markers,
    next_view,
    programs,
    screen_view,
    verdict,
)
from pages._perturb.shown import Shown
from pages._shared import context, frame
from pages._shared.copies import copies
from pages._shared.trouble import guard
from scdiff_core.engine.outputs import GeneratedSet
from scdiff_core.engine.prediction import list_predictions
from scdiff_core.engine.screens import list_screens
from scdiff_core.workspace import JobDir

PREDICT, SCREEN, NEXT = "Predict", "Screen", "What next?"
MODES = (PREDICT, SCREEN, NEXT)


def models() -> list[JobDir]:
    """Return the runs that can predict perturbations, the newest first."""
    return [run for run in context.workspace().list("train")
            if context.task_of(run) == "perturb" and (run.checkpoints / "best.safetensors").exists()]


def overview(shown: Shown, name: str) -> None:
    """Draw the answer in one look: the map, and beside it the genes that change most surely."""
    left, right = st.columns(2, gap="medium")
    with left:
        place = str(st.segmented_control("Map", cells.PLACES, default="UMAP", required=True, key="perturb_map",
                                         persist_state="session", label_visibility="collapsed"))
        cells.draw(shown, name, key=f"perturb-{shown.run.id}-{place}", height=460, place=place)
        cells.files(shown, name, place, "perturb-map-files")
    with right:
        genes.ranked(shown, name, "perturb-ranked")
    verdict.foot(shown, name)


def explore(shown: Shown) -> None:
    """Draw the explorer of all pages: predicted cells over the real ones, to select, compare and take along."""
    made = GeneratedSet(shown.made.path)
    panel.show_tabs(Scene(shown.job, shown.prepared, shown.run, made), "perturb-explore", {}, height=420)


def show(shown: Shown, stale: bool = False) -> None:
    """Draw one prediction with everything that belongs to it."""
    names = shown.names
    name = names[0]
    if len(names) > 1:
        if st.session_state.get("perturb_shown") not in names:
            st.session_state["perturb_shown"] = names[0]
        name = str(st.segmented_control("Shown", names, key="perturb_shown", required=True,
                                        label_visibility="collapsed"))
    verdict.head(shown, name, stale)
    tabs = {
        "Overview": lambda: overview(shown, name),
        "Genes": lambda: genes.show(shown, name),
        "Marker figures": lambda: markers.show(shown),
        "Explore": lambda: explore(shown),
        "Programs": lambda: programs.show(shown, name),
        "Side by side": lambda: beside.show(shown),
        "Download": lambda: downloads.show(shown),
    }
    for tab, draw in zip(st.tabs(list(tabs), key="perturb-tabs", on_change="rerun"), tabs.values(), strict=True):
        if tab.open:
            with tab, guard():
                draw()


with frame.page("Perturb", "What would this perturbation do? A population of cells, and how sure it is."):
    runs = models()
    if not runs:
        context.needs("No model of perturbations yet: train one on a dataset with a perturbation column and control "
                      "cells.", "pages/train.py", "Go to Train")
    left, right = st.columns([1, 3], gap="large")
    with left:
        mode = str(st.segmented_control("What to do", MODES, default=PREDICT, required=True, key="perturb_mode",
                                        persist_state="session", label_visibility="collapsed"))
        run = context.choose_model(runs)
        prepared = context.dataset_of(run)
        job = context.workspace().open("prepare", prepared.name)
        if mode == PREDICT:
            wanted, selection = ask.choose(run, prepared, job)
            pressed = st.button("Predict", type="primary", icon=":material/science:", key="predict",
                                disabled=wanted is None)
            if (pressed or st.session_state.pop("predict_now", False)) and wanted is not None:
                st.session_state.pop("predict_trouble", None)
                ask.begin(run, wanted, selection)
            busy = ask.follow(run)
            ask.warm(run)
            if wanted is not None and selection is None:  # cells that were lassoed have no name on the command line
                copies(wanted, f"predict-{run.id}")
            made = list_predictions(run)
            ask.earlier(made)
        elif mode == SCREEN:
            screen_view.ask(run, prepared, job)
        else:
            next_view.ask(run, prepared)
    with right:
        if mode == SCREEN:
            screen_view.show(run, prepared, list_screens(run))
        elif mode == NEXT:
            next_view.show(run)
        else:
            ask.trouble()
            opened = next((m for m in made if m.id == st.session_state.get("output")), made[0] if made else None)
            if opened is not None:
                now = Shown(job, prepared, run, opened)
                show(now, stale=wanted is not None and now.config != wanted.model_dump(mode="json"))
            elif busy:
                st.skeleton(height=520)
            else:
                st.info("Choose a perturbation and press **Predict**. You see control cells, predicted ones and, where "
                        "the data has them, measured ones.", icon=":material/science:")
