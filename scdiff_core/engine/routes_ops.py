"""What the worker does for "How to get there": rank perturbations, regulators or small molecules for a design."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scdiff_core import config as cfg
from scdiff_core import keys
from scdiff_core.analysis.design import closeness, programs_of, recovery, regulators, regulons, signatures
from scdiff_core.analysis.design.candidates import Checked
from scdiff_core.analysis.perturb.scores import Space
from scdiff_core.engine import cards, outputs, perturb_ops, routes_set
from scdiff_core.engine.steps import follow
from scdiff_core.errors import ScdiffError
from scdiff_core.selection import unpack_rows
from scdiff_core.workspace import JobDir, atomic_write, write_json

if TYPE_CHECKING:
    from scdiff_core.engine.routes import Goal
    from scdiff_core.engine.worker import Service, Tell

MET = "meets_target"  # obs of designed cells
SENT = 400  # rows that are sent back; the file has all


def routes(service: Service, tell: Tell, run: str, config: dict[str, Any], goal: dict[str, Any], out_dir: str,
           selection: dict[str, Any] | None = None) -> dict[str, Any]:
    """Rank perturbations for a design into a directory of the run.

    Parameters
    ----------
    run
        One that predicts perturbations.
    goal
        {"design": the directory of designed cells, or their .h5ad} or {"selection": {id, name, rows}} of real cells of
        the dataset.
    selection
        My cells, {id, name, rows}; None: the control cells that `config.where` names.
    """
    from scdiff_core.engine import routes as engine

    began = time.monotonic()
    job = service.job(run)
    asked = cfg.validate(engine.RoutesConfig, {**config, "run": job.id}, "The request")
    chosen = None if selection is None else cfg.validate(perturb_ops.Chosen, selection, "The selection")
    tell("loading the model", 0.0)
    model = perturb_ops.load(service, job)
    prepared, note = service.beside(job.config())
    aim = goal_of(goal, prepared)
    checked = check(job, model, prepared, lambda share: tell("checking on known perturbations", 0.05 + 0.4 * share))
    found = follow(engine.routes(perturb_ops.within(model, prepared, chosen), aim, asked, prepared, checked),
                   lambda step, share: tell("ranking", 0.45 + 0.5 * share))
    path = Path(out_dir)
    told = {} if chosen is None else {"selection": {"id": chosen.id, "name": chosen.name}}
    routes_set.write(path, found, {"run": job.id, "config": asked.model_dump(mode="json"), "goal": _said(goal), **told,
                                   "made": time.time(), "seconds": round(time.monotonic() - began, 2)})
    return {"out_dir": out_dir, "n": len(found.rows), "words": found.words, "gets_there": found.gets_there,
            "note": note, "seconds": round(time.monotonic() - began, 2)}


def check(job: JobDir, model: Any, prepared: Any, tell: Callable[[float], object]) -> Checked | None:
    """Return what hiding known perturbations showed of a run, found once; None where the dataset is not at hand."""
    if prepared is None:
        return None
    from scdiff_core.analysis.perturb.arms import collect

    key = f"{prepared.fingerprint} {job.saved_ns} {' '.join(closeness.RULES)}"
    found = routes_set.read_check(job, key)
    if found is None:
        log1p = prepared.log1p()
        arms = collect(log1p, prepared.obs, prepared.roles, prepared.rows(keys.TRAIN))
        space = Space(prepared.pca_mean, prepared.pca_components)
        found = recovery.check(log1p, arms, model.response, space, tell=tell)
        routes_set.save_check(job, key, found)
    return found


def goal_of(goal: dict[str, Any], prepared: Any) -> Goal:
    """Return the cells to get to: those of a design that meet its target, or a selection of real cells.

    Raises
    ------
    ScdiffError
        None are named, they cannot be opened, or the dataset is not at hand.
    """
    from scdiff_core.engine.routes import Goal

    if goal.get("design"):
        path = Path(goal["design"]).expanduser()
        adata = _designed(path)
        if keys.LOG1P not in adata.layers:
            raise ScdiffError("The designed cells cannot be used.", f"They have no layer '{keys.LOG1P}'.",
                              "Give cells as `design` writes them (.h5ad).")
        met = adata.obs[MET].to_numpy(bool) if MET in adata.obs else np.ones(adata.n_obs, bool)
        met = met if met.sum() > 1 else np.ones(adata.n_obs, bool)
        name = str(goal.get("name") or f"the designed cells '{_name(path)}'")
        return Goal(adata.layers[keys.LOG1P][np.flatnonzero(met)], adata.var_names.to_numpy(str), name)
    if goal.get("selection"):
        chosen = cfg.validate(perturb_ops.Chosen, goal["selection"], "The selection")
        if prepared is None:
            raise ScdiffError("The selection cannot be used.", "The dataset of the run is not at hand.",
                              "Choose a design instead.")
        rows = np.flatnonzero(unpack_rows(chosen.rows, prepared.n_cells))
        return Goal(prepared.log1p(rows), np.asarray(prepared.genes).astype(str), f"'{chosen.name}'")
    raise ScdiffError("There is nothing to get to.", "Neither a design nor a selection of cells is named.",
                      "Design cells first, or choose a saved selection.")


def _designed(path: Path) -> Any:
    if path.is_dir():
        return outputs.GeneratedSet(path).cells()
    import anndata

    try:
        return anndata.read_h5ad(path)
    except (OSError, KeyError, ValueError) as error:
        raise ScdiffError(f"The designed cells '{path.name}' cannot be opened.",
                          "There is no such file, or it is damaged or no .h5ad.",
                          "Give the folder or the .h5ad that `design` has written.") from error


def _name(path: Path) -> str:
    return path.parent.name if path.name == outputs.CELLS else path.name


def _said(goal: dict[str, Any]) -> dict[str, Any]:
    """Return a goal without the rows of its cells, for the recipe."""
    chosen = goal.get("selection")
    return {k: v for k, v in goal.items() if k != "selection"} | (
        {} if not chosen else {"selection": {"id": chosen.get("id"), "name": chosen.get("name")}})


def wanted(service: Service, run: str, goal: dict[str, Any], where: dict[str, str] | None,
           selection: dict[str, Any] | None) -> tuple[pd.Series, str, int, int]:
    """Return the wanted change of each gene (log1p), and the start in words, with the numbers of both cells.

    The start is a selection of real cells, or the training cells that `where` names; of a dataset with perturbations
    the control cells among them.
    """
    job = service.job(run)
    config = job.config()
    prepared = service.dataset(config.dataset, config.fingerprint)
    aim = goal_of(goal, prepared)
    if selection is not None:
        chosen = cfg.validate(perturb_ops.Chosen, selection, "The selection")
        rows, words = np.flatnonzero(unpack_rows(chosen.rows, prepared.n_cells)), f"'{chosen.name}'"
    else:
        rows = _rows(prepared, where or {})
        words = ", ".join(v for v in (where or {}).values() if v not in (keys.ANY, keys.AS_IN_DATA)) or "all real cells"
        if prepared.roles.perturbation and prepared.roles.control:
            rows = rows[prepared.labels(keys.PERTURBATION)[rows] == prepared.roles.control]
            words = "control cells" + ("" if words == "all real cells" else f" of {words}")
    if not len(rows):
        raise ScdiffError("There are no cells to start from.", "None fulfils what is asked for.",
                          "Choose other cells, or more of them.")
    names = np.asarray(prepared.genes).astype(str)
    place = {str(g): i for i, g in enumerate(aim.genes)}
    shared = [g for g in names if g in place]
    if not shared:
        raise ScdiffError("The designed cells do not go with this dataset.", "They have none of its genes.",
                          "Design cells with a model of the same dataset.")
    goal_mean = np.asarray(aim.log1p.mean(0), float).ravel()[[place[g] for g in shared]]
    start_mean = pd.Series(np.asarray(prepared.log1p(rows).mean(0), float).ravel(), names)
    return pd.Series(goal_mean, shared) - start_mean[shared], words, len(rows), aim.log1p.shape[0]


def _rows(prepared: Any, where: dict[str, str]) -> np.ndarray:
    try:
        return cards.real_rows(prepared, where, keys.TRAIN)
    except ScdiffError as error:
        raise ScdiffError("There are no cells to start from.", error.why,
                          "Leave one of the conditions out, or choose another value.") from None


def rank_regulators(service: Service, tell: Tell, run: str, goal: dict[str, Any], files: list[str], out: str,
                    where: dict[str, str] | None = None, selection: dict[str, Any] | None = None) -> dict[str, Any]:
    """Rank regulators by the difference of their activity, designed less start, into a .csv file."""
    tell("reading the regulons", 0.0)
    network = regulators.read(files)
    tell("comparing the cells", 0.4)
    change, start, n_start, n_goal = wanted(service, run, goal, where, selection)
    table = regulators.rank(change.to_numpy(), change.index.tolist(), network)
    return _told(table, out, {"words": regulators.WORDS, "start": start, "n_start": n_start, "n_goal": n_goal})


def fetch_regulons(service: Service, tell: Tell, name: str) -> dict[str, Any]:
    """Download regulons (`analysis.design.regulons.SOURCES`) into the workspace: only ever because somebody asked."""
    tell(f"downloading {name}", 0.0)
    path, n = regulons.download(name, service.workspace.root / programs_of.FOLDER)
    return {"path": str(path), "name": path.stem, "n": n}


def rank_signatures(service: Service, tell: Tell, run: str, goal: dict[str, Any], file: str, out: str,
                    where: dict[str, str] | None = None, selection: dict[str, Any] | None = None) -> dict[str, Any]:
    """Rank small molecules by how much their signature is like the wanted change, into a .csv file."""
    tell("comparing the cells", 0.0)
    change, start, n_start, n_goal = wanted(service, run, goal, where, selection)
    tell("reading the signatures", 0.4)
    table = signatures.score(signatures.read(file, change.index.tolist()), change)
    return _told(table, out, {"words": signatures.WORDS, "start": start, "n_start": n_start, "n_goal": n_goal})


def _told(table: pd.DataFrame, out: str, more: dict[str, Any]) -> dict[str, Any]:
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, lambda p: table.to_csv(p, index=False, float_format="%.6g"))
    write_json(path.with_suffix(".json"), {**more, "n": len(table)})
    first = table.head(SENT).astype(object)
    return {"path": out, "n": len(table), "rows": first.where(first.notna(), None).to_dict("records"), **more}
