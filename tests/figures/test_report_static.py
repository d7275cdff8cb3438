"""The figures of a report: what is drawn is well-formed, and what is ordered or listed is right."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from scdiff_core.analysis.metrics import gene_correlations
from scdiff_core.figures import report_static
from scdiff_core.figures.markers import means_range


@pytest.fixture
def table() -> pd.DataFrame:
    """As `by_type.gene_table` makes it, with a gene that nobody expresses."""
    rng = np.random.default_rng(0)
    mean = np.r_[rng.lognormal(0, 1, 40), 0.0]
    return pd.DataFrame({"gene": [f"G{i}" for i in range(41)], **{
        f"{k}_{e}": v for e in ("real", "generated") for k, v in (
            ("count_mean", mean), ("count_variance", mean * 1.5), ("zeros", np.exp(-mean)))}})


def words(svg: bytes) -> str:
    """All text of a figure; raises where it is not well-formed."""
    return " ".join(ET.fromstring(svg).itertext())


@pytest.mark.parametrize("counts", [True, False])
def test_figures_of_genes_say_what_is_real_and_what_is_synthetic(table: pd.DataFrame, counts: bool) -> None:
    for draw in (report_static.variance_figure, report_static.zeros_figure):
        said = words(draw(table, counts))
        assert "real" in said and "generated (synthetic)" in said and "not measured" in said
        assert ("Poisson" in said) == counts


def test_library_sizes_of_one_size_and_of_many() -> None:
    rng = np.random.default_rng(1)
    assert "median" in words(report_static.library_figure(rng.lognormal(7, 1, 50), rng.lognormal(7, 1, 70)))
    words(report_static.library_figure(np.full(5, 100.0), np.full(5, 100.0)))


def test_matrices_are_numpys_and_clusters_stand_together() -> None:
    rng = np.random.default_rng(2)
    factors = rng.normal(size=(300, 2))
    x = factors[:, [0, 1, 0, 1, 0, 1]] + 0.3 * rng.normal(size=(300, 6))
    matrix = report_static.matrix_of(gene_correlations(x), 6)
    np.testing.assert_allclose(matrix, np.corrcoef(x.T), atol=1e-5)
    order = report_static.correlation_order(matrix).tolist()
    assert {frozenset(order[:3]), frozenset(order[3:])} == {frozenset((0, 2, 4)), frozenset((1, 3, 5))}
    assert report_static.correlation_order(np.eye(2)).tolist() == [0, 1]
    other = matrix.copy()
    other[1, 4] = other[4, 1] = 0.9
    pairs = report_static.largest_pairs(matrix, other, list("abcdef"), 2)
    assert pairs.iloc[0][["gene", "other gene"]].tolist() == ["b", "e"] and len(pairs) == 2
    assert "Pearson r" in words(report_static.correlation_figure(matrix, other, list("abcdef")))


def test_means_below_zero_are_on_the_axes() -> None:
    low, top = means_range(pd.DataFrame({"real": [-0.3, 0.2], "generated": [-0.1, 0.4]}))
    assert low < -0.3 and top > 0.4
    low, top = means_range(pd.DataFrame({"real": [0.0, 2.0], "generated": [1.0, 0.4]}))
    assert -0.1 < low < 0 and 2 < top < 2.2


def test_confusion_is_in_percent_of_a_row_also_where_a_row_is_empty() -> None:
    real, made = np.array([[3, 1], [0, 0]]), np.array([[2, 2], [0, 5]])
    said = words(report_static.confusion_figure(real, made, ["B", "A very long name of a cell type"]))
    for number in ("75", "25", "50", "100"):
        assert number in said.split()
    assert "asked for" in said and "its label" in said
