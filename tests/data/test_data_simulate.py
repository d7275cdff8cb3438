import json

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from scdiff_core.data.check import check
from scdiff_core.data.genes import perturbed
from scdiff_core.data.prepared import to_log1p
from scdiff_core.data.roles import detect_roles
from scdiff_core.data.simulate import BATCHES, DOSES, GAMMA, SATURATION, TYPES, Truth, simulate
from scdiff_core.errors import ScdiffError


@pytest.fixture(scope="module")
def cells():
    return simulate(1500, 600, seed=1)


@pytest.fixture(scope="module")
def truth():
    return Truth.build(600, seed=1)


@pytest.fixture(scope="module")
def linear():
    """So weak that nothing saturates."""
    return Truth.build(600, seed=1, strength=0.01)


def pairs(truth: Truth, kind: str) -> list[tuple[str, str]]:
    names = [c for c in truth.conditions() if "+" not in c]
    return [(a, b) for i, a in enumerate(names) for b in names[i + 1:] if truth.pair_kind(f"{a}+{b}") == kind]


def program_part(truth: Truth, condition: str, cell_type: str = "type_A") -> np.ndarray:
    """The effect on genes that are no regulators (their own transcripts aside)."""
    return truth.log_effect(condition, cell_type)[20:]


@pytest.mark.parametrize(("kind", "factor"), list(GAMMA.items()))
def test_pairs_in_the_linear_regime(linear, kind, factor):
    for a, b in pairs(linear, kind)[:10]:
        alone = program_part(linear, a) + program_part(linear, b)
        np.testing.assert_allclose(program_part(linear, f"{a}+{b}"), factor * alone, atol=2e-4 * np.abs(alone).max())


def test_buffered_pairs_do_less_and_synergistic_ones_more(linear):
    def size(kind: str) -> np.ndarray:
        both = np.array([np.abs(program_part(linear, f"{a}+{b}")).sum() for a, b in pairs(linear, kind)])
        alone = np.array([np.abs(program_part(linear, a) + program_part(linear, b)).sum()
                          for a, b in pairs(linear, kind)])
        return both[alone > 0] / alone[alone > 0]  # a type may answer to none of their programs

    assert size("buffering").max() < 0.99 < size("additive").min() <= size("additive").max() < 1.01
    assert size("synergistic").min() > 1.01


def test_effects_saturate():
    strong = Truth.build(600, seed=1, strength=50.0)
    change = strong.competence[0] * SATURATION
    bound = change @ np.abs(strong.loading)
    effect = np.abs(strong.log_effect("TF01-kd+TF02-kd+TF13-oe", "type_A"))[20:]
    assert (effect <= bound[20:] + 1e-9).all()
    assert np.abs(program_part(Truth.build(600, seed=1), "TF01-kd")).max() < effect.max()


def test_the_dose_is_monotone_and_half_at_its_ec50(truth):
    inputs = np.array([truth.program_input("stimulus", d) for d in DOSES])
    assert (np.diff(inputs[:, truth.stimulus > 0], axis=0) > 0).all()
    assert (inputs[:, truth.stimulus == 0] == 0).all()
    np.testing.assert_allclose(truth.program_input("stimulus", 1.0), truth.stimulus / 2)
    size = [np.abs(truth.log_effect("stimulus", "type_B", d)).sum() for d in (0.0, *DOSES)]
    assert size[0] == 0 and (np.diff(size) > 0).all()


def test_knock_down_and_activation_are_opposite_and_move_their_own_gene(truth):
    down, up = (truth.program_input("TF05" + s) for s in ("-kd", "-oe"))
    np.testing.assert_allclose(down, -up)
    assert truth.log_effect("TF05-kd", "type_A")[4] == pytest.approx(-1.8)
    assert truth.log_effect("TF05-oe", "type_A")[4] == pytest.approx(1.5)
    assert not truth.log_effect("control", "type_A").any()


def test_types_answer_differently(truth):
    effects = [truth.log_effect("TF03-kd", t)[20:] for t in TYPES]
    assert all(not np.allclose(a, b) for i, a in enumerate(effects) for b in effects[i + 1:])


@pytest.mark.parametrize(("condition", "cell_type", "dose"), [("control", "type_A", np.nan),
                                                              ("TF01-kd+TF13-oe", "type_C", np.nan),
                                                              ("stimulus", "type_D", 3.0)])
def test_sampled_cells_have_the_true_mean(truth, condition, cell_type, dose):
    n, rng = 3000, np.random.default_rng(0)
    obs = pd.DataFrame({"cell_type": [cell_type] * n, "perturbation": condition, "dose": dose,
                        "batch": rng.choice(BATCHES, n)})
    counts = truth.sample(obs, rng)
    d = 1.0 if np.isnan(dose) else dose
    expected = truth.mean(condition, cell_type, d, units="counts")
    error = counts.std(axis=0) / np.sqrt(n)
    assert np.abs((counts.mean(axis=0) - expected) / error).mean() < 1.3  # 0.8 for a normal error
    assert counts.sum(axis=1).mean() == pytest.approx(expected.sum(), rel=0.03)
    log = to_log1p(sp.csr_matrix(counts, dtype=np.float32), counts.sum(axis=1)).toarray()
    expected = truth.mean(condition, cell_type, d)
    assert np.abs(log.mean(axis=0) - expected).mean() < 0.03
    assert np.corrcoef(log.mean(axis=0), expected)[0, 1] > 0.999


def test_the_true_change_is_near_the_sampled_one(cells, truth):
    log = to_log1p(cells.X, np.asarray(cells.X.sum(axis=1)).ravel())
    of_type = (cells.obs["cell_type"] == "type_A").to_numpy()
    rows = {p: of_type & (cells.obs["perturbation"] == p).to_numpy() for p in ("control", "stimulus")}
    rows["stimulus"] &= (cells.obs["dose"] >= 3).to_numpy()
    seen = np.asarray(log[rows["stimulus"]].mean(axis=0) - log[rows["control"]].mean(axis=0)).ravel()
    true = truth.mean("stimulus", "type_A", 5.0) - truth.mean("control", "type_A")
    moved = np.abs(true) > 0.3
    assert moved.sum() > 10 and np.corrcoef(seen[moved], true[moved])[0, 1] > 0.85


def test_the_cells_look_like_real_ones():
    adata = simulate(600, 2000, seed=0)
    X = adata.X
    total = np.asarray(X.sum(axis=1)).ravel()
    assert (X.data == np.rint(X.data)).all() and X.dtype == np.float32 and sp.issparse(X)
    assert 0.5 < 1 - X.nnz / np.prod(X.shape) < 0.85
    assert 2000 < np.median(total) < 4500 and 0.25 < np.log(total).std() < 0.6
    mito = adata.var_names.str.startswith("MT-")
    assert 0.01 < np.median(np.asarray(X[:, mito].sum(axis=1)).ravel() / total) < 0.1
    mean, variance = np.asarray(X.mean(axis=0)).ravel(), X.toarray().var(axis=0)
    often = mean > 2
    assert np.median(variance[often] / mean[often]) > 1.5  # over-dispersed


def test_what_is_sampled(cells, truth):
    count = cells.obs["perturbation"].value_counts()
    assert count["control"] == 300 and set(count.index) == {"control", "stimulus", *truth.conditions()}
    kinds = [truth.pair_kind(c) for c in truth.conditions() if "+" in c]
    assert {k: kinds.count(k) for k in GAMMA} == dict.fromkeys(GAMMA, 5)
    stimulated = cells.obs["perturbation"] == "stimulus"
    assert set(cells.obs.loc[stimulated, "dose"]) == set(DOSES)
    assert 0 < cells.obs["cell_type"].isna().mean() < 0.05


def test_the_seed_decides_and_the_truth_is_found_again(cells, truth):
    again = simulate(1500, 600, seed=1)
    assert (again.X != cells.X).nnz == 0 and again.obs.equals(cells.obs)
    assert (simulate(1500, 600, seed=2).X != cells.X).nnz > 0
    np.testing.assert_array_equal(Truth.of(cells).network, truth.network)
    assert json.loads(cells.uns["simulation"])["seed"] == 1


def test_roles_and_genes_are_detected(cells, truth):
    roles, _ = detect_roles(check(cells).adata)
    assert roles.model_dump() == {"cell_type": "cell_type", "batch": "batch", "perturbation": "perturbation",
                                  "control": "control", "dose": "dose", "time": None}
    found, unknown = perturbed(truth.conditions(), "control", cells.var_names.tolist())
    assert sorted(found) == truth.regulators and unknown == []


@pytest.mark.parametrize(("ask", "words"), [
    (lambda t: t.mean("TF99-kd", "type_A"), "Did you mean"),
    (lambda t: t.mean("TF01", "type_A"), "Write it as TF01-kd"),
    (lambda t: t.mean("TF01-kd+TF01-oe", "type_A"), "names a regulator twice"),
    (lambda t: t.mean("control", "type_E"), "Did you mean"),
    (lambda t: t.mean("control", "type_A", units="tpm"), "no units"),
    (lambda t: Truth.build(100), "at least 200 genes"),
])
def test_mistakes_are_told(truth, ask, words):
    with pytest.raises(ScdiffError, match=words):
        ask(truth)
