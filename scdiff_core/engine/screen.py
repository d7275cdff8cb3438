"""The prediction of a whole list: ranked, with all effects side by side, and the pairs that do not add up.

Cells are predicted as for one perturbation. Those that cannot be predicted are left out and named, with the reason.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

import scdiff_core
from scdiff_core import keys
from scdiff_core.analysis.metrics import energy_distance
from scdiff_core.analysis.perturb import interval
from scdiff_core.config import FORMAT
from scdiff_core.config_screen import Asked, ScreenConfig
from scdiff_core.engine import outputs
from scdiff_core.engine.screens import ARRAYS, PAIRS, RANKING, Screen
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import atomic_write, write_json

if TYPE_CHECKING:
    from scdiff_core.data.prepared import Prepared

__all__ = ["Asked", "ScreenConfig", "screen", "write_screen"]

CELLS_COMPARED = 200  # of each side, for the distance to control
CHANGED = 0.1  # log1p; a smaller departure from the sum of two singles is none
MOST = 2000  # perturbations of one screen
AT_ONCE = 2  # perturbations that are predicted at the same time


@dataclass(frozen=True)
class ScreenProgress:
    """Perturbations done of all of them; between two a caller may let go."""

    done: int
    total: int
    name: str


@dataclass(frozen=True)
class Found:
    """One perturbation as it was predicted."""

    name: str
    asked: bool  # False: a single that only its pairs need
    predicted: Any  # `perturb_model.Predicted`


def screen(model: Any, config: ScreenConfig) -> Generator[ScreenProgress, None, tuple[list[Found], dict[str, str]]]:
    """Predict every entry, and the singles of every pair; returns them, and why others were refused.

    Raises
    ------
    ScdiffError
        The list is empty, too long, or nothing in it can be predicted.
    """
    if not config.items or len(config.items) > MOST:
        raise ScdiffError("The list cannot be screened.", f"It has {len(config.items):,} perturbations; one to "
                          f"{MOST:,} can be screened at a time.", "Choose fewer, or some.")
    todo: dict[tuple[str, float | None], bool] = {}
    refused: dict[str, str] = {}
    for item in config.items:
        if "@" in item.perturbation:  # `config_screen.read_list` could not read what follows
            refused[item.name] = "Its dose is no number. Write it as 'NAME @ 0.5'."
            continue
        try:
            what = model.read(item.perturbation)
        except ScdiffError as error:
            refused[item.name] = error.why
            continue
        todo[what.label, item.dose] = True
        if len(what.parts) == 2:
            for part in what.singles():
                todo.setdefault((part.label, item.dose), False)
    found: list[Found] = []
    # two at a time: each is small, and a good part of it is not within one another's way
    pool = ThreadPoolExecutor(min(AT_ONCE, os.cpu_count() or 1))
    try:
        waiting = [pool.submit(model.ask, label, dose, config.where, config.n_cells, config.seed)
                   for label, dose in todo]
        for i, (((label, dose), asked), future) in enumerate(zip(todo.items(), waiting, strict=True)):
            name = Asked(perturbation=label, dose=dose).name
            yield ScreenProgress(i, len(todo), name)
            try:
                found.append(Found(name, asked, future.result()))
            except ScdiffError as error:
                if asked:
                    refused[name] = f"{error.what} {error.why}"
    finally:  # also where nobody wants the rest any more
        pool.shutdown(wait=True, cancel_futures=True)
    if not any(f.asked for f in found):
        first = next(iter(refused.values()), "")
        raise ScdiffError("Nothing in the list can be predicted.", first,
                          "Choose perturbations that were measured or have an embedding.")
    yield ScreenProgress(len(todo), len(todo), "")
    return found, refused


def arrays(found: Sequence[Found], genes: np.ndarray) -> dict[str, np.ndarray]:
    """Return `names`, `asked`, `genes`, and float32 [P, G]: shift with its bounds (log1p), log2fc with its bounds."""
    out = {"names": np.array([f.name for f in found]), "asked": np.array([f.asked for f in found]),
           "genes": np.asarray(genes).astype(str)}
    for name, field in (("shift", "shift"), ("shift_low", "low"), ("shift_high", "high"), ("log2fc", "log2fc"),
                        ("log2fc_low", "log2fc_low"), ("log2fc_high", "log2fc_high")):
        out[name] = np.stack([getattr(f.predicted.response, field) for f in found]).astype(np.float32)
    return out


def parts_of(name: str) -> tuple[str, list[str]]:
    """Return the ending of a name that says the dose, and the names of its single parts with that ending."""
    label, at, dose = name.partition(" @ ")
    return at + dose, [part + at + dose for part in label.split("+")]


def pair_table(values: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return every gene of every pair that does not add up: pair, gene, additive, predicted, difference, kind, sure.

    Changes are of the log1p mean. `additive` is the sum of the two singles. A gene whose pair departs from it by 0.1 or
    more is in synergy (the same direction, farther), buffered (the same direction, less far) or opposite. `sure` are
    those whose departure is beyond what the three 90 % intervals leave open, taken as independent.
    """
    place = {str(n): i for i, n in enumerate(values["names"])}
    tables = []
    for name, at in place.items():
        if "+" not in name or not values["asked"][at]:
            continue
        singles = parts_of(name)[1]
        if len(singles) != 2 or any(s not in place for s in singles):
            continue
        a, b = (place[s] for s in singles)
        additive = (values["shift"][a] + values["shift"][b]).astype(float)
        pair = values["shift"][at].astype(float)
        spread = np.sqrt(sum(((values["shift_high"][i] - values["shift_low"][i]).astype(float) / (2 * interval.Z)) ** 2
                             for i in (a, b, at)))
        kind = gene_kinds(additive, pair)
        rows = np.flatnonzero(kind != "additive")
        tables.append(pd.DataFrame({
            "pair": name, "gene": values["genes"][rows], "additive": additive[rows], "predicted": pair[rows],
            "difference": (pair - additive)[rows], "kind": kind[rows],
            "sure": np.abs(pair - additive)[rows] > interval.Z * spread[rows]}))
    columns = ["pair", "gene", "additive", "predicted", "difference", "kind", "sure"]
    if not tables:
        return pd.DataFrame(columns=columns)
    table = pd.concat(tables, ignore_index=True)
    return table.sort_values(["pair", "difference"], key=lambda c: -c.abs() if c.name == "difference" else c,
                             kind="stable", ignore_index=True)


def gene_kinds(additive: np.ndarray, pair: np.ndarray, least: float = CHANGED) -> np.ndarray:
    """Return for each gene what a pair does to the sum of its singles: additive, synergy, buffering or opposite."""
    off = np.abs(pair - additive) >= least
    turned = (np.sign(pair) * np.sign(additive) < 0) & (np.minimum(np.abs(pair), np.abs(additive)) >= least)
    farther = np.abs(pair) > np.abs(additive)
    return np.select([~off, turned, farther], ["additive", "opposite", "synergy"], "buffering").astype(str)


def additivity(additive: np.ndarray, pair: np.ndarray) -> float:
    """Return how far a pair goes along the sum of its singles: 1 adds up, more is synergy, less is buffering."""
    size = float(additive @ additive)
    return float(pair @ additive) / size if size > 0 else float("nan")


def places(shift: np.ndarray) -> np.ndarray:
    """Return P perturbations on a map [P, 2]: classical scaling of 1 − Pearson's r of their changes [P, G]."""
    x = np.nan_to_num(np.asarray(shift, float))
    x = x - x.mean(axis=1, keepdims=True)
    size = np.linalg.norm(x, axis=1, keepdims=True)
    unit = np.divide(x, size, out=np.zeros_like(x), where=size > 0)
    squared = np.clip(1 - unit @ unit.T, 0, 2) ** 2
    np.fill_diagonal(squared, 0.0)
    centre = np.eye(len(x)) - 1 / len(x)
    values, vectors = np.linalg.eigh(-0.5 * centre @ squared @ centre)
    order = np.argsort(values)[::-1][:2]
    out = np.zeros((len(x), 2))
    out[:, :len(order)] = vectors[:, order] * np.sqrt(np.maximum(values[order], 0))
    # eigenvectors have no sign of their own
    return out * np.where(np.abs(out).max(axis=0) == out.max(axis=0), 1, -1)


def ranking(found: Sequence[Found], values: Mapping[str, np.ndarray], trained: set[str],
            distances: Mapping[str, float]) -> pd.DataFrame:
    """Return one row a perturbation, the strongest first; `distance` is the energy distance of its cells to control."""
    place = {f.name: i for i, f in enumerate(found)}
    rows = []
    for f in found:
        if not f.asked:
            continue
        r, at = f.predicted.response, place[f.name]
        singles = parts_of(f.name)[1]
        along = float("nan")
        if len(singles) == 2 and all(s in place for s in singles):
            sums = values["shift"][place[singles[0]]] + values["shift"][place[singles[1]]]
            along = additivity(sums.astype(float), values["shift"][at].astype(float))
        sure = (values["shift_low"][at] > 0).astype(int) - (values["shift_high"][at] < 0).astype(int)
        rows.append({"perturbation": f.name, "parts": len(singles), "dose": f.predicted.dose,
                     "trained": f.name in trained or f.name.partition(" @ ")[0] in trained, "effect": r.effect,
                     "strength": float(np.linalg.norm(r.shift)), "genes_up": int((sure > 0).sum()),
                     "genes_down": int((sure < 0).sum()), "distance": distances.get(f.name, float("nan")),
                     "reach": float(r.reach), "additivity": along, "how": r.how, "half": f.predicted.half})
    table = pd.DataFrame(rows)
    xy = places(values["shift"][[place[n] for n in table["perturbation"]]])
    return table.assign(x=xy[:, 0], y=xy[:, 1]).sort_values("strength", ascending=False, kind="stable",
                                                           ignore_index=True)


def to_control(found: Sequence[Found], prepared: Prepared, seed: int = 0) -> dict[str, float]:
    """Return the energy distance of each population to its control cells, in the dataset's principal components."""
    rng = np.random.default_rng(seed)
    kept: dict[bytes, np.ndarray] = {}
    out = {}
    for f in found:
        rows = np.unique(f.predicted.start_rows)
        key = rows.tobytes()
        if key not in kept:
            kept[key] = prepared.X_pca[np.sort(rng.permutation(rows)[:CELLS_COMPARED])]
        cells = f.predicted.log1p[np.sort(rng.permutation(len(f.predicted.total))[:CELLS_COMPARED])]
        if len(kept[key]) > 1 and cells.shape[0] > 1:
            out[f.name] = float(energy_distance(prepared.project(cells), kept[key]))
    return out


def cells_of(model: Any, found: Sequence[Found]) -> Any:
    """Return the cells of all perturbations that were asked for, as AnnData."""
    from anndata import AnnData

    shown = [f for f in found if f.asked]
    obs = pd.concat([pd.DataFrame({
        "screened": f.name, keys.PERTURBATION: f.name.partition(" @ ")[0],
        keys.DOSE: np.nan if f.predicted.dose is None else f.predicted.dose,
        keys.TOTAL_COUNTS: f.predicted.total.astype(np.float32), "start_cell": f.predicted.start_rows,
        keys.SYNTHETIC: True}) for f in shown], ignore_index=True)
    for column in ("screened", keys.PERTURBATION):
        obs[column] = pd.Categorical(obs[column])
    obs.index = pd.Index([f"synthetic_{i:06d}" for i in range(len(obs))])
    adata = AnnData(sp.vstack([f.predicted.counts for f in shown], format="csr").astype(np.float32), obs=obs,
                    var=pd.DataFrame(index=pd.Index(np.asarray(model.genes).astype(str))))
    adata.layers[keys.LOG1P] = sp.vstack([f.predicted.log1p for f in shown], format="csr").astype(np.float32)
    return adata


def write_screen(path: Path, model: Any, config: ScreenConfig, found: Sequence[Found], refused: Mapping[str, str],
                 prepared: Prepared | None, trained: set[str], seconds: float, title: str = "",
                 more: Mapping[str, Any] | None = None) -> Screen:
    """Write a screen: ranking.csv, effects.npz, pairs.csv, cells.h5ad and, last, recipe.json."""
    values = arrays(found, np.asarray(model.genes))
    distances = {} if prepared is None else to_control([f for f in found if f.asked], prepared, config.seed)
    table = ranking(found, values, trained, distances)
    recipe = {"kind": "screen", "synthetic": True, "format": FORMAT, "version": scdiff_core.__version__,
              "run": config.run, "title": title, "dataset": prepared.name if prepared is not None else "",
              "fingerprint": prepared.fingerprint if prepared is not None else "", "refused": dict(refused),
              "n": len(table), "config": config.model_dump(mode="json", exclude={"selection", "threads"}),
              **(more or {})}
    adata = cells_of(model, found)
    adata.uns[keys.SCDIFF] = json.dumps(recipe)
    outputs.write_cells(path / outputs.CELLS, adata)
    atomic_write(path / ARRAYS, lambda p: outputs.savez(p, values))
    atomic_write(path / RANKING, lambda p: table.to_csv(p, index=False, float_format="%.6g"))
    atomic_write(path / PAIRS, lambda p: pair_table(values).to_csv(p, index=False, float_format="%.6g"))
    write_json(path / outputs.RECIPE, {**recipe, "made": time.time(), "seconds": round(seconds, 2)})
    return Screen(path)
