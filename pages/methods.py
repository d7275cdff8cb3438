"""Methods: the paragraph for a paper, from the recipe of what was really done."""

from __future__ import annotations

from typing import Any

import streamlit as st

from pages._shared import context, frame
from pages._shared.copy_button import copy_button
from pages._shared.trouble import escape, guard
from pages._shared.words import plural
from scdiff_core import jobs
from scdiff_core.engine.outputs import GeneratedSet, list_sets
from scdiff_core.engine.report_full import read_report, training_facts
from scdiff_core.errors import ScdiffError
from scdiff_core.methods_text import Methods, methods
from scdiff_core.workspace import JobDir, read_json

NO_CELLS = "none: the model alone"


def data_of(run: JobDir, dataset: str, fingerprint: str) -> dict[str, Any] | None:
    """Return what is known of the dataset a run learned from; None where it is gone or another by now."""
    try:
        job = context.workspace().open("prepare", dataset)
        told = read_json(job.path / "report.json")
        if not isinstance(told, dict) or told.get("fingerprint") != fingerprint:
            return None
        return {**told, "config": job.config().model_dump(mode="json")}
    except ScdiffError:
        return None


def report_of(run: JobDir, made: GeneratedSet) -> dict[str, Any] | None:
    """Return the report card of a set: its own, or that of the run's full report where it is of this set."""
    own = made.report()
    full = read_report(run)
    if full is not None and (full.get("generated") or {}).get("set") == made.id:
        return full
    return own if isinstance(own, dict) else None


def in_words(made: GeneratedSet) -> str:
    """Return what a set holds, in a line."""
    asked = made.recipe().get("config") or {}
    of = ", ".join(f"{k}: {v}" for k, v in (asked.get("where") or {}).items()) or "the mix of the data"
    return f"{plural(int(asked.get('n_cells', 0)), 'cell')} · {of} · {made.id}"


def choose() -> tuple[JobDir, GeneratedSet | None]:
    """Draw the choice of a run and of a generated set of it."""
    runs = context.workspace().list("train")
    titles = {r.id: context.title_of(r) for r in runs}
    names, current = list(titles), context.current("train")
    picked = st.selectbox("Model", names, index=names.index(current.id) if current and current.id in names else 0,
                          format_func=titles.__getitem__)
    run = runs[names.index(picked)]
    if current is None or current.id != run.id:
        context.choose(run=run.id, output=None)
    sets = {s.id: s for s in list_sets(run)}
    wanted = st.session_state.get("output")
    options = [*sets, ""]
    made = st.selectbox("Generated cells", options, index=options.index(wanted) if wanted in options else 0,
                        format_func=lambda i: in_words(sets[i]) if i else NO_CELLS,
                        help="The set whose making and figures are told. Its report card comes with it, if it has one.")
    return run, sets.get(made)


def take_along(told: Methods, stem: str) -> None:
    """Draw the buttons that copy and download."""
    with st.container(horizontal=True, vertical_alignment="center", key="methods_take"):
        copy_button(told.text, key="methods_copy", label="Copy the text")
        for label, ending, data, mime in (("Text (.txt)", "methods.txt", told.text, "text/plain"),
                                          ("Markdown (.md)", "methods.md", told.markdown, "text/markdown"),
                                          ("References (.bib)", "references.bib", told.bibtex, "application/x-bibtex")):
            st.download_button(label, data=data.encode(), file_name=f"{stem}-{ending}", mime=mime,
                               icon=":material/download:", on_click="ignore", key=f"methods_{ending}")


def show(told: Methods) -> None:
    """Draw the paragraphs and the references."""
    for head, words in told.parts:
        st.markdown(f"##### {head}")
        st.markdown(escape(words))
    st.markdown("##### References")
    for line in told.numbered():
        st.markdown(escape(line).replace("\\:", ":"))


with frame.page("Methods", "The paragraph for your paper, from what was really done, with its references."):
    if not context.workspace().list("train"):
        context.needs("No model has been trained yet, so there is nothing to write about.", "pages/train.py",
                      "Go to Train")
    left, right = st.columns([1, 3], gap="large")
    with left:
        run, made = choose()
    with right, guard():
        config = run.config()
        data = data_of(run, config.dataset, config.fingerprint)
        if data is None:
            st.warning(f"The dataset '{escape(config.dataset)}' that this model learned from is not here any more (or "
                       "was prepared anew since), so nothing is said of it.", icon=":material/warning:")
        if jobs.watch(run).state != "finished":
            st.warning("This training has not ended: the text tells of it as far as it went.",
                       icon=":material/hourglass_top:")
        report = report_of(run, made) if made else None
        told = methods(data, config, training_facts(run), made.recipe() if made else None, report,
                       read_json(run.path / "env.json", {}))
        take_along(told, run.id)
        show(told)
        with left:
            if made is None:
                st.caption("Generate cells on the *Generate* page, and how they were made is told here as well.")
            elif report is None:
                st.caption("These cells have no report card yet: open it on the *Generate* page, and its figures are "
                           "told here as well.")
            st.caption("Read it before you send it: it tells what was done, not why you did it.")
