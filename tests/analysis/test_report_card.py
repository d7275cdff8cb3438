"""The report card: good cells, bad cells of every kind, and too few cells, each told as it is."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from scdiff_core import keys
from scdiff_core.analysis import report_card as module
from scdiff_core.analysis import verdict
from scdiff_core.analysis.report_card import COPIES, GAUSSIAN, SHUFFLE, Cells, Report, report_card
from scdiff_core.errors import ScdiffError


def simulate(n: int, seed: int, genes: int = 60) -> Cells:
    """Return negative-binomial cells of three types with a program that varies inside each."""
    world, rng = np.random.default_rng(0), np.random.default_rng(seed)
    means = world.normal(-1, 1, size=(3, genes))
    program = world.normal(0, 0.6, size=(2, genes))
    which = rng.integers(3, size=n)
    total = rng.lognormal(7, 0.3, size=n)
    rates = np.exp(means[which] + rng.normal(size=(n, 2)) @ program)
    rates *= (total / 1000)[:, None]
    counts = rng.poisson(rates * rng.gamma(4, 1 / 4, size=rates.shape)).astype(np.float32)
    log1p = np.log1p(counts * 1e4 / total[:, None]).astype(np.float32)
    return Cells(sparse.csr_matrix(counts), sparse.csr_matrix(log1p), total, np.array(["B", "NK", "T"])[which])


SLOPE = "log2fc_slope"  # of 60 genes it varies by a tenth from draw to draw
COSTLY = {"sinkhorn", "wasserstein2", "gene_correlation_all"}


@pytest.fixture(autouse=True, scope="module")
def small_forests():
    """Forests that are enough to tell the cells of these tests apart."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "QUICK", (30, 15, 2))
        yield


@pytest.fixture(scope="module")
def real() -> tuple[Cells, Cells]:
    return simulate(600, 1), simulate(300, 2)


@pytest.fixture(scope="module")
def good(real: tuple[Cells, Cells]) -> Report:
    """The report of new cells of the very same population."""
    return report_card(simulate(300, 3), *real)


def test_new_cells_of_the_same_population_are_good_everywhere(good: Report) -> None:
    quick = [k for k in verdict.METRICS if k not in COSTLY]
    assert [r.key for r in good.rows] == quick
    assert {r.key: r.verdict for r in good.rows if r.key != SLOPE} == dict.fromkeys(set(quick) - {SLOPE}, "good")
    assert good.row(SLOPE).verdict in ("good", "fair")
    assert good.sentence.startswith("Generated cells are hard to tell from real ones (")
    assert "guessing is 50 %)" in good.sentence and good.n_cells == 300 and good.warnings == ()


def test_each_row_has_its_floor_and_baselines_that_are_worse(good: Report) -> None:
    for key in ("rf_genes", "rf_pca", "mmd", "energy", "gene_correlation", "label_agreement"):
        row = good.row(key)
        assert {SHUFFLE, GAUSSIAN} <= set(row.baselines)
        assert verdict.worse(row, row.baselines[SHUFFLE]) > 4 * row.noise, key
        assert verdict.worse(row, row.value) <= max(2 * row.noise, verdict.worse(row, row.baselines[SHUFFLE]) / 3)
    assert good.row("rf_pca").floor == pytest.approx(0.5, abs=0.08)
    assert good.row("copy_rate").baselines[COPIES] == 1
    assert good.row("copy_rate").floor == pytest.approx(0.05, abs=0.02)


def test_a_thorough_report_has_every_row_and_all_are_good(real: tuple[Cells, Cells],
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "THOROUGH", (30, 15, 2))
    report = report_card(simulate(300, 3), *real, thorough=True)
    assert {r.key: r.verdict for r in report.rows if r.key != SLOPE} \
        == dict.fromkeys(set(verdict.METRICS) - {SLOPE}, "good")
    for key in COSTLY | {"precision", "recall", "density", "coverage", "nn_accuracy", "log2fc_r"}:
        row = report.row(key)
        assert verdict.worse(row, row.baselines[SHUFFLE]) > 2 * row.noise, key
    assert report.row("log2fc_slope").floor == pytest.approx(1, abs=0.1)
    assert report.row("gene_variance").floor == pytest.approx(1, abs=0.1)


def test_types_that_differ_too_little_and_cells_that_vary_too_little(real: tuple[Cells, Cells]) -> None:
    train, test = real
    made = simulate(300, 3)
    log1p = made.log1p.toarray()
    blurred = 0.3 * log1p + 0.7 * log1p.mean(0)
    report = report_card(Cells(made.counts, sparse.csr_matrix(blurred), made.total_counts, made.labels), train, test)
    assert report.row("gene_variance").value == pytest.approx(0.09, abs=0.02)
    assert report.row("gene_variance").verdict == "poor" and report.row("log2fc_slope").verdict == "poor"
    assert report.row("recall").verdict == "poor" and "types" in report.row("log2fc_slope").sentence


def test_report_survives_json(good: Report) -> None:
    again = Report.from_dict(json.loads(json.dumps(good.to_dict(), allow_nan=False)))
    assert again == good
    assert good.settings["genes"] == 60 and good.settings["seed"] == 0


def test_floor_of_label_agreement_is_the_held_out_cells_own(real: tuple[Cells, Cells], good: Report) -> None:
    from scdiff_core.analysis.metrics import label_agreement, label_classifier

    classify = label_classifier(real[0].log1p, real[0].labels, seed=0)
    assert good.row("label_agreement").floor == pytest.approx(label_agreement(classify, real[1].log1p, real[1].labels))


def test_shuffled_smooth_and_copied_cells_are_each_found_out(real: tuple[Cells, Cells]) -> None:
    train, test = real
    rng = np.random.default_rng(5)
    counts = rng.permuted(train.counts.toarray()[:300], axis=0)
    shuffled = Cells(sparse.csr_matrix(counts), sparse.csr_matrix(np.log1p(counts * 1e4 / 1100)),
                     train.total_counts[:300], train.labels[:300])
    report = report_card(shuffled, train, test)
    assert report.row("gene_correlation").verdict == "poor" and report.row("label_agreement").verdict == "poor"
    assert report.row("rf_pca").verdict == "poor" and report.sentence.startswith("Generated cells are easy to tell")

    copied = report_card(train.take(np.arange(300)), train, test)
    assert copied.row("copy_rate").value == 1 and copied.row("copy_rate").verdict == "poor"
    assert "suspiciously near to a training cell" in copied.sentence

    log1p = train.log1p.toarray()[:300]
    smooth = log1p - 0.7 * (log1p - np.stack([log1p[train.labels[:300] == k].mean(0) for k in train.labels[:300]]))
    made = np.rint(np.expm1(smooth) * 1100 / 1e4)
    report = report_card(Cells(sparse.csr_matrix(made), sparse.csr_matrix(smooth), train.total_counts[:300] * 2,
                               train.labels[:300]), train, test)
    assert report.row("rf_genes").verdict == "poor" and report.row("library_size").verdict == "poor"
    assert report.row("library_size").value == pytest.approx(2 * np.median(train.total_counts[:300]))


def test_three_cells_are_not_judged(real: tuple[Cells, Cells]) -> None:
    report = report_card(simulate(3, 7), *real)
    assert {r.verdict for r in report.rows} == {"unclear"} and report.n_cells == 3
    assert "too few cells (3 a side)" in report.sentence
    assert any("only 3 generated cells" in w for w in report.warnings)
    json.dumps(report.to_dict(), allow_nan=False)


def test_without_labels_with_one_label_and_without_counts() -> None:
    train, test, made = simulate(60, 1, 15), simulate(40, 2, 15), simulate(40, 3, 15)
    bare = [replace(c, labels=None) for c in (made, train, test)]
    report = report_card(*bare, values=keys.CONTINUOUS)
    assert report.row("label_agreement") is None and report.row("library_size") is None
    assert any("no cell types" in w for w in report.warnings) and any("no counts" in w for w in report.warnings)
    one = [c.take(np.flatnonzero(c.labels == "T")) for c in (made, train, test)]
    report = report_card(*one)
    assert report.row("label_agreement") is None and any("one cell type only ('T')" in w for w in report.warnings)


def test_same_seed_same_report_and_another_mix_is_told() -> None:
    train, test, made = simulate(80, 1, 12), simulate(50, 2, 12), simulate(120, 3, 12)
    only = made.take(np.flatnonzero(made.labels == "B"))
    told: list[float] = []
    first = report_card(only, train, test, seed=4, progress=lambda words, fraction: told.append(fraction))
    assert first == report_card(only, train, test, seed=4)
    assert any("The mix of cell types differs ('B': 100% of the generated cells" in w for w in first.warnings)
    assert told == sorted(told) and told[-1] == 1.0


def test_rare_types_are_named() -> None:
    train, test, made = simulate(60, 1, 12), simulate(30, 2, 12), simulate(30, 3, 12)
    labels = np.array(["rare" if i < 5 else v for i, v in enumerate(train.labels)])
    asked = np.array(["rare" if i < 3 else v for i, v in enumerate(made.labels)])
    report = report_card(replace(made, labels=asked), replace(train, labels=labels), test)
    assert any(w.startswith("rare: fewer than 10 real training cells") for w in report.warnings)


def test_sets_that_cannot_be_compared_are_refused(real: tuple[Cells, Cells]) -> None:
    with pytest.raises(ScdiffError, match="There are 1 generated cells"):
        report_card(simulate(1, 3), *real)
    with pytest.raises(ScdiffError, match="have 12 genes, the held-out real ones 60"):
        report_card(simulate(30, 3, 12), *real)


def row(key: str, value: float, floor: float, noise: float = 0.01, **baselines: float) -> verdict.Row:
    return replace(verdict.METRICS[key], value=value, floor=floor, noise=noise, baselines=baselines)


@pytest.mark.parametrize(("value", "expected"), [(0.40, "good"), (0.51, "good"), (0.58, "good"), (0.66, "fair"),
                                                 (0.9, "poor")])
def test_auc_is_judged_on_the_way_from_floor_to_the_worst_baseline(value: float, expected: str) -> None:
    assert verdict.judge(row("rf_genes", value, 0.5, shuffle=0.8, gaussian=0.6), 500).verdict == expected


@pytest.mark.parametrize(("value", "expected"), [(0.04, "good"), (0.049, "good"), (0.07, "fair"), (0.11, "fair"),
                                                 (0.13, "poor")])
def test_distances_are_judged_by_their_floor(value: float, expected: str) -> None:
    assert verdict.judge(row("mmd", value, 0.04, 0.001, shuffle=1.2, gaussian=0.06), 500).verdict == expected


def test_a_distance_below_every_baseline_is_never_poor() -> None:
    assert verdict.judge(row("energy", 0.4, 0.04, 0.001, shuffle=1.2, gaussian=0.5), 500).verdict == "fair"


@pytest.mark.parametrize(("value", "expected"), [(0.95, "good"), (0.83, "good"), (0.78, "fair"), (0.5, "poor")])
def test_figures_of_neighbours_are_judged_more_strictly(value: float, expected: str) -> None:
    assert verdict.judge(row("recall", value, 0.9, shuffle=0.1, gaussian=0.2), 500).verdict == expected


def test_a_baseline_that_does_better_costs_the_good_verdict() -> None:
    near, far = {"gaussian": 0.85, "shuffle": 0.0}, {"gaussian": 0.6, "shuffle": 0.0}
    assert verdict.judge(row("gene_correlation", 0.7, 0.86, **near), 500).verdict == "fair"
    assert verdict.judge(row("gene_correlation", 0.7, 0.86, **far), 500).verdict == "good"
    assert verdict.judge(row("gene_correlation", 0.9, 0.86, **near), 500).verdict == "good"


def test_figures_near_the_floor_are_judged_by_chance_on_both_sides() -> None:
    for value, expected in ((0.95, "good"), (0.93, "good"), (0.97, "fair"), (0.86, "poor")):
        assert verdict.judge(row("zero_share", value, 0.945, shuffle=0.945), 500).verdict == expected


def test_copies_are_judged_against_the_floor_alone() -> None:
    for value, expected in ((0.01, "good"), (0.09, "good"), (0.15, "fair"), (0.4, "poor")):
        assert verdict.judge(row("copy_rate", value, 0.05, shuffle=0.0, copies=1.0), 500).verdict == expected
    assert verdict.judge(row("copy_rate", 0.4, 0.05), 19).verdict == "unclear"


def test_sentences_name_what_is_wrong() -> None:
    rows = [verdict.judge(r, 500) for r in (
        row("rf_genes", 0.52, 0.5, shuffle=0.9), row("zero_share", 0.70, 0.90),
        row("label_agreement", 0.6, 0.95, shuffle=0.2), row("library_size", 900, 2000, noise=50))]
    sentence = verdict.overall(tuple(rows), 500)
    assert sentence.startswith("Generated cells are hard to tell from real ones")
    assert "; but they have fewer zeros" in sentence
    assert "only 60.0 % are of the type that was asked for" in sentence and "sequenced shallower" in sentence
    fair = verdict.overall((verdict.judge(row("rf_genes", 0.66, 0.5, shuffle=0.8), 500),), 500)
    assert fair.startswith("Generated cells resemble real ones, but") and "66 % of the time" in fair


def test_collapsed_cells_few_cells_and_many_genes() -> None:
    train, test, made = simulate(60, 1, 12), simulate(40, 2, 12), simulate(40, 3, 12)
    nothing = Cells(made.counts * 0, made.log1p * 0, made.total_counts, made.labels)
    report = report_card(nothing, train, test)
    assert report.row("gene_correlation").value == 0 and report.row("zero_share").verdict == "poor"
    assert report.sentence.startswith("As far as 40 cells a side can tell, generated cells are easy to tell")


def test_of_many_genes_the_most_variable_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_GENES", 8)
    train, test, made = simulate(60, 1, 12), simulate(30, 2, 12), simulate(30, 3, 12)
    report = report_card(made, train, test)
    assert report.settings["genes"] == 8 and "The 8 most variable of 12 genes are compared." in report.warnings
    assert report.row("library_size").value == np.median(made.total_counts)
