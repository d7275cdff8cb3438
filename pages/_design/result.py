"""What came out: the sentence, the map, each row against real cells, and how real the cells look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from pages._design import downloads, neighbours, overview, side_effects
from pages._design.bring import rows_in_words
from pages._design.draft import Draft, of_target
from pages._design.feasible import WORDS, percent
from pages._design.shown import Shown
from pages._explore import panel
from pages._explore.scene import Scene
from pages._shared.trouble import escape, guard
from scdiff_core import target as targets
from scdiff_core.engine.outputs import GeneratedSet
from scdiff_core.errors import ScdiffError


def head(shown: Shown, draft: Draft) -> None:
    """Draw the sentence, the word on feasibility, and what must be said besides."""
    report = shown.report
    st.markdown(f"##### {escape(report.words)}")
    word = str(report.feasibility.get("word") or "")
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="design_badges"):
        if word in WORDS:
            words, colour, icon, _ = WORDS[word]
            st.badge(words, icon=f":material/{icon}:", color=colour)  # type: ignore[arg-type]
        st.badge(f"{report.ancestors} independent beginnings", icon=":material/diversity_3:", color="gray")
        st.badge(f"{report.seconds:.1f} s", icon=":material/timer:", color="gray")
        if stale(shown, draft):
            st.badge("target changed since", icon=":material/history:", color="orange")
        st.markdown(f":gray[{escape(title(shown))}]", width="content")
    if report.warnings:
        st.warning("  \n".join(escape(str(w)) for w in report.warnings), icon=":material/warning:")
    if report.moved:
        st.caption(moved_words(report.moved))


def title(shown: Shown) -> str:
    """Return in words what was asked for."""
    config = shown.config
    try:
        draft = of_target(targets.parse(config.get("target") or {}))
    except ScdiffError:
        return shown.made.id
    kind = draft.rest.get("cell_type")
    return rows_in_words(draft) + (f" · {kind}" if kind else "") + f" · {int(config.get('n_cells', 0)):,} cells"


def moved_words(moved: Mapping[str, Any]) -> str:
    """Return in words how far cells were moved that a design began from."""
    t, tried = float(moved.get("t", 0.0)), list(moved.get("tried") or ())
    words = f"Started from {int(moved.get('from', 0)):,} of your cells, moved {100 * t:.0f} % of the way to a new cell."
    if len(tried) > 1:
        steps = ", ".join(f"{100 * float(a):.0f} %: {percent(float(b))} met it" for a, b in tried)
        words += f" Less did not suffice ({steps})."
    return words


def stale(shown: Shown, draft: Draft) -> bool:
    """Say whether the target was edited since, by what it asks and not by how it is written."""
    if not draft.items:
        return False
    try:
        now = draft.target()
        then = targets.parse(shown.config.get("target") or {})
    except ScdiffError:
        return True
    return _asked(now) != _asked(_unfilled(then, now))


def _asked(target: targets.Target) -> Any:
    return target.model_dump(mode="json", exclude_none=True)


def _unfilled(then: targets.Target, now: targets.Target) -> targets.Target:
    """Return a target without the levels that were filled in where a row of `now` says none."""
    if [r.name for r in then.rows] != [r.name for r in now.rows]:
        return then
    rows = [a.model_copy(update={"level": None, "top": b.top}) if b.level is None else a
            for a, b in zip(then.rows, now.rows, strict=True)]
    n = len(then.genes)
    return then.model_copy(update={"genes": tuple(rows[:n]), "programs": tuple(rows[n:])})


def show(shown: Shown, draft: Draft) -> None:
    """Draw a designed set with everything that belongs to it."""
    head(shown, draft)
    tabs = {
        "Overview": lambda: overview.show(shown),
        "Rows": lambda: overview.rows(shown),
        "Realism": lambda: overview.realism(shown),
        "Side effects": lambda: side_effects.show(shown),
        "Programs": lambda: side_effects.programs_of(shown),
        "Nearest cells": lambda: neighbours.show(shown),
        "Explore": lambda: panel.show_tabs(Scene(shown.job, shown.prepared, shown.run, GeneratedSet(shown.made.path)),
                                           "design-explore", {}, height=420),
        "Download": lambda: downloads.show(shown),
    }
    for tab, draw in zip(st.tabs(list(tabs), key="design-tabs", on_change="rerun"), tabs.values(), strict=True):
        if tab.open:
            with tab, guard():
                draw()
