"""A heat map of cells: genes by cells, group beside group, one or two sets of cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from scdiff_core.figures.base import GAP, KINDS, Kind, frame, short_names
from scdiff_core.figures.markers import colour_axis
from scdiff_core.figures.palette import MISSING
from scdiff_core.figures.tables import heat_blocks

STRIP = 0.8  # height of the groups' colours above the cells, in genes


def heat_map(real: Any, real_labels: np.ndarray, generated: Any | None = None,
             generated_labels: np.ndarray | None = None, genes: Sequence[str] = (),
             groups: Sequence[str] | None = None, *, per_group: int = 30, seed: int = 0,
             kinds: Sequence[Kind] = KINDS, colour: Mapping[str, str] | None = None,
             colour_map: str | None = None) -> go.Figure:
    """Return gene by cell heat maps (log1p), real cells above generated ones, group over group.

    Arrays as for `violins.violin_plot`; at most `per_group` cells of a group, drawn by `seed`. Every group is
    equally wide, so a column of a group with few cells is broad; a group without cells stays empty. `colour`
    (group -> colour) puts a strip of the groups' colours above the cells.
    """
    blocks = heat_blocks(real, real_labels, generated, generated_labels, per_group, seed, groups)
    panels = [(w, b) for w, b in zip(kinds, blocks, strict=False) if b is not None]
    height = (15 * len(genes) + GAP) * len(panels) + 130
    figure = make_subplots(len(panels), 1, shared_xaxes=True, subplot_titles=[k.words for k, _ in panels],
                           vertical_spacing=GAP / height if len(panels) > 1 else 0)
    names = short_names(panels[0][1].groups, 24)
    for i, (kind, block) in enumerate(panels, start=1):
        of = np.array(block.groups)[block.of]
        figure.add_heatmap(z=block.values, x=block.edges, y=list(genes), coloraxis="coloraxis", row=i, col=1,
                           hoverongaps=False, customdata=np.broadcast_to(of, block.values.shape),
                           hovertemplate="%{y}: %{z:.2f} (log1p)<br>%{customdata}<extra>" + kind.words + "</extra>")
        for j, group in enumerate(block.groups if colour else ()):
            figure.add_shape(type="rect", x0=j, x1=j + 1, y0=-0.6 - STRIP, y1=-0.6, line_width=0, layer="above",
                             fillcolor=(colour or {}).get(group, MISSING), row=i, col=1)
        for edge in range(1, len(block.groups)):
            figure.add_vline(x=edge, line={"color": "white", "width": 1.2}, row=i, col=1)
    block = panels[0][1]
    figure.update_xaxes(showgrid=False, tickvals=np.arange(len(block.groups)) + 0.5,
                        ticktext=[names[g] for g in block.groups],
                        tickangle=-45 if len(block.groups) > 4 else 0)
    figure.update_yaxes(range=[len(genes) - 0.5, -0.6 - STRIP if colour else -0.5], showgrid=False,
                        tickfont={"size": 10}, dtick=1)
    return frame(figure, height, coloraxis=colour_axis("log1p", height, colour_map))
