"""Choose real cells by a value of a column or by a saved selection, and follow a request of a further mode."""

from __future__ import annotations

import streamlit as st

from pages._shared import context, worker
from pages._shared.trouble import show_kept
from scdiff_core.config import Frozen
from scdiff_core.config_screen import Chosen
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine import outputs
from scdiff_core.errors import ScdiffError
from scdiff_core.selection import REAL, pack_rows
from scdiff_core.selections import Selections
from scdiff_core.workspace import JobDir

SAVED = "my cells: "


def saved_names(prepared: Prepared) -> dict[str, str]:
    """Return the saved selections of a dataset, name -> id; none where they cannot be read."""
    try:
        return _kept(prepared).named()
    except ScdiffError:
        return {}


def saved(prepared: Prepared, name: str) -> Chosen:
    """Return a saved selection as requests take it; raises `ScdiffError` where it is gone."""
    selection = _kept(prepared).by_name(name)
    return Chosen(id=selection.id, name=name, rows=pack_rows(selection.mask(REAL, prepared.n_cells)))


def _kept(prepared: Prepared) -> Selections:
    return Selections(context.workspace().open("prepare", prepared.name), prepared.fingerprint, prepared.n_cells)


def request_key(run: JobDir, kind: str) -> str:
    """Return the name under which a run's request of a mode is kept; one at a time."""
    return f"{kind}-{run.id}"


def begin(run: JobDir, config: Frozen, kind: str) -> None:
    """Send the request to the worker; the cells come into a directory of their own."""
    st.session_state.pop(f"{kind}_trouble", None)
    path = outputs.new_path(run)
    worker.submit(request_key(run, kind), "modes", note=path.name, run=str(run.path), kind=kind,
                  config=config.model_dump(mode="json"), out_dir=str(path))


def follow(run: JobDir, kind: str) -> bool:
    """Follow a request under way: progress and Cancel; True while it goes on. What went wrong stays to be read."""
    key = request_key(run, kind)
    ended = worker.wait(key, patience=1.5,
                        early=lambda asked: worker.appeared(asked, run.outputs / asked.note / outputs.RECIPE))
    if ended is not None:
        said = ended.look()
        if said.get("cancelled"):
            st.toast("Cancelled: no cells were made.", icon=":material/stop_circle:")
        elif said.get("error"):
            st.session_state[f"{kind}_trouble"] = said["error"]
        else:
            context.choose(output=ended.note)
    show_kept(f"{kind}_trouble")
    return worker.under_way(key) is not None
