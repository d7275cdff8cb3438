"""Designed cells of the demo's model: they meet what is asked, and what cannot be is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scdiff_core import demo_model
from scdiff_core.engine import outputs
from scdiff_core.engine.denoised import Denoised, levels
from scdiff_core.engine.design import DesignConfig, design, prepare
from scdiff_core.engine.model import Model
from scdiff_core.errors import ScdiffError
from scdiff_core.target import parse
from scdiff_core.workspace import Workspace


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    torch.set_num_threads(1)
    space = Workspace(tmp_path_factory.mktemp("design"))
    demo_model.install(space)
    job = space.list("train")[0]
    model = Model.load(job)
    config = job.config()
    return model, Denoised.of(model, outputs.open_dataset(space, config.dataset, config.fingerprint))


def made(demo, n=64, **asked):
    method = asked.pop("method", "smc")
    steps = design(*demo, DesignConfig(run="demo", target=parse(asked), n_cells=n, method=method, steps=20))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_hard_rows_are_met_by_every_cell_and_by_many_different_ones(demo):
    cells = made(demo, genes=[{"gene": "CD79A"}, {"gene": "CST3", "direction": "down", "level": 1.5}])
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
    _, objective, _ = prepare(*demo, parse({"genes": [{"gene": "CST3"}]}))
    said = objective.types.log_prob(cells.z).exp().numpy()
    assert said[:, names.index(monocyte)].mean() > 0.8
    away = made(demo, genes=[{"gene": "CST3"}], away_from={"cell_type": [monocyte]})
    assert objective.types.log_prob(away.z).exp().numpy()[:, names.index(monocyte)].mean() < 0.2


def test_the_quick_way_and_the_same_seed(demo):
    quick = made(demo, genes=[{"gene": "CD79A"}], method="gradient")
    assert quick.met.mean() > 0.5
    assert torch.equal(made(demo, genes=[{"gene": "CD79A"}]).z, made(demo, genes=[{"gene": "CD79A"}]).z)


@pytest.mark.parametrize(("asked", "said"), [
    ({}, "nothing to design"),
    ({"genes": [{"gene": "CD79a"}]}, "Did you mean 'CD79A'"),
    ({"genes": [{"gene": "CD79A", "level": 50}]}, "The highest real cell has"),
    ({"genes": [{"gene": "CD79A"}], "cell_type": "B cells of Mars"}, "B cells of Mars"),
])
def test_what_cannot_be_designed_is_told(demo, asked, said):
    with pytest.raises(ScdiffError, match=said):
        made(demo, **asked)
