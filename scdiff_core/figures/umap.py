"""A scatter of cells in two dimensions, generated beside real; the pages' own canvas is quicker on many."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from scdiff_core.errors import ScdiffError
from scdiff_core.figures.base import AXIS, GENERATED_WORDS, REAL_WORDS, SEQUENTIAL, frame, natural, short_names, thin
from scdiff_core.figures.palette import GENERATED, MISSING, colour_map

MAX_POINTS = 20_000
NO_LABEL = "no label"


def umap_scatter(xy: np.ndarray, labels: np.ndarray | None = None, values: np.ndarray | None = None,
                 generated: np.ndarray | None = None, *, colour: dict[str, str] | None = None,
                 title: str = "", axis: str = "UMAP", height: int = 560) -> go.Figure:
    """Return cells as points, coloured by label or by value; generated ones are diamonds with a rim.

    Parameters
    ----------
    xy
        Positions [N, 2].
    labels, values
        What colours them [N]: names ("" where missing), or numbers such as log1p of a gene. Neither:
        real cells grey.
    generated
        Which cells are generated [N], None for none.
    colour
        Label -> colour of the dataset; made from the labels where it is left out.

    Raises
    ------
    ScdiffError
        The arrays differ in length.
    """
    xy = np.asarray(xy, dtype=float)
    made = np.zeros(len(xy), bool) if generated is None else np.asarray(generated, bool)
    for name, array in (("labels", labels), ("values", values), ("generated", made)):
        if array is not None and len(array) != len(xy):
            raise ScdiffError("The map cannot be drawn.", f"There are {len(array)} {name} for {len(xy)} cells.",
                              "Give one for each cell.")
    drawn = thin(len(xy), MAX_POINTS)
    figure = go.Figure()
    parts = [(rows, words) for rows, words in ((drawn[~made[drawn]], REAL_WORDS), (drawn[made[drawn]], GENERATED_WORDS))
             if len(rows)]
    if values is not None:
        value = np.asarray(values, float)
        for rows, words in parts:
            _points(figure, xy[rows], words, words == GENERATED_WORDS,
                    {"color": value[rows], "coloraxis": "coloraxis"}, [f"{v:.2f}" for v in value[rows]])
        figure.update_layout(coloraxis={"colorscale": SEQUENTIAL, "colorbar": {"title": title, "len": 0.7}})
    else:
        names = np.repeat("", len(xy)) if labels is None else np.asarray(labels).astype(str)
        colour = colour or colour_map(sorted(set(names.tolist()), key=natural))
        shorter = short_names([n for n in colour if n], 34)
        for name in [*shorter, ""]:
            for rows, words in parts:
                rows = rows[names[rows] == name]
                if len(rows):
                    shown = shorter.get(name) or (words if labels is None else NO_LABEL)
                    fill = colour.get(name, MISSING) if name or words == REAL_WORDS else GENERATED
                    _points(figure, xy[rows], shown, words == GENERATED_WORDS, {"color": fill},
                            [name or shown] * len(rows))
    _legend(figure, [words for _, words in parts], labels is not None or values is not None)
    figure.update_xaxes(title=f"{axis} 1", showticklabels=False, showgrid=False, ticks="")
    figure.update_yaxes(title=f"{axis} 2", showticklabels=False, showgrid=False, ticks="", scaleanchor="x")
    many = len({trace.name for trace in figure.data}) > 22
    legend = {"orientation": "h", "y": 1.01, "yanchor": "bottom", "x": 0} if values is not None else \
        {"font": {"size": 10 if many else 12}, "itemsizing": "constant"}
    frame(figure, height, title={"text": title, "font": {"size": 15}} if title and values is None else None,
          margin={"l": 24, "r": 10, "t": 44, "b": 30}, legend=legend)
    return figure.update_xaxes(title_standoff=16)


def _legend(figure: go.Figure, kinds: list[str], coloured: bool) -> None:
    """Name each label once, and each shape once where there are two of them."""
    seen: set[str] = set()
    for trace in figure.data:
        trace.legendgroup = trace.name
        trace.showlegend = trace.name not in seen and not trace.marker.coloraxis
        seen.add(trace.name)
    if not coloured or len(kinds) < 2:
        return
    for words in kinds:
        made = words == GENERATED_WORDS
        figure.add_scatter(x=[None], y=[None], mode="markers", name=words, legendrank=1, legendgroup=words,
                           marker={"symbol": "diamond-open" if made else "circle", "color": AXIS,
                                   "size": 8 if made else 5})


def _points(figure: go.Figure, xy: np.ndarray, name: str, made: bool, marker: dict, text: list[str]) -> None:
    """Add one set of points: real ones small and faint, generated ones as diamonds with a rim."""
    shape = {"symbol": "diamond", "size": 7, "line": {"width": 0.8, "color": AXIS}, "opacity": 0.95} if made else \
        {"symbol": "circle", "size": 4, "opacity": 0.7}
    figure.add_scattergl(x=xy[:, 0], y=xy[:, 1], mode="markers", name=name, marker={**shape, **marker}, text=text,
                         hovertemplate="%{text}<extra>" + (GENERATED_WORDS if made else REAL_WORDS) + "</extra>")
