"""Fill the target: a gene, a program, a pasted list, the genes of a type or of selected cells, a file."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st
import yaml

from pages._data.options import names_in
from pages._design import draft as drafts
from pages._explore import gene_sets, state
from pages._explore.scene import Scene
from pages._shared import worker
from pages._shared.trouble import error_box, escape, kept, show_kept
from pages._shared.words import plural
from scdiff_core import keys
from scdiff_core import target as targets
from scdiff_core.data.prepared import Prepared
from scdiff_core.errors import ScdiffError, nearest
from scdiff_core.selection import REAL, pack_rows
from scdiff_core.target import BETWEEN, DOWN, UP
from scdiff_core.workspace import JobDir

LARGEST = 2**20  # bytes of a target file
MOST = 40  # rows of one pasted list
KIND, SAVED, NOW = "cells of a type", "a saved selection", "what is selected on the map"
HIGH, LOW, AWAY = "high", "low", "stay away from it"


def trouble_key(run: JobDir) -> str:
    """Return where the reason is kept why something could not be taken in."""
    return f"design-trouble-{run.id}"


def show(run: JobDir, prepared: Prepared, job: JobDir) -> None:
    """Draw the row of ways to fill the target."""
    past = drafts.history(run)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="design_bring"):
        st.selectbox("Add a gene", prepared.genes.tolist(), index=None, key=f"design-gene-{run.id}", width=190,
                     placeholder="type a gene", on_change=_gene, args=(run,), label_visibility="collapsed")
        with st.popover("Paste a list", icon=":material/content_paste:", key="design_paste"):
            _paste(run, prepared)
        with st.popover("Program", icon=":material/category:", key="design_program",
                        help="A gene set: the mean level of its genes."):
            _program(run, prepared)
        with st.popover("Like these cells", icon=":material/join_inner:", key="design_like",
                        help="Markers of a type, or the genes that tell apart cells that you selected."):
            _like(run, prepared, job)
        with st.popover("File", icon=":material/upload_file:", key="design_file",
                        help="Save the target, or open one that was saved."):
            _file(run, prepared)
        if past.past or past.future:
            st.button("", icon=":material/undo:", key="design_undo", disabled=not past.past, type="tertiary",
                      help="Undo: back to the target before", on_click=drafts.step, args=(run, True))
            st.button("", icon=":material/redo:", key="design_redo", disabled=not past.future, type="tertiary",
                      help="Redo", on_click=drafts.step, args=(run, False))
        if past.present.items:
            st.button("Clear", key="design_clear", type="tertiary", on_click=_clear, args=(run,),
                      help="Take all rows away. Undo brings them back.")
    show_kept(trouble_key(run))


def _add(run: JobDir, rows: list[dict[str, Any]]) -> None:
    st.session_state.pop(trouble_key(run), None)
    drafts.change(run, drafts.current(run).added(rows))


def _clear(run: JobDir) -> None:
    drafts.change(run, drafts.Draft())
    st.session_state.pop(trouble_key(run), None)


def _gene(run: JobDir) -> None:
    key = f"design-gene-{run.id}"
    name = st.session_state.get(key)
    if name and (name, False) not in [(i.name, i.program) for i in drafts.current(run).items]:
        _add(run, [{"gene": name, "direction": UP}])
    elif name:
        st.toast(f"{name} is in the target already.")
    st.session_state[key] = None


# ---- a pasted list ----


def _paste(run: JobDir, prepared: Prepared) -> None:
    with st.form("design_paste_form", border=False):
        st.text_area("Genes", key="design_pasted", height=130, placeholder="HLA-DRA, CST3 up 2.0\nCD8A-, S100A8 down",
                     help="One a line or between commas. `down` or `-` behind a gene: it is to be low; a number: its "
                          "level.")
        st.form_submit_button("Add these", type="primary", on_click=_take_list, args=(run, prepared))


def _take_list(run: JobDir, prepared: Prepared) -> None:
    with kept(trouble_key(run)):
        rows, unknown = targets.from_list(st.session_state.get("design_pasted") or "", prepared.genes.tolist())
        if not rows and not unknown:
            raise ScdiffError("There is nothing to add.", "The list is empty.", "Paste some genes, one a line.")
        if len(rows) > MOST:
            raise ScdiffError("That is too long for a target.", f"The list has {len(rows)} genes.",
                              f"Take at most {MOST}, or make the list a program: it then counts by its mean.")
        if rows:
            _add(run, [r.model_dump(mode="json") for r in rows])
            st.session_state["design_pasted"] = ""
        if unknown:
            first = unknown[0]
            more = "" if len(unknown) == 1 else f" Nor {', '.join(map(str, unknown[1:6]))}" + (
                " and more." if len(unknown) > 6 else ".")
            near = nearest(str(first), prepared.genes.tolist())
            raise ScdiffError(f"The model does not know '{first}'.{more}", near or
                              f"It is not among the {prepared.n_genes:,} genes that were kept.",
                              f"{plural(len(rows), 'other gene')} of the list "
                              f"{'was' if len(rows) == 1 else 'were'} added. Correct the name, or prepare the data "
                              "again and keep this gene.")


# ---- programs ----


def _program(run: JobDir, prepared: Prepared) -> None:
    known = gene_sets.known()
    if known:
        st.selectbox("Gene set of the workspace", list(known), index=None, key="design_set",
                     placeholder="type to find one")
    else:
        st.caption("No gene sets in this workspace yet: bring a `.gmt` file on the Data page (*More*, *Gene sets*), or "
                   "paste one here.")
    st.text_input("Or one of your own: its name", key="design_set_name", placeholder="Interferon")
    st.text_area("Its genes", key="design_set_genes", placeholder="ISG15, IFI6\nIFIT1", height=90)
    st.segmented_control("It is to be", [HIGH, LOW, AWAY], default=HIGH, required=True, key="design_set_way",
                         help="*Stay away*: lower than in half of the real cells.")
    st.button("Add the program", type="primary", key="design_set_add", on_click=_take_program, args=(run, prepared))


def _take_program(run: JobDir, prepared: Prepared) -> None:
    with kept(trouble_key(run)):
        own = names_in(st.session_state.get("design_set_genes") or "")
        name = " ".join((st.session_state.get("design_set_name") or "").split()) or "my program"
        if not own:
            name = str(st.session_state.get("design_set") or "")
            own = list(gene_sets.known().get(name, ()))
        if not own:
            raise ScdiffError("There is no program to add.", "Neither a gene set nor genes were given.",
                              "Choose a gene set, or paste genes.")
        way = st.session_state.get("design_set_way")
        row: dict[str, Any] = {"name": name, "members": own, "direction": UP if way == HIGH else DOWN}
        if way == AWAY:
            row["top"] = targets.AWAY
        checked = targets.check(targets.parse({"programs": [row]}), prepared.genes.tolist()).programs[0]
        _add(run, [checked.model_dump(mode="json")])
        lost = len(set(own)) - len(set(checked.members))
        if lost:
            st.toast(f"{plural(lost, 'gene')} of '{name}' {'is' if lost == 1 else 'are'} not in the data; the others "
                     "are used.", icon=":material/info:")


# ---- like these cells ----


def sources(run: JobDir, prepared: Prepared, job: JobDir) -> dict[str, tuple[str | None, str | None]]:
    """Return the cells that a target can be made of: words -> (packed rows or None, cell type or None)."""
    out: dict[str, tuple[str | None, str | None]] = {}
    scene = Scene(job, prepared)
    now = state.selected(scene).get(REAL)
    if now is not None:
        out[f"{plural(int(now.sum()), 'cell')} selected on the map"] = (pack_rows(now), None)
    for name, number in scene.selections.named().items():
        try:
            mask = scene.selections.open(number).mask(REAL, prepared.n_cells)
        except ScdiffError:
            continue
        if mask.any():
            out[f"saved: {name}"] = (pack_rows(mask), None)
    if prepared.roles.cell_type:
        out |= {f"type: {t}": (None, t) for t in np.unique(prepared.labels(keys.CELL_TYPE)).tolist() if t}
    return out


def _like(run: JobDir, prepared: Prepared, job: JobDir) -> None:
    known = sources(run, prepared, job)
    if not known:
        st.caption("There are no cell types and no saved cells. Draw round some cells on the Data page.")
        return
    where = f"design-like-{run.id}"
    if st.session_state.get(where) not in known:
        st.session_state[where] = next(iter(known))
    chosen = str(st.selectbox("Cells", list(known), key=where, on_change=_forget, args=(run,)))
    n = int(st.number_input("How many genes", 1, 30, 6, key="design_like_n"))
    request = f"propose-{run.id}"
    if st.button("Propose genes", key="design_propose", type="primary"):
        st.session_state.pop(f"{where}-trouble", None)
        rows, kind = known[chosen]
        worker.submit(request, "propose", run=str(run.path), rows=rows, cell_type=kind, n=n)
    ended = worker.wait(request, patience=3.0)
    if ended is not None:
        said = ended.look()
        if said.get("error"):
            st.session_state[f"{where}-trouble"] = said["error"]
        elif said.get("rows"):
            st.session_state[f"{where}-rows"] = said["rows"]
    if trouble := st.session_state.get(f"{where}-trouble"):
        error_box(trouble)
    rows_found: list[dict[str, Any]] = st.session_state.get(f"{where}-rows") or []
    if rows_found:
        words = {str(r["gene"]): proposal(r) for r in rows_found}
        st.pills("Genes that tell them apart", list(words), selection_mode="multi", default=list(words),
                 format_func=words.__getitem__, key=f"{where}-chosen-{'-'.join(words)}"[:120],
                 help="Only the chosen ones are added.")
        st.button("Add these rows", key="design_like_add", on_click=_take_like, args=(run, rows_found))
        st.caption("The level is one that most of these cells reach. Found in " + escape(chosen) + ".")


def proposal(row: dict[str, Any]) -> str:
    """Return a proposed row in words."""
    sign = "≤" if row["direction"] == DOWN else "≥"
    shares = f" ({100 * row['share_in']:.0f} % against {100 * row['share_out']:.0f} %)" if "share_in" in row else ""
    return f"{row['gene']} {sign} {row['level']:.2f}{shares}"


def _forget(run: JobDir) -> None:
    for name in ("rows", "trouble"):
        st.session_state.pop(f"design-like-{run.id}-{name}", None)


def _take_like(run: JobDir, rows: list[dict[str, Any]]) -> None:
    where = f"design-like-{run.id}-chosen-{'-'.join(str(r['gene']) for r in rows)}"[:120]
    chosen = st.session_state.get(where)
    some = [r for r in rows if chosen is None or r["gene"] in chosen]
    _add(run, [{k: r[k] for k in ("gene", "direction", "level", "hard") if k in r} for r in some])
    _forget(run)


# ---- files ----


def _file(run: JobDir, prepared: Prepared) -> None:
    draft = drafts.current(run)
    st.download_button("Save the target (.yaml)", data=lambda: text_of(run), file_name=f"target-{prepared.name}.yaml",
                       mime="application/yaml", on_click="ignore", key="design_yaml", icon=":material/download:",
                       disabled=not draft.items,
                       help="The same file that the command `design` reads. Empty levels stay empty in it.")
    st.file_uploader("Open a target (.yaml)", type=["yaml", "yml"], key=f"design-upload-{run.id}", max_upload_size=1,
                     on_change=_take_file, args=(run, prepared))


def text_of(run: JobDir) -> str:
    """Return the draft as the text of a target file."""
    return targets.write(drafts.current(run).target())


def _take_file(run: JobDir, prepared: Prepared) -> None:
    given = st.session_state.get(f"design-upload-{run.id}")
    if given is None:
        return
    with kept(trouble_key(run)):
        drafts.change(run, read(given.name, given.getvalue(), prepared))


def read(name: str, data: bytes, prepared: Prepared) -> drafts.Draft:
    """Return an uploaded target file as a draft.

    Raises
    ------
    ScdiffError
        It is no target, or asks for genes or types that the data does not have.
    """
    if len(data) > LARGEST:
        raise ScdiffError(f"'{name}' is too large for a target.", f"It has {len(data) / 2**20:.1f} MB.",
                          "Take a file that was saved here or written for `design`.")
    try:
        values = yaml.safe_load(data.decode("utf-8-sig"))
    except (UnicodeDecodeError, yaml.YAMLError):
        raise ScdiffError(f"'{name}' is not a target file.", "It is not valid yaml.",
                          f"Write it like this: {targets.EXAMPLE}") from None
    target = targets.parse(values, gene_sets.known(), f"'{name}'")
    target = targets.check(target, prepared.genes.tolist())
    if prepared.roles.cell_type:
        own = set(prepared.labels(keys.CELL_TYPE).tolist()) - {""}
        for kind in (target.cell_type, *target.away_from.get("cell_type", ())):
            if kind is not None and kind not in own:
                raise ScdiffError(f"The data has no cell type '{kind}'.", nearest(kind, own) or
                                  f"It has {', '.join(sorted(own)[:12])}.", "Correct the file.")
    elif target.cell_type or target.away_from:
        raise ScdiffError("The data has no cell types.", f"'{name}' asks for one.",
                          "Take the cell type out of the file, or prepare the data with a column of cell types.")
    return drafts.of_target(target)


def rows_in_words(draft: drafts.Draft, most: int = 4) -> str:
    """Return the rows in a few words, for titles."""
    signs = {UP: "↑", DOWN: "↓", BETWEEN: "↕"}
    words = [f"{i.name}{signs[i.direction]}" for i in draft.items]
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")
