"""One prediction on disk: the cells, their effects beside measured ones, the view and the recipe.

Importing this needs neither torch nor scanpy, so a page may read a prediction.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scdiff_core import keys
from scdiff_core.analysis import differential
from scdiff_core.analysis.perturb.answer import log2_fold_change, measured
from scdiff_core.analysis.perturb.scores import e_distance
from scdiff_core.config import PredictConfig
from scdiff_core.data.embed import UmapModel
from scdiff_core.data.perturbations import Perturbation, parse, parse_all
from scdiff_core.data.prepared import Prepared
from scdiff_core.data.vocab import as_labels, as_numbers
from scdiff_core.engine import outputs
from scdiff_core.workspace import JobDir, atomic_write, read_json, write_json

if TYPE_CHECKING:
    from anndata import AnnData

EFFECTS, SUMMARY = "effects.csv", "summary.json"
EXPECTED = "expected"  # in uns of what `predict` made
LEAST = 3  # real cells that are compared with
COMPARED = 500  # cells of each side at most that distances are taken of
MEASURED = ("measured_log2fc", "measured_padj")
OF_EXPERIMENT = ("expected_low", "expected_high")


@dataclass(frozen=True)
class Prediction(outputs.GeneratedSet):
    """A directory that holds one prediction, of one perturbation or several."""

    def effects(self) -> pd.DataFrame:
        """Return the table of effects, one row a gene and perturbation (see `write_prediction`)."""
        return pd.read_csv(self.path / EFFECTS, dtype={"gene": str, "perturbation": str}, keep_default_na=False,
                           na_values={c: [""] for c in ("mean_control", "mean_predicted", "log2fc", "low", "high",
                                                        *MEASURED, *OF_EXPERIMENT)})

    def summary(self) -> dict[str, Any]:
        """Return `perturbations` (a list, see `write_prediction`) and `seconds`."""
        return read_json(self.path / SUMMARY, {})


def list_predictions(job: JobDir) -> list[Prediction]:
    """Return the predictions of a run that are complete, the newest first."""
    return [Prediction(s.path) for s in outputs.list_sets(job, "predict") if (s.path / SUMMARY).is_file()]


def find_prediction(job: JobDir, config: PredictConfig) -> Prediction | None:
    """Return a prediction that was made by the same request from the model as it is now, None if there is none."""
    saved = job.saved_ns
    for made in list_predictions(job):
        if made.recipe().get("config") == config.model_dump(mode="json") \
                and (made.path / outputs.RECIPE).stat().st_mtime_ns > saved:
            return made
    return None


def measured_rows(prepared: Prepared, what: Perturbation, dose: float | None, where: dict[str, str]) -> np.ndarray:
    """Return the real cells (of both splits) of a perturbation and the conditions, int [n]; none is no error.

    The control is `Perturbation()`; a dose of None takes all of them.
    """
    roles = prepared.roles
    assert roles.perturbation is not None
    labels = as_labels(prepared.obs[roles.perturbation])
    read = parse_all(labels.tolist(), roles.control)
    fits = np.array([t != "" and read[t] == what for t in labels.tolist()], bool)
    if dose is not None and roles.dose and not what.is_control:
        numbers = as_numbers(prepared.obs[roles.dose])
        fits &= np.isclose(numbers, dose) if numbers is not None else as_labels(prepared.obs[roles.dose]) == f"{dose:g}"
    for name, value in where.items():
        if value in (keys.ANY, keys.AS_IN_DATA):
            continue
        covariate = prepared.vocab.find(name)
        column = prepared.obs[covariate.column]
        numbers = as_numbers(column) if covariate.kind == "continuous" else None
        fits &= np.isclose(numbers, float(value)) if numbers is not None else as_labels(column) == value
    return np.flatnonzero(fits)


def write_prediction(path: Path, adata: AnnData, config: PredictConfig, prepared: Prepared | None,
                     umap: UmapModel | None = None, within: np.ndarray | None = None) -> Prediction:
    """Write a prediction: cells.h5ad, recipe.json, view.npz, effects.csv and summary.json.

    The view places the cells among their nearest real ones, which takes no time.

    effects.csv has the columns of `predict.effects` and, where there are real cells of the perturbation,
    measured_log2fc (as the predicted one, with the same addition to both means) and measured_padj (Wilcoxon), both
    against the real controls of the same conditions, and expected_low and expected_high: the 90 % interval of what an
    experiment with as many cells would measure, which `low` and `high` (of the true change) are not. summary.json has
    for each perturbation what `predict.summary` says and `energy` (its E-distance to the controls), and where there
    are real cells `n_measured`, `pearson` (of the change of the means), `e_distance` to the real cells,
    `control_e_distance` (of the unmoved controls to them) and `floor` (between two halves of the real ones).
    E-distances are Euclidean and unbiased (`scores.e_distance`), in the principal components of the dataset's training
    cells.

    Parameters
    ----------
    adata
        As `predict` made it.
    within
        Which real cells the prediction was confined to, bool [N] (a saved selection); see `measure`.
    """
    recipe = {**json.loads(adata.uns[keys.SCDIFF]), "config": config.model_dump(mode="json"),
              "n_cells": int(adata.n_obs)}
    table, found = adata.uns["effects"], recipe["summary"]
    expected = adata.uns.pop(EXPECTED, None)
    if prepared is not None:
        umap = umap or outputs.umap_of(prepared)
        pca = prepared.project(outputs.aligned(adata, prepared).layers[keys.LOG1P])
        outputs.write_view(path, outputs.first_view(_without_perturbation(adata, prepared), prepared, pca, umap))
        table, found = measure(adata, config, prepared, table, found, within)
        if expected is not None:
            table = of_experiment(table, expected, {e["perturbation"]: e.get("n_measured", 0) for e in found})
    outputs.write_cells(path / outputs.CELLS, adata)
    atomic_write(path / EFFECTS, lambda p: table.to_csv(p, index=False, float_format="%.6g"))
    write_json(path / outputs.RECIPE, {**recipe, "summary": found})
    write_json(path / SUMMARY, {"perturbations": found, "seconds": recipe["seconds"]})
    return Prediction(path)


def _without_perturbation(adata: AnnData, prepared: Prepared) -> AnnData:
    """Return the cells without labels that the dataset does not know: those of unseen perturbations."""
    obs = adata.obs.copy()
    for covariate in prepared.vocab.categorical:
        labels = as_labels(obs[covariate.column]) if covariate.column in obs else np.empty(0)
        if covariate.column in obs:
            obs[covariate.column] = np.where(np.isin(labels, covariate.values), labels, "")
    from anndata import AnnData as Made

    return Made(obs=obs, var=adata.var)


def measure(adata: AnnData, config: PredictConfig, prepared: Prepared, table: pd.DataFrame,
            found: list[dict[str, Any]], within: np.ndarray | None = None
            ) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Return effects and summaries with what was measured beside them, where there are real cells.

    With `within` (bool [N]) the controls are those among these cells, and the perturbed cells those of the cell types
    that these controls have: few perturbed cells are where somebody selects controls.
    """
    control = measured_rows(prepared, Perturbation(), None, config.where)
    kinds = None
    if within is not None:
        control = control[within[control]]
        kinds = prepared.labels(keys.CELL_TYPE) if prepared.roles.cell_type else None
    reference = prepared.log1p(control)
    rng = np.random.default_rng(config.seed)
    table = table.assign(**dict.fromkeys(MEASURED, np.nan))
    done = []
    labels = adata.obs[prepared.roles.perturbation].astype(str).to_numpy()
    for entry in found:
        name = entry["perturbation"]
        made = adata.layers[keys.LOG1P][np.flatnonzero(labels == name)]
        entry = {**entry, "energy": _energy(prepared, made, reference, rng)}
        real = measured_rows(prepared, parse(name, prepared.roles.control), config.dose, config.where)
        if kinds is not None:
            real = real[np.isin(kinds[real], np.unique(kinds[control]))]
        if len(real) >= LEAST and len(control) >= LEAST:
            cells = prepared.log1p(real)
            mean, base = (np.asarray(x.mean(0)).ravel() for x in (cells, reference))
            tested = differential.compare(cells, reference, prepared.genes).set_index("gene")["pval_adj"]
            fold = pd.Series(log2_fold_change(mean, base), index=prepared.genes)
            here = (table["perturbation"] == name).to_numpy()
            genes = table.loc[here, "gene"]
            table.loc[here, list(MEASURED)] = np.column_stack([fold.loc[genes], tested.loc[genes]])
            half = rng.permutation(len(real))
            entry |= {"n_measured": len(real),
                      "pearson": _pearson(np.asarray(made.mean(0)).ravel() - base,
                                          mean - base),
                      "e_distance": _energy(prepared, made, cells, rng),
                      "control_e_distance": _energy(prepared, reference, cells, rng),
                      "floor": _energy(prepared, cells[half[::2]], cells[half[1::2]], rng)}
        done.append(entry)
    return table, done


def of_experiment(table: pd.DataFrame, expected: pd.DataFrame, n_measured: dict[str, int]) -> pd.DataFrame:
    """Return effects with the 90 % interval of what an experiment with as many cells as were measured would find.

    `expected` is what `predict.expected` says, row by row as the table; perturbations without real cells have none.
    """
    ends = np.full((2, len(table)), np.nan)
    for name, n in n_measured.items():
        here = (table["perturbation"] == name).to_numpy(bool)
        if n:
            mean, error, cell_sd, control = (expected[c].to_numpy(float)[here]
                                             for c in ("mean", "error", "cell_sd", "control"))
            ends[:, here] = measured(mean, error, cell_sd, control, n)
    return table.assign(**dict(zip(OF_EXPERIMENT, ends, strict=True)))


def _energy(prepared: Prepared, a: Any, b: Any, rng: np.random.Generator) -> float | None:
    few = [prepared.project(x[np.sort(rng.permutation(x.shape[0])[:COMPARED])]) for x in (a, b)]
    found = e_distance(*few)
    return round(found, 4) if np.isfinite(found) else None


def _pearson(a: np.ndarray, b: np.ndarray) -> float | None:
    return round(float(np.corrcoef(a, b)[0, 1]), 4) if a.std() > 0 and b.std() > 0 else None
