"""Runs: every model that was trained, side by side."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from pages._explore import panel
from pages._explore.scene import Scene
from pages._generate.ask import asked_words
from pages._runs.beside import show_beside
from pages._runs.report import show_report
from pages._shared import context, frame
from pages._shared.runs_actions import ask_delete, resume
from pages._shared.trouble import error_box, guard
from pages._shared.words import STATES, duration, plural
from pages._train.live import PHASES, curve_spec
from scdiff_core import jobs
from scdiff_core.engine.outputs import list_sets
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir

SCORES = {"rf_genes": "told apart (genes)", "rf_pca": "told apart (PCA)"}
OVERLAY = 6  # curves laid over each other


def row_of(run: JobDir) -> dict[str, Any]:
    """Return one run's line of the table."""
    status, notes = jobs.watch(run), run.notes()
    rows = run.metrics()
    tested = [r["loss_test"] for r in rows if r.get("phase") == "diffusion" and r.get("loss_test") is not None]
    line: dict[str, Any] = {
        "title": notes.get("title") or run.id,
        "note": notes.get("note", ""),
        "state": STATES.get(status.state, status.state),
        "done": 100 * status.fraction,
    }
    try:
        config = run.config()
        line |= {"dataset": config.dataset, "preset": config.preset, "seed": config.seed}
    except ScdiffError:
        line |= {"dataset": "", "preset": "", "seed": None}
    line |= {"error": min(tested) if tested else None, "time": duration(status.seconds)}
    for made in list_sets(run)[:1]:
        scores = {r["key"]: r["value"] for r in (made.report() or {}).get("rows", [])}
        line |= {title: scores.get(key) for key, title in SCORES.items()}
    return {**dict.fromkeys(SCORES.values()), **line, "id": run.id}


def save_edits(frame: pd.DataFrame) -> None:
    """Write the edited titles and notes to disk. The frame under the editor stays as it was."""
    for index, changes in st.session_state["runs_table"]["edited_rows"].items():
        run = context.workspace().open("train", frame.iloc[int(index)]["id"])
        run.write_notes(**{k: str(v or "") for k, v in changes.items() if k in ("title", "note")})


def show_table(runs: list[JobDir]) -> None:
    """Draw the table in which runs are renamed and noted."""
    frame = pd.DataFrame([row_of(r) for r in runs])
    columns = [
        "title",
        "state",
        "done",
        "dataset",
        "preset",
        *SCORES.values(),
        "error",
        "time",
        "seed",
        "note",
    ]
    st.data_editor(
        frame,
        column_order=columns,
        hide_index=True,
        key="runs_table",
        num_rows="fixed",
        on_change=save_edits,
        args=(frame,),
        disabled=[c for c in frame.columns if c not in ("title", "note")],
        height=min(460, 38 + 35 * len(frame)),
        alt="Table of the trained models",
        column_config={
            "title": st.column_config.TextColumn("title ✎", help="Click twice to rename."),
            "note": st.column_config.TextColumn("note ✎", width="medium"),
            "done": st.column_config.ProgressColumn("done", min_value=0, max_value=100, format="%.0f %%"),
            "error": st.column_config.NumberColumn(
                format="%.4f",
                help="Of the second half of the learning (the denoising loss), on cells it never learned from: lower "
                "is better, 1 is knowing nothing.",
            ),
            **{
                t: st.column_config.NumberColumn(
                    format="%.2f",
                    help="How well a classifier tells generated cells from "
                    "real ones in the newest report card: 0.5 cannot, 1 always.",
                )
                for t in SCORES.values()
            },
        },
        placeholder="–",
    )


def show_actions(run: JobDir) -> None:
    """Draw what can be done with the chosen run."""
    status = jobs.watch(run)
    with st.container(horizontal=True):
        if st.button("Open", icon=":material/open_in_new:", type="primary", key="runs_open"):
            context.choose(run=run.id, output=None)
            st.switch_page("pages/train.py")
        perturbs = context.task_of(run) == "perturb"
        if st.button(
            "Predict" if perturbs else "Generate cells",
            icon=":material/science:" if perturbs else ":material/auto_awesome:",
            key="runs_generate",
            disabled=status.state != "finished" and not run.checkpoints.exists(),
        ):
            context.choose(run=run.id, output=None)
            st.switch_page("pages/perturb.py" if perturbs else "pages/generate.py")
        if st.button(
            "Resume",
            icon=":material/play_arrow:",
            key="runs_resume",
            disabled=status.state not in ("stopped", "failed"),
        ):
            resume(run)
        if st.button("Stop", icon=":material/stop_circle:", key="runs_stop", disabled=not status.active):
            jobs.stop(run)
            st.rerun()
        if st.button("Delete", icon=":material/delete:", type="tertiary", key="runs_delete"):
            ask_delete(run)
    if status.error:
        error_box(status.error)


def compare(runs: list[JobDir], titles: dict[str, str]) -> None:
    """Lay the held-out curves of several runs over each other."""
    chosen = st.multiselect(
        "Compare the learning of",
        list(titles),
        default=list(titles)[:3],
        max_selections=OVERLAY,
        format_func=titles.__getitem__,
        key="runs_compare",
        persist_state="session",
    )
    told = {r.id: [m for m in r.metrics() if m.get("loss_test") is not None] for r in runs if r.id in chosen}
    phases = [phase for phase in PHASES if any(m.get("phase") == phase for rows in told.values() for m in rows)]
    if not phases:
        st.caption("No curve yet.")
        return
    for place, phase in zip(st.columns(max(2, len(phases)))[: len(phases)], phases, strict=True):
        series, positive = [], True
        for run, every in told.items():
            rows = [m for m in every if m.get("phase") == phase]
            if not rows:
                continue
            positive = positive and min(m["loss_test"] for m in rows) > 0
            spec = curve_spec([{**m, "loss_train": None} for m in rows], 0.0, False)
            series.append(spec["series"][0] | {"name": titles[run], "lineStyle": {"width": 2}})
        with place:
            st.markdown(f"**{PHASES[phase]}**, on held-out cells")
            base = curve_spec([], 0.0, positive)
            st.echarts_chart(
                base | {"series": series, "legend": {"top": 4, "type": "scroll"}},
                height=360,
                key=f"compare-{phase}",
                alt=f"{PHASES[phase]}: error of the chosen runs on held-out cells",
            )


def explore(run: JobDir) -> None:
    """Draw the cells of a run: those it learned from, and a set that it generated over them."""
    prepared = context.dataset_of(run)
    sets = list_sets(run)
    made = None
    if sets:
        by_id = {s.id: s for s in sets}
        opened = st.session_state.get("output")
        picked = st.selectbox(
            "Generated set",
            list(by_id),
            index=list(by_id).index(opened) if opened in by_id else 0,
            width=520,
            format_func=lambda i: f"{i} · {asked_words(by_id[i].recipe().get('config', {}))}",
            key=f"runs_set_{run.id}",
        )
        made = by_id[str(picked)]
    else:
        st.info("This run has not generated any cells yet: these are the real ones it learned from.")
    dataset = context.workspace().open("prepare", prepared.name)
    panel.show_map(Scene(dataset, prepared, run if made else None, made), "runs")


with frame.page("Runs", "Every model you trained: compare, rename, note, open, resume or delete it."):
    every = context.workspace().list("train")
    if not every:
        context.needs("No model has been trained yet.", "pages/train.py", "Go to Train")
    show_table(every)
    st.caption(f"{plural(len(every), 'run')}. Titles and notes can be edited in the table.")
    names = {r.id: context.title_of(r) for r in every}
    current = context.current("train")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium", key="run_and_actions"):
        picked = st.selectbox(
            "Run",
            list(names),
            index=list(names).index(current.id) if current else 0,
            width=340,
            format_func=names.__getitem__,
        )
        chosen_run = next(r for r in every if r.id == picked)
        with st.container():
            show_actions(chosen_run)
    parts = {
        "Learning": lambda: compare(every, names),
        "Cells": lambda: explore(chosen_run),
        "Report": lambda: show_report(chosen_run),
        "Two runs side by side": lambda: show_beside(every, names),
    }
    for tab, draw in zip(st.tabs(list(parts), key="runs_tabs", on_change="rerun"), parts.values(), strict=True):
        if tab.open:
            with tab, guard():
                draw()
