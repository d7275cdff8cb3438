"""How strictly what is asked for is followed: a guidance scale for each covariate, and a label that no model knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import streamlit as st

from scdiff_core import keys
from scdiff_core.config import CLASSIFIER_SCALE, GUIDANCE, UNSEEN_GUIDANCE, UNSEEN_SCALE
from scdiff_core.data import label_columns
from scdiff_core.data.prepared import Prepared
from scdiff_core.workspace import JobDir

NO_LABEL = "none"


@st.cache_data(max_entries=8, show_spinner=False)
def _columns(fingerprint: str, _prepared: Prepared) -> dict[str, tuple[str, ...]]:
    return label_columns.columns(_prepared)


@st.cache_data(max_entries=16, show_spinner=False)
def _labels(fingerprint: str, column: str, _prepared: Prepared) -> np.ndarray:
    return _prepared.labels(column)


def _key(run: JobDir, name: str) -> str:
    return f"guide-{run.id}-{name}"


def draw(run: JobDir, prepared: Prepared) -> None:
    """Draw the choices under Advanced."""
    covariates = prepared.vocab.covariates
    if covariates and st.toggle("A scale for each covariate", key=_key(run, "each"), persist_state="session",
                                help="Follow one condition more strictly than another, for instance where cells of a "
                                "combination that the data does not have should carry both labels."):
        for covariate in covariates:
            st.slider(f"Scale of {covariate.column}", 0.0, 8.0, GUIDANCE, 0.05, key=_key(run, f"of-{covariate.column}"),
                      persist_state="session", help="0: without regard to it. 1: as learned. Above: more strictly.")
    able = _columns(prepared.fingerprint, prepared)
    if not able:
        return
    column = str(st.selectbox("A label the model was not trained with", [NO_LABEL, *able], key=_key(run, "column"),
                              persist_state="session", help="A column of your data that the model does not know. A "
                              "small classifier of noisy cells is trained for it, in seconds, and guides the cells."))
    if column == NO_LABEL:
        return
    st.selectbox(f"Guide towards, in {column}", able[column], key=_key(run, f"value-{column}"), persist_state="session")
    st.slider("Strength of the label", 0.0, 8.0, CLASSIFIER_SCALE, 0.25, key=_key(run, "label-scale"),
              persist_state="session", help="1: as probable as the classifier has it. Above: more surely, and less "
              "varied. 0: without regard to it.")


def offer(run: JobDir, prepared: Prepared, where: Mapping[str, str]) -> None:
    """Draw, where no training cell has all the labels asked for, the choice to guide by a classifier of each."""
    asked = {c.column: where[c.column] for c in prepared.vocab.categorical if where.get(c.column) in c.values}
    rows = prepared.rows(keys.TRAIN)
    fits = np.ones(len(rows), bool)
    for column, value in asked.items():
        fits &= _labels(prepared.fingerprint, column, prepared)[rows] == value
    st.session_state[_key(run, "new")] = []
    if len(asked) < 2 or fits.any():
        return
    st.info("No cell that the model learnt from has all of these values. It puts the combination together from its "
            "parts: look at the cells with care.", icon=":material/extension:")
    if st.toggle("Follow each label more strictly", True, key=_key(run, "combine"), persist_state="session",
                 help=f"A guidance scale of {UNSEEN_GUIDANCE:g} for each condition (under *Advanced* you can choose "
                 "others), and a classifier of each label. On held-out combinations of real cells this makes more "
                 "cells carry both labels."):
        able = {c: v for c, v in asked.items() if (_labels(prepared.fingerprint, c, prepared)[rows] == v).sum()
                >= label_columns.FEWEST}
        st.session_state[_key(run, "new")] = [{"column": c, "value": v, "scale": UNSEEN_SCALE} for c, v in able.items()]


def new_combination(run: JobDir) -> list[dict[str, Any]]:
    """Return the classifiers that `offer` has chosen."""
    return list(st.session_state.get(_key(run, "new"), []))


def chosen(run: JobDir, prepared: Prepared) -> dict[str, Any]:
    """Return `guidance` and `classifier` of a request, as chosen in this session."""
    get = st.session_state.get
    guidance: dict[str, float] = {}
    if get(_key(run, "each")):
        guidance = {c.column: float(get(_key(run, f"of-{c.column}"), GUIDANCE)) for c in prepared.vocab.covariates}
    else:
        guidance = {label["column"]: UNSEEN_GUIDANCE for label in new_combination(run)}
    column = get(_key(run, "column"), NO_LABEL)
    able = _columns(prepared.fingerprint, prepared).get(str(column), ()) if column != NO_LABEL else ()
    value = get(_key(run, f"value-{column}")) or (able[0] if able else None)
    scale = get(_key(run, "label-scale"), CLASSIFIER_SCALE)
    labels = [] if value is None or not able else [{"column": column, "value": value, "scale": float(scale)}]
    return {"guidance": guidance, "classifier": [*new_combination(run), *labels]}
