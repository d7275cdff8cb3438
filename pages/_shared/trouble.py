"""Errors on a page: what happened, why, and what to do; never a traceback."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from scdiff_core.errors import ScdiffError

log = logging.getLogger("scdiff.pages")


def error_box(error: ScdiffError | dict[str, str]) -> None:
    """Show one error as three short lines."""
    said = error.to_dict() if isinstance(error, ScdiffError) else error
    st.error(
        f"**{escape(said['what'])}**\n\n{escape(said['why'])}\n\n:material/build: {escape(said['fix'])}",
        icon=":material/error:",
    )


def escape(text: str) -> str:
    """Return text that markdown shows as it is, whatever a file name or a value holds."""
    for mark in "\\`*_[]#<>$~|:":
        text = text.replace(mark, "\\" + mark)
    return text


@contextmanager
def kept(key: str) -> Iterator[None]:
    """Keep an error of what is done within for `show_kept` of the next drawing; what goes well takes it away."""
    try:
        yield
    except ScdiffError as error:
        st.session_state[key] = error.to_dict()
    else:
        st.session_state.pop(key, None)


def show_kept(key: str) -> None:
    """Show the error that was kept under that key, if there is one."""
    if said := st.session_state.get(key):
        error_box(said)


@contextmanager
def guard() -> Iterator[None]:
    """Turn whatever goes wrong within into an error box; the traceback goes to the server's log."""
    try:
        yield
    except ScdiffError as error:
        error_box(error)
    except Exception as error:
        ticket = uuid.uuid4().hex[:8]
        log.exception("page error %s", ticket)
        error_box(
            ScdiffError(
                "Something went wrong on this page.",
                f"It was not foreseen ({type(error).__name__}); the server's log has it as {ticket}.",
                "Your data, runs and results are on disk and safe. Reload the page; if it comes "
                "again, report it with that number.",
            )
        )
