"""What all figures of the screen share: neutral to the page's theme, of fixed height, with quiet grids."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from scdiff_core.figures.palette import CONTINUOUS, PLAIN_MAP

CLEAR = "rgba(0,0,0,0)"
GRID = "rgba(128,128,128,0.22)"
AXIS = "rgba(128,128,128,0.75)"
SHADE = "rgba(213,94,0,0.10)"  # what a threshold leaves out
SEQUENTIAL = CONTINUOUS[PLAIN_MAP]
GAP = 46  # pixels between panels that stand one above the other
REAL_WORDS, GENERATED_WORDS = "real", "generated (synthetic)"
STAMP = "synthetic cells: generated, not measured"


@dataclass(frozen=True)
class Kind:
    """What one set of cells is called on a figure, and whether it was generated."""

    words: str
    synthetic: bool = False

    @classmethod
    def of(cls, name: str, synthetic: bool = False) -> Kind:
        """Return the kind of a set by its name; a generated one always says that it is synthetic."""
        return cls(f"{name} (synthetic)" if synthetic and "synthetic" not in name else name, synthetic)


KINDS = (Kind(REAL_WORDS), Kind(GENERATED_WORDS, True))


def frame(figure: go.Figure, height: int, **layout: Any) -> go.Figure:
    """Set the look of a figure: no colour of text or background, which are the page's, and a fixed height."""
    settings: dict[str, Any] = {"template": "none", "paper_bgcolor": CLEAR, "plot_bgcolor": CLEAR, "height": height,
                                "margin": {"l": 10, "r": 10, "t": 44, "b": 10}, "dragmode": "zoom",
                                "legend": {"bgcolor": CLEAR, "itemsizing": "constant"}, **layout}
    figure.update_layout(**settings)
    axes = {"gridcolor": GRID, "linecolor": AXIS, "tickcolor": AXIS, "zeroline": False, "automargin": True,
            "title_standoff": 8}
    figure.update_xaxes(**axes)
    figure.update_yaxes(**axes)
    return figure


def short(name: str, most: int = 28) -> str:
    """Return a group's name short enough for an axis: the end is cut, the whole stands in the hover text."""
    return name if len(name) <= most else name[: most - 1].rstrip() + "…"


def short_names(names: Sequence[str], most: int = 28) -> dict[str, str]:
    """Return name -> short name, all different: where two would become one, the middle is cut instead."""
    cut = {n: short(n, most) for n in names}
    twice = {c for c in cut.values() if list(cut.values()).count(c) > 1}
    half = (most - 1) // 2
    cut = {n: f"{n[:half]}…{n[-half:]}" if c in twice else c for n, c in cut.items()}
    if len(set(cut.values())) < len(cut):
        return {n: n for n in names}
    return cut


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return the key that sorts names as people do: T2 before T10."""
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part.casefold())
                 for part in re.split(r"(\d+)", name) if part)


def thin(n_cells: int, most: int, seed: int = 0) -> np.ndarray:
    """Return the sorted rows of at most `most` cells to draw, always the same ones."""
    if n_cells <= most:
        return np.arange(n_cells)
    return np.sort(np.random.default_rng(seed).permutation(n_cells)[:most])


def log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers (1, 3, 10, 30, ...) that lie in a range of positive values."""
    decades = range(int(np.floor(np.log10(max(low, 1e-9)))), int(np.ceil(np.log10(max(high, 1e-9)))) + 1)
    ticks = [step * 10.0**d for d in decades for step in (1, 3)]
    return [t for t in ticks if low * 0.999 <= t <= high * 1.001]


def tick_text(value: float) -> str:
    """Return a tick's number with thousands as k and M."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
