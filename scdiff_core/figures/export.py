"""The same figures for a paper: SVG, PDF and PNG by matplotlib, with a stamp on all that is synthetic."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from scdiff_core.errors import ScdiffError
from scdiff_core.figures.base import GENERATED_WORDS, REAL_WORDS, SEQUENTIAL, natural, short_names
from scdiff_core.figures.palette import GENERATED, MISSING, REAL, colour_map
from scdiff_core.figures.tables import groups_of, heat_blocks

FORMATS = ("svg", "pdf", "png")
STAMP = "synthetic cells: generated, not measured"
README = ("Figures of scDiff Studio. Panels, points and columns named 'generated' show " + STAMP + ".\n"
          "Real cells are the held-out or chosen cells of the data set. Values are log1p of counts scaled to 10,000.\n")
POINTS = 60  # of a violin outline
RASTER = 2_000  # more points than this are drawn as an image inside a vector file
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 8, "axes.titlesize": 9, "svg.fonttype": "none", "pdf.fonttype": 42,
    "svg.hashsalt": "scdiff", "hatch.linewidth": 0.5, "axes.spines.top": False, "axes.spines.right": False,
    "axes.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6, "legend.frameon": False,
    "savefig.dpi": 200}


def new_figure(width: float, height: float, rows: int = 1, cols: int = 1, **options: Any) -> tuple[Any, np.ndarray]:
    """Return a figure in inches without a window or global state, and its axes [rows, cols]."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    matplotlib.rcParams.update(STYLE)
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, cols, squeeze=False, **options)


def save_figure(figure: Any, fmt: str, synthetic: bool) -> bytes:
    """Return the figure as a file, stamped where generated cells are in it; the same bytes each time."""
    if fmt not in FORMATS:
        raise ScdiffError(f"A figure cannot be saved as '{fmt}'.", "That format is not known.",
                          "Choose one of " + ", ".join(FORMATS) + ".")
    if synthetic:
        figure.text(0.0, -0.02, STAMP, fontsize=6.5, color="#555555", style="italic", va="top", ha="left")
    note = STAMP if synthetic else "real cells"
    metadata = {"svg": {"Date": None, "Description": note}, "pdf": {"CreationDate": None, "Subject": note},
                "png": {"Description": note}}[fmt]
    out = io.BytesIO()
    figure.savefig(out, format=fmt, bbox_inches="tight", facecolor="white", metadata=metadata)
    return out.getvalue()


def colour_scale() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("viridis_light", list(SEQUENTIAL))


def export_umap(xy: np.ndarray, labels: np.ndarray | None = None, values: np.ndarray | None = None,
                generated: np.ndarray | None = None, *, colour: dict[str, str] | None = None, title: str = "",
                axis: str = "UMAP", fmt: str = "svg") -> bytes:
    """Return `umap.umap_scatter` as a file: real and generated cells in panels of their own, on one scale."""
    xy = np.asarray(xy, float)
    made = np.zeros(len(xy), bool) if generated is None else np.asarray(generated, bool)
    panels = [(w, rows) for w, rows in ((REAL_WORDS, ~made), (GENERATED_WORDS, made)) if rows.any()]
    names = np.repeat("", len(xy)) if labels is None else np.asarray(labels).astype(str)
    colour = colour or colour_map(sorted(set(names.tolist()), key=natural))
    present = [n for n in colour if n and (names == n).any()]
    shorter = short_names(present, 40)
    entries = [(shorter[n], colour[n]) for n in present] + ([("no label", MISSING)] if (names == "").any() else [])
    columns = int(np.ceil(len(entries) / 18))
    aside = 1.0 if values is not None else 0 if labels is None else sum(
        0.4 + 0.062 * max(len(n) for n, _ in entries[i::columns]) for i in range(columns))
    figure, axes = new_figure(3.2 * max(1, len(panels)) + aside, 3.2, 1, max(1, len(panels)), sharex=True, sharey=True)
    size = float(np.clip(6000 / max(1, len(xy)), 1.5, 12))
    drawn = None
    for place, (words, rows) in zip(axes[0], panels, strict=False):
        marker = "D" if words == GENERATED_WORDS else "o"
        options: dict[str, Any] = {"s": size, "marker": marker, "linewidths": 0, "rasterized": rows.sum() > RASTER}
        if values is not None:
            shown = np.asarray(values, float)
            drawn = place.scatter(*xy[rows].T, c=shown[rows], cmap=colour_scale(), vmin=np.nanmin(shown),
                                  vmax=np.nanmax(shown), **options)
        else:
            place.scatter(*xy[rows].T, c=[colour.get(n, MISSING) for n in names[rows]], **options)
        place.set(title=words if len(panels) > 1 or made.any() else "", xlabel=f"{axis} 1", xticks=[], yticks=[])
    axes[0, 0].set_ylabel(f"{axis} 2")
    if drawn is not None:
        figure.colorbar(drawn, ax=axes, shrink=0.6, label=title)
    elif labels is not None:
        _legend(figure, entries, columns)
    if title and drawn is None:
        figure.suptitle(title)
    return save_figure(figure, fmt, bool(made.any()))


def _legend(figure: Any, entries: list[tuple[str, str]], columns: int) -> None:
    """Put a legend of colours to the right."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], marker="o", linestyle="", color=c, markersize=4, label=n) for n, c in entries]
    figure.legend(handles=handles, loc="outside right upper", ncols=columns, handletextpad=0.2,
                  columnspacing=0.8, fontsize=7)


def export_dot_plot(real: pd.DataFrame, generated: pd.DataFrame | None = None, genes: Sequence[str] | None = None,
                    groups: Sequence[str] | None = None, *, fmt: str = "svg") -> bytes:
    """Return `markers.dot_plot` as a file; the panels stand one above the other."""
    from matplotlib.lines import Line2D

    genes = list(genes) if genes is not None else list(dict.fromkeys(real["gene"]))
    groups = list(groups) if groups is not None else groups_of(real, generated)
    panels = [(REAL_WORDS, real)] + ([(GENERATED_WORDS, generated)] if generated is not None else [])
    figure, axes = new_figure(0.23 * len(genes) + 3.6, (0.2 * len(groups) + 0.5) * len(panels) + 0.7, len(panels), 1,
                           sharex=True)
    top = max([float(t["mean"].max()) for _, t in panels if len(t)] + [1e-9])
    names, largest, drawn = short_names(groups, 36), 90.0, None
    for place, (words, table) in zip(axes[:, 0], panels, strict=True):
        shown = table[table["gene"].isin(genes) & table["group"].isin(groups)]
        drawn = place.scatter([genes.index(g) for g in shown["gene"]], [groups.index(g) for g in shown["group"]],
                              s=largest * shown["fraction"], c=shown["mean"], cmap=colour_scale(), vmin=0, vmax=top,
                              edgecolors="#555555", linewidths=0.3)
        place.set(title=words, yticks=range(len(groups)), yticklabels=[names[g] for g in groups],
                  xticks=range(len(genes)), xlim=(-0.7, len(genes) - 0.3), ylim=(len(groups) - 0.3, -0.7))
        place.set_xticklabels(genes, rotation=90, style="italic")
        place.grid(alpha=0.25, linewidth=0.4)
        place.set_axisbelow(True)
    figure.colorbar(drawn, ax=axes, shrink=min(0.8, 1.2 / figure.get_figheight()), label="mean log1p", aspect=12)
    handles = [Line2D([], [], marker="o", linestyle="", markerfacecolor="none", markeredgecolor="#555555",
                      label=f"{s:.0%}", markersize=float(np.sqrt(largest * s))) for s in (0.25, 0.5, 1.0)]
    figure.legend(handles=handles, loc="outside right upper", title="of cells")
    return save_figure(figure, fmt, generated is not None)


def export_violin(real: Any, real_labels: np.ndarray, generated: Any | None = None,
                  generated_labels: np.ndarray | None = None, genes: Sequence[str] = (),
                  groups: Sequence[str] | None = None, *, fmt: str = "svg") -> bytes:
    """Return `markers.violin_plot` as a file: real cells filled on the left, generated ones hatched on the right."""
    from matplotlib.patches import Patch

    sets = [(REAL_WORDS, _dense(real), np.asarray(real_labels).astype(str))]
    if generated is not None and generated_labels is not None:
        sets.append((GENERATED_WORDS, _dense(generated), np.asarray(generated_labels).astype(str)))
    groups = list(groups) if groups is not None else sorted({str(g) for s in sets for g in s[2]} - {""}, key=natural)
    figure, axes = new_figure(max(3.5, 0.5 * len(groups) + 1.2), 0.8 * max(1, len(genes)) + 1.2, max(1, len(genes)), 1,
                           sharex=True)
    looks: dict[str, dict[str, Any]] = {
        REAL_WORDS: {"facecolor": REAL, "edgecolor": "#444444"},
        GENERATED_WORDS: {"facecolor": "#FBE3D3", "edgecolor": GENERATED, "hatch": "////"}}
    for i, gene in enumerate(genes):
        place = axes[i, 0]
        top = float(max(x[:, i].max() for _, x, _ in sets if len(x)) or 1.0)
        for words, x, labels in sets:
            side = {REAL_WORDS: "low", GENERATED_WORDS: "high"}[words] if len(sets) > 1 else "both"
            for j, group in enumerate(groups):
                values = x[labels == group, i]
                if len(values):
                    _half_violin(place, j, values, 0.06 * top, side, {"linewidth": 0.6, **looks[words]})
        place.set(ylim=(0, top * 1.05), xlim=(-0.6, len(groups) - 0.4))
        place.set_ylabel(gene, rotation=0, ha="right", va="center", style="italic")
    names = short_names(groups, 36)
    axes[-1, 0].set_xticks(range(len(groups)), [names[g] for g in groups], rotation=90 if len(groups) > 3 else 0)
    if len(sets) > 1:
        figure.legend(handles=[Patch(label=w, **looks[w]) for w, _, _ in sets], loc="outside upper left", ncols=2)
    return save_figure(figure, fmt, len(sets) > 1)


def _half_violin(place: Any, at: int, values: np.ndarray, width: float, side: str, look: dict[str, Any]) -> None:
    """Draw the smoothed density of a group's values (Gaussian kernel of `width`), its widest point 0.42 wide."""
    grid = np.linspace(values.min(), max(values.max(), values.min() + width), POINTS)
    density = np.exp(-0.5 * ((grid[:, None] - values[None, :]) / width) ** 2).sum(1)
    density = 0.42 * density / density.max()
    left = at - density if side != "high" else np.full(POINTS, at)
    right = at + density if side != "low" else np.full(POINTS, at)
    place.fill_betweenx(grid, left, right, **look)
    middle = float(values.mean())
    place.plot([np.interp(middle, grid, left), np.interp(middle, grid, right)], [middle] * 2, color=look["edgecolor"],
               linewidth=1.2)


def export_heat_map(real: Any, real_labels: np.ndarray, generated: Any | None = None,
                    generated_labels: np.ndarray | None = None, genes: Sequence[str] = (),
                    groups: Sequence[str] | None = None, *, per_group: int = 30, seed: int = 0,
                    fmt: str = "svg") -> bytes:
    """Return `markers.heat_map` as a file: the same cells, real ones above generated ones."""
    blocks = heat_blocks(real, real_labels, generated, generated_labels, per_group, seed, groups)
    panels = [(w, b) for w, b in zip((REAL_WORDS, GENERATED_WORDS), blocks, strict=True) if b is not None]
    groups = panels[0][1].groups
    figure, axes = new_figure(max(4.5, 0.42 * len(groups) + 2), (0.15 * len(genes) + 0.4) * len(panels) + 1.2,
                           len(panels), 1, sharex=True)
    top = max([float(np.nanmax(b.values)) for _, b in panels if np.isfinite(b.values).any()] + [1e-9])
    drawn = None
    for place, (words, block) in zip(axes[:, 0], panels, strict=True):
        drawn = place.pcolormesh(block.edges, np.arange(len(genes) + 1), block.values, cmap=colour_scale(), vmin=0,
                                 vmax=top, rasterized=True)
        place.vlines(np.arange(1, len(groups)), 0, len(genes), color="white", linewidth=1)
        place.set(title=words, ylim=(len(genes), 0), yticks=np.arange(len(genes)) + 0.5)
        place.set_yticklabels(genes, style="italic", fontsize=7)
    names = short_names(groups, 36)
    axes[-1, 0].set_xticks(np.arange(len(groups)) + 0.5, [names[g] for g in groups],
                           rotation=90 if len(groups) > 3 else 0)
    figure.colorbar(drawn, ax=axes, shrink=min(0.8, 1.3 / figure.get_figheight()), label="log1p", aspect=12)
    return save_figure(figure, fmt, len(panels) > 1)


def export_mean_vs_mean(table: pd.DataFrame, highlight: Sequence[str] = (), *, unit: str = "log1p",
                        fmt: str = "svg") -> bytes:
    """Return `markers.mean_vs_mean` as a file."""
    from scdiff_core.analysis.metrics import pearson
    from scdiff_core.figures.markers import means_range, named_genes

    figure, axes = new_figure(3.6, 3.6)
    place = axes[0, 0]
    marked = table["gene"].isin(set(highlight)).to_numpy()
    low, top = means_range(table)
    place.plot([low, top], [low, top], linestyle="--", color="#777777", linewidth=0.7)
    place.scatter(table["real"][~marked], table["generated"][~marked], s=5, color=REAL, linewidths=0, alpha=0.7,
                  label="genes", rasterized=len(table) > RASTER)
    if marked.any():
        place.scatter(table["real"][marked], table["generated"][marked], s=16, color=GENERATED, marker="D",
                      linewidths=0.3, edgecolors="#444444", label="marker genes")
    for gene in named_genes(table, top - low):
        one = table[table["gene"] == gene].iloc[0]
        above = one["generated"] > one["real"]
        place.annotate(gene, (one["real"], one["generated"]), xytext=(-14, 9) if above else (14, -9), fontsize=7,
                       textcoords="offset points", style="italic", ha="right" if above else "left",
                       va="bottom" if above else "top", arrowprops={"arrowstyle": "-", "linewidth": 0.4})
    place.set(xlabel=f"mean in real cells ({unit})", ylabel=f"mean in generated cells ({unit})", xlim=(low, top),
              ylim=(low, top), aspect="equal",
              title=f"Pearson r {pearson(table['real'].to_numpy(), table['generated'].to_numpy()):.3f}")
    place.legend(loc="lower right")
    return save_figure(figure, fmt, True)


def figure_bundle(figures: Mapping[str, Callable[[str], bytes]], tables: Mapping[str, pd.DataFrame] | None = None,
                  formats: Sequence[str] = FORMATS) -> bytes:
    """Return a zip of every figure in every format and every table as csv, with a note on what is synthetic.

    `figures` maps a file's name to a function of the format, such as
    `lambda fmt: export_dot_plot(real, generated, fmt=fmt)`.
    """
    files = {f"{name}.{fmt}": draw(fmt) for name, draw in figures.items() for fmt in formats}
    files |= {f"{name}.csv": table.to_csv(index=False).encode() for name, table in (tables or {}).items()}
    files["README.txt"] = README.encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _dense(x: Any) -> np.ndarray:
    return np.asarray(x.toarray() if hasattr(x, "toarray") else x, dtype=np.float32)
