"""Precision, recall, density and coverage against their definitions, written out point by point."""

from __future__ import annotations

import numpy as np
import pytest

from scdiff_core.analysis import metrics
from scdiff_core.analysis.neighbours import KEYS, manifold, neighbour_accuracy_of


def by_hand(real: np.ndarray, made: np.ndarray, k: int) -> dict[str, float]:
    """The four figures by loops over points and balls."""
    def reach(points: np.ndarray) -> list[float]:
        return [sorted(np.linalg.norm(points - p, axis=1))[k] for p in points]

    inside = [[np.linalg.norm(r - m) <= d for m in made] for r, d in zip(real, reach(real), strict=True)]
    covered = [[np.linalg.norm(r - m) <= d for m, d in zip(made, reach(made), strict=True)] for r in real]
    return {"precision": np.mean([any(row[j] for row in inside) for j in range(len(made))]),
            "recall": np.mean([any(row) for row in covered]),
            "density": sum(map(sum, inside)) / (k * len(made)),
            "coverage": np.mean([any(row) for row in inside])}


@pytest.mark.parametrize("k", [1, 3, 5])
def test_the_four_figures_are_their_definitions(k: int) -> None:
    rng = np.random.default_rng(k)
    real, made = rng.normal(size=(40, 2)), rng.normal(0.5, 1.4, size=(30, 2))
    assert manifold(real, made, k) == pytest.approx(by_hand(real, made, k))


def test_alike_apart_collapsed_and_too_few() -> None:
    rng = np.random.default_rng(0)
    real, other = rng.normal(size=(500, 3)), rng.normal(size=(500, 3))
    alike = manifold(real, other)
    assert min(alike["precision"], alike["recall"], alike["coverage"]) > 0.93
    assert alike["density"] == pytest.approx(1, abs=0.1)
    assert set(manifold(real, other + 100).values()) == {0}
    narrow = manifold(real, 0.3 * other)  # the middle of the cloud alone: precise, but it leaves the rest out
    assert narrow["precision"] > 0.97 and narrow["recall"] < 0.4 and narrow["coverage"] < 0.6
    assert narrow["density"] > alike["density"] + 0.05
    few = manifold(real[:5], other)
    assert list(few) == list(KEYS) and all(np.isnan(v) for v in few.values())


def test_neighbour_accuracy_from_distances_is_that_from_points() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(60, 4)), rng.normal(0.6, 1, size=(60, 4))
    expected = metrics.nearest_neighbour_accuracy(a, b)
    assert neighbour_accuracy_of(metrics.pooled_distances(a, b), 60) == pytest.approx(expected)
    assert np.isnan(neighbour_accuracy_of(np.zeros((2, 2)), 1))
