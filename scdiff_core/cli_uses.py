"""The commands `denoise`, `fill` and `typical`: what a model of cells is good for besides new cells."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from scdiff_core import cli_tools as tools
from scdiff_core import config as cfg
from scdiff_core import config_uses as uses
from scdiff_core.cli_tools import Result, SeedOption, WorkspaceOption, say
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir, Workspace, atomic_write

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
    where = tools.where([c for c in cells or () if c != "all"])
    _h5ad(out)
    space, job = _opened(workspace, run)
    asked = cfg.validate(uses.DenoiseConfig, {"run": job.id, "where": where, "split": split, "seed": seed},
                         "The command")
    told = _study(job, _dataset(space, job), "denoise", seed) if study else None
    return {**make(space, job, asked, out), **({"study": told} if told else {})}


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
    tools.check_cells(out)
    space, job = _opened(workspace, run)
    asked = cfg.validate(uses.FillConfig, {
        "run": job.id, "to": to, "numbers": _numbers(type_), "column": column, "guidance_scale": guidance_scale,
        "sampler": sampler, "steps": cfg.SAMPLER_STEPS.get(sampler, 1), "seed": seed}, "The command")
    if with_real and out is None:
        raise ScdiffError("The real cells cannot be put in.", "--with-real needs a file.", "Add --out F.h5ad.")
    told = None
    if study is not None:
        told = _study(job, _dataset(space, job), "fill", seed, study, column,
                      max([to or 0, *asked.numbers.values()]) or uses.FILL_TO)
    return {**make(space, job, asked, out, with_real), **({"study": told} if told else {})}


def typical(
    run: RunArgument,
    split: Annotated[str, typer.Option(help="all (default), train or test.")] = "all",
    out: Annotated[str | None, typer.Option(metavar="TABLE.csv", help="Where to; default: into the run.")] = None,
    seed: SeedOption = 0,
    workspace: WorkspaceOption = None,
) -> Result:
    """Say how typical each real cell is of what the model has learnt: odd cells and doublets, as a table."""
    _csv(out)
    space, job = _opened(workspace, run)
    return make(space, job, cfg.validate(uses.TypicalConfig, {"run": job.id, "split": split, "seed": seed},
                                         "The command"), out)


def make(space: Workspace, job: JobDir, asked: Any, out: str | None, with_real: bool = False) -> Result:
    """Do what a configuration asks for, into a file or into the run, and return what the command says.

    `with_real` puts the real cells into the file of a filling.
    """
    from scdiff_core.engine import outputs, uses_set

    began = time.monotonic()
    target = {"denoise": _h5ad, "fill": tools.check_cells, "typical": _csv}[asked.kind](out)
    prepared = _dataset(space, job)

    def work(tell: Callable[[str, float], None]) -> Result:
        from scdiff_core.engine import uses_ops
        from scdiff_core.engine.model import Model

        model = Model.load(job)
        if target is None:
            folder = outputs.new_path(job)
            made = uses_ops.carry_out(model, prepared, asked, folder, tell)
            name = uses_set.TABLE if asked.kind == "typical" else outputs.CELLS
            return {"out": str(folder / name), "n_cells": made["n_cells"],
                    **({"odd": made["odd"]} if "odd" in made else {})}
        found = uses_ops.result(model, prepared, asked, tell)
        if asked.kind == "typical":
            packed = "gzip" if target.name.endswith(".gz") else None
            atomic_write(target, lambda p: found.to_csv(p, index=False, compression=packed))
            return {"out": str(target), "n_cells": len(found), "odd": uses_ops.odd(found)}
        outputs.write_cells(target, uses_set.filled(prepared, found) if with_real else found)
        return {"out": str(target), "n_cells": int(found.n_obs)}

    done = tools.work("loading the model", work)
    if "odd" in done:
        say(f"{done['odd']:,} of {done['n_cells']:,} cells are odder than 99 of 100 ordinary cells of their depth.")
    return {"run": job.id, "seed": asked.seed, **done, **({"layer": uses_set.DENOISED} if asked.kind == "denoise"
                                                          else {}), "seconds": round(time.monotonic() - began, 2)}


def _opened(workspace: str | None, run: str) -> tuple[Workspace, JobDir]:
    space = Workspace(workspace)
    return space, tools.find_run(space, run)


def _dataset(space: Workspace, job: JobDir) -> Any:
    """Return the dataset of a run; raises `ScdiffError` where it is not at hand, or the run makes no cells."""
    from scdiff_core.engine import outputs

    config = job.config()
    if config.task != "generate":
        raise ScdiffError(f"The run '{job.id}' does not generate cells.", "It was trained to predict perturbations.",
                          "Use a run that was trained to generate cells.")
    return outputs.open_dataset(space, config.dataset, config.fingerprint)


def _study(job: JobDir, prepared: Any, kind: str, seed: int, rare: str = "", column: str = "",
           to: int = uses.FILL_TO) -> dict[str, Any]:
    def work(tell: Callable[[str, float], None]) -> dict[str, Any]:
        from scdiff_core.engine.model import Model
        from scdiff_core.engine.uses_ops import carry_out_study

        return carry_out_study(job, Model.load(job), prepared, kind, tell, rare, column, to, seed)

    found: dict[str, Any] = tools.work("comparing", work)
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


def _csv(out: str | None) -> Path | None:
    target = Path(out).expanduser() if out else None
    if target is not None and not target.name.endswith((".csv", ".csv.gz")):
        raise ScdiffError(f"'{target.name}' cannot be written.", "How typical cells are is a table.",
                          "End the name in .csv or .csv.gz.")
    return target


def _h5ad(out: str | None) -> Path | None:
    target = Path(out).expanduser() if out else None
    if target is not None and target.suffix != ".h5ad":
        raise ScdiffError(f"'{target.name}' cannot be written.", "Denoised cells hold counts and estimates side by "
                          "side, which a table cannot.", "End the name in .h5ad.")
    return target
