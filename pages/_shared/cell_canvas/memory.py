"""What this session's browser was sent, and what it says was selected."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import streamlit as st

OnSelect = Callable[[dict[str, np.ndarray], str], None]
MODES = ("replace", "add", "take", "invert")

_HELD = "_cell_canvas_held"
_SAID = "_cell_canvas_said"


@dataclass
class Said:
    """One canvas: the cells it was last sent (name to number and hash of their positions), the number of the last
    word heard, and how often it asked for arrays.
    """

    cells: dict[str, tuple[int, str]] = field(default_factory=dict)
    seq: int = 0
    asked: int = 0


def held() -> set[str]:
    """Return the hashes of the arrays that this session's browser was sent."""
    return st.session_state.setdefault(_HELD, set())


def of(key: str) -> Said:
    """Return what is known about the canvas with this key."""
    return st.session_state.setdefault(_SAID, {}).setdefault(key, Said())


def _heard(key: str, event: str) -> Any:
    """The value of a trigger, inside its callback."""
    value = st.session_state.get(key)
    return value.get(event) if isinstance(value, dict) else None


def forget(key: str) -> None:
    """Send again what the browser lacks: arrays of a message that a newer one overtook, or that it gave up."""
    hashes = _heard(key, "lack")
    if isinstance(hashes, list):
        held().difference_update(str(name) for name in hashes)
        of(key).asked += 1


def hear(key: str, on_select: OnSelect | None) -> None:
    """Read a selection and hand it on; one that was drawn on other cells than the canvas has now is dropped."""
    heard = _heard(key, "select")
    if on_select is None or not isinstance(heard, dict):
        return
    said = of(key)
    said.seq = max(said.seq, int(heard.get("seq", 0)))
    masks = read(heard.get("layers"), said.cells)
    if masks is not None:
        mode = heard.get("mode")
        on_select(masks, mode if mode in MODES else MODES[0])


def read(sent: Any, cells: dict[str, tuple[int, str]]) -> dict[str, np.ndarray] | None:
    """Return the masks [n] of all layers from the bits that were sent; None where they do not fit these cells."""
    if not isinstance(sent, dict) or not set(sent) <= set(cells):
        return None
    masks = {name: np.zeros(n, bool) for name, (n, _) in cells.items()}
    for name, bits in sent.items():
        n, xy = cells[name]
        try:
            raw = np.frombuffer(base64.b64decode(bits["bits"], validate=True), np.uint8)
        except (binascii.Error, KeyError, TypeError, ValueError):
            return None
        if bits.get("of") != xy or bits.get("n") != n or raw.size != (n + 7) // 8:
            return None
        masks[name] = np.unpackbits(raw, count=n).astype(bool)
    return masks
