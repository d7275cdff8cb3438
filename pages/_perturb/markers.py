"""Violin, dot and heat figures of control, measured and predicted cells side by side."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from pages._perturb import genes
from pages._perturb.shown import Shown
from pages._shared.marker_panel import CellSet, show_markers
from scdiff_core.figures.palette import MISSING, colours

CONTROL = "control"


def sets_of(shown: Shown) -> tuple[list[CellSet], list[str]]:
    """Return the real and the predicted cells with their groups, and the groups in order."""
    real = np.full(shown.prepared.n_cells, "", object)
    real[shown.control_rows()] = CONTROL
    predicted = np.full(shown.cells().n_obs, "", object)
    for name in shown.names:
        real[shown.measured_rows(name)] = name
        predicted[shown.rows_of(name)] = name
    rows = np.flatnonzero(real != "")
    return [CellSet("real", shown.prepared.log1p(rows), real[rows].astype(str)),
            CellSet("predicted", sp.csr_matrix(shown.log1p()), predicted.astype(str), synthetic=True)], \
        [CONTROL, *shown.names]


def show(shown: Shown) -> None:
    """Draw the figures with all their choices."""
    sets, order = sets_of(shown)
    palette = {CONTROL: MISSING, **dict(zip(shown.names, colours(len(shown.names)), strict=True))}
    show_markers(sets, shown.prepared.genes, suggested=genes.suggested(shown), group_order=order,
                 key=genes.marker_key(shown), stem=f"{shown.stem}-markers", palette=palette)
