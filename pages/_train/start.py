"""Start a run: the dataset, how long to learn, and, folded, the rest."""

from __future__ import annotations

from typing import Any

import streamlit as st

from pages._shared import context, worker
from pages._shared.copies import copies
from pages._shared.trouble import error_box, escape
from pages._shared.words import duration
from pages._train import choices, perturb
from scdiff_core import jobs, keys
from scdiff_core.analysis.choices import check as check_choices
from scdiff_core.config import DiffusionConfig, TrainConfig, validate
from scdiff_core.data.perturbations import check
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine.presets import preset
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir

GENERATE, PERTURB = "generate", "perturb"
TASKS = {GENERATE: "Generate cells", PERTURB: "Perturbations"}
PRESETS = {
    "quick": "Quick: a first look",
    "standard": "Standard: the one to trust",
    "thorough": "Thorough: the last bit",
}


def estimate_key(prepared: Prepared, task: str) -> str:
    """Return the name under which the timing of a dataset and task is kept."""
    return f"estimate-{prepared.fingerprint}-{task}"


def choose_task(prepared: Prepared) -> str:
    """Draw what to train for, where the data has perturbations; and what is wrong with them, where something is."""
    if not prepared.roles.perturbation:
        return GENERATE
    task = str(
        st.segmented_control(
            "What for",
            list(TASKS),
            default=PERTURB if prepared.roles.control else GENERATE,
            required=True,
            format_func=TASKS.__getitem__,
            key=f"train_task-{prepared.name}",
            persist_state="session",
            help="**Perturbations** learns what each one does to control cells, and asks for a control label. "
            "**Generate cells** learns all cells by their labels.",
        )
    )
    if task == PERTURB:
        for warning in check(prepared):
            st.caption(f":material/info: {escape(warning)}")
    return task


def estimates(dataset: JobDir, prepared: Prepared, task: str) -> dict[str, float] | None:
    """Return the seconds each preset would take here, from a short timing in the worker; None while it runs."""
    known: dict[str, dict[str, float]] = st.session_state.setdefault("estimates", {})
    key = estimate_key(prepared, task)
    if key not in known:
        # one that has ended is taken in, not asked again: the beat below may have seen its end first
        asked = worker.under_way(key) or worker.submit(
            key, "estimate", dataset=dataset.id, presets=list(PRESETS), task=task
        )
        said = asked.look(0.05)
        if not asked.ended:
            return None
        worker.forget(key)
        known[key] = said.get("seconds", {})
    return known[key]


def choose_preset(dataset: JobDir, prepared: Prepared, task: str) -> str:
    """Draw the presets with their estimated times."""
    times = estimates(dataset, prepared, task)

    # beside the names and not within them: a choice whose names change is lost
    chosen = st.radio(
        "How long to learn",
        list(PRESETS),
        index=1,
        format_func=PRESETS.__getitem__,
        captions=[f"about {duration(times[name])}" if times and name in times else "…" for name in PRESETS],
        key="train_preset",
        persist_state="session",
    )
    timing = st.container()  # holds its place, else what stands below is drawn anew and the folded part shuts
    if times is None:

        @st.fragment(run_every=0.7, key="estimate")
        def beat() -> None:
            asked = worker.under_way(estimate_key(prepared, task))
            if asked is None or (asked.look() and asked.ended):
                st.rerun(scope="app")
            st.caption(":material/timer: Timing a few steps on this machine…")

        with timing:
            beat()
    return chosen


def advanced(prepared: Prepared, name: str, task: str) -> dict[str, Any]:
    """Draw the folded settings; returns the fields of `TrainConfig` they set."""
    codec, diffusion = preset(name, prepared.values, task)
    whole = task == GENERATE
    with st.expander("Advanced", icon=":material/tune:"):
        steps_tab, model_tab, *noise_and_loss, machine_tab = st.tabs(
            ["Steps", "Model", *(["Noise", "Loss"] if whole else []), "GPU"])
        with model_tab:
            of_codec, of_diffusion = choices.model(name, codec, diffusion, whole)
        with steps_tab:
            of_codec |= {"steps": _codec_steps(name, codec.steps, of_codec["kind"])}
            rest = _steps(name, diffusion)
        allowed = False
        if whole:
            with noise_and_loss[0]:
                of_noise, allowed = choices.noise(name)
            with noise_and_loss[1]:
                terms = choices.terms(name, of_codec["kind"], prepared.values == keys.COUNTS)
            of_diffusion |= {**of_noise, "terms": terms}
        with machine_tab:
            out = choices.machine()
        more = {"perturb": perturb.settings(prepared)} if task == PERTURB else {}
        seed = st.number_input("Seed", 0, 2**31 - 1, 0, key="train_seed", help="The same seed gives the same model.")
        title = st.text_input("Title of the run", key="train_title", placeholder="a name you will know it by")
    return {"codec": {**codec.model_dump(), **of_codec},
            "diffusion": {**diffusion.model_dump(), **rest, **of_diffusion},
            "seed": int(seed), "name": title, "run_code": allowed, **out, **more}


def _codec_steps(name: str, steps: int, kind: str) -> int:
    """Draw how long the codec learns."""
    return int(st.number_input("Codec steps", 1, 1_000_000, steps, 100, key=f"codec_steps-{name}",
                               disabled=kind != "vae", help="How long the first half, the codec, learns."))


def _steps(name: str, diffusion: DiffusionConfig) -> dict[str, Any]:
    """Draw how the diffusion learns; returns its fields."""
    first, second = st.columns(2)
    steps = first.number_input("Diffusion steps", 1, 1_000_000, diffusion.steps, 100, key=f"steps-{name}",
                               help="How long the second half learns.")
    lr = second.number_input("Learning rate", 1e-6, 1e-1, diffusion.lr, format="%g", key=f"lr-{name}",
                             help="How far each step goes; lower it if the training comes apart.")
    minibatch = first.number_input("Cells a step", 16, 65536, diffusion.minibatch, 16, key=f"minibatch-{name}",
                                   help="How many cells each step looks at.")
    patience = second.number_input("Patience", 0, 1000, diffusion.patience, key=f"patience-{name}",
                                   help="Checks on held-out cells without improvement before it stops; 0: never.")
    return {"steps": int(steps), "minibatch": int(minibatch), "lr": float(lr), "patience": int(patience)}


def start_form(dataset: JobDir) -> None:
    """Draw the form of a new run and start it."""
    prepared = context.open_dataset(dataset)
    labels = ", ".join(prepared.roles.columns().values()) or "no labels: it learns the cells as one"
    st.caption(f"{len(prepared.rows(keys.TRAIN)):,} cells to learn from · {prepared.n_genes:,} genes · {labels}")
    task = choose_task(prepared)
    name = choose_preset(dataset, prepared, task)
    settings = advanced(prepared, name, task)
    try:
        base = validate(TrainConfig, {"dataset": dataset.id, "fingerprint": prepared.fingerprint, "preset": name,
                                      "task": task}, "The settings")
        codec, diffusion = preset(name, prepared.values, task)
        config = validate(TrainConfig, {**base.model_dump(), **settings}, "The settings")
    except ScdiffError as error:
        error_box(error)
        return
    pressed = st.button("Train", type="primary", icon=":material/play_arrow:", key="start_training")
    copies(config, "train", base.model_copy(update={"codec": codec, "diffusion": diffusion}))
    if pressed:
        try:
            check_choices(config, prepared.values)
            if task == PERTURB:
                perturb.check(config, prepared)
            run = jobs.create(context.workspace(), config)
            if settings["name"]:
                run.write_notes(title=settings["name"])
            jobs.start(run)
        except ScdiffError as error:
            error_box(error)
        else:
            context.choose(run=run.id, output=None)
            st.rerun()
