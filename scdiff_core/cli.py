"""The command line: everything the app does, with the same files.

Progress goes to stderr, the last line of stdout is one JSON object; a mistake exits 2 with what, why and
fix. Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from typing import Annotated, Any

import typer

from scdiff_core import (
    cli_design,
    cli_generate,
    cli_modes,
    cli_perturb,
    cli_routes,
    cli_run,
    cli_screen,
    cli_torchrun,
    cli_uses,
    jobs,
)
from scdiff_core import cli_tools as tools
from scdiff_core import config as cfg
from scdiff_core.cli_tools import Result, SeedOption, WorkspaceOption, say
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import Workspace

CRASHED, MISTAKE, INTERRUPTED = 1, 2, cli_run.INTERRUPTED
ClickException: Any = typer.BadParameter.__mro__[2]  # BadParameter is a UsageError is a ClickException

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
                  context_settings={"help_option_names": ["-h", "--help"]})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 2 for a mistake, 1 for a crash, 130 after Ctrl-C."""
    try:
        result = app(arguments, prog_name="python -m scdiff_core", standalone_mode=False)
    except ClickException as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            say(error.format_message())
            return MISTAKE
        command = getattr(getattr(error, "ctx", None), "command_path", "python -m scdiff_core")
        return _fail(ScdiffError("The command cannot be understood.",
                                 " ".join(error.format_message().split()), f"See `{command} --help`."))
    except ScdiffError as error:
        return _fail(error)
    except (KeyboardInterrupt, typer.Abort):
        say("Interrupted.")
        return INTERRUPTED
    except Exception as error:
        if os.environ.get("SCDIFF_DEBUG"):
            traceback.print_exc()
        said = f"{type(error).__name__}: {error}"[:300]
        return _fail(tools.Crash("The command could not be finished.",
                                 f"Something unexpected went wrong ({said}).",
                                 "Run it again with SCDIFF_DEBUG=1 to see where, and report it."))
    if not isinstance(result, dict):
        return int(result or 0)
    code = int(result.pop("exit_code", 0))
    print(json.dumps(result), flush=True)
    return code


def _fail(error: ScdiffError) -> int:
    """Tell what, why and fix on stderr, and as JSON on stdout; return the exit code."""
    say(f"What: {error.what}\nWhy:  {error.why}\nFix:  {error.fix}")
    print(json.dumps({"error": error.to_dict()}), flush=True)
    return CRASHED if isinstance(error, tools.Crash) else MISTAKE


def command(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function a command: what libraries print goes to stderr, what it returns is the result."""
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            with redirect_stdout(sys.stderr):
                return function(*args, **kwargs)

        return app.command(**options)(run)

    return decorate


@app.callback(no_args_is_help=True)
def everywhere(workspace: WorkspaceOption = None) -> None:
    """Train diffusion models of single cells, and generate cells, without writing code."""
    if workspace:
        os.environ["SCDIFF_WORKSPACE"] = workspace


@command()
def prepare(
    source: Annotated[str, typer.Argument(
        help="A file or folder, or demo:pbmc68k | demo:pbmc3k | demo:perturb.")],
    name: Annotated[str, typer.Option(help="The name of the dataset.")],
    cell_type: Annotated[str | None, typer.Option(metavar="COL", help="Column of cell types.")] = None,
    perturbation: Annotated[str | None, typer.Option(metavar="COL", help="Its column.")] = None,
    control: Annotated[str | None, typer.Option(metavar="LABEL", help="Label of unperturbed cells.")] = None,
    batch: Annotated[str | None, typer.Option(metavar="COL", help="Column of batch or donor.")] = None,
    dose: Annotated[str | None, typer.Option(metavar="COL", help="Column of the dose.")] = None,
    time_: Annotated[str | None, typer.Option("--time", metavar="COL", help="Column of the time.")] = None,
    layer: Annotated[str | None, typer.Option(help="Layer of an .h5ad to take instead of X.")] = None,
    genome: Annotated[str | None, typer.Option(help="Genome of a 10x .h5 with several.")] = None,
    orientation: Annotated[str | None, typer.Option(
        help="Of a table: cells_in_rows or genes_in_rows (default: detected).")] = None,
    genes: Annotated[str, typer.Option(help="How many variable genes to keep, or 'all'.")] = "2000",
    keep_genes: Annotated[list[str] | None, typer.Option(
        metavar="A,B,...", help="Genes to keep in any case. May be repeated.")] = None,
    hold_out: Annotated[list[str] | None, typer.Option(
        metavar="COL=V1,V2", help="Values whose cells are all held out; 'A=x & B=y' for cells that have both; or "
        "unseen-perturbation, unseen-pair-both (-one, -none), unseen-type[:NAME], unseen-dose, unseen-both. "
        "Repeatable.")] = None,
    test_fraction: Annotated[float, typer.Option(help="Share of the cells that is held out.")] = 0.3,
    no_qc: Annotated[bool, typer.Option("--no-qc", help="Keep all cells.")] = False,
    min_genes: Annotated[int | None, typer.Option(
        help="Least genes a cell must have. Without any threshold, all are proposed from the data.")] = None,
    max_genes: Annotated[int | None, typer.Option(help="Most genes a cell may have.")] = None,
    min_counts: Annotated[float | None, typer.Option(help="Least counts of a cell.")] = None,
    max_counts: Annotated[float | None, typer.Option(help="Most counts of a cell.")] = None,
    max_pct_mt: Annotated[float | None, typer.Option(help="Most mitochondrial counts, in percent.")] = None,
    min_cells_per_gene: Annotated[int | None, typer.Option(help="Least cells a gene must be in.")] = None,
    remove_doublets: Annotated[bool, typer.Option("--remove-doublets", help="Leave doublets out.")] = False,
    seed: SeedOption = 0,
    workspace: WorkspaceOption = None,
) -> dict[str, Any]:
    """Read a source, check it, choose cells and genes, split, PCA and UMAP: a prepared dataset."""
    thresholds = {"min_genes": min_genes, "max_genes": max_genes, "min_counts": min_counts,
                  "max_counts": max_counts, "max_pct_mt": max_pct_mt,
                  "min_cells_per_gene": min_cells_per_gene, "remove_doublets": remove_doublets or None}
    roles = {"cell_type": cell_type, "perturbation": perturbation, "control": control, "batch": batch,
             "dose": dose, "time": time_}
    asked = cfg.validate(cfg.PrepareConfig, {
        "source": tools.source(source), "name": name,
        "read": {"layer": layer, "genome": genome, "orientation": orientation},
        "roles": tools.roles(roles), "qc": tools.qc(thresholds, no_qc),
        "genes": tools.gene_number(genes), "keep_genes": tools.words(keep_genes),
        "hold_out": tools.hold_out(hold_out), "unseen": tools.unseen(hold_out),
        "test_fraction": test_fraction, "seed": seed,
    }, "The command")
    return cli_run.prepare(Workspace(workspace), asked)


@command()
def train(
    dataset: Annotated[str | None, typer.Argument(help="A prepared dataset (see `datasets`).")] = None,
    task: Annotated[str | None, typer.Option(help="What to train for: generate (default) or perturb.")] = None,
    preset: Annotated[str | None, typer.Option(help="quick, standard (default) or thorough.")] = None,
    settings: Annotated[list[str] | None, typer.Option(
        "--set", metavar="KEY=VALUE", help="A setting, such as diffusion.steps=1000. Repeatable.")] = None,
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="Go on with this run.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the new run (default: date and time).")] = None,
    device: Annotated[str | None, typer.Option(help="auto (default), cpu, cuda or mps.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same model (default 0).")] = None,
    workspace: WorkspaceOption = None,
) -> Result:
    """Train a model of a prepared dataset, or go on with a run that was stopped; Ctrl-C stops and saves."""
    if cli_torchrun.follows():
        cli_torchrun.follow()
    space = Workspace(workspace)
    new = {"task": task, "preset": preset, "--set": settings, "name": name, "device": device, "seed": seed,
           "dataset": dataset}
    if resume is not None:
        given = [k for k, v in new.items() if v]
        if given:
            raise ScdiffError(f"'{resume}' cannot be resumed with other settings.",
                              f"A run keeps those it began with; {', '.join(given)} cannot be changed.",
                              "Leave them out, or start a new run.")
        job = tools.find_run(space, resume)
        jobs.check_resumable(job)
    elif dataset is None:
        raise ScdiffError("There is nothing to train.", "Neither a dataset nor a run to resume is given.",
                          "Name a dataset (see `datasets`), or use --resume RUN.")
    else:
        job = space.create(_train_config(space, dataset, new), name)
    return cli_run.train(job)


def _train_config(space: Workspace, dataset: str, new: dict[str, Any]) -> cfg.TrainConfig:
    """Return the configuration of a new run; raises `ScdiffError` where the dataset or a setting is wrong."""
    from scdiff_core.data.prepared import Prepared

    prepared = Prepared.open(space.open("prepare", dataset))
    from scdiff_core.engine.presets import preset

    base = cfg.validate(cfg.TrainConfig, {
        "dataset": dataset, "fingerprint": prepared.fingerprint, "name": new["name"] or "",
        **{k: new[k] for k in ("task", "preset", "device", "seed") if new[k] is not None}}, "The command")
    if base.task == "perturb":
        from scdiff_core.data.perturbations import check

        for warning in check(prepared):
            say(warning)
    codec, diffusion = preset(base.preset, prepared.values, base.task)
    config = cfg.override(base.model_copy(update={"codec": codec, "diffusion": diffusion}),
                          cli_perturb.read_sources(new["--set"] or []))
    cli_run.check(config, prepared)
    return config


command()(cli_generate.generate)
command()(cli_modes.trajectory)
command()(cli_modes.change)
command()(cli_perturb.predict)
command()(cli_screen.screen)
command()(cli_design.design)
command()(cli_routes.routes)
command()(cli_generate.report)
command()(cli_run.run)
for _use in (cli_uses.denoise, cli_uses.fill, cli_uses.typical):
    command()(_use)


@command()
def datasets(workspace: WorkspaceOption = None) -> Result:
    """List the prepared datasets."""
    rows = [tools.dataset_row(job) for job in Workspace(workspace).list("prepare")]
    tools.table(rows, ("name", "state", "n_cells", "n_genes", "values", "source"),
                "There are no datasets yet: make one with `prepare`.")
    return {"datasets": rows}


@command()
def runs(workspace: WorkspaceOption = None) -> Result:
    """List the runs."""
    rows = [tools.run_row(job) for job in Workspace(workspace).list("train")]
    tools.table(rows, ("run", "state", "dataset", "preset", "step", "total", "seconds", "title"),
                "There are no runs yet: make one with `train`.")
    return {"runs": rows}


@app.command(hidden=True)
def job(path: str) -> int:
    """Run the job of a directory; the app starts this."""
    from scdiff_core.engine.run_job import run_job

    return run_job(path)


@app.command(hidden=True)
def worker(workspace: WorkspaceOption = None) -> None:
    """Answer requests on stdin; the app starts this."""
    from scdiff_core.engine.worker_loop import serve

    serve(Workspace(workspace))
