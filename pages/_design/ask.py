"""How to design: of which type, from which cells, how many, by which method; and follow the request in the worker."""

from __future__ import annotations

import shlex
from typing import Any

import numpy as np
import streamlit as st

from pages._design import draft as drafts
from pages._design.draft import Draft
from pages._explore import state
from pages._explore.scene import Scene
from pages._shared import context, worker
from pages._shared.copy_button import copy_button
from pages._shared.words import duration
from scdiff_core import keys
from scdiff_core import target as targets
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine import outputs
from scdiff_core.errors import ScdiffError
from scdiff_core.selection import REAL, pack_rows
from scdiff_core.selections import Selections
from scdiff_core.workspace import JobDir

CELLS = 512
SECONDS = {"smc": 7.0, "recurrence": 5.0, "gradient": 2.0}  # for 512 cells on two cores, for the estimate
METHODS = {"smc": "Best (twisted sampling)", "recurrence": "Quick (guided, with recurrence)",
           "gradient": "Quickest (guided)"}
ANY, NOISE, NOW, SAVED, OF = "any type", "from nothing", "selected on the map", "saved: ", "type: "
NO_CODE, OBJECTIVES = "none", "objectives"  # as engine.custom has it, which pages cannot import (torch)
LEAST, SET = "as little as it takes", "at most"


def request_key(run: JobDir) -> str:
    """Return the name under which a run's request is kept; one at a time for each run."""
    return f"design-{run.id}"


def _types(prepared: Prepared) -> list[str]:
    if not prepared.roles.cell_type:
        return []
    return [t for t in np.unique(prepared.labels(keys.CELL_TYPE)).tolist() if t]


def choose_cells(run: JobDir, prepared: Prepared, job: JobDir) -> None:
    """Draw of which type the cells are to be, what they are to stay away from, and where they start."""
    draft, kinds = drafts.current(run), _types(prepared)
    turn = f"{run.id}-{drafts.drawn(run)}"
    if kinds:
        key = f"design-type-{turn}"
        st.session_state.setdefault(key, draft.rest.get("cell_type") or ANY)
        st.selectbox("Of the type", [ANY, *kinds], key=key, on_change=_type, args=(run, key),
                     help="Designed cells are of this type, by a classifier of the model's own codes.")
        key = f"design-away-{turn}"
        st.session_state.setdefault(key, [t for t in (draft.rest.get("away_from") or {}).get("cell_type", ())
                                          if t in kinds])
        st.multiselect("Away from", kinds, key=key, on_change=_away, args=(run, key), placeholder="no type",
                       select_all=False, help="Types that no designed cell is to be of. To stay away from a program, "
                       "add it under *Program*.")
    else:
        st.caption("The data has no cell types: cells cannot be asked for by type.")
    _start(run, prepared, job, turn)


def _type(run: JobDir, key: str) -> None:
    chosen = st.session_state[key]
    drafts.change(run, drafts.current(run).said("cell_type", None if chosen == ANY else chosen), redraw=False)


def _away(run: JobDir, key: str) -> None:
    chosen = list(st.session_state[key])
    drafts.change(run, drafts.current(run).said("away_from", {"cell_type": chosen} if chosen else None), redraw=False)


def _start(run: JobDir, prepared: Prepared, job: JobDir, turn: str) -> None:
    draft, scene = drafts.current(run), Scene(job, prepared)
    options = [NOISE]
    if state.selected(scene).get(REAL) is not None:
        options.append(NOW)
    options += [SAVED + n for n in Selections(job, prepared.fingerprint, prepared.n_cells).named()]
    options += [OF + t for t in _types(prepared)]
    now = _start_words(draft.rest.get("start"))
    if now not in options:
        options.append(now)
    key = f"design-start-{turn}"
    st.session_state.setdefault(key, now)
    st.selectbox("Start", options, key=key, on_change=_begin_at, args=(run, key),
                 help="**From nothing**: any cell that could be. From cells of yours: what they would look like, "
                      "changed as little as possible or as far as you allow.")
    if now == NOISE:
        return
    start = draft.rest.get("start") or {}
    key = f"design-far-{turn}"
    st.session_state.setdefault(key, LEAST if start.get("move") is None else SET)
    st.segmented_control("How far they may move", [LEAST, SET], key=key, required=True, on_change=_far,
                         args=(run, key))
    if start.get("move") is not None:
        key = f"design-move-{turn}"
        st.session_state.setdefault(key, float(start["move"]))
        st.slider("Share of the way to a new cell", 0.05, 1.0, step=0.05, key=key, on_change=_move, args=(run, key),
                  help="0.05: hardly anything may change. 1: nothing of the cell it starts from is kept.")


def _start_words(start: Any) -> str:
    if not start:
        return NOISE
    if start.get("selection"):
        return SAVED + str(start["selection"])
    if start.get("cell_type"):
        return OF + str(start["cell_type"])
    if start.get("where"):
        return "cells with " + ", ".join(f"{k}: {v}" for k, v in start["where"].items())
    return NOW


def _begin_at(run: JobDir, key: str) -> None:
    chosen, draft = str(st.session_state[key]), drafts.current(run)
    move = (draft.rest.get("start") or {}).get("move")
    start: dict[str, Any] | None = None
    if chosen.startswith(SAVED):
        start = {"selection": chosen.removeprefix(SAVED), "move": move}
    elif chosen.startswith(OF):
        start = {"cell_type": chosen.removeprefix(OF), "move": move}
    elif chosen == NOW:
        start = {"cell_type": None, "move": move}
    elif chosen != NOISE:
        return
    drafts.change(run, draft.said("start", start), redraw=False)


def _far(run: JobDir, key: str) -> None:
    _set_move(run, None if st.session_state[key] == LEAST else 0.5)


def _move(run: JobDir, key: str) -> None:
    _set_move(run, float(st.session_state[key]))


def _set_move(run: JobDir, move: float | None) -> None:
    draft = drafts.current(run)
    drafts.change(run, draft.said("start", {**(draft.rest.get("start") or {}), "move": move}), redraw=False)


def choose_method(run: JobDir) -> dict[str, Any]:
    """Draw how many cells, and folded how; returns the settings besides the target."""
    n = int(st.number_input("How many cells", 16, 5000, CELLS, 64, key="design_n", persist_state="session"))
    with st.expander("Advanced", icon=":material/tune:", key="design_advanced", on_change="rerun") as folded:
        if folded.open:
            st.selectbox("Method", list(METHODS), format_func=METHODS.__getitem__, key="design_method",
                         persist_state="session",
                         help="*Best* draws many candidates at once and keeps what heads for the target without "
                              "leaving real cells; what many real cells meet is waited for. The quick ones push each "
                              "cell towards the target: sooner done, and more of them look unreal.")
            st.number_input("Seed", 0, 2**31 - 1, 0, key="design_seed", persist_state="session",
                            help="The same seed gives the same cells.")
            _custom(run)
    method = str(st.session_state.get("design_method") or "smc")
    seed = st.session_state.get("design_seed")
    custom = bool(st.session_state.get("design_custom")) and bool(drafts.current(run).rest.get("objective"))
    more = {"custom": True} if custom else {}
    return {"n_cells": n, "method": method, "seed": int(seed or 0), **more}


def _custom(run: JobDir) -> None:
    """Draw the choice of a demand that is written in Python, and whether its code may run: off until it is allowed."""
    folder = context.workspace().root / OBJECTIVES
    now = str(drafts.current(run).rest.get("objective") or "")
    files = sorted({p.name for p in folder.glob("*.py")} | ({now} if now else set())) if folder.is_dir() or now else []
    if not files:
        st.caption(f"A demand can also be a Python file: put it into the folder `{OBJECTIVES}` of the workspace.")
        return
    key = f"design-objective-{run.id}-{drafts.drawn(run)}"
    st.session_state.setdefault(key, now or NO_CODE)
    st.selectbox("Demand written in Python", [NO_CODE, *files], key=key, on_change=_objective, args=(run, key),
                 help="A class `Objective` with one method, `log_likelihood(log1p, genes)`, made of torch operations.")
    if now:
        st.warning(f"**Code that will run.** `{now}` can do on this computer whatever you can. Allow it only if you "
                   "know what is in it.", icon=":material/code:")
        st.toggle("Run this code", key="design_custom", persist_state="session")


def _objective(run: JobDir, key: str) -> None:
    chosen = str(st.session_state[key])
    st.session_state["design_custom"] = False  # each file is allowed by itself
    drafts.change(run, drafts.current(run).said("objective", None if chosen == NO_CODE else chosen), redraw=False)


def begin(run: JobDir, draft: Draft, how: dict[str, Any], job: JobDir, prepared: Prepared) -> None:
    """Send the request to the worker; the cells come into a directory of their own."""
    st.session_state.pop("design_trouble", None)
    try:
        target = draft.target()
    except ScdiffError as error:
        st.session_state["design_trouble"] = error.to_dict()
        return
    selection = None
    start = draft.rest.get("start")
    if start and not start.get("selection") and not start.get("cell_type") and not start.get("where"):
        mask = state.selected(Scene(job, prepared)).get(REAL)
        selection = None if mask is None else pack_rows(mask)
    path = outputs.new_path(run)
    config = {**how, "target": target.model_dump(mode="json")}
    worker.submit(request_key(run), "design", note=path.name, run=str(run.path), config=config, out_dir=str(path),
                  selection=selection)
    st.session_state["design_view"] = "Designed cells"


def follow(run: JobDir) -> bool:
    """Follow a request under way: progress and Cancel; True while it goes on."""
    ended = worker.wait(request_key(run))
    if ended is not None:
        said = ended.look()
        if said.get("cancelled"):
            st.toast("Cancelled: nothing was designed.", icon=":material/stop_circle:")
        elif said.get("error"):
            st.session_state["design_trouble"] = said["error"]
            st.session_state["design_view"] = "Target"
        else:
            context.choose(output=ended.note)
    return worker.under_way(request_key(run)) is not None


def estimate(how: dict[str, Any]) -> str:
    """Return about how long it takes."""
    return duration(max(2.0, SECONDS[how["method"]] * how["n_cells"] / 512))


def command(run: JobDir, how: dict[str, Any]) -> str:
    """Return the command that does the same, with the target file that can be saved beside it."""
    parts = ["python", "-m", "scdiff_core", "design", run.id, "--target", "target.yaml", "--cells",
             str(how["n_cells"]), "--method", how["method"], "--seed", str(how["seed"]), "--out", "designed.h5ad",
             *(["--run-code"] if how.get("custom") else [])]
    return shlex.join(parts)


def show_command(run: JobDir, draft: Draft, how: dict[str, Any]) -> None:
    """Draw the buttons that copy the target file, and the command that makes the same cells of it."""
    try:
        text = targets.write(draft.target())
    except ScdiffError:
        return  # what is wrong is said above
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="design_copy"):
        copy_button(text, key=f"design-yaml-{run.id}", label="Copy as YAML")
        copy_button(command(run, how), key=f"design-command-{run.id}", label="Copy as command")
        st.caption("The YAML is what `target.yaml` is to hold." + (
            " The command begins from saved selections alone: save the one on the map first."
            if _start_words(draft.rest.get("start")) == NOW else ""), width="content")


def warm(run: JobDir) -> None:
    """Have the worker load a model, its map and the codes of its real cells while the target is thought of."""
    known = st.session_state.setdefault("warmed_for_design", [])
    if run.id not in known and worker.under_way(request_key(run)) is None:
        known.append(run.id)
        worker.submit(f"design-open-{run.id}", "design_open", run=str(run.path))
