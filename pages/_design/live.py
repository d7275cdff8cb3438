"""The particles while they are designed, on the map of real cells: they spread, and gather where the target is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import streamlit as st

from pages._shared import worker
from pages._shared.cell_canvas import Layer, box_of, cell_canvas
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine.design_set import LIVE
from scdiff_core.workspace import JobDir


def read(path: Path) -> dict[str, np.ndarray] | None:
    """Return what the worker wrote last; None before the first, or while it is replaced."""
    try:
        with np.load(path / LIVE, allow_pickle=False) as arrays:
            return {k: arrays[k] for k in arrays.files}
    except (OSError, ValueError, EOFError):
        return None


def show(run: JobDir, prepared: Prepared, key: str) -> None:
    """Draw the particles of the request of that key, until it has ended."""
    @st.fragment(run_every=0.6, key="design-live")
    def beat() -> None:
        asked = worker.under_way(key)
        if asked is None:
            st.rerun(scope="app")
        now = read(run.outputs / asked.note)
        layers = [Layer("real cells", prepared.X_umap, behind=True)]
        words = "The first estimates appear in a moment."
        if now is not None and len(now["xy"]):
            layers.append(Layer("in the making (synthetic)", now["xy"], shape="ring",
                                codes=np.zeros(len(now["xy"]), np.int32)))
            words = "What the candidates would be if they were finished now."
        cell_canvas(layers, key=f"design-live-{run.id}", height=470, categories=("in the making (synthetic)",),
                    palette=("#D55E00",), extent=box_of(prepared.X_umap),
                    summary=f"UMAP of {prepared.n_cells:,} real cells. {words}")
        st.caption(words + " While they are made, cells are placed among their nearest real ones, which flatters them.")

    beat()
