"""A model of perturbations that knows the truth of a simulation, for tests of what stands on top of the real one."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData
from helpers import prepare_adata

from scdiff_core import keys
from scdiff_core.analysis.perturb.answer import Response, log2_fold_change
from scdiff_core.config import QC, PredictConfig, Roles, TrainConfig
from scdiff_core.data.perturbations import Perturbation, parse
from scdiff_core.data.prepared import Prepared, to_log1p
from scdiff_core.data.simulate import CONTROL, Truth, simulate
from scdiff_core.engine import outputs, prediction
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir, Workspace

HALF = 0.25  # half the width of the intervals, log2


def perturb_dataset(root: Path, name: str = "screen", n_cells: int = 1200, n_genes: int = 300,
                    hold_out: tuple[str, ...] = ()) -> tuple[Prepared, JobDir]:
    """Prepare a simulated experiment with known truth into a workspace."""
    held = [{"column": keys.PERTURBATION, "values": hold_out}] if hold_out else []
    return prepare_adata(simulate(n_cells, n_genes), root, name, genes="all", qc=QC(), hold_out=held,
                         roles=Roles(cell_type="cell_type", batch="batch", perturbation="perturbation",
                                     control=CONTROL, dose="dose"))


@dataclass(frozen=True)
class FakePredicted:
    """As `engine.perturb_model.Predicted`."""

    dose: float | None
    counts: Any
    log1p: Any
    total: np.ndarray
    response: Response
    control_mean: np.ndarray
    start_rows: np.ndarray
    half: str = "moved controls"
    words: str = "Control cells moved by the predicted mean; the diffusion was no better on held-out perturbations."


class FakeModel:
    """Answers as `PerturbModel` does, out of the truth; unknown names are refused."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.truth = Truth.build(n_genes=prepared.n_genes)
        self.genes = prepared.genes
        self.asked: list[str] = []

    def read(self, label: str) -> Perturbation:
        return parse(label, CONTROL)

    def ask(self, perturbation: str, dose: float | None = None, where: dict[str, str] | None = None,
            n_cells: int = 200, seed: int = 0) -> FakePredicted:
        what = perturbation if isinstance(perturbation, Perturbation) else parse(perturbation, CONTROL)
        self.asked.append(what.label)
        kind = (where or {}).get("cell_type", "type_A")
        try:
            effect = self.truth.log_effect(what.label, kind, 1.0 if dose is None else dose)
        except ScdiffError:
            raise ScdiffError(f"'{what.label}' cannot be predicted.", f"There is no embedding of {what.label}.",
                              "Bring a table of embeddings that has it, or gene sets.") from None
        labels = self.prepared.labels(keys.PERTURBATION)
        pool = np.flatnonzero((labels == CONTROL) & (self.prepared.labels(keys.CELL_TYPE) == kind))
        rng = np.random.default_rng(seed)
        rows = rng.choice(pool, n_cells)
        start = self.prepared.counts[rows].toarray()
        counts = sp.csr_matrix(rng.poisson(start * np.exp(effect)[self._order]), dtype=np.float32)
        total = np.asarray(counts.sum(1)).ravel().astype(np.float32)
        log1p = to_log1p(counts, total)
        before = np.asarray(self.prepared.log1p(pool).mean(0)).ravel()
        shift = np.asarray(log1p.mean(0)).ravel() - before
        log2fc = log2_fold_change(before + shift, before)
        seen = what.label in set(labels.tolist())
        nothing = np.zeros_like(shift)
        response = Response(
            shift, shift - 0.1, shift + 0.1, "measured in training" if seen else "sum of two measured singles",
            0.1 if seen else 0.5, "clear" if np.abs(shift).max() > 0.3 else "none", log2fc, log2fc - HALF,
            log2fc + HALF, kind="measured" if seen else "both", control=before, sd=np.full_like(shift, 0.06),
            cell_sd=np.full_like(shift, 0.5), control_error=nothing, control_bias=nothing)
        return FakePredicted(dose, counts, log1p, total, response, before, rows)

    @property
    def _order(self) -> np.ndarray:
        place = {g: i for i, g in enumerate(self.truth.genes)}
        return np.array([place[g] for g in self.genes])


def write_fake_prediction(run: JobDir, prepared: Prepared, names: tuple[str, ...], n_cells: int = 60,
                          cell_type: str = "type_A") -> prediction.Prediction:
    """Write a prediction as the engine does, by the fake model."""
    model = FakeModel(prepared)
    config = PredictConfig(run=run.id, perturbations=names, where={"cell_type": cell_type}, n_cells=n_cells)
    made = [model.ask(name, where=config.where, n_cells=n_cells) for name in names]
    obs = pd.concat([pd.DataFrame({keys.CELL_TYPE: cell_type, keys.BATCH: "batch_1", keys.PERTURBATION: name,
                                   keys.DOSE: np.nan, keys.TOTAL_COUNTS: m.total, "start_cell": m.start_rows,
                                   keys.SYNTHETIC: True}) for name, m in zip(names, made, strict=True)],
                    ignore_index=True)
    obs.index = pd.Index([f"synthetic_{i:06d}" for i in range(len(obs))])
    adata = AnnData(sp.vstack([m.counts for m in made], format="csr"), obs=obs, var=pd.DataFrame(index=prepared.genes))
    adata.layers[keys.LOG1P] = sp.vstack([m.log1p for m in made], format="csr")
    adata.uns["effects"] = pd.concat([pd.DataFrame({
        "perturbation": name, "gene": prepared.genes, "mean_control": m.control_mean,
        "mean_predicted": m.control_mean + m.response.shift, "log2fc": m.response.log2fc,
        "low": m.response.log2fc_low, "high": m.response.log2fc_high}) for name, m in zip(names, made, strict=True)],
        ignore_index=True)
    adata.uns[prediction.EXPECTED] = pd.concat([pd.DataFrame({
        "perturbation": name, "gene": prepared.genes, "control": m.control_mean, "mean": m.response.mean,
        "error": m.response.sd**2, "cell_sd": m.response.cell_sd}) for name, m in zip(names, made, strict=True)],
        ignore_index=True)
    adata.uns[keys.SCDIFF] = json.dumps({
        "kind": "predict", "synthetic": True, "run": run.id, "dataset": prepared.name, "seconds": 0.4,
        "fingerprint": prepared.fingerprint, "summary": [{
            "perturbation": name, "dose": None, "how": m.response.how, "half": m.half, "words": m.words,
            "effect": m.response.effect, "reach": m.response.reach, "n_cells": n_cells}
            for name, m in zip(names, made, strict=True)]})
    return prediction.write_prediction(outputs.new_path(run), adata, config, prepared)


def fake_workspace(root: Path, names: tuple[str, ...], n_cells: int, n_genes: int,
                   hold_out: tuple[str, ...] = ()) -> Path:
    """Make a workspace with a dataset `screen`, a run `run` that is one by its files, and a prediction of names."""
    prepared, _ = perturb_dataset(root, n_cells=n_cells, n_genes=n_genes, hold_out=hold_out)
    run = Workspace(root).create(
        TrainConfig(dataset="screen", fingerprint=prepared.fingerprint, task="perturb"), "run")
    run.write_status(state="finished")
    run.checkpoints.mkdir()
    (run.checkpoints / "best.safetensors").write_bytes(b"not opened here")
    write_fake_prediction(run, prepared, names)
    return root


def copied(made: Path, to: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Return a copy of a workspace, for one test alone, as the server's."""
    shutil.copytree(made, to)
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(to))
    return Workspace(to)


def no_worker(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Keep pages from starting the worker; returns what they ask of it from now on."""
    from pages._shared import worker

    told: list[tuple[str, dict[str, Any]]] = []

    class Asked:
        ended, note = False, ""

        def look(self, patience: float = 0.0) -> dict[str, Any]:
            return {}

        def seconds(self) -> float:
            return 5.0

    def submit(key: str, op: str, note: str = "", **values: Any) -> Asked:
        told.append((op, values))
        return Asked()

    monkeypatch.setattr(worker, "submit", submit)
    return told
