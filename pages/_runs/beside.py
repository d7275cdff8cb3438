"""Two runs side by side: every figure of both, and which is better by more than chance."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from pages._generate.card import MARKS
from pages._runs.report_parts import PANEL
from pages._shared.trouble import escape
from pages._shared.words import plural
from scdiff_core.engine import report_compare, report_full
from scdiff_core.engine.report_html import picture
from scdiff_core.workspace import JobDir


def show_beside(runs: list[JobDir], titles: dict[str, str]) -> None:
    """Let two runs be chosen, and lay their reports side by side."""
    reports = {run.id: values for run in runs if (values := report_full.read_report(run)) is not None}
    if len(reports) < 2:
        st.info(
            f"Two runs with a report are needed, and {'one has' if reports else 'none has'} one yet: choose a run "
            "above and make its report under *Report*.",
            icon=":material/info:",
        )
        return
    names = list(reports)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        first, second = (
            st.selectbox(
                words,
                names,
                index=i,
                format_func=titles.__getitem__,
                key=f"beside_{i}",
                persist_state="session",
                width=320,
            )
            for i, words in enumerate(("First run", "Second run"))
        )
        if first == second:
            st.caption("Choose two different runs.")
            return
        a, b = ({**reports[key], "title": titles[key]} for key in (first, second))
        by_id = {run.id: run for run in runs}
        drawn = [report_full.read_figures(by_id[key]) for key in (first, second)]
        st.download_button(
            "Both (.html)",
            data=lambda: report_compare.compare_page(a, b, *drawn),
            file_name=f"{first}-and-{second}.html",
            mime="text/html",
            icon=":material/download:",
            on_click="ignore",
            key="beside_html",
        )
    lines = report_compare.compare(a, b)
    st.markdown(f"**{escape(report_compare.summary(lines, a, b))}**")
    warning = report_compare.caution(a, b)
    if warning:
        st.warning(escape(warning), icon=":material/warning:")
    for key in (first, second):
        old = report_full.stale(by_id[key])
        if old:
            st.warning(f"{escape(titles[key])}: {escape(old)}", icon=":material/history:")
    one, two = (titles[key] for key in (first, second))
    if one == two:
        one, two = first, second
    table = pd.DataFrame(
        [
            {
                "figure": line.title,
                "which is better": line.said,
                **{
                    f"{name}{part}": value
                    for name, row in ((one, line.a), (two, line.b))
                    for part, value in (
                        ("", row.show(row.value) if row else "-"),
                        (": floor", row.show(row.floor) if row else "-"),
                        (": verdict", MARKS.get(row.verdict, row.verdict) if row else "-"),
                    )
                },
                "measured": line.about,
            }
            for line in lines
        ]
    )
    st.dataframe(
        table,
        hide_index=True,
        height=38 + 35 * len(table),
        key="beside_table",
        alt="Every figure of two runs beside their floors",
        column_config={"measured": st.column_config.TextColumn(width="large")},
    )
    st.caption(
        "Better: nearer to its own floor by more than twice what real cells vary by chance. One report a run is one "
        "draw: train with several seeds before you trust a small difference."
    )
    other = report_compare.differences(a, b)
    if other:
        with st.expander(f"What was done differently ({plural(len(other), 'setting')})", icon=":material/tune:"):
            st.dataframe(
                pd.DataFrame(other, columns=["setting", one, two]),
                hide_index=True,
                key="beside_settings",
                alt="Settings in which the two runs differ",
                placeholder="–",
            )
    told = {f["key"]: f for values in (b, a) for f in values["figures"]}
    for key, figure in told.items():
        st.markdown(f"**{escape(figure['title'])}**")
        for place, name, own in zip(st.columns(2, gap="medium"), (one, two), drawn, strict=True):
            with place:
                st.caption(escape(name))
                if key in own:
                    st.html(PANEL.format(picture(own[key], f"{name}: {figure['alt']}")))
                else:
                    st.caption("This run has no such figure.")
