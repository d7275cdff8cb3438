"""The same cells as a plotly chart, with box and lasso: slower, for who asks for it or has no canvas at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from pages._shared.cell_canvas.colours import OKABE_ITO, colour_stops
from pages._shared.cell_canvas.memory import OnSelect
from pages._shared.cell_canvas.pack import Layer

_GREY = "rgba(128,128,128,0.45)"
_SVG_UP_TO = 5_000  # beyond it SVG crawls, and plotly's own (first-generation) WebGL has to do


def plain_scatter(
    layers: Sequence[Layer],
    *,
    categories: Sequence[str] = (),
    palette: Sequence[str] = (),
    colour_title: str = "",
    value_range: tuple[float, float] | None = None,
    colour_map: str | Sequence[str] = "viridis",
    extent: tuple[float, float, float, float] | None = None,
    height: int = 560,
    selected: Mapping[str, np.ndarray] | None = None,
) -> go.Figure:
    """Return a plotly figure of the layers, one trace for each group (arguments as for `cell_canvas`).

    Each trace's `meta` is its layer's name; its cells are those of `rows_of`, in that order.
    """
    some = any(np.any(mask) for mask in (selected or {}).values())
    palette = list(palette) or list(OKABE_ITO)
    figure = go.Figure()
    trace = go.Scatter if sum(len(layer.xy) for layer in layers) <= _SVG_UP_TO else go.Scattergl
    told: set[str] = set()
    for layer in layers:
        xy = np.asarray(layer.xy, float)
        symbol = "circle-open" if layer.shape == "ring" else "circle"
        marker = {"symbol": symbol, "size": 6 * layer.size if layer.shape == "ring" else 4 * layer.size}

        def add(
            rows: np.ndarray, name: str, style: dict, *, layer: Layer = layer, xy: np.ndarray = xy,
            marker: dict = marker,
        ) -> None:
            # with a selection, a trace without a selected cell fades as a whole
            mask = (selected or {}).get(layer.name, np.zeros(len(xy), bool)) if some else None
            figure.add_trace(trace(
                x=xy[rows, 0], y=xy[rows, 1], mode="markers", name=name, legendgroup=name,
                showlegend=name not in told, marker={**marker, **style}, meta=layer.name,
                selectedpoints=None if mask is None else np.flatnonzero(np.asarray(mask, bool)[rows]),
                unselected={"marker": {"opacity": 0.12}},
                hovertemplate=f"{layer.name}<br>{name}<extra></extra>",
            ))
            told.add(name)

        groups = rows_of(layer, len(categories))
        if layer.grey or layer.behind or (layer.values is None and layer.codes is None):
            add(groups[0][1], layer.name, {"color": _GREY if layer.grey or layer.behind else palette[0]})
        elif layer.values is not None:
            stops = colour_stops(colour_map)
            low, high = value_range or (None, None)
            add(groups[0][1], layer.name, {
                "color": np.asarray(layer.values, float), "cmin": low, "cmax": high,
                "colorscale": [[i / (len(stops) - 1), stop] for i, stop in enumerate(stops)],
                "colorbar": {"title": colour_title}, "showscale": True,
            })
        else:
            for code, rows in groups:
                name = str(categories[code]) if code is not None else "no label"
                add(rows, name, {"color": _GREY if code is None else palette[code % len(palette)]})
    figure.update_layout(
        height=height, margin={"l": 0, "r": 0, "t": 0, "b": 0}, legend_title=colour_title,
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", uirevision="cells",
    )
    figure.update_xaxes(visible=False, range=extent[:2] if extent else None)
    figure.update_yaxes(visible=False, range=extent[2:] if extent else None)
    return figure


def rows_of(layer: Layer, n_categories: int) -> list[tuple[int | None, np.ndarray]]:
    """Return the cells of each trace of a layer: its category (None: no label, or not by category) and its rows."""
    everything = np.arange(len(layer.xy))
    if layer.grey or layer.behind or layer.values is not None or layer.codes is None:
        return [(None, everything)]
    codes = np.asarray(layer.codes)
    found: list[tuple[int | None, np.ndarray]] = [
        (i, rows) for i in range(n_categories) if (rows := np.flatnonzero(codes == i)).size
    ]
    missing = np.flatnonzero((codes < 0) | (codes >= n_categories))
    return [*found, (None, missing)] if missing.size else found


def masks_of(points: Sequence[Mapping[str, Any]], layers: Sequence[Layer], n_categories: int) -> dict[str, np.ndarray]:
    """Return the masks [n] by layer of the points that plotly says were selected."""
    traces = [(layer.name, rows) for layer in layers for _, rows in rows_of(layer, n_categories)]
    masks = {layer.name: np.zeros(len(layer.xy), bool) for layer in layers}
    for point in points:
        curve, index = point.get("curve_number"), point.get("point_index", point.get("point_number"))
        if isinstance(curve, int) and isinstance(index, int) and curve < len(traces):
            name, rows = traces[curve]
            if index < len(rows):
                masks[name][rows[index]] = True
    return masks


def plain_cells(
    layers: Sequence[Layer], *, key: str, selected: Mapping[str, np.ndarray] | None, on_select: OnSelect | None,
    **options: Any,
) -> None:
    """Show the plotly chart and say what it is; a box or a lasso on it selects as on the canvas."""
    figure = plain_scatter(layers, selected=selected, **options)
    name = f"{key}_plain"
    said = "The plain chart, drawn by plotly: slower with many cells, and its view starts anew with other colours."
    if on_select is None:
        st.plotly_chart(figure, key=name, width="stretch")
    else:
        def heard() -> None:
            event = st.session_state.get(name)
            points = event["selection"]["points"] if event else []
            on_select(masks_of(points, layers, len(options.get("categories", ()))), "replace")

        st.plotly_chart(figure, key=name, width="stretch", on_select=heard, selection_mode=("box", "lasso"))
        said += " Box and lasso stand in its bar; a double click selects none."
        n = sum(int(np.count_nonzero(mask)) for mask in (selected or {}).values())
        said += f" **{n:,} selected.**" if n else ""
    st.caption(said)
