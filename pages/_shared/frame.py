"""What is round every page: its settings, the strip on top, and the box that an error ends in."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anndata  # noqa: F401 - whole, before two sessions import parts of it at once, which its own circles do not bear
import streamlit as st
from streamlit.navigation.page import Page

from pages._shared import context, tour
from pages._shared.help_texts import help_of
from pages._shared.trouble import guard
from pages._shared.worker import prewarm

STYLE = Path(__file__).parents[2] / "assets" / "style.css"


def navigation() -> Page:
    """Draw the bar of pages, in the order of the work, and return the page that is asked for."""
    return st.navigation(
        [
            st.Page("pages/home.py", title="Home", icon=":material/home:", url_path="home", default=True),
            st.Page("pages/data.py", title="Data", icon=":material/dataset:", url_path="data"),
            st.Page("pages/train.py", title="Train", icon=":material/model_training:", url_path="train"),
            st.Page("pages/generate.py", title="Generate", icon=":material/auto_awesome:", url_path="generate"),
            st.Page("pages/design.py", title="Design", icon=":material/architecture:", url_path="design"),
            st.Page("pages/perturb.py", title="Perturb", icon=":material/science:", url_path="perturb"),
            st.Page("pages/runs.py", title="Runs", icon=":material/table_rows:", url_path="runs"),
            st.Page("pages/methods.py", title="Methods", icon=":material/article:", url_path="methods"),
        ],
        position="top",
    )


def settings(title: str = "") -> None:
    """Set the window's title, icon and width."""
    st.set_page_config(
        page_title=f"{title} · scDiff Studio" if title else "scDiff Studio",
        layout="wide",
        page_icon=str(STYLE.with_name("icon.svg")),
    )


def begin_app() -> None:
    """Note that `app.py` has run in this session.

    The icon is set before the navigation, which would otherwise ask a font server for the page's own one.
    """
    st.session_state["in_app"] = True
    settings()


_settled = {"modules": 0}  # how many were loaded when memory was settled last


def settle_memory() -> None:
    """Take what is loaded for good out of the garbage collector's sight, whenever much was loaded since the last time.

    Streamlit collects garbage in full after every run of a script. Over half a million objects of libraries that never
    go away that takes 150 ms, twice at each change of page.
    """
    if len(sys.modules) > _settled["modules"] + 40:
        _settled["modules"] = len(sys.modules)
        gc.collect()
        gc.freeze()


@contextmanager
def page(title: str = "", purpose: str = "", help: str | None = None) -> Iterator[None]:
    """Draw the frame of a page and whatever is drawn within it.

    `purpose` is the one line of what it is for; `help` the worked example behind the Help button, by default the one
    of `help_texts`.
    """
    if "in_app" not in st.session_state:
        # Where the very first request of a server names a page, Streamlit runs that page without app.py (its older
        # way with a folder `pages`) until `st.navigation` has been called once.
        begin_app()
        navigation()
        st.rerun()
    settle_memory()
    settings(title)
    st.html(STYLE)
    with guard():
        root = str(context.workspace().root)
        context.start_of_server(root)
        prewarm(root)
        context.read_url()
        context.strip(title, purpose, help_of(title) if help is None else help)
        tour.step(title)
        yield
