"""A tour of six steps on the demo: a quiet card on the page that each step speaks of.

It blocks nothing: all else on the page works while it stands there. Where it is stands in the session, so it survives
page changes. That it was dismissed or walked to its end is kept in the workspace (`tour.json`), as who comes back
tomorrow to the same workspace is the same person or the same group; a query parameter would go with every link that
somebody passes on, and the session ends with the tab. Home offers it again, more quietly.
"""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from pages._shared import context
from scdiff_core import demo_model
from scdiff_core.engine.outputs import list_sets
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import read_json, write_json

STEP, FILE = "tour_step", "tour.json"


@dataclass(frozen=True)
class TourStep:
    """One step: the page it speaks of (its title and its file), what to look at, and what to try."""

    page: str
    file: str
    title: str
    words: str


STEPS = (
    TourStep("Data", "pages/data.py", "See your cells",
             "Each dot is one blood cell; cells that express alike lie near each other. Type `CD79A` under *Colour "
             "by*: the B cells light up."),
    TourStep("Data", "pages/data.py", "Select cells and ask what sets them apart",
             "Draw round a group of dots with the lasso on the map, then compare it with the rest: the genes that "
             "differ come as a volcano and a table."),
    TourStep("Train", "pages/train.py", "Watch a model learn",
             "This one has learned already. Drag *Snapshot* to the left: the rings are generated cells, early in the "
             "training one cloud, later in the islands of the real ones."),
    TourStep("Generate", "pages/generate.py", "Cells that were never measured",
             "Rings are generated, dots are real cells. Choose one type on the left, press **Generate**, and see "
             "whether the rings fall on that type. *Report card* says how good they are."),
    TourStep("Design", "pages/design.py", "Cells as you want them",
             "Say what cells are to be like: type `CD79A` under *Add a gene*, or paste a list. At once you see how "
             "many real cells are like that: common, rare or beyond the data. **Design** makes some."),
    TourStep("Methods", "pages/methods.py", "What goes into the paper",
             "Here is the paragraph with its references, from what was really done. The full report of a model, to "
             "send to a colleague, is on the *Runs* page. That was all: now your own cells."),
)


def seen() -> bool:
    """Say whether the tour was walked or dismissed in this workspace."""
    return bool((read_json(context.workspace().root / FILE) or {}).get("seen"))


def current() -> int | None:
    """Return the step that the visitor is at, None where there is no tour under way."""
    at = st.session_state.get(STEP)
    return at if isinstance(at, int) and 0 <= at < len(STEPS) else None


def begin() -> None:
    """Open the demo and go to the first step."""
    dataset, run = demo_model.install(context.workspace())
    context.choose(dataset=dataset.id, run=run.id, source=None, output=None)
    _go(0)


def end() -> None:
    """Put the tour away, and remember it in the workspace."""
    st.session_state.pop(STEP, None)
    try:
        write_json(context.workspace().root / FILE, {"seen": True})
    except (ScdiffError, OSError):
        return  # a workspace that may not be written to: it is put away for this session alone


def _go(at: int) -> None:
    """Go to a step, on its page."""
    st.session_state[STEP] = at
    if STEPS[at].page == "Data":
        st.session_state["next_data_view"] = "Prepared datasets"
    if STEPS[at].page == "Generate" and not _has_cells():
        st.session_state["generate_now"] = True
    st.switch_page(STEPS[at].file)


def _has_cells() -> bool:
    """Say whether the run that is open has generated cells already."""
    run = context.current("train")
    return run is not None and bool(list_sets(run))


def offer(key: str = "tour_begin") -> None:
    """Draw the button that begins the tour; quiet where it has been seen."""
    again = seen()
    words = "Take the tour again" if again else f"Show me round ({len(STEPS)} steps)"
    if st.button(words, key=key, icon=":material/tour:",
                 type="tertiary" if again else "secondary",
                 help="Short cards on the demo, one on each page. Nothing is blocked; put it away at any time."):
        begin()


def step(page: str) -> None:
    """Draw the card of the step that the visitor is at: whole on its own page, one line on any other."""
    at = current()
    if at is None:
        return
    told = STEPS[at]
    with st.container(border=True, key="tour", horizontal=True, vertical_alignment="center", gap="small"):
        if page == told.page:
            st.markdown(f"**{at + 1} of {len(STEPS)} · {told.title}.** {told.words}", width="stretch")
            if at and st.button("Back", key="tour_back", type="tertiary", icon=":material/arrow_back:"):
                _go(at - 1)
            if at + 1 < len(STEPS):
                if st.button("Next", key="tour_next", icon=":material/arrow_forward:"):
                    _go(at + 1)
            elif st.button("Done", key="tour_done", icon=":material/check:"):
                end()
                st.rerun()
        else:
            st.markdown(f":gray[The tour waits on the *{told.page}* page: {told.title.lower()}.]", width="stretch")
            if st.button("Go on", key="tour_on", type="tertiary", icon=":material/arrow_forward:"):
                _go(at)
        if st.button("Dismiss", key="tour_dismiss", type="tertiary", icon=":material/close:"):
            end()
            st.rerun()
