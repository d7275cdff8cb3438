"""A screen as a job: its directory lies in its run, and holds what was asked, how far it is, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from scdiff_core import keys, process
from scdiff_core.config_screen import Chosen, ScreenConfig
from scdiff_core.data.perturbations import parse_all
from scdiff_core.errors import ScdiffError
from scdiff_core.selection import unpack_rows
from scdiff_core.workspace import JobDir, Workspace

Tell = Callable[[str, float], None]


def run_screen(job: JobDir, config: ScreenConfig, tell: Tell) -> None:
    """Do what a screen was asked for; raises `ScdiffError` where nothing of it can be predicted."""
    import torch

    from scdiff_core.engine import outputs, screen
    from scdiff_core.engine.perturb_model import PerturbModel
    from scdiff_core.engine.screens import run_of
    from scdiff_core.engine.steps import follow

    torch.set_num_threads(process.threads_for(config.threads))
    began = time.monotonic()
    run = run_of(job)
    tell("loading the model", 0.0)
    model = PerturbModel.load(run)
    prepared, _ = outputs.dataset_beside(Workspace(run.path.parent.parent), run.config())
    found, refused = follow(
        screen.screen(within(model, prepared, config.selection), config),
        lambda step, share: tell(f"predicting {step.name}" if step.name else "ranking", 0.02 + 0.88 * share))
    tell("ranking", 0.92)
    chosen = config.selection
    more = {} if chosen is None else {"selection": {"id": chosen.id, "name": chosen.name}}
    screen.write_screen(job.path, model, config, found, refused, prepared, trained(prepared),
                        time.monotonic() - began, config.title, more)


def within(model: Any, prepared: Any, chosen: Chosen | None) -> Any:
    """Return the model with those of its control cells that are in a selection.

    Raises
    ------
    ScdiffError
        The dataset is not at hand, or the selection holds no control cell that the model has learned from.
    """
    if chosen is None:
        return model
    if prepared is None:
        raise ScdiffError("The selection cannot be used.", "The dataset of the model is not at hand.",
                          "Choose cells by their type instead.")
    mask = unpack_rows(chosen.rows, prepared.n_cells)
    rows = np.flatnonzero(mask[model.controls.rows])
    if not len(rows):
        raise ScdiffError(f"There are no control cells in '{chosen.name}' to start from.",
                          f"It has {int(mask.sum()):,} cells; none of them is a control cell of the training data.",
                          "Select some control cells as well, or choose cells by their type.")
    c = model.controls
    return replace(model, controls=replace(c, cells=c.cells.take(rows), rows=c.rows[rows], codes=c.codes[rows],
                                           conts=c.conts[rows]))


def trained(prepared: Any) -> set[str]:
    """Return the perturbations of which there are training cells; none where the dataset is not at hand."""
    if prepared is None:
        return set()
    labels = prepared.labels(keys.PERTURBATION)[prepared.rows(keys.TRAIN)]
    return {p.label for p in parse_all(np.unique(labels).tolist(), prepared.roles.control).values()}
