"""What the real cells say of the target while it is edited: who meets each row, what contradicts what, how rare."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from pages._design.draft import Draft
from pages._explore import state
from pages._explore.scene import Scene
from pages._shared import worker
from pages._shared.cell_canvas import Layer, cell_canvas
from pages._shared.figure_bar import figure_bar
from pages._shared.trouble import error_box, escape
from pages._shared.words import plural
from scdiff_core import keys
from scdiff_core.analysis.design.feasibility import BEYOND, COMMON, RARE
from scdiff_core.errors import ScdiffError
from scdiff_core.figures import design as figures
from scdiff_core.figures.palette import MISSING
from scdiff_core.figures.paper import Size
from scdiff_core.selection import REAL, unpack_rows
from scdiff_core.workspace import JobDir

OTHERS, MEET = "other real cells", "meet the target"
PATIENCE = 0.9  # s that the page waits for the answer before it goes on without
WORDS = {
    COMMON: ("common", "green", "check_circle", "Many real cells are like this: what is designed can be held against "
             "them."),
    RARE: ("rare", "orange", "diamond", "Few real cells are like this. The model has seen some, so that a design can "
           "be believed, and it shows more of them than you have."),
    BEYOND: ("beyond the data", "red", "explore_off", "No real cell is like this. The model gives its best, but "
             "nothing can say whether such cells could live: look at how real they look before you believe them."),
}


@dataclass(frozen=True)
class Answer:
    """What was answered for a draft: `said` as the worker gives it, or an error; `fresh`: for the draft of now."""

    said: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, str] | None = None
    fresh: bool = True
    histograms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What is said of each row, in the order of the target; none where there was an error."""
        return list((self.said.get("feasibility") or {}).get("rows") or ())

    @property
    def word(self) -> str:
        """The word on feasibility; empty where there is none."""
        return str((self.said.get("feasibility") or {}).get("word") or "")


def mark_of(run: JobDir, draft: Draft) -> str:
    """Return what changes when the question does: the target, or the model."""
    text = json.dumps([run.saved_ns, draft.values()], sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def ask(run: JobDir, draft: Draft) -> Answer:
    """Return what the real cells say of a draft: at once where the worker is quick; else what they said before."""
    where = f"design-answer-{run.id}"
    kept: dict[str, Any] = st.session_state.setdefault(where, {"histograms": {}})
    if not draft.items:
        return Answer(histograms=kept["histograms"])
    mark = mark_of(run, draft)
    if kept.get("mark") == mark:
        return Answer(kept.get("said", {}), kept.get("error"), True, kept["histograms"])
    request = f"feasible-{run.id}-{mark}"
    before = kept.get("asked")
    if before and before != request and (old := worker.under_way(before)) is not None:
        old.request.cancel()  # nobody waits for it any more
        worker.forget(before)
    kept["asked"] = request
    try:
        target = draft.target().model_dump(mode="json")
    except ScdiffError as error:
        kept |= {"mark": mark, "error": error.to_dict()}
        return Answer(kept.get("said", {}), error.to_dict(), True, kept["histograms"])
    asked = worker.submit(request, "feasibility", run=str(run.path), target=target)
    said = asked.look(PATIENCE if asked.seconds() < PATIENCE else 0.0)
    if not asked.ended:
        return Answer(kept.get("said", {}), None, False, kept["histograms"])
    worker.forget(request)
    kept |= {"mark": mark, "error": said.get("error"), "asked": None}
    if not said.get("error"):
        kept["said"] = said
        kept["histograms"] = {**kept["histograms"], **{h["name"]: h for h in said.get("histograms") or ()}}
    return Answer(kept.get("said", {}), kept["error"], True, kept["histograms"])


def follow(run: JobDir) -> None:
    """Draw that the worker is still at it, and draw the page anew once it has answered."""
    @st.fragment(run_every=0.4, key=f"feasible-{run.id}")
    def beat() -> None:
        request = (st.session_state.get(f"design-answer-{run.id}") or {}).get("asked")
        asked = worker.under_way(request) if request else None
        if asked is None or (asked.look() is not None and asked.ended):
            st.rerun(scope="app")
        words = str(asked.look().get("phase") or "waking up the model")
        st.caption(f":material/hourglass_top: {words[:1].upper()}{words[1:]}… The first time takes a few seconds.")

    beat()


def percent(share: float) -> str:
    """Return a share as people write it: 12 %, 1.3 %, 0.04 %."""
    if share <= 0:
        return "0 %"
    value = 100 * share
    return f"{value:.0f} %" if value >= 9.95 else f"{value:.1f} %" if value >= 0.995 else f"{value:.2g} %"


def head(answer: Answer, run: JobDir) -> None:
    """Draw the verdict on the whole target; of one height whatever it says."""
    with st.container(key="design_verdict", height="content" if answer.error else 84, border=False):
        if answer.error:
            error_line(answer.error)
            return
        if not answer.fresh:
            follow(run)
        if not answer.word:
            return
        found = answer.said["feasibility"]
        words, colour, icon, meaning = WORDS[answer.word]
        with st.container(horizontal=True, vertical_alignment="center", gap="small", key="feasibility"):
            st.badge(words, icon=f":material/{icon}:", color=colour)  # type: ignore[arg-type]
            of = f"{plural(int(found['n']), 'real cell')} of {int(found['n_cells']):,} ({percent(found['share'])})"
            st.markdown(f"**{of}** {'meets' if found['n'] == 1 else 'meet'} every row that is a must.", width="content")
        st.caption(meaning)


def error_line(said: Mapping[str, str]) -> None:
    """Show why the target cannot be followed."""
    error_box(dict(said))


def conflicts(answer: Answer) -> list[str]:
    """Return in words which rows hardly any real cell meets together."""
    return [str(c) for c in (answer.said.get("feasibility") or {}).get("conflicts") or ()]


def show(answer: Answer, scene: Scene, run: JobDir) -> None:
    """Draw where the real cells that meet the target lie, and the pairs of rows that do not go together."""
    if answer.error or not answer.word:
        return
    joints = list(answer.said.get("joints") or ())
    met = answer.said.get("met")
    places = st.columns(2, gap="medium") if joints and met else (st.container(), st.container())
    if met:
        with places[0]:
            _map(unpack_rows(str(met), scene.prepared.n_cells), scene, run)
    if joints:
        with places[1]:
            _joint(joints, run)
    for words in conflicts(answer):
        st.warning(f"**These hardly go together.** {escape(words)}.", icon=":material/call_split:")


def _map(met: np.ndarray, scene: Scene, run: JobDir) -> None:
    st.markdown("**Where they lie** :gray[real cells that meet the target; draw round some with the lasso to make the "
                "target like them]")
    xy, chosen = scene.prepared.X_umap, state.selected(scene).get(REAL)
    train = scene.prepared.rows(keys.TRAIN)  # the others were not asked
    rows = train[np.argsort(met[train], kind="stable")]  # those that meet it are drawn last, over the others
    cell_canvas([Layer(REAL, xy[rows], codes=(~met[rows]).astype(np.int32))], key=f"design-met-{run.id}", height=300,
                categories=(MEET, OTHERS), palette=("#D55E00", MISSING),
                selected=None if chosen is None else {REAL: chosen[rows]}, on_select=partial(_taken, scene, rows),
                summary=f"UMAP of {len(rows):,} real cells; {int(met.sum()):,} meet the target")
    if chosen is not None:
        st.caption(f"**{plural(int(chosen.sum()), 'cell')} selected**: they stand first under **Like these cells** and "
                   "**Start**.")


def _taken(scene: Scene, rows: np.ndarray, masks: Mapping[str, np.ndarray], mode: str) -> None:
    """Make cells that were drawn round the selection of all pages."""
    found = np.zeros(scene.n(REAL), bool)
    if REAL in masks:
        found[rows] = masks[REAL]
    state.select(scene, {REAL: found})


def _joint(joints: list[dict[str, Any]], run: JobDir) -> None:
    names = [" and ".join(map(str, j["names"])) for j in joints]
    at = 0
    if len(joints) > 1:
        where = f"design-joint-{run.id}"
        if st.session_state.get(where) not in names:
            st.session_state[where] = names[0]
        at = names.index(str(st.selectbox("Two rows together", names, key=where, label_visibility="collapsed")))
    else:
        st.markdown(f"**{escape(names[0])}** :gray[in real cells]")
    joint = joints[at]
    st.plotly_chart(figures.joint(joint), key="design-joint-figure", width="stretch", config={"displaylogo": False},
                    alt=f"How many real cells have {names[at]} together; lines mark the levels asked for")
    figure_bar(partial(_joint_file, joint), f"real-cells-{'-'.join(map(str, joint['names']))}", "design-joint-files",
               table=partial(_joint_table, joint))


def _joint_file(joint: dict[str, Any], fmt: str, size: Size | None = None) -> bytes:
    return figures.export_joint(joint, fmt=fmt, size=size)


def _joint_table(joint: dict[str, Any]) -> pd.DataFrame:
    return figures.joint_table(joint)
