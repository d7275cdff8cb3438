"""The report card of generated cells: each figure beside real cells (the floor) and simple baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scdiff_core import keys
from scdiff_core.analysis import metrics, verdict
from scdiff_core.analysis import report_parts as parts
from scdiff_core.analysis.cells import Cells, notices, validate
from scdiff_core.analysis.report_parts import COPIES, MAX_CELLS
from scdiff_core.analysis.verdict import Row

MAX_GENES = 4000  # the most variable ones; a forest over more takes minutes and tells no more
QUICK, THOROUGH = (80, 30, 2), (300, 300, 5)  # trees for genes, trees for components, folds
MAX_TRAIN = 20_000  # training cells among which copies are looked for
SHUFFLE, GAUSSIAN = "gene-wise shuffle", "Gaussian per type"

__all__ = ["COPIES", "GAUSSIAN", "MAX_CELLS", "SHUFFLE", "Cells", "Report", "report_card"]


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
        Forests of 300 trees and 5 folds, as in benchmarks, instead of 80 and 2, optimal transport, and the
        correlations of all genes: about ten times slower.

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
    genes = parts.variable(held.log1p, floor.log1p, MAX_GENES)
    if len(genes) < test.log1p.shape[1]:
        warnings.append(f"The {len(genes):,} most variable of {test.log1p.shape[1]:,} genes are compared.")
        held, floor, made, learn = (c.of_genes(genes) for c in (held, floor, made, learn))
    tell("Making the baselines", 0.0)
    sets = {"value": made, "floor": floor, SHUFFLE: parts.shuffled(floor, values, rng),
            GAUSSIAN: parts.gaussian(learn, n, values, rng)}
    trees, trees_pca, folds = THOROUGH if thorough else QUICK

    collected = parts.Collected()
    real = metrics.dense(held.log1p)
    for i, (name, cells) in enumerate(sets.items()):
        words = {"value": "Comparing the generated cells", "floor": "Comparing real with real cells"}
        said = words.get(name, f"Comparing the baseline: {name}")
        tell(said, (i + 0.1) / (len(sets) + 1))
        x = metrics.dense(cells.log1p)
        place = metrics.joint_components(x, real, 50, seed)
        a, b = place(x), place(real)
        collected.put("rf_genes", name, metrics.rf_auc(real, x, seed, trees=trees, folds=folds))
        tell(said, (i + 0.6) / (len(sets) + 1))
        collected.put("rf_pca", name, metrics.rf_auc(b, a, seed, trees=trees_pca, folds=folds))
        tell(said, (i + 0.9) / (len(sets) + 1))
        parts.places(collected, name, a[:, :30], b[:, :30], seed, thorough=thorough)
        collected.put("gene_variance", name, metrics.gene_variance_ratio(x, real))
        collected.put("zero_share", name, metrics.zero_share(cells.counts))
        collected.put("library_size", name, metrics.median_library(cells.total_counts))
        if name != "floor":
            parts.copies(collected, name, a, b, place(learn.log1p), rng)
    tell("Looking at genes together and at labels", len(sets) / (len(sets) + 1))
    parts.near_real(collected, held, floor, rng)
    parts.correlations(collected, sets, held, learn, rng)
    if thorough:
        parts.correlations(collected, sets, held, learn, rng, key="gene_correlation_all", most=MAX_GENES)
    parts.fold_changes(collected, sets, held, learn, rng)
    parts.labels(collected, sets, held, learn, seed, warnings)
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
