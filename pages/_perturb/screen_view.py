"""Screen: a whole list predicted, ranked by strength, by a program or by likeness; its map, heat map and pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from pages._perturb import lists, pairs_view, programs, screened
from pages._perturb.ask import my_cells
from pages._perturb.beside import CONFIG
from pages._perturb.verdict import EFFECTS
from pages._shared.copies import copies
from pages._shared.figure_bar import figure_bar
from pages._shared.job_panel import follow
from pages._shared.trouble import escape, guard, kept, show_kept
from pages._shared.words import duration, plural
from scdiff_core import jobs
from scdiff_core.config import validate
from scdiff_core.config_screen import ScreenConfig
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine import screens
from scdiff_core.engine.outputs import CELLS
from scdiff_core.engine.screens import Screen
from scdiff_core.figures import effect_maps
from scdiff_core.workspace import JobDir

STRENGTH, PROGRAM, LIKENESS = "strength", "a program", "likeness to one"
START = 12.0  # seconds until the process of a screen has its model
SECONDS = 0.5  # for a perturbation of 200 cells on two cores, for the estimate beside the button
KINDS = (lists.MEASURED, lists.PAIRS, lists.GENES, lists.DOSES, lists.OWN)


def ask(run: JobDir, prepared: Prepared, job: JobDir) -> None:
    """Draw what to screen, start it as a job, and follow those that have not ended well."""
    entries = lists.choose(run, prepared, "screen", KINDS)
    where, selection = my_cells(run, prepared, job)
    n_cells = int(st.number_input("Predicted cells of each", 20, 2000, 200, 20, key="screen_n",
                                  persist_state="session"))
    if entries:
        st.caption(f"{plural(len(entries), 'perturbation')}, about "
                   f"{duration(START + SECONDS * len(entries) * n_cells / 200)}. It goes on when you leave this page.")
    unfinished = screens.unfinished(run)
    busy = any(jobs.watch(j).active for j in unfinished)
    wanted = {"run": run.id, "items": [{"perturbation": n, "dose": d} for n, d in entries], "where": where,
              "n_cells": n_cells, "title": str(st.session_state.get("screen-kind")), "selection": selection}
    if st.button("Screen", type="primary", icon=":material/grid_view:", key="screen", disabled=not entries or busy,
                 help="One screen of a model at a time." if busy else None):
        begin(run, wanted)
        st.rerun()
    if entries:
        with guard():
            copies(validate(ScreenConfig, wanted, "The list"), f"screen-{run.id}")
    for old in unfinished:
        _follow(old)


def begin(run: JobDir, values: dict[str, Any]) -> None:
    """Start a screen as a job of its own, which outlives this page and the server; show it when it is there."""
    with kept("screen_trouble"):
        new = screens.create(run, validate(ScreenConfig, values, "The list"))
        jobs.start(new)
        st.session_state[f"screen-open-{run.id}"] = new.id


def _follow(job: JobDir) -> None:
    """Draw a screen that is under way, or came to nothing."""
    status = follow(job, f"screen-{job.id}")
    if status.active or status.state == "finished":
        return
    if status.state != "failed":
        st.info(f"The screen of {plural(len(job.config().items), 'perturbation')} was stopped before it was done.",
                icon=":material/stop_circle:")
    with st.container(horizontal=True, gap="small"):
        if st.button("Start it again", icon=":material/replay:", key=f"again-{job.id}"):
            jobs.start(job)
            st.rerun()
        if st.button("Take it away", icon=":material/delete:", type="tertiary", key=f"discard-{job.id}"):
            screens.discard(job)
            st.rerun()


def show(run: JobDir, prepared: Prepared, made: list[Screen]) -> None:
    """Draw the screens of a run."""
    show_kept("screen_trouble")
    if not made:
        st.info("Choose a list on the left and press **Screen**: every perturbation in it is predicted, ranked and "
                "drawn beside the others.", icon=":material/grid_view:")
        return
    ids = [s.id for s in made]
    opened = st.session_state.get(f"screen-open-{run.id}")
    words = {s.id: _words(s) for s in made}
    picked = opened if opened in ids else ids[0]
    if len(made) > 1:
        picked = st.selectbox("Screens", ids, index=ids.index(picked), width=620, label_visibility="collapsed",
                              format_func=words.__getitem__)
        st.session_state[f"screen-open-{run.id}"] = picked
    screen = made[ids.index(picked)]
    recipe = screen.recipe()
    refused = recipe.get("refused") or {}
    st.markdown(f"**{escape(words[screen.id])}** :gray[in {duration(recipe.get('seconds'))}]"
                + (f" · :orange[{plural(len(refused), 'perturbation')} refused]" if refused else ""))
    if refused:
        with st.expander(f"Refused: {', '.join(list(refused)[:6])}{' …' if len(refused) > 6 else ''}",
                         icon=":material/block:"):
            st.dataframe(pd.DataFrame({"perturbation": list(refused), "why": list(refused.values())}), hide_index=True,
                         alt="What was refused, and why")
    table = screen.ranking()
    stem = f"{prepared.name}-screen-synthetic-{screen.id}"
    tabs = {"Ranking": lambda: _ranking(screen, table, stem), "Map of perturbations": lambda: _map(table, stem),
            "Heat map": lambda: _heat(screen, table, stem), "Pairs": lambda: pairs_view.show(screen, table, stem),
            "Take along": lambda: _downloads(screen, table, stem)}
    for tab, draw in zip(st.tabs(list(tabs), key="screen-tabs", on_change="rerun"), tabs.values(), strict=True):
        if tab.open:
            with tab, guard():
                draw()


def _words(screen: Screen) -> str:
    recipe = screen.recipe()
    of = ", ".join((recipe.get("config", {}).get("where") or {}).values()) or "all control cells"
    return f"{screen.id} · {recipe.get('title') or 'screen'} · {plural(int(recipe.get('n', 0)), 'perturbation')} · {of}"


def ranked(screen: Screen, table: pd.DataFrame) -> pd.DataFrame:
    """Draw by what the list is ranked, and return it in that order with a column for it."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="screen_rank_row"):
        by = str(st.segmented_control("Rank by", [STRENGTH, PROGRAM, LIKENESS], default=STRENGTH, required=True,
                                      key="screen_rank", persist_state="session"))
        if by == LIKENESS:
            one = str(st.selectbox("Like", table["perturbation"].tolist(), key="screen_like", width=300))
            shift = screened.effects_of(screen, "shift")
            r = np.corrcoef(np.nan_to_num(shift.to_numpy(float)))
            alike = pd.Series(np.atleast_2d(r)[shift.index.get_loc(one)], index=shift.index)
            return table.assign(rank_value=table["perturbation"].map(alike)).sort_values(
                "rank_value", ascending=False, kind="stable")
        if by == PROGRAM:
            names = list(programs.collections())
            if not names:
                st.caption("No gene sets yet: bring some under *Predict*, *Programs*.")
                return table.assign(rank_value=table["strength"])
            chosen = str(st.selectbox("Gene sets", names, key="screen_sets", width=240))
            t, _ = programs.reckon(screened.effects_of(screen, "shift"), chosen, programs.stamp())
            one = str(st.selectbox("Program", list(t.columns), key="screen_program", width=360))
            return table.assign(rank_value=table["perturbation"].map(t[one])).sort_values(
                "rank_value", ascending=False, kind="stable")
    return table.assign(rank_value=table["strength"])


def _ranking(screen: Screen, table: pd.DataFrame, stem: str) -> None:
    shown = ranked(screen, table)
    by = st.session_state.get("screen_rank", STRENGTH)
    shown = shown.assign(effect=[EFFECTS.get(e, (e,))[0] for e in shown["effect"]])
    what = {STRENGTH: "strength", PROGRAM: "activity (t)", LIKENESS: "likeness (r)"}[by]
    event = st.dataframe(
        shown, hide_index=True, height=470, key="screen_table", on_select="rerun", selection_mode="multi-row",
        alt="Every perturbation of the list, ranked",
        column_order=["perturbation", "rank_value", "effect", "genes_up", "genes_down", "distance", "reach",
                      *(["additivity"] if shown["additivity"].notna().any() else []), "trained", "how", "half"],
        column_config={
            "rank_value": st.column_config.NumberColumn(what, format="%.2f", help="Strength: length of the predicted "
                                                        "change of all genes (log1p)."),
            "genes_up": st.column_config.NumberColumn("genes up", help="Their 90 % interval lies above zero."),
            "genes_down": st.column_config.NumberColumn("genes down", help="Their 90 % interval lies below zero."),
            "distance": st.column_config.NumberColumn("energy distance", format="%.2f", help="Of its cells to the "
                                                      "control cells they started from, in principal components."),
            "reach": st.column_config.ProgressColumn("reach", min_value=0.0, max_value=1.0, format="%.2f",
                                                     help="0 near what was measured, 1 far from all of it."),
            "additivity": st.column_config.NumberColumn("additivity", format="%.2f", help="Of pairs: 1 adds up, more "
                                                        "is synergy, less is buffering."),
            "trained": st.column_config.CheckboxColumn("in training"),
            "how": st.column_config.TextColumn("mean from"), "half": st.column_config.TextColumn("cells by")},
        placeholder="–")
    picked = [str(shown.iloc[i]["perturbation"]) for i in event["selection"]["rows"] if i < len(shown)]
    doses = {str(n): d for n, d in zip(shown["perturbation"], shown["dose"], strict=True)}
    with st.container(horizontal=True, gap="small"):
        st.button("Look at the chosen ones" if picked else "Tick some to look at them", disabled=not picked,
                  icon=":material/science:", key="screen_look", on_click=_look, args=(screen, picked[:6], doses))
        st.download_button("CSV", data=lambda: shown.to_csv(index=False), file_name=f"{stem}-ranking.csv",
                           mime="text/csv", on_click="ignore", key="screen_csv", type="tertiary",
                           icon=":material/table:")


def _look(screen: Screen, names: list[str], doses: dict[str, float]) -> None:
    """Take perturbations of the list to where one looks at them closely."""
    run = screen.path.parent.parent.name
    st.session_state[f"perturbations-{run}"] = [n.partition(" @ ")[0] for n in names]
    given = [doses[n] for n in names if np.isfinite(doses.get(n, np.nan))]
    if given:
        st.session_state[f"dose-{run}"] = float(given[0])
    st.session_state["perturb_mode"] = "Predict"
    st.session_state["predict_now"] = True


def _map(table: pd.DataFrame, stem: str) -> None:
    if len(table) < 3:
        st.info("A map needs at least three perturbations.")
        return
    options: dict[str, Any] = {"measured": table["trained"].to_numpy(bool)}
    chosen = str(st.selectbox("Find one", ["", *table["perturbation"]], key="screen_find", width=300,
                              format_func=lambda v: v or "none"))
    xy, names = table[["x", "y"]].to_numpy(float), table["perturbation"].tolist()
    values = table["strength"].to_numpy(float)
    st.plotly_chart(effect_maps.perturbation_map(xy, names, values, chosen=chosen, **options), key="screen-map",
                    width="stretch", config=CONFIG, alt="Perturbations that do alike lie near one another")
    figure_bar(lambda fmt, size: effect_maps.export_perturbation_map(xy, names, values, chosen=chosen, fmt=fmt,
                                                                     size=size, **options),
               f"{stem}-map", "screen-map-files", table=table[["perturbation", "x", "y", "strength", "trained"]])
    st.caption("Classical scaling of 1 − Pearson's r between the predicted changes of all genes: those that do alike "
               "lie near one another, whatever their strength.")


def _heat(screen: Screen, table: pd.DataFrame, stem: str) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        most = int(st.number_input("Genes", 5, 120, 50, 5, key="screen_heat_genes", persist_state="session", width=140))
        clustered = st.toggle("Put alike ones together", value=True, key="screen_heat_order", persist_state="session")
    effects = screened.effects_of(screen, "log2fc").loc[table["perturbation"]]
    options: dict[str, Any] = {"most": most, "clustered": clustered and len(effects) > 2}
    st.plotly_chart(effect_maps.effect_heat(effects, **options), key="screen-heat", width="stretch", config=CONFIG,
                    alt="Predicted log2 fold changes, perturbations by genes")
    figure_bar(lambda fmt, size: effect_maps.export_effect_heat(effects, fmt=fmt, size=size, **options),
               f"{stem}-heat-map", "screen-heat-files", table=lambda: effects.reset_index(names="perturbation"))


def _downloads(screen: Screen, table: pd.DataFrame, stem: str) -> None:
    with st.container(horizontal=True, key="screen_downloads"):
        st.download_button("Cells (.h5ad)", data=lambda: (screen.path / CELLS).read_bytes(), on_click="ignore",
                           file_name=f"{stem}.h5ad", mime="application/x-hdf5", icon=":material/download:",
                           key="screen_h5ad", type="primary")
        for words, data, name in (
                ("Ranking (.csv)", lambda: table.to_csv(index=False), "ranking"),
                ("Fold changes (.csv)",
                 lambda: screened.effects_of(screen, "log2fc").to_csv(index_label="perturbation"), "log2fc"),
                ("Pairs (.csv)", lambda: screen.pairs().to_csv(index=False), "pairs")):
            st.download_button(words, data=data, on_click="ignore", file_name=f"{stem}-{name}.csv", mime="text/csv",
                               icon=":material/table:", key=f"screen_{name}")
        st.download_button("Recipe (.json)", data=lambda: json.dumps(screen.recipe(), indent=1), on_click="ignore",
                           file_name=f"{stem}-recipe.json", mime="application/json", icon=":material/receipt_long:",
                           key="screen_recipe")
    st.caption("Every file says that the cells are synthetic: predicted by a model, not measured. "
               f"On disk: `{Path(*screen.path.parts[-4:])}` in the workspace.")
