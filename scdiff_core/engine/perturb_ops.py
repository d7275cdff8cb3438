"""What the worker does for the Perturb page: predict, and say which experiment to make next."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scdiff_core import config as cfg
from scdiff_core import keys
from scdiff_core.config_screen import Chosen
from scdiff_core.engine import outputs, screens
from scdiff_core.engine.screen_job import within
from scdiff_core.engine.steps import follow
from scdiff_core.errors import ScdiffError
from scdiff_core.selection import unpack_rows
from scdiff_core.workspace import JobDir, atomic_write, write_json

if TYPE_CHECKING:
    from scdiff_core.engine.worker import Service, Tell

WARM_CELLS = 16

__all__ = ["Chosen", "load", "next_experiments", "predict", "warm", "within"]


def load(service: Service, job: JobDir) -> Any:
    """Return the model of a run that predicts perturbations, loaded once for each time it is saved."""
    from scdiff_core.engine.perturb_model import PerturbModel

    return service.models.get((job.path, job.saved_ns, "perturb"), lambda: PerturbModel.load(job))


def warm(service: Service, tell: Tell, run: str) -> dict[str, Any]:
    """Load a run, its dataset and its map, and compile what is compiled at first use."""
    job = service.job(run)
    tell("loading the model", 0.0)
    model = load(service, job)
    tell("loading the model", 0.3)
    known = model.vocab.find(keys.PERTURBATION).values
    first = next((v for v in known if v != model.roles.control), None)
    if first is not None:
        model.ask(first, n_cells=WARM_CELLS)
    tell("loading the map", 0.6)
    prepared, note = service.beside(job.config())
    if prepared is not None:
        service.umap(prepared).warm()
    return {"note": note}


def predict(service: Service, tell: Tell, run: str, config: dict[str, Any], out_dir: str,
            selection: dict[str, Any] | None = None) -> dict[str, Any]:
    """Predict perturbations into a directory: cells, effects, summary, recipe, and their places on the real UMAP.

    The places are first among the nearest real cells, which takes no time; then by the true transform.
    """
    from scdiff_core.engine import predict as engine
    from scdiff_core.engine import prediction

    began = time.monotonic()
    job = service.job(run)
    asked = cfg.validate(cfg.PredictConfig, {**config, "run": job.id}, "The request")
    chosen = None if selection is None else cfg.validate(Chosen, selection, "The selection")
    tell("loading the model", 0.0)
    model = load(service, job)
    prepared, note = service.beside(job.config())
    adata = follow(engine.predict(within(model, prepared, chosen), asked),
                   lambda step, share: tell("predicting", 0.1 + 0.7 * share))
    tell("placing the cells", 0.85)
    umap = None if prepared is None else service.umap(prepared)
    path = Path(out_dir)
    inside = None if chosen is None or prepared is None else unpack_rows(chosen.rows, prepared.n_cells)
    made = prediction.write_prediction(path, adata, asked, prepared, umap, within=inside)
    if chosen is not None:
        told = {"id": chosen.id, "name": chosen.name}
        write_json(path / outputs.RECIPE, {**made.recipe(), "selection": told})
    seconds = round(time.monotonic() - began, 3)
    tell("placing the cells", 0.95)
    view = made.view()
    if prepared is not None and umap is not None and view is not None:
        pca = prepared.project(adata.layers[keys.LOG1P])
        outputs.write_view(path, {**view, "xy": umap.transform(pca).astype(np.float32), "exact": np.array(True)})
    return {"out_dir": out_dir, "n_cells": int(adata.n_obs), "note": note, "seconds": seconds}


def next_experiments(service: Service, tell: Tell, run: str, candidates: list[str], out_dir: str, cell_type: str = "",
                     n_cells: float = 100.0, most: int = 12) -> dict[str, Any]:
    """Say which of the candidates teach most when they are measured: a list with reasons, into a directory.

    Raises
    ------
    ScdiffError
        None of the candidates can be predicted at all.
    """
    from scdiff_core.analysis.perturb import gain
    from scdiff_core.analysis.perturb.kernels import Item

    job = service.job(run)
    tell("loading the model", 0.0)
    model = load(service, job)
    tell("weighing the candidates", 0.3)
    seen = {item.perturbation for item in model.response.items}
    kind = cell_type or next(iter(model.response.controls), "")
    items: list[Item] = []
    refused: dict[str, str] = {}
    for label in candidates:
        try:
            what = model.read(label)
            model.response.check([what])
        except ScdiffError as error:
            refused[label] = error.why
            continue
        if what not in seen:
            items.append(Item(what, None, kind))
    items = list(dict.fromkeys(items))
    if not items:
        raise ScdiffError("There is nothing to choose from.",
                          next(iter(refused.values()), "Every candidate has been measured already."),
                          "Name perturbations that were not measured, or bring embeddings of more of them.")
    tell("weighing the candidates", 0.5)
    choices = gain.choose(model.response, items, n_cells, most)
    rows = [(i, items[c.index].perturbation.label, c.gain, c.unknown, c.own, _reason(c, items, model.response.items))
            for i, c in enumerate(choices, 1)]
    path = Path(out_dir)
    table = pd.DataFrame(rows, columns=["rank", "perturbation", "gain", "unknown", "own", "reason"])
    atomic_write(path / screens.NEXT, lambda p: table.to_csv(p, index=False, float_format="%.6g"))
    write_json(path / outputs.RECIPE, {"kind": "next", "run": job.id, "cell_type": kind, "n_cells": n_cells,
                                       "candidates": len(items), "refused": refused, "made": time.time()})
    return {"out_dir": out_dir, "n": len(rows), "refused": refused}


def _reason(choice: Any, items: list[Any], measured: Any) -> str:
    """Return in a sentence or two why an experiment is worth making."""
    at, near = choice.alike
    said = []
    if near < 0.3:
        said.append("Nothing like it was measured.")
    else:
        said.append(f"Most like {measured[at].perturbation.label} of what was measured (likeness {near:.2f}).")
    if choice.unknown > 0.66:
        said.append("Its own outcome is among the least known.")
    elif choice.unknown < 0.33:
        said.append("Its own outcome is fairly well known.")
    if choice.teaches:
        names = ", ".join(items[i].perturbation.label for i, _ in choice.teaches)
        said.append(f"It would also tell about {names}.")
    elif choice.own > 0.9:
        said.append("It would tell about itself alone.")
    return " ".join(said)


