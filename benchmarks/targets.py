"""What each figure of the quality benchmark must reach, and what it aims at: computed, never typed into a table."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite

VALUE, RATIO, APART, RELATIVE = "value", "ratio to floor", "apart from floor", "relative to floor"
SLACK = 1e-9  # of floating point, so that a figure on its bound keeps it
Bounds = tuple[float, float]


@dataclass(frozen=True)
class Target:
    """The bounds of one figure, between which its mean over seeds must lie, and those it aims at.

    `kind` says what is bounded: the value itself, its ratio to the floor, its difference from the floor (in the
    figure's unit), or that difference over the floor.
    """

    key: str
    kind: str
    must: Bounds
    aim: Bounds | None = None
    percent: bool = False  # whether the bounds of a difference are shares

    def measure(self, value: float, floor: float | None) -> float | None:
        """Return what is bounded; None where it needs a floor and there is none, or one of zero to divide by."""
        if not isfinite(value):
            return None
        if self.kind == VALUE:
            return value
        if floor is None or not isfinite(floor) or (floor == 0 and self.kind != APART):
            return None
        return {RATIO: lambda: value / floor, APART: lambda: value - floor,
                RELATIVE: lambda: value / floor - 1}[self.kind]()

    def holds(self, value: float, floor: float | None) -> bool | None:
        """Say whether the must is kept; None where it cannot be said."""
        return _within(self.measure(value, floor), self.must)

    def reached(self, value: float, floor: float | None) -> bool | None:
        """Say whether the aim is reached; None where there is none or it cannot be said."""
        return None if self.aim is None else _within(self.measure(value, floor), self.aim)

    def missing(self, value: float, floor: float | None, bounds: Bounds) -> float | None:
        """Return by how much the measure lies outside the bounds (0: it does not); None where it cannot be said."""
        measured = self.measure(value, floor)
        return None if measured is None else max(0.0, bounds[0] - measured, measured - bounds[1])

    def words(self, bounds: Bounds | None) -> str:
        """Return the bounds as a table shows them."""
        if bounds is None:
            return ""
        low, high = bounds
        if self.kind in (APART, RELATIVE) and low == -high:
            points = f"{100 * high:g} point{'s' if high != 0.01 else ''}" if self.percent else f"{high:g}"
            amount = f"{100 * high:g} %" if self.kind == RELATIVE else points
            return f"within {amount}"
        if isfinite(low) and isfinite(high):
            return f"{low:g} to {high:g}"
        sign, number = ("≤", high) if isfinite(high) else ("≥", low)
        times = f"{number:g} × floor" if number != 1 else "floor"
        return f"{sign} {times if self.kind == RATIO else f'{number:g}'}"

    def show(self, value: float, floor: float | None, bounds: Bounds) -> str:
        """Return how far a figure is from its bounds: "holds", or what is missing, with the measure it is about."""
        measured, missing = self.measure(value, floor), self.missing(value, floor, bounds)
        if measured is None or missing is None:
            return "not measured"
        shown = {RATIO: f"{measured:.2f} × floor", APART: f"{100 * measured:+.1f} points" if self.percent
                 else f"{measured:+.3f}", RELATIVE: f"{100 * measured:+.1f} %", VALUE: ""}[self.kind]
        if missing <= SLACK:
            return shown or "yes"
        hundred = self.kind == RELATIVE or (self.kind == APART and self.percent)
        away = f"{100 * missing:.1f} away" if hundred else f"{missing:.{2 if self.kind == RATIO else 3}f} away"
        return f"{shown}, {away}" if shown else away


def _within(measured: float | None, bounds: Bounds) -> bool | None:
    return None if measured is None else bounds[0] - SLACK <= measured <= bounds[1] + SLACK


def _most(key: str, must: float, aim: float, kind: str = VALUE) -> Target:
    return Target(key, kind, (-inf, must), (-inf, aim))


def _least(key: str, must: float, aim: float) -> Target:
    return Target(key, RATIO, (must, inf), (aim, inf))


TARGETS = {target.key: target for target in (
    _most("rf_genes", 0.60, 0.55),
    _most("rf_pca", 0.56, 0.53),
    *(_most(key, 1.25, 1.1, RATIO) for key in ("mmd", "energy", "sinkhorn")),
    *(_least(key, 0.95, 1.0) for key in ("gene_correlation", "gene_correlation_all")),
    Target("zero_share", APART, (-0.01, 0.01), percent=True),
    Target("library_size", RELATIVE, (-0.1, 0.1)),
    Target("gene_variance", VALUE, (0.9, 1.1)),
    *(_least(key, 0.92, 1.0) for key in ("precision", "recall", "density", "coverage")),
    Target("nn_accuracy", VALUE, (-inf, 0.58), (0.50, 0.53)),
    Target("label_agreement", APART, (-0.02, 0.02), (-0.005, 0.005), percent=True),  # "equal": within half a point
    Target("log2fc_slope", VALUE, (0.9, 1.1)),
    _most("copy_rate", 1.2, 1.0, RATIO),
)}

# CPU seconds, by preset; 1,000 cells in a warm process
TRAINING = {"quick": 60.0, "standard": 180.0}
THOUSAND_CELLS = 2.0

# CFGen's protocol on PBMC3k as published (Palma et al. 2025, table 1): 2-Wasserstein, type by type
PUBLISHED_W2 = {"pbmc3k_counts": {"CFGen": 11.17, "scDiffusion": 12.11, "scVI": 13.39, "real cells": 9.80}}
