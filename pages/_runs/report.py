"""The full report of a run: have it made, look at it, take it along."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from pages._runs import making, report_perturb
from pages._runs.report_parts import CARD, downloads, show_figures, show_recipe
from pages._shared import context
from pages._shared.trouble import escape
from scdiff_core.analysis.report_card import Report
from scdiff_core.engine import report_full
from scdiff_core.engine.report_html import number
from scdiff_core.engine.report_page import card_table
from scdiff_core.workspace import JobDir

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
    perturbs = context.task_of(run) == "perturb"
    values = report_full.read_report(run, report_full.PERTURB if perturbs else report_full.GENERATE)
    reason, old = report_full.ready(run), report_full.stale(run)
    if values is None and not busy:
        if reason:
            st.info(reason, icon=":material/info:")
            return
        st.markdown(
            report_perturb.NONE_YET if perturbs else
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
        (report_perturb.show_values if perturbs else show_values)(run, values)


def show_values(run: JobDir, values: dict[str, Any]) -> None:
    """Draw a report that is there."""
    report = Report.from_dict(values)
    st.markdown(f"**{escape(report.sentence)}**")
    for warning in report.warnings:
        st.warning(escape(warning), icon=":material/warning:")
    with st.container(horizontal=True, vertical_alignment="center"):
        downloads(run, values)
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
