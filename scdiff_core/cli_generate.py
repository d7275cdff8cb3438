"""The commands `generate` and `report`: cells from a trained model, and how they compare with real ones."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from scdiff_core import cli_perturb
from scdiff_core import cli_tools as tools
from scdiff_core import config as cfg
from scdiff_core.cli_tools import Result, SeedOption, WorkspaceOption, say
from scdiff_core.workspace import JobDir, Workspace, write_json, write_text

REPORT_CELLS = 1000


def generate(
    run: Annotated[str, typer.Argument(help="A run (see `runs`), or the path of its directory.")],
    cells: Annotated[int, typer.Option(help="How many cells.")],
    out: Annotated[str | None, typer.Option(
        metavar="F.h5ad", help="Where to (.h5ad, .csv.gz or .tsv.gz); default: into the run.")] = None,
    where: Annotated[list[str] | None, typer.Option(
        metavar="COL=VALUE", help="A condition; VALUE may be 'any'. Repeatable.")] = None,
    guidance_scale: Annotated[float, typer.Option(help="1: plain conditional, 0: unconditional.")] = cfg.GUIDANCE,
    guidance: Annotated[list[str] | None, typer.Option(
        metavar="COL=SCALE", help="A guidance scale of its own for one covariate. Repeatable.")] = None,
    classifier: Annotated[list[str] | None, typer.Option(
        metavar="COL=VALUE", help="Guide towards a label by a classifier: of a column that the model was not trained "
        "with, or of a condition that is asked for in a combination that the data does not have. Repeatable.")] = None,
    classifier_scale: Annotated[float, typer.Option(
        help="How strongly; 1: as probable as the classifier has it; 4, and --guidance COL=3, for new combinations."
    )] = cfg.CLASSIFIER_SCALE,
    sampler: Annotated[str, typer.Option(help="dpm, heun, ode, sde, ddim or ddpm.")] = "dpm",
    steps: Annotated[int | None, typer.Option(help="Sampler steps; default: as many as the sampler needs.")] = None,
    seed: SeedOption = 0,
    workspace: WorkspaceOption = None,
) -> Result:
    """Generate cells with a trained model."""
    tools.check_cells(out)
    job = tools.find_run(Workspace(workspace), run)
    asked = cfg.validate(cfg.GenerateConfig, {
        "run": job.id, "n_cells": cells, "where": tools.where(where), "guidance_scale": guidance_scale,
        "sampler": sampler, "seed": seed,
        "guidance": tools.pairs(guidance, "--guidance"),
        "classifier": [{"column": column, "value": value, "scale": classifier_scale}
                       for column, value in tools.pairs(classifier, "--classifier").items()],
        "steps": cfg.SAMPLER_STEPS.get(sampler, 1) if steps is None else steps}, "The command")
    return make(Workspace(workspace), job, asked, out)


def make(space: Workspace, job: JobDir, asked: cfg.GenerateConfig, out: str | None) -> Result:
    """Generate what a configuration asks for, into a file or into the run, and return what the command says."""
    from scdiff_core.engine import outputs

    began = time.monotonic()
    target = tools.check_cells(out)
    return tools.finish(job, _generate(job, asked, space), asked, target, began,
                        lambda: outputs.dataset_beside(space, job.config()))


def _generate(job: JobDir, asked: cfg.GenerateConfig, space: Workspace) -> Any:
    """Return the generated cells, telling how far it is."""
    def steps() -> Any:
        from scdiff_core.engine import outputs
        from scdiff_core.engine.generate import generate
        from scdiff_core.engine.model import Model

        model = Model.load(job, device=job.config().device)
        if not asked.classifier:
            return generate(model, asked)
        from scdiff_core.engine.classifier import classifiers_for

        return generate(model, asked, classifiers_for(
            model, job, asked, lambda: outputs.dataset_beside(space, job.config())[0]))

    return tools.follow("generating", steps)


def report(
    run: Annotated[str, typer.Argument(help="A run (see `runs`), or the path of its directory.")],
    out: Annotated[str | None, typer.Option(
        metavar="F.html", help="A page to look at and print; the figures go into F.json beside it.")] = None,
    json_: Annotated[str | None, typer.Option("--json", metavar="F.json", help="All figures, as JSON.")] = None,
    cells: Annotated[int, typer.Option(help="How many cells to generate for it (where it generates).")] = REPORT_CELLS,
    seed: SeedOption = 0,
    workspace: WorkspaceOption = None,
) -> Result:
    """Hold generated cells, or predicted perturbations, against held-out real cells, beside floor and baselines."""
    from scdiff_core.engine import outputs, report_full

    space = Workspace(workspace)
    job = tools.find_run(space, run)
    page, figures = tools.report_paths(out, json_)
    config = job.config()
    prepared = outputs.open_dataset(space, config.dataset, config.fingerprint)
    values = report_full.make(job, prepared, lambda asked, tell: _generate(job, asked, space), n_cells=cells,
                              seed=seed, progress=tools.Progress().tell)
    say(values["sentence"])
    made = report_full.folder(job)
    if page is not None:
        write_text(page, (made / report_full.PAGE).read_text(encoding="utf-8"))
    if figures is not None:
        write_json(figures, values)
    said = {"run": job.id, "report": str(made / report_full.JSON), "page": str(made / report_full.PAGE),
            "out": None if page is None else str(page), "json": None if figures is None else str(figures),
            "sentence": values["sentence"]}
    if config.task == "perturb":
        return {**said, **cli_perturb.report_lines(values)}
    return {**said, "cells": str(job.outputs / values["generated"]["set"] / outputs.CELLS),
            "figures": {r["key"]: {k: r[k] for k in ("value", "floor", "verdict")} for r in values["rows"]}}
