"""Choose a source: a demo, an upload, or a path on the server; then have it looked at by a job."""

from __future__ import annotations

import re
import secrets
import shutil
import time
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx

from pages._shared import context
from pages._shared.trouble import error_box
from scdiff_core import jobs
from scdiff_core.config import InspectConfig, ReadConfig
from scdiff_core.data.demo import DEMOS
from scdiff_core.data.read import resolve_in_root
from scdiff_core.data.sniff import sniff
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir, atomic_write, check_name

TYPES = ["h5ad", "h5", "loom", "zip", "gz", "tgz", "csv", "tsv", "txt"]
UPLOADS_KEPT_S = 7 * 86400


def uploads_folder() -> Path:
    """Return where uploads lie, without those of more than a week ago."""
    folder = context.workspace().root / "uploads"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if time.time() - old.stat().st_mtime > UPLOADS_KEPT_S:
            shutil.rmtree(old, ignore_errors=True)
    return folder


def safe_name(text: str) -> str:
    """Return a file's name with every unusual character replaced, for use as a name on disk."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(text).name).lstrip(".-_")
    return name[-60:] or "upload"


def dataset_name(source: str) -> str:
    """Propose a name for the dataset that is not taken yet."""
    plain = source.removeprefix("demo:")
    stem = re.sub(r"(\.(h5ad|h5|loom|zarr|zip|tar|gz|tgz|csv|tsv|txt))+$", "", safe_name(plain)) or "cells"
    folder = context.workspace().folder("prepare")
    name, number = stem[:60], 2
    while (folder / name).exists():
        name, number = f"{stem[:60]}-{number}", number + 1
    return check_name(name)


def look_at(source: str, read: ReadConfig) -> None:
    """Start the job that reads and checks a source, and remember it."""
    job = context.workspace().create(InspectConfig(source=source, read=read))
    jobs.start(job)
    for key in [k for k in st.session_state if str(k).startswith("prep_")]:
        del st.session_state[key]
    context.choose(source=job.id)


def _save_upload(upload: Any) -> str:
    target = uploads_folder() / secrets.token_hex(4) / safe_name(upload.name)

    def copy(path: Path) -> None:
        with open(path, "wb") as handle:
            shutil.copyfileobj(upload, handle, 1 << 22)

    atomic_write(target, copy)
    return str(target)


def _let_go(upload: Any) -> None:
    """Free the copy of an upload in the server's memory, which Streamlit would keep until the visitor leaves."""
    upload.close()
    context_of_run = get_script_run_ctx()
    manager = context_of_run.uploaded_file_mgr if context_of_run is not None else None
    if context_of_run is not None and isinstance(manager, MemoryUploadedFileManager):
        manager.remove_file(context_of_run.session_id, upload.file_id)


def choose_source() -> None:
    """Draw the three ways to bring cells in."""
    if "source_error" in st.session_state:
        error_box(st.session_state.pop("source_error"))
    way = st.segmented_control(
        "Where are your cells?",
        ["Upload a file", "A path on this computer", "A demo"],
        default="Upload a file",
        required=True,
        key="source_way",
        persist_state="session",
    )
    if way == "Upload a file":
        generation = st.session_state.setdefault("upload_generation", 0)
        upload = st.file_uploader(
            "A table of cells",
            type=TYPES,
            key=f"upload-{generation}",
            help="AnnData .h5ad, 10x .h5, a zipped 10x folder (.zip, .tar.gz), .loom, or a "
            "table (.csv, .tsv, .txt, also .gz). Up to 1 GB; larger files by path.",
        )
        st.caption(
            "`.h5ad` · 10x `.h5` · zipped 10x folder · `.loom` · `.csv` `.tsv` `.txt` (also `.gz`). "
            "Your file stays on the machine that runs scDiff Studio."
        )
        if upload is not None:
            with st.spinner("Saving the file…"):
                path = _save_upload(upload)
            _let_go(upload)
            st.session_state["upload_generation"] = generation + 1
            open_path(path)
    elif way == "A path on this computer":
        root = context.data_root()
        with st.form("path_form", border=False):
            text = st.text_input(
                "Path",
                placeholder="experiment1/cells.h5ad",
                key="source_path",
                help=f"Within {root}. A file, a 10x folder or a .zarr folder. "
                "Nothing is copied into memory: best for large files.",
            )
            st.caption(f"Files and folders within `{root}`.")
            pressed = st.form_submit_button("Open", type="primary", icon=":material/folder_open:")
        if pressed and text.strip():
            try:
                open_path(str(resolve_in_root(text.strip(), root)))
            except ScdiffError as error:
                error_box(error)
    else:
        for name, (title, description) in DEMOS.items():
            with st.container(border=True):
                st.markdown(f"**{title}**  \n{description}")
                if st.button("Open", key=f"open-{name}", icon=":material/science:"):
                    look_at(f"demo:{name}", ReadConfig())
                    st.rerun()


def open_path(path: str) -> None:
    """Look at a file; where the file alone does not say how to read it, ask first."""
    try:
        found = sniff(Path(path))
    except ScdiffError as error:
        # told after the next run, in which the uploader is a new one and lets go of the file
        st.session_state["source_error"] = error.to_dict()
        st.rerun()
    if len(found.genomes) > 1:
        st.session_state["ask_genome"] = {"path": path, "genomes": list(found.genomes)}
    else:
        look_at(path, ReadConfig())
    st.rerun()


def ask_genome() -> bool:
    """Ask which genome of a 10x file is wanted; True while the question is open."""
    question = st.session_state.get("ask_genome")
    if not question:
        return False
    st.info(f"`{Path(question['path']).name}` holds several genomes. Which one are your cells?")
    genome = st.radio("Genome", question["genomes"], key="genome_choice", horizontal=True)
    with st.container(horizontal=True):
        if st.button("Open this genome", type="primary", icon=":material/check:"):
            del st.session_state["ask_genome"]
            look_at(question["path"], ReadConfig(genome=genome))
            st.rerun()
        if st.button("Cancel", key="genome_cancel"):
            del st.session_state["ask_genome"]
            st.rerun()
    return True


def how_read(job: JobDir, sniffed: dict[str, Any]) -> None:
    """Show how the source was read where there is a choice, and read it again when that is changed."""
    config = job.config()
    read: ReadConfig = config.read
    changed = read
    layers = list(sniffed.get("layers") or [])
    if layers:
        options = [None, *layers]
        layer = st.selectbox(
            "Values from",
            options,
            index=options.index(read.layer) if read.layer in options else 0,
            format_func=lambda x: "found by itself (X, raw or counts)" if x is None else f"layer '{x}'",
            key=f"layer-{job.id}",
            help="Which matrix of the file holds the counts.",
        )
        changed = changed.model_copy(update={"layer": layer})
    if sniffed.get("orientation"):
        options_o = ["cells_in_rows", "genes_in_rows"]
        now = read.orientation or sniffed["orientation"]
        chosen = st.radio(
            "In this table",
            options_o,
            index=options_o.index(now),
            horizontal=True,
            format_func=lambda x: "each row is a cell" if x == "cells_in_rows" else "each row is a gene",
            key=f"orientation-{job.id}",
            help="Found from the names and numbers of rows and columns. Change it if it is wrong.",
        )
        if sniffed.get("orientation_reason"):
            st.caption(f"Found by itself: {sniffed['orientation_reason']}")
        if chosen != now:
            changed = changed.model_copy(update={"orientation": chosen})
    if len(sniffed.get("genomes") or []) > 1:
        genomes = list(sniffed["genomes"])
        genome = st.selectbox(
            "Genome", genomes, index=genomes.index(read.genome) if read.genome in genomes else 0, key=f"genome-{job.id}"
        )
        changed = changed.model_copy(update={"genome": genome})
    if changed != read:
        look_at(config.source, changed)
        st.rerun()
