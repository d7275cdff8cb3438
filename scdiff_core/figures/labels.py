"""Names beside points, none over another where that can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WIDE = 0.62  # width of a letter, as a share of the font's size
# where a name may stand, from its point: right and left of it, then above, then farther off
OFFSETS = ((1.0, -0.7), (1.0, 0.9), (1.3, -2.0), (1.3, 2.2), (2.4, -3.4), (2.4, 3.4), (4.0, -1.2), (4.0, 1.2),
           (3.4, -5.0), (3.4, 5.0), (6.0, -2.6), (6.0, 2.6))


@dataclass(frozen=True)
class Label:
    """One name: the row of its point, and where it starts (`left`) or ends (`right`) from the point; down is plus."""

    row: int
    text: str
    dx: float
    dy: float
    anchor: str


def place_labels(names: Sequence[str], x: np.ndarray, y: np.ndarray, rows: Sequence[int], width: float, height: float,
                 font: float, most: int, points: np.ndarray | None = None,
                 blocked: Sequence[tuple[float, float, float, float]] = ()) -> list[Label]:
    """Return at most `most` names, best first, with places in which none lies over another or over a named point.

    Points [n] in pixels from the left and from the top of a plot of `width` by `height`; `font` in the same unit.
    Of the free places a name takes the one over the fewest of all `points` [m, 2], the nearest first; boxes that are
    `blocked` (left, top, right, bottom) stay free. A name without a free place is left out.
    """
    half = 0.4 * font
    taken: list[tuple[float, float, float, float]] = [
        *blocked, *((a - half, b - half, a + half, b + half) for a, b in zip(x[:most], y[:most], strict=True))]
    others = np.zeros((0, 2)) if points is None else points
    made: list[Label] = []
    for name, a, b, row in zip(names, x, y, rows, strict=True):
        if len(made) == most:
            break
        long = WIDE * font * len(name)
        free: list[tuple[int, int, tuple[float, float, float, float], float, float]] = []
        outwards = (1, -1) if a >= width / 2 else (-1, 1)
        for dx, dy in ((sign * off * font, down * font) for off, down in OFFSETS for sign in outwards):
            left = a + dx if dx > 0 else a + dx - long
            box = (left, b + dy - 0.62 * font, left + long, b + dy + 0.62 * font)
            inside = box[0] >= 0 and box[2] <= width and box[1] >= 0 and box[3] <= height
            if inside and not any(box[0] < t[2] and t[0] < box[2] and box[1] < t[3] and t[1] < box[3] for t in taken):
                over = int(((others > box[:2]) & (others < box[2:])).all(1).sum())
                free.append((over, len(free), box, dx, dy))
        if free:
            _, _, box, dx, dy = min(free)
            taken.append(box)
            made.append(Label(int(row), name, float(dx), float(dy), "left" if dx > 0 else "right"))
    return made
