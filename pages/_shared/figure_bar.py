"""One quiet row under a figure: take it along as SVG, PDF, PNG or CSV, in the size that a paper asks for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pandas as pd
import streamlit as st

from pages._shared.trouble import error_box
from scdiff_core.errors import ScdiffError
from scdiff_core.figures.paper import DPI, Size

FORMATS = {"svg": "image/svg+xml", "pdf": "application/pdf", "png": "image/png"}
HELP = {
    "svg": "Drawing: text stays text, for Inkscape or Illustrator.",
    "pdf": "Drawing: for LaTeX and for sending in.",
    "png": "Picture: for slides and the web.",
}
RESOLUTIONS = (150, DPI, 300, 600)


@st.fragment
def figure_bar(
    draw_file: Callable[[str, Size | None], bytes],
    stem: str,
    key: str,
    table: Callable[[], pd.DataFrame] | pd.DataFrame | None = None,
) -> None:
    """Draw the row of downloads of one figure.

    Parameters
    ----------
    draw_file
        Makes the file of a format (svg, pdf, png) and a size; run when a button is pressed.
    stem
        The files' name without its ending; say "synthetic" in it where generated cells are shown.
    table
        What lies behind the figure, or what makes it; None for no CSV.
    """
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"figure_files_{key}"):
        # the row comes first on the page, the size first in the code: the buttons take it along
        buttons = st.container(horizontal=True, width="content", gap="small")
        size = _size(draw_file, key)
    with buttons:
        for fmt, mime in FORMATS.items():
            st.download_button(
                fmt.upper(),
                data=partial(draw_file, fmt, size),
                file_name=f"{stem}.{fmt}",
                mime=mime,
                on_click="ignore",
                key=f"{key}-{fmt}",
                icon=":material/image:",
                type="tertiary",
                help=HELP[fmt],
            )
        if table is not None:
            st.download_button(
                "CSV",
                data=partial(_csv, table),
                file_name=f"{stem}.csv",
                mime="text/csv",
                on_click="ignore",
                key=f"{key}-csv",
                icon=":material/table:",
                type="tertiary",
                help="The numbers behind the figure.",
            )


def _csv(table: Callable[[], pd.DataFrame] | pd.DataFrame) -> str:
    return (table if isinstance(table, pd.DataFrame) else table()).to_csv(index=False)


def _size(draw_file: Callable[[str, Size | None], bytes], key: str) -> Size | None:
    """Draw the choice of size and resolution; returns None where nothing was chosen."""
    width, height = (st.session_state.get(f"{key}-{side}") for side in ("width", "height"))
    dpi = st.session_state.get(f"{key}-dpi") or DPI
    sides = [f"{side:g} cm {words}" for side, words in ((width, "wide"), (height, "high")) if side]
    label = ", ".join([*sides, f"{dpi} dpi"]) if sides or dpi != DPI else "Size"
    with st.popover(label, icon=":material/straighten:", type="tertiary", key=f"{key}-size"):
        with st.container(horizontal=True, gap="small"):
            for side, words in (("width", "Width (cm)"), ("height", "Height (cm)")):
                st.number_input(
                    words,
                    min_value=2.0,
                    max_value=120.0,
                    value=None,
                    step=0.5,
                    format="%g",
                    placeholder="as it is",
                    key=f"{key}-{side}",
                    persist_state="session",
                    width=170,
                )
        st.segmented_control(
            "Dots an inch",
            RESOLUTIONS,
            default=DPI,
            required=True,
            key=f"{key}-dpi",
            persist_state="session",
        )
        st.caption("Journals: one column is about 8.5 cm, two are 17.5 cm; 300 dpi or more. Empty: as it looks best.")
        size = Size(width, height, int(dpi)) if width or height or dpi != DPI else None
        _try(draw_file, size, key)
    return size


def _try(draw_file: Callable[[str, Size | None], bytes], size: Size | None, key: str) -> None:
    """Say on the page, once a size is chosen, if the figure does not fit it: a download cannot tell why it failed."""
    if size is None:
        st.session_state.pop(f"{key}-tried", None)
        return
    tried = st.session_state.get(f"{key}-tried")
    if tried is None or tried[0] != size:
        try:
            draw_file("png" if size.dpi > 300 else "svg", size)
            tried = (size, None)
        except ScdiffError as error:
            tried = (size, error)
        st.session_state[f"{key}-tried"] = tried
    if tried[1] is not None:
        error_box(tried[1])
