"""Quality control as people know it from scanpy: thresholds drawn on the data, cells kept and lost live."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from scdiff_core import keys
from scdiff_core.config import QC
from scdiff_core.data import qc as quality
from scdiff_core.figures import plots


@st.cache_data(max_entries=4, show_spinner=False)
def read_cells(path: str, modified: float) -> pd.DataFrame:
    """Return the table of cells of an inspected source."""
    return pd.read_parquet(path)


def cells_of(folder: Path) -> pd.DataFrame:
    """Return the table of cells of an inspected source, kept while it is unchanged."""
    file = folder / "cells.parquet"
    return read_cells(str(file), file.stat().st_mtime)


def choose_thresholds(found: dict[str, Any], job_id: str) -> QC:
    """Draw the thresholds, beginning with those proposed from the data."""
    proposed = QC(**found["proposed_qc"])
    st.caption("Proposed from your data: the median and five median absolute deviations. An empty field is no bound.")
    bounds: dict[str, Any] = {}
    for label, low, high, step in (
        ("Genes a cell", "min_genes", "max_genes", 50),
        ("Counts a cell", "min_counts", "max_counts", 100),
    ):
        left, right = st.columns(2)
        for place, field, words in ((left, low, "at least"), (right, high, "at most")):
            start = getattr(proposed, field)
            value = place.number_input(
                f"{label}, {words}",
                value=None if start is None else int(start),
                min_value=0,
                step=step,
                key=f"prep_{field}_{job_id}",
            )
            bounds[field] = value
    start = proposed.max_pct_mt
    if found.get("has_mitochondrial", True):
        bounds["max_pct_mt"] = st.number_input(
            "Mitochondrial share, at most (%)",
            value=None if start is None else round(float(start), 1),
            min_value=0.0,
            max_value=100.0,
            step=1.0,
            key=f"prep_max_pct_mt_{job_id}",
            help="A high share of mitochondrial counts marks damaged cells.",
        )
    bounds["min_cells_per_gene"] = st.number_input(
        "Genes seen in at least … cells", value=proposed.min_cells_per_gene, min_value=0, key=f"prep_min_cells_{job_id}"
    )
    bounds["remove_doublets"] = st.toggle(
        "Remove doublets (scrublet)",
        value=False,
        key=f"prep_doublets_{job_id}",
        help="Two cells read as one. Takes some seconds more.",
        disabled=found["values"] != keys.COUNTS,
    )
    return QC(**bounds)


def show_quality(cells: pd.DataFrame, chosen: QC) -> int:
    """Draw cells kept and lost, the violins and the scatter with the thresholds; returns the cells kept."""
    keep = quality.passes(cells, chosen)
    kept = int(keep.sum())
    first, second, third = st.columns(3)
    first.metric(
        "Cells kept",
        f"{kept:,}",
        f"{kept / max(1, len(cells)):.1%} of {len(cells):,}",
        delta_color="off",
        delta_arrow="off",
    )
    second.metric("Cells left out", f"{len(cells) - kept:,}")
    middle = cells.loc[keep, keys.TOTAL_COUNTS].median() if kept else 0
    third.metric("Counts a cell (median)", f"{middle:,.0f}")
    if chosen.remove_doublets:
        st.caption("Doublets are found while preparing and come off these.")
    st.plotly_chart(
        plots.qc_violins(cells, chosen),
        key="qc_violins",
        alt="Violins of genes, counts and mitochondrial share a cell, with the thresholds as lines",
    )
    st.plotly_chart(
        plots.qc_scatter(cells, chosen, keep),
        key="qc_scatter",
        alt="Counts against genes a cell; the cells left out are marked",
    )
    return kept
