"""The pairs of a screen: which genes do not add up."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from pages._perturb import screened
from pages._perturb.beside import CONFIG
from pages._shared.figure_bar import figure_bar
from scdiff_core.engine.screens import Screen
from scdiff_core.figures import effect_maps


def show(screen: Screen, table: pd.DataFrame, stem: str) -> None:
    """Draw one pair of the list: its genes against the sum of its singles, and the table of those that differ."""
    pairs = table[table["additivity"].notna()]
    if not len(pairs):
        st.info("There is no pair in this list. Screen **All pairs of some**, to see which genes do not add up.")
        return
    # measured ones first: what the model says of others is shrunk, which looks like buffering
    order = pairs.assign(off=(pairs["additivity"] - 1).abs()).sort_values(
        ["trained", "off"], ascending=False, kind="stable")
    words = {r["perturbation"]: f"{r['perturbation']} · additivity {r['additivity']:.2f}"
             for r in order.to_dict("records")}
    name = str(st.selectbox("Pair", list(words), key="screen_pair", width=420, format_func=words.__getitem__))
    if not bool(order.loc[order["perturbation"] == name, "trained"].iloc[0]):
        st.info("**Never trained on.** The model has seen no cells of this pair: it takes the sum of what is known of "
                "the two and shrinks it out of caution, so that an additivity below 1 is no sign of buffering. Only "
                "genes **beyond the intervals** say something.", icon=":material/visibility_off:")
    genes = pair_genes(screen, name)
    singles = tuple(name.partition(" @ ")[0].split("+"))
    left, right = st.columns([3, 2], gap="medium")
    with left:
        st.plotly_chart(effect_maps.synergy(genes, names=(singles[0], singles[1])), key="screen-pair", width="stretch",
                        config=CONFIG, alt=f"Genes of {name} against the sum of its singles")
        figure_bar(lambda fmt, size: effect_maps.export_synergy(genes, names=(singles[0], singles[1]), fmt=fmt,
                                                                size=size),
                   f"{stem}-pair", "screen-pair-files", table=genes)
        st.caption("On the line the pair is the sum of its two singles (change of the log1p mean). Additivity is the "
                   "slope through all genes: 1 adds up, more is synergy, less is buffering.")
    with right:
        found = screen.pairs()
        own = found[found["pair"] == name].drop(columns="pair")
        n = own["kind"].value_counts()
        st.markdown(f"**{int(n.get('synergy', 0))}** in synergy, **{int(n.get('buffering', 0))}** buffered, "
                    f"**{int(n.get('opposite', 0))}** opposite, by 0.1 or more; **{int(own['sure'].sum())}** of them "
                    "beyond the intervals.")
        if len(own):
            st.dataframe(own, hide_index=True, height=400, key="screen_pair_table", alt="Genes that do not add up",
                         column_config={c: st.column_config.NumberColumn(format="%.2f")
                                        for c in ("additive", "predicted", "difference")})
        else:
            st.caption("Every gene adds up: the pair is predicted to do what its two singles do together.")


def pair_genes(screen: Screen, name: str) -> pd.DataFrame:
    """Return every gene of a pair: gene, additive, predicted, kind."""
    arrays = screened.arrays_of(screen)
    place = {str(n): i for i, n in enumerate(arrays["names"])}
    label, at, dose = name.partition(" @ ")
    a, b = (place[part + at + dose] for part in label.split("+"))
    additive = (arrays["shift"][a] + arrays["shift"][b]).astype(float)
    table = pd.DataFrame({"gene": arrays["genes"], "additive": additive,
                          "predicted": arrays["shift"][place[name]].astype(float), "kind": "additive"})
    found = screen.pairs()
    kinds = found[found["pair"] == name].set_index("gene")["kind"]
    return table.assign(kind=table["gene"].map(kinds).fillna("additive"))
