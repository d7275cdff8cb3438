"""Real cells to begin with, as they were selected on a map and saved."""

from __future__ import annotations

from pages._shared import context
from scdiff_core.config_screen import Chosen
from scdiff_core.data.prepared import Prepared
from scdiff_core.errors import ScdiffError
from scdiff_core.selections import Selections

SAVED = "my cells: "


def saved_names(prepared: Prepared) -> dict[str, str]:
    """Return the saved selections of a dataset, name -> id; none where they cannot be read."""
    try:
        return _kept(prepared).named()
    except ScdiffError:
        return {}


def saved(prepared: Prepared, name: str) -> Chosen:
    """Return a saved selection as requests take it; raises `ScdiffError` where it is gone."""
    return _kept(prepared).chosen(name, prepared.n_cells)


def _kept(prepared: Prepared) -> Selections:
    return Selections(context.workspace().open("prepare", prepared.name), prepared.fingerprint, prepared.n_cells)

