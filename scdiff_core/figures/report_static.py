"""The figures of a report as SVG: real and generated cells on the same axes, drawn to be read in print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from scdiff_core.figures.base import GENERATED_WORDS, REAL_WORDS, short_names
from scdiff_core.figures.export import new_figure, save_figure
from scdiff_core.figures.palette import GENERATED, REAL

LINE = "#444444"
DIVERGING = "RdBu_r"
WRITTEN = 12  # labels; with more, a matrix has no numbers in it
SETS = (("real", REAL_WORDS, REAL, "o"), ("generated", GENERATED_WORDS, GENERATED, "D"))


def variance_figure(table: pd.DataFrame, counts: bool) -> bytes:
    """Return each gene's variance against its mean (`by_type.gene_table`), on logarithmic axes for counts."""
    figure, axes = new_figure(7.2, 3.4, 1, 2, sharex=True, sharey=True)
    shown = table
    if counts:
        positive = np.all([table[f"{k}_{e}"] > 0 for k in ("count_mean", "count_variance")
                           for e in ("real", "generated")], axis=0)
        shown = table[positive]
    for place, (ending, words, colour, marker) in zip(axes[0], SETS, strict=True):
        x, y = shown[f"count_mean_{ending}"], shown[f"count_variance_{ending}"]
        place.scatter(x, y, s=6, color=colour, marker=marker, linewidths=0, alpha=0.6, rasterized=True)
        if counts:
            place.set(xscale="log", yscale="log")
            if len(x):
                ends = np.array([float(x.min()), float(x.max())])
                place.plot(ends, ends, color=LINE, linewidth=0.8, linestyle="--", label="Poisson: variance = mean")
                place.legend(loc="upper left", fontsize=7)
        place.set(title=words, xlabel="mean (counts)" if counts else "mean")
    axes[0, 0].set_ylabel("variance (counts²)" if counts else "variance")
    return save_figure(figure, "svg", True)


def zeros_figure(table: pd.DataFrame, counts: bool) -> bytes:
    """Return each gene's share of zeros against its mean, with the line exp(−mean) of Poisson counts."""
    figure, axes = new_figure(7.2, 3.4, 1, 2, sharex=True, sharey=True)
    for place, (ending, words, colour, marker) in zip(axes[0], SETS, strict=True):
        x, y = table[f"count_mean_{ending}"], 100 * table[f"zeros_{ending}"]
        keep = x > 0
        place.scatter(x[keep], y[keep], s=6, color=colour, marker=marker, linewidths=0, alpha=0.6, rasterized=True)
        if counts and keep.any():
            grid = np.geomspace(float(x[keep].min()), float(x[keep].max()), 100)
            place.plot(grid, 100 * np.exp(-grid), color=LINE, linewidth=0.8, linestyle="--",
                       label="Poisson of one rate: exp(−mean)")
            place.legend(loc="lower left", fontsize=7)
        if keep.any():
            place.set_xscale("log")
        place.set(title=words, xlabel="mean (counts)" if counts else "mean", ylim=(-3, 103))
    axes[0, 0].set_ylabel("cells without the gene (%)")
    return save_figure(figure, "svg", True)


def library_figure(real: np.ndarray, generated: np.ndarray) -> bytes:
    """Return the distributions of the cells' total counts [N], [M] on one logarithmic axis."""
    figure, axes = new_figure(5.2, 2.9)
    place = axes[0, 0]
    both = np.log10(np.maximum(np.concatenate([real, generated]).astype(float), 1))
    low, high = float(both.min()), float(both.max())
    edges = np.linspace(low, high if high > low else low + 0.1, 36)
    for values, words, colour, style in ((real, REAL_WORDS, REAL, {"histtype": "stepfilled", "alpha": 0.6}),
                                         (generated, GENERATED_WORDS, GENERATED,
                                          {"histtype": "step", "linewidth": 1.5})):
        logs = np.log10(np.maximum(np.asarray(values, float), 1))
        place.hist(logs, edges, color=colour, label=words, weights=np.full(len(logs), 100 / max(1, len(logs))),
                   **style)
        place.axvline(float(np.median(logs)), color=colour, linestyle="--", linewidth=1)
    ticks = [t for t in (1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6) if low <= np.log10(t) <= high]
    place.set_xticks([np.log10(t) for t in ticks], [f"{t:,.0f}" for t in ticks])
    place.set(xlabel="counts of a cell (dashed: median)", ylabel="% of cells")
    place.legend(loc="upper left", fontsize=7)
    return save_figure(figure, "svg", True)


def correlation_order(real: np.ndarray) -> np.ndarray:
    """Return the order of genes by average-linkage clustering of 1 − r of their correlations [K, K] in real cells."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    if len(real) < 3:
        return np.arange(len(real))
    apart = np.clip(1 - np.nan_to_num(real), 0, 2)
    apart = (apart + apart.T) / 2
    np.fill_diagonal(apart, 0)
    return leaves_list(linkage(squareform(apart, checks=False), "average"))


def correlation_figure(real: np.ndarray, generated: np.ndarray, genes: Sequence[str]) -> bytes:
    """Return two matrices of gene-gene correlations [K, K] in the same order, on one colour scale."""
    figure, axes = new_figure(9.6, 4.8, 1, 2, sharex=True, sharey=True)
    parts = np.concatenate([m[~np.eye(len(m), dtype=bool)] for m in (real, generated)])
    reach = float(np.nanquantile(np.abs(parts), 0.99)) if np.isfinite(parts).any() else 1.0
    drawn = None
    for place, (_, words, _, _), matrix in zip(axes[0], SETS, (real, generated), strict=True):
        drawn = place.imshow(matrix, cmap=DIVERGING, vmin=-max(reach, 0.05), vmax=max(reach, 0.05),
                             interpolation="nearest")
        place.set(title=words)
        place.set_xticks(range(len(genes)), list(genes), rotation=90, fontsize=5, style="italic")
        place.set_yticks(range(len(genes)), list(genes), fontsize=5, style="italic")
        place.tick_params(length=0)
    figure.colorbar(drawn, ax=axes, shrink=0.7, label="Pearson r")
    return save_figure(figure, "svg", True)


def confusion_figure(real: np.ndarray, generated: np.ndarray, labels: Sequence[str]) -> bytes:
    """Return what a classifier says of real and of generated cells: two matrices [K, K] in percent of a row."""
    names = list(short_names(list(labels), 20).values())
    side = max(2.6, 0.34 * len(names) + 1.4)
    figure, axes = new_figure(2 * side + 0.9, side + 0.4, 1, 2, sharex=True, sharey=True)
    drawn = None
    for place, words, table in zip(axes[0], ("real, never trained on", GENERATED_WORDS), (real, generated),
                                   strict=True):
        share = 100 * table / np.maximum(table.sum(1, keepdims=True), 1)
        drawn = place.imshow(share, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
        place.set(title=words, xlabel="the classifier says")
        place.set_xticks(range(len(names)), names, rotation=90)
        place.set_yticks(range(len(names)), names)
        place.tick_params(length=0)
        if len(names) <= WRITTEN:
            for (i, j), value in np.ndenumerate(share):
                if value >= 0.5:
                    place.text(j, i, f"{value:.0f}", ha="center", va="center", fontsize=6.5,
                               color="white" if value > 55 else "#222222")
    axes[0, 0].set_ylabel("its label")
    axes[0, 1].set_ylabel("asked for")
    figure.colorbar(drawn, ax=axes, shrink=0.7, label="% of the row")
    return save_figure(figure, "svg", True)


def matrix_of(correlations: np.ndarray, n: int) -> np.ndarray:
    """Return the symmetric matrix [n, n] with ones of an upper triangle as `metrics.gene_correlations` gives it."""
    matrix = np.eye(n)
    upper = np.triu_indices(n, 1)
    matrix[upper] = correlations
    matrix.T[upper] = correlations
    return matrix


def largest_pairs(real: np.ndarray, generated: np.ndarray, genes: Sequence[str], most: int = 30) -> pd.DataFrame:
    """Return the pairs of genes whose correlations differ most between two matrices [K, K]."""
    rows, columns = np.triu_indices(len(genes), 1)
    apart = np.nan_to_num(np.abs(real - generated)[rows, columns])
    order = np.argsort(-apart, kind="stable")[:most]
    pairs: list[dict[str, Any]] = [
        {"gene": genes[rows[i]], "other gene": genes[columns[i]], "r in real cells": real[rows[i], columns[i]],
         "r in generated cells": generated[rows[i], columns[i]]} for i in order]
    return pd.DataFrame(pairs)
