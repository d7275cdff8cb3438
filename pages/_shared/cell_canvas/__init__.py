"""The cell scatter: every cell a point, drawn by WebGL in the browser, and not rebuilt when data change.

The browser's part is plain JavaScript in this folder: `store.js` (arrays that were sent), `scene.js` (layers),
`colours.js`, `view.js` (zoom and pan), `gl.js` and `flat.js` (drawing with and without WebGL 2), `select.js`
(boxes, lassos, bits), `range.js` and `legend.js`, `table.js`, `tip.js`, `export.js`, `tools.js` (the toolbar),
`canvas.js` (what holds them together) and `input.js` (pointer and keys). They are joined here in that order, as one
module. Streamlit sends a component's script along with every message, so that is `loader.js` alone; the module
travels as one more array, once a session.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import streamlit as st

from pages._shared.cell_canvas import memory
from pages._shared.cell_canvas.colours import gentle_range
from pages._shared.cell_canvas.memory import OnSelect
from pages._shared.cell_canvas.pack import Box, Layer, box_of, frame, pack
from pages._shared.cell_canvas.plain import plain_cells

__all__ = ["Box", "Layer", "OnSelect", "box_of", "cell_canvas", "gentle_range", "pack"]

_HERE = Path(__file__).parent
_PARTS = (
    "store.js", "colours.js", "scene.js", "view.js", "gl.js", "flat.js", "select.js", "range.js", "legend.js",
    "table.js", "tip.js", "export.js", "tools.js", "canvas.js", "input.js",
)


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _joined(names: Sequence[str]) -> str:
    """The files as one, without comment lines and indentation."""
    text = "\n".join(_text(name) for name in names)
    return re.sub(r"^(?:\s*//.*)?\s*\n|^[ \t]+", "", text, flags=re.MULTILINE)


_CANVAS = st.components.v2.component(
    "scdiff_cell_canvas",
    html=_joined(["canvas.html"]),
    css=_joined(["canvas.css", "legend.css"]),
    js=_joined(["loader.js"]),
)
_CODE = np.frombuffer(_joined(_PARTS).encode(), np.uint8)


def cell_canvas(
    layers: Sequence[Layer],
    *,
    key: str,
    height: int = 560,
    categories: Sequence[str] = (),
    palette: Sequence[str] = (),
    colour_title: str = "",
    value_range: tuple[float, float] | None = None,
    first_range: tuple[float, float] | None = None,
    colour_map: str | Sequence[str] = "viridis",
    labels: bool = False,
    summary: str = "",
    extent: Box | None = None,
    fallback: bool = False,
    selected: Mapping[str, np.ndarray] | None = None,
    on_select: OnSelect | None = None,
) -> None:
    """Show cells as points; zoom, pan and hidden groups stay when the data or the colours change.

    Layers are drawn in their order, the last on top. Give the same `key` on every rerun. `extent`
    (x0, x1, y0, y1) is the frame seen first (that of the dots, where left out); the view starts anew only
    when the dots themselves move. `fallback`, or ``?plain=1`` in the page's address, shows a plotly chart
    instead, for browsers without WebGL 2.

    Parameters
    ----------
    value_range
        The whole range of the legend's handles; left out, that of the values.
    first_range
        Where the handles stand at first. Left out, at `value_range`, or where that is left out too, as
        `gentle_range` puts them. What a user chose is remembered for each `colour_title`.
    selected
        What is selected now, as a mask [n] for each layer's name; all other cells fade. Left out, nothing is.
    on_select
        Called with a mask [n] for each layer's name, and with how they came about ("replace", "add", "take",
        "invert"), when cells were selected in the browser, as a callback before the script reruns: keep the masks,
        and give them back as `selected`. Left out, there are no tools to select with.

    Raises
    ------
    ValueError
        Where an array's length is not its layer's number of cells, or two layers share a name.
    """
    if fallback or "plain" in st.query_params:
        plain_cells(
            layers, categories=categories, palette=palette, colour_title=colour_title, value_range=value_range,
            colour_map=colour_map, extent=extent, height=height, key=key, selected=selected, on_select=on_select,
        )
        return
    said = memory.of(key)
    meta, arrays = pack(
        layers, key=key, height=height, categories=categories, palette=palette, colour_title=colour_title,
        value_range=value_range, first_range=first_range, colour_map=colour_map, labels=labels,
        summary=summary, extent=extent, selected=selected, select={"on": on_select is not None, "seq": said.seq},
    )
    said.cells = {spec["name"]: (spec["n"], spec["xy"]["h"]) for spec in meta["layers"]}
    meta["code"] = arrays.name(_CODE, "u1")["h"]
    held = memory.held()
    # `asked`: Streamlit does not hand the browser a message that is the same as one before
    _CANVAS(
        key=key, data=frame({**meta, "asked": said.asked}, arrays, held), height=height,
        on_lack_change=lambda: memory.forget(key), on_select_change=lambda: memory.hear(key, on_select),
    )
    held.update(arrays)
