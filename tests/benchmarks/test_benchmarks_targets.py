"""Bounds of the benchmark: what holds, what is missing, and how it is said."""

from __future__ import annotations

import pytest

from benchmarks.targets import APART, RATIO, RELATIVE, TARGETS, VALUE, Target
from scdiff_core.analysis import verdict


def test_every_target_is_a_figure_of_the_report():
    assert set(TARGETS) <= set(verdict.METRICS)


@pytest.mark.parametrize(("key", "value", "floor", "holds"), [
    ("rf_genes", 0.60, 0.51, True), ("rf_genes", 0.601, 0.51, False),
    ("mmd", 0.00125, 0.001, True), ("mmd", 0.00126, 0.001, False),
    ("gene_correlation", 0.855, 0.9, True), ("gene_correlation", 0.854, 0.9, False),
    ("zero_share", 0.803, 0.793, True), ("zero_share", 0.804, 0.793, False), ("zero_share", 0.782, 0.793, False),
    ("library_size", 2200.0, 2000.0, True), ("library_size", 1799.0, 2000.0, False),
    ("gene_variance", 0.9, 1.0, True), ("gene_variance", 1.11, 1.0, False),
    ("label_agreement", 0.90, 0.92, True), ("label_agreement", 0.899, 0.92, False),
    ("label_agreement", 0.99, 0.92, False), ("copy_rate", 0.06, 0.05, True), ("copy_rate", 0.061, 0.05, False),
])
def test_musts_are_kept_up_to_and_on_the_bound(key, value, floor, holds):
    assert TARGETS[key].holds(value, floor) is holds


def test_nothing_is_said_without_a_floor_or_of_no_number():
    assert TARGETS["mmd"].holds(0.001, None) is None
    assert TARGETS["mmd"].holds(0.001, 0.0) is None
    assert TARGETS["zero_share"].holds(0.005, 0.0) is True  # a difference needs no division
    assert TARGETS["rf_genes"].holds(float("nan"), 0.5) is None
    assert TARGETS["log2fc_slope"].reached(1.0, 1.0) is None  # it has no aim
    assert TARGETS["mmd"].show(0.001, None, TARGETS["mmd"].must) == "not measured"


def test_an_aim_is_a_range_where_less_is_not_better():
    target = TARGETS["nn_accuracy"]
    assert target.reached(0.52, 0.5) and not target.reached(0.45, 0.5) and target.holds(0.45, 0.5)
    assert target.missing(0.45, 0.5, target.aim) == pytest.approx(0.05)


@pytest.mark.parametrize(("target", "words", "value", "floor", "said"), [
    (Target("a", VALUE, (float("-inf"), 0.6)), "≤ 0.6", 0.65, None, "0.050 away"),
    (Target("a", VALUE, (0.9, 1.1)), "0.9 to 1.1", 1.0, None, "yes"),
    (Target("a", RATIO, (float("-inf"), 1.25)), "≤ 1.25 × floor", 3.0, 2.0, "1.50 × floor, 0.25 away"),
    (Target("a", RATIO, (1.0, float("inf"))), "≥ floor", 3.0, 2.0, "1.50 × floor"),
    (Target("a", APART, (-0.01, 0.01), percent=True), "within 1 point", 0.82, 0.8, "+2.0 points, 1.0 away"),
    (Target("a", RELATIVE, (-0.1, 0.1)), "within 10 %", 85.0, 100.0, "-15.0 %, 5.0 away"),
])
def test_bounds_and_what_is_missing_in_words(target, words, value, floor, said):
    assert target.words(target.must) == words
    assert target.show(value, floor, target.must) == said
