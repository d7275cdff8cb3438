"""What the reports of all kinds of runs share on the Runs page: tables, downloads, pictures, the recipe."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import streamlit as st

from pages._shared.trouble import escape
from scdiff_core.engine import report_full
from scdiff_core.engine.report_html import picture
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
    ".report-table .full td:last-child:not(.n){{width:44%}}.report-table .wide{{overflow-x:auto}}</style>"
    '<div class="report-table">{}</div></div>'
)


def downloads(run: JobDir, values: dict[str, Any]) -> None:
    """Draw the buttons that take a report along."""
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
                        placeholder="–",
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
        other = f"generation {values['generated']['seed']}" if "generated" in values else \
            f"report {values['settings']['seed']}"
        st.markdown(f"**Seeds**: training {values['recipe'].get('seed')}, {other}")
    with right:
        st.code(values["recipe_yaml"], language="yaml", height=420)
