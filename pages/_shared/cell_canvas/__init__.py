"""The cell scatter: every cell a point, drawn by WebGL in the browser, and not rebuilt when data change.

The browser's part is plain JavaScript in this folder: `scene.js` (the data), `view.js` (zoom and pan),
`gl.js` and `flat.js` (drawing with and without WebGL 2), `legend.js`, `export.js`, `canvas.js` (what
holds them together) and `input.js` (pointer and keys). Streamlit takes one string, so they are joined
here in that order, as one module.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from pages._shared.cell_canvas.pack import Layer, frame, pack
from pages._shared.cell_canvas.plain import plain_scatter

__all__ = ["Layer", "cell_canvas", "pack"]

_HERE = Path(__file__).parent
_PARTS = ("scene.js", "view.js", "gl.js", "flat.js", "legend.js", "export.js", "canvas.js", "input.js")


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


_CANVAS = st.components.v2.component(
    "scdiff_cell_canvas",
    html=_text("canvas.html"),
    css=_text("canvas.css"),
    js="\n".join(_text(part) for part in _PARTS),
)


def cell_canvas(
    layers: Sequence[Layer],
    *,
    key: str,
    height: int = 560,
    categories: Sequence[str] = (),
    palette: Sequence[str] = (),
    colour_title: str = "",
    value_range: tuple[float, float] | None = None,
    colour_map: str | Sequence[str] = "viridis",
    labels: bool = False,
    summary: str = "",
    extent: tuple[float, float, float, float] | None = None,
    fallback: bool = False,
) -> None:
    """Show cells as points; zoom, pan and hidden groups stay when the data or the colours change.

    Layers are drawn in their order, the last on top. Give the same `key` on every rerun. `extent`
    (x0, x1, y0, y1) is the frame seen first (that of the dots, where left out); the view starts anew only
    when the dots themselves move. `fallback`, or ``?plain=1`` in the page's address, shows a plotly chart
    instead, for browsers without WebGL 2.

    Raises
    ------
    ValueError
        Where an array's length is not its layer's number of cells, or two layers share a name.
    """
    if fallback or "plain" in st.query_params:
        figure = plain_scatter(
            layers, categories=categories, palette=palette, colour_title=colour_title,
            value_range=value_range, colour_map=colour_map, extent=extent, height=height,
        )
        st.plotly_chart(figure, key=f"{key}_plain", width="stretch")
        return
    meta, body = pack(
        layers, key=key, height=height, categories=categories, palette=palette, colour_title=colour_title,
        value_range=value_range, colour_map=colour_map, labels=labels, summary=summary, extent=extent,
    )
    _CANVAS(key=key, data=frame(meta, body), height=height)
