"""The simple predictions, with numbers worked out by hand, and that none of them looks at a held-out cell."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from scdiff_core.analysis.perturb import baselines, latent
from scdiff_core.analysis.perturb.arms import collect
from scdiff_core.analysis.perturb.multiplied import multiplied
from scdiff_core.data.perturbations import Perturbation, parse

GENES = np.array(["A", "B", "C", "D", "E"])
ROLES = SimpleNamespace(perturbation="p", control="ctrl", cell_type="t", dose="d", batch=None, time=None)
SHIFTS = {("A", "x"): [1.0, 0, 0, 0, 0], ("B", "x"): [0, 2.0, 0, 0, 0], ("A+B", "x"): [1.5, 2, 0.5, 0, 0],
          ("A", "y"): [3.0, 0, 0, 0, 0]}


def _cells() -> tuple[sp.csr_matrix, pd.DataFrame]:
    blocks, rows = [], []
    for kind in "xy":
        blocks.append(np.full((4, 5), 2.0) + np.array([[0.5], [-0.5], [0.5], [-0.5]]))
        rows += [("ctrl", kind, np.nan)] * 4
    for (name, kind), shift in SHIFTS.items():
        blocks.append(np.full((4, 5), 2.0) + shift)
        rows += [(name, kind, np.nan)] * 4
    for dose, size in ((1.0, 0.2), (10.0, 0.8)):
        blocks.append(np.full((4, 5), 2.0) + np.array([0, 0, 0, 0, size]))
        rows += [("drug", "x", dose)] * 4
    return sp.csr_matrix(np.vstack(blocks)), pd.DataFrame(rows, columns=["p", "t", "d"])


def _known(without: str = "", vectors: dict[str, np.ndarray] | None = None) -> baselines.Known:
    log1p, obs = _cells()
    rows = np.flatnonzero((obs["p"] != without).to_numpy())
    return baselines.Known(log1p, collect(log1p, obs, ROLES, rows), GENES, vectors or {})


def _ask(name: str, known: baselines.Known, label: str, kind: str = "x",
         dose: float | None = None) -> np.ndarray | None:
    found = baselines.SHIFTS[name](known, baselines.Question(parse(label), dose, kind))
    return None if found is None else found[0]


def test_control_does_not_change() -> None:
    guess = baselines.guess("control", _known(), baselines.Question(parse("A"), None, "x"), 4)
    assert guess is not None
    assert np.allclose(np.sort(guess.cells[:, 0]), [1.5, 1.5, 2.5, 2.5]) and np.allclose(guess.mean, 2.0)


def test_mean_response_counts_every_arm_the_same() -> None:
    known = _known("A+B")
    # of A in x, B in x, A in y, drug at 1 and at 10
    assert _ask("mean response", known, "A+B") == pytest.approx(np.array([4, 2, 0, 0, 1]) / 5, abs=1e-6)
    assert _ask("mean response of the type", known, "A+B", "y") == pytest.approx([3, 0, 0, 0, 0], abs=1e-6)


def test_additive_is_the_sum_of_the_singles() -> None:
    known = _known("A+B")
    assert _ask("additive", known, "B+A") == pytest.approx([1, 2, 0, 0, 0], abs=1e-6)
    assert _ask("additive", known, "A") is None  # not for single ones
    assert _ask("additive", known, "C+D") is None  # nothing was measured
    # C was not measured: it counts as the mean single one
    singles = np.array([4, 2, 0, 0, 1]) / 5
    assert _ask("additive", known, "B+C") == pytest.approx(np.array([0, 2.0, 0, 0, 0]) + singles, abs=1e-6)


def test_nearest_shares_parts_first_and_then_gene_sets() -> None:
    vectors = {"A": np.array([1.0, 0]), "B": np.array([0.0, 1]), "C": np.array([0.1, 1]), "drug": np.array([-1.0, -1])}
    known = _known("A+B", vectors)
    assert _ask("nearest", known, "C") == pytest.approx([0, 2, 0, 0, 0], abs=1e-6)  # as B
    assert _ask("nearest", known, "A+D") == pytest.approx([1, 0, 0, 0, 0], abs=1e-6)  # shares A
    assert _ask("nearest", _known("A+B"), "C") is None  # nothing to go by


def test_nearest_dose_is_nearest_in_log() -> None:
    known = _known()
    assert _ask("nearest", known, "drug", dose=3.0)[4] == pytest.approx(0.2, abs=1e-6)  # 3 is nearer to 1 than to 10
    assert _ask("nearest", known, "drug", dose=4.0)[4] == pytest.approx(0.8, abs=1e-6)


def test_same_in_other_types() -> None:
    log1p, obs = _cells()
    rows = np.flatnonzero(~((obs["p"] == "A") & (obs["t"] == "y")).to_numpy())
    known = baselines.Known(log1p, collect(log1p, obs, ROLES, rows), GENES, {})
    assert _ask("same in other types", known, "A", "y") == pytest.approx([1, 0, 0, 0, 0], abs=1e-6)


def test_linear_model_is_the_published_formula() -> None:
    rng = np.random.default_rng(0)
    n_genes, names = 12, [f"g{i}" for i in range(8)]
    genes = np.array([f"g{i}" for i in range(n_genes)])
    blocks, rows = [np.full((5, n_genes), 3.0)], ["ctrl"] * 5
    for name in names[:7]:
        blocks.append(np.full((5, n_genes), 3.0) + rng.normal(size=n_genes) * 0.3)
        rows += [name] * 5
    roles = SimpleNamespace(perturbation="p", control="ctrl", cell_type=None, dose=None, batch=None, time=None)
    log1p, obs = sp.csr_matrix(np.vstack(blocks)), pd.DataFrame({"p": rows})
    known = baselines.Known(log1p, collect(log1p, obs, roles), genes, {})
    found = _ask("linear", known, "g7", "")
    y = known.arms.shift[known.perturbed()].T
    names = [known.arms.arms[i].perturbation.label for i in known.perturbed()]
    b = y.mean(axis=1, keepdims=True)
    g = np.linalg.svd(y - b)[0][:, :6]  # seven changes less their mean have six components
    p = np.array([g[list(genes).index(n)] for n in names])
    ridge = 0.1 * np.eye(6)
    w = np.linalg.inv(g.T @ g + ridge) @ g.T @ (y - b) @ p @ np.linalg.inv(p.T @ p + ridge)
    assert found == pytest.approx(g @ w @ g[7] + b[:, 0], abs=1e-6)


def test_linear_model_needs_a_vector_of_every_gene() -> None:
    assert _ask("linear", _known(), "Z") is None


def test_moved_cells_have_the_mean_and_no_value_below_zero() -> None:
    known = _known()
    guess = baselines.moved(known, "x", np.array([-3.0, 1, 0, 0, 0]), 8, np.random.default_rng(0), "")
    assert guess.cells.shape == (8, 5) and guess.cells.min() == 0
    assert guess.cells[:, 1].mean() == pytest.approx(3.0)
    assert guess.mean == pytest.approx([-1, 3, 2, 2, 2])


def test_tested_cells_have_the_mean_and_keep_their_zeros() -> None:
    rng = np.random.default_rng(0)
    control = np.log1p(rng.poisson([5.0, 0.5, 0.01, 2.0], (2000, 4)) * 3.0)
    wanted = np.array([1.5, 0.6, 1.0, 0.0])
    cells = multiplied(control, control, wanted, rng)
    assert cells.mean(axis=0)[[0, 1, 3]] == pytest.approx(wanted[[0, 1, 3]], abs=2e-3)
    assert np.array_equal(cells[:, :2] > 0, control[:, :2] > 0)
    assert cells[:, 2].mean() == pytest.approx(1.0, abs=0.08)  # drawn molecules, each worth 3
    added = np.expm1(cells[control[:, 2] == 0, 2]) / 3
    assert np.allclose(added, added.round(), atol=1e-3)


def test_moved_cells_come_with_cells_to_test() -> None:
    guess = baselines.moved(_known(), "x", np.array([-1.0, 1, 0, 0, 0]), 4, np.random.default_rng(0), "")
    assert guess.tested is not None and guess.tested.mean(axis=0) == pytest.approx([1, 3, 2, 2, 2], abs=1e-4)


def test_centroid_is_the_mean_of_the_perturbed_profiles() -> None:
    assert baselines.centroid(_known("A+B"), "y") == pytest.approx([5, 2, 2, 2, 2], abs=1e-6)


def test_latent_arithmetic_with_a_linear_codec_is_the_mean_shift() -> None:
    log1p, _ = _cells()
    known = _known("A+B")
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))[0]

    def encode(rows: np.ndarray) -> np.ndarray:
        return np.asarray(log1p[rows].todense()) @ turn

    def decode(z: np.ndarray, seed: int) -> np.ndarray:
        return z @ turn.T

    asked = baselines.Question(Perturbation(("A", "B")), None, "x")
    guess = latent.latent_arithmetic(known, asked, 6, 0, encode, decode)
    assert guess is not None
    # drawn from 4 controls in turn: the spread is theirs, the mean theirs and the two singles'
    assert guess.cells.mean(axis=0) - np.array([1, 2, 0, 0, 0]) == pytest.approx(np.full(5, guess.cells[:, 4].mean()),
                                                                                  abs=1e-5)


@pytest.mark.parametrize("name", [n for n in baselines.SHIFTS if n != "same in other types"])  # it has no answer
def test_no_baseline_sees_the_held_out_cells(name: str) -> None:
    log1p, obs = _cells()
    rows = np.flatnonzero((obs["p"] != "A+B").to_numpy())
    told = log1p.tolil()
    told[np.flatnonzero((obs["p"] == "A+B").to_numpy())] = 9.0
    vectors = {**dict(zip("AB", np.eye(2), strict=True)), "drug": np.ones(2)}
    asked = baselines.Question(parse("A+B"), None, "x")
    guesses = [baselines.guess(name, baselines.Known(x, collect(x, obs, ROLES, rows), GENES, vectors), asked, 5)
               for x in (log1p, sp.csr_matrix(told))]
    assert guesses[0] is not None and guesses[1] is not None
    assert np.array_equal(guesses[0].cells, guesses[1].cells)
