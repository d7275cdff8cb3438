"""The benchmark of the modes: its tables, and the order in which genes rise."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from benchmarks import modes_path, modes_tables
from scdiff_core.analysis import path


class Cells:
    """Cells of the five stages in which gene g rises at its own place."""

    def __init__(self) -> None:
        stage = np.repeat(np.linspace(0, 1, 5), 4)
        self.types = np.repeat(np.array(modes_path.ORDER), 4)
        self.values = 3 / (1 + np.exp(-10 * (stage[:, None] - np.linspace(0.15, 0.85, 6))))

    def labels(self, name: str) -> np.ndarray:
        return self.types

    def log1p(self) -> sp.csr_matrix:
        return sp.csr_matrix(self.values)


def test_the_same_order_is_one_and_the_opposite_minus_one() -> None:
    cells = Cells()
    at, mean, _ = path.curves(cells.log1p(), np.repeat(np.linspace(0, 1, 5), 4))
    assert modes_path.order(cells, at, mean)["order"] > 0.99
    assert modes_path.order(cells, at, mean[:, ::-1])["order"] < -0.99


def test_a_table_has_the_mean_and_the_range_of_the_seeds() -> None:
    rows = [{"seed": s, "cells": "ours", "energy": e, "order": 0.5, "n": 3} for s, e in ((0, 1.0), (1, 2.0))]
    text = modes_tables.tables({"time": rows})
    assert "| ours | 1.50 (1.00 to 2.00) | 0.50 |" in text
