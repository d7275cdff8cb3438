"""Which programs a perturbation moves, by the gene sets of the workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from pages._explore import gene_sets
from pages._perturb.shown import Shown
from pages._shared import uploads
from pages._shared.figure_bar import figure_bar
from pages._shared.trouble import escape, kept, show_kept
from pages._shared.words import plural
from scdiff_core.analysis.gene_sets import decode_gmt
from scdiff_core.analysis.perturb import programs
from scdiff_core.engine import screens
from scdiff_core.errors import ScdiffError
from scdiff_core.figures import effect_maps, effects
from scdiff_core.workspace import write_text

TABLES = (".tsv", ".csv")
EVERY = "all collections"
CONFIG: dict[str, Any] = {"displaylogo": False}


@st.cache_data(max_entries=8, show_spinner=False)
def _read(path: str, modified: float) -> dict[str, dict[str, float]]:
    text = Path(path).read_text(encoding="utf-8")
    if Path(path).suffix in TABLES:
        return programs.read_regulons(text)
    return programs.from_sets(decode_gmt(text.encode()))


def collections() -> dict[str, Path]:
    """Return the collections of gene sets and regulons of the workspace, by the names of their files."""
    folder = gene_sets.folder()
    files = [p for e in ("gmt", "tsv", "csv") for p in folder.glob(f"*.{e}")] if folder.is_dir() else []
    return {p.stem: p for p in sorted(files)}


def network(name: str) -> dict[str, dict[str, float]]:
    """Return the programs of a collection, or of all of them; a file that cannot be read is left out."""
    out: dict[str, dict[str, float]] = {}
    for stem, path in collections().items():
        if name in (EVERY, stem):
            try:
                out |= _read(str(path), path.stat().st_mtime)
            except (ScdiffError, OSError, UnicodeDecodeError):
                continue
    return out


def choose() -> str | None:
    """Draw the choice of a collection and where one is brought; None where there is none."""
    names = list(collections())
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="program_choice"):
        chosen = None
        if names:
            options = [*names, *([EVERY] if len(names) > 1 else [])]
            if st.session_state.get("program_sets") not in options:
                st.session_state["program_sets"] = options[0]
            chosen = str(st.selectbox("Gene sets", options, key="program_sets", persist_state="session", width=320))
        with st.popover("Bring gene sets", icon=":material/upload_file:", key="program_bring"):
            st.file_uploader("Gene sets (.gmt), or regulons (.tsv, .csv: source, target, weight)", key="program_file",
                             type=["gmt", "txt", "tsv", "csv"], on_change=_take)
            st.caption("Kept in the workspace, for every page and everybody who uses it. Hallmark, Reactome and GO are "
                       "at MSigDB; regulons at CollecTRI and DoRothEA.")
            show_kept("program_trouble")
    if not names:
        st.info("No gene sets yet. **Bring gene sets**: a `.gmt` file, for example the Hallmark collection of MSigDB, "
                "or a table of regulons.", icon=":material/category:")
    return chosen


def _take() -> None:
    given = st.session_state.get("program_file")
    if given is None:
        return
    with kept("program_trouble"):
        kind = uploads.ending_of(given)
        path = gene_sets.place(given, kind if kind in TABLES else ".gmt")
        data = given.getvalue()
        if kind in TABLES:
            text = _text(data)
            programs.read_regulons(text)
        else:
            decode_gmt(data)
            text = data.decode("utf-8-sig")
        write_text(path, text)
        st.session_state["program_sets"] = path.stem


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ScdiffError("The regulons cannot be read.", "The file is no text.",
                          "Take a table of regulator, target and weight, with tabs or commas.") from None


@st.cache_data(max_entries=8, show_spinner=False)
def reckon(changes: pd.DataFrame, name: str, stamp: tuple[float, ...]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return activity and adjusted p of a collection's programs [perturbations, programs]."""
    return programs.activity(changes, network(name))


def stamp() -> tuple[float, ...]:
    """Return what changes when a collection does."""
    return tuple(p.stat().st_mtime for p in collections().values())


def changes(shown: Shown) -> pd.DataFrame:
    """Return the predicted changes of the log1p mean [perturbations, genes]."""
    table = shown.effects()
    return screens.matrix(table.assign(change=table["mean_predicted"] - table["mean_control"]), "change")


def show(shown: Shown, name: str) -> None:
    """Draw the programs of one perturbation, and of all of them side by side."""
    chosen = choose()
    if chosen is None:
        return
    t, p = reckon(changes(shown), chosen, stamp())
    table = programs.table(t, p)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        one, sure = t.T[name], p.T[name]
        st.plotly_chart(effects.programs(one, sure), key="perturb-programs", width="stretch",
                        config=CONFIG, alt=f"Programs that {name} moves most")
        figure_bar(lambda fmt, size: effects.export_programs(one, sure, title=name, fmt=fmt, size=size),
                   f"{shown.stem}-programs", "perturb-programs-files", table=table)
        st.caption("t of the slope when the predicted changes of all genes are regressed on a program's genes "
                   "(univariate linear model, as in decoupler). Corrected by Benjamini-Hochberg. Genes are not "
                   "independent of one another: small p values tell where to look.")
    with right:
        own = table[table["perturbation"] == name].drop(columns="perturbation")
        word = st.text_input("Find a program", key="program_find", icon=":material/search:",
                             placeholder="Find a program: interferon…", label_visibility="collapsed")
        found = own[own["program"].str.contains(word.strip(), case=False, regex=False)] if word.strip() else own
        st.markdown(f"**{plural(int((own['pval_adj'] <= 0.05).sum()), 'program')}** of {len(own):,} with adjusted p "
                    f"up to 0.05 in *{escape(name)}*.")
        st.dataframe(found, hide_index=True, height=430, key="program_table", alt="Programs with activity and p value",
                     column_config={"activity": st.column_config.NumberColumn("activity (t)", format="%.2f"),
                                    "pval_adj": st.column_config.NumberColumn("adj. p", format="%.1e")})
    if len(shown.names) > 1:
        st.markdown("**All chosen perturbations**")
        some = effects.program_order(t.T, 30)
        st.plotly_chart(effect_maps.effect_heat(t[some], genes=some, value="activity (t)"), key="perturb-programs-heat",
                        width="stretch", config=CONFIG, alt="Programs by perturbations")
        figure_bar(lambda fmt, size: effect_maps.export_effect_heat(t[some], genes=some, value="activity (t)", fmt=fmt,
                                                                    size=size),
                   f"{shown.stem}-programs-heat", "perturb-programs-heat-files", table=table)
