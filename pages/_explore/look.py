"""The choices of a view: by what cells are coloured and split, on which map, which of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st

from pages._explore import gene_sets, state
from pages._explore.scene import DISTANCE, REAL, SAVED, SET, Colour, Scene
from pages._shared.trouble import error_box
from scdiff_core.errors import ScdiffError
from scdiff_core.figures.palette import PALETTES

MAPS = ("UMAP", "PCA", "Two columns")
BOTH, REAL_ONLY, MADE_ONLY, GREY = "both", "real", "generated", "real in grey"
NO_SPLIT = "nothing"
PANELS = 6  # more do not fit on a screen


@dataclass(frozen=True)
class Look:
    """One view of the cells."""

    colour: Colour
    place: str
    x: str
    y: str
    show: str
    split: str = NO_SPLIT

    def axes(self) -> tuple[str, str]:
        """Return the names of the axes."""
        return (self.x, self.y) if self.place == MAPS[2] else (f"{self.place} 1", f"{self.place} 2")


def colour_options(scene: Scene) -> list[str]:
    """Return all that cells can be coloured by: columns, saved selections, gene sets, genes."""
    saved = [SAVED + name for name in scene.selections.named()]
    sets = [SET + name for name in gene_sets.known()]
    return [*scene.columns(), *([DISTANCE] if scene.over else []), *saved, *sets, *scene.prepared.genes.tolist()]


def colour_of(scene: Scene, name: str) -> Colour:
    """Return the colours by a name; plain ones, and the reason on the page, where that is impossible."""
    try:
        return scene.colour(name, gene_sets.scores(scene, name) if name.startswith(SET) else None)
    except ScdiffError as error:
        error_box(error)
        return scene.colour(scene.columns()[0])


def choose_colour(scene: Scene, name: str = "colour", label: str = "Colour by", first: str = "") -> Colour:
    """Draw the choice of a colour; `name` is that of the setting and of the URL's parameter."""
    options = colour_options(scene)
    chosen = state.begin(scene, name, options, first or options[0])
    where = state.key(scene, name)
    st.selectbox(label, options, key=where, persist_state="session",
                 help="A column, a gene, a gene set, or cells that you saved: type to find it.")
    chosen = str(st.session_state[where])
    state.show_in_url(name, chosen, options[0])
    return colour_of(scene, chosen)


def choose_place(scene: Scene, name: str = "map") -> tuple[str, str, str]:
    """Draw the choice of a map: UMAP, PCA, or any two columns or genes."""
    place = state.begin(scene, name, MAPS, MAPS[0])
    st.segmented_control("Map", MAPS, key=state.key(scene, name), persist_state="session", required=True)
    place = str(st.session_state[state.key(scene, name)])
    state.show_in_url(name, place, MAPS[0])
    x = y = ""
    if place == MAPS[2]:
        options = [*scene.numeric_columns(), *scene.prepared.genes.tolist()]
        for axis in ("x", "y"):
            state.begin(scene, f"{name}-{axis}", options, options[0 if axis == "x" else min(1, len(options) - 1)])
            st.selectbox(f"{'Across' if axis == 'x' else 'Upwards'}", options, key=state.key(scene, f"{name}-{axis}"),
                         persist_state="session")
            state.show_in_url(f"{name}-{axis}", str(st.session_state[state.key(scene, f"{name}-{axis}")]))
        x, y = (str(st.session_state[state.key(scene, f"{name}-{axis}")]) for axis in ("x", "y"))
    return place, x, y


def choose_show(scene: Scene) -> str:
    """Draw the choice between real and generated cells; real ones alone where there are no others."""
    if not scene.over:
        return REAL_ONLY
    options, made = (BOTH, GREY, REAL_ONLY, MADE_ONLY), scene.made_word
    state.begin(scene, "show", options, BOTH)
    st.selectbox("Cells", options, key=state.key(scene, "show"), persist_state="session",
                 format_func={BOTH: f"real and {made}", GREY: f"{made} over grey real ones",
                              REAL_ONLY: "real only", MADE_ONLY: f"{made} only"}.__getitem__)
    show = str(st.session_state[state.key(scene, "show")])
    state.show_in_url("show", show, BOTH)
    return show


def choose_split(scene: Scene, draw: bool = True) -> str:
    """Return the column whose values get a panel each, and draw its choice where that is wanted."""
    options = [NO_SPLIT, *(c for c in scene.grouping_columns() if len(scene.categories(c)) > 1)]
    state.begin(scene, "split", options, NO_SPLIT)
    if draw:
        st.selectbox("Split by", options, key=state.key(scene, "split"), persist_state="session",
                     help=f"A panel for each value, at most {PANELS}; what you select in one is selected in all.")
    split = str(st.session_state[state.key(scene, "split")])
    state.show_in_url("split", split, NO_SPLIT)
    return split


def choose_palette(scene: Scene) -> None:
    """Draw the choice of the dataset's colours: made once, kept with the dataset, the same on every page."""
    options = list(PALETTES)
    now = scene.palette_name()
    picked = st.selectbox("Palette", options, index=options.index(now) if now in options else 0,
                          key=state.key(scene, "palette"),
                          help="All are safe for colour-blind people. Kept with the dataset, the same on every page.")
    if picked != now:
        scene.job.write_notes(palette=picked)
        st.rerun()


def rows_shown(scene: Scene, look: Look) -> dict[str, np.ndarray]:
    """Return which cells of each source a view shows: source -> bool [n]."""
    out = {REAL: np.full(scene.n(REAL), look.show != MADE_ONLY)}
    if scene.over:
        out[scene.over] = np.full(scene.n(scene.over), look.show != REAL_ONLY)
    return out
