"""Design: say what cells are to be like, get cells that could be, and learn how to get there."""

from __future__ import annotations

import streamlit as st

from pages._design import ask, bring, editor, feasible, live, result, routes
from pages._design import draft as drafts
from pages._design.bring import rows_in_words
from pages._design.shown import Shown
from pages._explore.scene import Scene
from pages._shared import context, frame
from pages._shared.trouble import show_kept
from scdiff_core.engine.design_set import DesignSet, list_sets
from scdiff_core.workspace import JobDir

TARGET, CELLS, ROUTES = "Target", "Designed cells", "How to get there"
VIEWS = (TARGET, CELLS, ROUTES)


def models() -> list[JobDir]:
    """Return the runs that can design cells: those that generate them, the newest first."""
    return [r for r in context.workspace().list("train")
            if (r.checkpoints / "best.safetensors").exists() and context.task_of(r) == "generate"]


def usual(runs: list[JobDir], current: JobDir | None) -> str:
    """Return the model to begin with: the one that is open, or one of the same data, or the newest."""
    if current is None:
        return runs[0].id
    data = context.dataset_name(current)
    return next((r.id for r in (*(r for r in runs if r.id == current.id),
                                *(r for r in runs if context.dataset_name(r) == data))), runs[0].id)


def earlier(made: list[DesignSet]) -> DesignSet | None:
    """Draw the choice among the designs of a run, the newest first, and return it."""
    if not made:
        return None
    ids = [m.id for m in made]
    opened = st.session_state.get("output")
    if len(made) > 1:
        words = {m.id: design_words(m) for m in made}
        opened = st.selectbox("Designs so far", ids, index=ids.index(opened) if opened in ids else 0,
                              format_func=words.__getitem__)
    picked = made[ids.index(opened)] if opened in ids else made[0]
    context.choose(output=picked.id)
    return picked


def design_words(made: DesignSet) -> str:
    """Return in words what a set was designed for."""
    target = made.recipe().get("config", {}).get("target") or {}
    names = [str(r.get("gene") or r.get("program") or r.get("name"))
             for r in (*(target.get("genes") or ()), *(target.get("programs") or ()))]
    return f"{', '.join(names[:3])}{' …' if len(names) > 3 else ''} · {made.id}"


with frame.page("Design", "Say what cells are to be like, and get cells that could be real."):
    runs = models()
    if not runs:
        context.needs("No trained model yet that makes cells.", "pages/train.py", "Go to Train")
    left, right = st.columns([1, 3.4], gap="medium")
    current = context.current("train")
    ids = [r.id for r in runs]
    with left:
        titles = {r.id: context.title_of(r) for r in runs}
        chosen = st.selectbox("Model", ids, index=ids.index(usual(runs, current)), format_func=titles.__getitem__)
        run = runs[ids.index(chosen)]
        if current is None or current.id != run.id:
            context.choose(run=run.id, output=None)
        context.show_in_url("run", "output")
        prepared = context.dataset_of(run)
        job = context.workspace().open("prepare", prepared.name)
        ask.choose_cells(run, prepared, job)
        how = ask.choose_method(run)
        draft = drafts.current(run)
        pressed = st.button(f"Design · about {ask.estimate(how)}", type="primary", icon=":material/architecture:",
                            key="design", disabled=not draft.items and not draft.rest.get("objective"))
        if pressed:
            ask.begin(run, draft, how, job, prepared)
        busy = ask.follow(run)
        ask.warm(run)
        picked = earlier(list_sets(run))
    with right:
        st.session_state.setdefault("design_view", TARGET)
        view = str(st.segmented_control("Shown", VIEWS, required=True, key="design_view", persist_state="session",
                                        label_visibility="collapsed"))
        show_kept("design_trouble")
        if view == TARGET:
            answer = feasible.ask(run, draft)
            bring.show(run, prepared, job)
            if draft.items:
                feasible.head(answer, run)
                editor.show(run, draft, answer)
                feasible.show(answer, Scene(job, prepared), run)
                ask.show_command(run, draft, how)
            else:
                st.info("**What are the cells to be like?** Add a gene, paste a list, or take those of a type under "
                        "**Like these cells**. At once you see how many of your real cells are like that.",
                        icon=":material/architecture:")
        elif busy and view == CELLS:
            st.markdown(f"**{rows_in_words(draft)}** :gray[is designed]")
            live.show(run, prepared, ask.request_key(run))
        elif picked is None:
            st.info("Nothing has been designed yet: fill the **Target** and press **Design**.",
                    icon=":material/architecture:")
        else:
            shown = Shown(job, prepared, run, picked)
            if view == CELLS:
                result.show(shown, draft)
            else:
                routes.show(shown)
