"""Designed cells held against real ones: the report of a design, and the arrays that are drawn beside it."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from scdiff_core import keys
from scdiff_core.analysis.design import feasibility
from scdiff_core.analysis.design import report as reports
from scdiff_core.analysis.design.figures_of import Ground, energy_distance, figures_of, spread
from scdiff_core.analysis.design.report import DesignReport
from scdiff_core.analysis.metrics import subsample
from scdiff_core.data.prepared import Prepared, to_log1p
from scdiff_core.engine.denoised import Denoised, levels
from scdiff_core.engine.designed import Designed, Task
from scdiff_core.engine.generate import DECODE, sparse
from scdiff_core.engine.latent_edit import edit
from scdiff_core.engine.model import Model
from scdiff_core.engine.side_effects import COMPARED, programs, reference_of, side_effects

if TYPE_CHECKING:
    from anndata import AnnData

EDITED, SHOWN = 512, 5000  # cells that are edited, and drawn
OFTEN, LABELS = 20, 12
FEW_HALVES = 60  # real cells that meet the target, for one half of them to be held against the other
ODD_HALF = 0.2  # share of real cells among which a neighbour's label is one that says something


@dataclass(frozen=True)
class Measured:
    """What came of holding designed cells against real ones.

    `arrays` are those of `design.npz`; `unreal` bool [n], `knn` [n] and `nearest` int64 [n] are of the designed cells,
    `nearest` being rows of the dataset.
    """

    report: DesignReport
    arrays: dict[str, np.ndarray]
    unreal: np.ndarray
    knn: np.ndarray
    nearest: np.ndarray


def ground_of(prepared: Prepared) -> Ground:
    """Return the training cells in the dataset's principal components, and how far held-out cells lie from them."""
    train, test = prepared.rows(keys.TRAIN), prepared.rows(keys.TEST)
    return Ground.of(prepared.X_pca[train], train, prepared.X_pca[test])


def codes_of(real: Denoised, held_out: Denoised | None) -> Ground:
    """Return the training cells by their codes, and how far held-out cells' codes lie from them."""
    z = real.z[:0] if held_out is None else held_out.z
    return Ground.of(real.z.cpu().numpy(), real.rows, z.cpu().numpy())


def sampled(model: Model, z: Tensor, generator: torch.Generator) -> tuple[sp.csr_matrix, np.ndarray]:
    """Draw cells from codes [n, D]: counts (or values) csr [n, G], and total counts [n]."""
    values, totals = [], []
    for first in range(0, len(z), DECODE):
        with torch.no_grad():
            cells, sums = model.codec.sample(z[first:first + DECODE].float(), generator)
        values.append(sparse(cells.cpu().numpy()))
        totals.append(sums.cpu().numpy())
    return sp.vstack(values, format="csr"), np.concatenate(totals)


def log1p_of(model: Model, values: sp.csr_matrix, totals: np.ndarray) -> sp.csr_matrix:
    """Return log1p values csr [n, G] of what `sampled` drew."""
    return to_log1p(values, totals) if model.counts else values


@torch.no_grad()
def mild_of(model: Model, prepared: Prepared, z: Tensor) -> np.ndarray:
    """Return the denoised expression of codes [n, D] in the dataset's principal components, [n, P]."""
    every = torch.arange(len(model.genes), device=z.device)
    parts = [levels(model.codec, z[i:i + DECODE].float(), every).cpu().numpy() for i in range(0, len(z), DECODE)]
    return prepared.project(np.concatenate(parts)) if parts else np.zeros((0, prepared.X_pca.shape[1]))


def measure(model: Model, prepared: Prepared, real: Denoised, held_out: Denoised | None, ground: Ground, codes: Ground,
            task: Task, made: Designed, adata: AnnData, seed: int, seconds: float = 0.0,
            sets: Mapping[str, tuple[str, ...]] | None = None) -> Generator[float, None, Measured]:
    """Hold designed cells [n] against real ones; says how far it is (0 to 1), and returns what came of it.

    Parameters
    ----------
    real, held_out
        The training cells by their codes, and those that were never trained on, where there are any.
    ground, codes
        Of the same dataset (`ground_of`, `codes_of`).
    adata
        The designed cells, in the order of `made`.
    sets
        Gene sets that are looked at besides the programs of the target.
    """
    generator = torch.Generator().manual_seed(seed)
    rows, objective = made.target.rows, task.objective
    hard = np.array([row.hard for row in rows], bool)
    known = real.levels(made.target.needed())
    real_values = _values(made, known, len(real))
    real_met = feasibility.met_rows(made.target, known, len(real))
    whole = np.flatnonzero(task.fits & real_met[:, hard].all(axis=1))
    chosen = whole[subsample(len(whole), COMPARED, np.random.default_rng(seed))]
    real_points, real_mild = prepared.X_pca[real.rows[chosen]], mild_of(model, prepared, real.z[chosen])
    points = prepared.project(adata.layers[keys.LOG1P])
    figures, knn, nearest = figures_of(reports.DESIGNED, points, mild_of(model, prepared, made.z), made.margins >= 0,
                                       hard, ground, real_mild, seed)
    unreal = float((knn > ground.limit).mean())
    shares = [replace(figures, unreal_codes=_beyond(codes, made.z))]
    yield 0.4
    if len(chosen):
        own = np.flatnonzero(np.isin(ground.rows, real.rows[chosen]))  # but few of very many training cells
        there = np.isin(real.rows[chosen], ground.rows)
        found = figures_of(reports.REAL, real_points[there], real_mild[there], real_met[chosen][there], hard, ground,
                           None, seed, own)[0]
        shares.append(replace(found, **_held_out(prepared, held_out, made, hard, ground, codes)))
    yield 0.6
    edited, edited_values, edited_z = _edited(model, prepared, real, task, made, generator)
    found = figures_of(reports.EDITED, edited, mild_of(model, prepared, edited_z), _as_met(rows, edited_values), hard,
                       ground, real_mild, seed)[0]
    shares.append(replace(found, unreal_codes=_beyond(codes, edited_z)))
    if len(chosen) >= FEW_HALVES:
        a, b = real_mild[::2], real_mild[1::2]
        shares.append(reports.Figures(reports.FLOOR, len(a), 1.0, tuple(1.0 for _ in rows), 0.05,
                                      energy=energy_distance(a, b), diversity=spread(a) / spread(b), unreal_codes=0.05,
                                      note="one half of the real cells that meet the target against the other"))
    yield 0.8
    reference, words = reference_of(prepared, real, task, made, seed)
    report = DesignReport(
        words=reports.sentence(int(made.met.sum()), len(made.met), unreal, made.feasibility.to_dict()),
        n_cells=len(made.met), met=int(made.met.sum()), ancestors=made.ancestors, seconds=round(seconds, 2),
        rows=tuple({**row, "designed": round(float(share), 4), "real": row["share"]}
                   for row, share in zip(made.feasibility.rows, figures.rows, strict=True)),
        feasibility=made.feasibility.to_dict(), figures=tuple(shares), unreal_limit=ground.limit,
        side_effects=side_effects(adata, prepared, reference, made.target.needed()), reference=words,
        programs=programs(adata, prepared, reference, made, sets),
        neighbours=_neighbours(prepared, ground, nearest, knn), moved=_moved(model, prepared, real, made),
        warnings=_warnings(made, unreal))
    shown = subsample(len(real), SHOWN, np.random.default_rng(seed))
    arrays = {"values": objective.values(made.z).cpu().numpy().astype(np.float32),
              "real_values": real_values[shown].astype(np.float32), "real_fits": task.fits[shown],
              "edited_values": edited_values.astype(np.float32), "knn": knn.astype(np.float32),
              "real_knn": ground.held_out.astype(np.float32), "nearest": ground.rows[nearest[:, 0]],
              "unreal": knn > ground.limit, "z": made.z.cpu().numpy().astype(np.float32)}
    yield 1.0
    return Measured(report, arrays, knn > ground.limit, knn, ground.rows[nearest[:, 0]])


def _held_out(prepared: Prepared, held_out: Denoised | None, made: Designed, hard: np.ndarray, ground: Ground,
              codes: Ground) -> dict[str, Any]:
    """Return how many of the held-out cells that meet the target look unreal; too few of them tell nothing.

    Of training cells nothing can be told: the components, and the codec, have learnt their noise.
    """
    met = np.zeros(0, int)
    if held_out is not None:
        known = held_out.levels(made.target.needed())
        met = np.flatnonzero(feasibility.fitting(made.target, len(held_out), held_out.types)
                             & feasibility.met_rows(made.target, known, len(held_out))[:, hard].all(axis=1))
    if held_out is None or len(met) < reports.FEW_DIVERSE:
        return {"unreal": None, "unreal_codes": None}
    return {"unreal": float(ground.beyond(prepared.X_pca[held_out.rows[met]]).mean()),
            "unreal_codes": _beyond(codes, held_out.z[torch.from_numpy(met).to(held_out.z.device)])}


def _beyond(codes: Ground, z: Tensor) -> float:
    """Return the share of codes [n, D] that lie farther from real ones than 95 % of held-out cells' do."""
    points = z.cpu().numpy()
    return float(codes.beyond(points).mean()) if len(points) else 0.0


def _values(made: Designed, levels: dict[str, np.ndarray], n: int) -> np.ndarray:
    values = [feasibility.values_of(row, levels) for row in made.target.rows]
    return np.stack(values, 1) if values else np.zeros((n, 0))


def _as_met(rows: Any, values: np.ndarray) -> np.ndarray:
    return np.stack([feasibility.meets(row, values[:, i]) for i, row in enumerate(rows)], 1) if len(rows) else \
        np.ones((len(values), 0), bool)


def _edited(model: Model, prepared: Prepared, real: Denoised, task: Task, made: Designed,
            generator: torch.Generator) -> tuple[np.ndarray, np.ndarray, Tensor]:
    """Return the baseline as points, values and codes: real cells (those started from, or of the type), moved."""
    pool = np.flatnonzero(np.isin(real.rows, made.start)) if made.start is not None else np.flatnonzero(task.fits)
    pool = pool if len(pool) else np.arange(len(real))
    chosen = pool[subsample(len(pool), EDITED, np.random.default_rng(0))]
    z = edit(task.objective, real.z[torch.from_numpy(chosen).to(real.z.device)])
    values = task.objective.values(z).detach().cpu().numpy()
    return prepared.project(log1p_of(model, *sampled(model, z, generator))), values, z


def _neighbours(prepared: Prepared, ground: Ground, nearest: np.ndarray, knn: np.ndarray) -> dict[str, Any]:
    """Return whose the nearest real cells are: shares of every label that they have, and the most frequent ones."""
    first = ground.rows[nearest[:, 0]]
    columns: dict[str, dict[str, float]] = {}
    for name in prepared.obs.columns:
        column = prepared.obs[name]
        if name == keys.SPLIT or not (column.dtype == object or isinstance(column.dtype, _categorical())):
            continue
        if not 1 < column.nunique() <= ODD_HALF * len(column):
            continue
        labels, counts = np.unique(column.iloc[ground.rows[nearest].ravel()].astype(str), return_counts=True)
        order = np.argsort(-counts)[:LABELS]
        columns[str(name)] = {str(labels[i]): round(float(counts[i] / counts.sum()), 4) for i in order}
    rows, times = np.unique(first, return_counts=True)
    order = np.argsort(-times)[:OFTEN]
    return {"columns": columns, "types": columns.get(prepared.roles.cell_type or "", {}),
            "batches": columns.get(prepared.roles.batch or "", {}),
            "distance": {"median": float(np.median(knn)), "p95": float(np.quantile(knn, 0.95))} if len(knn) else {},
            "cells": [{"row": int(rows[i]), "id": str(prepared.obs.index[rows[i]]), "times": int(times[i])}
                      for i in order]}


def _categorical() -> type:
    import pandas as pd

    return pd.CategoricalDtype


def _moved(model: Model, prepared: Prepared, real: Denoised, made: Designed) -> dict[str, Any] | None:
    """Return how far cells went from those that they began from, None where they began from noise."""
    if made.start is None:
        return None
    place = {int(row): i for i, row in enumerate(real.rows)}
    known = np.array([place.get(int(row), -1) for row in made.start])
    there = known >= 0
    way = (made.z.cpu()[torch.from_numpy(there)] - real.z.cpu()[torch.from_numpy(known[there])]).norm(dim=1)
    return {"t": made.move, "tried": [list(v) for v in made.tried], "from": len(np.unique(made.start)),
            "distance": float(way.median()) if len(way) else None}


def _warnings(made: Designed, unreal: float) -> tuple[str, ...]:
    said = []
    if not made.feasibility.n:
        said.append("Beyond the data: none of the training cells meets the target, so nothing real tells how such "
                    "cells would be. These are the model's best, and the share that looks unreal is to be believed "
                    "more than their number.")
    if made.met.mean() < 1:
        said.append(f"{int((~made.met).sum()):,} of {len(made.met):,} cells do not meet every hard row; they come last "
                    "and are the nearest to it.")
    if unreal > 0.1:
        said.append(f"{100 * unreal:.0f} % of the cells lie farther from real ones than 95 % of held-out real "
                    "cells do (5 % would be usual).")
    if made.ancestors < 0.1 * len(made.met):
        said.append(f"All {len(made.met):,} cells descend from {made.ancestors} draws: they are less varied than they "
                    "look.")
    return tuple(said)
