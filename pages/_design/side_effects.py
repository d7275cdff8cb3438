"""What changed besides what was asked for: genes, and programs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from pages._design.shown import Shown
from pages._perturb import programs
from pages._shared.figure_bar import figure_bar
from pages._shared.trouble import escape
from pages._shared.words import plural
from scdiff_core import keys
from scdiff_core.analysis.perturb import programs as activity
from scdiff_core.figures import design_effects, effects

CONFIG: dict[str, Any] = {"displaylogo": False}
DESIGNED = "designed"


def show(shown: Shown) -> None:
    """Draw the genes that changed most, besides those asked for."""
    table = shown.side_effects()
    if not len(table):
        st.info("No gene changed besides those that were asked for.", icon=":material/check:")
        return
    asked = st.toggle("With the genes that were asked for", key="design_asked", persist_state="session")
    left, right = st.columns([3, 2], gap="medium")
    wanted = table["asked"].astype(bool)
    if not asked and wanted.all():
        st.info("No gene changed besides those that were asked for.", icon=":material/check:")
        return
    with left:
        st.plotly_chart(design_effects.side_effects(table, asked=asked), key="design-side", width="stretch",
                        config=CONFIG, alt="Genes that changed most in designed cells")
        figure_bar(lambda fmt, size: design_effects.export_side_effects(table, asked=asked, fmt=fmt, size=size),
                   f"{shown.stem}-side-effects", "design-side-files", table=table)
    with right:
        shown_rows = table if asked else table[~wanted]
        sure = shown_rows[(shown_rows["pval_adj"] <= 0.05) & (shown_rows["log2fc"].abs() >= 1)]
        st.markdown(f"**{plural(len(sure), 'gene')}** {'changes' if len(sure) == 1 else 'change'} twofold or more "
                    f"against {escape(reference_words(shown))}.")
        st.dataframe(
            shown_rows, hide_index=True, height=420, key="design_side_table",
            alt="Genes with their change in designed cells",
            column_order=["gene", "log2fc", "pval_adj", "mean_designed", "mean_reference", "asked"],
            column_config={
                "log2fc": st.column_config.NumberColumn("log2 fold", format="%.2f"),
                "pval_adj": st.column_config.NumberColumn("adj. p", format="%.1e"),
                "mean_designed": st.column_config.NumberColumn("designed", format="%.2f", help="Mean of log1p."),
                "mean_reference": st.column_config.NumberColumn("real", format="%.2f", help="Mean of log1p."),
                "asked": st.column_config.CheckboxColumn("asked for")})
    st.caption("Wilcoxon rank-sum test of designed against real cells, corrected by Benjamini-Hochberg. How many cells "
               "are designed is your choice, so a small p says little: look at the fold changes.")


def reference_words(shown: Shown) -> str:
    """Return in words what designed cells are held against."""
    found = getattr(shown.report, "reference", "")
    return str(found or "the real cells they are held against")


def reference_rows(shown: Shown) -> tuple[np.ndarray, str]:
    """Return the real cells whose mean stands for "before", and what they are: of the start, the type, or all."""
    target = shown.config.get("target") or {}
    start = target.get("start") or {}
    prepared, kind = shown.prepared, start.get("cell_type") or target.get("cell_type")
    train = prepared.rows(keys.TRAIN)
    if kind and prepared.roles.cell_type:
        own = train[prepared.labels(keys.CELL_TYPE)[train] == kind]
        if len(own):
            return own, f"real cells of {kind}"
    return train, "all real training cells"


def programs_of(shown: Shown) -> None:
    """Draw which programs differ from the real cells, by the gene sets of the workspace."""
    told = pd.DataFrame([dict(p) for p in shown.report.programs])
    if len(told):
        st.markdown(f"**Programs** :gray[those of the target first; against {escape(reference_words(shown))}]")
        st.dataframe(told, hide_index=True, key="design_programs", height=38 + 35 * min(len(told), 6),
                     alt="Programs of the target and of the workspace, designed and real",
                     column_config={
                         "program": st.column_config.TextColumn("program", width="medium"),
                         "asked": st.column_config.CheckboxColumn("asked for"),
                         "n_genes": st.column_config.NumberColumn("genes", help="Of it, in the data."),
                         "designed": st.column_config.NumberColumn("designed", format="%.2f",
                                                                   help="Mean log1p level of its genes."),
                         "reference": st.column_config.NumberColumn("real", format="%.2f",
                                                                    help="Mean log1p level of its genes."),
                         "activity": st.column_config.NumberColumn("activity (t)", format="%.2f"),
                         "pval_adj": st.column_config.NumberColumn("adj. p", format="%.1e")})
    chosen = programs.choose()
    if chosen is None:
        return
    rows, words = reference_rows(shown)
    before = np.asarray(shown.prepared.log1p(rows).mean(axis=0)).ravel()
    after = np.asarray(shown.log1p().mean(axis=0)).ravel()
    changes = pd.DataFrame([after - before], index=[DESIGNED], columns=shown.prepared.genes.astype(str))
    t, p = programs.reckon(changes, chosen, programs.stamp())
    table = activity.table(t, p)
    left, right = st.columns([3, 2], gap="medium")
    one, sure = t.T[DESIGNED], p.T[DESIGNED]
    with left:
        st.plotly_chart(effects.programs(one, sure), key="design-programs", width="stretch", config=CONFIG,
                        alt="Programs in which designed cells differ most")
        figure_bar(lambda fmt, size: effects.export_programs(one, sure, title="designed cells", fmt=fmt, size=size),
                   f"{shown.stem}-programs", "design-programs-files", table=table)
    with right:
        own = table.drop(columns="perturbation", errors="ignore")
        st.markdown(f"**{plural(int((own['pval_adj'] <= 0.05).sum()), 'program')}** of {len(own):,} with adjusted p up "
                    f"to 0.05 against {escape(words)}.")
        st.dataframe(own, hide_index=True, height=430, key="design_program_table",
                     alt="Programs with activity and p value",
                     column_config={"activity": st.column_config.NumberColumn("activity (t)", format="%.2f"),
                                    "pval_adj": st.column_config.NumberColumn("adj. p", format="%.1e")})
    st.caption("t of the slope when the change of all genes is regressed on a program's genes (univariate linear "
               "model). Genes are not independent of one another: small p values tell where to look.")
