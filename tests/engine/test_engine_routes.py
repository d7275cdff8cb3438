"""How to get there, end to end on a small simulated experiment: ranked, abstaining, exported, refused and cancelled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from fake_perturb import perturb_dataset

from scdiff_core import cli, keys
from scdiff_core.analysis.design import candidates, plan, regulators
from scdiff_core.analysis.design.candidates import FAR, NOTHING, PART, SILENT, THERE, Routes
from scdiff_core.config import TrainConfig
from scdiff_core.data.perturbations import Perturbation
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine import perturb_ops, routes_ops, routes_set, run_job
from scdiff_core.engine.worker import Service
from scdiff_core.engine.worker_loop import Cancelled
from scdiff_core.errors import ScdiffError
from scdiff_core.selection import Selection, pack_rows
from scdiff_core.selections import Selections
from scdiff_core.workspace import JobDir, Workspace

HELD_OUT, WHERE = "TF01-kd+TF03-kd", {"cell_type": "type_A"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Service, JobDir, Prepared]:
    """A worker, a run of a simulated experiment of strong effects, and its dataset."""
    root = tmp_path_factory.mktemp("routes")
    prepared, _ = perturb_dataset(root, n_cells=1800, n_genes=250)
    job = Workspace(root).create(TrainConfig.model_validate({
        "dataset": "screen", "fingerprint": prepared.fingerprint, "task": "perturb", "device": "cpu", "threads": 1,
        "codec": {"steps": 40, "n_latent": 4, "hidden": [16], "minibatch": 64},
        "diffusion": {"steps": 5, "width": 16, "depth": 1}, "perturb": {"spread": "moved"}}), "r")
    assert run_job.run_job(job.path) == run_job.OK
    return Service(Workspace(root)), job, prepared


def goal(prepared: Prepared, label: str, kind: str = "type_A") -> dict[str, Any]:
    """The real cells of a condition as a goal."""
    mask = (prepared.labels(keys.PERTURBATION) == label) & (prepared.labels(keys.CELL_TYPE) == kind)
    assert mask.sum() > 5
    return {"selection": {"id": "0" * 12, "name": label, "rows": pack_rows(mask)}}


def ask(made: tuple[Service, JobDir, Prepared], out: Path, **values: Any) -> Routes:
    service, job, _ = made
    config = {"where": WHERE, "pairs": False, **values.pop("config", {})}
    said = service.answer("routes", {"run": job.id, "config": config, "out_dir": str(out), **values},
                          lambda phase, share: None)
    found = routes_set.RoutesSet(out).routes()
    assert (said["n"], said["words"]) == (len(found.rows), found.words)
    return found


def test_what_made_the_cells_is_near_the_top_and_nothing_counts_its_own_gene(
        made: tuple[Service, JobDir, Prepared], tmp_path: Path) -> None:
    _, job, prepared = made
    label = next(c for c in ("TF13-oe", "TF05-kd", "TF02-kd") if c in set(prepared.labels(keys.PERTURBATION)))
    found = ask(made, tmp_path / "a", goal=goal(prepared, label))
    rank = next(r.rank for r in found.rows if r.perturbation == label)
    assert rank <= 5 and [r.rank for r in found.rows] == list(range(1, len(found.rows) + 1))
    row = found.rows[rank - 1]
    assert row.own == (label[:4],) and label[:4] not in {s.gene for s in row.side_effects}
    assert row.energy_low <= row.energy <= row.energy_high and row.way_low <= row.way <= row.way_high
    assert row.way == pytest.approx(1 - row.energy / row.nothing) and row.controls[0] == "control"
    assert {r.word for r in found.rows} <= {"", THERE, PART, NOTHING, FAR, SILENT}
    assert sorted(r.cosine_rank for r in found.rows) == list(range(1, len(found.rows) + 1))
    for rule, places in ((rule, [r.ranks[rule] for r in found.rows]) for rule in row.ranks):
        assert sorted(places) == list(range(1, len(found.rows) + 1)), rule
    assert found.trust is not None and "hidden from the model in turn" in found.trust.words()
    assert found.rule == found.trust.rule and found.n_goal > 5 and found.start == "control cells of type_A"
    assert Routes.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    # what was found by hiding perturbations is kept with the run, until it is trained further
    saved = (job.path / routes_set.CHECK).stat().st_mtime_ns
    ask(made, tmp_path / "b", goal=goal(prepared, label))
    assert (job.path / routes_set.CHECK).stat().st_mtime_ns == saved
    assert routes_set.read_check(job, "another") is None
    assert [r.id for r in routes_set.list_routes(job)] == []


def test_pairs_doses_and_lists(made: tuple[Service, JobDir, Prepared], tmp_path: Path) -> None:
    _, _, prepared = made
    aim = goal(prepared, "stimulus")
    usual = ask(made, tmp_path / "a", goal=aim, config={"pairs": True, "most": 3})
    names = {r.name for r in usual.rows}
    assert {"stimulus @ 0.1", "stimulus @ 10"} <= names and len(names) == len(usual.rows) > 150
    assert sum(r.energy is not None for r in usual.rows) == 3
    assert usual.rows[0].perturbation == "stimulus"
    own = ask(made, tmp_path / "b", goal=aim, config={"items": [
        {"perturbation": "stimulus", "dose": 2.0}, {"perturbation": "TF03-kd+TF01-kd"}, {"perturbation": "control"}]})
    assert {r.name for r in own.rows} == {"stimulus @ 2", HELD_OUT} and "control" in own.refused
    doses = next(r for r in own.rows if r.dose == 2.0)
    assert doses.controls == ("control", "stimulus @ 1", "stimulus @ 3")
    pair = next(r for r in own.rows if r.dose is None)
    assert pair.controls == ("control", "TF01-kd alone", "TF03-kd alone") and set(pair.own) == {"TF01", "TF03"}


def test_it_says_when_none_gets_there(made: tuple[Service, JobDir, Prepared], tmp_path: Path) -> None:
    found = ask(made, tmp_path / "a", goal=goal(made[2], "control"))
    assert not found.gets_there and found.words.startswith(candidates.NONE_OF_THESE[:-1])
    assert not any(r.useful for r in found.rows) and len(plan.table(found)) == 0
    assert candidates.NONE_OF_THESE[:-1] in plan.text(found)


def test_designed_cells_are_matched_by_gene_and_those_that_miss_the_target_stay_away(
        made: tuple[Service, JobDir, Prepared], tmp_path: Path) -> None:
    _, _, prepared = made
    rows = np.flatnonzero((prepared.labels(keys.PERTURBATION) == "stimulus")
                          & (prepared.labels(keys.CELL_TYPE) == "type_A"))
    wild = np.full((4, prepared.n_genes), 9.0, np.float32)
    values = np.vstack([prepared.log1p(rows).toarray(), wild])[:, ::-1][:, : prepared.n_genes - 20]
    adata = anndata.AnnData(
        sp.csr_matrix(values), obs=pd.DataFrame({"meets_target": np.arange(len(values)) < len(rows)},
                                                index=[f"c{i}" for i in range(len(values))]),
        var=pd.DataFrame(index=np.asarray(prepared.genes)[::-1][: prepared.n_genes - 20]))
    adata.layers[keys.LOG1P] = adata.X
    path = tmp_path / "cells.h5ad"
    adata.write_h5ad(path)
    by_file = ask(made, tmp_path / "a", goal={"design": str(path)})
    by_rows = ask(made, tmp_path / "b", goal=goal(prepared, "stimulus"))
    assert by_file.n_goal == len(rows) and by_file.n_genes == prepared.n_genes - 20 and by_file.warnings
    assert by_file.rows[0].perturbation == by_rows.rows[0].perturbation == "stimulus"
    del adata.layers[keys.LOG1P]
    adata.write_h5ad(path)
    with pytest.raises(ScdiffError, match="no layer"):
        ask(made, tmp_path / "c", goal={"design": str(path)})
    foreign = anndata.AnnData(sp.csr_matrix(np.ones((5, 30), np.float32)),
                              var=pd.DataFrame(index=[f"X{i}" for i in range(30)]))
    foreign.layers[keys.LOG1P] = foreign.X
    foreign.write_h5ad(path)
    with pytest.raises(ScdiffError, match="do not go with this model"):
        ask(made, tmp_path / "c", goal={"design": str(path)})


def test_the_plan_has_arms_controls_and_cells(made: tuple[Service, JobDir, Prepared], tmp_path: Path) -> None:
    found = ask(made, tmp_path / "a", goal=goal(made[2], "stimulus"), config={"pairs": True})
    table = pd.read_csv(tmp_path / "a" / routes_set.PLAN)
    assert table["role"].tolist() == sorted(table["role"], key=lambda r: r != "candidate")
    assert "control" in set(table.loc[table["role"] == "control", "arm"]) and (table["cells"] >= plan.FEWEST).all()
    assert not table["arm"].duplicated().any()
    text = (tmp_path / "a" / routes_set.TEXT).read_text()
    assert found.words in text and candidates.HYPOTHESES in text and "90 % interval" in text
    chosen = plan.table(found, [HELD_OUT]) if any(r.name == HELD_OUT for r in found.rows) else None
    if chosen is not None:
        assert set(chosen["arm"]) == {HELD_OUT, "control", "TF01-kd", "TF03-kd"}
    assert len(pd.read_csv(tmp_path / "a" / routes_set.RANKING)) == len(found.rows)


def test_cells_needed_follow_the_power_of_a_test() -> None:
    from scipy.stats import norm

    shift, sd = np.full(20, 0.5), np.ones(20)
    n = plan.cells_needed(shift, sd)
    level = plan.LEVEL / plan.GENES
    power = norm.sf(norm.isf(level / 2) - 0.5 * np.sqrt(n / 2))
    fewer = norm.sf(norm.isf(level / 2) - 0.5 * np.sqrt((n - plan.STEP) / 2))
    assert fewer < plan.POWER <= power
    assert plan.cells_needed(5 * shift, sd) == plan.FEWEST and plan.cells_needed(0 * shift, sd) == plan.MOST
    what = Perturbation(("A", "B"))
    assert plan.controls_beside(what, None, "ctrl", ()) == ("ctrl", "A alone", "B alone")


@pytest.mark.parametrize(("config", "aim", "why"), [
    ({"leave_out": ["TF001"]}, "stimulus", "'TF001' cannot be left out"),
    ({"where": {"cell_type": "type_X"}}, "stimulus", "type_X"),
    ({"items": [{"perturbation": "TF99-kd"}]}, "stimulus", "No candidate can be predicted"),
    ({"items": [{"perturbation": f"x{i}"} for i in range(2001)]}, "stimulus", "2,001"),
    ({}, None, "nothing to get to"), ({"n_cells": 1}, "stimulus", "n_cells")])
def test_what_cannot_be_ranked_is_told(made: tuple[Service, JobDir, Prepared], tmp_path: Path, config: dict[str, Any],
                                       aim: str | None, why: str) -> None:
    with pytest.raises(ScdiffError) as error:
        ask(made, tmp_path / "a", goal={} if aim is None else goal(made[2], aim), config=config)
    assert why in f"{error.value.what} {error.value.why}"
    assert not (tmp_path / "a").exists()


def test_my_own_cells_are_the_start(made: tuple[Service, JobDir, Prepared], tmp_path: Path) -> None:
    _, _, prepared = made
    control = np.flatnonzero((prepared.labels(keys.PERTURBATION) == "control")
                             & (prepared.labels(keys.CELL_TYPE) == "type_A"))
    mask = np.zeros(prepared.n_cells, bool)
    mask[control[::2]] = True
    mine = {"id": "1" * 12, "name": "mine", "rows": pack_rows(mask)}
    found = ask(made, tmp_path / "a", goal=goal(prepared, "stimulus"), selection=mine, config={"where": {}})
    assert 2 < found.n_start <= mask.sum()
    none = {**mine, "rows": pack_rows(prepared.labels(keys.PERTURBATION) == "stimulus")}
    with pytest.raises(ScdiffError, match="no control cells in 'mine'"):
        ask(made, tmp_path / "b", goal=goal(prepared, "stimulus"), selection=none)


def test_cancel_leaves_nothing(made: tuple[Service, JobDir, Prepared], tmp_path: Path) -> None:
    service, job, prepared = made
    said: list[str] = []

    def tell(phase: str, share: float) -> None:
        said.append(phase)
        if phase == "ranking":
            raise Cancelled

    with pytest.raises(Cancelled):
        service.answer("routes", {"run": job.id, "config": {"where": WHERE}, "goal": goal(prepared, "stimulus"),
                                  "out_dir": str(tmp_path / "a")}, tell)
    assert said[-1] == "ranking" and not (tmp_path / "a").exists()


def test_without_the_dataset_it_still_ranks_by_the_distance(made: tuple[Service, JobDir, Prepared]) -> None:
    from scdiff_core.engine.routes import Goal, RoutesConfig, routes
    from scdiff_core.engine.steps import follow

    service, job, prepared = made
    rows = np.flatnonzero((prepared.labels(keys.PERTURBATION) == "stimulus")
                          & (prepared.labels(keys.CELL_TYPE) == "type_A"))
    model = perturb_ops.load(service, job)
    aim = Goal(prepared.log1p(rows), np.asarray(prepared.genes), "the goal")
    asked = RoutesConfig(run="r", where=WHERE, pairs=False)
    found = follow(routes(model, aim, asked), lambda step, share: None)
    assert found.rule == "energy" and found.trust is None and found.rows[0].perturbation == "stimulus"
    assert routes_ops.check(job, model, None, lambda share: None) is None
    again = follow(routes(model, aim, asked), lambda step, share: None)
    assert [r.name for r in again.rows] == [r.name for r in found.rows] and again.rows[0] == found.rows[0]
    with pytest.raises(ScdiffError, match="too few cells to get to"):
        follow(routes(model, Goal(prepared.log1p(rows[:1]), np.asarray(prepared.genes), "one"), asked),
               lambda step, share: None)


def test_it_says_when_the_first_are_those_of_which_little_is_known(made: tuple[Service, JobDir, Prepared]) -> None:
    from scdiff_core.engine.routes import Goal, RoutesConfig, routes
    from scdiff_core.engine.steps import follow

    service, job, prepared = made
    model = perturb_ops.load(service, job)
    here = prepared.labels(keys.CELL_TYPE) == "type_A"
    rows = np.flatnonzero((prepared.labels(keys.PERTURBATION) == "stimulus") & here)
    aim = Goal(prepared.log1p(rows), np.asarray(prepared.genes), "the goal")
    trust = candidates.Trust("likely", 20, 40, {}, {}, 0.25)
    items = [{"perturbation": f"TF{i:02d}-oe"} for i in range(1, 4)]  # of which only the knock-down was measured

    def ask_for(more: list[dict[str, str]]) -> Routes:
        asked = RoutesConfig.model_validate({"run": "r", "where": WHERE, "items": [*items, *more]})
        return follow(routes(model, aim, asked, prepared, candidates.Checked(trust)), lambda step, share: None)

    found = ask_for([])
    assert found.rule == "likely" and found.rule_words.startswith("likelihood")
    assert [w.split(" is known")[0] for w in found.warnings] == ["Of the first 3 little"]
    known = ask_for([{"perturbation": "stimulus", "dose": 3.0}])
    assert known.rows[0].perturbation == "stimulus" and known.warnings == ()


def test_the_command_ranks_and_names_regulators_and_molecules(
        made: tuple[Service, JobDir, Prepared], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    service, _, prepared = made
    mask = (prepared.labels(keys.PERTURBATION) == "stimulus") & (prepared.labels(keys.CELL_TYPE) == "type_A")
    saved = Selections(service.workspace.open("prepare", "screen"), prepared.fingerprint, prepared.n_cells)
    saved.save(saved.keep(Selection({"real": mask})), "stimulated")
    genes = np.asarray(prepared.genes).astype(str)
    rng = np.random.default_rng(0)
    (tmp_path / "net.tsv").write_text("tf\ttarget\tmor\n" + "".join(
        f"R{i % 8}\t{g}\t1\n" for i, g in enumerate(rng.permutation(genes)[:160])))
    pd.DataFrame(rng.normal(size=(len(genes), 3)), genes, ["a", "b", "c"]).to_csv(tmp_path / "drugs.csv")
    out = tmp_path / "out"

    def call(*arguments: str) -> tuple[int, dict[str, Any], str]:
        code = cli.main(["routes", "r", "--workspace", str(service.workspace.root), *arguments])
        text, err = capsys.readouterr()
        return code, json.loads(text.splitlines()[-1]), err

    files = ("--regulons", str(tmp_path / "net.tsv"), "--signatures", str(tmp_path / "drugs.csv"))
    code, said, err = call("--target-selection", "stimulated", "--where", "cell_type=type_A", "--no-pairs", *files,
                           "--out", str(out))
    assert code == 0, err
    assert said["ranking"][0].startswith("stimulus @") and regulators.WORDS in err and "1. stimulus" in err
    assert len(pd.read_csv(said["regulators"])) == 8 and set(pd.read_csv(said["molecules"])["drug"]) == {"a", "b", "c"}
    assert (out / routes_set.PLAN).is_file()
    code, said, err = call("--target-selection", "stimulated", "--candidate", "stimulus@2", "--candidate",
                           "TF01-kd+TF03-kd", "--out", str(out))
    assert code == 0 and set(said["ranking"]) == {"stimulus @ 2", HELD_OUT}
    for arguments, why in (((), "nothing to get to"), (("--target-selection", "none"), "There is no selection 'none'"),
                           (("--design", str(tmp_path / "no.h5ad")), "cannot be opened"),
                           (("--target-selection", "stimulated", "--regulons", "no.tsv", "--candidate", "stimulus"),
                            "cannot be read")):
        code, said, err = call(*arguments)
        assert code == 2 and why in err
