"""A path of generated cells: over the map of the real ones, and gene by gene along it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scdiff_core.figures.base import SEQUENTIAL, frame, thin
from scdiff_core.figures.palette import MISSING, OKABE_ITO
from scdiff_core.figures.paper import Size, new_figure, save_figure

MOST = 8000  # real cells that are drawn behind a path
POSITION_WORDS = "position on the path"


@dataclass(frozen=True, eq=False)
class Curves:
    """Mean and standard deviation (log1p) of some genes at positions: [K], [K, g], [K, g]."""

    at: np.ndarray
    mean: np.ndarray
    sd: np.ndarray


def means_on_map(xy: np.ndarray, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions [K] and the median place [K, 2] of the cells at each."""
    at = np.unique(position)
    return at, np.stack([np.median(xy[position == a], axis=0) for a in at])


def path_map(real: np.ndarray, made: np.ndarray, position: np.ndarray, ends: tuple[str, str], *,
             axis: str = "UMAP", height: int = 520) -> go.Figure:
    """Return real cells in grey, generated ones coloured by their position, and the way of their medians.

    Parameters
    ----------
    real, made
        Places [N, 2] and [n, 2].
    position
        Of the generated cells [n], 0 to 1.
    ends
        What the two ends are called.
    """
    at, middle = means_on_map(made, position)
    figure = go.Figure()
    back = real[thin(len(real), MOST)]
    figure.add_scattergl(x=back[:, 0], y=back[:, 1], mode="markers", name="real", hoverinfo="skip",
                         marker={"size": 4, "color": MISSING, "opacity": 0.45})
    figure.add_scattergl(x=made[:, 0], y=made[:, 1], mode="markers", name="generated (synthetic)",
                         marker={"size": 5, "symbol": "diamond", "color": position, "coloraxis": "coloraxis",
                                 "opacity": 0.6}, hovertemplate="position %{marker.color:.2f}<extra></extra>")
    figure.add_scatter(x=middle[:, 0], y=middle[:, 1], mode="lines+markers", name="median of each position",
                       line={"color": OKABE_ITO[5], "width": 3}, hovertemplate="position %{text}<extra></extra>",
                       text=[f"{a:.2f}" for a in at],
                       marker={"size": 12, "color": at, "coloraxis": "coloraxis",
                               "line": {"color": OKABE_ITO[5], "width": 2}})
    for place, word in ((middle[0], ends[0]), (middle[-1], ends[1])):
        figure.add_annotation(x=place[0], y=place[1], text=word, showarrow=True, arrowhead=0, ax=0, ay=-28)
    figure.update_layout(coloraxis={"colorscale": SEQUENTIAL, "cmin": 0, "cmax": 1,
                                    "colorbar": {"title": "position", "len": 0.7}})
    figure.update_xaxes(title=f"{axis} 1", showticklabels=False, showgrid=False, ticks="")
    figure.update_yaxes(title=f"{axis} 2", showticklabels=False, showgrid=False, ticks="", scaleanchor="x")
    return frame(figure, height, margin={"l": 24, "r": 10, "t": 44, "b": 30},
                 legend={"orientation": "h", "y": 1.01, "yanchor": "bottom", "x": 0})


def gene_curves(genes: Sequence[str], made: Curves, real: Curves | None = None, *, height: int = 440) -> go.Figure:
    """Return the mean of each gene along a path with a band of one standard deviation; real cells as open circles."""
    figure = go.Figure()
    for i, gene in enumerate(genes):
        colour = OKABE_ITO[i % len(OKABE_ITO)]
        low, high = np.maximum(made.mean[:, i] - made.sd[:, i], 0), made.mean[:, i] + made.sd[:, i]
        figure.add_scatter(x=np.concatenate([made.at, made.at[::-1]]), y=np.concatenate([high, low[::-1]]),
                           mode="lines", fill="toself", fillcolor=_clear(colour), line={"width": 0}, hoverinfo="skip",
                           legendgroup=gene, showlegend=False)
        figure.add_scatter(x=made.at, y=made.mean[:, i], mode="lines+markers", name=gene, legendgroup=gene,
                           line={"color": colour, "width": 2.5},
                           hovertemplate=f"{gene}, position %{{x:.2f}}: %{{y:.2f}}<extra>generated</extra>")
        if real is not None:
            figure.add_scatter(x=real.at, y=real.mean[:, i], mode=_joined(real), legendgroup=gene, showlegend=False,
                               line={"color": colour, "width": 1.5, "dash": "dash"}, marker={"symbol": "circle-open"},
                               hovertemplate=f"{gene}, position %{{x:.2f}}: %{{y:.2f}}<extra>real</extra>")
    figure.update_xaxes(title=POSITION_WORDS, range=[-0.03, 1.03])
    figure.update_yaxes(title="log1p, mean ± 1 SD", rangemode="tozero")
    return frame(figure, height, margin={"l": 24, "r": 10, "t": 30, "b": 30})


def _joined(real: Curves) -> str:
    """Return how real cells are drawn: where only the ends of a path are known, nothing joins them."""
    return "lines+markers" if len(real.at) > 2 else "markers"


def _clear(colour: str) -> str:
    red, green, blue = (int(colour[i:i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.13)"


def table_of_curves(genes: Sequence[str], made: Curves, real: Curves | None = None) -> pd.DataFrame:
    """Return what lies behind `gene_curves`: one row a gene, position and source."""
    parts = [(curves, source) for curves, source in ((made, "generated (synthetic)"), (real, "real"))
             if curves is not None]
    return pd.DataFrame([
        {"source": source, "position": float(curves.at[k]), "gene": gene, "mean": float(curves.mean[k, i]),
         "sd": float(curves.sd[k, i])}
        for curves, source in parts for i, gene in enumerate(genes) for k in range(len(curves.at))])


def export_path_map(real: np.ndarray, made: np.ndarray, position: np.ndarray, ends: tuple[str, str], *,
                    axis: str = "UMAP", fmt: str = "svg", size: Size | None = None) -> bytes:
    """Return `path_map` as a file."""
    at, middle = means_on_map(made, position)
    figure, axes = new_figure(4.6, 3.8)
    place = axes[0, 0]
    place.scatter(real[:, 0], real[:, 1], s=2, color="#BBBBBB", linewidths=0, alpha=0.5, rasterized=True)
    drawn = place.scatter(made[:, 0], made[:, 1], s=5, c=position, cmap="viridis", vmin=0, vmax=1, marker="D",
                          linewidths=0, alpha=0.7, rasterized=True)
    place.plot(middle[:, 0], middle[:, 1], color=OKABE_ITO[5], linewidth=1.5)
    place.scatter(middle[:, 0], middle[:, 1], s=28, c=at, cmap="viridis", vmin=0, vmax=1, edgecolors=OKABE_ITO[5],
                  linewidths=1, zorder=3)
    for point, word in ((middle[0], ends[0]), (middle[-1], ends[1])):
        place.annotate(word, point, xytext=(0, 9), textcoords="offset points", ha="center", fontsize=7)
    place.set(xlabel=f"{axis} 1", ylabel=f"{axis} 2", xticks=[], yticks=[])
    figure.colorbar(drawn, ax=place, label=POSITION_WORDS, shrink=0.7)
    return save_figure(figure, fmt, True, size)


def export_gene_curves(genes: Sequence[str], made: Curves, real: Curves | None = None, *, fmt: str = "svg",
                       size: Size | None = None) -> bytes:
    """Return `gene_curves` as a file."""
    figure, axes = new_figure(4.6, 3.2)
    place = axes[0, 0]
    for i, gene in enumerate(genes):
        colour = OKABE_ITO[i % len(OKABE_ITO)]
        place.fill_between(made.at, np.maximum(made.mean[:, i] - made.sd[:, i], 0), made.mean[:, i] + made.sd[:, i],
                           color=colour, alpha=0.13, linewidth=0)
        place.plot(made.at, made.mean[:, i], color=colour, marker="o", markersize=3, label=gene)
        if real is not None:
            place.plot(real.at, real.mean[:, i], color=colour, linestyle="--" if len(real.at) > 2 else "",
                       linewidth=0.9, marker="o", markersize=3, markerfacecolor="none")
    place.set(xlabel=POSITION_WORDS, ylabel="log1p, mean ± 1 SD", xlim=(-0.03, 1.03))
    place.set_ylim(bottom=0)
    place.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=7,
                 title=None if real is None else "open: real")
    return save_figure(figure, fmt, True, size)
