"""Which experiment next: the perturbations whose measurement would teach the model most, with reasons."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from pages._perturb import lists
from pages._perturb import shown as shown_
from pages._shared import worker
from pages._shared.trouble import escape, show_kept
from pages._shared.words import plural
from scdiff_core import keys
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine import screens
from scdiff_core.engine.outputs import RECIPE
from scdiff_core.workspace import JobDir, read_json

KINDS = (lists.PAIRS, lists.GENES, lists.OWN)


def request_key(run: JobDir) -> str:
    """Return the name under which a run's request is kept."""
    return f"next-{run.id}"


def ask(run: JobDir, prepared: Prepared) -> None:
    """Draw among what to choose, and ask."""
    entries = lists.choose(run, prepared, "next", KINDS)
    known = shown_.trained_on(prepared)
    candidates = [n for n, _ in entries if n not in known]
    kind = ""
    if prepared.roles.cell_type:
        labels = prepared.labels(keys.CELL_TYPE)
        control = prepared.labels(keys.PERTURBATION) == (prepared.roles.control or "")
        values = [v for v in np.unique(labels[control]).tolist() if v]
        if len(values) > 1:
            kind = str(st.selectbox("In which cells", values, key=f"next-cells-{run.id}", persist_state="session"))
        elif values:
            kind = values[0]
    n_cells = int(st.number_input("Cells that you would measure of each", 10, 10_000, 100, 10, key="next_n",
                                  persist_state="session"))
    st.caption(f"{plural(len(candidates), 'candidate')} that were not measured.")
    if st.button("What next?", type="primary", icon=":material/experiment:", key="next", disabled=not candidates):
        st.session_state.pop("next_trouble", None)
        text = json.dumps([candidates, kind, n_cells])
        mark = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
        worker.submit(request_key(run), "next", note=mark, run=str(run.path), candidates=candidates, cell_type=kind,
                      n_cells=n_cells, out_dir=str(run.path / "next" / mark))
    _follow(run)


def _follow(run: JobDir) -> None:
    ended = worker.wait(request_key(run), patience=1.5)
    if ended is None:
        return
    said = ended.look()
    if said.get("error"):
        st.session_state["next_trouble"] = said["error"]
    elif not said.get("cancelled"):
        st.session_state[f"next-open-{run.id}"] = ended.note


def _newest(run: JobDir) -> Path | None:
    folder = run.path / "next"
    opened = st.session_state.get(f"next-open-{run.id}")
    if opened and (folder / opened / RECIPE).is_file():
        return folder / str(opened)
    done = [p for p in folder.iterdir() if (p / RECIPE).is_file()] if folder.is_dir() else []
    return max(done, key=lambda p: (p / RECIPE).stat().st_mtime, default=None)


def show(run: JobDir) -> None:
    """Draw the list of experiments."""
    show_kept("next_trouble")
    path = _newest(run)
    if path is None:
        st.info("Say on the left among which perturbations you could choose, and press **What next?**",
                icon=":material/experiment:")
        return
    recipe = read_json(path / RECIPE, {})
    table = pd.read_csv(path / screens.NEXT, dtype={"perturbation": str, "reason": str}, keep_default_na=False)
    where = f" in {escape(recipe['cell_type'])}" if recipe.get("cell_type") else ""
    among = plural(int(recipe.get("candidates", 0)), "candidate")
    st.markdown(f"**The experiments that would teach most**{where}, of {among}, with "
                f"{int(recipe.get('n_cells', 0)):,} cells of each.")
    left, right = st.columns([2, 3], gap="large")
    with left:
        top = float(max(table["gain"].max(), 1e-6)) if len(table) else 1.0
        st.dataframe(
            table, hide_index=True, height=38 + 35 * max(3, len(table)), key="next_table",
            alt="Experiments worth making, in order", column_order=["rank", "perturbation", "gain", "unknown"],
            column_config={
                "rank": st.column_config.NumberColumn("", width=40),
                "gain": st.column_config.ProgressColumn(
                    "expected gain", format="percent", min_value=0.0, max_value=top,
                    help="What it takes from all that is unknown of the candidates, those above it taken as measured."),
                "unknown": st.column_config.ProgressColumn(
                    "unknown now", format="percent", min_value=0.0, max_value=1.0,
                    help="How little is known of its own outcome, against the least known candidate.")})
    with right:
        st.markdown("\n".join(f"{r['rank']}. **{escape(r['perturbation'])}**: {escape(r['reason'])}"
                              for r in table.to_dict("records")))
    st.caption("By the model's own uncertainty: the variance of the predicted changes that the measurement is expected "
               "to remove, of the perturbation itself and of those like it. It cannot know what is outside of its "
               "embeddings, nor what an experiment costs you.")
    st.download_button("CSV", data=lambda: table.to_csv(index=False), file_name=f"{run.id}-next-experiments.csv",
                       mime="text/csv", on_click="ignore", key="next_csv", type="tertiary",
                       icon=":material/table:")
