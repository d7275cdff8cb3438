"""Curves along a path and where genes rise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scdiff_core.analysis import path


def test_curves_are_the_means_and_spreads_of_the_cells_at_each_position():
    rng = np.random.default_rng(0)
    x, position = rng.poisson(1.0, (60, 4)).astype(float), rng.choice([0.0, 0.5, 1.0, np.nan], 60)
    at, mean, sd = path.curves(sp.csr_matrix(x), position)
    grouped = pd.DataFrame(x).groupby(position)
    assert at.tolist() == [0, 0.5, 1]
    np.testing.assert_allclose(mean, grouped.mean())
    np.testing.assert_allclose(sd, grouped.std(ddof=0))


def test_genes_rise_where_they_pass_the_middle():
    at = np.linspace(0, 1, 5)
    mean = np.array([[0, 0, 1, 0, 3, 2], [0, 1, 1, 4, 2, 2], [1, 2, 1, 0, 1, 2], [3, 3, 1, 0, 0, 2],
                     [4, 4, 1, 0, 0, 3]], float)
    found = path.rise(at, mean)
    np.testing.assert_allclose(found[[0, 1, 3, 5]], [0.625, 0.5, 0.125, 0.875])
    assert np.isnan(found[[2, 4]]).all()  # one stays, one falls


def test_the_order_in_which_steps_rise_is_found_again():
    at, truth = np.linspace(0, 1, 21), np.linspace(0.1, 0.9, 9)
    mean = 1 / (1 + np.exp(-(at[:, None] - truth) * 40))
    np.testing.assert_allclose(path.rise(at, mean), truth, atol=0.03)


def test_genes_that_change_most_against_their_spread_come_first():
    mean = np.array([[0.0, 0, 0], [2, 2, 0.1]])
    assert path.changing(mean, np.array([[0.1, 3, 0], [0.1, 3, 0]]), 2).tolist() == [0, 1]
