"""Fill up: generate cells of rare types until each has as many as are asked for, and see whether it helps."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from pages._explore import panel
from pages._explore.scene import Scene
from pages._generate import using
from pages._shared import context, worker
from pages._shared.copies import copies
from pages._shared.trouble import escape
from pages._shared.words import plural
from scdiff_core import keys
from scdiff_core.analysis.filling import FEWEST
from scdiff_core.config import validate
from scdiff_core.config_uses import FILL_TO, FillConfig
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine import outputs, uses_set
from scdiff_core.engine.outputs import GeneratedSet
from scdiff_core.workspace import JobDir

TYPE, REAL, WANTED, MADE = "type", "real", "in all", "generated"


def draw(run: JobDir, prepared: Prepared, left: st.delta_generator.DeltaGenerator,
         right: st.delta_generator.DeltaGenerator) -> None:
    """Draw the numbers in the left column, and what was made of them in the right one."""
    with left:
        columns = [c.column for c in prepared.vocab.categorical]
        if not columns:
            st.info("This model knows no types: its dataset was prepared without a column of labels. Prepare it with "
                    "the column of the cell type, and train on that.", icon=":material/info:")
            return
        usual = prepared.roles.cell_type
        column = str(st.selectbox("Types", columns, index=columns.index(usual) if usual in columns else 0,
                                  key=f"fill-{run.id}-column", persist_state="session")) if len(columns) > 1 \
            else columns[0]
        to, numbers = _numbers(run, prepared, column)
        config = validate(FillConfig, {"run": run.id, "column": column, "to": to, "numbers": numbers}, "The settings")
        if st.button("Fill up", type="primary", icon=":material/stacked_bar_chart:", key="fill_go"):
            using.begin(run, "fill", config)
        copies(config, f"fill-{run.id}")
        using.follow(run, "fill")
        st.divider()
        _ask_study(run, prepared, column, to, numbers)
        worker.warm(run, using.key_of(run, "fill"))
    with right:
        _shown(run, prepared)


def _numbers(run: JobDir, prepared: Prepared, column: str) -> tuple[int, dict[str, int]]:
    """Draw the table of real and wanted numbers; returns the number for each type, and type -> another one."""
    labels = prepared.labels(column)
    values = next(c.values for c in prepared.vocab.categorical if c.column == column)
    real = {v: int((labels == v).sum()) for v in values}
    to = int(st.number_input("Fill up each type to", 1, 100_000, FILL_TO, 50, key=f"fill-{run.id}-to",
                             persist_state="session", help="Types that have as many already are left as they are. In "
                             "the table you can give a type another number."))
    base = pd.DataFrame({TYPE: list(real), REAL: list(real.values()), WANTED: [max(to, n) for n in real.values()]})
    edited = st.data_editor(base, hide_index=True, disabled=[TYPE, REAL], key=f"fill-{run.id}-{column}-{to}",
                            height=38 + 35 * min(len(base), 9), column_config={
                                TYPE: st.column_config.TextColumn(width=128), REAL: st.column_config.Column(width=58),
                                WANTED: st.column_config.NumberColumn(
                                    width=74, min_value=1, step=1, required=True,
                                    help="Real and generated together. Editable.")})
    wanted = {str(t): int(n) for t, n in zip(edited[TYPE], edited[WANTED], strict=True)}
    lacks = [n - real[t] for t, n in wanted.items() if n > real[t]]
    st.caption(f"{plural(sum(lacks), 'cell')} to generate, for {plural(len(lacks), 'type')}.")
    return to, {t: n for t, n in wanted.items() if n != max(to, real[t])}


def _ask_study(run: JobDir, prepared: Prepared, column: str, to: int, numbers: dict[str, int]) -> None:
    labels = prepared.labels(column)
    values = next(c.values for c in prepared.vocab.categorical if c.column == column)
    held_out = (prepared.obs[keys.SPLIT] == keys.TEST).to_numpy()
    known = {v: min(int((labels[held_out] == v).sum()), int((labels[~held_out] == v).sum())) for v in values}
    rarest = sorted(values, key=lambda v: (known[v] < FEWEST, int((labels == v).sum())))
    st.markdown("**Does it help?**", help="A classifier is taught on training cells as they are, with the rare cells "
                "repeated, weighted, and with generated cells beside them, and judged on real cells that neither it "
                "nor the model has seen.")
    rare = str(st.selectbox("Classifier of", rarest, key=f"fill-{run.id}-{column}-rare", persist_state="session"))
    if st.button("Try it", icon=":material/science:", key="fill_study"):
        using.begin_study(run, "fill", rare=rare, column=column, to=max(numbers.get(rare, to), 2))
    using.follow(run, "study-fill")
    found = uses_set.read_study(run, f"fill/{column}/{rare}")
    if found is not None:
        st.markdown(f"**{escape(found['sentence'])}**")


def _table_of(found: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame([{
        "taught on training cells": row["way"],
        **{words: f"{row[key]:.3f} ± {row[f'{key}_sd']:.3f}" for key, words in
           (("f1", "F1"), ("ap", "average precision"), ("balanced", "balanced accuracy"))}} for row in found["rows"]])


def _shown(run: JobDir, prepared: Prepared) -> None:
    sets = outputs.list_sets(run, "fill")
    job = context.workspace().open("prepare", prepared.name)
    if not sets:
        st.markdown("Real cells. Press **Fill up** to see generated ones over them.")
        panel.show_map(Scene(job, prepared), "fill")
        return
    made = using.pick(sets, "Filled sets", _words)
    st.markdown(_words(made) + " :orange-badge[:material/auto_awesome: synthetic]")
    panel.show_tabs(Scene(job, prepared, run, made), "fill", {
        "Numbers": partial(_show_numbers, run, made), "Download": partial(_downloads, prepared, made)})


def _words(made: GeneratedSet) -> str:
    recipe = made.recipe()
    types = recipe.get("fill", {}).get("made", {})
    return (f"{plural(int(recipe.get('n_cells', 0)), 'generated cell')} of {plural(len(types), 'type')}"
            f" ({escape(', '.join(list(types)[:4]))}{' and others' if len(types) > 4 else ''})")


def _show_numbers(run: JobDir, made: GeneratedSet) -> None:
    """Draw how many real and generated cells each type has, and every study that was made."""
    told = made.recipe().get("fill", {})
    real, new = told.get("real", {}), told.get("made", {})
    st.dataframe(pd.DataFrame([{TYPE: t, REAL: n, MADE: new.get(t, 0), WANTED: n + new.get(t, 0)}
                               for t, n in real.items()]), hide_index=True, key="fill_numbers",
                 alt="Real and generated cells of each type")
    column = told.get("column", "")
    for rare in real:
        found = uses_set.read_study(run, f"fill/{column}/{rare}")
        if found is None:
            continue
        st.markdown(f"**{escape(found['sentence'])}**")
        st.dataframe(_table_of(found), hide_index=True, key=f"fill_study_{rare}", alt=f"Classifiers of {rare}")
        st.caption(f"{found['n_train']:,} training cells of {escape(rare)}, filled up to {found['to']:,}; judged on "
                   f"{found['n_test']:,} held-out ones among all held-out cells. ± one standard deviation over "
                   f"{found['seeds']} seeds.")


def _downloads(prepared: Prepared, made: GeneratedSet) -> None:
    stem = f"{prepared.name}-filled-synthetic-{made.id}"
    with st.container(horizontal=True):
        st.download_button("Generated cells (.h5ad)", data=lambda: (made.path / outputs.CELLS).read_bytes(),
                           on_click="ignore", file_name=f"{stem}.h5ad", mime="application/x-hdf5",
                           icon=":material/download:", key="fill_download")
        st.download_button("Real and generated cells (.h5ad)", data=lambda: _both(prepared, made), on_click="ignore",
                           file_name=f"{prepared.name}-filled-with-synthetic-{made.id}.h5ad",
                           mime="application/x-hdf5", icon=":material/download:", key="fill_download_both")
    st.caption("`obs['synthetic']` says which cells are generated. They are made from the same real cells: they are no "
               "new evidence of a type, and must not be counted as replicates.")


def _both(prepared: Prepared, made: GeneratedSet) -> bytes:
    """Return real and generated cells as a file."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cells.h5ad"
        outputs.write_cells(path, uses_set.filled(prepared, made.cells()))
        return path.read_bytes()
