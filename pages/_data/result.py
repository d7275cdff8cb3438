"""A prepared dataset as people look at it: the map of cells, what was done, the marker genes."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from pages._shared import context
from pages._shared.cells_view import colour_by, map_of_cells
from pages._shared.job_panel import follow
from pages._shared.words import plural
from scdiff_core import jobs, keys
from scdiff_core.workspace import JobDir, read_json


@st.dialog("Delete this dataset?")
def _delete(job: JobDir) -> None:
    users = [r for r in context.workspace().list("train") if context.dataset_name(r) == job.id]
    st.markdown(f"**{job.id}** is moved to the trash folder of the workspace.")
    if users:
        st.warning(f"{plural(len(users), 'model')} learned from it and cannot be compared with it afterwards.")
    with st.container(horizontal=True):
        if st.button("Delete", type="primary", key="delete_dataset_yes"):
            jobs.delete(job)
            context.choose(dataset=None)
            st.rerun()
        if st.button("Keep", key="delete_dataset_no"):
            st.rerun()


def show() -> None:
    """Draw the chosen dataset, or the choice of one."""
    every = context.workspace().list("prepare")
    if not every:
        st.info("No dataset is prepared yet. Choose **Open cells** above; the demo needs no file.")
        return
    names = [j.id for j in every]
    now = st.session_state.get("dataset")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox("Dataset", names, index=names.index(now) if now in names else 0, width=360)
        job = every[names.index(name)]
        context.choose(dataset=name)
        if st.button("Delete", icon=":material/delete:", type="tertiary", key="delete_dataset"):
            _delete(job)
    status = follow(job, f"prepare-{job.id}")
    if status.active:
        st.caption("You can leave this page: the preparation goes on.")
    elif (job.path / "prepared.h5ad").exists():
        _show_prepared(job)
    elif status.state == "stopped":
        st.info("The preparation was cancelled. Delete this dataset, or open the source again with other settings.")


def _show_prepared(job: JobDir) -> None:
    prepared = context.open_dataset(job)
    report: dict[str, Any] = read_json(job.path / "report.json", {})
    n_train = len(prepared.rows(keys.TRAIN))
    left, right = st.columns([1, 3], gap="large")
    with left:
        st.metric(
            "Cells",
            f"{prepared.n_cells:,}",
            f"{n_train:,} to learn from, {prepared.n_cells - n_train:,} to test",
            delta_color="off",
            delta_arrow="off",
        )
        st.metric(
            "Genes",
            f"{prepared.n_genes:,}",
            "counts" if prepared.values == keys.COUNTS else "continuous values",
            delta_color="off",
            delta_arrow="off",
        )
        colour = colour_by(prepared, "data_colour")
        place = st.segmented_control(
            "Map", ["UMAP", "PCA"], default="UMAP", required=True, key="data_map", persist_state="session"
        )
        if st.button("Train a model", type="primary", icon=":material/model_training:", key="to_train"):
            st.switch_page("pages/train.py")
    with right:
        seen, done, genes = st.tabs(["Map of cells", "What was done", "Marker genes"], key="data_tabs")
        with seen:
            map_of_cells(prepared, colour, place=place, key=f"map-data-{job.id}-{place}")
        with done:
            _what_was_done(report)
        with genes:
            markers = prepared.markers()
            if markers.empty:
                st.info("Marker genes need a cell-type column with at least two types.")
            else:
                st.dataframe(markers, hide_index=True, height=520, alt="Marker genes of each cell type")


def _what_was_done(report: dict[str, Any]) -> None:
    steps = report.get("steps") or []
    if steps:
        table = pd.DataFrame(steps).rename(columns=lambda name: str(name).replace("_", " "))
        st.dataframe(table, hide_index=True, alt="Steps of the preparation with what each kept",
                     column_config={"words": st.column_config.TextColumn("what was done", width="large")})
    for line in report.get("summary") or []:
        st.markdown(f"- {line}")
    with st.expander("All of it, as saved", icon=":material/data_object:"):
        st.json(report, expanded=1)
