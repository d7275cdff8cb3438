"""Generate: everything a model of cells can be asked for, one way of asking at a time."""

from __future__ import annotations

import streamlit as st

from pages._generate import changed, denoise, fill, new_cells, paths, typical
from pages._shared import context, frame

MODES = {  # the way of asking: what it is called, and what draws it into the two columns
    "cells": ("New cells", new_cells.draw),
    "trajectory": ("Trajectory", paths.draw),
    "change": ("From my cells", changed.draw),
    "denoise": ("Denoise", denoise.draw),
    "fill": ("Fill up rare types", fill.draw),
    "typical": ("Typical or odd", typical.draw),
}

with frame.page("Generate", "Ask the model for new cells and hold them against real ones it has never seen."):
    runs = [r for r in context.workspace().list("train")
            if (r.checkpoints / "best.safetensors").exists() and context.task_of(r) != "perturb"]
    if not runs:
        context.needs("No trained model yet.", "pages/train.py", "Go to Train")
    mode = "cells"
    if len(MODES) > 1:
        mode = str(st.segmented_control("What to do", list(MODES), default="cells", required=True,
                                        format_func=lambda m: MODES[m][0], label_visibility="collapsed",
                                        key="generate_mode", persist_state="session"))
    left, right = st.columns([1, 3], gap="large")
    with left:
        run = context.choose_model(runs)
        prepared = context.dataset_of(run)
    MODES[mode][1](run, prepared, left, right)
