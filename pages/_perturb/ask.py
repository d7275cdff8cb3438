"""Ask what a perturbation would do: which cells, which perturbations, which dose; and follow the request."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from pages._perturb import shown
from pages._perturb.verdict import asked_words
from pages._shared import context, worker
from pages._shared.trouble import show_kept
from scdiff_core import keys
from scdiff_core.config import PREDICT_CELLS, PredictConfig, validate
from scdiff_core.data.perturbations import read_doses
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine import outputs
from scdiff_core.engine.prediction import SUMMARY, Prediction, find_prediction
from scdiff_core.errors import ScdiffError
from scdiff_core.selections import Selections
from scdiff_core.workspace import JobDir

MOST = 6  # perturbations side by side
EVERY, NO_SELECTION = "all control cells", "no selection"
Where = dict[str, str]


def request_key(run: JobDir) -> str:
    """Return the name under which a run's request is kept; one at a time for each run."""
    return f"predict-{run.id}"


def my_cells(run: JobDir, prepared: Prepared, job: JobDir) -> tuple[Where, dict[str, str] | None]:
    """Draw the choice of the cells to start from; returns the conditions, and the saved selection if there is one."""
    where: Where = {}
    control = prepared.labels(keys.PERTURBATION) == (prepared.roles.control or "")
    for covariate in prepared.vocab.categorical:
        if covariate.role not in (keys.CELL_TYPE, keys.BATCH, keys.TIME):
            continue
        own = set(np.unique(prepared.labels(covariate.column)[control]).tolist())
        values = [v for v in covariate.values if v in own]
        if len(values) < 2:
            continue
        label = "Cell type" if covariate.role == keys.CELL_TYPE else covariate.column.replace("_", " ")
        chosen = st.selectbox(label, [EVERY, *values], key=f"cells-{run.id}-{covariate.column}",
                              persist_state="session", help="Predictions start from control cells of this kind.")
        if chosen != EVERY:
            where[covariate.column] = str(chosen)
    return where, _selection(run, prepared, job)


def _selection(run: JobDir, prepared: Prepared, job: JobDir) -> dict[str, str] | None:
    kept = Selections(job, prepared.fingerprint, prepared.n_cells)
    try:
        named = kept.named()
    except ScdiffError:
        return None
    if not named:
        return None
    name = str(st.selectbox("Saved selection", [NO_SELECTION, *named], key=f"selection-{run.id}",
                            persist_state="session", help="Start from the control cells among cells that you saved on "
                            "the Data page."))
    if name == NO_SELECTION:
        return None
    return kept.chosen(name, prepared.n_cells).model_dump()


def choose_perturbations(run: JobDir, prepared: Prepared) -> list[str]:
    """Draw the choice of up to six perturbations: measured ones, or any that is typed."""
    key = f"perturbations-{run.id}"
    known = list(dict.fromkeys(shown.known(prepared).values()))
    typed = [n for n in st.session_state.get(key, []) if n not in known]
    if key not in st.session_state and known:
        st.session_state[key] = [next((n for n in known if "+" in n), known[0])]
    chosen = st.multiselect(
        f"Perturbations (up to {MOST})", [*known, *typed], key=key, persist_state="session", max_selections=MOST,
        accept_new_options=True, placeholder="choose, or type GENE or A+B", select_all=False,
        help="Those of your data can be chosen. Any other one can be typed: a gene, or several joined by + (their "
             "order does not matter). One of which nothing is known is refused, with the reason.")
    return list(dict.fromkeys(n for n in (shown.read_name(prepared, c) for c in chosen) if n))


def doses_of(prepared: Prepared) -> list[float]:
    """Return the doses that were measured; none where the data has no doses."""
    column = prepared.roles.dose
    if column is None:
        return []
    perturbed = prepared.labels(keys.PERTURBATION) != (prepared.roles.control or "")
    try:
        numbers = read_doses(prepared.obs[column])[perturbed]
    except ScdiffError:
        return []
    return [float(d) for d in np.unique(numbers[np.isfinite(numbers) & (numbers > 0)])]


def choose_dose(run: JobDir, prepared: Prepared) -> float | None:
    """Draw the choice of a dose; None without one, or where the data has none."""
    measured = doses_of(prepared)
    if not measured:
        return None
    listed = ", ".join(f"{d:g}" for d in measured[:8])
    dose = st.number_input("Dose (empty: none)", min_value=0.0, value=None, format="%g", key=f"dose-{run.id}",
                           persist_state="session", placeholder=f"measured: {listed}",
                           help=f"For drugs and stimuli. Measured are {listed}; between them the effect follows a "
                                "curve over the logarithm of the dose.")
    return None if dose is None else float(dose)


def choose(run: JobDir, prepared: Prepared, job: JobDir) -> tuple[PredictConfig | None, dict[str, str] | None]:
    """Draw all settings; returns what to ask for (None while no perturbation is chosen) and the selection."""
    names = choose_perturbations(run, prepared)
    where, selection = my_cells(run, prepared, job)
    dose = choose_dose(run, prepared)
    with st.expander("Advanced", icon=":material/tune:"):
        n_cells = st.number_input("Predicted cells of each", 20, 5000, PREDICT_CELLS, 20, key="predict_n",
                                  persist_state="session")
        seed = st.number_input("Seed", 0, 2**31 - 1, 0, key="predict_seed", persist_state="session",
                               help="The same seed gives the same cells, from the same control cells.")
    if not names:
        return None, selection
    values: dict[str, Any] = {"run": run.id, "perturbations": names, "dose": dose, "where": where,
                              "n_cells": int(n_cells), "seed": int(seed)}
    return validate(PredictConfig, values, "The settings"), selection


def warm(run: JobDir) -> None:
    """Have the worker load a model and its map while the visitor still chooses, once a session."""
    worker.warm(run, request_key(run))


def begin(run: JobDir, config: PredictConfig, selection: dict[str, str] | None) -> None:
    """Send the request to the worker, unless the same one was answered before."""
    made = None if selection else find_prediction(run, config)
    if made is not None and "selection" not in made.recipe():
        context.choose(output=made.id)
        return
    path = outputs.new_path(run)
    worker.submit(request_key(run), "predict", note=path.name, run=str(run.path),
                  config=config.model_dump(mode="json"), out_dir=str(path), selection=selection)


def follow(run: JobDir) -> bool:
    """Follow a request under way: progress and Cancel; True while it goes on."""
    ended = worker.wait(request_key(run), patience=1.5,
                        early=lambda asked: worker.appeared(asked, run.outputs / asked.note / SUMMARY))
    if ended is not None:
        _finish(ended)
    return worker.under_way(request_key(run)) is not None


def _finish(ended: worker.Asked) -> None:
    said = ended.look()
    if said.get("cancelled"):
        st.toast("Cancelled: nothing was predicted.", icon=":material/stop_circle:")
    elif said.get("error"):
        st.session_state["predict_trouble"] = said["error"]
    else:
        st.session_state.pop("predict_trouble", None)
        context.choose(output=ended.note)


def earlier(made: list[Prediction]) -> None:
    """Draw the choice among the predictions of a run, the newest first."""
    if not made:
        return
    ids = [m.id for m in made]
    opened = st.session_state.get("output")
    words = {m.id: asked_words(m.recipe().get("config", {})) for m in made}
    picked = st.selectbox("Predictions so far", ids, index=ids.index(opened) if opened in ids else 0,
                          format_func=words.__getitem__) if len(made) > 1 else ids[0]
    context.choose(output=picked)


def trouble() -> None:
    """Show why the last request was refused, until another one is made."""
    show_kept("predict_trouble")
