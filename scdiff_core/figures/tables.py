"""The arrays behind the marker figures, made once for the screen, the export and the table beside each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from scdiff_core.errors import ScdiffError
from scdiff_core.figures.base import KINDS, Kind, natural


def groups_of(*tables: pd.DataFrame | None) -> list[str]:
    """Return the groups of several marker tables, each once, sorted as people sort names."""
    return sorted({str(g) for t in tables if t is not None for g in t["group"]}, key=natural)


def dot_table(real: pd.DataFrame, generated: pd.DataFrame | None = None, *, kinds: Sequence[Kind] = KINDS,
              scaled: bool = False) -> pd.DataFrame:
    """Return the tables of `markers.mean_fraction` as one, with a column `cells`: which set.

    `scaled` adds the mean between the least (0) and the largest (1) mean of its gene, as `scaled_means` gives it.
    """
    parts = [table.assign(cells=kind.words) for kind, table in zip(kinds, scaled_means(real, generated), strict=False)]
    columns = ["cells", "group", "gene", "mean", *(["scaled"] if scaled else []), "fraction", "n"]
    return pd.concat(parts, ignore_index=True)[columns]


def scaled_means(*tables: pd.DataFrame | None) -> list[pd.DataFrame]:
    """Return marker tables with a column `scaled`: each gene's means from 0 to 1, over all the tables together.

    A gene whose mean is the same everywhere is 0.
    """
    given = [t for t in tables if t is not None]
    spans = pd.concat([t[["gene", "mean"]] for t in given]).groupby("gene", sort=False)["mean"].agg(["min", "max"])
    reach = (spans["max"] - spans["min"]).replace(0, np.inf)
    return [t.assign(scaled=((t["mean"] - t["gene"].map(spans["min"])) / t["gene"].map(reach)).astype(float))
            for t in given]


def mean_matrix(*tables: pd.DataFrame | None, rows: str = "gene") -> pd.DataFrame:
    """Return marker tables as one matrix of means (log1p): genes by groups, or groups by genes (`rows="group"`).

    The columns of a second table stand beside those of the first.
    """
    columns = "group" if rows == "gene" else "gene"
    return pd.concat([t.pivot_table(index=rows, columns=columns, values="mean", sort=False)
                      for t in tables if t is not None], axis=1)


def panel_matrix(table: pd.DataFrame, genes: Sequence[str], groups: Sequence[str], column: str) -> np.ndarray:
    """Return one column of a marker table as an array [groups, genes]; NaN where a group has no cells."""
    wide = table.pivot_table(index="group", columns="gene", values=column, sort=False)
    return wide.reindex(index=list(groups), columns=list(genes)).to_numpy(float)


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
    """Cells of a heat map, sorted by group: values [K genes, cells] in log1p, one NaN column where there is none.

    `edges` [cells + 1] are the borders of the columns: each group is 1 wide, however many cells it has.
    """

    values: np.ndarray
    groups: tuple[str, ...]
    of: np.ndarray  # [cells] which group
    edges: np.ndarray


def heat_blocks(real: Any, real_labels: np.ndarray, generated: Any | None, generated_labels: np.ndarray | None,
                per_group: int = 30, seed: int = 0, groups: Sequence[str] | None = None,
                ) -> tuple[HeatBlock, HeatBlock | None]:
    """Return real and generated cells (log1p [N, K], [M, K]) drawn for a heat map, with the same groups.

    At most `per_group` cells of each group, by `seed`; the groups in the order given, else all
    of them. Cells without a label are left out.
    """
    rng = np.random.default_rng(seed)
    sets = [(real, np.asarray(real_labels).astype(str))]
    if generated is not None and generated_labels is not None:
        sets.append((generated, np.asarray(generated_labels).astype(str)))
    groups = tuple(groups or sorted({str(g) for _, labels in sets for g in labels} - {""}, key=natural))
    blocks = []
    for x, labels in sets:
        columns, of, edges = [], [], [0.0]
        for i, group in enumerate(groups):
            rows = np.sort(rng.permutation(np.flatnonzero(labels == group))[:per_group])
            some = x[rows].toarray() if sparse.issparse(x) else np.asarray(x)[rows]
            columns.append(some if len(rows) else np.full((1, x.shape[1]), np.nan))
            n = len(columns[-1])
            of += [i] * n
            edges += (i + np.arange(1, n + 1) / n).tolist()
        values = np.concatenate(columns).T.astype(np.float32) if columns else np.zeros((x.shape[1], 0), np.float32)
        blocks.append(HeatBlock(values, groups, np.array(of, dtype=int), np.array(edges)))
    return blocks[0], blocks[1] if len(blocks) > 1 else None
