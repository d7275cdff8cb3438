"""The table of rows: what is to be high, low or between, at which level, how strictly, and who does so already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import streamlit as st

from pages._design import draft as drafts
from pages._design.draft import Draft, Item, widget
from pages._design.feasible import Answer, percent
from pages._design.histogram import level_histogram
from pages._shared.trouble import escape
from scdiff_core.analysis.design.feasibility import OVER
from scdiff_core.target import BETWEEN, DOWN, UP
from scdiff_core.workspace import JobDir

WIDTHS = (2.3, 1.55, 1.9, 3.1, 1.35, 1.35, 0.5)
DIRECTIONS = {UP: "high", DOWN: "low", BETWEEN: "between"}
MUST, WISH = "a must", "a wish"
STEP = 0.05  # log1p: of the level's buttons and of the handle
HEADS = (
    ("What", ""),
    ("Direction", ""),
    ("Level", "In log1p of the denoised expression: what the gene's level is without the noise of counting. Empty: "
     "like the top 10 % of real cells (the lowest 10 %, where it is to be low)."),
    ("Real cells", "Each real cell's level. Drag the handle, or move it with the arrow keys. Coloured: the cells that "
     "meet the row. Heights are square roots, so that few cells still show."),
    ("Meet it", "Real cells that meet this row (of the wanted type, if there is one)."),
    ("Strict", "A must is met by every designed cell; a wish as well as it goes."),
    ("", ""),
)


def begin(run: JobDir, item: Item, name: str, value: Any) -> str:
    """See that a widget of a row shows what the row says where it is drawn for the first time; returns its key."""
    key = widget(run, item, name)
    st.session_state.setdefault(key, value)
    return key


def show(run: JobDir, draft: Draft, answer: Answer) -> None:
    """Draw the table."""
    if not draft.items:
        return
    for place, (words, meaning) in zip(st.columns(WIDTHS, gap="small"), HEADS, strict=True):
        if words:
            place.markdown(f":gray[{words}]", help=meaning or None)
    told = dict(zip((i.id for i in draft.ordered()), answer.rows, strict=False)) if _same(draft, answer) else {}
    with st.container(key="design_rows", gap=None):
        for item in draft.items:
            _row(run, item, told.get(item.id, {}), answer.histograms.get(item.name), fresh=answer.fresh)


def _same(draft: Draft, answer: Answer) -> bool:
    return [str(r.get("name")) for r in answer.rows] == [i.name for i in draft.ordered()]


def _row(run: JobDir, item: Item, told: Mapping[str, Any], histogram: Mapping[str, Any] | None, *,
         fresh: bool) -> None:
    places = st.columns(WIDTHS, gap="small", vertical_alignment="center")
    with places[0]:
        more = f" :gray[{len(item.members)} genes]" if item.program else ""
        st.markdown(f"**{escape(item.name)}**{more}", help=", ".join(item.members[:60]) if item.program else None)
    key = begin(run, item, "direction", item.direction)
    places[1].selectbox(f"Direction of {item.name}", list(DIRECTIONS), format_func=DIRECTIONS.__getitem__, key=key,
                        label_visibility="collapsed", on_change=_direction, args=(run, item, key, histogram))
    with places[2]:
        _levels(run, item, told)
    with places[3]:
        _histogram(run, item, told, histogram)
    with places[4]:
        if told:
            share = f"{percent(float(told.get('share', 0.0)))}"
            st.markdown(f"**{share}**" if fresh and float(told.get("share", 0)) > 0 else f":gray[{share}]"
                        if not fresh else f":red[**{share}**]")
    with places[5]:
        _strict(run, item)
    places[6].button("", icon=":material/close:", key=widget(run, item, "remove"), type="tertiary",
                     help=f"Remove {item.name}", on_click=_remove, args=(run, item))
    _beyond(run, item, histogram)


def _levels(run: JobDir, item: Item, told: Mapping[str, Any]) -> None:
    fields = [("level", "Level of")] if item.direction != BETWEEN else [("level", "Lowest level of"),
                                                                         ("upper", "Highest level of")]
    usual = "" if told.get("level") is None else f"{float(told['level']):.2f} · {100 * (item.top or drafts.TOP):g} %"
    for place, (name, words) in zip(st.columns(len(fields), gap="small", wrap=False), fields, strict=True):
        key = begin(run, item, name, getattr(item, name))
        place.number_input(f"{words} {item.name}", min_value=0.0, value=None, step=STEP, format="%.2f",
                           key=key, label_visibility="collapsed", placeholder=usual or "top 10 %",
                           on_change=_typed, args=(run, item, name, key))


def _histogram(run: JobDir, item: Item, told: Mapping[str, Any], found: Mapping[str, Any] | None) -> None:
    if not found:
        st.container(height=44, border=False)
        return
    edges, fitting = [float(e) for e in found["edges"]], found.get("fitting")
    counts = fitting if fitting and sum(fitting) else found["counts"]
    level = item.level if item.level is not None else told.get("level", found.get("level"))
    upper = item.upper if item.direction == BETWEEN else None
    level_histogram(
        {"counts": [int(c) for c in counts], "low": edges[0], "high": max(edges[-1], edges[0] + 0.1),
         "direction": item.direction, "level": level, "upper": upper, "name": item.name, "step": STEP / 5},
        key=widget(run, item, "handle"), on_move=partial(_moved, run, item))


def _strict(run: JobDir, item: Item) -> None:
    words = MUST if item.hard else f"{WISH}{'' if item.weight == 1 else f' × {item.weight:g}'}"
    with st.popover(words, key=widget(run, item, "strict"), help=f"How strictly {item.name} is meant"):
        key = begin(run, item, "hard", MUST if item.hard else WISH)
        st.segmented_control(f"{item.name} is", [MUST, WISH], required=True, key=key, on_change=_hard,
                             args=(run, item, key))
        if not item.hard:
            where = begin(run, item, "weight", item.weight)
            st.number_input("Weight among the wishes", 0.05, 100.0, step=0.5, key=where, format="%g",
                            on_change=_weight, args=(run, item, where), help="A wish of weight 2 counts twice.")
        if item.level is None and item.direction != BETWEEN:
            where = begin(run, item, "top", 100 * (item.top or drafts.TOP))
            side = "top" if item.direction == UP else "lowest"
            st.number_input(f"Like the {side} … % of real cells", 0.1, 99.0, step=5.0, key=where, format="%g",
                            on_change=_top, args=(run, item, where),
                            help="Where no level is typed.")


def reach(histogram: Mapping[str, Any]) -> tuple[float, float]:
    """Return the levels of the lowest and highest real cell, or a little within: edges reach to asked levels."""
    filled = [i for i, n in enumerate(histogram["counts"]) if n]
    edges = [float(e) for e in histogram["edges"]]
    first, last = (filled[0], filled[-1]) if filled else (0, len(edges) - 2)
    return edges[first] if first == 0 else edges[first + 1], edges[-1] if last == len(edges) - 2 else edges[last]


def possible(item: Item, histogram: Mapping[str, Any] | None) -> tuple[str, float] | None:
    """Return which level of a row is beyond any cell, `level` or `upper`, and the nearest possible; None: neither."""
    if not histogram:
        return None
    low, high = reach(histogram)
    most, least = 0.999 * OVER * max(high, 0.1), 1.001 * low / OVER
    if item.direction != DOWN and item.level is not None and item.level > most:
        return "level", float(f"{most - 0.005:.2f}")
    name = "level" if item.direction == DOWN else "upper" if item.direction == BETWEEN else ""
    value = getattr(item, name) if name else None
    return (name, float(f"{least + 0.005:.2f}")) if value is not None and low > 0.1 and value < least else None


def _beyond(run: JobDir, item: Item, histogram: Mapping[str, Any] | None) -> None:
    found = possible(item, histogram)
    if found is None:
        return
    st.button(f"{item.name}: take {found[1]:g}, the nearest possible", key=widget(run, item, "nearest"),
              type="tertiary", icon=":material/build:", on_click=_take, args=(run, item, *found))


# ---- callbacks ----


def _edit(run: JobDir, item: Item, values: dict[str, Any], redraw: bool = False) -> None:
    now = drafts.current(run)
    if any(i.id == item.id for i in now.items):
        own = next(i for i in now.items if i.id == item.id)
        drafts.change(run, now.with_item(replace(own, **values)), redraw=redraw)


def _direction(run: JobDir, item: Item, key: str, histogram: Mapping[str, Any] | None) -> None:
    chosen = str(st.session_state[key])
    if chosen != BETWEEN:
        level = None if item.direction == BETWEEN else item.level
        _edit(run, item, {"direction": chosen, "upper": None, "level": level}, True)
        return
    low, high = middle(histogram)
    _edit(run, item, {"direction": chosen, "level": low, "upper": high, "top": None}, True)


def middle(histogram: Mapping[str, Any] | None) -> tuple[float, float]:
    """Return the levels between which the middle half of the real cells lies; 1 and 2 while they are not known."""
    if not histogram or not sum(histogram["counts"]):
        return 1.0, 2.0
    total, so_far = sum(histogram["counts"]), 0
    found: list[float] = []
    for n, edge in zip(histogram["counts"], histogram["edges"][1:], strict=False):
        so_far += n
        if len(found) < 1 and so_far >= 0.25 * total:
            found.append(float(edge))
        if so_far >= 0.75 * total:
            found.append(float(edge))
            break
    low, high = round(found[0], 2), round(found[-1], 2)
    return low, high if high > low else round(low + STEP, 2)


def _typed(run: JobDir, item: Item, name: str, key: str) -> None:
    value = st.session_state[key]
    _edit(run, item, {name: None if value is None else float(value)})


def _moved(run: JobDir, item: Item, name: str, value: float) -> None:
    _edit(run, item, {name: round(value, 2)})
    st.session_state[widget(run, item, name)] = round(value, 2)


def _hard(run: JobDir, item: Item, key: str) -> None:
    _edit(run, item, {"hard": st.session_state[key] == MUST})


def _weight(run: JobDir, item: Item, key: str) -> None:
    _edit(run, item, {"weight": float(st.session_state[key] or 1.0)})


def _top(run: JobDir, item: Item, key: str) -> None:
    _edit(run, item, {"top": float(st.session_state[key] or 10.0) / 100})


def _take(run: JobDir, item: Item, name: str, level: float) -> None:
    _edit(run, item, {name: level}, True)


def _remove(run: JobDir, item: Item) -> None:
    drafts.change(run, drafts.current(run).without(item.id))
