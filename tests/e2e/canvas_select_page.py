"""The page of test_e2e_canvas_select.py: three groups of real cells, generated ones over them, and a selection."""

import numpy as np
import streamlit as st

from pages._shared.cell_canvas import Layer, cell_canvas

st.set_page_config(layout="wide")
state = st.session_state
state.setdefault("masks", None)
state.setdefault("heard", 0)
N = int(st.query_params.get("n", 600))

rng = np.random.default_rng(0)
centres = np.array([[-8.0, -8.0], [8.0, -8.0], [0.0, 8.0]])
codes = np.arange(N) % 3
xy = centres[codes] + rng.uniform(-2, 2, (N, 2))
made = centres[np.arange(90) % 3] + rng.uniform(-2, 2, (90, 2))
# two values lie far above all others
genes = {name: np.where(np.arange(N) < 2, 100.0, rng.uniform(0, 4, N)) for name in ("CD8A", "MS4A1")}


def hear(masks: dict[str, np.ndarray], mode: str) -> None:
    """Keep what was selected."""
    state.masks = masks
    state.heard += 1


if st.button("select the first hundred"):
    state.masks = {"real": np.arange(N) < 100, "generated": np.zeros(90, bool)}
by = st.radio("colour", ["type", *genes], horizontal=True)
grey = st.checkbox("real in grey")
cell_canvas(
    [Layer("real", xy, codes=codes if by == "type" else None, values=genes.get(by), grey=grey),
     Layer("generated", made, "ring", codes=np.arange(90) % 3)],
    key="cells", categories=["B cell", "T cell", "NK"], height=480, colour_title=by, labels=by == "type",
    selected=state.masks, on_select=None if "nopick" in st.query_params else hear,
)
masks = state.masks or {}
said = [f"{name} {int(mask.sum())} {np.flatnonzero(mask)[:400].tolist()}" for name, mask in masks.items()]
st.text(f"heard {state.heard}: " + "; ".join(said))
