"""The page that benchmarks/canvas.py measures: so many cells, on the cell canvas or as plotly's scattergl.

`?n=50000&kind=ours` (or `kind=plotly`): the button shows the chart. With `&warm=1` a small chart of the same kind
stands first, so that loading and compiling the code is no part of what is measured.
"""

from __future__ import annotations

import numpy as np
import streamlit as st

from pages._shared.cell_canvas import Layer, cell_canvas
from pages._shared.cell_canvas.plain import plain_scatter

GROUPS = [f"group {i}" for i in range(12)]
GENES = [f"gene {i}" for i in range(8)]
HEIGHT = 640


@st.cache_resource(max_entries=4, show_spinner=False)
def cells(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return positions [n, 2] of twelve groups on a ring, and their codes [n]."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, len(GROUPS), n)
    angle = 2 * np.pi * codes / len(GROUPS)
    centres = np.stack([np.cos(angle), np.sin(angle)], axis=1) * 8
    return (centres + rng.normal(size=(n, 2))).astype(np.float32), codes


@st.cache_resource(max_entries=32, show_spinner=False)
def gene(n: int, name: str) -> np.ndarray:
    """Return a gene's log1p values [n], nought in seven of ten cells."""
    rng = np.random.default_rng(GENES.index(name))
    return (rng.gamma(2, 0.6, n) * (rng.random(n) < 0.3)).astype(np.float32)


def hear(masks: dict[str, np.ndarray], mode: str) -> None:
    """Keep what was selected, as a page would."""
    st.session_state.masks = masks


def layer(n: int, by: str) -> Layer:
    """Return the cells coloured by group or by a gene."""
    xy, codes = cells(n)
    return Layer("real", xy, codes=codes) if by == "group" else Layer("real", xy, values=gene(n, by))


def main() -> None:
    """Draw the page."""
    st.set_page_config(layout="wide")
    n, kind = int(st.query_params.get("n", 1000)), st.query_params.get("kind", "ours")
    cells(n)
    by = st.radio("colour", ["group", *GENES], horizontal=True)
    shown = st.session_state.get("shown", False) or st.button("show the cells")
    st.session_state.shown = shown
    warm = "warm" in st.query_params
    if kind == "plotly":
        if warm:
            st.plotly_chart(plain_scatter([layer(6000, "group")], categories=GROUPS, height=120), key="small")
        if shown:
            st.plotly_chart(plain_scatter([layer(n, by)], categories=GROUPS, height=HEIGHT), key="large")
        return
    if warm:
        cell_canvas([layer(6000, "group")], key="small", height=120, categories=GROUPS)
    if shown:
        cell_canvas([layer(n, by)], key="large", height=HEIGHT, categories=GROUPS, colour_title=by,
                    selected=st.session_state.get("masks"), on_select=hear)
    heard = sum(int(mask.sum()) for mask in st.session_state.get("masks", {}).values())
    st.text(f"the server knows of {heard}")

