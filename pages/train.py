"""Train: learn what the cells look like, and watch it happen."""

from __future__ import annotations

import streamlit as st

from pages._shared import context, frame
from pages._shared.runs_actions import ask_delete, resume
from pages._shared.trouble import error_box, guard
from pages._train import live, start
from scdiff_core import jobs
from scdiff_core.workspace import JobDir


def buttons(run: JobDir, state: str) -> None:
    """Draw what can be done with the run. Outside the part that renews itself, which would close a dialog."""
    with st.container(horizontal=True, key="run_buttons"):
        if state in ("queued", "running", "stopping") and st.button(
            "Stop",
            icon=":material/stop_circle:",
            key="stop_run",
            disabled=state == "stopping",
            help="Finishes its step and saves; it can be resumed.",
        ):
            jobs.stop(run)
            st.rerun()
        if state in ("stopped", "failed") and st.button(
            "Resume", type="primary", icon=":material/play_arrow:", key="resume_run"
        ):
            resume(run)
        if state == "finished":
            perturbs = context.task_of(run) == "perturb"
            words, icon = ("Predict perturbations", "science") if perturbs else ("Generate cells", "auto_awesome")
            if st.button(words, type="primary", key="to_generate", icon=f":material/{icon}:"):
                st.switch_page("pages/perturb.py" if perturbs else "pages/generate.py")
        if st.button("Delete", icon=":material/delete:", type="tertiary", key="delete_run"):
            ask_delete(run)


def show_run(run: JobDir) -> None:
    """Draw one run; while it is at work this part renews itself."""
    with guard():
        status = jobs.watch(run)
        rows = run.metrics()
        live.show_numbers(status, rows)
        if status.state == "failed" and status.error:
            error_box(status.error)
        parts = {
            "Live cells": lambda: live.show_cells(run, status.active),
            "Learning curves": lambda: live.show_curves(rows, f"loss-{run.id}"),
            "Settings and log": lambda: live.show_log(run),
        }
        for tab, draw in zip(st.tabs(list(parts), key="train_tabs", on_change="rerun"), parts.values(), strict=True):
            if tab.open:  # charts that nobody sees would slow down every change of page
                with tab:
                    draw()


def follow(run: JobDir) -> None:
    """Draw one run, live while it is at work."""
    state = jobs.watch(run)
    buttons(run, state.state)
    if not state.active:
        show_run(run)
        return

    @st.fragment(run_every=1.5, key="live")
    def beat() -> None:
        """Renew the run's part of the page; the whole page once its state is another."""
        if jobs.watch(run).state != state.state:
            st.rerun(scope="app")
        show_run(run)

    beat()


with frame.page(
    "Train",
    "The model learns from your cells. You may leave: the training goes on.",
):
    space = context.workspace()
    datasets, runs = space.datasets(), space.list("train")
    if not datasets and not runs:
        context.needs("There is no prepared dataset yet.", "pages/data.py", "Go to Data")
    left, right = st.columns([1, 3], gap="large")
    with left:
        if datasets:
            names = [j.id for j in datasets]
            chosen = st.session_state.get("dataset")
            name = st.selectbox("Dataset", names, index=names.index(chosen) if chosen in names else 0)
            context.choose(dataset=name)
            with guard():
                start.start_form(datasets[names.index(name)])
        else:
            st.info("No prepared dataset: open one on the Data page to train a new model.")
    with right:
        run = context.current("train")
        if run is None and runs:
            run = runs[0]
        if run is None:
            st.info("Choose how long to learn and press **Train**. Generated cells and curves appear here, live.")
        else:
            names = [r.id for r in runs]
            titles = {r.id: context.title_of(r) for r in runs}
            picked = st.selectbox("Run", names, index=names.index(run.id), format_func=titles.__getitem__, width=420)
            if picked != run.id:
                context.choose(run=picked, output=None)
                st.rerun()
            context.choose(run=run.id)
            follow(run)
