"""What a model of perturbations is to guess: whole perturbations, pairs, a cell type, a dose, held out by a click."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from pages._data.quality import read_cells
from pages._shared.trouble import escape
from pages._shared.words import plural
from scdiff_core.analysis.perturb import hold_out, splits
from scdiff_core.config import HoldOut, Roles
from scdiff_core.errors import ScdiffError

SHOWN = 3  # lines about what training shares with the held-out cells


def _cells(folder: Path) -> pd.DataFrame:
    file = folder / "cells.parquet"
    return read_cells(str(file), file.stat().st_mtime)


@st.cache_data(max_entries=4, show_spinner=False)
def _conditions(path: str, modified: float, told: str) -> splits.Table | None:
    roles, obs = Roles.model_validate_json(told), read_cells(path, modified)
    if not roles.perturbation or not roles.control or any(c not in obs for c in roles.columns().values()):
        return None
    try:
        table = splits.Table.of(obs, roles)
    except ScdiffError:  # doses that are no numbers: told where a model of perturbations is asked for
        return None
    return table if table.conditions else None


def conditions(folder: Path, roles: Roles) -> splits.Table | None:
    """Return the conditions of an inspected source; None where no perturbations and control are chosen."""
    file = folder / "cells.parquet"
    return _conditions(str(file), file.stat().st_mtime, roles.model_dump_json())


def possible(table: splits.Table) -> dict[str, str]:
    """Return the ways to hold perturbed cells out that the data allow, with their words."""
    found = {}
    for kind, words in hold_out.KINDS.items():
        try:
            hold_out.folds(table, kind)
        except ScdiffError:
            continue
        found[kind] = words
    return found


def choose(table: splits.Table, kind: str, folder: Path, roles: Roles, job_id: str) -> tuple[HoldOut, ...]:
    """Draw the choice of what of a kind is held out, and what training still shares with it."""
    folds = {hold_out.title(f): f for f in hold_out.folds(table, kind)}
    names = list(folds)
    name = names[0]
    if len(names) > 1:
        name = st.selectbox("Which", names, key=f"prep_unseen_{job_id}_{kind}")
    fold, obs = folds[name], _cells(folder)
    n = int(fold.test.sum())
    st.caption(f"{plural(n, 'cell')} of {plural(len(fold.asked), 'condition')} become test cells.")
    lines = [f.words() for f in splits.leakage(table, fold, obs, hold_out.shared_columns(obs), SHOWN)]
    st.caption("What training still knows of them: " + " ".join(escape(line) for line in lines)
               + (f" And {len(fold.asked) - SHOWN} more." if len(fold.asked) > SHOWN else ""))
    return hold_out.rules(fold, table, obs, roles)
