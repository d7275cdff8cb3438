"""Scatters of cells for a paper: any two coordinates, groups or values, real and generated, split into panels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scdiff_core.errors import ScdiffError
from scdiff_core.figures.base import KINDS, Kind, natural, short, short_names
from scdiff_core.figures.palette import MISSING, colour_map, matplotlib_map
from scdiff_core.figures.paper import RASTER, Size, new_figure, save_figure

PANEL = 3.2  # inches, each side of a panel
LETTER = 0.025  # width of a letter of a name, as a share of a panel
GREY = "#E2E2E2"  # cells that stand back
IN_LEGEND = 18  # entries of one column


def export_umap(xy: np.ndarray, labels: np.ndarray | None = None, values: np.ndarray | None = None,
                generated: np.ndarray | None = None, *, colour: Mapping[str, str] | None = None, title: str = "",
                axis: str = "UMAP", x: str | None = None, y: str | None = None, fmt: str = "svg",
                size: Size | None = None, values_map: str | None = None, value_range: tuple[float, float] | None = None,
                panels: Sequence[tuple[str, np.ndarray]] | None = None, chosen: np.ndarray | None = None,
                grey: np.ndarray | None = None, centres: bool = False, kinds: Sequence[Kind] = KINDS) -> bytes:
    """Return cells as points in a file: real and generated cells in panels of their own, on one scale.

    Parameters
    ----------
    xy, labels, values, generated, colour
        As of `umap.umap_scatter`: positions [N, 2], labels [N] or values [N], which cells are generated [N],
        and label -> colour in the order of the legend.
    axis, x, y
        What the map is: "UMAP" names the axes "UMAP 1" and "UMAP 2". `x` and `y` name them one by one; axes that
        are not those of an embedding have numbers.
    values_map, value_range
        The map of the values (`palette.CONTINUOUS`) and the values at its two ends; beyond them the colour
        stays, and the scale has a point.
    panels
        Titles and the rows (indices or bool [N]) of each panel, for a split by condition; all have the same
        axes. In such a panel real cells are dots and generated ones diamonds. None: one panel a kind.
    chosen, grey
        Bool [N]: chosen cells are drawn in colour over the others in grey; grey ones always stand back.
    centres
        The names at the centres of their groups too.

    Raises
    ------
    ScdiffError
        The arrays differ in length; the format, the palette or the size cannot be.
    """
    xy = np.asarray(xy, float)
    made = np.zeros(len(xy), bool) if generated is None else np.asarray(generated, bool)
    _check(len(xy), labels=labels, values=values, generated=made, chosen=chosen, grey=grey)
    back = np.zeros(len(xy), bool) if grey is None else np.asarray(grey, bool)
    back = back if chosen is None else back | ~np.asarray(chosen, bool)
    back = back if values is None else back | ~np.isfinite(np.asarray(values, float))
    split = panels is not None
    shown = [(words, _mask(rows, len(xy))) for words, rows in panels] if panels is not None else [
        (kind.words, rows) for kind, rows in zip(kinds, (~made, made), strict=False) if rows.any()]
    names = np.repeat("", len(xy)) if labels is None else np.asarray(labels).astype(str)
    colour = dict(colour or colour_map(sorted(set(names.tolist()), key=natural)))
    entries = _entries(names[~back], colour) if values is None and labels is not None else []
    if split and made.any() and not made.all():
        entries += [(kinds[0].words, "real"), (kinds[1].words, "generated")]
    columns = max(1, int(np.ceil(len(entries) / IN_LEGEND)))
    aside = (1.0 if values is not None else 0.0) + sum(
        0.4 + 0.062 * max(len(n) for n, _ in entries[i::columns]) for i in range(columns if entries else 0))
    rows, cols = _grid(len(shown))
    width = PANEL if rows == 1 or len(shown) < 3 else 0.8 * PANEL
    figure, axes = new_figure(width * cols + aside, width * rows, rows, cols, sharex=True, sharey=True)
    points = _Points(xy, names, None if values is None else np.asarray(values, float), made, back, colour,
                     matplotlib_map(values_map), value_range, kinds)
    for i, place in enumerate(axes.ravel()):
        if i >= len(shown):
            place.set_axis_off()
            continue
        words, of = shown[i]
        points.draw(place, of)
        if centres and labels is not None and values is None:
            points.name(place, of)
        place.set(title=short(words, 44) if split or len(shown) > 1 or made.any() else "")
    _axes(axes, x or f"{axis} 1", y or f"{axis} 2", len(shown))
    if values is not None:
        figure.colorbar(points.scale(), ax=axes, shrink=min(0.6, 2 / figure.get_figheight()), aspect=15, label=title,
                        extend=points.extend())
    if entries:
        _legend(figure, entries, columns)
    if title and values is None:
        figure.suptitle(title)
    return save_figure(figure, fmt, bool(made.any()), size)


class _Points:
    """The cells of all panels and how they are drawn."""

    def __init__(self, xy: np.ndarray, names: np.ndarray, values: np.ndarray | None, made: np.ndarray,
                 back: np.ndarray, colour: dict[str, str], of_values: Any, span: tuple[float, float] | None,
                 kinds: Sequence[Kind]) -> None:
        from matplotlib.colors import Normalize, to_rgba_array

        self.xy, self.names, self.values, self.made, self.back = xy, names, values, made, back
        self.map, self.kinds = of_values, kinds
        self.known = [n for n in colour if n]
        place = {n: i for i, n in enumerate(self.known)}
        found, inverse = np.unique(names, return_inverse=True)
        self.code = np.array([place.get(str(n), len(self.known)) for n in found])[inverse]
        self.rgba = to_rgba_array([*(colour[n] for n in self.known), MISSING])
        self.finite = np.isfinite(xy).all(1)
        self.size = float(np.clip(6000 / max(1, len(xy)), 1.5, 12))
        if values is not None:
            drawn = values[~back & self.finite]
            self.least, self.most = (float(drawn.min()), float(drawn.max())) if len(drawn) else (0.0, 1.0)
            self.low, self.high = span or (self.least, self.most)
            self.norm = Normalize(self.low, self.high, clip=True)

    def draw(self, place: Any, of: np.ndarray) -> None:
        """Draw the cells of one panel: what stands back first, real before generated."""
        of = of & self.finite
        raster = int(of.sum()) > RASTER
        for back in (True, False):
            for made in (False, True):
                rows = of & (self.back == back) & (self.made == made)
                if not rows.any():
                    continue
                if back:
                    fill: Any = GREY
                elif self.values is not None:
                    fill = self.map(self.norm(self.values[rows]))
                else:
                    fill = self.rgba[self.code[rows]]
                place.scatter(*self.xy[rows].T, c=fill, s=self.size * (1.6 if made and of[~self.made].any() else 1),
                              marker="D" if made else "o", linewidths=0, rasterized=raster, zorder=2 if back else 3)

    def name(self, place: Any, of: np.ndarray) -> None:
        """Write each group's name at the median of its cells."""
        from matplotlib.patheffects import withStroke

        groups = [(name, of & self.finite & ~self.back & (self.code == i)) for i, name in enumerate(self.known)]
        middles = {short(name, 24): np.median(self.xy[rows], axis=0) for name, rows in groups if rows.any()}
        span = np.ptp(self.xy[self.finite], axis=0) if self.finite.any() else np.ones(2)
        for name, at in apart(middles, span).items():
            place.text(*at, name, ha="center", va="center", fontsize=7, weight="bold", zorder=5,
                       path_effects=[withStroke(linewidth=2, foreground="white")])

    def scale(self) -> Any:
        """Return what the colour bar shows."""
        from matplotlib.cm import ScalarMappable

        return ScalarMappable(self.norm, self.map)

    def extend(self) -> str:
        """Say at which end of the colour bar values lie beyond it."""
        low, high = self.least < self.low - 1e-9, self.most > self.high + 1e-9
        return "both" if low and high else "min" if low else "max" if high else "neither"


def apart(middles: dict[str, np.ndarray], span: np.ndarray) -> dict[str, np.ndarray]:
    """Return names with their places, moved up and down until no two lie over each other on a panel of that span."""
    names = list(middles)
    at = np.array([middles[n] for n in names], float).reshape(-1, 2)
    wide = np.array([LETTER * len(n) / 2 for n in names])
    unit = np.where(span > 0, span, 1.0)
    high = 0.05
    for _ in range(60):
        moved = False
        for i in range(len(names)):
            for j in range(i):
                gap = np.abs(at[i] - at[j]) / unit
                if gap[0] < wide[i] + wide[j] and gap[1] < high:
                    push = (high - gap[1] + 1e-3) / 2 * unit[1] * (1 if at[i][1] >= at[j][1] else -1)
                    at[i][1] += push
                    at[j][1] -= push
                    moved = True
        if not moved:
            break
    return dict(zip(names, at, strict=True))


def _check(n: int, **arrays: Any) -> None:
    for name, array in arrays.items():
        if array is not None and len(array) != n:
            raise ScdiffError("The map cannot be drawn.", f"There are {len(array)} {name} for {n} cells.",
                              "Give one for each cell.")


def _mask(rows: np.ndarray, n: int) -> np.ndarray:
    rows = np.asarray(rows)
    if rows.dtype == bool:
        return rows
    mask = np.zeros(n, bool)
    mask[rows.astype(int)] = True
    return mask


def _grid(n: int) -> tuple[int, int]:
    """Return rows and columns for so many panels."""
    cols = n if n <= 3 else 2 if n == 4 else 3 if n <= 9 else 4
    return int(np.ceil(max(1, n) / max(1, cols))), max(1, cols)


def _entries(names: np.ndarray, colour: dict[str, str]) -> list[tuple[str, str]]:
    """Return the legend: the groups that are drawn, in the order of their colours, and what has no label."""
    here = set(np.unique(names).tolist())
    present = [n for n in colour if n and n in here]
    shorter = short_names(present, 40)
    return [(shorter[n], colour[n]) for n in present] + ([("no label", MISSING)] if here - set(present) else [])


def _axes(axes: np.ndarray, x: str, y: str, n: int) -> None:
    """Name the axes at the outer panels; an embedding has no numbers."""
    embedding = x.endswith(" 1") and y.endswith(" 2") and x[:-2] == y[:-2]
    cols = axes.shape[1]
    for i in range(n):
        place = axes[i // cols, i % cols]
        if embedding:
            place.set(xticks=[], yticks=[])
        if i + cols >= n:
            place.set_xlabel(x)
            place.tick_params(labelbottom=not embedding)
        if i % cols == 0:
            place.set_ylabel(y)


def _legend(figure: Any, entries: list[tuple[str, str]], columns: int) -> None:
    """Put a legend of colours, and of shapes where both stand in one panel, to the right."""
    from matplotlib.lines import Line2D

    handles = []
    for name, colour in entries:
        shape = {"real": "o", "generated": "D"}.get(colour)
        look: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": "#444444"} if shape else {"color": colour}
        handles.append(Line2D([], [], marker=shape or "o", linestyle="", markersize=4, label=name, **look))
    figure.legend(handles=handles, loc="outside right upper", ncols=columns, handletextpad=0.2,
                  columnspacing=0.8, fontsize=7)
