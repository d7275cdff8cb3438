"""Denoising, filling up and typicality: against closed forms, simulated truth and simulated doublets."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from engine_data import small_config, small_prepared
from scipy import integrate, stats

from scdiff_core import config_uses as uses
from scdiff_core import keys
from scdiff_core.data.chosen import rows_of
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine import fill, impute, typical, uses_ops, uses_set
from scdiff_core.engine.model import Model
from scdiff_core.engine.outputs import CELLS
from scdiff_core.engine.steps import follow
from scdiff_core.engine.train import train
from scdiff_core.errors import ScdiffError
from scdiff_core.nn.negative_binomial import NegativeBinomial
from scdiff_core.nn.strays import Strays, start
from scdiff_core.workspace import JobDir, Workspace


def quiet(step: object, share: float) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[JobDir, Prepared, Model]:
    prepared = small_prepared(300)
    config = small_config(prepared, codec={"steps": 150, "minibatch": 64}, diffusion={"steps": 120, "minibatch": 64})
    job = Workspace(tmp_path_factory.mktemp("uses")).create(config, "run")
    for _ in train(job, prepared, config, resume=False):
        pass
    return job, prepared, Model.load(job, "cpu")


@pytest.fixture(scope="module")
def continuous(tmp_path_factory: pytest.TempPathFactory) -> tuple[Prepared, Model]:
    prepared = small_prepared(values=keys.CONTINUOUS, labels=False)
    config = small_config(prepared)
    job = Workspace(tmp_path_factory.mktemp("values")).create(config, "run")
    for _ in train(job, prepared, config, resume=False):
        pass
    return prepared, Model.load(job, "cpu")


@pytest.mark.parametrize(("mean", "theta", "x"), [(0.3, 1.5, 0), (0.3, 1.5, 2), (8.0, 0.7, 3), (2.0, 50.0, 9)])
def test_the_rate_given_a_count_is_the_integral_over_all_rates(mean: float, theta: float, x: int) -> None:
    prior = stats.gamma(theta, scale=mean / theta)

    def weight(rate: float) -> float:
        return float(stats.poisson.pmf(x, rate) * prior.pdf(rate))

    top = float(prior.ppf(1 - 1e-12))
    norm = integrate.quad(weight, 0, top, limit=400, points=[mean])[0]
    exact = integrate.quad(lambda r: r * weight(r), 0, top, limit=400, points=[mean])[0] / norm
    said = NegativeBinomial(torch.tensor([[np.log(mean)]]), torch.tensor([[np.log(theta)]]))
    assert float(impute.given_counts(said, torch.tensor([[float(x)]]))) == pytest.approx(exact, rel=1e-3)


def test_a_count_that_no_rate_explains_is_taken_as_it_stands_and_zeros_are_not_touched() -> None:
    said = NegativeBinomial(torch.full((1, 3), -3.0), torch.full((1, 3), 3.0),
                            Strays(torch.full((3,), -5.0), start(100)))
    x = torch.tensor([[0.0, 1.0, 60.0]])
    rate = impute.given_counts(said, x)[0]
    plain = impute.given_counts(NegativeBinomial(said.log_mean, said.log_theta), x)[0]
    assert torch.allclose(rate[:2], plain[:2], rtol=0.05)
    assert plain[2] < 4 and 55 < rate[2] <= 60


def test_cells_are_denoised_with_their_counts_kept(trained: tuple[JobDir, Prepared, Model], tmp_path: Path) -> None:
    _, prepared, model = trained
    asked = uses.DenoiseConfig(run="run", where={"celltype": "NK"}, split="test", draws=2)
    adata = follow(impute.impute(model, prepared, asked), quiet)
    rows = np.flatnonzero((prepared.labels("celltype") == "NK") & (prepared.obs[keys.SPLIT] == keys.TEST).to_numpy())
    assert adata.obs_names.tolist() == prepared.obs.index[rows].tolist()
    assert (prepared.counts[rows] != adata.X).nnz == 0
    assert adata.layers["denoised"].shape == adata.shape and np.all(adata.layers["denoised"] >= 0)
    assert adata.obs["denoised"].all() and keys.SYNTHETIC not in adata.obs
    recipe = json.loads(adata.uns[keys.SCDIFF])
    assert "estimates" in recipe["layers"]["denoised"] and recipe["config"]["where"] == {"celltype": "NK"}
    again = follow(impute.impute(model, prepared, asked), quiet)
    assert np.array_equal(again.layers["denoised"], adata.layers["denoised"])


def test_denoised_cells_are_nearer_to_the_rates_that_they_were_drawn_from() -> None:
    """With a codec that is the truth, the posterior mean beats both the counts and the mean."""
    rng = np.random.default_rng(0)
    mean, theta = rng.gamma(1, 2, 400), 1.5
    rate = rng.gamma(theta, mean / theta)
    x = rng.poisson(rate).astype(np.float32)
    said = NegativeBinomial(torch.from_numpy(np.log(mean))[None].float(), torch.full((1, 400), np.log(theta)))
    best = impute.given_counts(said, torch.from_numpy(x)[None])[0].numpy()
    error = {name: float(np.mean((v - rate) ** 2)) for name, v in (("best", best), ("counts", x), ("mean", mean))}
    assert error["best"] < 0.9 * min(error["counts"], error["mean"])


@pytest.mark.parametrize(("where", "said"), [({"celltype": "Nk"}, "'NK'"), ({"cell": "NK"}, "celltype"),
                                             ({"celltype": "NK", "donor": "d3"}, "d1")])
def test_unknown_cells_are_refused_with_the_nearest(trained: tuple[JobDir, Prepared, Model], where: dict[str, str],
                                                    said: str) -> None:
    with pytest.raises(ScdiffError, match=said):
        rows_of(trained[1], where)


def test_values_that_are_no_counts_are_neither_denoised_nor_called_typical(continuous: tuple[Prepared, Model]) -> None:
    prepared, model = continuous
    with pytest.raises(ScdiffError, match="no counts"):
        follow(impute.impute(model, prepared, uses.DenoiseConfig(run="run")), quiet)
    with pytest.raises(ScdiffError, match="no counts"):
        follow(typical.typical(model, prepared, uses.TypicalConfig(run="run")), quiet)
    with pytest.raises(ScdiffError, match="without a cell type"):
        follow(fill.fill(model, prepared, uses.FillConfig(run="run", to=300)), quiet)


def test_types_are_filled_up_to_the_numbers_asked_for(trained: tuple[JobDir, Prepared, Model], tmp_path: Path) -> None:
    _, prepared, model = trained
    real = fill.counted(prepared, "celltype", ("B", "CD4 T", "NK"))
    asked = uses.FillConfig(run="run", to=max(real.values()), numbers={"NK": 130}, steps=3)
    adata = follow(fill.fill(model, prepared, asked), quiet)
    made = adata.obs["celltype"].value_counts().to_dict()
    for value, n in real.items():
        assert made.get(value, 0) == asked.numbers.get(value, max(real.values())) - n
    recipe = json.loads(adata.uns[keys.SCDIFF])
    assert recipe["kind"] == "fill" and recipe["fill"]["real"] == real
    assert adata.obs[keys.SYNTHETIC].all() and np.all(adata.X.data == np.round(adata.X.data))
    both = uses_set.filled(prepared, adata)
    assert both.n_obs == prepared.n_cells + adata.n_obs and int(both.obs[keys.SYNTHETIC].sum()) == adata.n_obs
    both.write_h5ad(tmp_path / "both.h5ad")


@pytest.mark.parametrize(("to", "numbers", "said"), [
    (None, {}, "No number"), (300, {"Nk": 400}, "'NK'"), (None, {"NK": 3}, "already"), (2, {}, "Nothing"),
    (10**9, {}, "too many")])
def test_what_cannot_be_filled_is_refused(to: int | None, numbers: dict[str, int], said: str) -> None:
    with pytest.raises(ScdiffError, match=said):
        fill.missing({"B": 90, "NK": 20}, to, numbers)


def test_odd_cells_are_found_and_depth_does_not_decide(
        trained: tuple[JobDir, Prepared, Model]) -> None:
    _, prepared, model = trained
    table = follow(typical.typical(model, prepared, uses.TypicalConfig(run="run", steps=8)), quiet)
    assert len(table) == prepared.n_cells and np.isfinite(table["score"]).all()
    assert (table["noise"] > 0).all() and table["noise"].median() < 1.4  # means of codes are shorter than draws
    train = table[(table["split"] == keys.TRAIN) & table["reference"]]
    assert 0.3 < train["percentile"].mean() < 0.7
    assert abs(np.corrcoef(np.log(train["total_counts"]), train["score"])[0, 1]) < 0.05  # depth does not decide
    rates = np.where(np.arange(prepared.n_genes) >= 45, 4.0, 0.4)  # a type whose genes no cell has expressed yet
    unseen = np.random.default_rng(0).poisson(rates, (40, prepared.n_genes)).astype(np.float32)
    both = sp.vstack([prepared.counts, sp.csr_matrix(unseen)]).tocsr()
    total = np.concatenate([prepared.total_counts, 2 * unseen.sum(1) + 1])
    found = follow(typical.parts(model, both, total, steps=8), quiet)
    score = typical.score(found, total, np.arange(len(total)) < prepared.n_cells)
    assert np.median(score[-40:]) > np.quantile(score[:-40], 0.95)


def test_results_and_studies_are_kept_in_the_run(trained: tuple[JobDir, Prepared, Model]) -> None:
    job, prepared, model = trained
    for asked in (uses.DenoiseConfig(run="run", split="test"), uses.TypicalConfig(run="run", split="test", steps=4),
                  uses.FillConfig(run="run", to=120, steps=2)):
        uses_ops.carry_out(model, prepared, asked, job.outputs / asked.kind, lambda words, share: None)
    denoised = uses_set.results(job, "denoise")[0]
    counts, total, after = denoised.before_after(3)
    n = len(prepared.rows(keys.TEST))
    assert len(counts) == len(total) == len(after) == n == len(denoised.cells())
    assert len(uses_set.results(job, "typical")[0].table()) == n
    assert (job.outputs / "fill" / CELLS).exists()
    assert uses_set.read_study(job, "denoise") is None
    found = uses_ops.carry_out_study(job, model, prepared, "denoise", lambda words, share: None)
    assert uses_set.read_study(job, "denoise")["rows"] == found["rows"]
    found = uses_ops.carry_out_study(job, model, prepared, "fill", lambda words, share: None, "NK", to=150)
    assert uses_set.read_study(job, "fill/celltype/NK")["sentence"] == found["sentence"]
    with pytest.raises(ScdiffError, match="not rare"):
        uses_ops.carry_out_study(job, model, prepared, "fill", lambda words, share: None, "NK", to=5)
