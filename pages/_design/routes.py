"""How to get there: perturbations ranked by how near they would bring one's own cells to the designed ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from pages._design import hypotheses
from pages._design.result import title
from pages._design.shown import Shown
from pages._perturb.ask import MOST, my_cells
from pages._shared import context, worker
from pages._shared.figure_bar import figure_bar
from pages._shared.trouble import error_box, escape, guard
from pages._shared.words import plural
from scdiff_core.analysis.design import plan
from scdiff_core.analysis.design.candidates import HYPOTHESES, Route, Routes, side_words
from scdiff_core.config_screen import read_list
from scdiff_core.engine import routes_set
from scdiff_core.engine.routes_set import RoutesSet
from scdiff_core.figures import design_effects
from scdiff_core.workspace import JobDir, new_id

PERTURBATIONS, REGULATORS, DRUGS = "Perturbations", "Regulators", "Small molecules"
USUAL, OWN = "measured ones, and their pairs", "a list of my own"
CONFIG: dict[str, Any] = {"displaylogo": False}


def models(dataset: str) -> list[JobDir]:
    """Return the runs that predict perturbations, those of a dataset first."""
    found = [r for r in context.workspace().list("train") if context.task_of(r) == "perturb"
             and (r.checkpoints / "best.safetensors").exists()]
    return sorted(found, key=lambda r: context.dataset_name(r) != dataset)


def show(shown: Shown) -> None:
    """Draw the ways to the designed cells: by perturbations, by regulators, by small molecules."""
    runs = models(shown.prepared.name)
    kinds = ([PERTURBATIONS] if runs else []) + [REGULATORS, DRUGS]
    if st.session_state.get("design_way") not in kinds:
        st.session_state["design_way"] = kinds[0]
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        kind = str(st.segmented_control("By", kinds, required=True, key="design_way", persist_state="session",
                                        label_visibility="collapsed"))
        st.markdown(f":gray[to] **{escape(title(shown))}**", width="content")
    if not runs:
        st.caption("No model of perturbations has been trained: where your data has perturbations and control cells, "
                   "train one with *Perturbations* on the Train page, and they can be ranked here.")
    with guard():
        if kind == PERTURBATIONS:
            _perturbations(shown, runs)
        elif kind == REGULATORS:
            hypotheses.regulators(shown)
        else:
            hypotheses.drugs(shown)


def _perturbations(shown: Shown, runs: list[JobDir]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="design_routes_ask"):
        titles = {r.id: context.title_of(r) for r in runs}
        chosen = str(st.selectbox("Model of perturbations", list(titles), format_func=titles.__getitem__,
                                  key="design_routes_run", persist_state="session"))
        run = next(r for r in runs if r.id == chosen)
        prepared = context.dataset_of(run)
        job = context.workspace().open("prepare", prepared.name)
        where, selection = my_cells(run, prepared, job)
        which = st.selectbox("Candidates", [USUAL, OWN], key="design_routes_which", persist_state="session",
                             help="Genes and pairs that were never measured can be ranked too, where the model can "
                                  "predict them.")
        pressed = st.button("Rank them", type="primary", icon=":material/route:", key="design_routes")
    items: list[dict[str, Any]] = []
    if which == OWN:
        text = st.text_area("One a line", key="design_routes_own", persist_state="session", height=110,
                            placeholder="KLF1\nKLF1+MAP2K6\nIFNB @ 0.5")
        items = [{"perturbation": a.perturbation, "dose": a.dose} for a in read_list(text or "")]
        if not items:
            st.caption("An empty list means all that was measured.")
    request, trouble = f"routes-{run.id}", "design_routes_trouble"
    if pressed:
        st.session_state.pop(trouble, None)
        new = new_id()
        worker.submit(request, "routes", note=new, run=str(run.path), config={"items": items, "where": where},
                      goal={"design": str(shown.made.path), "name": title(shown)},
                      out_dir=str(run.path / routes_set.FOLDER / new), selection=selection)
    ended = worker.wait(request, patience=1.0)
    if ended is not None:
        said = ended.look()
        if said.get("error"):
            st.session_state[trouble] = said["error"]
        elif said.get("cancelled"):
            st.toast("Cancelled: nothing was ranked.", icon=":material/stop_circle:")
    if st.session_state.get(trouble):
        error_box(st.session_state[trouble])
    made = of_design(run, shown)
    if made is not None:
        ranking(shown, run, made)
    elif worker.under_way(request) is None and not st.session_state.get(trouble):
        st.info("Choose the cells that you have and press **Rank them**: each perturbation's predicted cells are held "
                "against the designed ones, without the genes that it acts on itself.", icon=":material/route:")


def of_design(run: JobDir, shown: Shown) -> RoutesSet | None:
    """Return the newest ranking of a run for these designed cells."""
    own = shown.made.path
    return next((r for r in routes_set.list_routes(run)
                 if Path(str((r.recipe().get("goal") or {}).get("design", ""))).name == own.name), None)


def table_of(found: Routes) -> pd.DataFrame:
    """Return the candidates as the page lists them."""
    return pd.DataFrame([{
        "rank": r.rank, "candidate": r.name, "answer": r.word or "not looked at closely", "way": r.way,
        "interval": "" if r.way_low is None or r.way_high is None else f"{r.way_low:.2f} to {r.way_high:.2f}",
        "energy": r.energy, "cosine": r.cosine, "cosine_rank": r.cosine_rank,
        "met": r.met, "side": r.n_side, "side_effects": side_words(r.side_effects), "reach": r.reach, "how": r.how}
        for r in found.rows])


def ranking(shown: Shown, run: JobDir, made: RoutesSet) -> None:
    """Draw a ranking: the answer, its figure and table, and what can be done with it."""
    found = made.routes()
    stem = f"{shown.stem}-routes-{made.id}"
    st.markdown(f"##### {escape(found.words)}")
    trust = f" {escape(found.trust.words())}" if found.trust is not None else ""
    ends = f"From {plural(found.n_start, 'cell')} ({escape(found.start)}) to {plural(found.n_goal, 'designed cell')}"
    st.caption(f"{ends}, by {found.n_genes:,} genes. Ranked by the {escape(found.rule_words)}.{trust} {HYPOTHESES}")
    for warning in found.warnings:
        st.warning(escape(warning), icon=":material/warning:")
    left, right = st.columns([3, 5], gap="medium")
    with left:
        st.plotly_chart(design_effects.routes(found.rows), key="design-routes-figure", width="stretch", config=CONFIG,
                        alt="Share of the way to the designed cells that each candidate goes, with 90 % intervals")
        figure_bar(lambda fmt, size: design_effects.export_routes(found.rows, fmt=fmt, size=size), stem,
                   "design-routes-files", table=lambda: found.table())
    with right:
        picked = _table(found)
        _actions(run, made, found, picked, stem)
    if found.refused:
        with st.expander(f"{plural(len(found.refused), 'candidate')} could not be predicted", icon=":material/block:"):
            st.dataframe(pd.DataFrame({"candidate": list(found.refused), "why": list(found.refused.values())}),
                         hide_index=True, alt="What could not be predicted, and why")


def _table(found: Routes) -> list[Route]:
    """Draw the list of candidates and return those that are ticked."""
    table = table_of(found)
    event = st.dataframe(
        table, hide_index=True, height=38 + 35 * min(11, len(table)), key="design_routes_table", on_select="rerun",
        selection_mode="multi-row", alt="Candidates ranked by how near they bring the cells to the designed ones",
        column_order=["rank", "candidate", "answer", "way", "interval", "side", "side_effects", "met", "cosine",
                      "cosine_rank", "reach", "energy", "how"],
        column_config={
            "rank": st.column_config.NumberColumn("", width=40),
            "way": st.column_config.NumberColumn("of the way", format="%.2f", help="1: all the way to the designed "
                                                 "cells; 0: no nearer than before."),
            "interval": st.column_config.TextColumn("90 % interval", width=110),
            "side": st.column_config.NumberColumn("unasked genes", help="That it moves beyond doubt, though nobody "
                                                  "asked."),
            "side_effects": st.column_config.TextColumn("the strongest (log2)"),
            "met": st.column_config.NumberColumn("wanted genes", format="percent", help="Share of the wanted genes "
                                                 "that it moves the wanted way, beyond doubt."),
            "cosine": st.column_config.NumberColumn("signature", format="%.2f", help="The plain cosine of the "
                                                    "signatures, for comparison."),
            "cosine_rank": st.column_config.NumberColumn("its rank", help="By the plain cosine alone."),
            "reach": st.column_config.ProgressColumn("reach", min_value=0.0, max_value=1.0, format="%.2f",
                                                     help="0 near what was measured, 1 far from all of it."),
            "energy": st.column_config.NumberColumn("energy distance", format="%.2f"),
            "how": st.column_config.TextColumn("rests on")}, placeholder="–")
    return [found.rows[i] for i in event["selection"]["rows"] if i < len(found.rows)]


def _actions(run: JobDir, made: RoutesSet, found: Routes, picked: list[Route], stem: str) -> None:
    """Draw what can be done with the ticked candidates, or with the best where none is ticked."""
    send = picked[:MOST] or list(found.rows[:1])
    names = [r.name for r in picked] or None
    with st.container(horizontal=True, gap="small"):
        words = f"Send {send[0].name if len(send) == 1 else f'these {len(send)}'} to Perturb" if send else "Send"
        if st.button(words, type="primary", icon=":material/science:", key="design_send", disabled=not send,
                     help="Predicts it on the Perturb page: its cells, its genes, how sure it is. Tick others in the "
                          "table to send those."):
            send_to_perturb(run, send)
        st.download_button("Plan (.csv)", data=lambda: plan.table(found, names).to_csv(index=False),
                           file_name=f"{stem}-plan.csv", mime="text/csv", on_click="ignore", key="design_plan_csv",
                           icon=":material/table:", help="The experiment: arms, controls to include, cells of each, "
                           "what is predicted. Of the ticked candidates, or of the best.")
        st.download_button("Plan (.md)", data=lambda: plan.text(found, names), file_name=f"{stem}-plan.md",
                           mime="text/markdown", on_click="ignore", key="design_plan_md", icon=":material/description:")


def send_to_perturb(run: JobDir, routes: list[Route]) -> None:
    """Go to the Perturb page with these candidates chosen; the cells to start from are the same there."""
    st.session_state[f"perturbations-{run.id}"] = list(dict.fromkeys(r.perturbation for r in routes))
    doses = [r.dose for r in routes if r.dose is not None]
    if doses:
        st.session_state[f"dose-{run.id}"] = float(doses[0])
    st.session_state["perturb_mode"] = "Predict"
    st.session_state["predict_now"] = True
    context.choose(run=run.id, output=None)
    st.switch_page("pages/perturb.py")
