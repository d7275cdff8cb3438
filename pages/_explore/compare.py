"""Differential expression: which genes tell one group of cells from another; real, selected or generated."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from pages._explore import state
from pages._explore.scene import REAL, SAVED, Scene
from pages._shared import marker_lists, worker
from pages._shared.figure_bar import figure_bar
from pages._shared.trouble import error_box, escape
from pages._shared.words import plural
from scdiff_core.analysis.differential import read_table
from scdiff_core.errors import ScdiffError
from scdiff_core.figures.volcano import export_volcano, volcano
from scdiff_core.selection import pack_rows
from scdiff_core.workspace import read_json

NOW, REST, ALL_REAL = "selected cells", "all other real cells", "all real cells"
LIST = 25  # genes that one press takes to the marker figures

Side = tuple[str, np.ndarray]  # source, bool [n]


def sides(scene: Scene) -> dict[str, Side]:
    """Return every group of cells that can be compared: words -> source and which of its cells."""
    out: dict[str, Side] = {}
    named = {NOW: state.selected(scene)}
    for name, number in scene.selections.named().items():
        try:
            masks = scene.selections.open(number).masks
        except ScdiffError:
            continue
        named[SAVED + name] = {s: m for s, m in masks.items() if s in scene.sources and len(m) == scene.n(s)}
    for words, masks in named.items():
        for source in scene.sources:
            if source in masks and masks[source].any():
                out[words + _suffix(scene, source)] = (source, masks[source])
    if scene.over:
        out[_all_made(scene)] = (scene.over, np.ones(scene.n(scene.over), bool))
    column = next(iter(scene.grouping_columns()), None)
    if column is not None:
        names = scene.categories(column)
        for source in scene.sources:
            codes = scene.codes(column, source, names)
            for i, name in enumerate(names):
                if (codes == i).any():
                    out[f"{column}: {name}" + _suffix(scene, source)] = (source, codes == i)
    out[ALL_REAL] = (REAL, np.ones(scene.n(REAL), bool))
    return out


def _suffix(scene: Scene, source: str) -> str:
    return "" if source == REAL else f" ({scene.word(source)})"


def _all_made(scene: Scene) -> str:
    return f"all {scene.made_word} cells"


def _against(scene: Scene, first: str, known: dict[str, Side]) -> dict[str, Side]:
    """Return what a group can be held against: the rest of its own cells, and every group that shares none."""
    source, mask = known[first]
    out: dict[str, Side] = {}
    if first == _all_made(scene):
        out[ALL_REAL] = known[ALL_REAL]  # what anybody wants to know first of generated cells
    if not mask.all():
        out[REST if source == REAL else f"all other {scene.made_word} cells"] = (source, ~mask)
    for words, (other, cells) in known.items():
        if words != first and (other != source or not (cells & mask).any()):
            out[words] = (other, cells)
    return out


def choose(scene: Scene) -> tuple[str, str, Side, Side] | None:
    """Draw the choice of the two sides, within a row."""
    known = sides(scene)
    first_key, second_key = state.key(scene, "side_a"), state.key(scene, "side_b")
    if st.session_state.get(first_key) not in known:
        st.session_state[first_key] = next(iter(known))
    st.selectbox("Which cells", list(known), key=first_key, persist_state="session", width=280,
                 help="Select cells on the map, save them under a name, or take a whole group.")
    first = str(st.session_state[first_key])
    others = _against(scene, first, known)
    if not others:
        st.info("These are all the cells there are: select some of them, to compare them with the rest.")
        return None
    if st.session_state.get(second_key) not in others:
        st.session_state[second_key] = next(iter(others))
    st.selectbox("against", list(others), key=second_key, persist_state="session", width=280)
    second = str(st.session_state[second_key])
    return first, second, known[first], others[second]


def _mark(scene: Scene, a: Side, b: Side) -> str:
    parts = [scene.prepared.fingerprint, *(f"{s}:{pack_rows(m)}" for s, m in (a, b))]
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()


def show(scene: Scene) -> None:
    """Draw the comparison: the choice of its sides, the volcano, the table."""
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="small", key=state.key(scene, "compare_row"))
    with row:
        chosen = choose(scene)
    if chosen is None:
        return
    first, second, a, b = chosen
    counts = [int(m.sum()) for _, m in (a, b)]
    mark = _mark(scene, a, b)
    out = scene.job.path / "comparisons" / mark
    request = f"compare-{mark}"
    ready = (out / "table.csv").exists()
    with row:
        pressed = st.button("Compare", type="primary", icon=":material/compare_arrows:",
                            key=state.key(scene, "compare"), disabled=ready or min(counts) < 3)
    st.caption(f"{plural(counts[0], 'cell')} against {plural(counts[1], 'cell')} · Wilcoxon rank-sum test of every "
               "gene, corrected for their number (Benjamini-Hochberg).")
    if min(counts) < 3:
        st.info("A test needs at least three cells on each side.")
        return
    if pressed:
        worker.submit(request, "compare", dataset=scene.job.id, fingerprint=scene.prepared.fingerprint,
                      a={"source": a[0], "rows": pack_rows(a[1])}, b={"source": b[0], "rows": pack_rows(b[1])},
                      names={"a": first, "b": second}, out_dir=str(out))
    ended = worker.wait(request, first="comparing", patience=0.8)
    if worker.under_way(request) is not None:
        return
    if ended is not None:
        said = ended.look()
        if said.get("error"):
            error_box(said["error"])
            return
        if said.get("cancelled"):
            st.info("Cancelled: nothing was compared.")
            return
    if (out / "table.csv").exists():
        _result(scene, out, first, second, [source != REAL for source, _ in (a, b)], row)
    else:
        st.caption("Press **Compare**: a few seconds for tens of thousands of cells.")


@st.cache_data(max_entries=8, show_spinner=False)
def _table(path: str, modified: float) -> pd.DataFrame:
    return read_table(Path(path))


def _colour_by(scene: Scene, gene: str) -> None:
    state.set_value(scene, "colour", gene)


def _to_markers(scene: Scene, genes: list[str]) -> None:
    marker_lists.take_genes(state.key(scene, "marker"), genes)
    st.toast("These genes are under *Marker figures* now.", icon=":material/check:")


def _result(scene: Scene, out: Path, first: str, second: str, synthetic: list[bool], row: Any) -> None:
    table = _table(str(out / "table.csv"), (out / "table.csv").stat().st_mtime)
    recipe: dict[str, Any] = read_json(out / "recipe.json", {})
    with row:
        fold = st.number_input("log2 fold change from", 0.0, 20.0, 1.0, 0.25, key=state.key(scene, "de_fold"),
                               persist_state="session", width=165)
        alpha = st.number_input("adjusted p up to", 0.0, 1.0, 0.05, 0.01, key=state.key(scene, "de_alpha"),
                                persist_state="session", width=150, format="%g")
    strong = table[(table["pval_adj"] <= alpha) & (table["log2fc"].abs() >= fold)]
    up, down = strong[strong["log2fc"] > 0], strong[strong["log2fc"] < 0]
    st.markdown(f"**{plural(len(up), 'gene')}** higher in *{escape(first)}*, **{plural(len(down), 'gene')}** higher in "
                f"*{escape(second)}*, of {len(table):,} tested.")
    left, right = st.columns([3, 2], gap="medium")
    options: dict[str, Any] = {"fold": fold, "alpha": alpha, "names": (first, second), "synthetic": synthetic}
    with left:
        st.plotly_chart(volcano(table, **options), key=state.key(scene, "volcano"), width="stretch",
                        config={"displaylogo": False}, alt=f"Volcano plot: {first} against {second}")
        stem = f"{scene.name}-differential-expression" + ("-synthetic" if any(synthetic) else "")
        figure_bar(partial(_volcano_file, table, options), stem, state.key(scene, "volcano_files"), table=table)
    with right:
        word = st.text_input("Find a gene", key=state.key(scene, "de_find"), placeholder="Find a gene: CD3, HLA…",
                             icon=":material/search:", label_visibility="collapsed")
        found = table[table["gene"].str.contains(word.strip(), case=False, regex=False)] if word.strip() else table
        shown = found.assign(frac_a=100 * found["frac_a"], frac_b=100 * found["frac_b"])
        event = st.dataframe(
            shown, hide_index=True, height=400, key=state.key(scene, "de_table"), on_select="rerun",
            selection_mode="single-row", alt="Every gene with its fold change and p-value",
            column_order=["gene", "log2fc", "pval_adj", "frac_a", "frac_b", "mean_a", "mean_b", "score", "pval"],
            column_config={
                "log2fc": st.column_config.NumberColumn("log2 fold", format="%.2f", help="log2 of the fold change"),
                "pval_adj": st.column_config.NumberColumn("adj. p", format="%.1e"),
                "frac_a": st.column_config.NumberColumn("in these", format="%.0f %%", help="Share with the gene."),
                "frac_b": st.column_config.NumberColumn("in others", format="%.0f %%", help="Share with the gene."),
                "mean_a": st.column_config.NumberColumn("mean of these", format="%.2f", help="log1p"),
                "mean_b": st.column_config.NumberColumn("mean of the others", format="%.2f", help="log1p"),
                "score": st.column_config.NumberColumn("z", format="%.1f"),
                "pval": st.column_config.NumberColumn("p", format="%.1e")})
        picked = event["selection"]["rows"]
        with st.container(horizontal=True):
            gene = str(found.iloc[picked[0]]["gene"]) if picked and picked[0] < len(found) else ""
            st.button(f"Colour the map by {gene}" if gene else "Colour the map by the chosen gene",
                      disabled=not gene, on_click=_colour_by, args=(scene, gene), icon=":material/palette:",
                      key=state.key(scene, "de_colour"))
            best = [*up["gene"].head(LIST), *down.iloc[::-1]["gene"].head(LIST)]
            st.button("Best genes to the marker figures", disabled=not best, on_click=_to_markers, args=(scene, best),
                      icon=":material/playlist_add:", key=state.key(scene, "de_markers"))
    if recipe:
        with st.popover("How this was compared", icon=":material/receipt_long:"):
            st.code(json.dumps(recipe, indent=1), language="json", height=300)


def _volcano_file(table: pd.DataFrame, options: dict[str, Any], fmt: str, size: Any) -> bytes:
    return export_volcano(table, **options, fmt=fmt, size=size)
