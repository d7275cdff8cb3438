"""The commands `denoise`, `fill` and `typical`: what a model of cells is good for besides new cells."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Annotated, Any

import typer

from scdiff_core import cli_tools as tools
from scdiff_core import config as cfg
from scdiff_core import config_uses as uses
from scdiff_core.cli_tools import Result, SeedOption, WorkspaceOption, say
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import Workspace, atomic_write

RunArgument = Annotated[str, typer.Argument(help="A run (see `runs`), or the path of its directory.")]


def denoise(
    run: RunArgument,
    cells: Annotated[list[str] | None, typer.Option(
        metavar="all|COL=VALUE", help="Which real cells: all (default), or those with a value. Repeatable.")] = None,
    split: Annotated[str, typer.Option(help="all (default), train or test.")] = "all",
    out: Annotated[str | None, typer.Option(metavar="F.h5ad", help="Where to; default: into the run.")] = None,
    study: Annotated[bool, typer.Option(
        "--study", help="Say first which way of denoising is the best on this dataset.")] = False,
    seed: SeedOption = 0,
    workspace: WorkspaceOption = None,
) -> Result:
    """Denoise real cells: the expected expression of every gene, given each cell's counts; counts stay in X."""
    began = time.monotonic()
    where = tools.where([c for c in cells or () if c != "all"])
    target = _h5ad(out)
    space, job = _opened(workspace, run)
    asked = cfg.validate(uses.DenoiseConfig, {"run": job.id, "where": where, "split": split, "seed": seed},
                         "The command")
    result: Result = {"run": job.id, "seed": seed}
    prepared = _dataset(space, job)
    if study:
        result["study"] = _study(job, prepared, "denoise", seed)

    def steps() -> Generator[Any, None, Any]:
        from scdiff_core.engine.impute import impute
        from scdiff_core.engine.model import Model

        return impute(Model.load(job), prepared, asked)

    if target is None:
        path = _into_run(job, prepared, asked)
        return {**result, "out": str(path / "cells.h5ad"), "layer": "denoised",
                "seconds": round(time.monotonic() - began, 2)}
    from scdiff_core.engine import outputs

    adata = tools.follow("denoising", steps)
    outputs.write_cells(target, adata)
    return {**result, "out": str(target), "n_cells": int(adata.n_obs), "layer": "denoised",
            "seconds": round(time.monotonic() - began, 2)}


def fill(
    run: RunArgument,
    to: Annotated[int | None, typer.Option(help="How many cells each type is to have, real and generated.")] = None,
    type_: Annotated[list[str] | None, typer.Option(
        "--type", metavar="TYPE=N", help="Another number for one type. Repeatable.")] = None,
    column: Annotated[str, typer.Option(metavar="COL", help="Column of the types (default: the cell type).")] = "",
    out: Annotated[str | None, typer.Option(
        metavar="F.h5ad", help="Where to (.h5ad, .csv.gz or .tsv.gz); default: into the run.")] = None,
    with_real: Annotated[bool, typer.Option(
        "--with-real", help="Put the real cells into the file too (`synthetic` says which are which).")] = False,
    study: Annotated[str | None, typer.Option(
        metavar="TYPE", help="Say whether a classifier of this type gets better by it.")] = None,
    guidance_scale: Annotated[float, typer.Option(help="1: plain conditional, 0: unconditional.")] = cfg.GUIDANCE,
    sampler: Annotated[str, typer.Option(help="dpm, heun, ode, sde, ddim or ddpm.")] = "dpm",
    seed: SeedOption = 0,
    workspace: WorkspaceOption = None,
) -> Result:
    """Fill up rare types: generate the cells that each type lacks."""
    from scdiff_core.engine import outputs

    began = time.monotonic()
    target = outputs.check_ending(Path(out).expanduser()) if out else None
    space, job = _opened(workspace, run)
    asked = cfg.validate(uses.FillConfig, {
        "run": job.id, "to": to, "numbers": _numbers(type_), "column": column, "guidance_scale": guidance_scale,
        "sampler": sampler, "steps": cfg.SAMPLER_STEPS.get(sampler, 1), "seed": seed}, "The command")
    if with_real and target is None:
        raise ScdiffError("The real cells cannot be put in.", "--with-real needs a file.", "Add --out F.h5ad.")
    result: Result = {"run": job.id, "seed": seed}
    prepared = _dataset(space, job)
    if study is not None:
        result["study"] = _study(job, prepared, "fill", seed, study, column, max([to or 0, *asked.numbers.values()])
                                 or uses.FILL_TO)

    def steps() -> Generator[Any, None, Any]:
        from scdiff_core.engine.fill import fill as made
        from scdiff_core.engine.model import Model

        return made(Model.load(job), prepared, asked)

    if target is None:
        path = _into_run(job, prepared, asked)
        return {**result, "out": str(path / outputs.CELLS), "seconds": round(time.monotonic() - began, 2)}
    adata = tools.follow("generating", steps)
    if with_real:
        from scdiff_core.engine.uses_set import filled

        outputs.write_cells(target, filled(prepared, adata))
    else:
        outputs.write_cells(target, adata)
    return {**result, "out": str(target), "n_cells": int(adata.n_obs), "seconds": round(time.monotonic() - began, 2)}


def typical(
    run: RunArgument,
    split: Annotated[str, typer.Option(help="all (default), train or test.")] = "all",
    out: Annotated[str | None, typer.Option(metavar="TABLE.csv", help="Where to; default: into the run.")] = None,
    seed: SeedOption = 0,
    workspace: WorkspaceOption = None,
) -> Result:
    """Say how typical each real cell is of what the model has learnt: odd cells and doublets, as a table."""
    began = time.monotonic()
    target = Path(out).expanduser() if out else None
    if target is not None and not target.name.endswith((".csv", ".csv.gz")):
        raise ScdiffError(f"'{target.name}' cannot be written.", "How typical cells are is a table.",
                          "End the name in .csv or .csv.gz.")
    space, job = _opened(workspace, run)
    asked = cfg.validate(uses.TypicalConfig, {"run": job.id, "split": split, "seed": seed}, "The command")
    prepared = _dataset(space, job)
    if target is None:
        path = _into_run(job, prepared, asked)
        return {"run": job.id, "out": str(path / "typical.csv"), "seconds": round(time.monotonic() - began, 2)}

    def steps() -> Generator[Any, None, Any]:
        from scdiff_core.engine import typical as module
        from scdiff_core.engine.model import Model

        return module.typical(Model.load(job), prepared, asked)

    table = tools.follow("looking at the cells", steps)
    packed = "gzip" if target.name.endswith(".gz") else None
    atomic_write(target, lambda p: table.to_csv(p, index=False, compression=packed))
    odd = int((table["percentile"] >= 0.99).sum())
    say(f"{odd:,} of {len(table):,} cells are odder than 99 of 100 ordinary cells of their depth.")
    return {"run": job.id, "out": str(target), "n_cells": len(table), "odd": odd,
            "seconds": round(time.monotonic() - began, 2)}


def _opened(workspace: str | None, run: str) -> tuple[Workspace, Any]:
    space = Workspace(workspace)
    return space, tools.find_run(space, run)


def _dataset(space: Workspace, job: Any) -> Any:
    """Return the dataset of a run; raises `ScdiffError` where it is not at hand, or the run makes no cells."""
    from scdiff_core.engine import outputs

    config = job.config()
    if config.task != "generate":
        raise ScdiffError(f"The run '{job.id}' does not generate cells.", "It was trained to predict perturbations.",
                          "Use a run that was trained to generate cells.")
    return outputs.open_dataset(space, config.dataset, config.fingerprint)


def _told(phase: str, work: Callable[[Callable[[str, float], None]], Any]) -> Any:
    """Do work that tells how far it is itself, in the threads of a job."""
    n = tools.threads()
    import torch

    torch.set_num_threads(n)
    progress = tools.Progress()
    progress.tell(phase)
    return work(progress.tell)


def _into_run(job: Any, prepared: Any, asked: cfg.Frozen) -> Path:
    """Write a result into the run, as the app does; returns its folder."""
    from scdiff_core.engine import outputs

    path = outputs.new_path(job)

    def work(tell: Callable[[str, float], None]) -> None:
        from scdiff_core.engine.model import Model
        from scdiff_core.engine.uses_ops import carry_out

        carry_out(Model.load(job), prepared, asked, path, tell)

    _told("loading the model", work)
    return path


def _study(job: Any, prepared: Any, kind: str, seed: int, rare: str = "", column: str = "",
           to: int = uses.FILL_TO) -> dict[str, Any]:
    def work(tell: Callable[[str, float], None]) -> dict[str, Any]:
        from scdiff_core.engine.model import Model
        from scdiff_core.engine.uses_ops import carry_out_study

        return carry_out_study(job, Model.load(job), prepared, kind, tell, rare, column, to, seed)

    found: dict[str, Any] = _told("comparing", work)
    say(found["sentence"])
    return found


def _numbers(texts: list[str] | None) -> dict[str, int]:
    """Return the numbers of `--type TYPE=N`."""
    numbers = {}
    for text in texts or ():
        name, _, number = text.rpartition("=")
        if not name.strip() or not number.strip().isdigit():
            raise ScdiffError(f"'{text}' cannot be read.", "--type takes TYPE=N, N a whole number.",
                              'Write it as --type "NK=500".')
        numbers[name.strip()] = int(number)
    return numbers


def _h5ad(out: str | None) -> Path | None:
    target = Path(out).expanduser() if out else None
    if target is not None and target.suffix != ".h5ad":
        raise ScdiffError(f"'{target.name}' cannot be written.", "Denoised cells hold counts and estimates side by "
                          "side, which a table cannot.", "End the name in .h5ad.")
    return target
