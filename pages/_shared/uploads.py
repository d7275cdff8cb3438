"""Files of knowledge that people bring for the workspace: gene sets, regulons, tables of vectors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

from scdiff_core.errors import ScdiffError

MB = 2**20


class Given(Protocol):
    """A file as it was uploaded: what Streamlit says of it."""

    name: str
    size: int


def place(given: Given, folder: Path, ending: str, *, largest: int, fix: str) -> Path:
    """Return where a file that was brought is kept: in `folder`, under its own name made safe and that ending.

    Raises
    ------
    ScdiffError
        It has more than `largest` bytes; `fix` says what to do then.
    """
    if given.size > largest:
        raise ScdiffError(f"'{given.name}' is too large.", f"It has {given.size / MB:,.0f} MB.", fix)
    # its last part alone, without what means another folder, a hidden file or an option anywhere
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(given.name.replace("\\", "/")).stem).strip(".-")[:60]
    return folder / f"{stem or 'mine'}{ending}"


def ending_of(given: Given) -> str:
    """Return the ending of an uploaded file in small letters, with its dot; empty where there is none."""
    return Path(given.name).suffix.lower()
