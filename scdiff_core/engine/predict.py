"""Predictions as cells and tables: a population for each perturbation, and the folder that keeps them."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

import scdiff_core
from scdiff_core import keys
from scdiff_core.config import FORMAT, PredictConfig
from scdiff_core.data.vocab import CONTINUOUS, Covariate
from scdiff_core.engine.perturb_model import PerturbModel, Predicted
from scdiff_core.errors import ScdiffError

if TYPE_CHECKING:
    from anndata import AnnData

EFFECTS, SUMMARY = "effects", "summary"  # in uns; the summary within the recipe
EXPECTED = "expected"  # in uns until it is written: what the intervals of a measurement are reckoned from
START = "start_cell"  # obs: the control cell it started from, by its row in the prepared dataset
EFFECT_COLUMNS = ("perturbation", "gene", "mean_control", "mean_predicted", "log2fc", "low", "high")


@dataclass(frozen=True)
class PredictProgress:
    """Perturbations done of all of them; between two a caller may let go."""

    done: int
    total: int


def predict(model: PerturbModel, config: PredictConfig) -> Generator[PredictProgress, None, AnnData]:
    """Predict populations of cells; the AnnData is the generator's return value.

    Counts are integers in X (csr float32), `log1p` a layer; obs has the conditions under their original names, the
    perturbation and its dose, `total_counts`, `start_cell` (no pair: the control cell that a cell was started from)
    and `synthetic`. uns["effects"] is a table, one row a gene and perturbation: perturbation, gene, mean_control and
    mean_predicted (log1p), log2fc with the bounds `low` and `high` of its 90 % interval. uns["scdiff"] is the recipe
    as one JSON string, with a summary of each perturbation. The same seed gives the same cells.

    Raises
    ------
    ScdiffError
        A perturbation cannot be predicted, is asked for twice, or a condition is unknown.
    """
    began = time.monotonic()
    asked = [model.read(label) for label in config.perturbations]
    twice = sorted({p.label for p in asked if asked.count(p) > 1})
    if twice:
        raise ScdiffError(f"'{twice[0]}' is asked for twice.", "The order of a pair's members does not matter.",
                          "Name each perturbation once.")
    check_dose(model, config.dose)
    done: list[Predicted] = []
    yield PredictProgress(0, len(asked))
    for what in asked:
        done.append(model.ask(what, config.dose, config.where, config.n_cells, config.seed))
        yield PredictProgress(len(done), len(asked))
    return assemble(model, config, done, time.monotonic() - began)


def check_dose(model: PerturbModel, dose: float | None) -> None:
    """Raise `ScdiffError` where a dose is given and the data has none."""
    if dose is not None and not any(c.role == keys.DOSE for c in model.vocab):
        raise ScdiffError("A dose cannot be chosen.", "The model was trained without doses.",
                          "Leave the dose out, or prepare the data with a dose column (--dose) and train again.")


def assemble(model: PerturbModel, config: PredictConfig, done: list[Predicted], seconds: float) -> AnnData:
    """Put populations, conditions, effects and recipe together."""
    from anndata import AnnData

    values = sp.vstack([p.counts for p in done], format="csr").astype(np.float32)
    obs = pd.concat([_obs(model, p) for p in done])
    obs.index = pd.Index([f"synthetic_{i:06d}" for i in range(len(obs))])
    adata = AnnData(values, obs=obs, var=pd.DataFrame(index=pd.Index(model.genes)))
    adata.layers[keys.LOG1P] = sp.vstack([p.log1p for p in done], format="csr").astype(np.float32)
    adata.uns[EFFECTS] = pd.concat([effects(model, p) for p in done], ignore_index=True)
    adata.uns[EXPECTED] = pd.concat([expected(model, p) for p in done], ignore_index=True)
    adata.uns[keys.SCDIFF] = json.dumps({
        "synthetic": True, "format": FORMAT, "version": scdiff_core.__version__, "run": model.run, "kind": "predict",
        "step": model.step, "seed": config.seed, "dataset": model.config.dataset,
        "fingerprint": model.config.fingerprint, "values": model.values, "roles": model.roles.model_dump(),
        SUMMARY: [summary(p) for p in done], "seconds": round(seconds, 3),
        "config": config.model_dump(mode="json"), "training": model.config.model_dump(mode="json")})
    return adata


def _obs(model: PerturbModel, predicted: Predicted) -> pd.DataFrame:
    """Return the conditions of a population: those of the cells it started from, and what was done to them."""
    obs = model.vocab.decode(predicted.codes, predicted.conts)
    for covariate in model.vocab:
        if covariate.role == keys.PERTURBATION:
            obs[covariate.column] = predicted.perturbation.label
        elif covariate.role == keys.DOSE:
            obs[covariate.column] = _dose(covariate, predicted.dose)
        elif covariate.kind != CONTINUOUS:  # parts with other labels are joined: as plain text
            obs[covariate.column] = obs[covariate.column].astype(object)
    obs[keys.TOTAL_COUNTS] = predicted.total.astype(np.float32)
    obs[START] = predicted.start_rows
    obs[keys.SYNTHETIC] = True
    return obs


def _dose(covariate: Covariate, dose: float | None) -> Any:
    if covariate.kind == CONTINUOUS:
        return np.nan if dose is None else dose
    return None if dose is None else f"{dose:g}"


def effects(model: PerturbModel, predicted: Predicted) -> pd.DataFrame:
    """Return the predicted effects, one row a gene (`EFFECT_COLUMNS`); means in log1p."""
    response = predicted.response
    return pd.DataFrame({
        "perturbation": predicted.perturbation.label, "gene": model.genes,
        "mean_control": predicted.control_mean.astype(np.float32),
        "mean_predicted": (predicted.control_mean + response.shift).astype(np.float32),
        "log2fc": response.log2fc.astype(np.float32), "low": response.log2fc_low.astype(np.float32),
        "high": response.log2fc_high.astype(np.float32)})[list(EFFECT_COLUMNS)]


def expected(model: PerturbModel, predicted: Predicted) -> pd.DataFrame:
    """Return what a measurement of each gene is expected to show, log1p: see `answer.measured`."""
    r = predicted.response
    return pd.DataFrame({"perturbation": predicted.perturbation.label, "gene": model.genes, "control": r.control,
                         "mean": r.control + r.shift + r.control_bias, "error": r.sd**2 + r.control_error,
                         "cell_sd": r.cell_sd})


def summary(predicted: Predicted) -> dict[str, Any]:
    """Return what is said of a population: how its mean was found, which half made its cells, how sure it is."""
    response = predicted.response
    return {"perturbation": predicted.perturbation.label, "dose": predicted.dose, "how": response.how,
            "half": predicted.half, "words": predicted.words, "effect": response.effect,
            "reach": round(float(response.reach), 4), "n_cells": len(predicted)}
