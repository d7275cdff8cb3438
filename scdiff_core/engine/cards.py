"""Report cards of generated sets: which real cells they are held against, and in what form both are compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from scdiff_core import keys
from scdiff_core.config import GenerateConfig
from scdiff_core.data.prepared import Prepared
from scdiff_core.data.vocab import as_labels, as_numbers
from scdiff_core.engine.outputs import REPORT, GeneratedSet, aligned
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import write_json

if TYPE_CHECKING:
    from anndata import AnnData

    from scdiff_core.analysis.report_card import Cells, Report


def write_report(made: GeneratedSet, prepared: Prepared, config: GenerateConfig,
                 progress: Callable[[str, float], None] | None = None, *, thorough: bool = False) -> Report:
    """Score a generated set against the real cells of the same conditions, and keep the report card.

    `thorough` takes the forests by which models are compared (300 trees, five folds); the page's quick ones
    are a little easier to deceive.

    Raises
    ------
    ScdiffError
        There are no real cells of these conditions, or the cells are of another dataset.
    """
    from scdiff_core.analysis.report_card import report_card

    train, test = (real_rows(prepared, config.where, split) for split in (keys.TRAIN, keys.TEST))
    report = report_card(generated_cells(aligned(made.cells(), prepared), prepared),
                         real_cells(prepared, train), real_cells(prepared, test),
                         values=prepared.values, seed=config.seed, progress=progress, thorough=thorough)
    write_json(made.path / REPORT, report.to_dict())
    return report


def real_rows(prepared: Prepared, where: dict[str, str], split: str) -> np.ndarray:
    """Return the rows of one split that fulfil the conditions; `any` and `as in the data` ask for nothing.

    Raises
    ------
    ScdiffError
        No cell does.
    """
    rows = prepared.rows(split)
    asked = {}
    for name, value in where.items():
        if value in (keys.ANY, keys.AS_IN_DATA):
            continue
        covariate = prepared.vocab.find(name)
        asked[covariate.column] = value
        column = prepared.obs[covariate.column].iloc[rows]
        if covariate.kind == "continuous":
            numbers = as_numbers(column)
            assert numbers is not None, "a continuous covariate holds numbers"
            rows = rows[np.isclose(numbers, float(value))]
        else:
            rows = rows[as_labels(column) == value]
    if len(rows) == 0:
        words = ", ".join(f"{k} = {v}" for k, v in asked.items())
        raise ScdiffError(
            "There is no report card for these cells.",
            f"The dataset has no {'training' if split == keys.TRAIN else 'held-out'} cell with {words}, "
            "so there is nothing to hold them against.",
            "Generate cells of a condition that the data has, or leave some of the conditions out.")
    return rows


def real_cells(prepared: Prepared, rows: np.ndarray) -> Cells:
    """Return real cells as the report card takes them."""
    from scdiff_core.analysis.report_card import Cells

    labels = prepared.labels(keys.CELL_TYPE)[rows] if prepared.roles.cell_type else None
    return Cells(counts=prepared.counts[rows], log1p=prepared.log1p(rows),
                 total_counts=prepared.total_counts[rows], labels=labels)


def generated_cells(adata: AnnData, prepared: Prepared) -> Cells:
    """Return generated cells as the report card takes them."""
    from scdiff_core.analysis.report_card import Cells

    column = prepared.roles.cell_type
    return Cells(counts=sp.csr_matrix(adata.X, dtype=np.float32),
                 log1p=sp.csr_matrix(adata.layers[keys.LOG1P], dtype=np.float32),
                 total_counts=adata.obs[keys.TOTAL_COUNTS].to_numpy(np.float32),
                 labels=as_labels(adata.obs[column]) if column else None)
