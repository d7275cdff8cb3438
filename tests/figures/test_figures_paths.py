"""Figures of a path: places, curves with bands, tables, and files that say synthetic."""

from __future__ import annotations

import numpy as np
import pytest

from scdiff_core.figures import paths

RNG = np.random.default_rng(0)
REAL, MADE, POSITION = RNG.normal(size=(50, 2)), RNG.normal(size=(30, 2)), np.repeat([0.0, 0.5, 1.0], 10)
OWN = paths.Curves(np.array([0, 0.5, 1]), RNG.random((3, 2)) + 1, np.full((3, 2), 0.2))
TRUE = paths.Curves(np.array([0.0, 1.0]), RNG.random((2, 2)), np.full((2, 2), 0.1))


def test_the_way_joins_the_median_places_in_order():
    at, middle = paths.means_on_map(MADE, POSITION)
    assert at.tolist() == [0, 0.5, 1]
    np.testing.assert_allclose(middle[1], np.median(MADE[10:20], axis=0))
    figure = paths.path_map(REAL, MADE, POSITION, ("a", "b"))
    way = next(t for t in figure.data if t.name == "median of each position")
    np.testing.assert_allclose(np.c_[way.x, way.y], middle)
    assert [a.text for a in figure.layout.annotations] == ["a", "b"]
    assert any("synthetic" in t.name for t in figure.data)


def test_each_gene_has_a_curve_a_band_and_its_real_cells():
    figure = paths.gene_curves(["X", "Y"], OWN, TRUE)
    assert len(figure.data) == 6 and len(paths.gene_curves(["X", "Y"], OWN).data) == 4
    table = paths.table_of_curves(["X", "Y"], OWN, TRUE)
    assert len(table) == 2 * 3 + 2 * 2 and set(table["source"]) == {"generated (synthetic)", "real"}


@pytest.mark.parametrize("fmt", ["svg", "png"])
def test_files_say_that_cells_are_synthetic(fmt):
    for data in (paths.export_path_map(REAL, MADE, POSITION, ("a", "b"), fmt=fmt),
                 paths.export_gene_curves(["X", "Y"], OWN, TRUE, fmt=fmt)):
        assert (b"synthetic" in data) if fmt == "svg" else data.startswith(b"\x89PNG")
