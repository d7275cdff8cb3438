"""Designed codes as cells: counts, which demands each meets, and what is said of the whole."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
import torch

from scdiff_core import keys
from scdiff_core.engine.denoised import Denoised
from scdiff_core.engine.design import DesignConfig, Designed, DesignProgress, design
from scdiff_core.engine.generate import DECODE, assemble, sparse
from scdiff_core.engine.model import Model

if TYPE_CHECKING:
    from anndata import AnnData

MET = "meets_target"  # obs: every hard row
SUMMARY = "summary"  # in the recipe


def design_cells(model: Model, real: Denoised, config: DesignConfig,
                 ) -> Generator[DesignProgress, None, tuple[AnnData, Designed]]:
    """Design cells; the AnnData, as `generate` makes it, and the codes are the generator's return value.

    obs has `meets_target` (every hard row, by the denoised expression), and the recipe in uns["scdiff"] the target
    with its levels filled in, and a summary: shares of the cells that meet each row, and what real cells say of it.

    Raises
    ------
    ScdiffError
        The target cannot be followed.
    """
    made = yield from design(model, real, config)
    generator = torch.Generator().manual_seed(config.seed)
    values, totals = [], []
    for first in range(0, len(made.z), DECODE):
        with torch.no_grad():
            cells, sums = model.codec.sample(made.z[first:first + DECODE].float(), generator)
        values.append(sparse(cells.cpu().numpy()))
        totals.append(sums.cpu().numpy())
    filled = config.model_copy(update={"target": made.target})
    adata = assemble(model, filled, sp.vstack(values, format="csr"), np.concatenate(totals), made.codes, made.conts)
    adata.obs[MET] = made.met
    recipe = json.loads(adata.uns[keys.SCDIFF])
    adata.uns[keys.SCDIFF] = json.dumps({**recipe, "kind": "design", SUMMARY: summary(made)})
    return adata, made


def summary(made: Designed) -> dict[str, Any]:
    """Return what is said of designed cells, as plain JSON."""
    met = (made.margins >= 0).mean(axis=0)
    rows = [{**row, "designed": round(float(share), 4)}
            for row, share in zip(made.feasibility.rows, met, strict=True)]
    n = len(made.met)
    words = f"{int(made.met.sum()):,} of {n:,} cells meet the target; " + (
        f"{100 * made.feasibility.share:.2g} % of your cells already do this." if made.feasibility.n else
        "none of your cells does this: it is beyond the data.")
    return {"n_cells": n, "met": int(made.met.sum()), "ancestors": made.ancestors, "rows": rows, "words": words,
            "feasibility": made.feasibility.to_dict()}
