"""The one error a user ever sees: what happened, why, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ScdiffError(Exception):
    """A mistake or a bad day, told in three sentences a biologist understands.

    Parameters
    ----------
    what
        What happened.
    why
        The reason, with the figure or the name that shows it.
    fix
        What to do next.
    """

    def __init__(self, what: str, why: str, fix: str) -> None:
        super().__init__(f"{what} {why} {fix}")
        self.what, self.why, self.fix = what, why, fix

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.what, self.why, self.fix)

    def to_dict(self) -> dict[str, str]:
        """Return the three sentences as plain JSON, as `status.json` keeps them."""
        return {"what": self.what, "why": self.why, "fix": self.fix}


def nearest(name: str, known: Iterable[str], n: int = 3) -> str:
    """Return a phrase that names the known words nearest to `name` (empty if none is near)."""
    known = [str(k) for k in known]
    folded = {k.casefold(): k for k in known}
    hits = difflib.get_close_matches(str(name).casefold(), folded, n=n, cutoff=0.6)
    if not hits:
        return ""
    return "Did you mean " + " or ".join(f"'{folded[h]}'" for h in hits) + "?"
