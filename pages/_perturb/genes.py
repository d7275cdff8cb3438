"""Which genes change: ranked with their intervals, as a volcano, against the measured ones, and as a table."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from pages._perturb.shown import Shown
from pages._shared import marker_lists
from pages._shared.figure_bar import figure_bar
from pages._shared.trouble import escape
from pages._shared.words import plural
from scdiff_core.engine.prediction import OF_EXPERIMENT
from scdiff_core.errors import ScdiffError
from scdiff_core.figures import effects as figures
from scdiff_core.figures.paper import Size
from scdiff_core.figures.volcano import export_volcano, volcano

VOLCANO, RANKED, AGAINST = "Volcano", "Ranked", "Against measured"
PREDICTED, MEASURED = "predicted", "measured"
LIST = 25  # genes that one press takes to the marker figures
CONFIG: dict[str, Any] = {"displaylogo": False}
P_WORDS = ("p is reckoned from the width of each gene's 90 % interval (corrected by Benjamini-Hochberg), not from the "
           "number of predicted cells, which anybody can choose.")


TRUE = "An end of the 90 % interval of the true change."
EXPERIMENT = ("An end of the 90 % interval of what an experiment with as many cells as were measured would find: wider "
              "than that of the true change, by the noise of those cells.")


def marker_key(shown: Shown) -> str:
    """Return the key under which the marker figures of a run's predictions keep their genes."""
    return f"perturb-marker-{shown.run.id}"


def measured(table: pd.DataFrame) -> bool:
    """Say whether real cells of the perturbation were measured."""
    return bool(np.isfinite(table["measured_log2fc"]).any())


def ranked(shown: Shown, name: str, key: str, most: int = 12) -> None:
    """Draw the surest genes with their intervals."""
    table = shown.effects(name)
    st.plotly_chart(figures.ranked(table, most=most), key=key, width="stretch", config=CONFIG,
                    alt=f"The genes that {name} changes most surely, with 90 % intervals")
    figure_bar(lambda fmt, size: figures.export_ranked(table, most=most, title=name, fmt=fmt, size=size),
               f"{shown.stem}-ranked", f"{key}-files", table=lambda: figures.ranked_genes(table, most))
    if _expected(table):
        st.caption("Lines with ends: the 90 % interval of the true change. Grey bands: where an experiment with as "
                   "many cells as were measured would fall, nine times of ten.")


def show(shown: Shown, name: str) -> None:
    """Draw the figure of the choice beside the table of all genes."""
    table = shown.effects(name)
    real = measured(table)
    options = [VOLCANO, RANKED, *([AGAINST] if real else [])]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="genes_choice"):
        if st.session_state.get("perturb_genes") not in options:
            st.session_state["perturb_genes"] = VOLCANO
        kind = str(st.segmented_control("Figure", options, key="perturb_genes", persist_state="session", required=True))
        which = PREDICTED
        if real and kind == VOLCANO:
            which = str(st.segmented_control("Effects", [PREDICTED, MEASURED], default=PREDICTED, required=True,
                                             key="perturb_which", persist_state="session"))
        fold = st.number_input("log2 fold from", 0.0, 20.0, 0.5, 0.25, key="perturb_fold", width=130,
                               persist_state="session")
        alpha = st.number_input("adj. p up to", 0.0, 1.0, 0.05, 0.01, key="perturb_alpha", width=130, format="%g",
                                persist_state="session")
    left, right = st.columns([3, 2], gap="medium")
    strong = _strong(table, fold, alpha)
    with left:
        if kind == VOLCANO:
            _volcano(shown, name, table, which, float(fold), float(alpha))
        elif kind == RANKED:
            ranked(shown, name, "ranked-genes", most=16)
        else:
            _against(shown, name, table)
    with right:
        _table(shown, name, table, strong, real)


def _expected(table: pd.DataFrame) -> bool:
    """Say whether it is known what an experiment with as many cells would measure."""
    return "expected_low" in table and bool(np.isfinite(table["expected_low"]).any())


def _strong(table: pd.DataFrame, fold: float, alpha: float) -> pd.DataFrame:
    return table[(table["pval_adj"] <= alpha) & (table["log2fc"].abs() >= fold)]


def volcano_table(table: pd.DataFrame, which: str) -> pd.DataFrame:
    """Return the predicted or the measured effects as a volcano takes them."""
    if which == PREDICTED:
        return table[["gene", "log2fc", "pval_adj"]]
    renamed = {"measured_log2fc": "log2fc", "measured_padj": "pval_adj"}
    return table[["gene", *renamed]].rename(columns=renamed)


def _volcano(shown: Shown, name: str, table: pd.DataFrame, which: str, fold: float, alpha: float) -> None:
    made = which == PREDICTED
    options: dict[str, Any] = {"fold": fold, "alpha": alpha, "names": (f"{name}, {which}", "control"),
                               "synthetic": (made, False)}
    points = volcano_table(table, which)
    st.plotly_chart(volcano(points, **options, height=470), key=f"perturb-volcano-{which}", width="stretch",
                    config=CONFIG, alt=f"Volcano plot of {name}, {which}, against control")
    figure_bar(partial(_volcano_file, points, options), f"{shown.stem}-volcano-{which}", "perturb-volcano-files",
               table=points)
    st.caption(P_WORDS if made else "Wilcoxon rank-sum test of the measured cells against control cells.")


def _volcano_file(points: pd.DataFrame, options: dict[str, Any], fmt: str, size: Size | None) -> bytes:
    return export_volcano(points, **options, fmt=fmt, size=size)


def _against(shown: Shown, name: str, table: pd.DataFrame) -> None:
    st.plotly_chart(figures.agreement(table), key="perturb-against", width="stretch", config=CONFIG,
                    alt=f"Predicted against measured fold changes of {name}")
    figure_bar(lambda fmt, size: figures.export_agreement(table, title=name, fmt=fmt, size=size),
               f"{shown.stem}-against-measured", "perturb-against-files",
               table=table[["gene", "measured_log2fc", "log2fc", "low", "high",
                            *(c for c in OF_EXPERIMENT if c in table)]])
    of = "what an experiment with as many cells would measure" if _expected(table) else "the true change"
    st.caption(f"Diamonds are genes whose measured change lies outside of the 90 % interval of {of}: one in ten is to "
               "be expected.")


def _table(shown: Shown, name: str, table: pd.DataFrame, strong: pd.DataFrame, real: bool) -> None:
    up, down = int((strong["log2fc"] > 0).sum()), int((strong["log2fc"] < 0).sum())
    st.markdown(f"**{plural(up, 'gene')}** higher and **{plural(down, 'gene')}** lower under *{escape(name)}*, of "
                f"{len(table):,}.")
    word = st.text_input("Find a gene", key="perturb_find", placeholder="Find a gene: CD3, HLA…",
                         icon=":material/search:", label_visibility="collapsed")
    order = table.sort_values(["pval_adj", "log2fc"], key=lambda c: -c.abs() if c.name == "log2fc" else c,
                              kind="stable")
    found = order[order["gene"].str.contains(word.strip(), case=False, regex=False)] if word.strip() else order
    st.dataframe(
        found, hide_index=True, height=380, key="perturb_table",
        alt="Every gene with its predicted change, its interval, and the measured change",
        column_order=["gene", "log2fc", "low", "high", *(["measured_log2fc"] if real else []),
                      *(["expected_low", "expected_high"] if real and "expected_low" in found else []),
                      *(["measured_padj"] if real else []), "pval_adj", "mean_control", "mean_predicted"],
        column_config={
            "log2fc": st.column_config.NumberColumn("log2 fold", format="%.2f"),
            "low": st.column_config.NumberColumn("from", format="%.2f", help=TRUE),
            "high": st.column_config.NumberColumn("to", format="%.2f", help=TRUE),
            "measured_log2fc": st.column_config.NumberColumn("measured", format="%.2f"),
            "expected_low": st.column_config.NumberColumn("expected from", format="%.2f", help=EXPERIMENT),
            "expected_high": st.column_config.NumberColumn("expected to", format="%.2f", help=EXPERIMENT),
            "measured_padj": st.column_config.NumberColumn("its adj. p", format="%.1e"),
            "pval_adj": st.column_config.NumberColumn("adj. p", format="%.1e", help=P_WORDS),
            "mean_control": st.column_config.NumberColumn("mean of control", format="%.2f", help="log1p"),
            "mean_predicted": st.column_config.NumberColumn("predicted mean", format="%.2f", help="log1p")},
        placeholder="–")
    best = figures.ranked_genes(table, LIST)["gene"].tolist()
    st.button("Surest genes to the marker figures", icon=":material/playlist_add:", key="perturb_to_markers",
              on_click=_to_markers, args=(shown, best))


def _to_markers(shown: Shown, genes: list[str]) -> None:
    marker_lists.take_genes(marker_key(shown), genes)
    st.toast("These genes are under *Marker figures* now.", icon=":material/check:")


def suggested(shown: Shown, most: int = 6) -> list[str]:
    """Return the genes to begin the marker figures with: the surest of each perturbation in turn."""
    turns = []
    for name in shown.names:
        try:
            turns.append(figures.ranked_genes(shown.effects(name), most)["gene"].tolist())
        except ScdiffError:
            continue
    longest = max((len(t) for t in turns), default=0)
    mixed = [t[i] for i in range(longest) for t in turns if i < len(t)]
    return list(dict.fromkeys(mixed))[:24]
