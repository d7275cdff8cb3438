"""Marker figures for a paper: dots, matrix, violins and heat map of one or two sets of cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from scdiff_core.figures.base import KINDS, Kind, short_names
from scdiff_core.figures.palette import GENERATED, MISSING, REAL, matplotlib_map
from scdiff_core.figures.paper import Size, new_figure, save_figure
from scdiff_core.figures.tables import groups_of, heat_blocks, panel_matrix, scaled_means
from scdiff_core.figures.violins import Violin, low_of, side_of, top_of, violin_sets, violins

RIM = "#555555"
ROOMY = 2.0  # inches of panels, from which on both keys find room beside them
LARGEST = 90.0  # area of a dot for all cells, in square points
LOOKS: dict[bool, dict[str, Any]] = {
    False: {"facecolor": REAL, "edgecolor": "#444444"},
    True: {"facecolor": "#FBE3D3", "edgecolor": GENERATED, "hatch": "////"}}


def export_dot_plot(real: pd.DataFrame, generated: pd.DataFrame | None = None, genes: Sequence[str] | None = None,
                    groups: Sequence[str] | None = None, *, kinds: Sequence[Kind] = KINDS, scaled: bool = False,
                    values_map: str | None = None, fmt: str = "svg", size: Size | None = None) -> bytes:
    """Return `markers.dot_plot` as a file; the panels stand one above the other."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    genes, groups, panels, figure, axes = _grid(real, generated, genes, groups, kinds, 0.2)
    column = "scaled" if scaled else "mean"
    top = 1.0 if scaled else max([float(t["mean"].max()) for _, t in panels if len(t)] + [1e-9])
    drawn = None
    for place, (_, table) in zip(axes[:, 0], panels, strict=True):
        shown = table[table["gene"].isin(genes) & table["group"].isin(groups)]
        drawn = place.scatter([genes.index(g) for g in shown["gene"]], [groups.index(g) for g in shown["group"]],
                              s=LARGEST * shown["fraction"], c=shown[column], cmap=matplotlib_map(values_map), vmin=0,
                              vmax=top, edgecolors=RIM, linewidths=0.3)
        place.set(xlim=(-0.7, len(genes) - 0.3), ylim=(len(groups) - 0.3, -0.7))
        place.grid(alpha=0.25, linewidth=0.4)
        place.set_axisbelow(True)
    handles = [Line2D([], [], marker="o", linestyle="", markerfacecolor="none", markeredgecolor=RIM,
                      label=f"{s:.0%}", markersize=float(np.sqrt(LARGEST * s))) for s in (0.25, 0.5, 1.0)]
    if figure.get_figheight() - 0.7 > ROOMY:  # keys of dots above, of colours below, in one column
        axes[0, 0].legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.02), title="of cells",
                          title_fontsize=8, borderaxespad=0)
        tall = axes[-1, 0].inset_axes([1.03, 0.0, 0.02, min(1.0, 0.75 * len(panels) / (figure.get_figheight() - 0.7))])
        figure.colorbar(drawn, cax=tall, label=_words(scaled)).locator = MaxNLocator(4)
    else:
        _bar(figure, drawn, axes, scaled)
        figure.legend(handles=handles, loc="outside right upper", title="of cells", title_fontsize=8)
    return save_figure(figure, fmt, _synthetic(panels), size)


def export_matrix_plot(real: pd.DataFrame, generated: pd.DataFrame | None = None, genes: Sequence[str] | None = None,
                       groups: Sequence[str] | None = None, *, kinds: Sequence[Kind] = KINDS, scaled: bool = False,
                       values_map: str | None = None, fmt: str = "svg", size: Size | None = None) -> bytes:
    """Return `markers.matrix_plot` as a file; the panels stand one above the other."""
    genes, groups, panels, figure, axes = _grid(real, generated, genes, groups, kinds, 0.18)
    tables = [panel_matrix(t, genes, groups, "scaled" if scaled else "mean") for _, t in panels]
    top = 1.0 if scaled else max([float(np.nanmax(m)) for m in tables if np.isfinite(m).any()] + [1e-9])
    drawn = None
    for place, matrix in zip(axes[:, 0], tables, strict=True):
        drawn = place.pcolormesh(np.arange(len(genes) + 1) - 0.5, np.arange(len(groups) + 1) - 0.5, matrix, vmin=0,
                                 vmax=top, cmap=matplotlib_map(values_map), edgecolors="white", linewidth=0.5)
        place.set(xlim=(-0.5, len(genes) - 0.5), ylim=(len(groups) - 0.5, -0.5))
        place.tick_params(length=0)
        place.spines[:].set_visible(False)
    _bar(figure, drawn, axes, scaled)
    return save_figure(figure, fmt, _synthetic(panels), size)


def _grid(real: pd.DataFrame, generated: pd.DataFrame | None, genes: Sequence[str] | None,
          groups: Sequence[str] | None, kinds: Sequence[Kind], row: float) -> Any:
    """Return genes, groups, the tables with their kinds, and a figure with both written on its axes."""
    genes = list(genes) if genes is not None else list(dict.fromkeys(real["gene"]))
    groups = list(groups) if groups is not None else groups_of(real, generated)
    panels = list(zip(kinds, scaled_means(real, generated), strict=False))
    names = short_names(groups, 36)
    aside = 1.4 + 0.062 * max((len(n) for n in names.values()), default=0)
    title = 0.085 * max((len(kind.words) for kind, _ in panels), default=0)
    figure, axes = new_figure(max(0.23 * len(genes), title) + aside, (row * len(groups) + 0.5) * len(panels) + 0.7,
                              len(panels), 1, sharex=True)
    for place, (kind, _) in zip(axes[:, 0], panels, strict=True):
        place.set(title=kind.words, yticks=range(len(groups)), yticklabels=[names[g] for g in groups],
                  xticks=range(len(genes)))
        place.set_xticklabels(genes, rotation=90, style="italic")
    return genes, groups, panels, figure, axes


def _bar(figure: Any, drawn: Any, axes: np.ndarray, scaled: bool) -> None:
    figure.colorbar(drawn, ax=axes, shrink=min(0.8, 1.2 / figure.get_figheight()), label=_words(scaled), aspect=12)


def _words(scaled: bool) -> str:
    return "mean,\n0 to 1 by gene" if scaled else "mean log1p"


def _synthetic(panels: Sequence[tuple[Kind, Any]]) -> bool:
    return any(kind.synthetic for kind, _ in panels)


def export_violin(real: Any, real_labels: np.ndarray, generated: Any | None = None,
                  generated_labels: np.ndarray | None = None, genes: Sequence[str] = (),
                  groups: Sequence[str] | None = None, *, kinds: Sequence[Kind] = KINDS,
                  colour: Mapping[str, str] | None = None, fmt: str = "svg", size: Size | None = None) -> bytes:
    """Return `violins.violin_plot` as a file: real cells filled on the left, generated ones hatched on the right."""
    from matplotlib.patches import Patch

    sets, groups = violin_sets(real, real_labels, generated, generated_labels, groups, kinds)
    figure, axes = new_figure(max(3.5, 0.5 * len(groups) + 1.2), 0.8 * max(1, len(genes)) + 1.2, max(1, len(genes)), 1,
                              sharex=True)
    for i, gene in enumerate(genes):
        place = axes[i, 0]
        top, low = top_of(sets, i), min(0.0, low_of(sets, i))
        for s, (kind, x, rows) in enumerate(sets):
            for violin in violins(x[:, i], rows, top):
                look = dict(LOOKS[kind.synthetic])
                if colour and len(sets) == 1 and not kind.synthetic:
                    look["facecolor"] = colour.get(violin.group, MISSING)
                _violin(place, violin, side_of(s, len(sets)), look)
        place.set(ylim=(low, top * 1.05), xlim=(-0.6, len(groups) - 0.4))
        place.set_ylabel(gene, rotation=0, ha="right", va="center", style="italic")
        place.yaxis.get_major_locator().set_params(nbins=3, integer=top > 2)
    names = short_names(groups, 36)
    axes[-1, 0].set_xticks(range(len(groups)), [names[g] for g in groups], rotation=90 if len(groups) > 3 else 0)
    figure.supylabel("log1p", fontsize=8)
    synthetic = any(kind.synthetic for kind, _, _ in sets)
    if len(sets) > 1 or synthetic:
        figure.legend(handles=[Patch(label=k.words, **LOOKS[k.synthetic]) for k, _, _ in sets],
                      loc="outside upper left", ncols=2)
    return save_figure(figure, fmt, synthetic, size)


def _violin(place: Any, violin: Violin, side: str, look: dict[str, Any]) -> None:
    """Draw one outline, and its mean as a bar as wide as the outline is there."""
    left = violin.at - violin.width * (side != "high")
    right = violin.at + violin.width * (side != "low")
    place.fill_betweenx(violin.grid, left, right, **{"linewidth": 0.6, **look})
    place.plot([np.interp(violin.mean, violin.grid, left), np.interp(violin.mean, violin.grid, right)],
               [violin.mean] * 2, color=look["edgecolor"], linewidth=1.2)


def export_heat_map(real: Any, real_labels: np.ndarray, generated: Any | None = None,
                    generated_labels: np.ndarray | None = None, genes: Sequence[str] = (),
                    groups: Sequence[str] | None = None, *, per_group: int = 30, seed: int = 0,
                    kinds: Sequence[Kind] = KINDS, colour: Mapping[str, str] | None = None,
                    values_map: str | None = None, fmt: str = "svg", size: Size | None = None) -> bytes:
    """Return `heat.heat_map` as a file: the same cells, real ones above generated ones."""
    blocks = heat_blocks(real, real_labels, generated, generated_labels, per_group, seed, groups)
    panels = [(k, b) for k, b in zip(kinds, blocks, strict=False) if b is not None]
    groups = panels[0][1].groups
    figure, axes = new_figure(max(4.5, 0.42 * len(groups) + 2), (0.15 * len(genes) + 0.4) * len(panels) + 1.2,
                              len(panels), 1, sharex=True)
    top = max([float(np.nanmax(b.values)) for _, b in panels if np.isfinite(b.values).any()] + [1e-9])
    drawn = None
    for place, (kind, block) in zip(axes[:, 0], panels, strict=True):
        drawn = place.pcolormesh(block.edges, np.arange(len(genes) + 1), block.values, cmap=matplotlib_map(values_map),
                                 vmin=0, vmax=top, rasterized=True)
        place.vlines(np.arange(1, len(groups)), 0, len(genes), color="white", linewidth=1)
        for j, group in enumerate(groups if colour else ()):
            place.fill_between([j, j + 1], -1, -0.25, color=(colour or {}).get(group, MISSING), linewidth=0)
        place.set(title=kind.words, ylim=(len(genes), -1 if colour else 0), yticks=np.arange(len(genes)) + 0.5)
        place.set_yticklabels(genes, style="italic", fontsize=7)
        place.tick_params(length=0)
        place.spines[:].set_visible(False)
    names = short_names(groups, 36)
    axes[-1, 0].set_xticks(np.arange(len(groups)) + 0.5, [names[g] for g in groups],
                           rotation=90 if len(groups) > 3 else 0)
    figure.colorbar(drawn, ax=axes, shrink=min(0.8, 1.3 / figure.get_figheight()), label="log1p", aspect=12)
    return save_figure(figure, fmt, _synthetic(panels), size)
