"""Each cell type on its own, and each gene on its own: the tables behind a full report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from scdiff_core import keys
from scdiff_core.analysis import metrics, types
from scdiff_core.analysis.cells import Cells

MOST = 300  # cells of a type a side
LEAST, LEAST_FOREST = 10, 50  # cells of a type a side, for a distance and for a forest
TREES = 100
NUMBERS = ("rf_auc", "rf_auc_floor", "energy", "energy_floor", "agreement", "agreement_real", "slope", "slope_floor",
           "zeros", "zeros_real", "library", "library_real")


def type_table(made: Cells, train: Cells, test: Cells, seed: int = 0, *, values: str = keys.COUNTS,
               classify: Callable[[Any], np.ndarray] | None = None,
               progress: Callable[[str, float], None] | None = None) -> list[dict[str, Any]]:
    """Return one row for each label of the training cells: how alike its generated and its real cells are.

    Each row has `label`, the numbers of cells (`generated`, `test`, `train`), and, None where there are too few cells:
    `rf_auc` in 30 principal components of the two sets of that type (100 trees, five folds; from 50 cells a side),
    `energy` in the same (from 10 a side), `agreement` (how often the classifier says the label), `slope` of its fold
    changes against the rest (from 20), `zeros` (share) and `library` (median counts). Beside each of the first, its
    floor with real training cells in the generated ones' place; beside the others, the figure of held-out real cells.
    Empty without labels.
    """
    if made.labels is None or train.labels is None or test.labels is None:
        return []
    tell = progress or (lambda words, fraction: None)
    rng = np.random.default_rng(seed)
    own = {name: np.asarray(c.labels).astype(str) for name, c in (("made", made), ("train", train), ("test", test))}
    known = [str(k) for k in np.unique(own["train"]) if k]
    genes = types.expressed_genes(train.log1p)
    size = min(len(made), len(test), len(train))
    floor = train.take(metrics.subsample(len(train), size, rng))
    slopes = types.fold_change_agreement(test.log1p, own["test"], made.log1p, own["made"], genes)
    floors = types.fold_change_agreement(test.log1p, own["test"], floor.log1p, np.asarray(floor.labels), genes)
    sparse_values = metrics.zero_share(test.counts) > 0  # scaled values have no zeros to compare
    rows = []
    for i, k in enumerate(known):
        tell(f"Looking at {k}", i / len(known))
        parts = {name: c.take(np.flatnonzero(own[name] == k))
                 for name, c in (("made", made), ("train", train), ("test", test))}
        row: dict[str, Any] = {"label": k, "generated": len(parts["made"]), "test": len(parts["test"]),
                               "train": len(parts["train"]), **dict.fromkeys(NUMBERS)}
        n = min(MOST, *map(len, parts.values()))
        drawn = {name: c.take(metrics.subsample(len(c), n, rng)) for name, c in parts.items()}
        for name, ending in (("made", ""), ("train", "_floor")):
            if n >= LEAST:
                a, b = metrics.joint_pca(drawn[name].log1p, drawn["test"].log1p, 30, seed)
                row[f"energy{ending}"] = metrics.energy_distance(a, b)
                if n >= LEAST_FOREST:
                    row[f"rf_auc{ending}"] = metrics.rf_auc(b, a, seed, trees=TREES)
        for name, ending in (("made", ""), ("test", "_real")):
            cells = parts[name]
            if not len(cells):
                continue
            if classify is not None:
                row[f"agreement{ending}"] = metrics.label_agreement(classify, cells.log1p, np.repeat(k, len(cells)))
            if sparse_values:
                row[f"zeros{ending}"] = metrics.zero_share(cells.counts)
            if values == keys.COUNTS:
                row[f"library{ending}"] = metrics.median_library(cells.total_counts)
        row["slope"], row["slope_floor"] = (found.get(k, {}).get("slope") for found in (slopes, floors))
        rows.append({key: None if isinstance(v, float) and not np.isfinite(v) else v for key, v in row.items()})
    return rows


def gene_table(real: Cells, made: Cells, genes: np.ndarray) -> pd.DataFrame:
    """Return each gene's mean and variance (log1p, and counts) and share of zeros in real and in generated cells.

    Columns: gene, then for both `_real` and `_generated`: mean (log1p), count_mean, count_variance (counts; the
    continuous values where there are none), zeros (0 to 1).
    """
    table: dict[str, Any] = {"gene": np.asarray(genes).astype(str)}
    for ending, cells in (("real", real), ("generated", made)):
        x = sparse.csr_matrix(cells.counts, dtype=np.float64)
        mean = np.asarray(x.mean(0)).ravel()
        table[f"mean_{ending}"] = np.asarray(cells.log1p.mean(0), float).ravel()
        table[f"count_mean_{ending}"] = mean
        table[f"count_variance_{ending}"] = np.maximum(np.asarray(x.multiply(x).mean(0)).ravel() - mean**2, 0)
        table[f"zeros_{ending}"] = 1 - np.asarray((x != 0).mean(0), float).ravel()
    order = ["gene", *(f"{k}_{e}" for k in ("mean", "count_mean", "count_variance", "zeros")
                       for e in ("real", "generated"))]
    return pd.DataFrame(table)[order]
