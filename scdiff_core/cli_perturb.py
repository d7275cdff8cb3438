"""The command `predict`: what perturbations would do, as cells and tables."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from scdiff_core import cli_tools as tools
from scdiff_core import config as cfg
from scdiff_core.cli_tools import say
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir, Workspace


def predict(
    run: Annotated[str, typer.Argument(help="A run of `train --task perturb` (see `runs`), or its directory.")],
    perturbation: Annotated[list[str], typer.Option(
        metavar="A[+B]", help="A perturbation, or several joined by '+'. Repeatable.")],
    dose: Annotated[str | None, typer.Option(metavar="D", help="The dose, where the data has doses.")] = None,
    where: Annotated[list[str] | None, typer.Option(
        metavar="COL=VALUE", help="Which control cells to start from, such as cell_type=B. Repeatable.")] = None,
    cells: Annotated[int, typer.Option(help="How many cells of each perturbation.")] = cfg.PREDICT_CELLS,
    out: Annotated[str | None, typer.Option(
        metavar="F.h5ad", help="Where to (.h5ad, .csv.gz or .tsv.gz); default: into the run.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same result on the same machine.")] = 0,
    workspace: Annotated[str | None, typer.Option(
        "--workspace", metavar="DIR", help="Where datasets and runs lie (SCDIFF_WORKSPACE, or ./workspace).")] = None,
) -> dict[str, Any]:
    """Predict what perturbations do to a population of cells, beside what was measured where there is any."""
    tools.check_cells(out)
    space = Workspace(workspace)
    job = tools.find_run(space, run)
    asked = cfg.validate(cfg.PredictConfig, {
        "run": job.id, "perturbations": tuple(perturbation),
        "dose": None if dose is None else read_dose(dose), "where": tools.where(where),
        "n_cells": cells, "seed": seed}, "The command")
    return make(space, job, asked, out)


def make(space: Workspace, job: JobDir, asked: cfg.PredictConfig, out: str | None) -> dict[str, Any]:
    """Predict what a configuration asks for, into the run and a file, and return what the command says."""
    from scdiff_core.engine import outputs, prediction

    began = time.monotonic()
    target = tools.check_cells(out)
    adata = _predict(job, asked)
    prepared, note = outputs.dataset_beside(space, job.config())
    if note:
        say(note)
    made = prediction.write_prediction(outputs.new_path(job), adata, asked, prepared)
    if target is not None:
        outputs.write_cells(target, adata)
    found = made.summary()["perturbations"]
    for entry in found:
        say(f"{entry['perturbation']}: {entry['effect']} effect. {entry['words']}")
    return {"run": job.id, "out": str(target or made.path / outputs.CELLS), "path": str(made.path),
            "n_cells": int(adata.n_obs), "seed": asked.seed, "perturbations": found,
            "seconds": round(time.monotonic() - began, 2)}


def read_dose(text: str) -> float:
    """Return a dose; raises `ScdiffError` where it is no number ("1+1")."""
    try:
        return float(text)
    except ValueError:
        raise ScdiffError(f"'{text}' is no dose.", "A dose is one number, in the unit of the data.",
                          "Write it as --dose 0.5.") from None


def _predict(job: Any, asked: cfg.PredictConfig) -> Any:
    """Return the predicted cells, telling how far it is."""
    def steps() -> Any:
        from scdiff_core.engine.perturb_model import PerturbModel
        from scdiff_core.engine.predict import predict as steps_of

        return steps_of(PerturbModel.load(job), asked)

    return tools.follow("predicting", steps)


def report_lines(values: dict[str, Any]) -> dict[str, Any]:
    """Say what the report of a model of perturbations found, and return what the command's result holds of it."""
    for line in (*values["lines"], *values["notes"]):
        say(line)
    return {"below": values["lines"], "conditions": values["n_conditions"],
            "scores": {k["kind"]: {m["method"]: {key: m[key] and m[key][0] for key in m if key not in ("method", "n")}
                                   for m in k["methods"]} for k in values["kinds"]}}


def read_sources(settings: list[str]) -> list[str]:
    """Return settings in which paths of gene sets, regulons and tables mean the same from any folder.

    Raises
    ------
    ScdiffError
        One of the files is not there.
    """
    fixed = []
    for setting in settings:
        key, _, text = setting.partition("=")
        if key in ("perturb.gene_sets", "perturb.regulons", "perturb.tables",
                   "diffusion.terms.gene_sets"):
            paths = [p.strip() for p in text.strip().removeprefix("[").removesuffix("]").split(",") if p.strip()]
            for path in paths:
                if not Path(path).expanduser().is_file():
                    raise ScdiffError(f"'{path}' cannot be read.", "There is no such file.", "Check the path.")
            text = "[" + ", ".join(repr(str(Path(p).expanduser().absolute())) for p in paths) + "]"
        fixed.append(f"{key}={text}" if "=" in setting else setting)
    return fixed
