"""The response model on a small simulated screen whose truth is known."""

import json
import time

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy.stats import norm

from scdiff_core.analysis.perturb import embeddings, interval, programs_of_arms
from scdiff_core.analysis.perturb.arms import collect
from scdiff_core.analysis.perturb.dose import fit_curves
from scdiff_core.analysis.perturb.effects import detect, interaction
from scdiff_core.analysis.perturb.kernels import Item, Space
from scdiff_core.analysis.perturb.response import ResponseModel, folds, log2_fold_change
from scdiff_core.config import Roles
from scdiff_core.data.perturbations import Perturbation, parse
from scdiff_core.errors import ScdiffError

G, N = 120, 40
ROLES = Roles(perturbation="p", control="c", cell_type="t", dose="d")
SINGLES = ("A-kd", "B-kd", "C-kd", "D-kd", "null")
PAIRS = ("A-kd+B-kd", "C-kd+D-kd")
GENES = [f"g{i}" for i in range(G)]
BASE = np.linspace(1.0, 3.0, G)


def effects() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    programs = np.where(rng.random((3, G)) < 0.2, rng.normal(size=(3, G)), 0)
    out = {s: rng.normal(size=3) @ programs for s in SINGLES[:-1]} | {"null": np.zeros(G)}
    out |= {p: sum(out[s] for s in p.split("+")) for p in PAIRS}
    return out | {"drug": programs[0]}


@pytest.fixture(scope="module")
def screen():
    rng = np.random.default_rng(1)
    truth = effects()
    rows, x = [], []
    for t in ("x", "y"):
        plan = [("c", 0.0, 3 * N)] + [(p, np.nan, N) for p in (*SINGLES, *PAIRS)] + [("drug", d, N) for d in (1, 3, 10)]
        for p, d, n in plan:
            size = d / (d + 2) * 1.2 if p == "drug" else 1.0
            rows += [(p, d, t)] * n
            x.append(BASE + (size * truth[p] if p != "c" else 0) + rng.normal(size=(n, G)))
    return sp.csr_matrix(np.vstack(x)), pd.DataFrame(rows, columns=["p", "d", "t"]), truth


@pytest.fixture(scope="module")
def fitted(screen):
    x, obs, _ = screen
    arms = collect(x, obs, ROLES)
    found = detect(x, arms)
    table = pd.DataFrame(np.random.default_rng(3).normal(size=(6, 4)),
                         index=["A", "B", "C", "D", "drug", "E"])
    model = ResponseModel.fit(arms, GENES, [embeddings.from_table(table)], detected=found)
    return arms, found, model


def agree(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1])


def test_unseen_pairs_are_sums_and_measured_ones_lose_their_noise(fitted, screen) -> None:
    arms, _, model = fitted
    truth = screen[2]
    for t in ("x", "y"):
        r = model.predict(parse("C-kd+A-kd"), None, t)
        assert agree(r.shift, truth["A-kd"] + truth["C-kd"]) > 0.93
        assert r.kind == "both" and "two measured singles" in r.how and r.reach < 0.5
        seen = model.predict(parse("A-kd"), None, t)
        i = arms.find(parse("A-kd"), None, t)
        assert agree(seen.shift, truth["A-kd"]) > agree(arms.shift[i], truth["A-kd"])
        assert seen.kind == "measured" and seen.effect in ("clear", "strong")


def test_doses_between_measured_ones(fitted, screen) -> None:
    _, _, model = fitted
    drug = parse("drug")
    sizes = []
    for d in (1.0, 1.7, 3.0, 5.0, 10.0, 30.0):
        r = model.predict(drug, d, "x")
        assert agree(r.shift, screen[2]["drug"]) > 0.95
        sizes.append(r.shift @ screen[2]["drug"])
    assert np.all(np.diff(sizes) > -0.05 * max(sizes))
    assert model.predict(drug, None, "x").how == model.predict(drug, 10.0, "x").how
    assert "beyond" in model.predict(drug, 30.0, "x").how
    with pytest.raises(ScdiffError, match="without one"):
        model.predict(parse("A-kd"), 3.0, "x")
    with pytest.raises(ScdiffError, match="above zero"):
        model.predict(drug, 0.0, "x")


def test_what_nothing_is_known_of_is_refused(fitted) -> None:
    _, _, model = fitted
    with pytest.raises(ScdiffError) as error:
        model.predict(parse("Z"), None, "x")
    assert "'Z'" in error.value.what
    far = model.predict(parse("E"), None, "x")
    assert far.kind == "unseen" and far.reach > 0.5 and "table" in far.how
    with pytest.raises(ScdiffError, match="not a perturbation"):
        model.predict(Perturbation(), None, "x")
    with pytest.raises(ScdiffError, match="no control cells of 'q'"):
        model.predict(parse("A-kd"), None, "q")
    assert model.predict(parse("A-kd"), None, "q", BASE).kind == "type"


def test_no_effect_is_an_answer(fitted) -> None:
    arms, found, model = fitted
    for t in ("x", "y"):
        assert model.predict(parse("null"), None, t).effect == "none"
        assert found.verdict[arms.find(parse("null"), None, t)] == "none"


def test_intervals_hold_the_truth(fitted, screen) -> None:
    _, _, model = fitted
    inside = []
    for a, b in (("A-kd", "C-kd"), ("A-kd", "D-kd"), ("B-kd", "C-kd"), ("B-kd", "D-kd")):
        for t in ("x", "y"):
            r = model.predict(parse(f"{a}+{b}"), None, t)
            true = screen[2][a] + screen[2][b]
            inside.append(np.mean((r.low <= true) & (true <= r.high)))
            assert np.all(r.log2fc_low <= r.log2fc) and np.all(r.log2fc <= r.log2fc_high)
            low, high = r.measured(20)
            assert np.mean(high - low) > np.mean(r.log2fc_high - r.log2fc_low)
    assert 0.8 < np.mean(inside) <= 1.0


def test_the_same_from_disk_and_fast(fitted) -> None:
    _, _, model = fitted
    arrays, meta = model.to_arrays()
    again = ResponseModel.from_arrays({k: np.array(v) for k, v in arrays.items()}, json.loads(json.dumps(meta)))
    for label, dose in (("A-kd+C-kd", None), ("drug", 5.0), ("E", None), ("null", None)):
        a, b = (m.predict(parse(label), dose, "y") for m in (model, again))
        np.testing.assert_allclose(a.shift, b.shift, atol=1e-5)
        np.testing.assert_allclose(a.low, b.low, atol=1e-4)
        np.testing.assert_allclose(a.mean, b.mean, atol=1e-5)
        assert (a.effect, a.how, a.kind) == (b.effect, b.how, b.kind)
    start = time.process_time()
    for _ in range(10):
        model.predict(parse("A-kd+C-kd"), None, "x")
    assert time.process_time() - start < 2.0


def test_held_out_cells_never_enter(screen) -> None:
    x, obs, _ = screen
    rows = np.flatnonzero((obs["p"] != "A-kd+B-kd").to_numpy())
    changed = x.tolil()
    changed[(obs["p"] == "A-kd+B-kd").to_numpy()] = 50.0
    first, second = (ResponseModel.fit(collect(v, obs, ROLES, rows), GENES, calibrate=False)
                     for v in (x, changed.tocsr()))
    np.testing.assert_array_equal(*(m.predict(parse("A-kd+B-kd"), None, "x").shift for m in (first, second)))


def test_order_of_parts_does_not_matter_and_nearest_are_named(fitted) -> None:
    _, _, model = fitted
    a, b = (model.predict(parse(p), None, "x").shift for p in ("D-kd+A-kd", "A-kd+D-kd"))
    np.testing.assert_array_equal(a, b)
    near = model.nearest(parse("A-kd"), 3)
    assert near[0][0] == "A-kd+B-kd" and 0 < near[0][1] <= 1


def test_folds_leave_whole_perturbations_types_and_doses_out(fitted) -> None:
    arms, _, _ = fitted
    found = folds(arms)
    assert all(mask[arms.is_control].all() for mask in found)
    labels = np.array([a.perturbation.label for a in arms.arms])
    by_label = [m for m in found if all(len(set(m[labels == v])) == 1 for v in set(labels) - {""})]
    assert by_label and np.any([~m[labels == "A-kd"] for m in by_label], axis=0).all()


def test_opposite_directions_are_opposite_in_part() -> None:
    items = [Item(parse(p), None, "") for p in ("A-kd", "A-oe", "A-ko", "B-kd")]
    parts = Space().between(items, items)
    same = parts.what[parts.what_names.index("the same part")]
    assert same[0, 0] == 1 and same[0, 1] < 0 < same[0, 2] < 1 and same[0, 3] == 0


def test_a_hill_curve_is_found() -> None:
    d = np.array([0.1, 0.3, 1, 3, 10, 30])
    direction = np.random.default_rng(0).normal(size=50)
    size = d**1.2 / (d**1.2 + 1)
    y = np.outer(size, direction) * 10
    (curve,) = fit_curves([parse("drug")] * 6, d, ["x"] * 6, y, np.full(6, 10.0)).values()
    np.testing.assert_allclose(curve.size(d), size / size[-1], atol=0.06)


def test_fold_changes() -> None:
    np.testing.assert_allclose(log2_fold_change(np.log1p([4.0]), np.log1p([1.0])), np.log2(4.01 / 1.01))


def test_intervals_hold_the_next_arm_where_genes_of_an_arm_err_together() -> None:
    rng = np.random.default_rng(0)
    a, g, held, uncorrected = 12, 300, [], []
    for _ in range(60):
        size = np.exp(0.4 * rng.normal(size=(a + 1, 1)))  # some arms are further off than others, in all genes
        true = size * rng.normal(size=(a + 1, g))
        noise = np.full((a, g), 0.1)
        seen = true[:a] + rng.normal(size=(a, g)) * np.sqrt(noise)
        half = interval.Z * np.sqrt(interval.calibrate(["both"] * a, seen, np.ones((a, g)), noise).of("both"))
        held.append(np.mean(np.abs(true[a]) < half))
        plain = interval.reach(interval.shares(seen, np.ones((a, g)), noise))
        uncorrected.append(np.mean(np.abs(true[a]) < interval.Z * np.sqrt(plain)))
    assert np.mean(uncorrected) < np.mean(held)
    assert 0.9 <= np.mean(held) <= 0.95


def test_interval_factor_takes_the_noise_out() -> None:
    rng = np.random.default_rng(0)
    a, g = 40, 500
    variance, noise = rng.uniform(0.5, 2, (a, g)), rng.uniform(0.5, 2, (a, g))
    error = rng.normal(size=(a, g)) * np.sqrt(3.0 * variance + noise)
    found = interval.calibrate(["unseen"] * a, error, variance, noise)
    level = 0.9 * (a + 1) / a
    wider = (norm.ppf((1 + level) / 2) / interval.Z) ** 2  # for the one arm more
    assert found.factor["unseen"] == pytest.approx(3.0 * wider, rel=0.15)
    assert found.coverage["unseen"] == pytest.approx(level, abs=0.02)
    assert found.of("other") == found.of("") and interval.NONE.of("x") == 1.0
    assert interval.calibrate([], error[:0], variance[:0], noise[:0]) == interval.NONE


def test_interaction() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 200))
    assert interaction(1.7 * (a + b), [a, b]).kind == "synergistic"
    assert interaction(1.7 * (a + b), [a, b]).scale == pytest.approx(1.7)
    assert interaction(0.4 * (a + b), [a, b]).kind == "buffering"
    found = interaction(a + b, [a, b], noise=np.full(200, 0.01))
    assert found.kind == "additive" and np.abs(found.score).max() < 1e-6


def test_programs_are_found_and_noise_is_not() -> None:
    from scdiff_core.analysis.perturb.gaussian import Basis

    rng = np.random.default_rng(0)
    loadings = np.where(rng.random((3, 400)) < 0.1, 1.0, 0.0)
    scores = rng.normal(size=(60, 3)) * 2
    basis = Basis.of(np.eye(60), np.eye(60))
    for y, most in ((scores @ loadings + rng.normal(size=(60, 400)), 4), (rng.normal(size=(60, 400)), 1)):
        found = programs_of_arms.fit_programs(basis, y, programs_of_arms.start(y), sparse=True)
        assert len(found.loadings) <= most
    y = scores @ loadings + rng.normal(size=(60, 400))
    found = programs_of_arms.fit_programs(basis, y, programs_of_arms.start(y), sparse=True)
    mean = programs_of_arms.decompose(basis, y, found).mean(np.eye(60))
    assert agree(mean.ravel(), (scores @ loadings).ravel()) > 0.97


def test_few_left_out_arms_are_held_at_a_higher_level():
    levels = [interval.level_of(n) for n in (3, 8, 24, 40, 400)]
    assert levels == pytest.approx([0.925, 0.925, 0.9 * 24.5 / 24, 0.9 * 40.5 / 40, 0.9 * 400.5 / 400])
