"""Lists of perturbations to screen or to choose among: measured ones, pairs, doses, untouched genes, pasted."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import streamlit as st

from pages._perturb import shown
from pages._perturb.ask import doses_of
from scdiff_core import keys
from scdiff_core.config_screen import all_pairs, read_list
from scdiff_core.data.perturbations import parse
from scdiff_core.data.prepared import Prepared
from scdiff_core.workspace import JobDir

MEASURED, PAIRS, GENES, DOSES, OWN = (
    "All measured perturbations", "All pairs of some", "Genes never perturbed", "Doses of one", "My own list")
SOME = 8  # singles whose pairs are offered to begin with
Entry = tuple[str, float | None]


def singles(prepared: Prepared) -> list[str]:
    """Return the single perturbations of the data, alone or within a pair."""
    found = dict.fromkeys(part for label in shown.known(prepared).values() for part in label.split("+"))
    return sorted(found)


def suffix(prepared: Prepared) -> str:
    """Return what most labels of the data say after the gene, such as "-kd"; empty where they say nothing."""
    endings: Counter[str] = Counter()
    for part in singles(prepared):
        what = parse(part, prepared.roles.control)
        target = what.targets[0] if what.targets else part
        endings[part[len(target):] if part.startswith(target) else ""] += 1
    return endings.most_common(1)[0][0] if endings else ""


@st.cache_data(max_entries=8, show_spinner=False)
def _expressed(fingerprint: str, control: str, _prepared: Prepared) -> list[str]:
    rows = np.flatnonzero(_prepared.labels(keys.PERTURBATION) == control)
    mean = np.asarray(_prepared.log1p(rows).mean(axis=0)).ravel()
    return [str(_prepared.genes[i]) for i in np.argsort(-mean, kind="stable")]


def untouched(prepared: Prepared, most: int) -> list[str]:
    """Return genes that were never perturbed, as perturbations, the best expressed in control cells first."""
    known = {t.casefold() for part in singles(prepared) for t in parse(part, prepared.roles.control).targets}
    ending = suffix(prepared)
    genes = _expressed(prepared.fingerprint, prepared.roles.control or "", prepared)
    return [g + ending for g in genes if g.casefold() not in known and not g.upper().startswith("MT-")][:most]


def between(doses: list[float]) -> list[float]:
    """Return measured doses and, between each two, their geometric mean."""
    middle = [float(f"{np.sqrt(a * b):.3g}") for a, b in itertools.pairwise(doses)]
    return sorted({*doses, *middle})


def choose(run: JobDir, prepared: Prepared, key: str, kinds: tuple[str, ...]) -> list[Entry]:
    """Draw the choice of a list and return its entries."""
    kind = str(st.selectbox("Which perturbations", kinds, key=f"{key}-kind", persist_state="session"))
    if kind == MEASURED:
        return [(n, None) for n in dict.fromkeys(shown.known(prepared).values())]
    if kind == PAIRS:
        own = singles(prepared)
        chosen = st.multiselect("Of these", own, default=own[:SOME], key=f"{key}-of-{run.id}",
                                persist_state="session", select_all=True,
                                accept_new_options=True, placeholder="choose two or more")
        return [(n, None) for n in all_pairs(chosen)]
    if kind == GENES:
        many = int(st.number_input("How many genes", 1, 1000, 40, 10, key=f"{key}-genes", persist_state="session",
                                   help="Genes of your data that no perturbation touched, the best expressed in "
                                        "control cells first."))
        return [(n, None) for n in untouched(prepared, many)]
    if kind == DOSES:
        one = st.selectbox("Perturbation", list(dict.fromkeys(shown.known(prepared).values())),
                           key=f"{key}-one-{run.id}", persist_state="session")
        options = between(doses_of(prepared))
        if not options:
            st.info("The data has no doses.")
            return []
        picked = st.multiselect("Doses", options, default=options, key=f"{key}-doses-{run.id}", select_all=False,
                                format_func=lambda d: f"{d:g}")
        return [(str(one), float(d)) for d in sorted(picked)] if one else []
    text = st.text_area("One a line", key=f"{key}-own", persist_state="session", height=160,
                        placeholder="KLF1\nKLF1+MAP2K6\nIFNB @ 0.5")
    return [(a.perturbation, a.dose) for a in read_list(text or "")]
