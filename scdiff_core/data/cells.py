"""Which cells of a source are kept: those with counts, that pass quality control and are no doublets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from scdiff_core import keys
from scdiff_core.config import QC
from scdiff_core.data import qc
from scdiff_core.data.log import Log
from scdiff_core.data.vocab import as_labels
from scdiff_core.errors import ScdiffError

MIN_CELLS = 20


def choose(adata: Any, table: pd.DataFrame, values: str, used: QC, batch: str | None, seed: int,
           log: Log) -> np.ndarray:
    """Say which cells are kept, bool [N]; writes the doublet scores into `adata.obs` if they were asked for.

    Raises
    ------
    ScdiffError
        Fewer than 20 cells are left.
    """
    n_genes = adata.n_vars

    def step(name: str, words: str, before: np.ndarray, after: np.ndarray) -> None:
        lost = int(before.sum() - after.sum())
        log.step(name, f"{lost:,} {'cell' if lost == 1 else 'cells'} {words}.", (int(before.sum()), n_genes),
                 (int(after.sum()), n_genes))

    every = np.ones(adata.n_obs, bool)
    full = every if values == keys.CONTINUOUS else table[keys.TOTAL_COUNTS].to_numpy() > 0
    if not full.all():
        step("empty", "without a single count left out", every, full)
    passed = full & qc.passes(table, used)
    limits = used.model_dump(exclude={"min_cells_per_gene", "remove_doublets"})
    bounds = ", ".join(f"{k.replace('_', ' ')} {v:g}" for k, v in limits.items() if v is not None)
    step("qc", f"left out by quality control ({bounds or 'no bounds'})", full, passed)
    enough(int(passed.sum()), "cells after quality control")
    if not used.remove_doublets:
        return passed
    kept = _without_doublets(adata, passed, values, batch, seed, log)
    if kept is not passed:
        step("doublets", "left out as likely doublets (Scrublet)", passed, kept)
        enough(int(kept.sum()), "cells after the doublets")
    return kept


def _without_doublets(adata: Any, passed: np.ndarray, values: str, batch: str | None, seed: int,
                      log: Log) -> np.ndarray:
    if values == keys.CONTINUOUS:
        log.note("warning", "Doublets were not looked for", "That needs counts, and this data has none.")
        return passed
    rows = np.flatnonzero(passed)
    found = qc.doublets(adata[rows], as_labels(adata.obs[batch])[rows] if batch else None, seed)
    if found is None:
        log.note("warning", "Doublets were not looked for",
                 "There are fewer than 100 cells (in each batch), or their doublet scores do not part.")
        return passed
    kept = passed.copy()
    kept[rows[found[1]]] = False
    scores = np.full(adata.n_obs, np.nan, np.float32)
    scores[rows] = found[0]
    adata.obs[keys.DOUBLET_SCORE] = scores
    return kept


def enough(n: int, words: str) -> None:
    """Raise `ScdiffError` where fewer than 20 cells are left."""
    if n < MIN_CELLS:
        raise ScdiffError(f"There are too few cells: {n} {words}.",
                          f"At least {MIN_CELLS} are needed to fit anything, and a model is of use from a "
                          "few hundred on.",
                          "Loosen the thresholds of quality control, hold out fewer values, or bring more "
                          "cells.")
