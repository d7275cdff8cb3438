"""Data: bring cells in, check them, prepare them, look at them."""

from __future__ import annotations

import streamlit as st

from pages._data import findings, options, quality, result, source
from pages._shared import context, frame
from pages._shared.copies import copies
from pages._shared.job_panel import follow
from pages._shared.trouble import error_box
from scdiff_core import jobs
from scdiff_core.config import PrepareConfig, validate
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir, check_name, read_json


def prepare_form(job: JobDir) -> None:
    """Draw the findings and the settings of an inspected source, and start the preparation."""
    found = read_json(job.path / "findings.json")
    config = job.config()
    cells = quality.cells_of(job.path)
    left, right = st.columns([2, 3], gap="large")
    with left:
        source.how_read(job, found.get("sniffed") or {})
        with st.expander("What the columns mean", expanded=True, icon=":material/label:"):
            roles = findings.choose_roles(found, job.id)
        with st.expander("Quality thresholds", icon=":material/filter_alt:"):
            chosen = quality.choose_thresholds(found, job.id)
        with st.expander("Genes and test cells", icon=":material/tune:"):
            genes, keep, unknown = options.choose_genes(job.path, found["n_genes"], job.id)
            held, share, seed = options.choose_split(found["columns"], job.id, job.path, roles)
        name = st.text_input(
            "Name of the dataset", value=source.dataset_name(config.source), key=f"prep_name_{job.id}", max_chars=80
        )
        pressed = st.button(
            "Prepare",
            type="primary",
            icon=":material/play_arrow:",
            key="prepare",
            disabled=bool(unknown),
            help="Usually takes under a minute.",
        )
        if unknown:
            st.caption("Correct or remove the unknown genes first.")
    with right, st.container(key="beside"):
        checks, seen, table = st.tabs(["What was found", "Quality", "Columns"], key=f"found-{job.id}")
        with checks:
            findings.show_findings(found)
        with seen:
            kept = quality.show_quality(cells, chosen)
        with table:
            findings.columns_table(found["columns"])
    asked, trouble = None, None
    try:
        asked = validate(
            PrepareConfig,
            {
                "source": config.source,
                "name": check_name(name),
                "read": config.read,
                "roles": roles,
                "qc": chosen,
                "genes": genes,
                "keep_genes": keep,
                "hold_out": held,
                "test_fraction": share,
                "seed": seed,
            },
            "The settings",
        )
        if pressed:
            if kept == 0:
                raise ScdiffError(
                    "No cell would be left.",
                    "Every cell is outside the quality thresholds.",
                    "Loosen the thresholds; empty a field to drop its bound.",
                )
            dataset = jobs.create(context.workspace(), asked, name)
            jobs.start(dataset)
    except ScdiffError as error:
        trouble = error
    with left:
        if asked is not None and not unknown:
            copies(asked, "prepare")
        if trouble is not None and pressed:
            error_box(trouble)
    if pressed and trouble is None:
        context.choose(dataset=dataset.id, run=None, output=None)
        st.session_state["next_data_view"] = PREPARED  # a widget's own key is fixed once it is drawn
        st.rerun()


NEW, PREPARED = "Open cells", "Prepared datasets"

with frame.page("Data", "Bring your cells in, see whether they are good, and make them ready for training."):
    inspected = context.current("inspect")
    if "next_data_view" in st.session_state:
        st.session_state["data_view"] = st.session_state.pop("next_data_view")
    elif "data_view" not in st.session_state:
        st.session_state["data_view"] = PREPARED if context.current("prepare") and not inspected else NEW
    view = st.segmented_control(
        "View", [NEW, PREPARED], key="data_view", required=True, persist_state="session", label_visibility="collapsed"
    )
    if view == PREPARED:
        context.show_in_url("dataset")
        result.show()
    elif source.ask_genome():
        pass
    elif inspected is None:
        source.choose_source()
    else:
        context.show_in_url("source")
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{source.safe_name(inspected.config().source.removeprefix('demo:'))}**")
            if st.button("Another source", icon=":material/swap_horiz:", type="tertiary", key="other_source"):
                context.choose(source=None)
                st.rerun()
        status = follow(inspected, "inspect")
        if status.state == "finished":
            prepare_form(inspected)
        elif not status.active and status.state != "failed":
            st.info("Looking at this source was cancelled. Choose another one, or open it again.")
