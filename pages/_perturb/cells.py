"""Control, predicted and measured cells on one map."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from pages._perturb.shown import CONTROL, MEASURED, PREDICTED, Shown
from pages._shared.cell_canvas import Layer, cell_canvas
from pages._shared.figure_bar import figure_bar
from scdiff_core.figures import export
from scdiff_core.figures.paper import Size

GROUPS = (CONTROL, MEASURED, PREDICTED)
PALETTE = ("#8C8C8C", "#0072B2", "#D55E00")
PLACES = ("UMAP", "PCA")
REAL, MADE = "real", "predicted"


def parts(shown: Shown, name: str, place: str) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Return what is drawn: its group, positions [n, 2] and rows in its own set (real, or predicted)."""
    real = shown.prepared.X_umap if place == "UMAP" else shown.prepared.X_pca[:, :2]
    control, measured = shown.control_rows(), shown.measured_rows(name)
    out = [(CONTROL, real[control], control)]
    if len(measured):
        out.append((MEASURED, real[measured], measured))
    view = shown.made.view()
    if view is not None:
        rows = shown.rows_of(name)
        out.append((PREDICTED, np.asarray(view["xy" if place == "UMAP" else "pca"])[rows], rows))
    return out


def draw(shown: Shown, name: str, *, key: str, height: int, place: str = "UMAP") -> None:
    """Draw the map of one perturbation; its frame is that of all perturbations of the prediction."""
    drawn = {group: (xy, rows) for group, xy, rows in parts(shown, name, place)}
    layers = []
    for word, groups, shape in ((REAL, (CONTROL, MEASURED), "dot"), (MADE, (PREDICTED,), "ring")):
        here = [(g, *drawn[g]) for g in groups if g in drawn]
        if here:
            layers.append(Layer(
                word, np.concatenate([xy for _, xy, _ in here]), shape="dot" if shape == "dot" else "ring",
                codes=np.concatenate([np.full(len(xy), GROUPS.index(g), np.int32) for g, xy, _ in here]),
                hover=_hover(shown, word, np.concatenate([rows for _, _, rows in here]))))
    numbers = ", ".join(f"{len(xy):,} {group}" for group, (xy, _) in drawn.items())
    cell_canvas(layers, key=key, height=height, categories=GROUPS, palette=PALETTE,
                extent=_extent(shown, place), summary=f"{place} of {name}: {numbers}")
    if shown.made.view() is None:
        st.info("The predicted cells have no place on this map: their dataset was not at hand when they were made.")


def _hover(shown: Shown, group: str, rows: np.ndarray) -> dict[str, Any]:
    """Return what the pointer says of each cell: its type, and where a predicted one started from."""
    obs = shown.cells().obs if group == MADE else shown.prepared.obs
    out: dict[str, Any] = {}
    kind = shown.prepared.roles.cell_type
    if kind and kind in obs:
        out[kind] = pd.Categorical(obs[kind].iloc[rows])
    if group == MADE and "start_cell" in obs:
        out["started from control cell"] = np.asarray(shown.prepared.obs.index)[
            obs["start_cell"].to_numpy(int)[rows]].astype(str)
    return out


def _extent(shown: Shown, place: str) -> tuple[float, float, float, float]:
    """Return the frame of all cells of all perturbations of a prediction."""
    xy = np.concatenate([p for name in shown.names for _, p, _ in parts(shown, name, place)])
    xy = xy[np.isfinite(xy).all(axis=1)]
    if not len(xy):
        return 0.0, 1.0, 0.0, 1.0
    (x0, y0), (x1, y1) = xy.min(axis=0), xy.max(axis=0)
    wide = 0.04 * max(float(x1 - x0), float(y1 - y0), 1e-3)
    return float(x0) - wide, float(x1) + wide, float(y0) - wide, float(y1) + wide


def files(shown: Shown, name: str, place: str, key: str) -> None:
    """Draw the buttons that save the map."""
    figure_bar(partial(file, shown, name, place), f"{shown.stem}-{place.lower()}", key, table=partial(
        table, shown, name, place))


def file(shown: Shown, name: str, place: str, fmt: str, size: Size | None = None) -> bytes:
    """Return the map as a file."""
    drawn = parts(shown, name, place)
    xy = np.concatenate([p for _, p, _ in drawn])
    labels = np.concatenate([np.full(len(p), group, object) for group, p, _ in drawn]).astype(str)
    return export.export_umap(xy, labels, None, labels == PREDICTED, colour=dict(zip(GROUPS, PALETTE, strict=True)),
                              x=f"{place} 1", y=f"{place} 2", fmt=fmt, size=size)


def table(shown: Shown, name: str, place: str) -> pd.DataFrame:
    """Return where each cell lies."""
    rows = []
    for group, xy, at in parts(shown, name, place):
        obs = shown.cells().obs if group == PREDICTED else shown.prepared.obs
        rows.append(pd.DataFrame({"cell": np.asarray(obs.index)[at], "cells": group, f"{place} 1": xy[:, 0],
                                  f"{place} 2": xy[:, 1]}))
    return pd.concat(rows, ignore_index=True).assign(perturbation=name)
