"""Trajectory: a path of populations from one state of cells to another, over the map and gene by gene."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import streamlit as st

from pages._explore import panel
from pages._explore.scene import Scene
from pages._generate import cells_from, downloads, using
from pages._shared import context, worker
from pages._shared.copies import copies
from pages._shared.figure_bar import figure_bar
from pages._shared.trouble import escape, kept
from scdiff_core import keys
from scdiff_core.analysis import path as analysis
from scdiff_core.config import GUIDANCE, SAMPLER_STEPS, validate
from scdiff_core.config_modes import PATH_CELLS, POINTS, Ends, TrajectoryConfig
from scdiff_core.data.prepared import Prepared
from scdiff_core.data.vocab import as_numbers
from scdiff_core.engine.outputs import GeneratedSet, list_sets
from scdiff_core.errors import ScdiffError
from scdiff_core.figures import paths as figures
from scdiff_core.workspace import JobDir

KIND, NUMBER = "trajectory", "a number: "
GENES = 6  # that are shown at first


def draw(run: JobDir, prepared: Prepared, left: st.delta_generator.DeltaGenerator,
         right: st.delta_generator.DeltaGenerator) -> None:
    """Draw the settings in the left column, and the path in the right one."""
    with left:
        st.caption("A path of cells from one state to another: what lies between, position by position. It says what "
                   "the model holds for possible, not what cells do. Where your data has a time or a stage as a "
                   "number, lead the path along that: on cells held out of training it came much nearer to the truth.")
        ends = [_end(name, i, run, prepared) for i, name in enumerate(("Start", "End"))]
        points, n_cells, reach, how = _how()
        if st.button("Generate path", type="primary", icon=":material/route:", key="path_go") and all(ends):
            with kept(using.trouble(KIND)):
                using.begin(run, KIND, _config(run, ends, points, n_cells, reach, how), "modes")
        if all(ends) and ends[0] != ends[1]:
            copies(_config(run, ends, points, n_cells, reach, how), f"{KIND}-{run.id}")
        using.follow(run, KIND)
        worker.warm(run, using.key_of(run, KIND))
    with right:
        _shown(run, prepared)


def _end(name: str, i: int, run: JobDir, prepared: Prepared) -> dict[str, Any] | None:
    """Draw the choice of one end; returns it as `Ends` takes it, None where the dataset offers none."""
    known = {f"{c.column}: {v}": {"column": c.column, "value": v} for c in prepared.vocab.categorical for v in c.values}
    numbers = {f"{NUMBER}{c.column}": c for c in prepared.vocab.continuous}
    mine = {f"{cells_from.SAVED}{n}": n for n in cells_from.saved_names(prepared)}
    options = [*known, *numbers, *mine]
    if not options:
        st.info("This model knows no covariate. Select cells on the map of the Data page and save them: a path can "
                "lead from one selection to another.")
        return None
    chosen = str(st.selectbox(name, options, index=min(i, len(options) - 1), key=f"path-{run.id}-{name}",
                              persist_state="session", help="A value that the model knows, a number such as a time, or "
                              "real cells that you selected and saved."))
    if chosen in known:
        return known[chosen]
    if chosen in mine:
        return {"cells": cells_from.saved(prepared, mine[chosen])}
    covariate = numbers[chosen]
    column = as_numbers(prepared.obs[covariate.column])
    assert column is not None, "a continuous covariate holds numbers"
    value = float(np.nanmin(column) if i == 0 else np.nanmax(column))
    number = st.number_input(f"{name}: {covariate.column}", value=value, format="%g",
                             key=f"path-{run.id}-{name}-number", persist_state="session")
    return {"column": covariate.column, "value": f"{number:g}"}


def _how() -> tuple[int, int, float, dict[str, Any]]:
    points = st.number_input("Positions", 3, 101, POINTS, 2, key="path_points", persist_state="session",
                             help="How many steps the path has, both ends among them.")
    n_cells = st.number_input("Cells of the whole path", 30, 50_000, PATH_CELLS, 90, key="path_cells",
                              persist_state="session")
    with st.expander("Advanced", icon=":material/tune:"):
        reach = st.slider("Begin from", 0.1, 1.0, 1.0, 0.05, key="path_reach", persist_state="session",
                          help="1: cells begin as noise. Below: as real cells of the start that are noised only so "
                          "far, so that something of them is left all along the path.")
        scale = st.slider("Guidance scale", 0.0, 5.0, GUIDANCE, 0.05, key="path_scale", persist_state="session",
                          help="How strictly the ends are followed.")
        steps = st.number_input("Steps", 1, 1000, SAMPLER_STEPS["dpm"], key="path_steps", persist_state="session")
        seed = st.number_input("Seed", 0, 2**31 - 1, 0, key="path_seed", persist_state="session")
    return int(points), int(n_cells), float(reach), {"guidance_scale": float(scale), "steps": int(steps),
                                                     "seed": int(seed)}


def _config(run: JobDir, ends: list[Any], points: int, n_cells: int, reach: float,
            how: dict[str, Any]) -> TrajectoryConfig:
    config = validate(TrajectoryConfig, {"run": run.id, "start": ends[0], "end": ends[1], "points": points,
                                         "n_cells": n_cells, "reach": reach, **how}, "The settings")
    if ends[0] == ends[1]:
        raise ScdiffError("The path would lead nowhere.", "Its start and its end are the same.",
                          "Choose another start or another end.")
    return config


def path_words(config: dict[str, Any]) -> str:
    """Return in words from where to where a path leads."""
    start, end = (Ends.model_validate(config[side]).words for side in ("start", "end"))
    return f"{start} → {end}, {config['points']} positions, {config['n_cells']:,} generated cells"


def _shown(run: JobDir, prepared: Prepared) -> None:
    sets = list_sets(run, KIND)
    if not sets:
        st.markdown("Choose a start and an end, and press **Generate path**.")
        panel.show_map(Scene(context.workspace().open("prepare", prepared.name), prepared), KIND)
        return
    made = using.pick(sets, "Paths", lambda s: path_words(s.recipe()["config"]))
    config = made.recipe()["config"]
    st.markdown(escape(path_words(config)))
    panel.show_tabs(Scene(context.workspace().open("prepare", prepared.name), prepared, run, made), KIND, {
        "Path": lambda: _map(made, prepared, config), "Gene curves": lambda: _curves(made, prepared, config),
        "Download": lambda: downloads.show_downloads(made, prepared)})


def _map(made: GeneratedSet, prepared: Prepared, config: dict[str, Any]) -> None:
    view = made.view()
    if view is None:
        st.info("The path has no place on the map: the dataset was not at hand when it was made.")
        return
    position = position_of(made)
    ends = Ends.model_validate(config["start"]).words, Ends.model_validate(config["end"]).words
    st.plotly_chart(figures.path_map(prepared.X_umap, view["xy"], position, ends), key=f"path-map-{made.id}",
                    alt=f"Path of generated cells from {ends[0]} to {ends[1]} over the map of the real cells")
    at, middle = figures.means_on_map(view["xy"], position)
    figure_bar(lambda fmt, size: figures.export_path_map(prepared.X_umap, view["xy"], position, ends, fmt=fmt,
                                                         size=size),
               f"{prepared.name}-synthetic-path-{made.id}", f"path-map-{made.id}-files",
               pd.DataFrame({"position": at, "umap_1": middle[:, 0], "umap_2": middle[:, 1]}))
    st.caption("The line joins the median places of the cells at each position. Where it jumps over an empty part of "
               "the map, the model has seen no cells there.")


def position_of(made: GeneratedSet) -> np.ndarray:
    """Return the position of each cell of a path, 0 to 1."""
    return made.cells().obs["position"].to_numpy(float)


def real_positions(prepared: Prepared, config: dict[str, Any]) -> np.ndarray | None:
    """Return where real cells stand on the path [N], NaN for none; None where nothing tells.

    Along a number each cell stands at its own. Between two values or selections only the ends are known.
    """
    start, end = (Ends.model_validate(config[side]) for side in ("start", "end"))
    out = np.full(prepared.n_cells, np.nan)
    continuous = next((c for c in prepared.vocab.continuous if start.column in (c.column, c.role)), None)
    if continuous is not None and start.cells is None:
        number = as_numbers(prepared.obs[continuous.column])
        assert number is not None
        low, high = float(start.value), float(end.value)
        place = (number - low) / (high - low)
        keep = (place >= 0) & (place <= 1)
        out[keep] = np.round(place[keep] * (config["points"] - 1)) / (config["points"] - 1)
        return out
    from scdiff_core.data.chosen import rows_of

    try:
        for value, side in ((0.0, start), (1.0, end)):
            out[rows_of(prepared, {side.column: side.value} if side.cells is None else {}, side.cells)] = value
    except ScdiffError:
        return None
    return out


def _curves(made: GeneratedSet, prepared: Prepared, config: dict[str, Any]) -> None:
    cells, position = made.cells(), position_of(made)
    log1p = sp.csr_matrix(cells.layers[keys.LOG1P])
    at, mean, sd = analysis.curves(log1p, position)
    names = [str(g) for g in cells.var_names]
    first = [names[i] for i in analysis.changing(mean, sd, GENES)]
    genes = st.multiselect("Genes", names, default=first, max_selections=8, key=f"path-genes-{made.id}",
                           help="At first those that change most along the path.")
    if not genes:
        st.info("Choose at least one gene.")
        return
    columns = [names.index(g) for g in genes]
    own = figures.Curves(at, mean[:, columns], sd[:, columns])
    real = None
    places = real_positions(prepared, config)
    if places is not None and (~np.isnan(places)).any():
        real = figures.Curves(*analysis.curves(prepared.log1p()[:, columns], places))
    st.plotly_chart(figures.gene_curves(genes, own, real), key=f"path-curves-{made.id}",
                    alt="Mean expression of " + ", ".join(genes) + " along the path")
    figure_bar(partial(_file, genes, own, real), f"{prepared.name}-synthetic-gene-curves-{made.id}",
               f"path-curves-{made.id}-files", lambda: figures.table_of_curves(genes, own, real))
    st.caption("Bands: one standard deviation of the cells at a position. Open circles: real cells "
               + ("at their own number, joined by dashes." if real is not None and len(real.at) > 2 else
                  "of both ends; where those between stand on the path is not known."))


def _file(genes: list[str], own: figures.Curves, real: figures.Curves | None, fmt: str, size: Any) -> bytes:
    return figures.export_gene_curves(genes, own, real, fmt=fmt, size=size)
