"""What the editor of a target draws of real cells: a histogram for each row, and two rows together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from scdiff_core.analysis.design.feasibility import values_of
from scdiff_core.target import Target

BINS, JOINT_BINS = 40, 32


def histograms(target: Target, levels: Mapping[str, np.ndarray], fits: np.ndarray) -> list[dict[str, Any]]:
    """Return for each row how many real cells lie where: name, edges [41], counts [40] of all, and of those that fit.

    Levels are denoised expression, log1p; the edges reach to where the row's own levels are.
    """
    out = []
    for row in target.rows:
        values = values_of(row, levels)
        edges = _edges(values, BINS, [v for v in (row.level, row.upper) if v is not None])
        out.append({"name": row.name, "edges": edges.round(4).tolist(),
                    "counts": np.histogram(values, edges)[0].tolist(),
                    "fitting": np.histogram(values[fits], edges)[0].tolist(), "level": row.level, "upper": row.upper})
    return out


def joint(target: Target, levels: Mapping[str, np.ndarray], fits: np.ndarray, i: int, j: int) -> dict[str, Any]:
    """Return how real cells lie in two rows at once: names, edges x and y, counts [32][32] of the cells that fit."""
    rows = target.rows[i], target.rows[j]
    values = values_of(rows[0], levels)[fits], values_of(rows[1], levels)[fits]
    x, y = (_edges(v, JOINT_BINS, [a for a in (row.level, row.upper) if a is not None])
            for row, v in zip(rows, values, strict=True))
    counts = np.histogram2d(values[0], values[1], bins=[x, y])[0].astype(int)
    return {"rows": [i, j], "names": [row.name for row in rows], "x": x.round(4).tolist(), "y": y.round(4).tolist(),
            "counts": counts.tolist(), "levels": [row.level for row in rows]}


def _edges(values: np.ndarray, bins: int, more: list[float]) -> np.ndarray:
    low = min([float(values.min()) if len(values) else 0.0, *more])
    high = max([float(values.max()) if len(values) else 1.0, *more])
    return np.linspace(low, high if high > low else low + 1.0, bins + 1)
