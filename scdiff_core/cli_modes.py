"""The commands `trajectory` and `change`: a path between two states, and cells changed in one respect."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from scdiff_core import cli_tools as tools
from scdiff_core import config as cfg
from scdiff_core import config_modes as modes
from scdiff_core.cli_tools import Result, SeedOption, WorkspaceOption
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir, Workspace

RunArgument = Annotated[str, typer.Argument(help="A run (see `runs`), or the path of its directory.")]
OutOption = Annotated[str | None, typer.Option(
    metavar="F.h5ad", help="Where to (.h5ad, .csv.gz or .tsv.gz); default: into the run.")]
ScaleOption = Annotated[float, typer.Option(help="1: plain conditional, 0: unconditional.")]


def trajectory(
    run: RunArgument,
    start: Annotated[str | None, typer.Option("--from", metavar="COL=VALUE", help="Where the path begins.")] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="COL=VALUE", help="Where it leads to.")] = None,
    from_selection: Annotated[str | None, typer.Option(
        metavar="NAME", help="Begin at the real cells of a saved selection.")] = None,
    to_selection: Annotated[str | None, typer.Option(
        metavar="NAME", help="End at the real cells of a saved selection.")] = None,
    points: Annotated[int, typer.Option(help="Positions on the path, both ends among them.")] = modes.POINTS,
    cells: Annotated[int, typer.Option(help="How many cells, of all positions together.")] = modes.PATH_CELLS,
    where: Annotated[list[str] | None, typer.Option(
        metavar="COL=VALUE", help="A condition on another covariate. Repeatable.")] = None,
    reach: Annotated[float, typer.Option(
        help="1: cells begin as noise; below: as real cells of the start that are noised so far.")] = 1.0,
    guidance_scale: ScaleOption = cfg.GUIDANCE,
    steps: Annotated[int, typer.Option(help="Sampler steps.")] = cfg.SAMPLER_STEPS["dpm"],
    out: OutOption = None,
    seed: SeedOption = 0,
    workspace: WorkspaceOption = None,
) -> Result:
    """Generate a path of populations from one state of cells to another: obs["position"] goes from 0 to 1."""
    tools.check_cells(out)
    space = Workspace(workspace)
    job = tools.find_run(space, run)
    ends = [_end(space, job, option, text, name) for option, text, name in
            (("from", start, from_selection), ("to", end, to_selection))]
    asked = cfg.validate(modes.TrajectoryConfig, {
        "run": job.id, "start": ends[0], "end": ends[1], "points": points, "n_cells": cells,
        "where": tools.where(where), "reach": reach, "guidance_scale": guidance_scale, "steps": steps, "seed": seed,
    }, "The command")
    return {**make(space, job, asked, out), "points": asked.points}


def change(
    run: RunArgument,
    set_: Annotated[list[str], typer.Option("--set", metavar="COL=VALUE", help="What the cells are to become, while "
                                            "the rest of them is kept. Repeatable.")],
    origin: Annotated[list[str] | None, typer.Option(
        "--from", metavar="COL=VALUE", help="Which real cells to begin with; several must all hold.")] = None,
    from_selection: Annotated[str | None, typer.Option(
        metavar="NAME", help="Begin with the real cells of a saved selection.")] = None,
    strength: Annotated[float, typer.Option(
        help="How far: below 0.5 hardly anything changes, at 1 the codes are made wholly anew.")] = modes.STRENGTH,
    cells: Annotated[int, typer.Option(help="How many cells; 0: each of the chosen ones once.")] = 0,
    guidance_scale: ScaleOption = cfg.GUIDANCE,
    steps: Annotated[int, typer.Option(help="Sampler steps.")] = cfg.SAMPLER_STEPS["dpm"],
    out: OutOption = None,
    seed: SeedOption = 0,
    workspace: WorkspaceOption = None,
) -> Result:
    """Change a covariate of real cells and keep the rest of them: obs["from_cell"] says which each was."""
    tools.check_cells(out)
    space = Workspace(workspace)
    job = tools.find_run(space, run)
    asked = cfg.validate(modes.ChangeConfig, {
        "run": job.id, "origin": tools.pairs(origin, "--from"), "to": tools.pairs(set_, "--set"), "strength": strength,
        "cells": None if from_selection is None else tools.saved_cells(space, job, from_selection), "n_cells": cells,
        "guidance_scale": guidance_scale, "steps": steps, "seed": seed}, "The command")
    return {**make(space, job, asked, out), "strength": strength}


def make(space: Workspace, job: JobDir, asked: modes.TrajectoryConfig | modes.ChangeConfig, out: str | None) -> Result:
    """Make what a configuration asks for, into a file or into the run, and return what the command says."""
    from scdiff_core.engine import outputs

    began = time.monotonic()
    target = tools.check_cells(out)
    prepared, note = outputs.dataset_beside(space, job.config())

    def steps() -> Any:
        from scdiff_core.engine.model import Model
        from scdiff_core.engine.modes_ops import steps_of

        return steps_of(Model.load(job, device=job.config().device), asked, prepared)

    return tools.finish(job, tools.follow("generating", steps), asked, target, began, lambda: (prepared, note))


def _end(space: Workspace, job: JobDir, option: str, text: str | None, selection: str | None) -> dict[str, Any]:
    """Return one end of a path: a value of a column, or a saved selection."""
    if (text is None) == (selection is None):
        raise ScdiffError("The path cannot be made.", f"One of --{option} and --{option}-selection says where it "
                          f"{'begins' if option == 'from' else 'leads to'}.", "Give one of the two.")
    if selection is not None:
        return {"cells": tools.saved_cells(space, job, selection)}
    column, value = tools.pair(str(text), f"--{option}")
    return {"column": column, "value": value}
