"""Which workspace, dataset and run a visitor is looking at: ids in the session, the view in the URL."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from scdiff_core import jobs
from scdiff_core.data.prepared import Prepared
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import CONFIG, JobDir, Workspace

IDS = ("dataset", "run", "source", "output")


def workspace() -> Workspace:
    """Return the workspace of this server (`SCDIFF_WORKSPACE`, default ./workspace)."""
    return Workspace()


def data_root() -> Path:
    """Return the folder that paths typed on the Data page must lie in (`SCDIFF_DATA_ROOT`, default home)."""
    return Path(os.environ.get("SCDIFF_DATA_ROOT") or Path.home()).expanduser().absolute()


@st.cache_resource(show_spinner=False)
def start_of_server(root: str) -> None:
    """Start again the queued jobs whose process ended with the machine; once a server."""
    jobs.revive(Workspace(root))


def read_url() -> None:
    """Take the ids that the URL names into the session, so that a link or a refresh finds them."""
    for key in IDS:
        value = st.query_params.get(key)
        if value and value != st.session_state.get(key):
            st.session_state[key] = value


def choose(**ids: str | None) -> None:
    """Remember what is being looked at; None forgets it."""
    for key, value in ids.items():
        if value is None:
            st.session_state.pop(key, None)
            st.query_params.pop(key, None)
        else:
            st.session_state[key] = value
            st.query_params[key] = value


def show_in_url(*keys: str) -> None:
    """Write the page's own ids into the URL."""
    for key in keys:
        value = st.session_state.get(key)
        if value and st.query_params.get(key) != value:
            st.query_params[key] = value


def current(kind: str) -> JobDir | None:
    """Return the chosen dataset (`prepare`), run (`train`) or source (`inspect`), or None."""
    key = {"prepare": "dataset", "train": "run", "inspect": "source"}[kind]
    chosen = st.session_state.get(key)
    if not chosen:
        return None
    try:
        return workspace().open(kind, chosen)
    except ScdiffError:
        choose(**{key: None})
        return None


@st.cache_resource(max_entries=3, show_spinner=False)
def _open(path: str, modified: float) -> Prepared:
    return Prepared.open(path)


def open_dataset(job: JobDir) -> Prepared:
    """Return the prepared dataset of a directory, kept in memory while it is unchanged."""
    file = job.path / "prepared.h5ad"
    if not file.exists():
        raise ScdiffError(
            f"The dataset '{job.id}' is not ready.", "Its preparation has not ended.", "Finish it on the Data page."
        )
    return _open(str(job.path), file.stat().st_mtime)


@st.cache_resource(max_entries=64, show_spinner=False)
def _config(path: str, modified: int, _run: JobDir) -> Any:
    return _run.config()


def config_of(run: JobDir) -> Any:
    """Return a job's configuration, read once while it is unchanged; raises `ScdiffError` where it is broken."""
    try:
        changed = (run.path / CONFIG[run.kind]).stat().st_mtime_ns
    except OSError:
        return run.config()  # which says what is wrong
    return _config(str(run.path), changed, run)


def dataset_of(run: JobDir) -> Prepared:
    """Return the prepared dataset that a run was trained on; raises where it is gone or has changed."""
    config = config_of(run)
    prepared = open_dataset(workspace().open("prepare", config.dataset))
    if prepared.fingerprint != config.fingerprint:
        raise ScdiffError(
            f"The dataset '{config.dataset}' is not the one this run was trained on.",
            "It was prepared again since (its fingerprint differs).",
            "Train again on the new dataset, or restore the old one from the trash.",
        )
    return prepared


def strip(title: str = "", purpose: str = "", help: str = "") -> None:
    """Draw the strip on top: the page's name, purpose and help, and which dataset and run are open."""
    dataset, run = current("prepare"), current("train")
    if dataset is None and run is not None and dataset_name(run) in {j.id for j in workspace().datasets()}:
        choose(dataset=dataset_name(run))  # a run that was opened by its address brings its cells along
        dataset = current("prepare")
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="strip"):
        if title:
            st.markdown(f"# {title}", width="content")
        st.markdown(purpose, width="stretch")
        for badge in (_dataset_badge(dataset), _run_badge(run)):
            st.badge(**badge)
        waiting = [j for j in workspace().list("train") if jobs.watch(j).active]
        if waiting:
            st.badge(f"{len(waiting)} training", icon=":material/hourglass_top:", color="blue")
        if help:
            with st.popover("Help", icon=":material/help:", type="tertiary", key="page_help"):
                st.markdown(help)


def _dataset_badge(dataset: JobDir | None) -> dict[str, Any]:
    """Return what the strip says of the open dataset."""
    if dataset is None:
        return {"label": "Data: none yet", "icon": ":material/dataset:", "color": "gray"}
    return {"label": f"Data: {dataset.id}", "icon": ":material/dataset:", "color": "blue"}


def _run_badge(run: JobDir | None) -> dict[str, Any]:
    """Return what the strip says of the open run."""
    if run is None:
        return {"label": "Model: none yet", "icon": ":material/model_training:", "color": "gray"}
    state = jobs.watch(run).state
    colour = {"finished": "green", "failed": "red", "running": "blue"}.get(state, "gray")
    return {"label": f"Model: {title_of(run)} ({state})", "icon": ":material/model_training:", "color": colour}


def dataset_name(run: JobDir) -> str:
    """Return the name of the dataset a run learned from; empty where its configuration is broken."""
    try:
        return str(config_of(run).dataset)
    except ScdiffError:
        return ""


def task_of(run: JobDir) -> str:
    """Return what a run was trained for, `generate` or `perturb`; empty where its configuration is broken."""
    try:
        return str(run.config().task)
    except ScdiffError:
        return ""


def title_of(run: JobDir) -> str:
    """Return what people call a run: its given title, or its id."""
    return run.notes().get("title") or run.id


def choose_model(runs: Sequence[JobDir]) -> JobDir:
    """Draw the choice among runs, the one in use first; what is chosen is in use, and in the address, from then on."""
    now = current("train")
    ids, titles = [r.id for r in runs], {r.id: title_of(r) for r in runs}
    chosen = st.selectbox("Model", ids, index=ids.index(now.id) if now and now.id in ids else 0,
                          format_func=titles.__getitem__)
    run = runs[ids.index(chosen)]
    if now is None or now.id != run.id:
        choose(run=run.id, output=None)
    show_in_url("run", "output")
    return run


def needs(what: str, page: str, label: str) -> None:
    """Say what this page still lacks, link to where it is made, and end the page."""
    st.info(what, icon=":material/arrow_back:")
    st.page_link(page, label=label, icon=":material/arrow_forward:")
    st.stop()
