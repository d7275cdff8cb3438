"""What a full report computes and draws beside its card: tables of types and genes, and every figure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from scdiff_core import keys
from scdiff_core.analysis import metrics, types
from scdiff_core.analysis.by_type import gene_table, type_table
from scdiff_core.analysis.cells import Cells
from scdiff_core.analysis.markers import find_genes, mean_fraction, rank_markers, top_markers
from scdiff_core.analysis.report_parts import MAX_CELLS, label_judge, variable
from scdiff_core.config import GenerateConfig
from scdiff_core.data.prepared import Prepared
from scdiff_core.data.vocab import as_labels
from scdiff_core.engine import cards, outputs
from scdiff_core.engine.report_full import Figure
from scdiff_core.figures import export, report_static
from scdiff_core.figures.base import natural
from scdiff_core.figures.palette import colour_map
from scdiff_core.figures.tables import dot_table, mean_table

MATRIX_GENES, DOT_GENES, DOT_GROUPS, LISTED = 48, 24, 24, 40
MOST_TRAIN, MOST_TEST = 20_000, 5_000  # real cells that are looked at
Tell = Callable[[str, float], None]


@dataclass(frozen=True)
class Compared:
    """The cells of a report: generated ones, real ones of both splits, and which group each belongs to.

    `groups` names the column that groups them (the cell type, else the first categorical one; None for none);
    `made_groups` and `test_groups` are the labels in it. `xy` are the places of the generated cells on the UMAP.
    """

    made: Cells
    train: Cells
    test: Cells
    prepared: Prepared
    test_rows: np.ndarray
    groups: str | None
    made_groups: np.ndarray | None
    test_groups: np.ndarray | None
    xy: np.ndarray | None
    exact: bool
    seed: int

    @classmethod
    def of(cls, made: outputs.GeneratedSet, prepared: Prepared, asked: GenerateConfig) -> Compared:
        """Return the cells of a generated set and the real ones of the same conditions."""
        adata = made.cells()
        rng = np.random.default_rng(asked.seed)
        rows = ((cards.real_rows(prepared, asked.where, split), most)
                for split, most in ((keys.TRAIN, MOST_TRAIN), (keys.TEST, MOST_TEST)))
        train, test = (of[metrics.subsample(len(of), most, rng)] for of, most in rows)
        column = prepared.roles.cell_type or next((c.column for c in prepared.vocab.categorical), None)
        view = made.view() or {}
        return cls(cards.generated_cells(adata, prepared), cards.real_cells(prepared, train),
                   cards.real_cells(prepared, test), prepared, test, column,
                   as_labels(adata.obs[column]) if column else None,
                   prepared.labels(column)[test] if column else None,
                   view.get("xy"), bool(view.get("exact", False)), asked.seed)

    @property
    def counts(self) -> bool:
        """Say whether the values are counts."""
        return self.prepared.values == keys.COUNTS

    def tables(self, tell: Tell) -> Tables:
        """Return the tables behind the report."""
        confusion: dict[str, Any] | None = None
        classify = None
        labels = self.train.labels
        if labels is not None and len(set(np.asarray(labels)) - {""}) > 1 and self.made.labels is not None:
            classify, known = label_judge(self.train, self.seed)
            names = sorted(map(str, known), key=natural)
            assert self.test.labels is not None
            confusion = {"labels": names,
                         "real": types.confusion(classify, self.test.log1p, self.test.labels, names).tolist(),
                         "generated": types.confusion(classify, self.made.log1p, self.made.labels, names).tolist()}
        rows = type_table(self.made, self.train, self.test, self.seed, values=self.prepared.values,
                          classify=classify, progress=tell)
        cfgen = None
        if self.made.labels is not None and self.test.labels is not None and labels is not None:
            some = self.test.take(metrics.subsample(len(self.test), MAX_CELLS, np.random.default_rng(self.seed)))
            both = [types.cfgen_w2(c.log1p, np.asarray(c.labels), some.log1p, np.asarray(some.labels),
                                   seed=self.seed) for c in (self.made, self.train)]
            if all(np.isfinite(f["w2"]) for f in both):
                cfgen = {"w2": both[0]["w2"], "w2_floor": both[1]["w2"], "mmd": both[0]["mmd"],
                         "mmd_floor": both[1]["mmd"], "types": len(both[0]["types"])}
        return Tables(rows, confusion, cfgen, gene_table(self.test, self.made, self.prepared.genes))


@dataclass(frozen=True)
class Tables:
    """Rows of `by_type.type_table`, the confusion counts, the CFGen figures, and `by_type.gene_table`."""

    types: list[dict[str, Any]]
    confusion: dict[str, Any] | None
    cfgen: dict[str, Any] | None
    genes: pd.DataFrame


def draw(cells: Compared, tables: Tables, tell: Tell) -> list[Figure]:
    """Return every figure that the data allows, in the order in which a report shows them."""
    makers: list[tuple[str, Callable[[], Figure | None]]] = [
        ("map", lambda: umap(cells)), ("means", lambda: means(cells, tables)),
        ("variances", lambda: variances(cells, tables)), ("zeros", lambda: zeros(cells, tables)),
        ("marker genes", lambda: markers(cells)), ("correlations", lambda: correlations(cells)),
        ("library sizes", lambda: libraries(cells)), ("confusion", lambda: confusion(tables))]
    drawn = []
    for i, (words, make) in enumerate(makers):
        tell(f"Drawing: {words}", i / len(makers))
        figure = make()
        if figure is not None:
            drawn.append(figure)
    return drawn


def umap(cells: Compared) -> Figure | None:
    """Return the map: held-out real cells left, as many generated ones right."""
    if cells.xy is None or not len(cells.test_rows):
        return None
    rng = np.random.default_rng(cells.seed)
    n = min(len(cells.test_rows), len(cells.xy), 3 * MAX_CELLS)
    real = metrics.subsample(len(cells.test_rows), n, rng)
    made = metrics.subsample(len(cells.xy), n, rng)
    xy = np.concatenate([cells.prepared.X_umap[cells.test_rows[real]], cells.xy[made]])
    labels, groups = None, np.repeat("all cells", 2 * n)
    colour = None
    if cells.test_groups is not None and cells.made_groups is not None:
        labels = groups = np.concatenate([cells.test_groups[real], cells.made_groups[made]])
        colour = colour_map(sorted(set(cells.prepared.labels(str(cells.groups)).tolist()) - {""}, key=natural))
    svg = export.export_umap(xy, labels, generated=np.arange(2 * n) >= n, colour=colour, fmt="svg")
    rows = []
    for k in sorted(set(groups.tolist()), key=natural):
        row: dict[str, Any] = {"group": k or "no label"}
        for words, part in (("real", slice(0, n)), ("generated", slice(n, None))):
            of = xy[part][groups[part] == k]
            row |= {f"{words} cells": len(of), f"{words} UMAP 1, median": np.median(of[:, 0]) if len(of) else None,
                    f"{words} UMAP 2, median": np.median(of[:, 1]) if len(of) else None}
        rows.append(row)
    placed = "placed by its true transform" if cells.exact else "placed among their nearest real cells, which flatters"
    return Figure("umap", "Map of cells (UMAP)", f"{n:,} held-out real cells and as many generated ones on the map "
                  f"that was fitted on the training cells; generated cells are {placed}.",
                  "Two scatter plots on the same axes: real cells left, generated cells right"
                  + (f", coloured by {cells.groups}." if labels is not None else "."), svg, pd.DataFrame(rows))


def means(cells: Compared, tables: Tables) -> Figure:
    """Return each gene's mean, generated against real."""
    table = mean_table(cells.test.log1p, cells.made.log1p, cells.prepared.genes)
    chosen = table.reindex(table["difference"].abs().sort_values(ascending=False, kind="stable").index)[:LISTED]
    r = metrics.pearson(table["real"].to_numpy(), table["generated"].to_numpy())
    unit = "log1p" if cells.counts else "values as they are"
    svg = export.export_mean_vs_mean(table, marker_genes(cells)[0], unit=unit, fmt="svg")
    return Figure("mean", "Mean against mean", f"Each gene's mean ({unit}) in generated cells against real ones; on "
                  f"the line they are equal. The table lists the {len(chosen)} genes farthest from it; all genes are "
                  "in the JSON file.", f"Scatter plot of {len(table):,} genes along the diagonal, Pearson r {r:.3f}.",
                  svg, chosen)


def _farthest(table: pd.DataFrame, key: str, logs: bool) -> pd.DataFrame:
    """Return the genes whose figure differs most between real and generated cells."""
    a, b = table[f"{key}_real"].to_numpy(float), table[f"{key}_generated"].to_numpy(float)
    least = 1e-3 * max(float(a.max()), 1e-12)
    apart = np.abs(np.log(np.maximum(a, least) / np.maximum(b, least))) if logs else np.abs(a - b)
    order = np.argsort(-apart, kind="stable")[:LISTED]
    return table.iloc[order][["gene", "count_mean_real", "count_mean_generated", f"{key}_real", f"{key}_generated"]]


def variances(cells: Compared, tables: Tables) -> Figure:
    """Return each gene's variance against its mean, real beside generated."""
    ratio = metrics.gene_variance_ratio(cells.made.log1p, cells.test.log1p)
    line = "Real counts vary more than Poisson counts (dashed); cells" if cells.counts else "Cells"
    return Figure("variance", "Variance against mean", f"Each gene's variance over cells against its mean. {line} that "
                  "are too smooth lie too low. The table lists the genes whose variances differ most.",
                  "Two scatter plots of variance against mean on the same axes; "
                  f"the median ratio of variances (log1p), generated over real, is {ratio:.2f}.",
                  report_static.variance_figure(tables.genes, cells.counts),
                  _farthest(tables.genes, "count_variance", True))


def zeros(cells: Compared, tables: Tables) -> Figure | None:
    """Return each gene's share of zeros against its mean; none where values have no zeros."""
    if not (tables.genes["zeros_real"] > 0).any():
        return None
    shares = [100 * metrics.zero_share(c.counts) for c in (cells.test, cells.made)]
    line = " Dashed: the zeros that Poisson counts of one rate would have." if cells.counts else ""
    return Figure("zeros", "Zeros against mean", "The share of cells without a count of a gene, against its mean."
                  + line + " The table lists the genes whose shares differ most.",
                  "Two scatter plots of the share of zeros against the mean on the same axes; over all genes real "
                  f"cells have {shares[0]:.1f} % zeros, generated ones {shares[1]:.1f} %.",
                  report_static.zeros_figure(tables.genes, cells.counts), _farthest(tables.genes, "zeros", False))


def marker_genes(cells: Compared) -> tuple[list[str], list[str]]:
    """Return the marker genes to show and the groups that they mark; empty where there are no two groups."""
    if cells.test_groups is None or cells.made_groups is None:
        return [], []
    sizes = {str(k): int((cells.test_groups == k).sum()) for k in np.unique(cells.test_groups) if k}
    groups = sorted(sorted(sizes, key=lambda k: -sizes[k])[:DOT_GROUPS], key=natural)
    table = cells.prepared.markers() if cells.groups == cells.prepared.roles.cell_type else pd.DataFrame()
    if not len(table):
        table = rank_markers(cells.test.log1p, cells.prepared.genes, cells.test_groups)
    if not len(table) or len(groups) < 2:
        return [], []
    per_group = max(1, min(3, DOT_GENES // len(groups)))
    found, _ = find_genes(top_markers(table[table["group"].isin(groups)], per_group, DOT_GENES),
                          cells.prepared.genes)
    return found, groups


def markers(cells: Compared) -> Figure | None:
    """Return the dots of marker genes by group, real cells above generated ones."""
    genes, groups = marker_genes(cells)
    if not genes:
        return None
    place = {g: i for i, g in enumerate(cells.prepared.genes)}
    index = np.array([place[g] for g in genes])
    assert cells.test_groups is not None and cells.made_groups is not None
    real, made = (mean_fraction(c.log1p, of, index, cells.prepared.genes)
                  for c, of in ((cells.test, cells.test_groups), (cells.made, cells.made_groups)))
    svg = export.export_dot_plot(real, made, genes, groups, fmt="svg")
    return Figure("markers", "Marker genes", "Real cells above, generated ones below: the size of a dot is the share "
                  "of cells that express the gene, its colour the mean (log1p).",
                  f"Two dot plots of {len(genes)} marker genes by {len(groups)} groups ({cells.groups}), one scale.",
                  svg, dot_table(real[real["group"].isin(groups)], made[made["group"].isin(groups)]))


def correlations(cells: Compared) -> Figure | None:
    """Return the correlations of the most variable genes, in the order of their clusters in real cells."""
    chosen = variable(cells.test.log1p, cells.train.log1p, MATRIX_GENES)
    real, made = (report_static.matrix_of(metrics.gene_correlations(c.log1p[:, chosen]), len(chosen))
                  for c in (cells.test, cells.made))
    keep = np.isfinite(real).sum(0) > 1  # a gene that varies correlates with another one
    if keep.sum() < 3:
        return None
    chosen, real, made = chosen[keep], real[np.ix_(keep, keep)], np.nan_to_num(made[np.ix_(keep, keep)])
    order = report_static.correlation_order(real)
    real, made = real[np.ix_(order, order)], made[np.ix_(order, order)]
    genes = cells.prepared.genes[chosen[order]].tolist()
    return Figure("correlation", "Genes together", f"Pearson correlations of the {len(genes)} most variable genes. "
                  "Both matrices are in the order of the clusters in real cells, so equal patterns look equal. The "
                  "table lists the pairs that differ most.", "Two heat maps of gene-gene correlations, real left, "
                  "generated right, on one colour scale.", report_static.correlation_figure(real, made, genes),
                  report_static.largest_pairs(real, made, genes))


def libraries(cells: Compared) -> Figure | None:
    """Return the distributions of library sizes; none without counts."""
    if not cells.counts:
        return None
    shares = (5, 25, 50, 75, 95)
    table = pd.DataFrame({"percentile": shares, **{
        words: np.percentile(np.asarray(c.total_counts, float), shares).round()
        for words, c in (("real", cells.test), ("generated", cells.made))}})
    middle = [float(np.median(c.total_counts)) for c in (cells.test, cells.made)]
    return Figure("library", "Library sizes", "The total counts of a cell, over all genes of the source; dashed lines "
                  "are medians.", f"Two histograms on one axis; medians {middle[0]:,.0f} counts in real cells, "
                  f"{middle[1]:,.0f} in generated ones.",
                  report_static.library_figure(cells.test.total_counts, cells.made.total_counts), table)


def confusion(tables: Tables) -> Figure | None:
    """Return what the classifier says of real and of generated cells; none without two types."""
    if tables.confusion is None:
        return None
    labels = tables.confusion["labels"]
    real, made = (np.array(tables.confusion[k]) for k in ("real", "generated"))
    table = pd.DataFrame([{"label": a, "the classifier says": b, "real cells": int(real[i, j]),
                           "generated cells": int(made[i, j])} for i, a in enumerate(labels)
                          for j, b in enumerate(labels) if real[i, j] or made[i, j]])
    return Figure("confusion", "Cell type: asked for and said", "A classifier that learned from real training cells "
                  "names the type of held-out real cells (left) and of generated cells (right). Where real cells "
                  "are confused, generated ones may be too.", "Two matrices of label by answer in percent of a row, "
                  "real cells left, generated cells right.",
                  report_static.confusion_figure(real, made, labels), table)
