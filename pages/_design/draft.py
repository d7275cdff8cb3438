"""The target while it is edited: its rows in the session, with undo, and on disk, so that nothing is lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import streamlit as st
import yaml

from pages._explore import gene_sets
from scdiff_core import target as targets
from scdiff_core.errors import ScdiffError
from scdiff_core.target import BETWEEN, UP, GeneRow, ProgramRow, Target
from scdiff_core.views import History
from scdiff_core.workspace import JobDir, write_text

FOLDER, FILE = "design", "draft.yaml"
TOP = 0.1  # "like the top 10 % of real cells", where a row says no level


@dataclass(frozen=True)
class Item:
    """One row as it is edited: it may still be wrong, which a row of a target cannot be."""

    id: int
    name: str
    members: tuple[str, ...] = ()  # the genes of a program; none: a gene
    direction: str = UP
    level: float | None = None
    upper: float | None = None
    top: float | None = None
    weight: float = 1.0
    hard: bool = True

    @property
    def program(self) -> bool:
        """Say whether it is about a gene set."""
        return bool(self.members)

    def values(self) -> dict[str, Any]:
        """Return the row as a target file has it."""
        named: dict[str, Any] = {"name": self.name, "members": list(self.members)} if self.program else {
            "gene": self.name}
        said: dict[str, Any] = {"direction": self.direction, "hard": self.hard}
        if self.level is not None:
            said["level"] = self.level
        elif self.top is not None and self.direction != BETWEEN:
            said["top"] = self.top
        if self.direction == BETWEEN and self.upper is not None:
            said["upper"] = self.upper
        if self.weight != 1.0:
            said["weight"] = self.weight
        return {**named, **said}


@dataclass(frozen=True)
class Draft:
    """All rows, and what a target has besides: `cell_type`, `away_from`, `start`, `objective`."""

    items: tuple[Item, ...] = ()
    rest: Mapping[str, Any] = field(default_factory=dict)

    def values(self) -> dict[str, Any]:
        """Return the target as plain values, as yaml gives them."""
        rest = {k: v for k, v in self.rest.items() if v}
        return {"genes": [i.values() for i in self.items if not i.program],
                "programs": [i.values() for i in self.items if i.program], **rest}

    def ordered(self) -> tuple[Item, ...]:
        """Return the items in the order in which a target has them: genes, then programs."""
        return (*(i for i in self.items if not i.program), *(i for i in self.items if i.program))

    def target(self) -> Target:
        """Return the target; raises `ScdiffError` where a row is wrong."""
        return targets.parse(self.values(), gene_sets.known())

    def names(self) -> tuple[str, ...]:
        """Return what the rows are about."""
        return tuple(i.name for i in self.items)

    def with_item(self, item: Item) -> Draft:
        """Return the draft with a row in the place of the one of its id."""
        return replace(self, items=tuple(item if i.id == item.id else i for i in self.items))

    def without(self, number: int) -> Draft:
        """Return the draft without a row."""
        return replace(self, items=tuple(i for i in self.items if i.id != number))

    def said(self, name: str, value: Any) -> Draft:
        """Return the draft with one of its other settings."""
        return replace(self, rest={**{k: v for k, v in self.rest.items() if k != name}, **({name: value} if value
                                                                                          else {})})

    def added(self, rows: list[dict[str, Any]]) -> Draft:
        """Return the draft with further rows, as a target file has them; one about the same thing is replaced."""
        new = [_item(0, row) for row in rows]
        names = {(i.name, i.program) for i in new}
        kept = tuple(i for i in self.items if (i.name, i.program) not in names)
        first = max((i.id for i in self.items), default=0) + 1
        return replace(self, items=(*kept, *(replace(i, id=first + n) for n, i in enumerate(new))))


def _item(number: int, row: Mapping[str, Any]) -> Item:
    members = tuple(row.get("members") or ())
    level, upper, top = (None if row.get(k) is None else float(row[k]) for k in ("level", "upper", "top"))
    return Item(number, str(row.get("gene") or row.get("program") or row.get("name")), members,
                str(row.get("direction") or UP), level, upper, top, float(row.get("weight") or 1.0),
                bool(row.get("hard", True)))


def of_target(target: Target) -> Draft:
    """Return a target as a draft."""
    rows = [r.model_dump(mode="json") for r in target.rows if isinstance(r, GeneRow | ProgramRow)]
    rest = {k: v for k, v in target.model_dump(mode="json").items() if k not in ("genes", "programs") and v}
    return Draft(rest=rest).added(rows)


# ---- the session and the disk ----


def _key(run: JobDir) -> str:
    return f"design-draft-{run.id}"


def _file(run: JobDir) -> Path:
    return run.path / FOLDER / FILE


def history(run: JobDir) -> History[Draft]:
    """Return the drafts so far; the first is the one that was left on disk."""
    if _key(run) not in st.session_state:
        st.session_state[_key(run)] = History(present=_left(run))
    found: History[Draft] = st.session_state[_key(run)]
    return found


def _left(run: JobDir) -> Draft:
    try:
        text = _file(run).read_text(encoding="utf-8")
        return of_target(targets.parse(yaml.safe_load(text), gene_sets.known()))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ScdiffError):
        return Draft()


def current(run: JobDir) -> Draft:
    """Return the draft of now."""
    return history(run).present


def change(run: JobDir, new: Draft, *, redraw: bool = True) -> None:
    """Make this the draft, from a callback; `redraw`: widgets show it anew, since none of them made the change."""
    st.session_state[_key(run)] = history(run).do(new)
    _after(run, redraw)


def step(run: JobDir, back: bool) -> None:
    """Undo, or do again."""
    past = history(run)
    st.session_state[_key(run)] = past.undo() if back else past.redo()
    _after(run, True)


def _after(run: JobDir, redraw: bool) -> None:
    if redraw:
        st.session_state[f"{_key(run)}-drawn"] = drawn(run) + 1
    try:
        write_text(_file(run), yaml.safe_dump(current(run).values(), sort_keys=False, allow_unicode=True))
    except OSError:
        return  # a full disk takes nothing away from what is on the screen


def drawn(run: JobDir) -> int:
    """Return how often the widgets were set anew: a part of their keys."""
    return int(st.session_state.get(f"{_key(run)}-drawn", 0))


def widget(run: JobDir, item: Item, name: str) -> str:
    """Return the key of a widget of a row."""
    return f"design-{run.id}-{drawn(run)}-{item.id}-{name}"
