"""The marker figures of one or two sets of cells, for the page, for files, and as tables; without Streamlit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import scipy.sparse as sp

from scdiff_core.analysis.markers import mean_fraction
from scdiff_core.errors import ScdiffError
from scdiff_core.figures import export, plots
from scdiff_core.figures.base import Kind
from scdiff_core.figures.paper import Size

DOTS, MATRIX, VIOLIN, HEAT, MEANS = "Dot plot", "Matrix", "Violin", "Heat map", "Mean against mean"
KINDS = (DOTS, MATRIX, VIOLIN, HEAT, MEANS)
MOST = {DOTS: 80, MATRIX: 100, VIOLIN: 12, HEAT: 100, MEANS: 10_000}  # genes that fit on a screen and on a page


@dataclass(frozen=True)
class CellSet:
    """Cells that are drawn together: log1p [N, G] (csc is quickest) and the group of each, "" where it is left out."""

    name: str
    log1p: sp.csr_matrix | sp.csc_matrix
    groups: np.ndarray
    synthetic: bool = False

    @property
    def kind(self) -> Kind:
        """What figures call the set."""
        return Kind.of(self.name, self.synthetic)


@dataclass(frozen=True)
class Markers:
    """Chosen genes of one or two sets, in chosen groups, both in the order in which they are drawn.

    Raises
    ------
    ScdiffError
        There is no set or more than two, they differ in genes, or cells and groups differ in number.
    """

    sets: tuple[CellSet, ...]
    all_genes: np.ndarray
    genes: tuple[str, ...]
    groups: tuple[str, ...]
    scaled: bool = False
    colour: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= len(self.sets) <= 2:
            raise ScdiffError("These figures cannot be drawn.", f"They show one or two sets of cells, not "
                              f"{len(self.sets)}.", "Choose fewer.")
        for cells in self.sets:
            if cells.log1p.shape != (len(cells.groups), len(self.all_genes)):
                raise ScdiffError(
                    "These figures cannot be drawn.",
                    f"{cells.name} cells: {cells.log1p.shape[0]:,} by {cells.log1p.shape[1]:,} values for "
                    f"{len(cells.groups):,} groups and {len(self.all_genes):,} genes.",
                    "Compare cells with the dataset that their model was trained on.")

    @property
    def kinds(self) -> list[Kind]:
        """What the sets are called."""
        return [s.kind for s in self.sets]

    @property
    def possible(self) -> list[str]:
        """Which figures there are: means against each other need two sets."""
        return [k for k in KINDS if k != MEANS or len(self.sets) == 2]

    @cached_property
    def labels(self) -> list[np.ndarray]:
        """The group of each cell, "" where it is not drawn."""
        return [np.where(np.isin(s.groups, self.groups), s.groups, "").astype(str) for s in self.sets]

    @cached_property
    def values(self) -> list[sp.csr_matrix]:
        """The chosen genes of all cells, log1p [N, K]."""
        place = {str(g): i for i, g in enumerate(self.all_genes)}
        index = [place[g] for g in self.genes]
        return [sp.csr_matrix(s.log1p[:, index]) for s in self.sets]

    @cached_property
    def tables(self) -> list[pd.DataFrame]:
        """Mean and share of expressing cells of each gene in each group."""
        chosen = np.arange(len(self.genes))
        return [mean_fraction(x, labels, chosen, np.array(self.genes, dtype=str))
                for x, labels in zip(self.values, self.labels, strict=True)]

    @cached_property
    def means(self) -> pd.DataFrame:
        """Mean of every gene of the dataset in the drawn cells of both sets."""
        means = []
        for cells, labels in zip(self.sets, self.labels, strict=True):
            drawn = (labels != "").astype(np.float64)
            means.append(np.asarray(cells.log1p.T @ (drawn / max(1.0, drawn.sum()))).ravel())
        return pd.DataFrame({"gene": np.asarray(self.all_genes).astype(str), "real": means[0], "generated": means[1],
                             "difference": means[1] - means[0]})

    def matrix(self, rows: str) -> pd.DataFrame:
        """Return the means as a matrix of genes by groups, or of groups by genes (`rows="group"`), for clustering."""
        return plots.mean_matrix(*self.tables, rows=rows)

    def few(self, kind: str) -> Markers:
        """Return the same with as many genes as this kind of figure has room for."""
        if len(self.genes) <= MOST[kind]:
            return self
        return Markers(self.sets, self.all_genes, self.genes[: MOST[kind]], self.groups, self.scaled, self.colour)

    def figure(self, kind: str) -> go.Figure:
        """Return a figure for the page."""
        if kind == MEANS:
            return plots.mean_vs_mean(self.means, self.genes, kinds=self.kinds)
        if kind in (DOTS, MATRIX):
            draw: Callable[..., go.Figure] = plots.dot_plot if kind == DOTS else plots.matrix_plot
            return draw(*self.tables, genes=self.genes, groups=self.groups, kinds=self.kinds, scaled=self.scaled)
        draw_cells: Callable[..., go.Figure] = plots.violin_plot if kind == VIOLIN else plots.heat_map
        return draw_cells(*self._cells(), genes=self.genes, groups=self.groups, kinds=self.kinds, colour=self.colour)

    def file(self, kind: str, fmt: str, size: Size | None = None) -> bytes:
        """Return a figure as a file (svg, pdf, png)."""
        if kind == MEANS:
            return export.export_mean_vs_mean(self.means, self.genes, kinds=self.kinds, fmt=fmt, size=size)
        if kind in (DOTS, MATRIX):
            draw: Callable[..., bytes] = export.export_dot_plot if kind == DOTS else export.export_matrix_plot
            return draw(*self.tables, genes=self.genes, groups=self.groups, kinds=self.kinds, scaled=self.scaled,
                        fmt=fmt, size=size)
        draw_cells: Callable[..., bytes] = export.export_violin if kind == VIOLIN else export.export_heat_map
        return draw_cells(*self._cells(), genes=self.genes, groups=self.groups, kinds=self.kinds, colour=self.colour,
                          fmt=fmt, size=size)

    def table(self, kind: str) -> pd.DataFrame:
        """Return the numbers behind a figure."""
        if kind == MEANS:
            return self.means.rename(columns=dict(zip(("real", "generated"), (s.name for s in self.sets), strict=True)))
        return plots.dot_table(*self.tables, kinds=self.kinds, scaled=self.scaled)

    def files(self) -> dict[str, Callable[[str], bytes]]:
        """Return every figure as a function of the format, by the name of its file."""
        return {k.lower().replace(" ", "-"): lambda fmt, k=k: self.few(k).file(k, fmt)  # type: ignore[misc]
                for k in self.possible}

    def _cells(self) -> Sequence[sp.csr_matrix | np.ndarray]:
        return [part for pair in zip(self.values, self.labels, strict=True) for part in pair]
