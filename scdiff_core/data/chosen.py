"""The real cells that a request begins with: by the labels of columns, or a selection."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from scdiff_core.config_screen import Chosen
from scdiff_core.data.prepared import Prepared
from scdiff_core.errors import ScdiffError, nearest
from scdiff_core.selection import unpack_rows


def rows_of(prepared: Prepared, where: Mapping[str, str], cells: Chosen | None = None, split: str = "all"
            ) -> np.ndarray:
    """Return the rows of a dataset that have every label asked for and are among the chosen cells, int64 [m].

    Parameters
    ----------
    where
        Column or role -> label. Without one, and without chosen cells, every cell.
    split
        Only the cells of this split; `all` for every one.

    Raises
    ------
    ScdiffError
        There is no such column or label, no cell is left, or the selection is of other cells.
    """
    keep = np.ones(prepared.n_cells, bool)
    for column, value in where.items():
        labels = prepared.labels(column)
        if value not in labels:
            known = sorted(set(labels.tolist()) - {""})
            raise ScdiffError(f"No cell has '{value}' in '{column}'.", nearest(value, known) or "Its values are "
                              + ", ".join(known[:10]) + (", ..." if len(known) > 10 else "") + ".",
                              "Use one of the values that the cells have.")
        keep &= labels == value
    if cells is not None:
        keep &= unpack_rows(cells.rows, prepared.n_cells)
    if split != "all":
        keep[np.setdiff1d(np.arange(prepared.n_cells), prepared.rows(split))] = False
    if not keep.any():
        asked = " and ".join([f"{c} = {v}" for c, v in where.items()]
                             + ([f"the selection '{cells.name}'"] if cells is not None else [])
                             + ([f"the split '{split}'"] if split != "all" else []))
        raise ScdiffError("No cell is chosen.", f"None fits {asked or 'what was asked'}.",
                          "Choose other values, or select some cells.")
    return np.flatnonzero(keep)


def evenly(rows: np.ndarray, most: int) -> np.ndarray:
    """Return at most so many of some rows, evenly spaced."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).round().astype(np.int64)]
