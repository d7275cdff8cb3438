"""Denoise: what real cells are expected to express, given their counts and what the model has learnt."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from pages._generate import using
from pages._shared import worker
from pages._shared.copies import copies
from pages._shared.trouble import escape
from pages._shared.words import plural
from scdiff_core import keys
from scdiff_core.analysis.markers import suggest_genes
from scdiff_core.config import validate
from scdiff_core.config_uses import DenoiseConfig
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine import uses_set
from scdiff_core.engine.outputs import CELLS
from scdiff_core.figures.base import natural
from scdiff_core.figures.palette import colour_map
from scdiff_core.figures.uses import before_after
from scdiff_core.workspace import JobDir

SPLITS = {"all": "all cells", "test": "held-out cells", "train": "training cells"}


def draw(run: JobDir, prepared: Prepared, left: st.delta_generator.DeltaGenerator,
         right: st.delta_generator.DeltaGenerator) -> None:
    """Draw the settings in the left column, and the denoised cells in the right one."""
    with left:
        if not using.needs_counts(prepared, "denoise cells"):
            return
        config = _asked(run, prepared)
        if st.button("Denoise", type="primary", icon=":material/blur_off:", key="denoise_go"):
            using.begin(run, "denoise", config)
        copies(config, f"denoise-{run.id}")
        using.follow(run, "denoise")
        st.divider()
        st.markdown("**What is the best here?**", help="Half of each held-out cell's molecules are hidden, and every "
                    "way of denoising has to predict them from the other half (molecular cross-validation).")
        if st.button("Compare ways of denoising", icon=":material/balance:", key="denoise_study"):
            using.begin_study(run, "denoise")
        using.follow(run, "study-denoise")
        worker.warm(run, using.key_of(run, "denoise"))
    with right:
        _study(run)
        _shown(run, prepared)


def _asked(run: JobDir, prepared: Prepared) -> DenoiseConfig:
    """Draw which cells; returns the request."""
    values = {f"{c.column}: {v}": {c.column: v} for c in prepared.vocab.categorical for v in c.values}
    splits = {words: split for split, words in SPLITS.items()}
    chosen = str(st.selectbox("Which cells", [*splits, *values], key=f"denoise-{run.id}-cells",
                              persist_state="session", help="Real cells. They stay the same cells: every gene gets an "
                              "estimate of its expression beside the counts that were measured."))
    return validate(DenoiseConfig, {"run": run.id, "where": values.get(chosen, {}),
                                    "split": splits.get(chosen, "all")}, "The settings")


def _study(run: JobDir) -> None:
    """Draw what the comparison found, if one was made."""
    found = uses_set.read_study(run, "denoise")
    if found is None:
        return
    st.markdown(f"**{escape(found['sentence'])}**")
    with st.expander(f"All ways, on {plural(found['n_cells'], 'held-out cell')}", icon=":material/table:"):
        table = pd.DataFrame([{
            "way": row["method"], "parameters": row["parameters"],
            "deviance": round(row["deviance"], 1), "gain on the mean cell": f"{row['gain']:.1%}",
            "gap to the model": f"{row['gap']:+.1f} ± {row['gap_se']:.1f}",
            "log1p error": round(row["error_log1p"], 3)} for row in found["rows"]])
        st.dataframe(table, hide_index=True, key="denoise_table", alt="Ways of denoising, the best first")
        st.caption("Poisson deviance of the hidden molecules of a cell: lower is better; ± one standard error over "
                   "cells. Parameters are chosen on training cells. Diffusion over neighbours is the idea of MAGIC. "
                   "*Code alone* leaves the cell's own counts out.")


def _shown(run: JobDir, prepared: Prepared) -> None:
    sets = uses_set.results(run, "denoise")
    if not sets:
        st.info("Press **Denoise**: you get two genes before and after here, and a file with all of them.",
                icon=":material/arrow_back:")
        return
    made = using.pick(sets, "Denoised cells", _words)
    recipe = made.recipe()
    st.markdown(f"{plural(int(recipe.get('n_cells', 0)), 'real cell')}, denoised "
                ":orange-badge[:material/function: estimated by the model, not measured]")
    first, second = _genes(prepared)
    if first != second:
        _figure(prepared, made, first, second)
    stem = f"{prepared.name}-denoised-{made.id}"
    st.download_button("Cells (.h5ad)", data=lambda: (made.path / CELLS).read_bytes(), on_click="ignore",
                       file_name=f"{stem}.h5ad", mime="application/x-hdf5", icon=":material/download:",
                       key="denoise_download")
    st.caption("In the file `X` holds the counts as they were measured, `layers['denoised']` the estimates (log1p at "
               "10,000 counts), and `uns['scdiff']` how they were made. Estimates of like cells resemble each other: "
               "do not count them as replicates, and test genes on the counts.")


def _words(made: uses_set.UsesSet) -> str:
    config = made.recipe().get("config", {})
    of = ", ".join(config.get("where", {}).values()) or SPLITS.get(config.get("split", "all"), "")
    return f"{plural(int(made.recipe().get('n_cells', 0)), 'cell')} · {of}"


def _genes(prepared: Prepared) -> tuple[str, str]:
    """Draw the choice of two genes; the first two markers stand there at first."""
    genes = prepared.genes.tolist()
    known = suggest_genes(prepared.markers(), [], prepared.genes) or genes
    known = [g for g in known if g in genes] or genes
    usual = [known[0], next((g for g in [known[len(known) // 2], *genes] if g != known[0]), known[0])]
    boxes = st.columns(2)
    chosen = [boxes[i].selectbox(label, genes, index=genes.index(usual[i]),
                                 key=f"denoise-{prepared.name}-gene{i}", persist_state="session",
                                 help="Type to search.") for i, label in enumerate(("Gene", "Against"))]
    if chosen[0] == chosen[1]:
        st.info("Choose two different genes.")
    return str(chosen[0]), str(chosen[1])


def _figure(prepared: Prepared, made: uses_set.UsesSet, *genes: str) -> None:
    """Draw two genes of the cells before and after, and say what changed."""
    before, after = [], []
    for gene in genes:
        counts, total, denoised = made.before_after(int(np.flatnonzero(prepared.genes == gene)[0]))
        before.append(np.log1p(counts * (keys.TARGET_SUM / np.maximum(total, 1))))
        after.append(denoised)
    labels, colour = None, None
    if prepared.roles.cell_type is not None:
        place = dict(zip(prepared.obs.index.astype(str), prepared.labels(keys.CELL_TYPE), strict=True))
        labels = np.array([place.get(c, "") for c in made.cells()])
        colour = colour_map(sorted(set(prepared.labels(keys.CELL_TYPE).tolist()) - {""}, key=natural))
    x, y = np.stack(before, 1), np.stack(after, 1)
    zeros = float((x == 0).any(1).mean())
    st.plotly_chart(before_after(x, y, (genes[0], genes[1]), labels, colour), key="denoise_figure",
                    alt=f"{genes[0]} against {genes[1]} in each cell, as measured and denoised")
    r = [float(np.corrcoef(v.T)[0, 1]) if (v.std(0) > 0).all() else float("nan") for v in (x, y)]
    st.caption(f"In {zeros:.0%} of these cells one of the two was not seen at all. Correlation over the cells: "
               f"{r[0]:.2f} as measured, {r[1]:.2f} denoised: denoising brings out what goes along with the cell's "
               "state, and shows little of what two genes do besides.")
