"""The report of a model of perturbations: held-out conditions, this model beside every baseline and the floor."""

from __future__ import annotations

from typing import Any

import streamlit as st

from pages._runs.report_parts import CARD, downloads, show_figures, show_recipe
from pages._shared.trouble import escape
from scdiff_core.engine import report_full
from scdiff_core.workspace import JobDir

NONE_YET = (
    "No report of this run yet. It predicts the perturbations that were held out, and holds them against the real "
    "cells beside every baseline. That takes **one to two minutes** beside whatever else you do here; the report then "
    "stays with the run."
)


def show_values(run: JobDir, values: dict[str, Any]) -> None:
    """Draw a report that is there."""
    # it brings scipy's statistics along, which other reports need not wait for
    from scdiff_core.engine import report_perturb_page as page

    st.markdown(f"**{escape(values['sentence'])}**")
    if values["below"] or values["below_own"]:
        st.warning("  \n".join(escape(line) for line in values["lines"]), icon=":material/trending_down:")
    else:
        st.success(escape(values["lines"][0]), icon=":material/check_circle:")
    if not values["unseen"]:
        st.warning(escape(values["notes"][0]), icon=":material/warning:")
    st.caption("  \n".join(escape(note) for note in values["notes"][0 if values["unseen"] else 1 :]))
    with st.container(horizontal=True, vertical_alignment="center"):
        downloads(run, values)
        st.caption(f"Of {escape(values['data']['dataset'])} · made {values['made']}")
    st.html(CARD.format(page.scores(values)))
    parts = {"Six scaled scores": page.six, "Which half earned what": page.halves, "Each condition": page.conditions,
             "What training still knew": page.leakage}
    for title, draw in parts.items():
        inside = draw(values)
        if inside:
            st.markdown(f"##### {title}")
            st.html(CARD.format(inside))
    st.markdown("##### Pictures")
    show_figures(values["figures"], report_full.read_figures(run))
    with st.expander("The data, the recipe, versions", icon=":material/receipt_long:"):
        show_recipe(values)
