"""The warm worker: keeps models, datasets and the compiled UMAP loaded, and does what requests ask (see `worker_loop`).

=========  ====================================  ==============================================
op         takes                                 ends with
=========  ====================================  ==============================================
warm       run                                   done
generate   run, config, out_dir                  done, out_dir, n_cells, seconds, note
report     out_dir                               done, report (as `Report.to_dict`)
export     out_dir, format (csv.gz)              done, path
full       run, n_cells, seed                    done, page (of the full report)
estimate   dataset, presets, task                done, seconds (preset -> seconds)
compare    dataset, fingerprint, a, b, out_dir,  done, path (of table.csv), n_a, n_b, seconds
           names
score      dataset, fingerprint, sources, name,  done, path (of the folder), found, missing, seconds
           genes, out_dir
predict    run, config, out_dir, selection       done, out_dir, n_cells, seconds, note
next       run, candidates, out_dir, cell_type,  done, out_dir, n, refused
           n_cells, most
modes      run, kind (trajectory or change),     done, out_dir, n_cells, seconds, note
           config, out_dir
routes     run, config, goal, out_dir,           done, out_dir, n, words, gets_there, seconds, note
           selection
regulators run, goal, files, out, where,         done, path, n, rows, words, start
           selection
signatures run, goal, file, out, where,          done, path, n, rows, words, start
           selection
design     run, config, out_dir, selection       done, out_dir, report, seconds, note
propose    run, rows or cell_type, n             done, rows, n_cells
=========  ====================================  ==============================================

Besides, `design_open` (run) ends with genes, n_cells, types; `feasibility` (run, target) with target, feasibility, met
(packed rows), histograms, joints; `use` (run, kind: denoise, fill or typical, config, out_dir) with out_dir, n_cells,
seconds; `study` (run, kind: denoise or fill, and for fill rare, column, to) with study, which is kept in the run.

`run` is the id of a run, or the path of its directory. `a` and `b` are {"source": "real" or "RUN/SET", "rows": a mask
of its cells as `selection.pack_rows` packs it, or null for all}. On the way come `phase` and `progress` (0 to 1).
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from scdiff_core import config as cfg
from scdiff_core import jobs
from scdiff_core.config_modes import judged_as
from scdiff_core.engine import cards, outputs, perturb_ops, report_full
from scdiff_core.engine.steps import follow
from scdiff_core.errors import ScdiffError, nearest
from scdiff_core.workspace import JobDir, Workspace

KEEP = 2  # models, and datasets, that stay loaded
WARM_CELLS = 16
PLACES = {  # of what stands elsewhere: module of the engine and function, which takes this service first
    "compare": ("explore_ops", "compare"), "score": ("explore_ops", "score"),
    "predict": ("perturb_ops", "predict"), "next": ("perturb_ops", "next_experiments"),
    "modes": ("modes_ops", "make"),
    "use": ("uses_ops", "use"), "study": ("uses_ops", "study"),
    "routes": ("routes_ops", "routes"), "regulators": ("routes_ops", "rank_regulators"),
    "signatures": ("routes_ops", "rank_signatures"), "fetch_regulons": ("routes_ops", "fetch_regulons"),
    "design_open": ("design_ops", "open_"), "feasibility": ("design_ops", "feasibility"),
    "propose": ("design_ops", "propose_rows"), "design": ("design_ops", "design"),
}
T = TypeVar("T")
Result = dict[str, Any]
Tell = Callable[[str, float], None]


@dataclass
class Kept:
    """The last few things of one kind, each under a key that changes when its file does."""

    items: OrderedDict[Any, Any] = field(default_factory=OrderedDict)

    def get(self, key: Any, make: Callable[[], T]) -> T:
        """Return what is kept under `key`, or make it and let the oldest go."""
        if key not in self.items:
            while len(self.items) >= KEEP:
                self.items.popitem(last=False)
            self.items[key] = make()
        self.items.move_to_end(key)
        return self.items[key]


class Service:
    """What the worker can do, apart from how it is asked."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.models, self.datasets, self.umaps, self.sets = Kept(), Kept(), Kept(), Kept()

    def answer(self, op: str, values: dict[str, Any], tell: Tell) -> Result:
        """Do what a request asks and return what its last message says; `tell(phase, fraction)` on the way.

        Raises
        ------
        ScdiffError
            The request is unknown or cannot be fulfilled.
        """
        known: dict[str, Callable[..., Result]] = {
            "warm": self.warm, "generate": self.generate, "report": self.report, "export": self.export,
            "full": self.full, "estimate": self.estimate, **{name: self._of(*place) for name, place in PLACES.items()}}
        if op not in known:
            raise ScdiffError(f"The worker cannot '{op}'.", nearest(op, known) or "It has no such request.",
                              "Use one of " + ", ".join(known) + ".")
        return known[op](tell, **values)

    def _of(self, module: str, name: str) -> Callable[..., Result]:
        """Return an operation of a module that is imported when it is first asked for: it brings much along."""
        def call(tell: Tell, **values: Any) -> Result:
            return getattr(import_module(f"scdiff_core.engine.{module}"), name)(self, tell, **values)

        return call

    def job(self, run: str) -> JobDir:
        """Return a run by its id or its directory."""
        return jobs.open_dir(run) if os.sep in run else self.workspace.open("train", run)

    def model(self, job: JobDir) -> Any:
        """Return the model of a run, loaded once for each time it is saved."""
        from scdiff_core.engine.model import Model

        return self.models.get((job.path, job.saved_ns), lambda: Model.load(job))

    def dataset(self, name: str, fingerprint: str) -> Any:
        """Return the prepared dataset of a run, checked against the run's fingerprint."""
        key = (name, fingerprint, self.changed(name))
        return self.datasets.get(key, lambda: outputs.open_dataset(self.workspace, name, fingerprint))

    def umap(self, prepared: Any) -> Any:
        """Return the UMAP of a dataset."""
        return self.umaps.get(prepared.fingerprint, lambda: outputs.umap_of(prepared))

    def changed(self, name: str) -> int:
        """Return when the file of a dataset was written, 0 where there is none."""
        try:
            return (self.workspace.folder("prepare") / name / "prepared.h5ad").stat().st_mtime_ns
        except OSError:
            return 0

    def beside(self, config: cfg.TrainConfig) -> tuple[Any, str]:
        """Return the dataset of a run, or None and the reason where it is not at hand."""
        key = (config.dataset, config.fingerprint, self.changed(config.dataset))
        if key in self.datasets.items:
            return self.dataset(config.dataset, config.fingerprint), ""
        prepared, note = outputs.dataset_beside(self.workspace, config)
        return (prepared if prepared is None else self.datasets.get(key, lambda: prepared)), note

    def warm(self, tell: Tell, run: str) -> Result:
        """Load a run, its dataset and its UMAP, and compile what is compiled at first use."""
        from scdiff_core.engine.generate import generate

        job = self.job(run)
        if job.config().task == "perturb":
            return perturb_ops.warm(self, tell, run)
        tell("loading the model", 0.0)
        for _ in generate(self.model(job), cfg.GenerateConfig(run=job.id, n_cells=WARM_CELLS, steps=2)):
            tell("loading the model", 0.3)
        prepared, note = self.beside(job.config())
        if prepared is not None:
            tell("loading the map", 0.6)
            self.umap(prepared).warm()
        return {"note": note}

    def generate(self, tell: Tell, run: str, config: dict[str, Any], out_dir: str) -> Result:
        """Generate cells into a directory: the cells, their recipe, and their places on the real UMAP."""
        began = time.monotonic()
        job = self.job(run)
        asked = cfg.validate(cfg.GenerateConfig, {**config, "run": job.id}, "The request")
        adata = self._cells(job, asked, lambda phase, share: tell(phase, 0.9 * share))
        tell("placing the cells", 0.92)
        return self.put(job, adata, asked, out_dir, began)

    def put(self, job: JobDir, adata: Any, asked: cfg.Frozen, out_dir: str, began: float) -> Result:
        """Write cells that were made into a directory, and return what the last message says."""
        prepared, note = self.beside(job.config())
        umap = None if prepared is None else self.umap(prepared)
        outputs.write_set(Path(out_dir), adata, asked, prepared, umap)
        return {"out_dir": out_dir, "n_cells": int(adata.n_obs), "note": note,
                "seconds": round(time.monotonic() - began, 3)}

    def _cells(self, job: JobDir, asked: cfg.GenerateConfig, tell: Tell) -> Any:
        """Return generated cells, telling of every step."""
        from scdiff_core.engine.classifier import classifiers_for
        from scdiff_core.engine.generate import generate

        tell("loading the model", 0.0)
        model = self.model(job)
        classifiers = classifiers_for(model, job, asked, lambda: self.beside(job.config())[0], tell)
        return follow(generate(model, asked, classifiers), lambda step, share: tell("generating", share))

    def report(self, tell: Tell, out_dir: str) -> Result:
        """Write the report card of a generated set."""
        made = outputs.GeneratedSet(Path(out_dir))
        config = self.job(str(made.path.parent.parent)).config()
        prepared = self.dataset(config.dataset, config.fingerprint)
        values = judged_as(made.recipe().get("config", {}), (c.column for c in prepared.vocab))
        asked = cfg.validate(cfg.GenerateConfig, values, "The recipe")
        return {"report": cards.write_report(made, prepared, asked, tell).to_dict()}

    def full(self, tell: Tell, run: str, n_cells: int, seed: int = 0) -> Result:
        """Make the full report of a run, with cells of its own, and keep it in the run."""
        job = self.job(run)
        config = job.config()
        prepared = self.dataset(config.dataset, config.fingerprint)
        report_full.make(job, prepared, partial(self._cells, job), n_cells=n_cells, seed=seed, progress=tell)
        return {"page": str(report_full.folder(job) / report_full.PAGE)}

    def export(self, tell: Tell, out_dir: str, format: str = "csv.gz") -> Result:
        """Write the cells of a set as a table beside them."""
        if format != "csv.gz":
            raise ScdiffError(f"Cells cannot be exported as '{format}'.", "There is no such format.",
                              "Use csv.gz, or download the .h5ad.")
        made = outputs.GeneratedSet(Path(out_dir))
        path = made.path / outputs.TABLE
        tell("writing the table", 0.1)
        if not path.exists():
            outputs.write_cells(path, made.cells())
        return {"path": str(path)}

    def estimate(self, tell: Tell, dataset: str, presets: list[str], task: str = "generate") -> Result:
        """Time a short stretch of training and tell how long each preset will take, in seconds."""
        from scdiff_core.data.prepared import Prepared
        from scdiff_core.engine.estimate import estimate_seconds
        from scdiff_core.engine.presets import preset

        tell("opening the dataset", 0.0)
        job = self.workspace.open("prepare", dataset)
        prepared = self.datasets.get((dataset, "", self.changed(dataset)), lambda: Prepared.open(job))
        seconds = {}
        for i, name in enumerate(presets):
            tell("timing a few steps", (i + 0.5) / len(presets))
            codec, diffusion = preset(name, prepared.values, task)
            config = cfg.validate(cfg.TrainConfig, {
                "dataset": dataset, "fingerprint": prepared.fingerprint, "preset": name, "task": task,
                "codec": codec, "diffusion": diffusion}, "The preset")
            seconds[name] = round(float(estimate_seconds(prepared, config)), 1)
        return {"seconds": seconds}
