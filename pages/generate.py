"""Generate: ask for cells, see them beside the real ones, take them along."""

from __future__ import annotations

import numpy as np
import streamlit as st

from pages._generate import ask, card, downloads, genes
from pages._shared import context, frame
from pages._shared.cell_canvas import Layer
from pages._shared.cells_view import Colour, codes_like, colour_of, columns_to_colour, map_of_cells
from pages._shared.trouble import escape, guard
from pages._shared.words import plural
from scdiff_core import keys
from scdiff_core.config import GenerateConfig
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine.outputs import GeneratedSet, list_sets
from scdiff_core.workspace import JobDir


def asked_words(config: dict[str, object]) -> str:
    """Return in words what was asked for."""
    where = config.get("where") or {}
    assert isinstance(where, dict)
    of = ", ".join(f"{k}: {v}" for k, v in where.items()) or "the mix of the data"
    return f"{plural(int(str(config.get('n_cells', 0))), 'generated cell')} · {of}"


def generated_layer(
    made: GeneratedSet, view: dict[str, np.ndarray], prepared: Prepared, colour: Colour, place: str, distance: bool
) -> Layer:
    """Return the generated cells as a layer of the map, at the places of their `view`."""
    cells = genes.cells_of(made)
    hover: dict[str, np.ndarray] = {
        c: cells.obs[c].astype(str).to_numpy() for c in cells.obs.columns if c in prepared.roles.columns().values()
    }
    hover["distance to real"] = view["distance"]
    xy = view["xy"] if place == "UMAP" else view["pca"]
    if distance:
        return Layer("generated", xy, shape="ring", values=view["distance"], hover=hover)
    if colour.is_gene:
        return Layer("generated", xy, shape="ring", values=genes.values_of(made, colour.name), hover=hover)
    if colour.name in cells.obs.columns:
        column = cells.obs[colour.name]
        if colour.codes is not None:
            return Layer(
                "generated",
                xy,
                shape="ring",
                hover=hover,
                codes=codes_like(colour, column.astype(object).where(column.notna(), "").to_numpy()),
            )
        return Layer("generated", xy, shape="ring", values=column.to_numpy(np.float32), hover=hover)
    return Layer("generated", xy, shape="ring", hover=hover)


def show_map(made: GeneratedSet, prepared: Prepared) -> None:
    """Draw the generated cells over the real ones."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        options = [DISTANCE, *columns_to_colour(prepared), *prepared.genes.tolist()]
        first = next(iter(prepared.roles.columns().values()), DISTANCE)
        name = st.selectbox(
            "Colour by",
            options,
            index=options.index(first),
            key=f"gen_colour_{prepared.name}",
            persist_state="session",
            width=300,
            help="A column or a gene: type to find it.",
        )
        place = st.segmented_control(
            "Map", ["UMAP", "PCA"], default="UMAP", required=True, key="gen_map", persist_state="session"
        )
        grey = st.toggle("Real cells in grey", value=False, key="gen_grey", persist_state="session")
    distance = name == DISTANCE
    colour = Colour(DISTANCE, DISTANCE) if distance else colour_of(prepared, name)
    view = made.view()
    over = None if view is None else generated_layer(made, view, prepared, colour, place, distance)
    map_of_cells(
        prepared,
        colour,
        place=place,
        key=f"map-generate-{made.path.parent.parent.name}-{place}",
        height=560,
        over=over,
        real_grey=grey or distance,
    )
    if view is not None and not view["exact"] and place == "UMAP":
        st.caption(
            ":material/hourglass_top: Placed among their nearest real cells; the true map follows in a moment."
        )
    if over is None:
        st.info("The generated cells have no place on this map: their dataset was not at hand when they were made.")


def show_set(run: JobDir, prepared: Prepared, made: GeneratedSet, wanted: GenerateConfig) -> None:
    """Draw one generated set with everything that belongs to it."""
    config = made.recipe().get("config", {})
    head = escape(asked_words(config))
    if config != wanted.model_dump(mode="json"):
        head += " :orange-badge[:material/history: settings have changed since: press Generate to renew]"
    st.markdown(head)
    seen, markers, report, files = st.tabs(
        ["Map of cells", "Marker genes", "Report card", "Download"], key="generate_tabs"
    )
    with seen, guard():
        show_map(made, prepared)
    with markers, guard():
        genes.show_genes(made, prepared)
    with report, guard():
        card.show_card(made)
    with files, guard():
        downloads.show_downloads(made, prepared)


DISTANCE = "distance to real"

with frame.page("Generate", "Ask the model for new cells and hold them against real ones it has never seen."):
    runs = [r for r in context.workspace().list("train") if (r.checkpoints / "best.safetensors").exists()]
    if not runs:
        context.needs("No trained model yet.", "pages/train.py", "Go to Train")
    left, right = st.columns([1, 3], gap="large")
    current = context.current("train")
    names = [r.id for r in runs]
    with left:
        titles = {r.id: context.title_of(r) for r in runs}
        chosen = st.selectbox(
            "Model",
            names,
            index=names.index(current.id) if current and current.id in names else 0,
            format_func=titles.__getitem__,
        )
        run = runs[names.index(chosen)]
        if current is None or current.id != run.id:
            context.choose(run=run.id, output=None)
        context.show_in_url("run", "output")
        prepared = context.dataset_of(run)
        wanted = ask.choose(run, prepared)
        pressed = st.button("Generate", type="primary", icon=":material/auto_awesome:", key="generate")
        if pressed or st.session_state.pop("generate_now", False):
            ask.begin(run, wanted)
        busy = ask.follow(run)
        ask.warm(run)
    with right:
        sets = list_sets(run)
        if sets:
            ids = [s.id for s in sets]
            opened = st.session_state.get("output")
            made = sets[ids.index(opened)] if opened in ids else sets[0]
            if len(sets) > 1:
                picked = st.selectbox(
                    "Generated sets",
                    ids,
                    index=ids.index(made.id),
                    width=520,
                    label_visibility="collapsed",
                    format_func={
                        s.id: f"{s.id} · {asked_words(s.recipe().get('config', {}))}" for s in sets
                    }.__getitem__,
                )
                made = sets[ids.index(picked)]
            context.choose(output=made.id)
            show_set(run, prepared, made, wanted)
        else:
            colour = colour_of(prepared, next(iter(prepared.roles.columns().values()), keys.SPLIT))
            st.markdown(
                "Real cells. Generated ones appear over them."
                if busy
                else "Real cells. Press **Generate** to see generated ones over them."
            )
            map_of_cells(prepared, colour, key=f"map-generate-{run.id}-UMAP", height=560)
