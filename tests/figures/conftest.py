"""Cells for the figures: real ones and a stand-in for generated ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import sparse


@dataclass(frozen=True)
class Drawn:
    """Log1p [cells, 4] with labels, and positions [cells, 2]."""

    x: sparse.csr_matrix
    labels: np.ndarray
    xy: np.ndarray


GENES = ["CD3D", "LYZ", "MS4A1", "NKG7"]


def draw(n: int, seed: int) -> Drawn:
    """Return cells of types T2, T10 and one without a label."""
    rng = np.random.default_rng(seed)
    labels = np.array(["T10", "T2", ""])[rng.integers(3, size=n)]
    x = np.log1p(rng.poisson(1.0 + 2 * (labels == "T2")[:, None] * [1, 0, 0, 1], size=(n, 4)))
    return Drawn(sparse.csr_matrix(x.astype(np.float32)), labels, rng.normal(size=(n, 2)))


@pytest.fixture(scope="session")
def real() -> Drawn:
    return draw(90, 0)


@pytest.fixture(scope="session")
def made() -> Drawn:
    return draw(60, 1)


@pytest.fixture(scope="session")
def genes() -> list[str]:
    return GENES
