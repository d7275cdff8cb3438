"""The six scores of a panel: what perfect, silent and half predictions get, and how they are scaled."""

from __future__ import annotations

import numpy as np
import pytest

from scdiff_core.analysis.perturb import panel

GENES = np.array([f"g{i}" for i in range(40)])


@pytest.fixture(scope="module")
def cells() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    rates = {name: np.full(40, 2.0) for name in ("P", "Q", "R", "control")}
    for i, name in enumerate("PQR"):
        rates[name][i * 12:i * 12 + 12] = 8.0
    return {name: np.log1p(rng.poisson(rate, (60, 40))).astype(np.float32) for name, rate in rates.items()}


@pytest.fixture(scope="module")
def judged(cells: dict[str, np.ndarray]) -> panel.Panel:
    return panel.Panel({k: cells[k] for k in "PQR"}, cells["control"], GENES)


def test_perfect_cells_score_perfectly(judged: panel.Panel, cells: dict[str, np.ndarray]) -> None:
    found = judged.score({k: cells[k] for k in "PQR"})
    assert set(found) == set(panel.SIX)
    for metric in (panel.PDS, "de_wilcoxon_direction_fidelity_yield_raw", "de_wilcoxon_direction_reach_raw",
                   "de_wilcoxon_sig_jaccard"):
        assert found[metric] == pytest.approx(dict.fromkeys("PQR", 1.0)), metric
    assert found[panel.NMAE] == pytest.approx(dict.fromkeys("PQR", 0.0), abs=1e-6)
    assert panel.mean(found[panel.MSE]) < 0.05


def test_controls_score_as_silence_does(judged: panel.Panel, cells: dict[str, np.ndarray]) -> None:
    found = judged.score(dict.fromkeys("PQR", cells["control"]))
    assert found[panel.PDS] == pytest.approx(dict.fromkeys("PQR", 0.5))  # all tied
    assert found[panel.NMAE] == pytest.approx(dict.fromkeys("PQR", 1.0), abs=1e-5)
    assert found["de_wilcoxon_sig_jaccard"] == pytest.approx(dict.fromkeys("PQR", 0.0))
    assert panel.mean(found[panel.MSE]) == pytest.approx(1, abs=0.1)


def test_the_mean_over_conditions_is_the_packages_ratio_of_sums(judged: panel.Panel,
                                                                cells: dict[str, np.ndarray]) -> None:
    from cell_eval2 import aggregate_metrics, compute_metrics

    wrong = {"P": cells["P"], "Q": cells["R"], "R": cells["control"]}
    raw = compute_metrics(judged._adata(wrong, judged.control), judged._adata(judged.real, judged.control),
                          config=judged._config())
    whole = aggregate_metrics(raw)
    known = dict(zip(whole["metric"], whole["mean"], strict=True))
    found = judged.score(wrong)
    for metric in panel.SIX:
        assert panel.mean(found[metric]) == pytest.approx(known[metric], rel=1e-6), metric


def test_a_replicate_is_nearly_perfect(judged: panel.Panel) -> None:
    found = judged.replicate(splits=2)
    assert found[panel.PDS] == 1 and found["de_wilcoxon_direction_reach_raw"] > 0.9
    assert 0 < found[panel.NMAE] < 0.5 and found[panel.MSE] < 0.2


def test_perturbed_genes_of_the_whole_panel_are_taken_out(cells: dict[str, np.ndarray]) -> None:
    judged = panel.Panel({k: cells[k] for k in "PQ"}, cells["control"], GENES, ["G0", "g1"])
    assert judged._adata(judged.real, judged.control).n_vars == 38


def test_one_condition_has_the_four_scores_of_differential_expression(cells: dict[str, np.ndarray]) -> None:
    judged = panel.Panel({"P": cells["P"]}, cells["control"], GENES)
    assert set(judged.score({"P": cells["P"]})) == set(panel.SIX) - {panel.PDS, panel.MSE}


def test_no_significant_gene_is_no_answer(cells: dict[str, np.ndarray]) -> None:
    half = cells["control"][:30]
    judged = panel.Panel({"P": half, "Q": cells["Q"]}, cells["control"][30:], GENES)
    assert "P" not in judged.score({"P": half, "Q": cells["Q"]})[panel.NMAE]


def test_scaled() -> None:
    assert panel.scaled(0.6, 0.2, 1.0) == pytest.approx(0.5)
    assert panel.scaled(0.9, 1.0, 0.2) == pytest.approx(0.125)  # less is better: the same formula
    assert np.isnan(panel.scaled(1.0, 1.0, 1.0)) and np.isnan(panel.scaled(1.0, 0.0, float("nan")))


def test_discrimination_by_hand() -> None:
    real = {"P": np.array([1.0, 0, 0]), "Q": np.array([0.0, 1, 0]), "R": np.array([1.0, 1, 0])}
    # nearest to (2, 1): R (cosine .95), then P (.89), then Q (.45)
    asked = np.array([2.0, 1, 0])
    assert panel.discrimination({"R": asked}, real) == {"R": 1.0}
    assert panel.discrimination({"P": asked}, real) == {"P": 0.5}
    assert panel.discrimination({"Q": asked}, real) == {"Q": 0.0}
    assert panel.discrimination({"Q": np.zeros(3)}, real) == {"Q": 0.5}  # no direction: all tied


def test_discrimination_is_the_packages(judged: panel.Panel, cells: dict[str, np.ndarray]) -> None:
    base = cells["control"].mean(axis=0)
    real = {k: cells[k].mean(axis=0) - base for k in "PQR"}
    wrong = {"P": cells["P"], "Q": cells["R"], "R": cells["P"]}
    ours = panel.discrimination({k: v.mean(axis=0) - base for k, v in wrong.items()}, real)
    assert ours == pytest.approx(judged.score(wrong)[panel.PDS])
