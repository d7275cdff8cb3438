"""What all figures for a paper share: fonts, sizes in centimetres, resolution, and the stamp on what is synthetic."""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from scdiff_core.errors import ScdiffError
from scdiff_core.figures.base import STAMP

FORMATS = ("svg", "pdf", "png")
RASTER = 2_000  # more points than this are drawn as an image inside a vector file
INCH = 2.54
DPI = 200
MOST_PIXELS = 120e6  # of a png; its making takes four bytes each, several times over
SMALLEST_FONT = 5.0  # points: what journals ask for at the least
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 8, "axes.titlesize": 9, "svg.fonttype": "none", "pdf.fonttype": 42,
    "svg.hashsalt": "scdiff", "hatch.linewidth": 0.5, "axes.spines.top": False, "axes.spines.right": False,
    "axes.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6, "legend.frameon": False,
    "savefig.dpi": DPI}


@dataclass(frozen=True)
class Size:
    """The size of a figure's file: centimetres (None: as wide or as high as it needs to be) and dots an inch.

    Raises
    ------
    ScdiffError
        A side is not between 2 and 120 cm, or the resolution not between 50 and 1,200.
    """

    width_cm: float | None = None
    height_cm: float | None = None
    dpi: int = DPI

    def __post_init__(self) -> None:
        for side in (self.width_cm, self.height_cm):
            if side is not None and not 2 <= side <= 120:
                raise ScdiffError("A figure cannot have that size.", f"{side:g} cm is not between 2 and 120 cm.",
                                  "Choose another width or height, or leave it empty.")
        if not 50 <= self.dpi <= 1200:
            raise ScdiffError("A figure cannot have that resolution.", f"{self.dpi} is not between 50 and 1,200 dpi.",
                              "Journals ask for 300 to 600.")

    @property
    def fixed(self) -> bool:
        """Say whether a side is given."""
        return self.width_cm is not None or self.height_cm is not None

    def inches(self, natural: tuple[float, float]) -> tuple[float, float]:
        """Return width and height in inches; a side that is not given is that of the natural size."""
        width, height = natural
        return ((self.width_cm / INCH) if self.width_cm else width,
                (self.height_cm / INCH) if self.height_cm else height)


def new_figure(width: float, height: float, rows: int = 1, cols: int = 1, **options: Any) -> tuple[Any, np.ndarray]:
    """Return a figure in inches without a window or global state, and its axes [rows, cols]."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    matplotlib.rcParams.update(STYLE)
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, cols, squeeze=False, **options)


def save_figure(figure: Any, fmt: str, synthetic: bool, size: Size | None = None) -> bytes:
    """Return the figure as a file, stamped where generated cells are in it; the same bytes each time.

    With a `size` the file has it exactly; where it is smaller than the figure's own, text and points shrink
    with it, text to no less than 5 points.

    Raises
    ------
    ScdiffError
        The format is not known, the figure does not fit into the size, or it has too many pixels.
    """
    if fmt not in FORMATS:
        raise ScdiffError(f"A figure cannot be saved as '{fmt}'.", "That format is not known.",
                          "Choose one of " + ", ".join(FORMATS) + ".")
    note = STAMP if synthetic else "real cells"
    metadata = {"svg": {"Date": None, "Description": note}, "pdf": {"CreationDate": None, "Subject": note},
                "png": {"Description": note}}[fmt]
    options: dict[str, Any] = {"format": fmt, "facecolor": "white", "metadata": metadata}
    size = size or Size()
    natural = tuple(figure.get_size_inches())
    _check_pixels(fmt, size, natural)
    out = io.BytesIO()
    if not size.fixed:
        if synthetic:
            figure.text(0.0, -0.02, STAMP, fontsize=6.5, color="#555555", style="italic", va="top", ha="left")
        figure.savefig(out, dpi=size.dpi, bbox_inches="tight", **options)
        return _same(out.getvalue(), fmt)
    width, height = size.inches(natural)
    figure.set_size_inches(width, height)
    _shrink(figure, min(width / natural[0], height / natural[1]))
    if synthetic:
        foot = 0.14 / height
        figure.get_layout_engine().set(rect=(0, foot, 1, 1 - foot))
        figure.text(0.03 / width, 0.03 / height, STAMP, fontsize=SMALLEST_FONT, color="#555555", style="italic",
                    va="bottom", ha="left")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        figure.savefig(out, dpi=size.dpi, **options)
    if any("collapsed" in str(w.message) for w in said):
        raise ScdiffError(
            f"The figure does not fit into {width * INCH:.1f} × {height * INCH:.1f} cm.",
            "Names, legend and scale leave no room for the cells.",
            f"Make it larger (it needs about {natural[0] * INCH:.0f} × {natural[1] * INCH:.0f} cm to look its best), "
            "or show fewer genes or groups.")
    return _same(out.getvalue(), fmt)


def _same(file: bytes, fmt: str) -> bytes:
    """Return the file with clip paths numbered: matplotlib names them after addresses in memory."""
    if fmt != "svg":
        return file
    names = dict.fromkeys(re.findall(rb'<clipPath id="(p[0-9a-f]{10})"', file))
    number = {name: b"clip%d" % i for i, name in enumerate(names)}
    return re.sub(rb"p[0-9a-f]{10}(?=[\")])", lambda found: number.get(found[0], found[0]), file)


def _check_pixels(fmt: str, size: Size, natural: tuple[float, ...]) -> None:
    width, height = size.inches((natural[0], natural[1]))
    pixels = width * height * size.dpi**2
    if fmt == "png" and pixels > MOST_PIXELS:
        raise ScdiffError("The picture would be too large.", f"It would have {pixels / 1e6:,.0f} million pixels.",
                          "Choose fewer dots an inch or a smaller size, or save it as SVG or PDF.")


def _shrink(figure: Any, ratio: float) -> None:
    """Make text, points and keys smaller with the figure, where it is smaller than its own size."""
    from matplotlib.collections import PathCollection
    from matplotlib.lines import Line2D
    from matplotlib.text import Text

    if ratio >= 1:
        return
    for text in figure.findobj(Text):
        text.set_fontsize(max(min(text.get_fontsize(), SMALLEST_FONT), text.get_fontsize() * ratio))
    for points in figure.findobj(PathCollection):
        points.set_sizes(np.asarray(points.get_sizes()) * ratio**2)
    for line in figure.findobj(Line2D):
        line.set_markersize(line.get_markersize() * ratio)
