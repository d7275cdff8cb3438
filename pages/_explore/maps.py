"""The map of cells: one canvas, a second one beside it, or one for each value of a column; all linked."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from pages._explore import look as looks
from pages._explore import state
from pages._explore.look import Look
from pages._explore.scene import REAL, Scene
from pages._shared.cell_canvas import Box, Layer, box_of, cell_canvas, gentle_range
from pages._shared.cell_canvas.colours import whole_range
from pages._shared.figure_bar import figure_bar
from pages._shared.trouble import escape
from pages._shared.words import plural
from scdiff_core.figures import export
from scdiff_core.figures.paper import Size

ALL = "all cells"


def draw(scene: Scene, look: Look, *, key: str, height: int) -> None:
    """Draw a view: one canvas, or one for each value of the column that it is split by."""
    shown = looks.rows_shown(scene, look)
    if look.split == looks.NO_SPLIT:
        _canvas(scene, look, shown, key=key, height=height)
        return
    panels = split_rows(scene, look, shown)
    left_out = len(scene.categories(look.split)) - len(panels)
    columns = 2 if len(panels) < 5 else 3
    names = list(panels)
    for first in range(0, len(names), columns):
        for place, name in zip(st.columns(columns), names[first:first + columns], strict=False):
            with place:
                cells = plural(state.total(panels[name]), "cell")
                st.markdown(f"**{escape(name)}** :gray[{cells}]")
                _canvas(scene, look, panels[name], key=f"{key}-{name}", height=int(height * 0.62), labels=False,
                        behind=shown)
    if left_out > 0:
        st.caption(f"The {len(panels)} largest are shown; {plural(left_out, 'smaller one')} of '{look.split}' "
                   f"{'is' if left_out == 1 else 'are'} not.")


def split_rows(scene: Scene, look: Look, shown: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Return the cells of each panel: value -> source -> bool [n]; the largest, in the column's own order."""
    names = scene.categories(look.split)
    codes = {s: scene.codes(look.split, s, names) for s in scene.sources}
    cells = {name: {s: shown[s] & (codes[s] == i) for s in scene.sources} for i, name in enumerate(names)}
    largest = sorted((n for n in names if state.total(cells[n])), key=lambda n: -state.total(cells[n]))
    kept = set(largest[:looks.PANELS])
    return {n: cells[n] for n in names if n in kept}


def _canvas(scene: Scene, look: Look, shown: Mapping[str, np.ndarray], *, key: str, height: int,
            labels: bool = True, behind: Mapping[str, np.ndarray] | None = None) -> None:
    """Draw one canvas of the cells `shown`; those of `behind` lie beneath them in grey, to see where these belong."""
    colour, layers, rows = look.colour, [], {}
    now = state.selected(scene)
    for source in scene.sources:
        xy = scene.xy(look.place, source, look.x, look.y)
        if xy is None or not shown[source].any():
            continue
        name, keep = scene.word(source), shown[source]
        every = bool(keep.all())
        rows[name] = (source, None if every else np.flatnonzero(keep))
        layers.append(Layer(
            name, xy if every else xy[keep], shape="dot" if source == REAL else "ring",
            codes=None if colour.codes is None else colour.codes[source][keep],
            values=None if colour.values is None else colour.values[source][keep],
            hover={k: v[keep] for k, v in scene.hover(source).items()},
            grey=source == REAL and look.show == looks.GREY))
    if layers and behind is not None:
        # all of them, not the others alone: one array for all panels, which travels once
        layers = [*(Layer(f"all {scene.word(s)} cells", xy if m.all() else xy[m], behind=True)
                    for s, m in behind.items() if m.any()
                    and (xy := scene.xy(look.place, s, look.x, look.y)) is not None), *layers]
    if not layers:
        st.info("No cell of this kind has a place on this map.")
        return
    chosen = {name: (now[s] if at is None else now[s][at]) if s in now else np.zeros(scene.n(s) if at is None
              else len(at), bool) for name, (s, at) in rows.items()} if now else None
    numbers = " and ".join(f"{len(layer.xy):,} {layer.name} cells" for layer in layers if not layer.behind)
    x, y = look.axes()
    cell_canvas(
        layers, key=key, height=height, categories=colour.categories, palette=colour.palette,
        colour_title=colour.title, value_range=_span(scene, colour), first_range=_first(scene, colour),
        labels=labels and bool(colour.categories),
        extent=_extent(scene, look), selected=chosen, on_select=partial(_taken, scene, rows),
        summary=f"{look.place if not look.x else f'{y} against {x}'} of {numbers}, coloured by {colour.title}")


def _taken(scene: Scene, rows: Mapping[str, tuple[str, np.ndarray | None]], masks: Mapping[str, np.ndarray],
           mode: str) -> None:
    """Take in what was selected on a canvas; cells that it does not show stay selected unless all are replaced."""
    before = state.selected(scene)
    found = {} if mode == "replace" else {s: m.copy() for s, m in before.items()}
    for name, mask in masks.items():
        if name in rows:
            source, at = rows[name]
            found.setdefault(source, np.zeros(scene.n(source), bool))[slice(None) if at is None else at] = mask
    state.select(scene, found)


def _span(scene: Scene, colour: Any) -> tuple[float, float] | None:
    """Return one range of values for all panels and sources."""
    return None if colour.values is None else whole_range(*(colour.values[s] for s in scene.sources))


def _first(scene: Scene, colour: Any) -> tuple[float, float] | None:
    """Return what the colours span at first: a few outliers take no more than their share."""
    return None if colour.values is None else gentle_range(*(colour.values[s] for s in scene.sources))


def _extent(scene: Scene, look: Look) -> Box | None:
    """Return the frame of the real cells, the same for every panel."""
    xy = scene.xy(look.place, REAL, look.x, look.y)
    return None if xy is None else box_of(xy)


# ---- the same view as a file ----


def joined(scene: Scene, look: Look, now: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return the cells that a view shows as a table: where they lie, their colour, whether they are selected."""
    shown = looks.rows_shown(scene, look)
    x, y = look.axes()
    tables = []
    for source in scene.sources:
        xy = scene.xy(look.place, source, look.x, look.y)
        if xy is None or not shown[source].any():
            continue
        keep = shown[source]
        index = scene.prepared.obs.index if source == REAL else scene.cells().obs.index
        table = pd.DataFrame({"cell": np.asarray(index)[keep], "cells": "real" if source == REAL else "synthetic",
                              x: xy[keep, 0], y: xy[keep, 1]})
        table[look.colour.title] = (look.colour.values[source][keep] if look.colour.values is not None
                                    else look.colour.names(source)[keep])
        if look.split != looks.NO_SPLIT:
            table[look.split] = scene.labels(look.split, source)[keep]
        table["selected"] = now[source][keep] if source in now else False
        tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def files(scene: Scene, look: Look, key: str) -> None:
    """Draw the buttons that save a view."""
    stem = f"{scene.name}-{look.place.lower().replace(' ', '-')}-{look.colour.title.replace(' ', '-')}"
    if scene.over and look.show != looks.REAL_ONLY:
        stem += "-synthetic"
    now = state.selected(scene)  # here: a download is made outside of the session
    figure_bar(partial(_file, scene, look, now), stem, key, table=partial(joined, scene, look, now))


def _file(scene: Scene, look: Look, now: Mapping[str, np.ndarray], fmt: str, size: Size | None) -> bytes:
    shown = looks.rows_shown(scene, look)
    parts = [(s, xy) for s in scene.sources if shown[s].any()
             and (xy := scene.xy(look.place, s, look.x, look.y)) is not None]
    keep = {s: shown[s] for s, _ in parts}
    both = np.concatenate([xy[keep[s]] for s, xy in parts])
    made = np.concatenate([np.full(int(keep[s].sum()), s != REAL) for s, _ in parts])
    colour = look.colour
    labels = None if colour.codes is None else np.concatenate([colour.names(s)[keep[s]] for s, _ in parts])
    values = None if colour.values is None else np.concatenate([colour.values[s][keep[s]] for s, _ in parts])
    chosen = np.concatenate([now[s][keep[s]] if s in now else np.zeros(int(keep[s].sum()), bool)
                             for s, _ in parts]) if now else None
    panels = None
    if look.split != looks.NO_SPLIT:
        panels = [(name, np.concatenate([rows[s][keep[s]] for s, _ in parts]))
                  for name, rows in split_rows(scene, look, shown).items()]
    grey = None
    if look.show == looks.GREY:  # one panel, as on the screen: generated cells over grey real ones
        grey, panels = ~made, panels or [("", np.ones(len(made), bool))]
    x, y = look.axes()
    return export.export_umap(
        both, labels, values, made, colour=dict(zip(colour.categories, colour.palette, strict=False)) or None,
        title=colour.title if values is not None else "", x=x, y=y, fmt=fmt, size=size, panels=panels, chosen=chosen,
        grey=grey, values_map="viridis")
