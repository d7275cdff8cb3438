"""The command `run`: what a yaml file asks for, as pages copy it; and the jobs that more than one command begins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from scdiff_core import cli_generate, cli_modes, cli_perturb, cli_screen, cli_torchrun, cli_uses, jobs
from scdiff_core import cli_tools as tools
from scdiff_core import config as cfg
from scdiff_core.cli_tools import Result, WorkspaceOption, say
from scdiff_core.config_files import from_yaml
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir, Workspace, read_json

INTERRUPTED = 130
MAKE: dict[str, Callable[[Workspace, JobDir, Any, str | None], Result]] = {  # what a trained run is asked for
    "generate": cli_generate.make, "predict": cli_perturb.make, "screen": cli_screen.make,
    "trajectory": cli_modes.make, "change": cli_modes.make,
    "denoise": cli_uses.make, "fill": cli_uses.make, "typical": cli_uses.make,
}


def run(
    file: Annotated[str, typer.Argument(metavar="F.yaml", help="What to do, as a page copies it or a run keeps it.")],
    out: Annotated[str | None, typer.Option(
        metavar="F", help="Where the cells (.h5ad, .csv.gz, .tsv.gz) or the table (.csv) go; "
        "default: into the run.")] = None,
    name: Annotated[str | None, typer.Option(help="The name of the dataset or run that is made.")] = None,
    workspace: WorkspaceOption = None,
) -> Result:
    """Do what a yaml file says: prepare, train, or ask a trained model (the same file as in the app)."""
    space, path = Workspace(workspace), Path(file).expanduser()
    if path.is_dir():
        raise ScdiffError(f"'{file}' cannot be read.", "It is a folder.", "Name the yaml file within it.")
    asked = from_yaml(path)
    makes = asked.kind in MAKE
    if out is not None and not makes:
        raise ScdiffError("--out cannot be used.", f"'{path.name}' asks to {asked.kind}: that goes into the workspace.",
                          "Leave --out away.")
    if name is not None and makes:
        raise ScdiffError("--name cannot be used.", f"'{path.name}' makes neither a dataset nor a run.",
                          "Leave --name away.")
    if makes:
        return MAKE[asked.kind](space, tools.find_run(space, asked.run), asked, out)
    if asked.kind == "prepare":
        return prepare(space, asked.model_copy(update={"source": tools.source(asked.source),
                                                       "name": name or asked.name}))
    if asked.kind == "train":
        return train(begin(space, asked, name))
    raise ScdiffError(f"'{path.name}' cannot be run.", f"It asks to {asked.kind} a source, which the app alone does.",
                      "Use `prepare` with that source.")


def prepare(space: Workspace, asked: cfg.PrepareConfig) -> Result:
    """Prepare a dataset in this process, and return what the command says."""
    job = jobs.create(space, asked, asked.name)
    code, status = tools.foreground(job)
    report = read_json(job.path / "report.json", {})
    for step in report.get("steps", []):
        say(step["words"])
    for finding in report.get("findings", []):
        if finding["level"] != "ok":
            say(" ".join(p for p in (f"{finding['title']}:", finding["detail"], finding["fix"]) if p))
    keys = ("n_cells", "n_train", "n_test", "n_genes", "values", "roles", "fingerprint")
    return {"dataset": job.id, "state": status.get("state"), "path": str(job.path), "exit_code": code,
            "seconds": status.get("seconds"), **{k: report[k] for k in keys if k in report}}


def begin(space: Workspace, asked: cfg.TrainConfig, name: str | None) -> JobDir:
    """Make the run of a configuration; raises `ScdiffError` where its dataset is another one by now."""
    from scdiff_core.engine import outputs

    check(asked, outputs.open_dataset(space, asked.dataset, asked.fingerprint))
    return space.create(asked, name)


def check(asked: cfg.TrainConfig, prepared: Any) -> None:
    """See, before a run is made, that its choices go together and that what it is to know is there."""
    from scdiff_core.analysis import choices

    choices.check(asked, prepared.values)
    if asked.task == "perturb":
        from scdiff_core.analysis.perturb import knowledge

        knowledge.check(asked.perturb, prepared)


def train(job: JobDir) -> Result:
    """Train a run in this process, and return what the command says."""
    say(f"Run {job.id} in '{job.path}'.")
    cli_torchrun.lead(job)
    code, status = tools.foreground(job)
    cli_torchrun.leave()
    if code == INTERRUPTED:
        say(f"Stopped and saved. Go on with {jobs.resume_command(job)}.")
    return {"run": job.id, "state": status.get("state"), "dataset": job.config().dataset,
            "path": str(job.path), **{k: status.get(k) for k in ("step", "total", "seconds")},
            "loss_test": _last_loss(job), "exit_code": code}


def _last_loss(job: Any) -> float | None:
    """Return the last held-out loss of a run."""
    losses = [row["loss_test"] for row in job.metrics() if row.get("loss_test") is not None]
    return losses[-1] if losses else None
