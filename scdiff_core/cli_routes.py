"""The command `routes`: what would bring cells to a design."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from scdiff_core import cli_tools as tools
from scdiff_core.cli_tools import say
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import Workspace, new_id

SHOWN = 10  # lines for people


def routes(
    run: Annotated[str, typer.Argument(help="A run of `train --task perturb`, or, with --regulons or --signatures "
                                       "alone, any run (see `runs`), or its directory.")],
    design: Annotated[str | None, typer.Option(
        metavar="OUTPUT", help="The cells to get to: a folder or .h5ad that `design` has written.")] = None,
    target_selection: Annotated[str | None, typer.Option(
        metavar="NAME", help="The cells to get to: a saved selection of the run's dataset.")] = None,
    candidate: Annotated[list[str] | None, typer.Option(
        metavar="A[+B][@DOSE]", help="A perturbation to rank; default: all measured ones and their pairs. "
        "Repeatable.")] = None,
    pairs: Annotated[bool, typer.Option(help="Also all pairs of what was measured alone.")] = True,
    where: Annotated[list[str] | None, typer.Option(
        metavar="COL=VALUE", help="Which cells to start from, such as cell_type=B. Repeatable.")] = None,
    from_selection: Annotated[str | None, typer.Option(
        metavar="NAME", help="Start from the cells of a saved selection.")] = None,
    leave_out: Annotated[list[str] | None, typer.Option(
        metavar="G1,G2", help="Genes that no comparison looks at.")] = None,
    regulons: Annotated[list[str] | None, typer.Option(
        metavar="F.tsv", help="Rank regulators by a table of regulator, target, weight (or .gmt). Repeatable.")] = None,
    download_regulons: Annotated[list[str] | None, typer.Option(
        metavar="CollecTRI|DoRothEA", help="Go online once for these regulons, keep them in the workspace, and rank by "
        "them. Repeatable.")] = None,
    signatures: Annotated[str | None, typer.Option(
        metavar="F.csv", help="Rank small molecules by a table gene × drug (.csv, .tsv or .parquet).")] = None,
    out: Annotated[str | None, typer.Option(metavar="DIR", help="Where to; default: into the run.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same result on the same machine.")] = 0,
    workspace: Annotated[str | None, typer.Option(
        "--workspace", metavar="DIR", help="Where datasets and runs lie (SCDIFF_WORKSPACE, or ./workspace).")] = None,
) -> dict[str, Any]:
    """Rank what would bring cells to a design: perturbations, regulators (hypotheses) and small molecules."""
    space = Workspace(workspace)
    job = tools.find_run(space, run)
    perturbs = job.config().task == "perturb"
    if not perturbs and not regulons and not download_regulons and signatures is None:
        raise ScdiffError(f"The run '{job.id}' does not predict perturbations.", "It was trained to generate cells.",
                          "Give regulons (--regulons, --download-regulons) or signatures (--signatures), or train one "
                          "with --task perturb.")
    if (design is None) == (target_selection is None):
        raise ScdiffError("There is nothing to get to." if design is None else "There are two goals.",
                          "One of --design and --target-selection says which cells.", "Give one of the two.")
    goal = {"design": str(Path(design).expanduser())} if design is not None else \
        {"selection": tools.saved_cells(space, job, str(target_selection)).model_dump()}
    start = None if from_selection is None else tools.saved_cells(space, job, from_selection).model_dump()
    asked = {"items": [item(text) for text in candidate or ()], "pairs": pairs, "where": tools.where(where),
             "leave_out": tools.words(leave_out), "seed": seed}
    files = [*(regulons or ()), *(_download(space, name) for name in download_regulons or ())]
    return _rank(space, job, perturbs, goal, start, asked, files, signatures, out)


def _download(space: Workspace, name: str) -> str:
    from scdiff_core.analysis.design import programs_of, regulons

    path, n = regulons.download(name, space.root / programs_of.FOLDER)
    say(f"{path.stem}: regulons of {n:,} regulators, kept as {path}")
    return str(path)


def _rank(space: Workspace, job: Any, perturbs: bool, goal: dict[str, Any], start: dict[str, Any] | None,
          asked: dict[str, Any], regulons: list[str], signatures: str | None, out: str | None) -> dict[str, Any]:
    threads = tools.threads()
    import torch

    from scdiff_core.engine import routes_ops, routes_set
    from scdiff_core.engine.worker import Service

    torch.set_num_threads(threads)
    service, tell = Service(space), tools.Progress().tell
    folder = Path(out).expanduser() if out else job.path / routes_set.FOLDER / new_id()
    run, found = str(job.path), {"run": job.id, "out": str(folder)}
    if perturbs:
        done = routes_ops.routes(service, tell, run, asked, goal, str(folder), start)
        made = routes_set.RoutesSet(folder).routes()
        say(done["words"])
        for r in made.rows[:SHOWN]:
            gone = "" if r.way is None else f", {100 * r.way:.0f} % of the way ({100 * (r.way_low or 0):.0f} to " \
                f"{100 * (r.way_high or 0):.0f})"
            say(f"{r.rank}. {r.name}: {r.word or 'not looked at closely'}{gone}")
        if made.trust is not None:
            say(made.trust.words())
        found |= {"words": made.words, "gets_there": made.gets_there, "rule": made.rule, "refused": dict(made.refused),
                  "ranking": [r.name for r in made.rows[:SHOWN]], "seconds": done["seconds"]}
    where = asked["where"]
    if regulons:
        table = routes_ops.rank_regulators(service, tell, run, goal, regulons, str(folder / "regulators.csv"), where,
                                           start)
        say(table["words"])
        for row in table["rows"][:SHOWN]:
            say(f"{row['rank']}. {row['regulator']}: {row['reading']} (t {row['activity']:.1f}, adjusted p "
                f"{row['pval_adj']:.2g})")
        found["regulators"] = table["path"]
    if signatures is not None:
        table = routes_ops.rank_signatures(service, tell, run, goal, signatures, str(folder / "molecules.csv"), where,
                                           start)
        say(table["words"])
        for row in table["rows"][:SHOWN]:
            say(f"{row['rank']}. {row['drug']}: cosine {row['cosine']:.2f}, rank score {row['rank_score']:.2f}")
        found["molecules"] = table["path"]
    return found


def item(text: str) -> dict[str, Any]:
    """Return a candidate of the command line: a perturbation, and its dose behind '@' if it has one."""
    label, at, dose = text.rpartition("@")
    try:
        return {"perturbation": label.strip(), "dose": float(dose)} if at else {"perturbation": text, "dose": None}
    except ValueError:
        return {"perturbation": text, "dose": None}
