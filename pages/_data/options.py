"""Which genes and which cells to learn from: variable genes, the test split, names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import streamlit as st

from pages._data import unseen
from pages._shared.words import plural
from scdiff_core.config import HoldOut, Roles
from scdiff_core.errors import nearest


@st.cache_data(max_entries=4, show_spinner=False)
def gene_names(path: str, modified: float) -> list[str]:
    """Return the gene names of an inspected source."""
    return Path(path).read_text(encoding="utf-8").splitlines()


def names_in(text: str) -> list[str]:
    """Split a pasted list of genes at commas, semicolons, spaces and line ends, without repeats."""
    return list(dict.fromkeys(t for t in re.split(r"[\s,;]+", text) if t))


def choose_genes(folder: Path, n_genes: int, job_id: str) -> tuple[int | str, tuple[str, ...], list[str]]:
    """Draw the choice of genes; returns how many, the named ones that are known, and the unknown ones."""
    default = min(2000, n_genes)
    everything = st.toggle(
        f"Keep all {n_genes:,} genes",
        value=False,
        key=f"prep_all_{job_id}",
        help="Slower, and rarely better: most genes are seen in few cells.",
    )
    number: int | str = "all"
    if not everything:
        number = int(
            st.number_input(
                "Most variable genes",
                value=default,
                min_value=min(50, n_genes),
                max_value=n_genes,
                step=100,
                key=f"prep_genes_{job_id}",
                help="The genes that differ most between cells carry the biology.",
            )
        )
    text = st.text_area(
        "Genes that must be kept",
        key=f"prep_keep_{job_id}",
        height=80,
        placeholder="CD3E, MS4A1, LYZ",
        help="Paste a list: commas, spaces or lines.",
    )
    file = folder / "genes.txt"
    known = set(gene_names(str(file), file.stat().st_mtime))
    named = names_in(text)
    unknown = [n for n in named if n not in known]
    for name in unknown[:5]:
        st.warning(f"'{name}' is not in this file. {nearest(name, known)}".strip(), icon=":material/help:")
    if len(unknown) > 5:
        st.warning(f"{len(unknown) - 5} more names are not in this file.", icon=":material/help:")
    return number, tuple(n for n in named if n in known), unknown


def choose_split(columns: list[dict[str, Any]], job_id: str, folder: Path, roles: Roles,
                 ) -> tuple[tuple[HoldOut, ...], float, int]:
    """Draw the choice of test cells; returns the hold-outs, the share and the seed."""
    usable = {c["name"]: c for c in columns if c["kind"] == "categorical" and c["n_unique"] > 1}
    share = (
        st.slider(
            "Cells kept aside to test (%)",
            10,
            50,
            30,
            5,
            key=f"prep_share_{job_id}",
            help="Never trained on. Generated cells are compared with them.",
        )
        / 100
    )
    held: tuple[HoldOut, ...] = ()
    table = unseen.conditions(folder, roles)
    kinds = unseen.possible(table) if table is not None else {}
    if usable:
        column = st.selectbox(
            "Hold out all cells of",
            [None, *kinds, *usable],
            key=f"prep_hold_{job_id}",
            format_func=lambda x: "nothing more" if x is None else f"Unseen {kinds[x]}" if x in kinds else x,
            help="To see how the model does on what it has never seen.",
        )
        if table is not None and column in kinds:
            held = unseen.choose(table, str(column), folder, roles, job_id)
        elif column:
            values = st.multiselect(
                "Held-out values",
                [str(v) for v, _ in usable[column]["values"]],
                key=f"prep_hold_values_{job_id}_{column}",
            )
            if values:
                held = (HoldOut(column=column, values=tuple(values)),)
                st.caption(f"All cells with {plural(len(values), 'value')} of '{column}' become test cells.")
    seed = int(
        st.number_input(
            "Seed",
            value=0,
            min_value=0,
            key=f"prep_seed_{job_id}",
            help="The same seed gives the same split and the same map.",
        )
    )
    return held, share, seed
