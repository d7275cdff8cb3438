"""What designed cells differ in from real ones besides what was asked for: genes and programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from scdiff_core import keys
from scdiff_core.analysis import differential
from scdiff_core.analysis.design import programs_of
from scdiff_core.analysis.metrics import subsample
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine.denoised import Denoised
from scdiff_core.engine.designed import Designed, Task

if TYPE_CHECKING:
    from anndata import AnnData

SIDE_EFFECTS, COMPARED = 100, 2000  # genes that are told, and real cells that are compared with


def reference_of(prepared: Prepared, real: Denoised, task: Task, made: Designed, seed: int) -> tuple[np.ndarray, str]:
    """Return the real cells that side effects are told against, as rows of the dataset, and what they are."""
    if made.start is not None:
        rows = np.unique(made.start)
        return rows, f"the {len(rows):,} cells that these began from"
    rng = np.random.default_rng(seed)
    if made.target.cell_type is not None:
        rows = real.rows[np.flatnonzero(task.fits)]
        return rows[subsample(len(rows), COMPARED, rng)], f"real cells of {made.target.cell_type}"
    role = prepared.roles.cell_type
    if role is None:
        return real.rows[subsample(len(real), COMPARED, rng)], "all real cells"
    # as many of each type as the designed cells were asked to be
    column = [c.column for c in prepared.vocab.categorical].index(role)
    codes, counts = np.unique(made.codes[:, column], return_counts=True)
    drawn = [rng.choice(pool, n, replace=n > len(pool)) for code, n in zip(codes, counts, strict=True)
             if len(pool := real.rows[real.codes[:, column] == code])]
    return (np.concatenate(drawn) if drawn else real.rows), "real cells of the same types"


def side_effects(adata: AnnData, prepared: Prepared, reference: np.ndarray, asked: tuple[str, ...],
                 most: int = SIDE_EFFECTS) -> tuple[dict[str, Any], ...]:
    """Return the genes that differ most between designed cells and real ones (rows), those asked for marked.

    The Wilcoxon test of `analysis.differential`; empty where a side has too few cells.
    """
    if min(adata.n_obs, len(reference)) < differential.LEAST:
        return ()
    table = differential.compare(adata.layers[keys.LOG1P], prepared.log1p(reference), prepared.genes)
    table = table[table["pval_adj"] < 0.05]
    table = table.loc[table["score"].abs().sort_values(ascending=False).index[:most]]
    return tuple({"gene": str(r["gene"]), "log2fc": _finite(float(r["log2fc"])), "score": float(r["score"]),
                  "pval_adj": float(r["pval_adj"]), "mean_designed": float(r["mean_a"]),
                  "mean_reference": float(r["mean_b"]), "asked": r["gene"] in asked}
                 for r in table.to_dict("records"))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def programs(adata: AnnData, prepared: Prepared, reference: np.ndarray, made: Designed,
             sets: Mapping[str, tuple[str, ...]] | None) -> tuple[dict[str, Any], ...]:
    """Return how far the programs of the target, and other gene sets, differ from the reference (rows)."""
    asked = {row.program: row.members for row in made.target.programs}
    if not asked and not sets:
        return ()
    designed, real = (np.asarray(x.mean(axis=0), float).ravel()
                      for x in (adata.layers[keys.LOG1P], prepared.log1p(reference)))
    return programs_of.compare(designed, real, prepared.genes.tolist(), asked, sets)
