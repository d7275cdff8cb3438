"""The figures of a report card that need more than one line: each puts its rows beside floor and chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from scdiff_core import keys
from scdiff_core.analysis import metrics, neighbours, transport, types, verdict
from scdiff_core.analysis.baselines import gaussian_per_type, gene_shuffle
from scdiff_core.analysis.cells import Cells
from scdiff_core.analysis.verdict import Row

MAX_CELLS = 1000  # a side
CORRELATION_GENES = 500
DRAWS, BOOTSTRAPS = 3, 6  # of real cells, to tell chance
COPIES = "copies of training cells"
Sets = dict[str, Cells]


class Collected:
    """Figures by metric and set, in the order in which the card shows them."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, float]] = {key: {} for key in verdict.METRICS}
        self.noise: dict[str, float] = {}

    def put(self, key: str, name: str, value: float) -> None:
        """Take one figure of one set."""
        self.values[key][name] = value

    def spread(self, key: str, name: str, value: float) -> None:
        """Take the chance spread of a figure; that of the floor is kept."""
        if name == "floor":
            self.noise[key] = value

    def drop(self, key: str) -> None:
        """Forget a figure."""
        self.values[key] = {}

    def rows(self) -> list[Row]:
        """Return the rows of which there is a finite value."""
        rows = []
        for key, figures in self.values.items():
            if not np.isfinite(figures.get("value", np.nan)):
                continue
            finite = {k: (float(v) if np.isfinite(v) else None) for k, v in figures.items()}
            rows.append(replace(verdict.METRICS[key], value=finite.pop("value"), floor=finite.pop("floor", None),
                                baselines=finite, noise=float(self.noise.get(key, 0.0))))
        return rows


def variable(a: Any, b: Any, n: int) -> np.ndarray:
    """Return the sorted indices of the `n` genes that vary most over two sets of real cells (log1p)."""
    if a.shape[1] <= n:
        return np.arange(a.shape[1])
    variance = np.zeros(a.shape[1])
    for x in (a, b):
        square = x.multiply(x) if hasattr(x, "multiply") else x**2
        variance += np.asarray(square.mean(0)).ravel() - np.asarray(x.mean(0)).ravel() ** 2
    return np.sort(np.argsort(-variance, kind="stable")[:n])


def shuffled(cells: Cells, values: str, rng: np.random.Generator) -> Cells:
    """Return training cells with both expression spaces dealt alike, and library sizes that follow."""
    deal = int(rng.integers(2**31))
    counts = gene_shuffle(cells.counts, np.random.default_rng(deal))
    log1p = gene_shuffle(cells.log1p, np.random.default_rng(deal))
    total = np.asarray(cells.total_counts, dtype=float)
    if values == keys.COUNTS:  # kept genes are dealt anew, the genes outside stay with their cell
        total = total + _row_sums(counts) - _row_sums(cells.counts)
    return Cells(counts, log1p, total, cells.labels)


def _row_sums(counts: Any) -> np.ndarray:
    return np.asarray(counts.sum(axis=1), dtype=float).ravel()


def gaussian(train: Cells, n: int, values: str, rng: np.random.Generator) -> Cells:
    """Return cells drawn from a Gaussian for each type, fitted on training cells."""
    some = train.take(metrics.subsample(len(train), 2 * MAX_CELLS, rng))
    return Cells(*gaussian_per_type(some.log1p, some.labels, some.total_counts, n, rng,
                                    counts=values == keys.COUNTS))


def places(collected: Collected, name: str, made: np.ndarray, real: np.ndarray, seed: int, *,
           thorough: bool = False) -> None:
    """Add what compares two sets of points [n, P]: MMD, energy, neighbours, and, if thorough, transport."""
    distance = metrics.pooled_distances(real, made)
    for key, (value, spread) in metrics.mmd_and_energy(real, made, seed, distance).items():
        collected.put(key, name, value)
        collected.spread(key, name, spread)
    collected.put("nn_accuracy", name, neighbours.neighbour_accuracy_of(distance, len(real)))
    found = neighbours.manifold_of(distance, len(real))
    for key, value in found.items():
        collected.put(key, name, value)
    if thorough:
        collected.put("sinkhorn", name, transport.sinkhorn_divergence(made, real))
        collected.put("wasserstein2", name, transport.wasserstein2(made, real))
    if name == "floor":
        n = len(real)
        collected.noise["nn_accuracy"] = float(np.sqrt(0.25 / n))
        for key, value in found.items():  # shares of n cells; for a density, of its own size
            chance = np.sqrt(max(value * (1 - value), 0.05) * 2 / n) if key != "density" else value * np.sqrt(2 / n)
            collected.noise[key] = max(0.02, float(chance))
        for key in ("sinkhorn", "wasserstein2"):  # finite samples alone make nearly all of these
            collected.noise[key] = 0.05 * collected.values[key].get(name, 0.0)


def near_real(collected: Collected, held: Cells, floor: Cells, rng: np.random.Generator) -> None:
    """Set the chance spread of the figures that should equal those of real cells."""
    n = len(held)
    shares, others = metrics.zero_shares(held.counts), metrics.zero_shares(floor.counts)
    collected.noise["zero_share"] = max(0.0075, float(np.std(shares) * np.sqrt(2 / n)),
                                        abs(float(shares.mean() - others.mean())) / 2)
    total = np.asarray(held.total_counts, dtype=float)
    medians = np.median(total[rng.integers(n, size=(200, n))], axis=1)
    collected.noise["library_size"] = max(0.05 * float(np.median(total)), float(np.std(medians) * np.sqrt(2)),
                                          abs(float(np.median(total) - np.median(floor.total_counts))) / 2)
    # the figure to hit is the held-out cells' own
    collected.put("zero_share", "floor", metrics.zero_share(held.counts))
    collected.put("library_size", "floor", metrics.median_library(held.total_counts))
    collected.noise["rf_genes"] = collected.noise["rf_pca"] = metrics.auc_spread(n, n)
    collected.noise["gene_variance"] = 0.05


def labels(collected: Collected, sets: Sets, held: Cells, train: Cells, seed: int, warnings: list[str]) -> None:
    """Add how often labels are found again; the floor is how often those of held-out real cells are."""
    if train.labels is None or held.labels is None or sets["value"].labels is None:
        return
    known = np.unique(np.asarray(train.labels)[np.asarray(train.labels) != ""])
    if len(known) < 2:
        if len(known):
            warnings.append(f"There is one cell type only ('{known[0]}'), so label agreement says nothing.")
        return
    classify, known = label_judge(train, seed)
    for name, cells in {**sets, "floor": held}.items():
        own = np.asarray(cells.labels)
        judged = np.flatnonzero(np.isin(own, known))
        collected.put("label_agreement", name,
                      metrics.label_agreement(classify, cells.log1p[judged], own[judged]))
    share = collected.values["label_agreement"]["floor"]
    if np.isfinite(share):
        collected.noise["label_agreement"] = max(0.02, float(np.sqrt(share * (1 - share) * 2 / len(held))))


def label_judge(train: Cells, seed: int) -> tuple[Callable[[Any], np.ndarray], np.ndarray]:
    """Return the classifier of cell types that learned from at most 2,000 training cells, and the types it knows."""
    own = np.asarray(train.labels)
    rows = np.flatnonzero(own != "")
    rows = rows[metrics.subsample(len(rows), 2 * MAX_CELLS, np.random.default_rng(seed))]
    return metrics.label_classifier(train.log1p[rows], own[rows], seed=seed), np.unique(own[rows])


def copies(collected: Collected, name: str, made: np.ndarray, real: np.ndarray, train: np.ndarray,
           rng: np.random.Generator) -> None:
    """Add the copy rate of one set; the floor holds halves of the held-out cells against each other."""
    of_real = metrics.nearest_distance(real, train)
    collected.put("copy_rate", name, metrics.near_rate(metrics.nearest_distance(made, train), of_real))
    if name == "value":
        halves = [np.array_split(rng.permutation(of_real), 2) for _ in range(20)]
        collected.put("copy_rate", "floor", float(np.mean([metrics.near_rate(a, b) for a, b in halves])))
        collected.put("copy_rate", COPIES, 1.0)  # their distance is nothing
        collected.noise["copy_rate"] = float(np.sqrt(0.05 * 0.95 * 2 / len(real)))


def correlations(collected: Collected, sets: Sets, held: Cells, train: Cells, rng: np.random.Generator, *,
                 key: str = "gene_correlation", most: int = CORRELATION_GENES) -> None:
    """Add how well gene-gene correlations agree; three draws of training cells tell chance."""
    genes = variable(held.log1p, sets["floor"].log1p, most)
    real = metrics.gene_correlations(held.log1p[:, genes])

    def agreement(cells: Cells) -> float:
        return metrics.correlation_agreement(metrics.gene_correlations(cells.log1p[:, genes]), real)

    for name, cells in sets.items():
        collected.put(key, name, agreement(cells))
    spread = [agreement(train.take(metrics.subsample(len(train), len(held), rng))) for _ in range(DRAWS)]
    collected.noise[key] = max(0.02, float(np.std(spread)))


def fold_changes(collected: Collected, sets: Sets, held: Cells, train: Cells, rng: np.random.Generator) -> None:
    """Add how well the fold changes of each type against the rest agree, over all types together."""
    if held.labels is None or train.labels is None or sets["value"].labels is None:
        return
    genes = types.expressed_genes(train.log1p)

    def agreement(cells: Cells, real: Cells) -> dict[str, float]:
        assert real.labels is not None and cells.labels is not None
        nothing = {"slope": float("nan"), "r": float("nan")}
        return types.fold_change_agreement(real.log1p, real.labels, cells.log1p, cells.labels, genes).get("", nothing)

    n = len(held)
    drawn = [agreement(train.take(rng.integers(len(train), size=n)), held.take(rng.integers(n, size=n)))
             for _ in range(BOOTSTRAPS)]
    for key, of, least in (("log2fc_slope", "slope", 0.05), ("log2fc_r", "r", 0.02)):
        collected.noise[key] = max(least, float(np.std([d[of] for d in drawn])))
    for name, cells in sets.items():
        found = agreement(cells, held)
        collected.put("log2fc_slope", name, found["slope"])
        collected.put("log2fc_r", name, found["r"])
