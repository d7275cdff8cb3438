"""Where no perturbation was measured: regulators by their activity, small molecules by their signatures; hypotheses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from pages._design.shown import Shown
from pages._perturb import programs
from pages._shared import context, uploads, worker
from pages._shared.trouble import error_box, escape, kept, show_kept
from pages._shared.words import plural
from scdiff_core import keys
from scdiff_core.analysis.design.regulators import WORDS as REGULATOR_WORDS
from scdiff_core.analysis.design.regulons import SOURCES
from scdiff_core.analysis.design.signatures import WORDS as DRUG_WORDS
from scdiff_core.errors import ScdiffError
from scdiff_core.selection import REAL, pack_rows
from scdiff_core.selections import Selections
from scdiff_core.workspace import atomic_write, read_json

EVERY = "all real cells"
ENDINGS = (".csv", ".tsv", ".parquet")
FILES = {"regulators": "regulators", "signatures": "small-molecules"}  # by what the worker was asked
DOWNLOAD, DOWNLOAD_TROUBLE = "download-regulons", "design_download_trouble"


def start_cells(shown: Shown) -> tuple[dict[str, str], dict[str, str] | None]:
    """Draw the choice of the cells that one has; returns conditions, and the saved selection if there is one."""
    prepared, column = shown.prepared, shown.prepared.roles.cell_type
    options: dict[str, Any] = {EVERY: ({}, None)}
    saved = Selections(shown.job, prepared.fingerprint, prepared.n_cells)
    for name, number in saved.named().items():
        mask = saved.open(number).mask(REAL, prepared.n_cells)
        if mask.any():
            options[f"saved: {name}"] = ({}, {"id": number, "name": name, "rows": pack_rows(mask)})
    if column:
        for kind in np.unique(prepared.labels(keys.CELL_TYPE)).tolist():
            if kind:
                options[f"type: {kind}"] = ({column: kind}, None)
    if st.session_state.get("design_have") not in options:
        start = (shown.config.get("target") or {}).get("start") or {}
        words = f"type: {start.get('cell_type')}"
        st.session_state["design_have"] = words if words in options else EVERY
    where, selection = options[str(st.selectbox("The cells that you have", list(options), key="design_have"))]
    return where, selection


def regulators(shown: Shown) -> None:
    """Draw which regulators differ in their activity between the designed cells and those that one has."""
    _follow_download()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="design_regulator_sets"):
        chosen = programs.choose()
        _offer_download()
    if chosen is None:
        return
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="design_regulators_ask"):
        where, selection = start_cells(shown)
        pressed = st.button("Rank regulators", type="primary", icon=":material/hub:", key="design_regulators")
    files = [str(p) for name, p in programs.collections().items() if chosen in (programs.EVERY, name)]
    _ask(shown, "regulators", pressed, where, selection, {"files": files}, REGULATOR_WORDS,
         "Regulators by their change of activity", {
             "rank": st.column_config.NumberColumn("", width=40),
             "regulator": st.column_config.TextColumn(),
             "activity": st.column_config.NumberColumn("activity (t)", format="%.2f", help="t of the slope when the "
                                                       "wanted change is regressed on a regulator's targets."),
             "pval_adj": st.column_config.NumberColumn("adj. p", format="%.1e"),
             "reading": st.column_config.TextColumn("in the designed cells", width="medium"),
             "own_change": st.column_config.NumberColumn("its own gene", format="%.2f", help="Change of its own "
                                                         "expression (log1p); empty where it is not measured."),
             "n_targets": st.column_config.NumberColumn("targets"),
             "targets": st.column_config.TextColumn("the strongest of them", width="large")})


def _offer_download() -> None:
    """Draw the offer to go online for regulons; nothing does unless it is pressed."""
    with st.popover("Download regulons", icon=":material/cloud_download:", key="design_download"):
        st.caption("The app itself never goes online. These buttons do, once each, and keep the table in the "
                   "workspace.")
        for source in SOURCES.values():
            st.button(f"{source.name} from {source.host}", key=f"design_download_{source.name}", on_click=_download,
                      args=(source.name,), disabled=source.name in programs.collections(),
                      help=f"{source.about[:1].upper()}{source.about[1:]}.")


def _download(name: str) -> None:
    st.session_state.pop(DOWNLOAD_TROUBLE, None)
    worker.submit(DOWNLOAD, "fetch_regulons", name=name)


def _follow_download() -> None:
    ended = worker.wait(DOWNLOAD, first="downloading", patience=1.0)
    if ended is not None:
        said = ended.look()
        if said.get("error"):
            st.session_state[DOWNLOAD_TROUBLE] = said["error"]
        elif not said.get("cancelled"):
            st.session_state["program_sets"] = said["name"]  # before the choice is drawn
            st.toast(f"{said['name']}: regulons of {int(said['n']):,} regulators.", icon=":material/check:")
    if st.session_state.get(DOWNLOAD_TROUBLE):
        error_box(st.session_state[DOWNLOAD_TROUBLE])


def drugs(shown: Shown) -> None:
    """Draw which small molecules change cells most like what is wanted, by a table of signatures."""
    names = {p.stem: p for p in sorted(_folder().glob("*")) if p.suffix in ENDINGS} if _folder().is_dir() else {}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="design_drugs_ask"):
        where, selection = start_cells(shown)
        chosen = None
        if names:
            if st.session_state.get("design_signatures") not in names:
                st.session_state["design_signatures"] = next(iter(names))
            chosen = str(st.selectbox("Signatures", list(names), key="design_signatures"))
        with st.popover("Bring signatures", icon=":material/upload_file:", key="design_bring_signatures"):
            st.file_uploader("A table of genes × drugs (.csv, .tsv, .parquet)", type=["csv", "tsv", "parquet"],
                             key="design_signature_file", on_change=_take)
            st.caption("One drug a column, one gene a row: log fold changes or z-scores, for example of LINCS L1000. "
                       "Kept in the workspace.")
            show_kept("design_signature_trouble")
        pressed = st.button("Rank small molecules", type="primary", icon=":material/medication:", key="design_drugs",
                            disabled=chosen is None)
    if chosen is None:
        st.info("No signatures yet. **Bring signatures**: a table that says what each drug does to each gene.",
                icon=":material/medication:")
        return
    _ask(shown, "signatures", pressed, where, selection, {"file": str(names[chosen])}, DRUG_WORDS,
         "Drugs by likeness to what is wanted", {
             "rank": st.column_config.NumberColumn("", width=40),
             "drug": st.column_config.TextColumn(),
             "cosine": st.column_config.NumberColumn("likeness (cosine)", format="%.2f"),
             "rank_score": st.column_config.NumberColumn("likeness (ranks)", format="%.2f"),
             "n_genes": st.column_config.NumberColumn("genes compared")})


def _folder() -> Path:
    return context.workspace().root / "signatures"


def _take() -> None:
    given = st.session_state.get("design_signature_file")
    if given is None:
        return
    with kept("design_signature_trouble"):
        kind = uploads.ending_of(given)
        if kind not in ENDINGS:
            raise ScdiffError(f"'{given.name}' is no table of signatures.", f"It ends in '{kind}'.",
                              "Bring a .csv, .tsv or .parquet file.")
        path = uploads.place(given, _folder(), kind, largest=200 * uploads.MB,
                             fix="Keep the drugs that matter to you, or save it as .parquet.")
        data = given.getvalue()
        atomic_write(path, lambda p: p.write_bytes(data))
        st.session_state["design_signatures"] = path.stem


def _ask(shown: Shown, op: str, pressed: bool, where: dict[str, str], selection: dict[str, str] | None,
         more: dict[str, Any], words: str, alt: str, columns: dict[str, Any]) -> None:
    """Ask the worker where the button was pressed, and draw what it answered last for these cells."""
    out = shown.run.path / "design" / f"{op}-{shown.made.id}.csv"
    request, trouble = f"{op}-{shown.made.id}", f"design_{op}_trouble"
    if pressed:
        st.session_state.pop(trouble, None)
        worker.submit(request, op, run=str(shown.run.path), goal={"design": str(shown.made.path)}, out=str(out),
                      where=where or None, selection=selection, **more)
    ended = worker.wait(request, first="comparing the cells", patience=1.5)
    if ended is not None and ended.look().get("error"):
        st.session_state[trouble] = ended.look()["error"]
    if st.session_state.get(trouble):
        error_box(st.session_state[trouble])
    elif worker.under_way(request) is None and out.exists():
        _result(shown, op, pd.read_csv(out), read_json(out.with_suffix(".json"), {}), words, alt, columns)


def _result(shown: Shown, op: str, table: pd.DataFrame, told: dict[str, Any], words: str, alt: str,
            columns: dict[str, Any]) -> None:
    """Draw a ranking, below the words that say what it is worth."""
    st.warning(f"**{escape(words.partition(':')[0])}.** {escape(words.partition(':')[2].strip().capitalize())}",
               icon=":material/lightbulb:")
    st.caption(f"From {plural(int(told.get('n_start', 0)), 'cell')} ({escape(str(told.get('start', '')))}) to "
               f"{plural(int(told.get('n_goal', 0)), 'designed cell')}.")
    st.dataframe(table, hide_index=True, height=430, key=f"design_{op}_table", alt=alt, column_config=columns,
                 column_order=list(columns), placeholder="–")
    name = FILES[op]
    st.download_button("CSV", data=lambda: table.to_csv(index=False), file_name=f"{shown.stem}-{name}.csv",
                       mime="text/csv", on_click="ignore", key=f"design_{name}_csv", type="tertiary",
                       icon=":material/table:")
