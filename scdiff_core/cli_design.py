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
        metavar="F.gmt", help="Gene sets that programs are named from, and that are compared at the end. "
        "Repeatable.")] = None,
    method: Annotated[str, typer.Option(help="smc (default), or gradient or recurrence, which are quick.")] = "smc",
    from_type: Annotated[str | None, typer.Option(metavar="TYPE", help="Begin from real cells of this type.")] = None,
    from_selection: Annotated[str | None, typer.Option(
        metavar="NAME", help="Begin from the real cells of a saved selection.")] = None,
    where: Annotated[list[str] | None, typer.Option(
        "--from", metavar="COL=VALUE", help="Begin from real cells with this value. Repeatable.")] = None,
    move: Annotated[float | None, typer.Option(
        help="How far these may move, above 0 to 1 (1: anywhere); default: the least that reaches the target.")] = None,
    run_code: Annotated[bool, typer.Option(
        "--run-code", help="Run the Python file that the target names as its objective (any code).")] = False,
    seed: Annotated[int, typer.Option(help="The same seed gives the same cells on the same machine.")] = 0,
    workspace: Annotated[str | None, typer.Option(
        "--workspace", metavar="DIR", help="Where datasets and runs lie (SCDIFF_WORKSPACE, or ./workspace).")] = None,
) -> dict[str, Any]:
    """Design cells that meet a target (genes and programs up, down or between) and could be real."""
    from scdiff_core.analysis.gene_sets import read_gmt
    from scdiff_core.engine import outputs
    from scdiff_core.engine.design_config import DesignConfig

    began = time.monotonic()
    path = outputs.check_ending(Path(out).expanduser()) if out else None
    space = Workspace(workspace)
    sets: dict[str, tuple[str, ...]] = {}
    for file in gene_sets or ():
        try:
            sets |= read_gmt(Path(file).expanduser().read_text(encoding="utf-8"))
        except OSError:
            raise ScdiffError(f"'{file}' cannot be read.", "There is no such file.", "Check the path.") from None
    asked_of = _begin(targets.read(Path(target).expanduser(), sets), from_type, from_selection, where, move)
    if asked_of.objective is not None:  # as the target's own file names it
        beside = Path(target).expanduser().absolute().parent / asked_of.objective
        asked_of = asked_of.model_copy(update={"objective": str(beside)})
    job = tools.find_run(space, run)
    asked = cfg.validate(DesignConfig, {"run": job.id, "target": asked_of, "n_cells": cells, "method": method,
                                        "custom": run_code, "seed": seed}, "The command")
    config = job.config()
    prepared = outputs.open_dataset(space, config.dataset, config.fingerprint)
    chosen = None
    if asked_of.start is not None and asked_of.start.selection is not None:
        from scdiff_core.engine.design_set import saved_selection

        chosen = saved_selection(space, prepared, asked_of.start.selection)
    done = _design(job, prepared, asked, chosen, sets)
    report, made = done.measured.report, done.made
    if path is None:
        from scdiff_core.engine.design_set import write

        folder = outputs.new_path(job)
        filled = asked.model_copy(update={"target": made.target})
        write(folder, done.adata, made.target, report, done.measured.arrays, filled, prepared)
        path = folder / outputs.CELLS
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        outputs.write_cells(path, done.adata)
    say(report.words)
    for words in (*report.feasibility["conflicts"], *report.warnings):
        say(words)
    said = {k: v for k, v in report.to_dict().items() if k not in ("side_effects", "neighbours", "programs", "seconds")}
    return {"run": job.id, "out": str(path), "seed": seed, **said, "seconds": round(time.monotonic() - began, 2)}


def _begin(target: targets.Target, cell_type: str | None, selection: str | None, where: list[str] | None,
           move: float | None) -> targets.Target:
    """Return a target with the cells to begin from that the command names, over those of the file."""
    values = dict(_pair(text) for text in where or ())
    given = {k: v for k, v in (("cell_type", cell_type), ("selection", selection), ("where", values), ("move", move))
             if v}
    if not given:
        return target
    if set(given) == {"move"} and target.start is None:
        raise ScdiffError("It is not said which cells may move.", "--move was given without cells to begin from.",
                          "Add --from-type, --from-selection or --from COL=VALUE.")
    before = target.start.model_dump() if target.start is not None else {}
    start = cfg.validate(targets.Start, {**before, **given}, "The command")
    return target.model_copy(update={"start": start})


def _pair(text: str) -> tuple[str, str]:
    column, eq, value = text.partition("=")
    if not eq:
        raise ScdiffError(f"'{text}' cannot be read.", "It has no '='.", "Write it as COLUMN=VALUE.")
    return column, value


def _design(job: Any, prepared: Any, asked: Any, chosen: Any, sets: Any) -> Any:
    """Return the designed cells and what is said of them, telling how far it is."""
    def steps() -> Any:
        from scdiff_core.engine.design_cells import Bench, design_cells
        from scdiff_core.engine.model import Model

        return design_cells(Bench(Model.load(job, device=job.config().device), prepared), asked, chosen, sets)

    return tools.follow("designing", steps)
