"""A prepared dataset as people look at it: the map of cells, what was done, the marker genes."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from pages._explore import panel
from pages._explore.scene import Scene
from pages._shared import context
from pages._shared.job_panel import follow
from pages._shared.trouble import guard
from pages._shared.words import plural
from scdiff_core import jobs, keys
from scdiff_core.data.prepared import Prepared
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
    with st.container(horizontal=True, vertical_alignment="center", gap="medium", key="dataset_head"):
        name = st.selectbox(
            "Dataset",
            names,
            index=names.index(now) if now in names else 0,
            width=280,
            label_visibility="collapsed",
        )
        job = every[names.index(name)]
        context.choose(dataset=name)
        _how_many(job)
        if st.button("Delete", icon=":material/delete:", type="tertiary", key="delete_dataset"):
            _delete(job)
        ready = (job.path / "prepared.h5ad").exists()
        if ready and st.button("Train a model", type="primary", icon=":material/model_training:", key="to_train"):
            st.switch_page("pages/train.py")
    status = follow(job, f"prepare-{job.id}")
    if status.active:
        st.caption("You can leave this page: the preparation goes on.")
    elif (job.path / "prepared.h5ad").exists():
        _show_prepared(job)
    elif status.state == "stopped":
        st.info("The preparation was cancelled. Delete this dataset, or open the source again with other settings.")


def _how_many(job: JobDir) -> None:
    """Say how many cells and genes a dataset has; nothing while it is not ready."""
    if not (job.path / "prepared.h5ad").exists():
        st.space("stretch")
        return
    with guard():
        prepared = context.open_dataset(job)
        n_train = len(prepared.rows(keys.TRAIN))
        st.markdown(
            f"**{prepared.n_cells:,} cells** :gray[({n_train:,} to learn from, {prepared.n_cells - n_train:,} to test)]"
            f" · **{prepared.n_genes:,} genes** "
            f":gray[({'counts' if prepared.values == keys.COUNTS else 'continuous values'})]",
            width="stretch",
        )


def _show_prepared(job: JobDir) -> None:
    prepared = context.open_dataset(job)
    report: dict[str, Any] = read_json(job.path / "report.json", {})
    panel.show_tabs(
        Scene(job, prepared),
        "data",
        {"What was done": lambda: _what_was_done(report), "Marker genes": lambda: _marker_table(prepared)},
    )


def _marker_table(prepared: Prepared) -> None:
    markers = prepared.markers()
    if markers.empty:
        st.info("Marker genes need a cell-type column with at least two types.")
        return
    st.dataframe(markers, hide_index=True, height=520, alt="Marker genes of each cell type")
    st.download_button(
        "Table (.csv)",
        data=lambda: markers.to_csv(index=False),
        file_name=f"{prepared.name}-markers.csv",
        mime="text/csv",
        on_click="ignore",
        icon=":material/table:",
        key="markers_csv",
    )


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
