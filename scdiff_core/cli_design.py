"""The command `design`: cells that meet a target."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from scdiff_core import cli_tools as tools
from scdiff_core import config as cfg
from scdiff_core import target as targets
from scdiff_core.cli_tools import say
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import Workspace


def design(
    run: Annotated[str, typer.Argument(help="A run (see `runs`), or the path of its directory.")],
    target: Annotated[str, typer.Option(metavar="T.yaml", help="What is asked of the cells.")],
    cells: Annotated[int, typer.Option(help="How many cells.")] = 512,
    out: Annotated[str | None, typer.Option(
        metavar="F.h5ad", help="Where to (.h5ad, .csv.gz or .tsv.gz); default: into the run.")] = None,
    gene_sets: Annotated[list[str] | None, typer.Option(
        metavar="F.gmt", help="Gene sets that programs are named from. Repeatable.")] = None,
    method: Annotated[str, typer.Option(help="smc (default), or gradient or recurrence, which are quick.")] = "smc",
    seed: Annotated[int, typer.Option(help="The same seed gives the same cells on the same machine.")] = 0,
    workspace: Annotated[str | None, typer.Option(
        "--workspace", metavar="DIR", help="Where datasets and runs lie (SCDIFF_WORKSPACE, or ./workspace).")] = None,
) -> dict[str, Any]:
    """Design cells that meet a target (genes and programs up, down or between) and could be real."""
    from scdiff_core.analysis.gene_sets import read_gmt
    from scdiff_core.engine import outputs
    from scdiff_core.engine.design import DesignConfig

    began = time.monotonic()
    path = outputs.check_ending(Path(out).expanduser()) if out else None
    space = Workspace(workspace)
    sets: dict[str, tuple[str, ...]] = {}
    for file in gene_sets or ():
        try:
            sets |= read_gmt(Path(file).expanduser().read_text(encoding="utf-8"))
        except OSError:
            raise ScdiffError(f"'{file}' cannot be read.", "There is no such file.", "Check the path.") from None
    asked_of = targets.read(Path(target).expanduser(), sets)
    job = tools.find_run(space, run)
    asked = cfg.validate(DesignConfig, {"run": job.id, "target": asked_of, "n_cells": cells, "method": method,
                                        "seed": seed}, "The command")
    config = job.config()
    prepared = outputs.open_dataset(space, config.dataset, config.fingerprint)
    adata, said = _design(job, prepared, asked)
    path = path or outputs.new_path(job) / outputs.CELLS
    path.parent.mkdir(parents=True, exist_ok=True)
    outputs.write_cells(path, adata)
    say(said["words"])
    for conflict in said["feasibility"]["conflicts"]:
        say(conflict)
    return {"run": job.id, "out": str(path), "n_cells": int(adata.n_obs), "seed": seed, **said,
            "seconds": round(time.monotonic() - began, 2)}


def _design(job: Any, prepared: Any, asked: Any) -> tuple[Any, dict[str, Any]]:
    """Return the designed cells and what is said of them, telling how far it is."""
    threads = tools.threads()
    import torch

    from scdiff_core.engine.denoised import Denoised
    from scdiff_core.engine.design_cells import design_cells, summary
    from scdiff_core.engine.model import Model

    torch.set_num_threads(threads)
    progress = tools.Progress()
    progress.tell("loading the model")
    model = Model.load(job, device=job.config().device)
    steps = design_cells(model, Denoised.of(model, prepared), asked)
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            adata, made = end.value
            return adata, summary(made)
        progress.tell("designing", step.done / max(1, step.total))
