"""What is found in cells and told to their owner."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that was found: 'ok', 'note', 'warning' or 'error', with what can be done about it."""

    level: str
    title: str
    detail: str
    fix: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return it as plain JSON."""
        return asdict(self)


def some(names: Iterable[object], most: int = 5) -> str:
    """Return the first few names in words, and how many more there are."""
    names = list(names)
    shown = ", ".join(f"'{n}'" for n in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def many(n: int, word: str) -> str:
    """Return a number with its word, in the plural where it is one."""
    return f"{n:,} {word}" + ("" if n == 1 else "s")
