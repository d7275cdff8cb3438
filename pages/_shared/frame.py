"""What is round every page: its settings, the strip on top, and the box that an error ends in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import streamlit as st

from pages._shared import context
from pages._shared.trouble import guard
from pages._shared.worker import prewarm

STYLE = Path(__file__).parents[2] / "assets" / "style.css"


def settings(title: str = "") -> None:
    """Set the window's title, icon and width."""
    st.set_page_config(
        page_title=f"{title} · scDiff Studio" if title else "scDiff Studio",
        layout="wide",
        page_icon=str(STYLE.with_name("icon.svg")),
        initial_sidebar_state="collapsed",
    )


def begin_app() -> None:
    """Note that `app.py` has run in this session.

    The icon is set before the navigation, which would otherwise ask a font server for the page's own one.
    """
    st.session_state["in_app"] = True
    settings()


@contextmanager
def page(title: str = "", purpose: str = "") -> Iterator[None]:
    """Draw the frame of a page and whatever is drawn within it; `purpose` is the one line of what it is for."""
    if "in_app" not in st.session_state:
        # A server's very first request may reach a page without app.py (Streamlit's older way with a folder
        # `pages`); from the second run on app.py is asked, so this happens once.
        st.session_state["in_app"] = True
        st.rerun()
    settings(title)
    st.html(STYLE)
    with guard():
        root = str(context.workspace().root)
        context.start_of_server(root)
        prewarm(root)
        context.read_url()
        context.strip(title, purpose)
        yield
