"""The figures of designed cells: the map, each row against real cells, and how real the cells look."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from pages._design.feasible import percent
from pages._design.shown import Shown
from pages._shared.cell_canvas import Layer, box_of, cell_canvas
from pages._shared.figure_bar import figure_bar
from pages._shared.trouble import escape
from scdiff_core.analysis.design.report import DESIGNED, EDITED, FLOOR, REAL
from scdiff_core.figures import design as figures
from scdiff_core.figures import export
from scdiff_core.figures.paper import Size
from scdiff_core.target import BETWEEN

GROUPS = ("meets the target", "meets it, looks unreal", "misses the target")
PALETTE = ("#009E73", "#D55E00", "#8C8C8C")
CONFIG: dict[str, Any] = {"displaylogo": False}
COLUMNS = {DESIGNED: "designed", REAL: "real ones", EDITED: "edited", FLOOR: "floor"}
COLUMN_HELP = {"designed": "The designed cells.",
               "real ones": "Your real cells that meet the target already. What looks unreal is told by those that "
                            "were never trained on, where there are ten.",
               "edited": "Plain latent editing: codes of real cells pushed until they meet the target, with an eye for "
                         "nothing else.",
               "floor": "One half of the real cells that meet the target against the other: the best that can be."}
MEASURES = (
    ("met", "meet every must", "Share of the cells, by their denoised expression."),
    ("unreal", "look unreal", "Farther from the nearest real cells than 95 % of held-out real cells are. 5 % is what "
     "real cells have."),
    ("unreal_codes", "look unreal in codes", "The same by the model's own codes, before counts are drawn from them: "
     "counting noise hides nothing there."),
    ("auc", "told from real ones", "AUC of a classifier between these cells and the real ones nearest to them. "
     "0.5: cannot be told apart; 1: always."),
    ("diversity", "diversity", "Spread of the denoised expression against that of real cells that meet the target. "
     "1: as varied; near 0: copies of one cell."),
    ("energy", "distance to real ones", "Energy distance of the denoised expression to the real cells that meet the "
     "target. The floor is what two halves of those have."),
)


def groups_of(shown: Shown) -> np.ndarray:
    """Return of which of `GROUPS` each designed cell is, [n]."""
    obs = shown.cells().obs
    met = obs["meets_target"].to_numpy(bool)
    unreal = obs["looks_unreal"].to_numpy(bool) if "looks_unreal" in obs else np.zeros(len(met), bool)
    return np.where(met, np.where(unreal, 1, 0), 2)


def show(shown: Shown) -> None:
    """Draw the map beside the figures that say how good it is."""
    left, right = st.columns([4, 5], gap="medium")
    with left:
        view, real = shown.made.view(), shown.prepared.X_umap
        if view is None:
            st.info("The designed cells have no place on the map: their dataset was not at hand when they were made.")
        else:
            codes = groups_of(shown)
            layers = [Layer("real cells", real, behind=True),
                      Layer("designed (synthetic)", view["xy"], shape="ring", codes=codes.astype(np.int32),
                            hover={"distance to real": view["distance"]})]
            cell_canvas(layers, key=f"design-map-{shown.run.id}", height=430, categories=GROUPS, palette=PALETTE,
                        extent=box_of(np.concatenate([real, view["xy"]])),
                        summary=f"UMAP of {len(codes):,} designed cells over {len(real):,} real ones")
            figure_bar(partial(map_file, shown), f"{shown.stem}-umap", "design-map-files",
                       table=partial(_map_table, shown))
    with right:
        table_of_figures(shown)
        _short_rows(shown)


def map_file(shown: Shown, fmt: str, size: Size | None = None) -> bytes:
    """Return the map of real and designed cells as a file."""
    view, real = shown.made.view(), shown.prepared.X_umap
    assert view is not None, "asked only where there is a map"
    labels = np.concatenate([np.full(len(real), "real cells"), np.array(GROUPS)[groups_of(shown)]])
    colour = {"real cells": "#C4C4C4", **dict(zip(GROUPS, PALETTE, strict=True))}
    return export.export_umap(np.concatenate([real, view["xy"]]), labels, None, labels != "real cells", colour=colour,
                              fmt=fmt, size=size)


def _map_table(shown: Shown) -> pd.DataFrame:
    view = shown.made.view()
    assert view is not None, "asked only where there is a map"
    return pd.DataFrame({"cell": shown.cells().obs_names, "UMAP 1": view["xy"][:, 0], "UMAP 2": view["xy"][:, 1],
                         "cells": np.array(GROUPS)[groups_of(shown)]})


def measures(shown: Shown) -> pd.DataFrame:
    """Return the figures of the designed cells, the two baselines and the floor, a measure in each row."""
    found = {f.name: f for f in shown.report.figures}
    out = [{"figure": "cells", **{COLUMNS[n]: f"{f.n:,}" for n, f in found.items() if n in COLUMNS},
            "what it says": "How many cells the column is about."}]
    for name, words, meaning in MEASURES:
        cells = {}
        for column, figure in found.items():
            value = getattr(figure, name)
            if column in COLUMNS:
                cells[COLUMNS[column]] = "–" if value is None else percent(float(value)) if name in (
                    "met", "unreal", "unreal_codes") else f"{float(value):.3g}"
        out.append({"figure": words, **cells, "what it says": meaning})
    return pd.DataFrame(out).fillna("–")


def table_of_figures(shown: Shown) -> None:
    """Draw the figures of the designed cells beside the floor and two baselines."""
    table = measures(shown)
    st.dataframe(table, hide_index=True, height=38 + 35 * len(table), key="design_figures",
                 alt="Hits, realism and diversity of the designed cells, beside two baselines and the floor",
                 column_config={"figure": st.column_config.TextColumn(width=165),
                                **{name: st.column_config.TextColumn(width=78, help=words)
                                   for name, words in COLUMN_HELP.items()},
                                "what it says": st.column_config.TextColumn(width="large")})
    notes: dict[str, list[str]] = {}
    for figure in shown.report.figures:
        if figure.note and figure.name != REAL:
            notes.setdefault(figure.note, []).append(COLUMNS.get(figure.name, figure.name))
    told = [f"{' and '.join(names)}: {note}" for note, names in notes.items()]
    st.caption("*Real ones*: real cells that meet the target. *Edited*: real cells pushed there, with an eye for "
               "nothing else. " + " ".join(f"{escape(t[:1].upper() + t[1:])}." for t in told))


def _short_rows(shown: Shown) -> None:
    table = pd.DataFrame([{"row": r["words"], "strict": "a must" if r.get("hard", True) else "a wish",
                           "designed": float(r["designed"]), "real cells": float(r["real"])}
                          for r in shown.report.rows])
    if not len(table):
        return
    bar = partial(st.column_config.ProgressColumn, format="percent", min_value=0.0, max_value=1.0)
    st.dataframe(table, hide_index=True, height=38 + 35 * min(len(table), 7), key="design_short_rows",
                 alt="Share of the cells that meet each row, designed and real",
                 column_config={"designed": bar("designed", help="Share of the designed cells that meet the row."),
                                "real cells": bar("real cells", help="Share of the real cells that do.")})


def row_levels(shown: Shown) -> list[figures.RowLevels]:
    """Return the levels of each row in real and designed cells."""
    arrays, out = shown.arrays(), []
    for i, row in enumerate(shown.report.rows):
        ends = [row.get("level"), *([row.get("upper")] if row.get("direction") == BETWEEN else [])]
        out.append(figures.RowLevels(
            str(row["name"]), str(row["words"]), np.asarray(arrays["real_values"][:, i], float),
            np.asarray(arrays["values"][:, i], float), tuple(float(e) for e in ends if e is not None),
            float(row["designed"])))
    return out


def rows(shown: Shown) -> None:
    """Draw each row's levels in designed and in real cells."""
    found = row_levels(shown)
    if not found:
        st.info("The target has no rows: its demands are in a file of its own.")
        return
    with st.container(height=520 if len(found) > 5 else "content", border=len(found) > 5, key="design_levels_box"):
        st.plotly_chart(figures.levels(found), key="design-levels", width="stretch", config=CONFIG,
                        alt="Levels of each row of the target in real and in designed cells")
    figure_bar(lambda fmt, size: figures.export_levels(found, fmt=fmt, size=size), f"{shown.stem}-rows",
               "design-levels-files", table=lambda: figures.levels_table(found))
    st.caption("Dotted: the level asked for. The share behind each row is that of the designed cells that meet it. "
               "Levels are what the model takes a cell's expression to be without the noise of counting: the counts "
               "in the file scatter round them, as those of real cells do.")


def realism(shown: Shown) -> None:
    """Draw how far the designed cells lie from real ones, beside held-out real cells."""
    arrays, report = shown.arrays(), shown.report
    left, right = st.columns([3, 2], gap="medium")
    designed, real = np.asarray(arrays["knn"], float), np.asarray(arrays["real_knn"], float)
    with left:
        st.plotly_chart(figures.realism(designed, real, report.unreal_limit), key="design-realism", width="stretch",
                        config=CONFIG, alt="Distance of designed and held-out real cells to the nearest real cells")
        figure_bar(lambda fmt, size: figures.export_realism(designed, real, report.unreal_limit, fmt=fmt, size=size),
                   f"{shown.stem}-realism", "design-realism-files",
                   table=lambda: pd.DataFrame({"cell": shown.cells().obs_names, "distance": designed,
                                               "looks unreal": designed > report.unreal_limit}))
    with right:
        table_of_figures(shown)
    st.caption("A cell that lies farther from its ten nearest real ones than 95 % of real cells that the model has "
               "never seen is called unreal. 5 % of real cells are, by that measure.")
