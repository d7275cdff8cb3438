"""The commands `generate` and `report`: cells from a trained model, and how they compare with real ones."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from scdiff_core import cli_perturb
from scdiff_core import cli_tools as tools
from scdiff_core import config as cfg
from scdiff_core.cli_tools import Result, SeedOption, WorkspaceOption, say
from scdiff_core.errors import ScdiffError
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
        help="How strongly; 1: as probable as the classifier has it; 8 for new combinations.")] = cfg.CLASSIFIER_SCALE,
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
        "guidance": _scales(guidance), "classifier": _labels(classifier, classifier_scale),
        "steps": cfg.SAMPLER_STEPS.get(sampler, 1) if steps is None else steps}, "The command")
    return make(Workspace(workspace), job, asked, out)


def _scales(texts: list[str] | None) -> dict[str, str]:
    """Return covariate -> scale of `--guidance COL=SCALE`, each covariate once."""
    scales: dict[str, str] = {}
    for text in texts or ():
        name, value = tools.pair(text, "--guidance")
        if name in scales:
            raise ScdiffError(f"'{name}' is given twice.", f"Its scale is {scales[name]} and {value}.", "Give it once.")
        scales[name] = value
    return scales


def _labels(texts: list[str] | None, scale: float) -> list[dict[str, Any]]:
    """Return what `--classifier COL=VALUE` asks for, each column once."""
    pairs = [tools.pair(text, "--classifier") for text in texts or ()]
    for column, value in pairs:
        if sum(c == column for c, _ in pairs) > 1:
            raise ScdiffError(f"'{column}' is given twice.", f"One of its values is '{value}'.", "Give it once.")
    return [{"column": column, "value": value, "scale": scale} for column, value in pairs]


def make(space: Workspace, job: JobDir, asked: cfg.GenerateConfig, out: str | None) -> Result:
    """Generate what a configuration asks for, into a file or into the run, and return what the command says."""
    from scdiff_core.engine import outputs

    began = time.monotonic()
    target = tools.check_cells(out)
    adata = _generate(job, asked, space)
    if target is not None:
        outputs.write_cells(target, adata)
    else:
        prepared, note = outputs.dataset_beside(space, job.config())
        if note:
            say(note)
        target = outputs.write_set(outputs.new_path(job), adata, asked, prepared).path / outputs.CELLS
    return {"run": job.id, "out": str(target), "n_cells": int(adata.n_obs), "seed": asked.seed,
            "seconds": round(time.monotonic() - began, 2)}


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
