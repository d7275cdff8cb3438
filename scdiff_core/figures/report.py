"""The report card as one picture: how far from real cells, beside the baselines."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from scdiff_core.analysis.verdict import Row, worse
from scdiff_core.figures.base import AXIS, frame
from scdiff_core.figures.palette import GENERATED, OKABE_ITO

SYMBOLS = ("x-thin-open", "triangle-up-open", "square-open")
MOST = 1.6  # farther than this times the worst baseline is drawn here


def relative(row: Row, value: float | None) -> float:
    """Return how far a figure lies from the floor, where the worst baseline (or 4 times chance) lies at 1."""
    far = max([worse(row, b) for b in row.baselines.values()] + [4 * row.noise, 1e-12])
    return min(MOST, worse(row, value) / far)


def report_bars(rows: Sequence[Row]) -> go.Figure:
    """Return one line a metric: real cells at 0, the worst baseline at 1, the generated cells as a bar.

    Every metric is put on the one scale "how much worse than real cells", so that the picture reads the
    same way everywhere; the figures themselves stand beside the bars.
    """
    titles = [row.title for row in rows]
    figure = go.Figure()
    figure.add_bar(
        x=[relative(row, row.value) for row in rows], y=titles, orientation="h", name="generated (synthetic)",
        width=0.5, marker={"color": "rgba(213,94,0,0.35)", "line": {"color": GENERATED, "width": 1.5},
                           "pattern": {"shape": "/", "size": 5, "fgcolor": GENERATED}},
        customdata=[row.sentence for row in rows], hovertemplate="%{customdata}<extra></extra>")
    names = list(dict.fromkeys(name for row in rows for name in row.baselines))
    for i, name in enumerate(names):
        of = [row for row in rows if row.baselines.get(name) is not None]
        figure.add_scatter(
            x=[relative(row, row.baselines[name]) for row in of], y=[row.title for row in of], mode="markers",
            name=name, marker={"symbol": SYMBOLS[i % len(SYMBOLS)], "size": 10,
                               "color": OKABE_ITO[0], "line": {"width": 2, "color": OKABE_ITO[0]}},
            customdata=[row.show(row.baselines[name]) for row in of],
            hovertemplate=f"{name}: %{{customdata}}<extra></extra>")
    figure.add_vline(x=0, line={"color": AXIS, "width": 2})
    figure.update_yaxes(categoryorder="array", categoryarray=titles[::-1], showgrid=False)
    for row in rows:
        figure.add_annotation(x=1, xref="paper", xanchor="right", y=row.title, showarrow=False,
                              text=f"<b>{row.show(row.value)}</b> · real {row.show(row.floor)}")
    figure.update_xaxes(range=[-0.02, MOST + 0.7], tickvals=[0, 1], ticktext=["as real cells", "worst baseline"])
    return frame(figure, 36 * len(rows) + 110, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
                 barmode="overlay")
