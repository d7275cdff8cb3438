"""What the rows of a report card say: each method's mean and its error, and where one is below another by more.

The rows are those of `card.measure` and `card.six`; several seeds of a condition are averaged first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scdiff_core.analysis.perturb import panel
from scdiff_core.analysis.perturb.card import FLOOR, SCALED_BY
from scdiff_core.analysis.perturb.scores import HIGHER

TITLES = {"pearson": "Pearson of change, control", "pearson_centroid": "Pearson of change, centroid", "pds": "PDS, all",
          "e_distance": "E-distance", "mmd": "MMD", "overlap_20": "top-20 overlap", "overlap_50": "top-50 overlap",
          "variance_ratio": "variance ratio", "pearson_cells": "Pearson, of the cells"}
BETTER = {**HIGHER, "pds": True}  # None: neither more nor less is
NOT_JUDGED = ("pearson_cells",)  # the mean is judged by what is stated
Row = dict[str, Any]


@dataclass(frozen=True)
class Below:
    """One place where a method is below another by more than the standard error of their difference.

    `scaled`: of one of the six scores, in units of the way from the mean response to a replicate.
    """

    who: str
    method: str
    title: str
    by: float
    se: float
    scaled: bool = False

    def words(self) -> str:
        """Say it in one line."""
        digits = 2 if self.scaled else 3
        return (f"{self.who} below {self.method} on {self.title}{', scaled' if self.scaled else ''}: by "
                f"{self.by:.{digits}f} (SE {self.se:.{digits}f})")


def by_condition(rows: Iterable[Row], method: str, key: str) -> dict[str, float]:
    """Return the mean over seeds of one figure for every condition that has it."""
    found: dict[str, list[float]] = {}
    for row in rows:
        value = row.get(key) if row["method"] == method else None
        if value is not None and math.isfinite(value):
            found.setdefault(row["condition"], []).append(value)
    return {c: float(np.mean(v)) for c, v in found.items()}


def mean_se(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and its standard error over conditions; NaN for the second where there is one."""
    array = np.asarray(values, float)
    return float(array.mean()), float(array.std(ddof=1) / np.sqrt(len(array))) if len(array) > 1 else float("nan")


def methods(rows: Sequence[Row]) -> list[str]:
    """Return the methods in the order in which they were measured, the floor last."""
    found = list(dict.fromkeys(r["method"] for r in rows))
    return [m for m in found if m != FLOOR] + [m for m in found if m == FLOOR]


def lead(ours: dict[str, float], theirs: dict[str, float], higher: bool) -> tuple[float, float] | None:
    """Return the mean difference in favour of ours over shared conditions and its standard error; None for none."""
    shared = [c for c in ours if c in theirs]
    if not shared:
        return None
    sign = 1.0 if higher else -1.0
    return mean_se([sign * (ours[c] - theirs[c]) for c in shared])


def below(rows: Sequence[Row], who: str, others: Iterable[str]) -> list[Below]:
    """Return every score on which `who` is below one of the others by more than the SE of their difference."""
    out = []
    theirs = list(others)
    for key, higher in BETTER.items():
        if higher is not None and key not in NOT_JUDGED:
            out += _below(rows, who, theirs, key, higher, TITLES[key], False)
    return out


def below_scaled(panels: Sequence[dict[str, Any]], who: str, others: Iterable[str]) -> list[Below]:
    """Return every one of the six scaled scores on which `who` is below one of the others by more than the SE."""
    rows, theirs = scaled_rows(panels), list(others)
    return [b for key, title in panel.SIX.items() for b in _below(rows, who, theirs, key, True, title, True)]


def _below(rows: Sequence[Row], who: str, others: Sequence[str], key: str, higher: bool, title: str,
           scaled: bool) -> list[Below]:
    ours, out = by_condition(rows, who, key), []
    for method in others:
        found = lead(ours, by_condition(rows, method, key), higher)
        if found and found[0] < -max(found[1] if math.isfinite(found[1]) else 0.0, 1e-9):
            out.append(Below(who, method, title, -found[0], found[1], scaled))
    return out


def scaled_rows(panels: Sequence[dict[str, Any]]) -> list[Row]:
    """Return the six scores, scaled (0 the mean response, 1 a replicate), one row a method, condition, seed, score."""
    out = []
    for one in panels:
        base = {m: panel.mean(v) for m, v in one["methods"].get(SCALED_BY, {}).items()}
        for method, table in one["methods"].items():
            for metric, values in table.items():
                replicate = one["replicate"].get(metric)
                if replicate is None or not math.isfinite(base.get(metric, math.nan)):
                    continue
                for condition, value in values.items():
                    scaled = panel.scaled(value, base[metric], replicate)
                    if math.isfinite(scaled):
                        out.append({"method": method, "condition": condition, "seed": one["seed"], metric: scaled})
    return out


def leaks(lines: Iterable[str]) -> list[str]:
    """Return what held-out conditions share with the training cells (`Leakage.words`), like ones together."""
    by: dict[str, list[str]] = {}
    for line in lines:
        name, _, words = line.partition(": ")
        by.setdefault(words.rstrip("."), []).append(name)
    return [f"{words} ({', '.join(names)})" if len(names) < 4 else f"{words} ({len(names)} conditions)"
            for words, names in by.items()]


def shown(rows: Sequence[Row], keys: Iterable[str]) -> list[dict[str, Any]]:
    """Return one entry a method: its name, ``n`` conditions, and for each score [mean, standard error] or None."""
    out = []
    every = list(keys)
    for method in methods(rows):
        of = {k: list(by_condition(rows, method, k).values()) for k in every}
        n = len({r["condition"] for r in rows if r["method"] == method})
        out.append({"method": method, "n": n, **{k: list(mean_se(v)) if v else None for k, v in of.items()}})
    return out
