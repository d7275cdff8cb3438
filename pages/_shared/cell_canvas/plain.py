"""The same cells as a plotly chart: slower, for browsers without WebGL 2."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from pages._shared.cell_canvas.colours import OKABE_ITO, colour_stops
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
) -> go.Figure:
    """Return a plotly figure of the layers, one trace for each group (arguments as for `cell_canvas`)."""
    palette = list(palette) or list(OKABE_ITO)
    figure = go.Figure()
    trace = go.Scatter if sum(len(layer.xy) for layer in layers) <= _SVG_UP_TO else go.Scattergl
    told: set[str] = set()
    for layer in layers:
        xy = np.asarray(layer.xy, float)
        symbol = "circle-open" if layer.shape == "ring" else "circle"
        marker = {"symbol": symbol, "size": 6 * layer.size if layer.shape == "ring" else 4 * layer.size}

        def add(
            rows: np.ndarray | slice, name: str, style: dict, *, layer: Layer = layer, xy: np.ndarray = xy,
            marker: dict = marker,
        ) -> None:
            figure.add_trace(trace(
                x=xy[rows, 0], y=xy[rows, 1], mode="markers", name=name, legendgroup=name,
                showlegend=name not in told, marker={**marker, **style},
                hovertemplate=f"{layer.name}<br>{name}<extra></extra>",
            ))
            told.add(name)

        if layer.grey or (layer.values is None and layer.codes is None):
            add(slice(None), layer.name, {"color": _GREY if layer.grey else palette[0]})
        elif layer.values is not None:
            stops = colour_stops(colour_map)
            low, high = value_range or (None, None)
            add(slice(None), layer.name, {
                "color": np.asarray(layer.values, float), "cmin": low, "cmax": high,
                "colorscale": [[i / (len(stops) - 1), stop] for i, stop in enumerate(stops)],
                "colorbar": {"title": colour_title}, "showscale": True,
            })
        else:
            codes = np.asarray(layer.codes)
            for i, name in enumerate(categories):
                if (codes == i).any():
                    add(codes == i, str(name), {"color": palette[i % len(palette)]})
            missing = (codes < 0) | (codes >= len(categories))
            if missing.any():
                add(missing, "no label", {"color": _GREY})
    figure.update_layout(
        height=height, margin={"l": 0, "r": 0, "t": 0, "b": 0}, legend_title=colour_title,
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", uirevision="cells",
    )
    figure.update_xaxes(visible=False, range=extent[:2] if extent else None)
    figure.update_yaxes(visible=False, range=extent[2:] if extent else None)
    return figure
