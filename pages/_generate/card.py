"""The report card beside the cells: each figure with its floor, its baselines, and what it says."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from pages._shared import worker
from pages._shared.trouble import error_box, escape
from scdiff_core.analysis.report_card import COPIES, Report
from scdiff_core.engine.outputs import GeneratedSet
from scdiff_core.errors import ScdiffError

MARKS = {"good": "● good", "fair": "◐ fair", "poor": "○ poor", "unclear": "– unclear"}


def _key(made: GeneratedSet) -> str:
    return f"report-{made.path}"


def show_card(made: GeneratedSet) -> None:
    """Draw the report card of a generated set; where there is none yet, have it made and wait."""
    values = made.report()
    if values is None:
        _wait(made)
        return
    report = Report.from_dict(values)
    st.markdown(f"**{escape(report.sentence)}**")
    for warning in report.warnings:
        st.warning(escape(warning), icon=":material/warning:")
    baselines = [b for b in dict.fromkeys(name for row in report.rows for name in row.baselines) if b != COPIES]
    table = pd.DataFrame(
        [
            {
                "figure": row.title,
                "verdict": MARKS.get(row.verdict, row.verdict),
                "generated": row.show(row.value),
                "real against real": row.show(row.floor),
                **{name: row.show(row.baselines.get(name)) for name in baselines},
                "what it says": row.sentence,
                "measured": row.about,
            }
            for row in report.rows
        ]
    )
    st.dataframe(
        table,
        hide_index=True,
        height=38 + 35 * len(table),
        key=f"card-{made.id}",
        alt="Report card of the generated cells",
        column_config={
            "real against real": st.column_config.TextColumn(
                help="The floor: real training cells in the place of the generated ones. No model can be "
                "expected to do better."
            ),
            "what it says": st.column_config.TextColumn(width="large"),
            "measured": st.column_config.TextColumn(width="large"),
        },
    )
    st.caption(
        f"{report.n_cells:,} generated cells against as many real cells that were never trained on. "
        "*Real against real* is the best that could be expected; the baselines are what simple tricks reach. "
        + (
            "Forests of 300 trees, five folds."
            if report.settings.get("thorough")
            else f"Quick forests of {report.settings.get('trees')} trees, {report.settings.get('folds')} folds; "
            "the full report on the Runs page takes the thorough ones (300 trees, five folds), and more figures."
        )
    )


def _wait(made: GeneratedSet) -> None:
    try:
        asked = worker.submit(_key(made), "report", out_dir=str(made.path))
    except ScdiffError as error:
        error_box(error)
        return

    @st.fragment(run_every=0.6, key=f"card-{made.id}-wait")
    def beat() -> None:
        said = asked.look()
        if asked.ended and (made.path / "report.json").exists():
            worker.forget(_key(made))
            st.rerun(scope="app")
        if said.get("error"):
            error_box(said["error"])
            return
        words = str(said.get("phase") or "comparing with real cells")
        st.progress(min(1.0, float(said.get("progress") or 0.0)), text=f"Report card: {words}…")
        st.skeleton(height=330)

    beat()
