"""The arrays behind the marker figures, made once for the screen, the export and the table beside each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from scdiff_core.errors import ScdiffError
from scdiff_core.figures.base import GENERATED_WORDS, REAL_WORDS


def groups_of(*tables: pd.DataFrame | None) -> list[str]:
    """Return the groups of several marker tables, in the order of the first that has them."""
    return list(dict.fromkeys(g for t in tables if t is not None for g in t["group"]))


def dot_table(real: pd.DataFrame, generated: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the tables of `markers.mean_fraction` as one, with a column `cells`: real or generated."""
    parts = [real.assign(cells=REAL_WORDS)]
    if generated is not None:
        parts.append(generated.assign(cells=GENERATED_WORDS))
    table = pd.concat(parts, ignore_index=True)
    return table[["cells", "group", "gene", "mean", "fraction", "n"]]


def mean_table(real: Any, generated: Any, genes: np.ndarray) -> pd.DataFrame:
    """Return each gene's mean log1p over real [N, G] and generated [M, G] cells, and the difference."""
    if real.shape[1] != generated.shape[1] or real.shape[1] != len(genes):
        raise ScdiffError("The means cannot be compared.",
                          f"Real cells have {real.shape[1]} genes, generated ones {generated.shape[1]}.",
                          "Compare cells with the dataset that their model was trained on.")
    a, b = (np.asarray(x.mean(axis=0), dtype=float).ravel() for x in (real, generated))
    return pd.DataFrame({"gene": np.asarray(genes).astype(str), "real": a, "generated": b, "difference": b - a})


@dataclass(frozen=True)
class HeatBlock:
    """Cells of a heat map: values [K genes, cells] in log1p, cells sorted by group; NaN where a group has none.

    `starts` has the first column of each group, and the number of columns at the end.
    """

    values: np.ndarray
    groups: tuple[str, ...]
    starts: np.ndarray

    @property
    def centres(self) -> np.ndarray:
        """The middle column of each group."""
        return (self.starts[:-1] + self.starts[1:] - 1) / 2


def heat_blocks(real: Any, real_labels: np.ndarray, generated: Any | None, generated_labels: np.ndarray | None,
                per_group: int = 30, seed: int = 0) -> tuple[HeatBlock, HeatBlock | None]:
    """Return real and generated cells (log1p [N, K], [M, K]) drawn for a heat map with the same columns.

    Each group takes as many columns in both: at most `per_group`, and as many as the set with more cells
    of it has. Cells without a label are left out.
    """
    rng = np.random.default_rng(seed)
    sets = [(real, np.asarray(real_labels).astype(str))]
    if generated is not None and generated_labels is not None:
        sets.append((generated, np.asarray(generated_labels).astype(str)))
    groups = sorted({g for _, labels in sets for g in labels} - {""})
    width = {g: min(per_group, max(int((labels == g).sum()) for _, labels in sets)) for g in groups}
    starts = np.concatenate([[0], np.cumsum([width[g] for g in groups])]).astype(int)
    blocks = []
    for x, labels in sets:
        values = np.full((x.shape[1], starts[-1]), np.nan, dtype=np.float32)
        for g, start in zip(groups, starts[:-1], strict=True):
            rows = np.sort(rng.permutation(np.flatnonzero(labels == g))[: width[g]])
            some = x[rows]
            values[:, start: start + len(rows)] = (some.toarray() if sparse.issparse(some) else some).T
        blocks.append(HeatBlock(values, tuple(groups), starts))
    return blocks[0], blocks[1] if len(blocks) > 1 else None
