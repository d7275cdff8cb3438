"""The command `screen`: a whole list of perturbations predicted and ranked, as the job that the app starts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from scdiff_core import cli_tools as tools
from scdiff_core import config as cfg
from scdiff_core import config_screen as lists
from scdiff_core import keys
from scdiff_core.cli_perturb import read_dose
from scdiff_core.cli_tools import Result, SeedOption, WorkspaceOption, say
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir, Workspace, write_json, write_text

SHOWN = 10  # of the ranking, as lines for people


def screen(
    run: Annotated[str, typer.Argument(help="A run of `train --task perturb` (see `runs`), or its directory.")],
    perturbations: Annotated[str | None, typer.Option(
        metavar="LIST.txt", help="A file with one perturbation a line ('-': stdin): A, A+B, or 'A @ 0.5' at a dose.")]
    = None,
    all_singles: Annotated[bool, typer.Option(
        "--all-singles", help="Every single perturbation of the data, alone or within a pair.")] = False,
    all_pairs: Annotated[bool, typer.Option(
        "--all-pairs", help="Every pair of those in the list; without one, of all single ones of the data.")] = False,
    dose: Annotated[list[str] | None, typer.Option(
        metavar="D[,D...]", help="Each of the list at these doses. Repeatable.")] = None,
    where: Annotated[list[str] | None, typer.Option(
        metavar="COL=VALUE", help="Which control cells to start from, such as cell_type=B. Repeatable.")] = None,
    cells: Annotated[int, typer.Option(help="How many cells of each.")] = cfg.PREDICT_CELLS,
    out: Annotated[str | None, typer.Option(
        metavar="F.csv", help="Where to write the ranking; the recipe goes into F.json beside it.")] = None,
    seed: SeedOption = 0,
    workspace: WorkspaceOption = None,
) -> Result:
    """Predict a list of perturbations, rank them by strength, and find the pairs that do not add up."""
    space = Workspace(workspace)
    job = tools.find_run(space, run)
    _ending(out)  # said before anything is begun
    doses = [read_dose(text) for text in tools.words(dose)]
    items = _items(space, job, perturbations, all_singles, all_pairs)
    if doses:
        items = [lists.Asked(perturbation=i.perturbation, dose=d) for i in items for d in doses]
    asked = cfg.validate(lists.ScreenConfig, {
        "run": job.id, "items": tuple(dict.fromkeys(items)), "where": tools.where(where), "n_cells": cells,
        "seed": seed, "title": "all pairs" if all_pairs else "all singles" if all_singles else "a list"},
        "The command")
    return make(space, job, asked, out)


def make(space: Workspace, job: JobDir, asked: lists.ScreenConfig, out: str | None) -> Result:
    """Screen what a configuration asks for, in this process, and return what the command says."""
    from scdiff_core.engine import outputs, screens

    target = _ending(out)
    made = screens.create(job, asked)
    try:
        code, status = tools.foreground(made)
    except ScdiffError:
        screens.discard(made)  # nothing came of it, and what was wrong is told
        raise
    if code:
        screens.discard(made)
        return {"run": job.id, "state": status.get("state"), "exit_code": code}
    found = screens.Screen(made.path)
    table, refused = found.ranking(), found.recipe().get("refused") or {}
    for name, why in refused.items():
        say(f"Refused: {name}. {why}")
    told = table.head(SHOWN).round({"strength": 2, "reach": 2})[["perturbation", "strength", "effect", "reach", "how"]]
    tools.table([{str(k): v for k, v in row.items()} for row in told.to_dict("records")], list(told.columns),
                "Nothing was predicted.")
    if target is not None:
        write_text(target, table.to_csv(index=False, float_format="%.6g"))
        write_json(target.with_suffix(".json"), found.recipe())
    return {"run": job.id, "screen": made.id, "path": str(made.path), "out": str(target or made.path / screens.RANKING),
            "cells": str(made.path / outputs.CELLS), "n": len(table), "refused": refused,
            "strongest": table["perturbation"].head(SHOWN).tolist(), "seconds": found.recipe().get("seconds")}


def _ending(out: str | None) -> Path | None:
    if out is None:
        return None
    path = Path(out).expanduser()
    if path.suffix.lower() != ".csv":
        raise ScdiffError(f"'{path.name}' cannot be written.", "A ranking is a table.",
                          "End the name in .csv; the predicted cells are kept in the run.")
    return path


def _items(space: Workspace, job: JobDir, listed: str | None, all_singles: bool,
           all_pairs: bool) -> list[lists.Asked]:
    """Return the list that was asked for.

    Raises
    ------
    ScdiffError
        No list was given, the file cannot be read or is empty, or the dataset is needed and not at hand.
    """
    if listed is None and not all_singles and not all_pairs:
        raise ScdiffError("There is nothing to screen.", "No list was given.",
                          "Use --perturbations LIST.txt, --all-singles or --all-pairs.")
    items = _read(listed) if listed is not None else []
    if all_singles or (all_pairs and not items):
        items += [lists.Asked(perturbation=p) for p in _singles(space, job)]
    if not all_pairs:
        return items
    names = [part for i in items for part in i.perturbation.split("+")]
    if len(dict.fromkeys(names)) < 2:
        raise ScdiffError("There are no pairs to screen.", f"The list has {len(dict.fromkeys(names))} perturbation.",
                          "Name two or more, or leave the list out to take all of the data.")
    return [lists.Asked(perturbation=p) for p in lists.all_pairs(names)]


def _read(listed: str) -> list[lists.Asked]:
    try:
        text = sys.stdin.read() if listed == "-" else Path(listed).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = "There is no such file." if isinstance(error, FileNotFoundError) else \
            "It is no text." if isinstance(error, UnicodeDecodeError) else f"{error.strerror}."
        raise ScdiffError(f"The list '{listed}' cannot be read.", why,
                          "Give a text file with one perturbation a line.") from None
    items = lists.read_list(text)
    if not items:
        raise ScdiffError(f"The list '{listed}' is empty.", "No line names a perturbation.",
                          "Write one perturbation a line: A, A+B, or 'A @ 0.5'.")
    return items


def _singles(space: Workspace, job: JobDir) -> list[str]:
    from scdiff_core.data.perturbations import parse_all
    from scdiff_core.engine import outputs

    prepared: Any
    prepared, note = outputs.dataset_beside(space, job.config())
    if prepared is None or not prepared.roles.perturbation:
        raise ScdiffError("The perturbations of the data are not known.", note or "It has no perturbation column.",
                          "Name them in a list: --perturbations LIST.txt.")
    read = parse_all(dict.fromkeys(prepared.labels(keys.PERTURBATION).tolist()), prepared.roles.control)
    return sorted({part for p in read.values() for part in p.parts})
