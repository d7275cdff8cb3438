"""What the worker does for denoising, filling up and typicality: results into a directory, studies into the run."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scdiff_core import config as cfg
from scdiff_core import config_uses as uses
from scdiff_core import keys
from scdiff_core.analysis import denoising, filling
from scdiff_core.config import FORMAT, Frozen
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine import outputs, uses_set
from scdiff_core.engine.steps import follow
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir, atomic_write, write_json

if TYPE_CHECKING:
    import pandas as pd

    from scdiff_core.engine.model import Model
    from scdiff_core.engine.worker import Service, Tell

CONFIGS: dict[str, type[Frozen]] = {
    "denoise": uses.DenoiseConfig, "fill": uses.FillConfig, "typical": uses.TypicalConfig}
FEWEST_JUDGED = 20  # held-out cells that a study needs


def use(service: Service, tell: Tell, run: str, kind: str, config: dict[str, Any], out_dir: str) -> dict[str, Any]:
    """Denoise cells, fill up types or say what is typical, into a directory; nothing is left of what was cancelled."""
    began = time.monotonic()
    tell("loading the model", 0.0)
    job = service.job(run)
    if kind not in CONFIGS:
        raise ScdiffError(f"The worker cannot '{kind}'.", "It has no such request.",
                          "Use one of " + ", ".join(CONFIGS) + ".")
    asked = cfg.validate(CONFIGS[kind], {**config, "run": job.id}, "The request")
    trained = job.config()
    prepared = service.dataset(trained.dataset, trained.fingerprint)
    model = service.model(job)
    umap = service.umap(prepared) if kind == "fill" else None
    try:
        made = carry_out(model, prepared, asked, Path(out_dir), tell, umap)
    except BaseException:
        shutil.rmtree(out_dir, ignore_errors=True)
        raise
    return {"out_dir": out_dir, **made, "seconds": round(time.monotonic() - began, 3)}


def carry_out(model: Model, prepared: Prepared, asked: Frozen, out: Path, tell: Callable[[str, float], None],
              umap: Any = None) -> dict[str, Any]:
    """Do what a configuration asks and write it into a directory; returns what there is to say of it."""
    made = result(model, prepared, asked, tell)
    if isinstance(asked, uses.TypicalConfig):
        from scdiff_core.engine import typical

        atomic_write(out / uses_set.TABLE, lambda p: made.to_csv(p, index=False))
        write_json(out / outputs.RECIPE, {
            "kind": asked.kind, "format": FORMAT, "run": model.run, "step": model.step,
            "dataset": model.config.dataset, "fingerprint": model.config.fingerprint,
            "config": asked.model_dump(mode="json"), "columns": typical.COLUMNS, "n_cells": len(made)})
        return {"n_cells": len(made), "odd": odd(made)}
    told = {"n_cells": int(made.n_obs)}
    recipe = json.loads(made.uns[keys.SCDIFF])
    if isinstance(asked, uses.FillConfig):
        tell("placing the cells", 0.95)
        outputs.write_set(out, made, asked, prepared, umap)
        return {**told, **recipe["fill"]}
    outputs.write_cells(out / outputs.CELLS, made)
    write_json(out / outputs.RECIPE, {**recipe, **told})
    return told


def result(model: Model, prepared: Prepared, asked: Frozen, tell: Callable[[str, float], None]) -> Any:
    """Do what a configuration asks; returns cells (denoised or filled up), or the table of how typical cells are."""
    from scdiff_core.engine import fill, impute, typical

    def on(words: str, steps: Generator[Any, None, Any]) -> Any:
        return follow(steps, lambda step, share: tell(words, 0.95 * share))

    if isinstance(asked, uses.DenoiseConfig):
        return on("denoising", impute.impute(model, prepared, asked))
    if isinstance(asked, uses.FillConfig):
        return on("generating", fill.fill(model, prepared, asked))
    assert isinstance(asked, uses.TypicalConfig)
    return on("looking at the cells", typical.typical(model, prepared, asked))


def odd(table: pd.DataFrame) -> int:
    """Return how many cells of a table are odder than all but one in a hundred ordinary ones of their depth."""
    from scdiff_core.engine import typical

    return int((table["percentile"] >= typical.ODD).sum())


def study(service: Service, tell: Tell, run: str, kind: str, rare: str = "", column: str = "",
          to: int = uses.FILL_TO, seed: int = 0) -> dict[str, Any]:
    """Say which denoising is best here (`denoise`), or whether filling up a type helps (`fill`); kept in the run."""
    tell("loading the model", 0.0)
    job = service.job(run)
    trained = job.config()
    prepared = service.dataset(trained.dataset, trained.fingerprint)
    return {"study": carry_out_study(job, service.model(job), prepared, kind, tell, rare, column, to, seed)}


def carry_out_study(job: JobDir, model: Model, prepared: Prepared, kind: str, tell: Callable[[str, float], None],
                    rare: str = "", column: str = "", to: int = uses.FILL_TO, seed: int = 0) -> dict[str, Any]:
    """Do a study and keep it in the run; returns it."""
    train, test = prepared.rows(keys.TRAIN), prepared.rows(keys.TEST)
    if len(test) < FEWEST_JUDGED:
        raise ScdiffError("Nothing can be compared.", f"Only {len(test)} cells were held out, and at least "
                          f"{FEWEST_JUDGED} are needed to judge by.", "Prepare the data with more held-out cells.")
    if kind == "denoise":
        from scdiff_core.engine import impute

        impute.check_counts(model, "denoise cells")

        def ours(halves: Any) -> dict[str, np.ndarray]:
            best, plain = follow(impute.shares(model, halves.seen, halves.total_seen, seed=seed), lambda s, f: None)
            return {denoising.OURS: best, denoising.PLAIN: plain}

        found = follow(denoising.study(prepared, train, test, ours, seed),
                       lambda step, share: tell("comparing ways of denoising", share))
        uses_set.write_study(job, "denoise", model.step, found)
        return found
    return _fill_study(job, model, prepared, tell, rare, column, to)


def _fill_study(job: JobDir, model: Model, prepared: Prepared, tell: Callable[[str, float], None], rare: str,
                column: str, to: int) -> dict[str, Any]:
    """Teach classifiers of a type with and without generated cells."""
    import torch

    from scdiff_core.data.prepared import to_log1p
    from scdiff_core.engine import fill
    from scdiff_core.engine.generate import assemble, draw_cells

    column = fill.column_of(model.vocab, prepared.roles.cell_type, column)
    model.vocab.index(column, rare)
    labels = prepared.labels(column)
    train, test = prepared.rows(keys.TRAIN), prepared.rows(keys.TEST)
    known = {split: int((labels[rows] == rare).sum()) for split, rows in (("training", train), ("held-out", test))}
    if min(known.values()) < filling.FEWEST:
        raise ScdiffError(f"'{rare}' is too rare to say whether filling up helps.",
                          " and ".join(f"{n} {split}" for split, n in known.items()) + " cells have it, and "
                          f"{filling.FEWEST} of each are needed.", "Choose a type with more cells.")
    if to <= known["training"]:
        raise ScdiffError(f"'{rare}' is not rare beside that.", f"{known['training']:,} training cells have it, and "
                          f"{to:,} are asked for.", "Choose a rarer type, or ask for more.")

    def made(seed: int) -> filling.Made:
        how = cfg.GenerateConfig(run=job.id, seed=seed)
        generator = torch.Generator().manual_seed(seed)
        codes, conts = fill.plan(model, how, column, {rare: to}, generator)
        values, totals = follow(draw_cells(model, codes, conts, how, generator), lambda step, share: None)
        log1p = to_log1p(values, totals) if model.counts else assemble(model, how, values, totals, codes,
                                                                       conts).layers[keys.LOG1P]
        return filling.Made(prepared.project(log1p), np.full(len(codes), rare, dtype=object))

    found = follow(filling.study(prepared.X_pca, labels, train, test, rare, to, made),
                   lambda step, share: tell("teaching classifiers", share))
    uses_set.write_study(job, f"fill/{column}/{rare}", model.step, found)
    return found
