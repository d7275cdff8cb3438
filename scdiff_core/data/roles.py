"""Which column of the cells plays which part: guessed from names and contents, shown, never changed silently."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pandas as pd

from scdiff_core import keys
from scdiff_core.config import Roles
from scdiff_core.data.columns import (
    CATEGORICAL,
    CONTINUOUS,
    ID,
    MOST_CODES,
    SHOWN,
    ColumnInfo,
    describe,
    describe_columns,
    tally,
)
from scdiff_core.data.gene_ids import fold
from scdiff_core.data.vocab import as_labels, as_numbers
from scdiff_core.errors import ScdiffError, nearest

CELL_TYPE_NAMES = (
    "celltype", "celltypes", "celltypename", "celltypelabel", "authorcelltype", "celltypeannotation",
    "annotatedcelltype", "cellannotation", "cellannotations", "annotation", "annotations", "annot",
    "finalannotation", "manualannotation", "majorityvoting", "predictedlabels", "predictedcelltype",
    "bulklabels", "seuratannotations", "cellontologyclass", "cellclass", "cellidentity", "celllabel",
    "celllabels", "clustername", "clusternames", "clusterlabel", "clusterlabels", "subtype", "lineage", "label",
    "labels", "cluster", "clusters", "leiden", "louvain", "seuratclusters", "cellline", "celllines")
PERTURBATION_NAMES = (
    "perturbation", "perturbations", "perturb", "pert", "perturbationname", "pertname", "pertiname",
    "perturbedgene", "perturbationid", "targetgene", "genetarget", "target", "targets", "condition", "conditions",
    "gene", "knockout", "ko", "knockdown", "kd", "guidetarget", "sgrnatarget", "guide", "guideid",
    "guideidentity", "guides", "sgrna", "grna", "sgrnaid", "treatment", "treatments", "treat", "treated", "drug",
    "drugname", "compound", "compoundname", "productname", "cytokine", "ligand", "stim", "stimulus", "stimulation",
    "stimulated", "agent", "exposure", "infection", "genotype", "group", "label", "labels", "disease", "status")
NEEDS_CONTROL = {"condition", "conditions", "gene", "target", "targets", "group", "label", "labels", "disease",
                 "status", "genotype", "exposure", "ko", "kd", "agent", "treated", "ligand", "infection"}
BATCH_NAMES = (
    "batch", "batchid", "batches", "batchname", "donor", "donorid", "donors", "patient", "patientid", "individual",
    "individualid", "subject", "subjectid", "sample", "sampleid", "samplename", "samples", "origident", "library",
    "libraryid", "channel", "replicate", "rep", "biorep", "mouse", "mouseid", "animal", "animalid", "embryo",
    "gemgroup", "lane", "plate", "plateid", "run", "experiment", "dataset", "datasetid", "study", "tech",
    "technology", "method", "assay", "protocol")
DOSE_NAMES = ("dose", "dosevalue", "doseval", "doses", "dosage", "concentration", "conc", "doseum", "dosenm",
              "concentrationum", "concentrationnm", "pertdose", "drugdose", "doselevel")
TIME_NAMES = ("time", "timepoint", "timepoints", "day", "days", "hour", "hours", "timehours", "timeh", "timedays",
              "hpi", "hpf", "dpi", "week", "weeks", "harvesttime", "collectiontime", "perttime", "embryonicday",
              "stage", "age")
# the label of unperturbed cells, the surest first; folded
CONTROLS = ("control", "ctrl", "ctl", "controls", "nontargeting", "nontargetingcontrol", "nt", "ntc", "negctrl",
            "negctrl0negctrl0", "negativecontrol", "negcontrol", "unperturbed", "untreated", "unstimulated", "unstim",
            "dmso", "vehicle", "vehiclecontrol", "mock", "scramble", "scrambled", "safetargeting", "sham", "pbs",
            "saline", "wildtype", "wt", "uninfected", "unexposed", "resting", "rest", "baseline", "medium", "media",
            "noguide", "none", "nodrug", "placebo", "healthy", "normal", "naive")
SURE_CONTROLS = set(CONTROLS[:CONTROLS.index("sham")])
CONTROL_START = re.compile(r"(?:non[-_ ]?targeting|neg(?:ative)?[-_ ]?(?:ctrl|control)|ctrl|control|dmso|vehicle|"
                           r"scrambled?|safe[-_ ]?targeting)(?:[-_ .:]?\d[\w.]*|[-_ ].*)?$|ntc?[-_ .:]\d+$",
                           re.IGNORECASE)
TYPE_WORDS = re.compile(r"\b(?:cells?|t|b|nk|dc|mono\w*|macro\w*|fibro\w*|neuron\w*|epitheli\w*|endotheli\w*|"
                        r"astro\w*|oligo\w*|micro\w*|stem|progenitor\w*|dendritic|platelet\w*|mast|plasma|"
                        r"hepato\w*|alpha|beta|delta|ductal|acinar|erythro\w*|cd\d+\+?)\b", re.IGNORECASE)


def find_control(values: Iterable[tuple[str, int]], sure: bool = False) -> str | None:
    """Return the label of unperturbed cells among (label, cells) pairs, None if there is none.

    With `sure`, only words that hardly mean anything else ('ctrl', 'DMSO', 'non-targeting') count.
    """
    pairs = list(values)
    folded = {fold(v): v for v, _ in reversed(pairs)}
    for word in CONTROLS:
        if word in folded and (not sure or word in SURE_CONTROLS):
            return folded[word]
    starts = [p for p in pairs if CONTROL_START.match(p[0])]
    return max(starts, key=lambda p: p[1])[0] if starts and not sure else None


def _rank(name: str, names: tuple[str, ...]) -> float:
    """Return how well a column's name fits (0 to 100)."""
    folded = fold(name)
    return 100.0 - names.index(folded) if folded in names else 0.0


def _all_pairs(info: ColumnInfo, obs: pd.DataFrame) -> list[tuple[str, int]]:
    return list(info.values) if info.n_unique <= SHOWN else tally(obs[info.name])[0]


def _perturbation(infos: list[ColumnInfo], obs: pd.DataFrame) -> tuple[str | None, str | None]:
    best: tuple[float, str | None, str | None] = (0.0, None, None)
    for info in infos:
        if info.kind != CATEGORICAL:
            continue
        rank = _rank(info.name, PERTURBATION_NAMES)
        pairs = _all_pairs(info, obs)
        control = find_control(pairs, sure=rank == 0)
        if control is not None and not all(n.isdigit() for n, _ in pairs):
            score = 200 + rank
        elif rank and fold(info.name) not in NEEDS_CONTROL:
            score = rank
        else:
            continue
        if score > best[0]:
            best = (score, info.name, control)
    return best[1], best[2]


def _cell_type(infos: list[ColumnInfo], taken: set[str]) -> str | None:
    best: tuple[float, str | None] = (0.0, None)
    for info in infos:
        if info.name in taken or info.kind != CATEGORICAL or fold(info.name).endswith("ontologytermid"):
            continue
        labels = [v for v, _ in info.values]
        text = not all(re.fullmatch(r"-?\d+(\.\d+)?", v) for v in labels)
        lower = info.name.casefold()
        score = _rank(info.name, CELL_TYPE_NAMES)
        if not score and re.search(r"cell[-_. ]?type|annot", lower) and not re.search("score|conf|prob", lower):
            score = 55.0
        if not score and re.search(r"cluster|leiden|louvain", lower):
            score = 45.0
        named = sum(bool(TYPE_WORDS.search(v)) for v in labels) / max(1, len(labels))
        if not score and text and len(labels) > 2 and named > 0.6 \
                and not re.search("ontology|tissue|organ|assay|stage", lower):
            score = 40.0
        if score and text and score < 70:
            score += 5.0 + 10.0 * named  # named clusters before numbered ones
        if score > best[0]:
            best = (score, info.name)
    return best[1]


def _same_partition(a: pd.Series, b: pd.Series) -> bool:
    """Say whether two columns divide the cells alike."""
    pairs = pd.DataFrame({"a": as_labels(a), "b": as_labels(b)}).drop_duplicates()
    return len(pairs) == pairs["a"].nunique() == pairs["b"].nunique()


def _batch(infos: list[ColumnInfo], obs: pd.DataFrame, taken: set[str]) -> str | None:
    ranked = sorted((i for i in infos if i.name not in taken and i.kind == CATEGORICAL
                     and _rank(i.name, BATCH_NAMES)), key=lambda i: -_rank(i.name, BATCH_NAMES))
    for info in ranked:
        if not any(_same_partition(obs[info.name], obs[other]) for other in taken):
            return info.name
    return None


def _dose(infos: list[ColumnInfo], obs: pd.DataFrame, taken: set[str]) -> str | None:
    ranked = sorted((i for i in infos if i.name not in taken and i.kind in (CATEGORICAL, CONTINUOUS)
                     and _rank(i.name, DOSE_NAMES)), key=lambda i: -_rank(i.name, DOSE_NAMES))
    for info in ranked:
        if as_numbers(obs[info.name]) is not None:
            return info.name
        with_unit = [bool(re.fullmatch(r"\d*\.?\d+\s*[a-zµμ/]+", v, re.IGNORECASE)) for v, _ in info.values]
        if with_unit and sum(with_unit) >= len(with_unit) - 1:
            return info.name
    return None


def _time(infos: list[ColumnInfo], taken: set[str]) -> str | None:
    ranked = [i for i in infos if i.name not in taken and _rank(i.name, TIME_NAMES)
              and i.kind in (CATEGORICAL, CONTINUOUS) and 2 <= i.n_unique <= 100]
    return max(ranked, key=lambda i: _rank(i.name, TIME_NAMES)).name if ranked else None


def detect_roles(adata: Any) -> tuple[Roles, tuple[ColumnInfo, ...]]:
    """Guess the roles of the columns of the cells from their names and contents; nothing is changed.

    A perturbation is a column that is named so or holds a control label; the cell type, the batch (not one
    that merely repeats the perturbation), a numeric dose and a time follow by name, and the cell type also
    by what its labels say.
    """
    obs = adata.obs
    infos = list(describe_columns(obs))
    perturbation, control = _perturbation(infos, obs)
    taken = {perturbation} if perturbation else set()
    cell_type = _cell_type(infos, taken)
    taken |= {cell_type} if cell_type else set()
    dose = _dose(infos, obs, taken)
    taken |= {dose} if dose else set()
    time = _time(infos, taken)
    taken |= {time} if time else set()
    batch = _batch(infos, obs, taken)
    roles = Roles(cell_type=cell_type, batch=batch, perturbation=perturbation, control=control, dose=dose, time=time)
    played = {column: role for role, column in roles.columns().items()}
    measured = {dose, time}
    out = []
    for info in infos:
        numeric = info.name in measured and as_numbers(obs[info.name]) is not None
        out.append(replace(info, role=played.get(info.name), kind=CONTINUOUS if numeric else info.kind))
    return roles, tuple(out)


def validate_roles(roles: Roles, obs: pd.DataFrame) -> None:
    """Check that the chosen columns and the control label are there and can play their parts.

    Raises
    ------
    ScdiffError
        A column or the control label is unknown (the nearest are named), a column plays two parts, has no
        value at all, or has another value in nearly every cell.
    """
    known = [str(c) for c in obs.columns]
    listed = ("The columns are " + ", ".join(known[:20]) + (", ..." if len(known) > 20 else "") + "."
              if known else "The cells have no columns.")
    played: dict[str, str] = {}
    for role, column in roles.columns().items():
        words = role.replace("_", " ")
        if column not in known:
            raise ScdiffError(f"There is no column '{column}' for the {words}.", nearest(column, known) or listed,
                              "Choose one of the columns of this file, or none.")
        if column in played:
            raise ScdiffError(f"The column '{column}' cannot play two parts.",
                              f"It is chosen as {played[column]} and as {words}.",
                              "Choose it for one of them only.")
        played[column] = words
        info = describe(obs[column])
        if info.n_unique == 0:
            raise ScdiffError(f"The column '{column}' cannot be the {words}.", "No cell has a value there.",
                              "Choose another column, or none.")
        if role in (keys.CELL_TYPE, keys.BATCH, keys.PERTURBATION) and (
                info.kind == ID or (info.kind == CONTINUOUS and info.n_unique > 2 * MOST_CODES)):
            raise ScdiffError(f"The column '{column}' cannot be the {words}.",
                              f"It has {info.n_unique} different values in {len(obs)} cells: it is a measure or a "
                              "name of each cell, not a label that cells share.", "Choose another column, or none.")
    if roles.control is None:
        return
    if roles.perturbation is None:
        raise ScdiffError(f"The control label '{roles.control}' has no column.", "No perturbation column is chosen.",
                          "Choose the column of the perturbations too, or no control.")
    labels = [v for v, _ in tally(obs[roles.perturbation])[0]]
    if str(roles.control) not in labels:
        some = ", ".join(labels[:10]) + (", ..." if len(labels) > 10 else "")
        raise ScdiffError(f"'{roles.perturbation}' has no value '{roles.control}'.",
                          nearest(str(roles.control), labels) or f"Its values are {some}.",
                          "Choose the label of the unperturbed cells among its values.")
