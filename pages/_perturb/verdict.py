"""What is said of a prediction in words: how strong, how far from what was seen, which half made what."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from pages._perturb.shown import Shown, trained_on
from pages._shared.trouble import escape
from scdiff_core.engine.screens import FAR

EFFECTS = {
    "none": ("no detectable effect", "gray", "remove"),
    "weak": ("weak effect", "blue", "signal_cellular_alt_1_bar"),
    "clear": ("clear effect", "green", "signal_cellular_alt_2_bar"),
    "strong": ("strong effect", "orange", "signal_cellular_alt"),
}
NEAR, MIDDLE = 0.35, FAR
COUNTERFACTUAL = (
    "Predicted cells are a population, as it would be after the perturbation. None of them is one of your control "
    "cells after treatment: a control cell is only where a predicted one **started from**."
)


def reach_words(reach: float | None) -> tuple[str, str]:
    """Return how far a perturbation is from all that was seen, in words, and the colour of it."""
    if reach is None:
        return "reach not known", "gray"
    if reach <= NEAR:
        return f"near what was seen ({reach:.2f})", "green"
    if reach <= MIDDLE:
        return f"some way off ({reach:.2f})", "blue"
    return f"out of reach ({reach:.2f})", "red"


def asked_words(config: dict[str, Any]) -> str:
    """Return in words what was asked for."""
    names = list(config.get("perturbations") or [])
    of = ", ".join(f"{v}" for v in (config.get("where") or {}).values())
    words = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    dose = config.get("dose")
    return words + (f" · dose {dose:g}" if dose is not None else "") + (f" · {of}" if of else " · all control cells")


def head(shown: Shown, name: str, stale: bool = False) -> None:
    """Draw the verdict on one perturbation: a line of badges, and what must be said besides."""
    told = shown.told(name)
    words, colour, icon = EFFECTS.get(str(told.get("effect")), ("effect not told", "gray", "help"))
    reach = told.get("reach")
    far, far_colour = reach_words(reach)
    seen = name in trained_on(shown.prepared)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="verdict"):
        if len(shown.names) == 1:  # else it stands in the choice above
            st.markdown(f"**{escape(name)}**", width="content")
        st.badge(words, icon=f":material/{icon}:", color=colour)  # type: ignore[arg-type]
        st.badge("in the training data" if seen else "never trained on", color="blue" if seen else "violet",
                 icon=":material/model_training:" if seen else ":material/visibility_off:")
        st.badge(far, icon=":material/social_distance:", color=far_colour)  # type: ignore[arg-type]
        if stale:
            st.badge("settings changed since", icon=":material/history:", color="orange")
        if told.get("half"):
            st.badge(f"cells: {told['half']}", icon=":material/scatter_plot:", color="gray")
    if told.get("effect") == "none":
        st.info("**No detectable effect.** Nothing that this perturbation is expected to do stands out from the noise "
                "of cells that were not perturbed. That is an answer: do not read single genes out of the figures "
                "below.", icon=":material/remove:")
    if isinstance(reach, int | float) and reach > FAR:
        st.warning("**Out of reach.** Nothing like it was measured: what follows is little more than the mean of what "
                   "the other perturbations do. Measure it, or bring embeddings that relate it to those that were.",
                   icon=":material/social_distance:")


def foot(shown: Shown, name: str) -> None:
    """Draw how good it is where it was measured, and which half of the model earned what."""
    told = shown.told(name)
    said = []
    if told.get("pearson") is not None:
        said.append(f"Against the real cells: Pearson of change **{told['pearson']:.2f}**")
    if told.get("e_distance") is not None:
        floor = f", half of the real cells against the other half {distance(told['floor'])}" \
            if told.get("floor") is not None else ""
        said.append(f"energy distance **{distance(told['e_distance'])}** (control cells as they are "
                    f"{_number(told.get('control_e_distance'))}{floor})")
    if said and name in trained_on(shown.prepared):
        said.append("*these cells were trained on: that flatters*")
    lines = [", ".join(said) + "."] if said else []
    if any(isinstance(told.get(k), int | float) and told[k] < 0 for k in ("e_distance", "floor")):
        lines.append("An energy distance of 0* was reckoned a little below zero: its expectation is exactly zero for "
                     "cells of one kind, so that chance takes it to either side.")
    if told.get("how") and str(told["how"]) not in str(told.get("words")):
        lines.append(f"Mean: {escape(str(told['how']))}.")
    if told.get("words"):
        lines.append(escape(str(told["words"])))
    st.caption("  \n".join([*lines, COUNTERFACTUAL]))


def distance(value: float) -> str:
    """Return an energy distance as text: one that chance took below zero is 0, with a star."""
    return "0*" if value < 0 else f"{value:.3f}"


def _number(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, int | float) else "unknown"


def table(shown: Shown) -> pd.DataFrame:
    """Return one row a perturbation with all that is said of it."""
    rows = []
    for name in shown.names:
        told = shown.told(name)
        rows.append({
            "perturbation": name, "effect": EFFECTS.get(str(told.get("effect")), ("unknown",))[0],
            "trained on": name in trained_on(shown.prepared), "reach": told.get("reach"), "mean from": told.get("how"),
            "cells by": told.get("half"), "cells": told.get("n_cells"),
            "measured cells": len(shown.measured_rows(name)), "Pearson of change": told.get("pearson"),
            "energy distance": told.get("e_distance"), "its floor": told.get("floor")})
    return pd.DataFrame(rows)
