"""Which real cells the designed ones are nearest to: of which types, of which donors, and which cells."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from pages._design.shown import Shown
from pages._shared.trouble import escape
from scdiff_core import keys

MOST = 12  # groups of a table


def show(shown: Shown) -> None:
    """Draw the nearest real cells, by their groups and one by one."""
    found = shown.report.neighbours
    roles = shown.prepared.roles.columns()
    tables: list[tuple[str, Mapping[str, float]]] = []
    if found.get("types"):
        tables.append((f"Types ({roles.get(keys.CELL_TYPE, 'cell type')})", found["types"]))
    if found.get("batches"):
        tables.append((f"Donors or batches ({roles.get(keys.BATCH, 'batch')})", found["batches"]))
    named = set(roles.values())
    tables += [(c.replace("_", " "), shares) for c, shares in (found.get("columns") or {}).items()
               if c not in (roles.get(keys.CELL_TYPE), roles.get(keys.BATCH)) and (c in named or len(shares) > 1)]
    far = found.get("distance") or {}
    if far:
        st.markdown(f"The nearest real cell lies **{float(far.get('median', 0)):.2f}** away from a designed one (the "
                    f"middle one; 95 % within {float(far.get('p95', 0)):.2f}). A real cell counts as unusual beyond "
                    f"**{shown.report.unreal_limit:.2f}**.")
    if tables:
        for first in range(0, len(tables), 2):
            for place, (words, shares) in zip(st.columns(2, gap="medium"), tables[first:first + 2], strict=False):
                with place:
                    _shares(words, shares, f"design_near_{words}")
    cells = pd.DataFrame([dict(c) for c in found.get("cells") or ()])
    if not len(cells):
        return
    rows = cells["row"].to_numpy(int)
    obs = shown.prepared.obs
    for column in dict.fromkeys(roles.values()):
        cells[column] = obs[column].iloc[rows].astype(str).to_numpy()
    st.markdown("**Real cells that are nearest most often** :gray[look them up in your data]")
    st.dataframe(cells, hide_index=True, height=38 + 35 * min(8, len(cells)), key="design_near_cells",
                 alt="The real cells that are nearest to designed ones most often",
                 column_order=["id", "times", *dict.fromkeys(roles.values())],
                 column_config={"id": st.column_config.TextColumn("cell"),
                                "times": st.column_config.NumberColumn("nearest to", help="So many designed cells.")})
    st.caption("If almost all nearest cells come from one donor, so does what the model knows of this phenotype.")


def _shares(words: str, shares: Mapping[str, float], key: str) -> None:
    table = pd.DataFrame({"group": list(shares), "share": [float(v) for v in shares.values()]})
    table = table.sort_values("share", ascending=False, kind="stable").head(MOST)
    st.markdown(f"**{escape(words)}**")
    st.dataframe(table, hide_index=True, height=38 + 35 * min(6, len(table)), key=key,
                 alt=f"Share of the nearest real cells by {words}",
                 column_config={"group": st.column_config.TextColumn(""),
                                "share": st.column_config.ProgressColumn("of the nearest cells", format="percent",
                                                                         min_value=0.0, max_value=1.0)})
