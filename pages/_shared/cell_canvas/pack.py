"""Cells to bytes: what the scatter in the browser is sent, as one small header and flat arrays.

The layout (little endian): ``b"CELL"``, the header's length as uint32, the header as JSON padded to a
multiple of eight bytes, then the arrays, each at a multiple of eight. An array is named in the header by
``{"n": length, "t": type, "h": hash}``; what travels with this header stands in its ``"at"``, hash to
``[offset, length, type]``. The browser keeps what it was sent under the hash, and asks for what it lacks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from pages._shared.cell_canvas.colours import OKABE_ITO, colour_stops, gentle_range, whole_range

MAGIC = b"CELL"
Box = tuple[float, float, float, float]  # x0, x1, y0, y1
UNIT: Box = (0.0, 1.0, 0.0, 1.0)  # the frame of no cells
_NOWHERE = -32768  # the position of a cell without coordinates
_HALF = 32767
_NO_VALUE = 65535  # the code of a missing continuous value; the highest one has the code below


@dataclass(frozen=True, eq=False)
class Layer:
    """One set of cells, drawn together: real cells as dots, generated cells as rings over them.

    Parameters
    ----------
    name
        What the legend and the tooltip call it ("real cells"); unique in one canvas.
    xy
        Positions [n, 2]; a cell with a non-finite position is not drawn.
    shape
        ``dot`` or ``ring``.
    codes
        Category of each cell [n], an index into `categories`; anything else is missing and grey.
    values
        A continuous value for each cell [n]; NaN is grey. Values win over codes for the colour.
    hover
        What the tooltip shows besides: name to one entry a cell, words or numbers.
    grey
        Drawn grey, as a background; its codes and values still stand in the tooltip.
    behind
        Drawn grey and nothing more: what the others lie in, not to be pointed at, selected, counted or listed.
    size
        Point size relative to what suits the number of cells.
    """

    name: str
    xy: np.ndarray
    shape: Literal["dot", "ring"] = "dot"
    codes: np.ndarray | None = None
    values: np.ndarray | None = None
    hover: Mapping[str, Sequence[Any] | np.ndarray] = field(default_factory=dict)
    grey: bool = False
    behind: bool = False
    size: float = 1.0


class Arrays(dict[str, tuple[str, np.ndarray]]):
    """The arrays that a header names: hash to type and array."""

    def name(self, array: np.ndarray, kind: str, salt: str = "") -> dict[str, Any]:
        """Take in an array and return what stands for it in the header."""
        array = np.ascontiguousarray(array)
        # the same whole numbers in another box (`salt`) are other positions
        name = _digest(array.data, salt)
        self[name] = kind, array
        return {"n": int(array.size), "t": kind, "h": name}


def _digest(raw: bytes | memoryview, salt: str = "") -> str:
    digest = hashlib.blake2b(raw if len(raw) else b"", digest_size=10)  # numpy's view of nothing cannot be read
    digest.update(salt.encode())
    return digest.hexdigest()


def pack(
    layers: Sequence[Layer],
    *,
    key: str = "cells",
    height: int = 560,
    categories: Sequence[str] = (),
    palette: Sequence[str] = (),
    colour_title: str = "",
    value_range: tuple[float, float] | None = None,
    first_range: tuple[float, float] | None = None,
    colour_map: str | Sequence[str] = "viridis",
    labels: bool = False,
    summary: str = "",
    extent: Box | None = None,
    selected: Mapping[str, np.ndarray] | None = None,
    select: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], Arrays]:
    """Return the header and the arrays for these layers (see `frame` for the bytes that travel).

    `extent` (x0, x1, y0, y1) is the frame seen first; left out, it is that of the dots, or of all cells
    where there are no dots. `value_range` is the continuous colour's range; left out, that of the values.
    `selected` is each layer's mask, `select` whether the browser may select and which of its words were heard.

    Raises
    ------
    ValueError
        Where an array's length is not its layer's number of cells, or two layers share a name.
    """
    selected = selected or {}
    if len({layer.name for layer in layers}) != len(layers):
        raise ValueError("two layers of a cell canvas have the same name")
    arrays = Arrays()
    points = [_points(layer) for layer in layers]
    frame_of = extent or _extent_of(layers, points)
    limits = value_range or whole_range(*_coloured(layers))
    specs = [_layer(a, xy, arrays, len(categories), limits, frame_of, selected.get(a.name))
             for a, xy in zip(layers, points, strict=True)]
    kinds = {spec["by"] for spec in specs if not spec["grey"]}
    kind = "values" if "values" in kinds else "codes" if "codes" in kinds else "one"
    widths = frame_of[1] - frame_of[0], frame_of[3] - frame_of[2]
    dots = [spec["xy"]["h"] for spec in specs if spec["shape"] == "dot"]
    meta: dict[str, Any] = {
        "key": key,
        "height": int(height),
        "summary": summary or _summary(layers, colour_title),
        "extent": [float(v) for v in frame_of],
        "equal": bool(max(widths) <= 3 * min(widths)),
        "labels": bool(labels),
        "select": {"on": False, "seq": 0, **(select or {})},
        # the view starts anew when this changes: other real cells, or another embedding of them
        "dataset": _digest(json.dumps([dots, [float(v) for v in extent] if extent else None]).encode()),
        "colour": {
            "title": colour_title,
            "kind": kind,
            "categories": [str(c) for c in categories],
            "palette": list(palette) or list(OKABE_ITO),
            "range": [float(v) for v in limits],
            "first": [float(v) for v in first_range or value_range or gentle_range(*_coloured(layers))],
            "map": list(colour_stops(colour_map)),
        },
        "layers": specs,
    }
    meta["hash"] = _digest(json.dumps(meta, sort_keys=True).encode())
    return meta, arrays


def frame(meta: Mapping[str, Any], arrays: Mapping[str, tuple[str, np.ndarray]], held: Collection[str] = ()) -> bytes:
    """Return header and arrays as the one sequence of bytes that is sent, without the arrays whose hash is `held`."""
    at: dict[str, list[Any]] = {}
    parts: list[bytes] = []
    size = 0
    for name, (kind, array) in arrays.items():
        if name in held:
            continue
        raw = array.tobytes()
        padding = -len(raw) % 8
        at[name] = [size, int(array.size), kind]
        parts += [raw, b"\0" * padding]
        size += len(raw) + padding
    head = json.dumps({**meta, "at": at}, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    head += b" " * (-len(head) % 8)
    return b"".join([MAGIC, len(head).to_bytes(4, "little"), head, *parts])


def _points(layer: Layer) -> np.ndarray:
    xy = np.asarray(layer.xy, dtype=np.float32)
    if xy.ndim != 2 or xy.shape[1] != 2:
        raise ValueError(f"layer '{layer.name}': xy has the shape {xy.shape}, not [n, 2]")
    return xy


def _extent_of(layers: Sequence[Layer], points: Sequence[np.ndarray]) -> Box:
    dots = [xy for layer, xy in zip(layers, points, strict=True) if layer.shape == "dot" and len(xy)]
    chosen = dots or [xy for xy in points if len(xy)]
    return (box_of(np.concatenate(chosen)) if chosen else None) or UNIT


def box_of(xy: np.ndarray) -> Box | None:
    """Return x0, x1, y0, y1 of the finite positions [n, 2], None where there are none.

    Never empty, so that it can be divided by.
    """
    x, y = np.ascontiguousarray(xy.T)  # along the cells: ten times faster than along the pairs
    known = np.isfinite(x) & np.isfinite(y)
    if not known.all():
        x, y = x[known], y[known]
    if not len(x):
        return None
    low, high = np.array([x.min(), y.min()], float), np.array([x.max(), y.max()], float)
    flat = high <= low
    low, high = np.where(flat, low - 0.5, low), np.where(flat, high + 0.5, high)
    return float(low[0]), float(high[0]), float(low[1]), float(high[1])


def _coloured(layers: Sequence[Layer]) -> list[np.ndarray]:
    """The values that are coloured (all values, where every layer is grey)."""
    known = [(layer, np.asarray(layer.values, float)) for layer in layers if layer.values is not None]
    return [v for layer, v in known if not layer.grey] or [v for _, v in known]


def _layer(
    layer: Layer,
    xy: np.ndarray,
    arrays: Arrays,
    n_categories: int,
    limits: tuple[float, float],
    extent: Box,
    selected: np.ndarray | None,
) -> dict[str, Any]:
    box = box_of(xy) or UNIT
    low = np.array([box[0], box[2]], dtype=np.float32)
    span = np.array([box[1] - box[0], box[3] - box[2]], dtype=np.float32)
    with np.errstate(invalid="ignore"):
        whole = np.rint((xy - low) / span * np.float32(2 * _HALF) - np.float32(_HALF))
    nowhere = ~(np.isfinite(whole[:, 0]) & np.isfinite(whole[:, 1]))
    place = np.where(nowhere[:, None], _NOWHERE, np.nan_to_num(whole)).astype("<i2")
    margin_x, margin_y = 0.1 * (extent[1] - extent[0]), 0.1 * (extent[3] - extent[2])
    x, y = xy[:, 0], xy[:, 1]
    outside = (
        (x < extent[0] - margin_x) | (x > extent[1] + margin_x)
        | (y < extent[2] - margin_y) | (y > extent[3] + margin_y)
    )
    spec: dict[str, Any] = {
        "name": layer.name,
        "shape": layer.shape,
        "grey": bool(layer.grey or layer.behind),
        "behind": bool(layer.behind),
        "size": float(layer.size),
        "n": len(xy),
        "box": list(box),
        "xy": arrays.name(place, "i2", salt=repr(box)),
        "outside": 0 if layer.behind else int(np.count_nonzero(outside)),
        "by": "values" if layer.values is not None else "codes" if layer.codes is not None else "one",
        "hover": [_column(layer, name, entries, arrays) for name, entries in layer.hover.items()],
    }
    if layer.codes is not None:
        codes = _length(layer, "codes", np.asarray(layer.codes))
        known = (codes >= 0) & (codes < n_categories)
        small = n_categories < 256
        filled = np.where(known, codes, n_categories)
        spec["codes"] = arrays.name(filled.astype("u1" if small else "<u2"), "u1" if small else "u2")
    if layer.values is not None:
        spec["values"] = _values(_length(layer, "values", np.asarray(layer.values, np.float64)), limits, arrays)
    if selected is not None:
        mask = _length(layer, "selected", np.asarray(selected, bool))
        if mask.any():
            spec["selected"] = arrays.name(np.packbits(mask), "u1")
    return spec


def _values(values: np.ndarray, limits: tuple[float, float], arrays: Arrays) -> dict[str, Any]:
    """Continuous values as whole steps over their own range, cut where it is far wider than the colours'.

    65,535 steps, or 255 where the values are whole numbers that a byte can hold. ``none`` is the missing value's
    code, and the one below it stands for the highest value.
    """
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    width = max(limits[1] - limits[0], 1e-12)
    low, high = max(low, limits[0] - 3 * width), min(high, limits[1] + 3 * width)
    cut = [bool(finite.size and finite.min() < low), bool(finite.size and finite.max() > high)]
    byte = not any(cut) and high - low <= 254 and bool((finite == np.rint(finite)).all())
    span, none = (254.0, 255) if byte else (high - low if high > low else 1.0, _NO_VALUE)
    with np.errstate(invalid="ignore"):
        steps = np.rint(np.clip((values - low) / span, 0, 1) * (none - 1))
    codes = np.where(np.isfinite(values), np.nan_to_num(steps), none)
    ref = arrays.name(codes.astype("u1"), "u1") if byte else arrays.name(codes.astype("<u2"), "u2")
    return {**ref, "low": low, "high": low + span, "none": none, "cut": cut}


def _column(layer: Layer, name: str, entries: Sequence[Any] | np.ndarray, arrays: Arrays) -> dict[str, Any]:
    """A tooltip's column: numbers as they are, words as codes and a vocabulary."""
    series = entries if isinstance(entries, pd.Series | pd.Categorical) else np.asarray(entries)
    _length(layer, name, series)
    numeric = pd.api.types.is_numeric_dtype(series) and not pd.api.types.is_bool_dtype(series)
    if numeric:
        return {"name": name, "kind": "number", **arrays.name(np.asarray(series, "<f4"), "f4")}
    if isinstance(getattr(series, "dtype", None), pd.CategoricalDtype):
        categorical = pd.Categorical(series)
        codes, vocab = np.asarray(categorical.codes), list(categorical.categories)
    else:
        codes, unique = pd.factorize(np.asarray(series, dtype=object))
        vocab = list(unique)
    words = ["" if word is None else str(word) for word in vocab]
    filled = np.where(np.asarray(codes) < 0, len(words), codes)
    kind = ("u1", "u1") if len(words) < 256 else ("<u2", "u2") if len(words) < 65536 else ("<u4", "u4")
    return {"name": name, "kind": "words", "vocab": words, **arrays.name(filled.astype(kind[0]), kind[1])}


def _length(layer: Layer, name: str, array: Any) -> Any:
    if len(array) != len(layer.xy):
        said = f"{name} has {len(array):,} entries for {len(layer.xy):,} cells"
        raise ValueError(f"layer '{layer.name}': {said}")
    return array


def _summary(layers: Sequence[Layer], colour_title: str) -> str:
    """One sentence for screen readers."""
    parts = [f"{len(layer.xy):,} {layer.name.removesuffix(' cells')} cells" for layer in layers]
    said = " and ".join(parts) if parts else "no cells"
    return f"Scatter plot of {said}" + (f", coloured by {colour_title}" if colour_title else "")
