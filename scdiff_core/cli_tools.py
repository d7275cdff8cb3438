"""What the commands share: lines for people, values of options, a job in the foreground."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from scdiff_core import jobs, process
from scdiff_core.config import QC, HoldOut, Roles
from scdiff_core.config_screen import Chosen
from scdiff_core.engine.steps import follow as drive
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir, Workspace, read_json

T = TypeVar("T")
Result = dict[str, Any]
WorkspaceOption = Annotated[str | None, typer.Option(
    "--workspace", metavar="DIR", help="Where datasets and runs lie (SCDIFF_WORKSPACE, or ./workspace).")]
SeedOption = Annotated[int, typer.Option(help="The same seed gives the same result on the same machine.")]
SAY_EVERY = 2.0  # s between two lines of progress


class Crash(ScdiffError):
    """Something went wrong that is not the user's mistake."""


def say(text: str) -> None:
    """Write a line for people, to stderr."""
    print(text, file=sys.stderr, flush=True)


class Progress:
    """Lines for people while something works: one whenever the phase changes, and every two seconds."""

    def __init__(self) -> None:
        self.phase, self.said = "", -1e9

    def status(self, status: dict[str, Any]) -> None:
        """Take what a job wrote into its status."""
        if status.get("state") == "queued" and status.get("place"):
            self.tell(f"waiting for the device, place {status['place']} in the queue")
            return
        total = status.get("total") or 0
        self.tell(str(status.get("phase") or self.phase), status.get("step", 0) / total if total else None,
                  status.get("eta_s"))

    def tell(self, phase: str, fraction: float | None = None, eta_s: float | None = None) -> None:
        """Take a phase, the share done and the seconds left."""
        if not phase or (phase == self.phase and time.monotonic() - self.said < SAY_EVERY):
            return
        self.phase, self.said = phase, time.monotonic()
        said = [phase]
        if fraction is not None:
            said.append(f"{100 * fraction:.0f} %")
        if eta_s is not None:
            said.append(f"about {eta_s:.0f} s left")
        say(", ".join(said))


def foreground(job: JobDir) -> tuple[int, dict[str, Any]]:
    """Run a job in this process, with the very files that the app writes; return exit code and status.

    Raises
    ------
    ScdiffError
        The job failed, or is running in another process.
    """
    from scdiff_core.engine.run_job import BUSY, CRASHED, WRONG, run_job

    jobs.enqueue(job)
    code = run_job(job.path, echo=Progress().status)
    status = job.status()
    if code == BUSY:
        raise jobs.is_running(job)
    if code in (CRASHED, WRONG):
        raise (Crash if code == CRASHED else ScdiffError)(**status["error"])
    return code, status


def threads() -> int:
    """Hold numpy, torch and numba to the threads of a job in this process; return how many."""
    import os

    n = process.threads_for()
    os.environ.update(process.thread_settings(n))
    return n


def work(first: str, done: Callable[[Callable[[str, float], None]], T]) -> T:
    """Do work in the threads of a job; it is given what tells how far it is, and `first` is told before.

    What it imports comes after the threads are set, which torch reads as it is imported.
    """
    n = threads()
    import torch

    torch.set_num_threads(n)
    progress = Progress()
    progress.tell(first)
    return done(progress.tell)


def follow(phase: str, steps: Callable[[], Generator[Any, None, T]]) -> T:
    """Load a model and do what is done with it step by step, as `work`."""
    return work("loading the model", lambda tell: drive(steps(), lambda step, share: tell(phase, share)))


def saved_cells(space: Workspace, job: JobDir, name: str) -> Chosen:
    """Return a saved selection of real cells of the dataset of a run."""
    from scdiff_core.engine import outputs
    from scdiff_core.selections import Selections

    config = job.config()
    prepared = outputs.open_dataset(space, config.dataset, config.fingerprint)
    kept = Selections(space.open("prepare", config.dataset), prepared.fingerprint, prepared.n_cells)
    return kept.chosen(name, prepared.n_cells)


def finish(job: JobDir, adata: Any, asked: Any, target: Path | None, began: float,
           beside: Callable[[], tuple[Any, str]]) -> Result:
    """Write cells into a file, or into the run where there is none, and return what the command says.

    `beside` opens the dataset of the run, or says why it is not at hand (`outputs.dataset_beside`).
    """
    from scdiff_core.engine import outputs

    if target is not None:
        outputs.write_cells(target, adata)
    else:
        prepared, note = beside()
        if note:
            say(note)
        target = outputs.write_set(outputs.new_path(job), adata, asked, prepared).path / outputs.CELLS
    return {"run": job.id, "out": str(target), "n_cells": int(adata.n_obs), "seed": asked.seed,
            "seconds": round(time.monotonic() - began, 2)}


def find_run(workspace: Workspace, run: str) -> JobDir:
    """Return a run by its id, or by the path of its directory."""
    path = Path(run)
    if "/" in run and (path / "config.yaml").is_file():
        return jobs.open_dir(path)
    return workspace.open("train", run)


def pair(text: str, option: str) -> tuple[str, str]:
    """Return the two sides of `COL=VALUE`; raises `ScdiffError` where one is missing."""
    name, _, value = text.partition("=")
    if not name.strip() or not value.strip():
        raise ScdiffError(f"'{text}' cannot be read.", f"{option} takes COL=VALUE.",
                          f"Write it as {option} \"cell_type=B\".")
    return name.strip(), value.strip()


def where(texts: Sequence[str] | None) -> dict[str, str]:
    """Return the conditions of `--where COL=VALUE`, each column once."""
    return pairs(texts, "--where", "Give it once, and generate the other cells in a second command.")


def pairs(texts: Sequence[str] | None, option: str, fix: str = "Give it once.") -> dict[str, str]:
    """Return the pairs of a repeatable option, each column once; `fix` is what to do where one is given twice."""
    found: dict[str, str] = {}
    for text in texts or ():
        name, value = pair(text, option)
        if name in found:
            raise ScdiffError(f"'{name}' is given twice.", f"It is '{found[name]}' and '{value}'.", fix)
        found[name] = value
    return found


def hold_out(texts: Sequence[str] | None) -> tuple[HoldOut, ...]:
    """Return the rules of `--hold-out COL=V1,V2`, or `COL=V1 & COL2=V2` where cells must have both."""
    rules = []
    for text in (t for t in texts or () if "=" in t):
        first, *others = (_rule(part) for part in re.split(r"&(?=[^&=]+=)", text))
        rules.append(first.model_copy(update={"also": tuple(others)}))
    return tuple(rules)


def unseen(texts: Sequence[str] | None) -> tuple[str, ...]:
    """Return the words of `--hold-out` that say what a model of perturbations is to guess, such as `unseen-type:B`."""
    from scdiff_core.analysis.perturb.hold_out import read_word

    words = tuple(t.strip() for t in texts or () if "=" not in t)
    for word in words:
        if not word.startswith("unseen"):
            pair(word, "--hold-out")
        read_word(word)
    return words


def _rule(text: str) -> HoldOut:
    column, values = pair(text.strip(), "--hold-out")
    return HoldOut(column=column, values=tuple(v.strip() for v in values.split(",") if v.strip()))


def words(texts: Sequence[str] | None) -> tuple[str, ...]:
    """Return the words of options that take several, divided by commas."""
    return tuple(w.strip() for text in texts or () for w in text.split(",") if w.strip())


def source(text: str) -> str:
    """Return a source that means the same from any folder; raises `ScdiffError` where there is none."""
    if text.startswith("demo:"):
        return text
    path = Path(text).expanduser().absolute()
    if not path.exists():
        raise ScdiffError(f"There is no '{text}'.", f"Looked for it at '{path}'.",
                          "Check the path, or use demo:pbmc68k.")
    return str(path)


def roles(given: dict[str, str | None]) -> Roles | None:
    """Return the roles that were given, None (detect them) if none was."""
    if given["control"] and not given["perturbation"]:
        raise ScdiffError("The control label cannot be used.", "--control needs the column that it is in.",
                          "Add --perturbation COL.")
    return Roles(**given) if any(given.values()) else None


def qc(given: dict[str, Any], none: bool) -> QC | None:
    """Return the thresholds that were given, None (propose them) if none was, no bounds if asked for that."""
    told = {k: v for k, v in given.items() if v is not None}
    if none and told:
        raise ScdiffError("The thresholds cannot be used.", "--no-qc says to keep all cells.",
                          "Leave out either --no-qc or the thresholds.")
    return QC(**told) if told or none else None


def gene_number(text: str) -> int | str:
    """Return `all` or a number of genes."""
    if text == "all":
        return text
    if not text.isdigit() or int(text) < 1:
        raise ScdiffError(f"'{text}' is not a number of genes.", "--genes takes a whole number, or 'all'.",
                          "Use --genes 2000.")
    return int(text)


def check_cells(out: str | None) -> Path | None:
    """Return the path of `--out`, None without one; raises `ScdiffError` where no cells are written in its ending."""
    from scdiff_core.engine.outputs import check_ending

    return check_ending(Path(out).expanduser()) if out else None


def report_paths(out: str | None, json_: str | None) -> tuple[Path | None, Path | None]:
    """Return where a report's page and its figures go; the figures beside the page if nothing else is said.

    Raises
    ------
    ScdiffError
        A page would be written over the figures.
    """
    page = Path(out).expanduser() if out else None
    figures = Path(json_).expanduser() if json_ else page.with_suffix(".json") if page else None
    if page is not None and page == figures:
        raise ScdiffError(f"'{page}' cannot hold both.", "The page and the figures are two files.",
                          "End --out in .html, and --json in .json.")
    return page, figures


def dataset_row(job: JobDir) -> dict[str, Any]:
    """Return what a list says of a dataset."""
    report = read_json(job.path / "report.json", {})
    known = ("n_cells", "n_train", "n_test", "n_genes", "values", "source", "fingerprint")
    return {"name": job.id, "state": jobs.watch(job).state, "path": str(job.path),
            **{k: report.get(k) for k in known}}


def run_row(job: JobDir) -> dict[str, Any]:
    """Return what a list says of a run."""
    status = jobs.watch(job)
    row = {"run": job.id, "state": status.state, "step": status.step, "total": status.total,
           "seconds": round(status.seconds, 1), "title": job.notes().get("title", ""), "path": str(job.path),
           "error": status.error}
    try:
        config = job.config()
    except ScdiffError:
        return {**row, "dataset": None, "preset": None}
    return {**row, "dataset": config.dataset, "preset": config.preset}


def table(rows: Sequence[dict[str, Any]], columns: Sequence[str], nothing: str) -> None:
    """Write a table for people, to stderr."""
    if not rows:
        say(nothing)
        return
    text = [list(columns), *([("" if r.get(c) is None else str(r[c])) for c in columns] for r in rows)]
    widths = [max(len(line[i]) for line in text) for i in range(len(columns))]
    for line in text:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
