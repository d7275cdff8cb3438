"""What the worker does for the Design page: what real cells say of a target, rows proposed for cells, and designs."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from scdiff_core import config as cfg
from scdiff_core import target as targets
from scdiff_core.analysis.design import pictures, programs_of, propose
from scdiff_core.analysis.design.feasibility import met_rows
from scdiff_core.data.embed import Landmarks
from scdiff_core.engine import custom, design_set, outputs
from scdiff_core.engine.design_cells import Bench, design_cells
from scdiff_core.engine.design_config import DesignConfig
from scdiff_core.engine.design_live import Facts, facts
from scdiff_core.engine.designed import DesignProgress
from scdiff_core.engine.realism import log1p_of, sampled
from scdiff_core.engine.steps import follow
from scdiff_core.errors import ScdiffError
from scdiff_core.selection import pack_rows, unpack_rows
from scdiff_core.workspace import JobDir, atomic_write

if TYPE_CHECKING:
    from scdiff_core.engine.worker import Service, Tell

LIVE_CELLS, LIVE_EVERY = 300, 0.5  # particles that are drawn on the way, and seconds between two pictures


def bench_of(service: Service, job: JobDir) -> Bench:
    """Return a model with its real cells, kept as long as the model and the dataset are the same."""
    model, config = service.model(job), job.config()
    prepared = service.dataset(config.dataset, config.fingerprint)
    return service.models.get((job.path, job.saved_ns, config.fingerprint, "design"), lambda: Bench(model, prepared))


def open_(service: Service, tell: Tell, run: str) -> dict[str, Any]:
    """Load a run with the codes of its real cells, so that everything after it is quick."""
    began = time.monotonic()
    tell("loading the model", 0.0)
    bench = bench_of(service, service.job(run))
    tell("looking at the real cells", 0.3)
    real = bench.real
    real.levels((str(bench.model.genes[0]),))
    return {"genes": bench.model.genes.tolist(), "n_cells": len(real),
            "types": sorted(set(real.types.tolist()) - {""}), "seconds": round(time.monotonic() - began, 3)}


def feasibility(service: Service, tell: Tell, run: str, target: dict[str, Any]) -> dict[str, Any]:
    """Say how real cells stand to a target; raises `ScdiffError` where it cannot be followed."""
    bench = bench_of(service, service.job(run))
    found: Facts = facts(bench.model, bench.real, targets.parse(target))
    rows = [(found.feasibility.pairs[k], found.feasibility.conflicts[k]) for k in range(len(found.feasibility.pairs))]
    hard = [row.hard for row in found.target.rows]
    met = np.zeros(bench.prepared.n_cells, bool)  # of all cells of the dataset, since the page draws them on its map
    met[bench.real.rows] = found.fits & met_rows(found.target, found.levels, len(bench.real))[:, hard].all(axis=1)
    return {"target": found.target.model_dump(mode="json"), "feasibility": found.feasibility.to_dict(),
            "met": pack_rows(met), "histograms": pictures.histograms(found.target, found.levels, found.fits),
            "joints": [{**pictures.joint(found.target, found.levels, found.fits, *pair), "words": words}
                       for pair, words in rows[:6]]}


def propose_rows(service: Service, tell: Tell, run: str, rows: str | None = None, cell_type: str | None = None,
                 n: int = 8) -> dict[str, Any]:
    """Propose rows that tell some cells of the dataset (packed mask), or a type's, from the others."""
    bench = bench_of(service, service.job(run))
    real, prepared = bench.real, bench.prepared
    if rows is not None:
        chosen = unpack_rows(rows, prepared.n_cells)[real.rows]
    elif cell_type is not None and prepared.roles.cell_type is not None:
        bench.model.vocab.index(prepared.roles.cell_type, cell_type)
        chosen = real.types == cell_type
    else:
        raise ScdiffError("No rows can be proposed.", "Neither cells nor a cell type were named.",
                          "Select some cells, or choose a type.")
    tell("comparing the cells", 0.1)
    auc, change = propose.compare_sides(prepared.log1p(real.rows), chosen)
    found = propose.propose(prepared.genes.tolist(), auc, change, chosen, real.levels, n)
    return {"rows": found, "n_cells": int(chosen.sum())}


def design(service: Service, tell: Tell, run: str, config: dict[str, Any], out_dir: str,
           selection: str | None = None) -> dict[str, Any]:
    """Design cells into a directory, with a small picture of where they are on the way (`live.npz`)."""
    began = time.monotonic()
    tell("loading the model", 0.0)
    job = service.job(run)
    asked = cfg.validate(DesignConfig, {**config, "run": job.id, "target": targets.parse(config.get("target"))},
                         "The request")
    if asked.target.objective is not None:
        asked = asked.model_copy(update={"target": asked.target.model_copy(update={
            "objective": str(inside(service.workspace.root, asked.target.objective))})})
    bench = bench_of(service, job)
    prepared = bench.prepared
    chosen = None if selection is None else unpack_rows(selection, prepared.n_cells)
    if chosen is None and asked.target.start is not None and asked.target.start.selection is not None:
        chosen = design_set.saved_selection(service.workspace, prepared, asked.target.start.selection)
    tell("looking at the real cells", 0.02)
    _ = bench.real
    sets = programs_of.of_folder(service.workspace.root / programs_of.FOLDER)
    where = Path(out_dir)
    where.mkdir(parents=True, exist_ok=True)
    try:
        live = Live(bench, where / design_set.LIVE)

        def said(step: DesignProgress, share: float) -> None:
            tell("designing", 0.05 + 0.85 * share)
            live.show(step)

        made = follow(design_cells(bench, asked, chosen, sets), said)
        tell("placing the cells", 0.92)
        filled = asked.model_copy(update={"target": made.made.target})
        design_set.write(where, made.adata, made.made.target, made.measured.report, made.measured.arrays, filled,
                         prepared, service.umap(prepared))
    except BaseException:  # cancelled, or it could not be followed: no half of a design is left
        shutil.rmtree(where, ignore_errors=True)
        raise
    return {"out_dir": out_dir, "report": made.measured.report.to_dict(), "note": "",
            "seconds": round(time.monotonic() - began, 3)}


def inside(root: Path, name: str) -> Path:
    """Return a file of code in the workspace's folder for it; raises `ScdiffError` where it lies elsewhere."""
    folder = (root / custom.FOLDER).resolve()
    path = (folder / name).resolve()
    if folder not in path.parents:
        raise ScdiffError(f"The custom objective '{Path(name).name}' was not run.",
                          f"Only files in the workspace's folder '{custom.FOLDER}' are.", "Put the file there.")
    return path


class Live:
    """A picture of the particles among the real cells, written as a design goes."""

    def __init__(self, bench: Bench, path: Path) -> None:
        self.bench, self.path, self.next = bench, path, 0.0
        rows = bench.real.rows
        self.landmarks = Landmarks(bench.prepared.X_pca[rows], bench.prepared.X_umap[rows])

    def show(self, step: DesignProgress) -> None:
        """Write where some particles are by now: `xy` float32 [at most 300, 2], done, total; now and then."""
        if time.monotonic() < self.next:
            return
        few = step.z[:: max(1, len(step.z) // LIVE_CELLS)][:LIVE_CELLS]
        values, totals = sampled(self.bench.model, few, torch.Generator().manual_seed(0))
        pca = self.bench.prepared.project(log1p_of(self.bench.model, values, totals))
        arrays = {"xy": self.landmarks.place(pca)[0], "done": np.array(step.done), "total": np.array(step.total)}
        atomic_write(self.path, lambda p: outputs.savez(p, arrays))
        self.next = time.monotonic() + LIVE_EVERY
