"""The full report of a run: have it made, look at it, take it along."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import streamlit as st

from pages._runs import making
from pages._shared.trouble import escape
from scdiff_core.analysis.report_card import Report
from scdiff_core.engine import report_full
from scdiff_core.engine.report_html import number, picture
from scdiff_core.engine.report_page import card_table
from scdiff_core.workspace import JobDir

PANEL = (
    '<div style="background:#fff;border-radius:6px;padding:8px;border:1px solid rgba(128,128,128,.3)">'
    "<style>.report-figure img{{max-width:100%;max-height:440px;height:auto;display:block;margin:auto}}</style>"
    '<div class="report-figure">{}</div></div>'
)
CARD = (
    "<div><style>.report-table table{{width:100%;border-collapse:collapse;font-size:.92rem;line-height:1.4}}"
    ".report-table th,.report-table td{{padding:.4rem .6rem;text-align:left;vertical-align:top;"
    "border-bottom:1px solid rgba(128,128,128,.28)}}.report-table .n{{text-align:right;"
    "font-variant-numeric:tabular-nums;white-space:nowrap}}.report-table th.n{{white-space:normal}}"
    ".report-table small{{opacity:.72}}.report-table .verdict{{font-weight:600;white-space:nowrap}}"
    ".report-table td:last-child{{width:44%}}.report-table .wide{{overflow-x:auto}}</style>"
    '<div class="report-table">{}</div></div>'
)
TYPE_COLUMNS = {
    "told apart (AUC)": ("rf_auc", "rf_auc_floor", ""),
    "energy distance": ("energy", "energy_floor", ""),
    "type as asked": ("agreement", "agreement_real", "%"),
    "fold changes: slope": ("slope", "slope_floor", ""),
    "zeros": ("zeros", "zeros_real", "%"),
    "library size": ("library", "library_real", ""),
}


def show_report(run: JobDir) -> None:
    """Draw the report of a run, or what stands in its way."""
    busy = making.follow(run)
    values = report_full.read_report(run)
    reason, old = report_full.ready(run), report_full.stale(run)
    if values is None and not busy:
        if reason:
            st.info(reason, icon=":material/info:")
            return
        st.markdown(
            f"No report of this run yet. It generates {report_full.CELLS:,} cells, holds them against held-out real "
            "ones, and draws every figure. That takes **one to three minutes** beside whatever else you do here; the "
            "report then stays with the run."
        )
    if old:
        st.warning(old, icon=":material/history:")
    wanted = not busy and not reason and (values is None or bool(old))
    if wanted and st.button("Make the report", type="primary", icon=":material/lab_profile:", key="make_report"):
        making.begin(run)
        st.rerun()
    if values is not None:
        show_values(run, values)


def show_values(run: JobDir, values: dict[str, Any]) -> None:
    """Draw a report that is there."""
    report = Report.from_dict(values)
    st.markdown(f"**{escape(report.sentence)}**")
    for warning in report.warnings:
        st.warning(escape(warning), icon=":material/warning:")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "Report (.html)",
            data=lambda: (report_full.folder(run) / report_full.PAGE).read_bytes(),
            file_name=f"{run.id}-report.html",
            mime="text/html",
            icon=":material/download:",
            on_click="ignore",
            key="report_html",
            type="primary",
            help="One file with all tables and figures: opens without internet, prints well.",
        )
        st.download_button(
            "Figures (.json)",
            data=lambda: json.dumps(values, indent=1),
            file_name=f"{run.id}-report.json",
            mime="application/json",
            icon=":material/data_object:",
            on_click="ignore",
            key="report_json",
            help="Every number of the report, for scripts.",
        )
        st.caption(
            f"{report.n_cells:,} generated cells against as many held-out real ones of "
            f"{escape(values['data']['dataset'])} · made {values['made']}"
        )
    show_card(report)
    if values["types"]:
        st.markdown("##### Each type")
        show_types(values["types"])
    st.markdown("##### Pictures")
    show_figures(values["figures"], report_full.read_figures(run))
    with st.expander("The data, the recipe, versions", icon=":material/receipt_long:"):
        show_recipe(values)


def show_card(report: Report) -> None:
    """Draw every figure beside its floor and its baselines, with its sentence in full."""
    st.html(CARD.format(card_table(report)))
    st.caption(
        "The floor: the same for real training cells in the place of the generated ones, or the held-out cells' own "
        "figure: the best that could be expected. The other columns are what simple tricks reach."
    )


def show_types(rows: list[dict[str, Any]]) -> None:
    """Draw one line for each type: each figure, and after a stroke the same of real cells."""

    def plain(value: Any, unit: str) -> str:
        return number(value, unit).replace("&nbsp;", " ")

    table = pd.DataFrame(
        [
            {
                "type": row["label"],
                "cells": f"{row['generated']:,}",
                "held out": f"{row['test']:,}",
                "to learn from": f"{row['train']:,}",
                **{name: f"{plain(row[a], u)} | {plain(row[b], u)}" for name, (a, b, u) in TYPE_COLUMNS.items()},
            }
            for row in rows
        ]
    )
    st.dataframe(
        table,
        hide_index=True,
        height=min(500, 38 + 35 * len(table)),
        key="report_types",
        alt="Each cell type: generated cells beside real ones",
    )
    st.caption(
        "Generated | real: training cells in the generated ones' place for the first two and the slope, held-out cells "
        "for the others. A dash: too few cells of that type to say."
    )


def show_figures(told: list[dict[str, Any]], drawn: dict[str, bytes]) -> None:
    """Draw every figure with its caption and the table behind it, two beside each other."""
    shown = [f for f in told if f["key"] in drawn]
    for start in range(0, len(shown), 2):
        for place, figure in zip(st.columns(2, gap="medium"), shown[start : start + 2], strict=False):
            with place:
                st.markdown(f"**{escape(figure['title'])}**")
                st.caption(escape(figure["caption"]))
                st.html(PANEL.format(picture(drawn[figure["key"]], figure["alt"])))
                with st.expander("The table behind it"):
                    st.dataframe(
                        pd.DataFrame(figure["rows"], columns=figure["columns"]),
                        hide_index=True,
                        height=300,
                        key=f"behind-{figure['key']}",
                        alt=f"The table behind the figure {figure['title']}",
                    )


def show_recipe(values: dict[str, Any]) -> None:
    """Draw what the data was, every setting, seeds and versions."""
    data = values["data"]
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown(
            f"**Data**: {escape(data['dataset'])} from {escape(data['source'] or 'an unknown source')}, "
            f"{data['n_cells']:,} cells of {data['n_genes']:,} genes, {data['n_train']:,} to learn from and "
            f"{data['n_test']:,} held out."
        )
        for step in data["steps"]:
            st.markdown(f"- {escape(step)}")
        versions = values["environment"].get("versions", {})
        st.markdown("**Versions**: " + escape(", ".join(f"{k} {v}" for k, v in versions.items())))
        st.markdown(f"**Seeds**: training {values['recipe'].get('seed')}, generation {values['generated']['seed']}")
    with right:
        st.code(values["recipe_yaml"], language="yaml", height=420)
