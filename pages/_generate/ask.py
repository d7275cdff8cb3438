"""Ask for cells: how many, of what, and, folded, how; and follow the request in the worker."""

from __future__ import annotations

import streamlit as st

from pages._generate import guide
from pages._shared import context, worker
from pages._shared.trouble import error_box
from pages._shared.words import plural
from scdiff_core import keys
from scdiff_core.config import GUIDANCE, SAMPLER_STEPS, GenerateConfig, validate
from scdiff_core.data.prepared import Prepared
from scdiff_core.data.vocab import Covariate
from scdiff_core.engine import outputs
from scdiff_core.workspace import JobDir

SAMPLERS = {
    "dpm": "DPM-Solver++ (fewest steps)",
    "heun": "Heun",
    "ode": "Probability flow (Runge-Kutta, most exact)",
    "sde": "Reverse SDE (fresh noise at each step)",
    "ddim": "DDIM",
    "ddpm": "DDPM (many steps)",
}
MODES = {keys.AS_IN_DATA: "as in the data", keys.ANY: "any"}


def request_key(run: JobDir) -> str:
    """Return the name under which a run's request is kept; one at a time for each run."""
    return f"generate-{run.id}"


def asked_words(config: dict[str, object]) -> str:
    """Return in words what was asked for."""
    where = config.get("where") or {}
    assert isinstance(where, dict)
    labels = config.get("classifier") or ()
    assert isinstance(labels, list | tuple)
    where = {**where, **{str(label["column"]): label["value"] for label in labels}}
    of = ", ".join(f"{k}: {v}" for k, v in where.items()) or "the mix of the data"
    return f"{plural(int(str(config.get('n_cells', 0))), 'generated cell')} · {of}"


def choose_condition(covariate: Covariate, run: JobDir) -> str:
    """Draw the choice for one covariate: a value, as in the data, or any."""
    key = f"where-{run.id}-{covariate.column}"
    label = covariate.column.replace("_", " ")
    explained = (
        "A value; **as in the data** keeps the mix of your cells; **any** lets the model choose without regard to it."
    )
    if covariate.kind == "categorical":
        return str(
            st.selectbox(
                label,
                [*MODES, *covariate.values],
                key=key,
                persist_state="session",
                format_func=lambda v: MODES.get(v, v),
                help=explained,
            )
        )
    mode = st.selectbox(
        label,
        [*MODES, "value"],
        key=key,
        persist_state="session",
        help=explained,
        format_func=lambda v: MODES.get(v, "a value"),
    )
    if mode != "value":
        return str(mode)
    return str(
        st.number_input(
            f"Value of {label}", value=float(round(covariate.mean, 3)), key=f"{key}-number", persist_state="session"
        )
    )


def _draw_advanced(run: JobDir, prepared: Prepared) -> None:
    """Draw how the cells are made."""
    st.slider("Guidance scale", 0.0, 5.0, GUIDANCE, 0.05, key="generate_scale", persist_state="session",
              help="How strictly the cells follow what you ask for. 1: as learned. Above 1: more typical and less "
              "varied. 0: without regard to it.")
    guide.draw(run, prepared)
    sampler = st.selectbox("Sampler", list(SAMPLERS), format_func=SAMPLERS.__getitem__, key="generate_sampler",
                           persist_state="session", help="How noise is turned into cells.")
    st.number_input("Steps", 1, 1000, SAMPLER_STEPS[sampler], key=f"generate_steps_{sampler}",
                    persist_state="session")
    if sampler == "ddim":
        st.slider("Randomness (eta)", 0.0, 1.0, 0.0, 0.05, key="generate_eta", persist_state="session",
                  help="0: DDIM, no fresh noise. 1: as much as DDPM.")
    st.number_input("Seed", 0, 2**31 - 1, 0, key="generate_seed", persist_state="session",
                    help="The same seed gives the same cells.")


def _advanced() -> dict[str, str | int | float]:
    """Return how the cells are made: what was chosen in this session, or the usual."""
    def chosen(name: str, usual: float) -> float:
        value = st.session_state.get(f"generate_{name}")
        return usual if value is None else value  # an emptied field

    sampler = str(st.session_state.get("generate_sampler") or next(iter(SAMPLERS)))
    return {
        "guidance_scale": float(chosen("scale", GUIDANCE)),
        "sampler": sampler,
        "steps": int(chosen(f"steps_{sampler}", SAMPLER_STEPS[sampler])),
        "eta": float(chosen("eta", 0.0)) if sampler == "ddim" else 0.0,
        "seed": int(chosen("seed", 0)),
    }


def choose(run: JobDir, prepared: Prepared) -> GenerateConfig:
    """Draw all settings and return them."""
    n_cells = st.number_input("How many cells", 1, 100_000, 500, 100, key="generate_n", persist_state="session")
    where = {c.column: choose_condition(c, run) for c in prepared.vocab.covariates}
    guide.offer(run, prepared, where)
    # drawn only while it is open: what is folded takes its time at every change of page
    with st.expander("Advanced", icon=":material/tune:", key="generate_advanced", on_change="rerun") as folded:
        if folded.open:
            _draw_advanced(run, prepared)
    how = {**_advanced(), **guide.chosen(run, prepared)}
    return validate(
        GenerateConfig,
        {
            "run": run.id,
            "n_cells": int(n_cells),
            "where": {k: v for k, v in where.items() if v != keys.AS_IN_DATA},
            **how,
        },
        "The settings",
    )


def warm(run: JobDir) -> None:
    """Have the worker load a model and its map while the visitor still chooses, once a session."""
    worker.warm(run, request_key(run))


def begin(run: JobDir, config: GenerateConfig) -> None:
    """Send the request to the worker; the cells come into a directory of their own."""
    path = outputs.new_path(run)
    worker.submit(request_key(run), "generate", note=path.name, run=str(run.path),
                  config=config.model_dump(mode="json"), out_dir=str(path))


def follow(run: JobDir) -> bool:
    """Follow a request under way: progress and Cancel; True while it goes on."""
    # where nothing was generated yet, the real cells are drawn first
    ended = worker.wait(request_key(run), patience=1.5 if run.outputs.is_dir() else 0.0,
                        early=lambda asked: worker.appeared(asked, run.outputs / asked.note / outputs.RECIPE))
    if ended is not None:
        _finish(ended)
    return worker.under_way(request_key(run)) is not None


def _finish(ended: worker.Asked) -> None:
    said = ended.look()
    if said.get("cancelled"):
        st.toast("Cancelled: no cells were made.", icon=":material/stop_circle:")
    elif said.get("error"):
        error_box(said["error"])
    else:
        context.choose(output=ended.note)
