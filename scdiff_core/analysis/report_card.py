"""The report card of generated cells: each figure beside real cells (the floor) and simple baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from scdiff_core import keys
from scdiff_core.analysis import metrics, verdict
from scdiff_core.analysis.baselines import gaussian_per_type, gene_shuffle
from scdiff_core.analysis.cells import Cells, notices, validate
from scdiff_core.analysis.verdict import Row

MAX_CELLS = 1000  # a side
MAX_GENES = 4000  # the most variable ones; a forest over more takes minutes and tells no more
CORRELATION_GENES = 500
QUICK, THOROUGH = (80, 30, 2), (300, 300, 5)  # trees for genes, trees for components, folds
MAX_TRAIN = 20_000  # training cells among which copies are looked for
SHUFFLE, GAUSSIAN, COPIES = "gene-wise shuffle", "Gaussian per type", "copies of training cells"


@dataclass(frozen=True)
class Report:
    """A report card: its rows, how many cells a side were compared, warnings, and one plain sentence."""

    rows: tuple[Row, ...]
    n_cells: int
    warnings: tuple[str, ...] = ()
    sentence: str = ""
    settings: dict[str, Any] = field(default_factory=dict)  # genes, trees, folds, seed

    def row(self, key: str) -> Row | None:
        """Return the row of one metric, None where the report has none."""
        return next((r for r in self.rows if r.key == key), None)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON values; an undefined figure is None."""
        return {"rows": [r.to_dict() for r in self.rows], "n_cells": self.n_cells,
                "warnings": list(self.warnings), "sentence": self.sentence, "settings": self.settings}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Report:
        """Return the report that `to_dict` wrote."""
        return cls(tuple(Row(**r) for r in values["rows"]), values["n_cells"], tuple(values["warnings"]),
                   values["sentence"], values.get("settings", {}))


def report_card(generated: Cells, train: Cells, test: Cells, *, values: str = keys.COUNTS, seed: int = 0,
                progress: Callable[[str, float], None] | None = None, thorough: bool = False) -> Report:
    """Compare generated cells with real held-out cells, beside the floor and two baselines.

    Every comparison is between a set and the same real test cells, equally many of each (at most
    1,000). The floor puts real training cells where the generated ones were. Where only cells of one type
    were asked for, pass only real cells of that type.

    Parameters
    ----------
    values
        `keys.COUNTS` or `keys.CONTINUOUS`; without counts there is no library size.
    thorough
        Forests of 300 trees and 5 folds, as in benchmarks, instead of 80 and 2: about ten times slower.

    Raises
    ------
    ScdiffError
        A set has fewer than two cells, or the sets have different genes.
    """
    validate(generated, train, test)
    tell = progress or (lambda words, fraction: None)
    rng = np.random.default_rng(seed)
    n = min(len(generated), len(train), len(test), MAX_CELLS)
    warnings = notices(generated, train, test, n)
    held = test.take(metrics.subsample(len(test), n, rng))
    floor = train.take(metrics.subsample(len(train), n, rng))
    made = generated.take(metrics.subsample(len(generated), n, rng))
    learn = train.take(metrics.subsample(len(train), MAX_TRAIN, rng))
    genes = _variable(held.log1p, floor.log1p, MAX_GENES)
    if len(genes) < test.log1p.shape[1]:
        warnings.append(f"The {len(genes):,} most variable of {test.log1p.shape[1]:,} genes are compared.")
        held, floor, made, learn = (c.of_genes(genes) for c in (held, floor, made, learn))
    tell("Making the baselines", 0.0)
    sets = {"value": made, "floor": floor, SHUFFLE: _shuffled(floor, values, rng),
            GAUSSIAN: _gaussian(learn, n, values, rng)}
    trees, trees_pca, folds = THOROUGH if thorough else QUICK

    collected = _Collected()
    real = metrics.dense(held.log1p)
    for i, (name, cells) in enumerate(sets.items()):
        words = {"value": "Comparing the generated cells", "floor": "Comparing real with real cells"}
        tell(words.get(name, f"Comparing the baseline: {name}"), (i + 0.5) / (len(sets) + 1))
        x = metrics.dense(cells.log1p)
        place = metrics.joint_components(x, real, 50, seed)
        a, b = place(x), place(real)
        collected.put("rf_genes", name, metrics.rf_auc(real, x, seed, trees=trees, folds=folds))
        collected.put("rf_pca", name, metrics.rf_auc(b, a, seed, trees=trees_pca, folds=folds))
        for key, (value, spread) in metrics.mmd_and_energy(a[:, :30], b[:, :30], seed).items():
            collected.put(key, name, value)
            collected.spread(key, name, spread)
        collected.put("zero_share", name, metrics.zero_share(cells.counts))
        collected.put("library_size", name, metrics.median_library(cells.total_counts))
        if name != "floor":
            _copies(collected, name, a, b, place(learn.log1p), rng)
    tell("Looking at genes together and at labels", len(sets) / (len(sets) + 1))
    _near_real(collected, held, floor, rng)
    _correlations(collected, sets, held, learn, rng)
    _labels(collected, sets, held, learn, seed, warnings)
    if values != keys.COUNTS:
        collected.drop("library_size")
        warnings.append("The source has no counts, so library sizes cannot be compared.")
        if metrics.zero_share(held.counts) == 0:
            collected.drop("zero_share")
    rows = tuple(verdict.judge(row, n) for row in collected.rows())
    settings = {"genes": len(genes), "trees": trees, "trees_pca": trees_pca, "folds": folds, "seed": seed,
                "values": values, "thorough": thorough}
    tell("Done", 1.0)
    return Report(rows, n, tuple(warnings), verdict.overall(rows, n), settings)


class _Collected:
    """Figures by metric and set, in the order in which the card shows them."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, float]] = {key: {} for key in verdict.METRICS}
        self.noise: dict[str, float] = {}

    def put(self, key: str, name: str, value: float) -> None:
        self.values[key][name] = value

    def spread(self, key: str, name: str, value: float) -> None:
        if name == "floor":
            self.noise[key] = value

    def drop(self, key: str) -> None:
        self.values[key] = {}

    def rows(self) -> list[Row]:
        rows = []
        for key, figures in self.values.items():
            if not np.isfinite(figures.get("value", np.nan)):
                continue
            finite = {k: (float(v) if np.isfinite(v) else None) for k, v in figures.items()}
            rows.append(replace(verdict.METRICS[key], value=finite.pop("value"), floor=finite.pop("floor"),
                                baselines=finite, noise=float(self.noise.get(key, 0.0))))
        return rows


def _variable(a: Any, b: Any, n: int) -> np.ndarray:
    """Return the sorted indices of the `n` genes that vary most over two sets of real cells (log1p)."""
    if a.shape[1] <= n:
        return np.arange(a.shape[1])
    variance = np.zeros(a.shape[1])
    for x in (a, b):
        square = x.multiply(x) if hasattr(x, "multiply") else x**2
        variance += np.asarray(square.mean(0)).ravel() - np.asarray(x.mean(0)).ravel() ** 2
    return np.sort(np.argsort(-variance, kind="stable")[:n])


def _shuffled(cells: Cells, values: str, rng: np.random.Generator) -> Cells:
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


def _gaussian(train: Cells, n: int, values: str, rng: np.random.Generator) -> Cells:
    some = train.take(metrics.subsample(len(train), 2 * MAX_CELLS, rng))
    return Cells(*gaussian_per_type(some.log1p, some.labels, some.total_counts, n, rng,
                                    counts=values == keys.COUNTS))


def _near_real(collected: _Collected, held: Cells, floor: Cells, rng: np.random.Generator) -> None:
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


def _labels(collected: _Collected, sets: dict[str, Cells], held: Cells, train: Cells, seed: int,
            warnings: list[str]) -> None:
    """Add how often labels are found again; the floor is how often those of held-out real cells are."""
    if train.labels is None or held.labels is None or sets["value"].labels is None:
        return
    rows = np.flatnonzero(np.asarray(train.labels) != "")
    known = np.unique(np.asarray(train.labels)[rows])
    if len(known) < 2:
        if len(known):
            warnings.append(f"There is one cell type only ('{known[0]}'), so label agreement says nothing.")
        return
    rows = rows[metrics.subsample(len(rows), 2 * MAX_CELLS, np.random.default_rng(seed))]
    known = np.unique(np.asarray(train.labels)[rows])
    classify = metrics.label_classifier(train.log1p[rows], np.asarray(train.labels)[rows], seed=seed)
    for name, cells in {**sets, "floor": held}.items():
        labels = np.asarray(cells.labels)
        judged = np.flatnonzero(np.isin(labels, known))
        collected.put("label_agreement", name,
                      metrics.label_agreement(classify, cells.log1p[judged], labels[judged]))
    share = collected.values["label_agreement"]["floor"]
    if np.isfinite(share):
        collected.noise["label_agreement"] = max(0.02, float(np.sqrt(share * (1 - share) * 2 / len(held))))


def _copies(collected: _Collected, name: str, made: np.ndarray, real: np.ndarray, train: np.ndarray,
            rng: np.random.Generator) -> None:
    """Add the copy rate of one set; the floor holds halves of the held-out cells against each other."""
    of_real = metrics.nearest_distance(real, train)
    collected.put("copy_rate", name, metrics.near_rate(metrics.nearest_distance(made, train), of_real))
    if name == "value":
        halves = [np.array_split(rng.permutation(of_real), 2) for _ in range(20)]
        collected.put("copy_rate", "floor", float(np.mean([metrics.near_rate(a, b) for a, b in halves])))
        collected.put("copy_rate", COPIES, 1.0)  # their distance is nothing
        collected.noise["copy_rate"] = float(np.sqrt(0.05 * 0.95 * 2 / len(real)))


def _correlations(collected: _Collected, sets: dict[str, Cells], held: Cells, train: Cells,
                  rng: np.random.Generator) -> None:
    """Add how well gene-gene correlations agree; three draws of training cells tell chance."""
    genes = _variable(held.log1p, sets["floor"].log1p, CORRELATION_GENES)
    real = metrics.gene_correlations(held.log1p[:, genes])

    def agreement(cells: Cells) -> float:
        return metrics.correlation_agreement(metrics.gene_correlations(cells.log1p[:, genes]), real)

    for name, cells in sets.items():
        collected.put("gene_correlation", name, agreement(cells))
    draws = [agreement(train.take(metrics.subsample(len(train), len(held), rng))) for _ in range(3)]
    collected.noise["gene_correlation"] = max(0.02, float(np.std(draws)))
