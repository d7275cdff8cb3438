"""Up to six perturbations side by side: their maps, what is said of each, and a heat map of what they change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from pages._perturb import cells, verdict
from pages._perturb.shown import Shown
from pages._shared.figure_bar import figure_bar
from pages._shared.trouble import escape
from scdiff_core.engine import screens
from scdiff_core.errors import ScdiffError
from scdiff_core.figures import effect_maps, effects

CONFIG: dict[str, Any] = {"displaylogo": False}
ROW = 3  # maps in a row


def show(shown: Shown) -> None:
    """Draw all chosen perturbations."""
    names = shown.names
    if len(names) < 2:
        st.info("Choose up to six perturbations on the left and press **Predict**: they stand here side by side.",
                icon=":material/view_column:")
        return
    for first in range(0, len(names), ROW):
        for place, name in zip(st.columns(ROW), names[first:first + ROW], strict=False):
            with place:
                words = verdict.EFFECTS.get(str(shown.told(name).get("effect")), ("effect not told",))[0]
                reach = verdict.reach_words(shown.told(name).get("reach"))[0]
                st.markdown(f"**{escape(name)}**  \n:gray[{words} · {reach}]")
                cells.draw(shown, name, key=f"beside-{shown.run.id}-{names.index(name)}", height=350)
                st.caption(_best(shown, name))
    st.dataframe(verdict.table(shown), hide_index=True, key="beside_table", alt="What is said of each perturbation",
                 column_config={n: st.column_config.NumberColumn(format="%.3g") for n in
                                ("reach", "Pearson of change", "energy distance", "its floor")}, placeholder="–")
    changes = screens.matrix(shown.effects())
    st.plotly_chart(effect_maps.effect_heat(changes), key="beside-heat", width="stretch", config=CONFIG,
                    alt="The genes that change most, by perturbations")
    figure_bar(lambda fmt, size: effect_maps.export_effect_heat(changes, fmt=fmt, size=size),
               f"{shown.stem}-heat-map", "beside-heat-files", table=changes.reset_index())
    st.markdown("**How alike they are** :gray[Pearson's r of the predicted changes of all genes]")
    st.dataframe(likeness(changes), key="beside_likeness", alt="Pearson's r between perturbations")


def likeness(changes: pd.DataFrame) -> pd.DataFrame:
    """Return Pearson's r between the changes of perturbations."""
    r = np.corrcoef(np.nan_to_num(changes.to_numpy(float)))
    return pd.DataFrame(np.atleast_2d(r), index=changes.index, columns=changes.index).round(3)


def _best(shown: Shown, name: str) -> str:
    """Return the surest genes in words."""
    try:
        table = effects.ranked_genes(shown.effects(name), 4)
    except ScdiffError:
        return "No gene changes."
    up, down = table[table["log2fc"] > 0]["gene"], table[table["log2fc"] < 0]["gene"].iloc[::-1]
    return f"▲ {', '.join(up) or 'none'} · ▼ {', '.join(down) or 'none'}"
