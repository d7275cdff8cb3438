"""Designed cells of the demo's model: they meet what is asked, and what cannot be is told."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from scdiff_core import demo_model
from scdiff_core.analysis.design import report as reports
from scdiff_core.config import GenerateConfig, Roles
from scdiff_core.diffusion import sampler
from scdiff_core.engine import design_plain, outputs
from scdiff_core.engine.denoised import Denoised, levels
from scdiff_core.engine.design import design, prepare
from scdiff_core.engine.design_cells import Bench, begin_of, design_cells
from scdiff_core.engine.design_config import DesignConfig
from scdiff_core.engine.designed import Begin
from scdiff_core.engine.generate import condition_of, conditions
from scdiff_core.engine.latent_edit import edit
from scdiff_core.engine.model import Model
from scdiff_core.engine.objectives import Types
from scdiff_core.engine.steps import follow
from scdiff_core.errors import ScdiffError
from scdiff_core.target import Start, parse
from scdiff_core.workspace import Workspace


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    torch.set_num_threads(1)
    space = Workspace(tmp_path_factory.mktemp("design"))
    demo_model.install(space)
    job = space.list("train")[0]
    config = job.config()
    return Bench(Model.load(job), outputs.open_dataset(space, config.dataset, config.fingerprint))


@pytest.fixture(scope="module")
def demo(bench):
    return bench.model, bench.real


def config_of(n=64, method="smc", custom=False, **asked):
    return DesignConfig(run="demo", target=parse(asked), n_cells=n, method=method, steps=16, custom=custom)


def made(demo, n=64, begin=None, **asked):
    return follow(design(*demo, config_of(n, **asked), begin), lambda step, share: None)


@pytest.mark.parametrize("top", [0.1, 0.02])  # waited for, and steered to
def test_hard_rows_are_met_by_every_cell_and_by_many_different_ones(demo, top):
    cells = made(demo, genes=[{"gene": "CD79A", "top": top}, {"gene": "CST3", "direction": "down", "level": 1.5}])
    assert cells.met.all() and (cells.margins >= 0).all() and len(cells.z) == 64
    assert cells.ancestors > 30 and 0 < cells.feasibility.share < 0.2
    index = torch.tensor([list(demo[0].genes).index("CD79A")])
    value = levels(demo[0].codec, cells.z, index)[:, 0].numpy()
    assert (value >= cells.target.genes[0].level - 1e-5).all()
    assert np.allclose(value - cells.target.genes[0].level, cells.margins[:, 0], atol=1e-5)


def test_a_type_is_asked_for_and_one_is_kept_away_from(demo):
    names = sorted(set(demo[1].types.tolist()) - {""})
    monocyte = next(n for n in names if "Mono" in n)
    cells = made(demo, genes=[{"gene": "CST3", "hard": False}], cell_type=monocyte)
    types = Types(demo[1].z, demo[1].types)
    said = types.log_prob(cells.z).exp().numpy()
    assert said[:, names.index(monocyte)].mean() > 0.8
    away = made(demo, genes=[{"gene": "CST3", "top": 0.2}], away_from={"cell_type": [monocyte]})
    assert types.log_prob(away.z).exp().numpy()[:, names.index(monocyte)].mean() < 0.2


def test_the_classifier_of_noisy_codes_is_exact_for_normal_classes():
    generator = torch.Generator().manual_seed(0)
    centres, sigma = torch.tensor([[0.0, 0.0], [2.0, 1.0]]), 1.5
    which = torch.randint(2, (200_000,), generator=generator)
    z = centres[which] + torch.randn(len(which), 2, generator=generator) * torch.tensor([0.5, 1.0])
    types = Types(z, np.where(which.numpy() == 0, "a", "b"))
    x = torch.tensor([[1.0, 0.5], [3.0, -1.0]])
    variance = torch.tensor([0.25, 1.0]) + sigma**2
    exact = (-0.5 * ((x[:, None] - centres) ** 2 / variance).sum(-1)).softmax(1)
    assert torch.allclose(types.log_prob(x, torch.tensor(sigma)).exp(), exact, atol=0.01)


def test_the_quick_way_and_the_same_seed(demo):
    asked = {"genes": [{"gene": "CD79A", "top": 0.1}]}
    assert made(demo, method="gradient", **asked).met.mean() > 0.5
    rare = {"genes": [{"gene": "CD79A", "top": 0.02}]}
    assert torch.equal(made(demo, **asked).z, made(demo, **asked).z)
    assert torch.equal(made(demo, **rare).z, made(demo, **rare).z)


def test_cells_are_led_from_where_they_are_no_farther_than_they_must(demo):
    real = demo[1]
    rows = np.flatnonzero(np.char.find(real.types.astype(str), "Mono") >= 0)
    begin = Begin(real.z[rows], real.codes[rows], real.conts[rows], real.rows[rows])
    level = float(np.quantile(real.levels(("CST3",))["CST3"][rows], 0.3))
    asked = {"genes": [{"gene": "CST3", "level": level}]}
    near = made(demo, begin=begin, start={"move": 0.3}, **asked)
    far = made(demo, begin=begin, start={"move": 0.9}, **asked)
    place = {int(r): i for i, r in enumerate(real.rows)}

    def way(cells):
        at = torch.tensor([place[int(r)] for r in cells.start])
        return float((cells.z - real.z[at]).norm(dim=1).median())

    assert set(near.start) <= set(real.rows[rows].tolist()) and near.move == 0.3 and way(near) < 0.7 * way(far)
    least = made(demo, begin=begin, start={}, **asked)
    assert least.met.all() and least.move < 0.9 and least.tried[-1][0] == least.move


def test_cells_to_begin_from_are_found_or_missed_in_words(bench):
    names = sorted(set(bench.real.types.tolist()) - {""})
    begin = begin_of(bench, Start(cell_type=names[0]))
    assert len(begin.rows) == (bench.real.types == names[0]).sum()
    chosen = np.zeros(bench.prepared.n_cells, bool)
    chosen[bench.real.rows[:7]] = True
    assert begin_of(bench, Start(), chosen).rows.tolist() == bench.real.rows[:7].tolist()
    with pytest.raises(ScdiffError, match="no cells to begin from"):
        begin_of(bench, Start(cell_type=names[1]), bench.prepared.labels("cell_type") == names[0])


def test_a_design_is_held_against_real_cells_and_an_edit(bench):
    asked = config_of(96, genes=[{"gene": "CD79A", "top": 0.1}, {"gene": "CST3", "direction": "down", "level": 1.5}])
    shares = []
    found = follow(design_cells(bench, asked), lambda step, share: shares.append(share))
    report = found.measured.report
    assert shares == sorted(shares) and shares[-1] == 1
    assert report.words.startswith("96 of 96 meet the target; ") and "% of your cells already do this." in report.words
    assert [f.name for f in report.figures][:3] == ["designed", "real cells that meet it", "plain latent editing"]
    assert report.of("designed").met == 1 and report.of("designed").unreal < 0.2
    # of real cells it is told by those that were never trained on: the components have learnt the noise of the others
    known = bench.held_out.levels(("CD79A", "CST3"))
    there = np.flatnonzero((known["CD79A"] >= report.rows[0]["level"]) & (known["CST3"] <= 1.5))
    away = bench.ground.look(bench.prepared.X_pca[bench.held_out.rows[there]])[0]
    assert len(there) >= reports.FEW_DIVERSE
    assert report.of(reports.REAL).unreal == pytest.approx((away > bench.ground.limit).mean())
    assert {"meets_target", "looks_unreal", "knn_distance", "nearest_cell"} <= set(found.adata.obs)
    arrays = found.measured.arrays
    assert np.allclose(arrays["values"][:, 0] - report.rows[0]["level"], found.made.margins[:, 0], atol=1e-4)
    assert max(report.neighbours["types"], key=report.neighbours["types"].get) == "CD19+ B"
    assert report.reference == "real cells of the same types"
    assert all(gene["pval_adj"] < 0.05 for gene in report.side_effects)


def test_too_few_held_out_cells_tell_nothing_of_real_ones(bench):
    asked = config_of(32, genes=[{"gene": "CD79A", "top": 0.002}])
    report = follow(design_cells(bench, asked), lambda step, share: None).measured.report
    assert report.of(reports.REAL).n and report.of(reports.REAL).unreal is None
    assert ",," in reports.figures_table(report).splitlines()[2]


@pytest.mark.parametrize("top", [0.1, 0.02])
def test_no_more_designed_cells_look_unreal_in_codes_than_real_ones_do(bench, top):
    asked = config_of(128, genes=[{"gene": "CD79A", "top": top}])

    def beyond(ground):
        cells = follow(design(bench.model, bench.real, asked, None, ground), lambda step, share: None)
        assert cells.met.all() and len(cells.z) == 128
        return (bench.codes.look(cells.z.numpy())[0] > bench.codes.limit).mean()

    assert beyond(bench.codes) <= min(0.08, beyond(None))


def test_an_edit_meets_the_rows_and_cells_that_do_already_stay(demo):
    task = prepare(*demo, parse({"genes": [{"gene": "CD79A", "top": 0.3}]}))
    z = demo[1].z[:100]
    there = (task.objective.all_margins(z) >= 0.02).all(1)
    edited = edit(task.objective, z)
    assert (task.objective.all_margins(edited) >= 0).all() and torch.equal(edited[there], z[there])


@pytest.mark.parametrize(("top", "done"), [(0.1, 4), (0.02, 1)])
def test_letting_go_in_the_middle_ends_it(demo, top, done):
    steps = design(*demo, config_of(genes=[{"gene": "CD79A", "top": top}]))
    first = next(steps)
    steps.close()
    assert first.done == done and next(steps, None) is None


def test_cells_that_are_waited_for_are_those_that_the_model_makes_anyway(demo):
    asked = {"genes": [{"gene": "CD79A", "top": 0.2}, {"gene": "CD74", "hard": False, "weight": 0.02}]}
    task = prepare(*demo, parse(asked))
    generator = torch.Generator().manual_seed(5)
    wait = design_plain.wait(demo[0], task, 300, 20, 60, generator)
    kept = follow(wait, lambda step, share: None)
    z, log_weight = torch.cat([k.z for k in kept]), np.concatenate([k.weight for k in kept])
    assert design_plain.is_common(task) and len(z) >= 390 and (task.objective.margins(z) >= 0).all()
    assert np.allclose(log_weight, task.objective.log_weight(z).numpy(), atol=1e-4)
    weight = np.exp(log_weight)
    assert weight.sum() ** 2 / (weight**2).sum() >= 390  # Kish's effective number
    # as many of each type as among draws that nobody asked anything of
    codes, conts = conditions(demo[0], GenerateConfig(run="demo", n_cells=8000), generator)
    model = demo[0]
    walk = sampler.make("sde", model.denoiser, model.denoiser.schedule, 20)
    free = walk.sample(walk.start(8000, model.codec.n_dims, generator), condition_of(model, codes, conts), generator)
    hits = free[(task.objective.margins(free) >= 0).all(1)]
    types = Types(demo[1].z, demo[1].types)

    def shares(z):
        return np.bincount(types.log_prob(z).argmax(1).numpy(), minlength=len(types.names)) / len(z)

    assert np.abs(shares(z) - shares(hits)).max() < 0.1


def test_where_waiting_would_take_long_cells_are_steered_and_the_progress_goes_on(demo, monkeypatch):
    monkeypatch.setattr(design_plain, "COMMON", 0.01)
    shares = []
    config = config_of(200, genes=[{"gene": "CD79A", "top": 0.02}])
    cells = follow(design(*demo, config), lambda step, share: shares.append(share))
    assert cells.met.all() and cells.ancestors < 200
    assert all(b >= a - 0.01 for a, b in itertools.pairwise(shares)) and shares[-1] == 1


def test_waiting_ends_where_it_would_take_long(demo):
    task = prepare(*demo, parse({"genes": [{"gene": "CD79A", "top": 0.02}]}))
    wait = design_plain.wait(demo[0], task, 300, 8, 60, torch.Generator().manual_seed(0))
    assert not design_plain.is_common(task) and follow(wait, lambda step, share: None) == []


@pytest.mark.parametrize(("asked", "said"), [
    ({}, "nothing to design"),
    ({"genes": [{"gene": "CD79a"}]}, "Did you mean 'CD79A'"),
    ({"genes": [{"gene": "CD79A", "level": 50}]}, "The highest real cell has"),
    ({"genes": [{"gene": "CD79A", "level": 2}, {"gene": "CD79A", "direction": "down", "level": 1}]}, "contradict"),
    ({"genes": [{"gene": "CD79A", "top": 0.1}, {"gene": "CD79A", "direction": "down", "top": 0.1}]}, "contradict"),
    ({"genes": [{"gene": "CD79A"}], "cell_type": "B cells of Mars"}, "B cells of Mars"),
    ({"genes": [{"gene": "CD79A"}], "away_from": {"cell_type": ["Martians"]}}, "Martians"),
])
def test_what_cannot_be_designed_is_told(demo, asked, said):
    with pytest.raises(ScdiffError, match=said):
        made(demo, **asked)


def test_a_model_that_knows_no_types_cannot_be_asked_for_one(demo):
    model, real = demo
    bare = dataclasses.replace(model, roles=Roles())
    with pytest.raises(ScdiffError, match="cannot be asked for a cell type"):
        made((bare, real), genes=[{"gene": "CD79A"}], cell_type="CD19+ B")


OBJECTIVE = """
import torch

class Objective:
    def log_likelihood(self, log1p, genes):
        {body}
"""


@pytest.mark.parametrize(("body", "said"), [
    ("raise KeyError('no such gene')", "KeyError: 'no such gene' \\(line 6\\)"),
    ("return log1p[:, 0] * float('nan')", "not a number \\(NaN\\) for"),
    ("return 1.0", "returned float"),
    ("return log1p", "returned a tensor of shape"),
])
def test_a_custom_objective_that_fails_is_told(demo, tmp_path, body, said):
    path = tmp_path / "own.py"
    path.write_text(OBJECTIVE.format(body=body))
    with pytest.raises(ScdiffError, match=said):
        made(demo, genes=[{"gene": "CD79A"}], objective=str(path), custom=True)


def test_a_custom_objective_runs_only_where_it_may_and_is_followed(demo, tmp_path):
    path = tmp_path / "own.py"
    path.write_text(OBJECTIVE.format(body="return -0.5 * ((log1p[:, genes.index('CST3')] - 3.0) / 0.1) ** 2"))
    with pytest.raises(ScdiffError, match="was not run"):
        made(demo, objective=str(path))
    cells = made(demo, objective=str(path), custom=True)
    index = torch.tensor([list(demo[0].genes).index("CST3")])
    value = levels(demo[0].codec, cells.z, index)[:, 0]
    assert abs(float(value.mean()) - 3.0) < 0.15 and float(value.std()) < 0.3
    (tmp_path / "none.py").write_text("x = 1")
    with pytest.raises(ScdiffError, match="no class 'Objective'"):
        made(demo, objective=str(tmp_path / "none.py"), custom=True)


def test_levels_that_are_kept_are_those_of_the_decoder(bench):
    real = Denoised.of(bench.model, bench.prepared)
    index = torch.tensor([3, 40])
    names = tuple(str(g) for g in bench.model.genes[index])
    known = real.levels(names)
    assert np.allclose(np.stack([known[g] for g in names], 1), levels(bench.model.codec, real.z, index).numpy(),
                       atol=1e-5)
