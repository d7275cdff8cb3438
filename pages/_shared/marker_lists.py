"""Which genes and groups the marker figures show, and in which order; every change can be undone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import streamlit as st

from scdiff_core.views import History


@dataclass(frozen=True)
class Lists:
    """Genes and groups as they are drawn, and the groups that were taken out."""

    genes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()


def history(key: str) -> History[Lists]:
    """Return the lists of a panel with what can be undone."""
    found: History[Lists] = st.session_state.setdefault(f"{key}-lists", History(Lists()))
    return found


def change(key: str, **lists: Sequence[str]) -> None:
    """Set genes, groups or hidden groups as one step."""
    now = history(key)
    st.session_state[f"{key}-lists"] = now.do(replace(now.present, **{k: tuple(v) for k, v in lists.items()}))


def take_genes(key: str, genes: Sequence[str]) -> None:
    """Show these genes in the panel of that key, from another part of the page; undo brings back the others."""
    change(key, genes=list(dict.fromkeys(map(str, genes))))


def undo(key: str) -> None:
    """Take the last change of the lists back."""
    st.session_state[f"{key}-lists"] = history(key).undo()


def redo(key: str) -> None:
    """Make the change again that was undone."""
    st.session_state[f"{key}-lists"] = history(key).redo()


def current(key: str, genes: Sequence[str], suggested: Sequence[str], group_order: Sequence[str]) -> Lists:
    """Return what to draw now, of what there is.

    Suggested genes are taken to begin with, and again where others are suggested while nobody has touched the list.
    Groups keep their order; new ones stand at the end.
    """
    known = set(map(str, genes))
    first = tuple(g for g in dict.fromkeys(map(str, suggested)) if g in known)
    now = history(key)
    before = st.session_state.get(f"{key}-suggested")
    untouched = not now.present.genes if before is None else now.present.genes == before and first != before
    if untouched:
        now = History(replace(now.present, genes=first), now.past, now.future)
        st.session_state[f"{key}-lists"] = now
    st.session_state[f"{key}-suggested"] = first
    here = list(dict.fromkeys(map(str, group_order)))
    kept = [g for g in now.present.groups if g in here]
    hidden = [g for g in now.present.hidden if g in here]
    groups = [*kept, *(g for g in here if g not in kept and g not in hidden)] or here
    return Lists(tuple(g for g in now.present.genes if g in known), tuple(groups), tuple(hidden))


def moved(items: Sequence[str], item: str, to: int | str) -> list[str]:
    """Return the list with one item moved by so many places, or to the "first" or "last" one."""
    rest = [i for i in items if i != item]
    at = list(items).index(item)
    place = 0 if to == "first" else len(rest) if to == "last" else min(max(0, at + int(to)), len(rest))
    return [*rest[:place], item, *rest[place:]]
