"""Roles are guessed as a biologist would, from names and contents, and wrong choices are explained."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scdiff_core.config import Roles
from scdiff_core.data.columns import ColumnInfo, describe
from scdiff_core.data.roles import detect_roles, find_control, validate_roles
from scdiff_core.errors import ScdiffError

N = 240
RNG = np.random.default_rng(0)


def pick(*values: object) -> list[object]:
    return [values[i % len(values)] for i in range(N)]


def mixed(*values: object) -> list[object]:
    return [values[i] for i in np.random.default_rng(len(values)).integers(0, len(values), N)]


def roles(**columns: object) -> dict[str, str]:
    obs = pd.DataFrame({k.replace("__", "."): v for k, v in columns.items()}, index=[f"c{i}" for i in range(N)])
    before = obs.copy()
    found, infos = detect_roles(ad.AnnData(np.ones((N, 2), np.float32), obs=obs))
    pd.testing.assert_frame_equal(obs, before)
    validate_roles(found, obs)
    played = {k: v for k, v in found.model_dump().items() if v is not None}
    assert {i.name: i.role for i in infos if i.role} == {v: k for k, v in played.items() if k != "control"}
    return played


TYPES = mixed("CD4 T", "B", "NK", "CD14+ Mono")


@pytest.mark.parametrize("name", ["cell_type", "celltype", "CellType", "cell type", "cell.type", "Cell_Types",
                                  "annotation", "bulk_labels", "louvain", "leiden", "clusters",
                                  "seurat_clusters", "majority_voting",
                                  "author_cell_type", "leiden_res_0.5", "predicted.celltype.l2", "my_column"])
def test_cell_type_by_name_or_content(name: str) -> None:
    assert roles(**{name.replace(".", "__"): TYPES}) == {"cell_type": name}


def test_better_names_win() -> None:
    assert roles(leiden=mixed("0", "1", "2"), cell_type=TYPES, clusters=mixed(1, 2)) == {"cell_type": "cell_type"}
    assert roles(louvain=mixed("0", "1", "2"), bulk_labels=TYPES)["cell_type"] == "bulk_labels"
    assert roles(seurat_clusters=mixed(0, 1, 2), louvain=TYPES)["cell_type"] == "louvain"
    terms = mixed("CL:0000084", "CL:0000236")
    assert roles(cell_type_ontology_term_id=terms, cell_type=TYPES)["cell_type"] == "cell_type"


def test_numbered_clusters_are_labels_and_measures_are_not() -> None:
    found = roles(clusters=mixed(0, 1, 2, 3, 4, 5, 6, 7), clusters__coarse=mixed(0, 1, 2), S_score=RNG.normal(size=N),
                  nCount=RNG.integers(500, 520, N), n_genes=mixed(1, 2, 3))
    assert found == {"cell_type": "clusters"}


def test_kang_and_its_like() -> None:
    donor = [d if c == "ctrl" else None for d, c in zip(mixed("101", "1015"), pick("ctrl", "stim"), strict=True)]
    assert roles(condition=pick("ctrl", "stim"), cell_type=TYPES, donor=donor) == {
        "cell_type": "cell_type", "perturbation": "condition", "control": "ctrl", "batch": "donor"}
    assert roles(stim=pick("CTRL", "STIM"), seurat_annotations=TYPES)["control"] == "CTRL"
    assert roles(label=pick("ctrl", "stim"), celltype=TYPES, replicate=mixed("p1", "p2")) == {
        "cell_type": "celltype", "perturbation": "label", "control": "ctrl", "batch": "replicate"}


@pytest.mark.parametrize(("name", "values", "control"), [
    ("perturbation", ("control", "KLF1", "KLF1+MAP2K6"), "control"),
    ("gene", ("non-targeting", "TP53", "MYC"), "non-targeting"),
    ("guide_identity", ("NegCtrl0_NegCtrl0", "AHR_A", "AHR_B"), "NegCtrl0_NegCtrl0"),
    ("target_gene", ("NT", "CD3E"), "NT"),
    ("condition", ("ctrl", "KLF1+ctrl", "ctrl+CBL"), "ctrl"), ("treatment", ("DMSO", "Dabrafenib"), "DMSO"),
    ("product_name", ("Vehicle", "Belinostat", "Dacinostat"), "Vehicle"), ("drug", ("untreated", "drugA"), "untreated"),
    ("cytokine", ("PBS", "IL-2", "IFN-beta"), "PBS"), ("disease", ("normal", "COVID-19"), "normal"),
    ("arm", ("unstimulated", "LPS"), "unstimulated"), ("perturb", ("NT_1", "NT_2", "STAT1"), "NT_1"),
    ("genotype", ("WT", "KO"), "WT"), ("sgRNA", ("safe-targeting", "sgTP53"), "safe-targeting")])
def test_perturbations_and_their_controls(name: str, values: tuple[str, ...], control: str) -> None:
    assert roles(**{name: pick(*values)}) == {"perturbation": name, "control": control}


def test_a_perturbation_without_control() -> None:
    assert roles(treatment=pick("drugA", "drugB")) == {"perturbation": "treatment"}
    assert roles(condition=pick("young", "old")) == {}
    assert roles(group=pick("1", "2")) == {}


def test_the_best_of_several_perturbation_columns() -> None:
    found = roles(perturbation_type=pick("CRISPRa", "CRISPRi"), perturbation_raw=pick("control", "KIAA1804", "KLF1"),
                  condition_cell_type=pick("control_k562", "KLF1_k562", "x_k562"), treatment=pick("none"),
                  perturbation=pick("control", "MAP3K21", "KLF1"), cell_type=mixed("k562", "A172"),
                  dose=pick("1", "1+1"))
    assert found == {"perturbation": "perturbation", "control": "control", "cell_type": "cell_type"}
    assert roles(guide=mixed("NT_1", "g1", "g2", "g3"),
                 gene=pick("non-targeting", "TP53", "MYC"))["perturbation"] == "gene"


def test_dose_and_time() -> None:
    found = roles(drug=pick("DMSO", "A"), dose=mixed(0.0, 0.1, 1.0, 10.0), time=mixed(6, 24, 48))
    assert found == {"perturbation": "drug", "control": "DMSO", "dose": "dose", "time": "time"}
    assert roles(dose_value=mixed("0.1", "1", "10"))["dose"] == "dose_value"
    assert roles(concentration=mixed("10 nM", "1 uM", "5uM"))["dose"] == "concentration"
    assert roles(timepoint=mixed("E14.5", "E15.5"))["time"] == "timepoint"
    assert roles(day=mixed(0.0, 3.0, 7.0))["time"] == "day"
    assert roles(latent_time=RNG.random(N), dpt_pseudotime=RNG.random(N)) == {}
    _, infos = detect_roles(ad.AnnData(np.ones((N, 2), np.float32), obs=pd.DataFrame(
        {"dose": mixed(0, 1, 10)}, index=[f"c{i}" for i in range(N)])))
    assert infos[0].kind == "continuous" and dict(infos[0].values).keys() == {"0", "1", "10"}


def test_a_batch_that_repeats_the_perturbation_is_none() -> None:
    assert roles(condition=pick("ctrl", "stim"), sample=pick("s1", "s2")) == {
        "perturbation": "condition", "control": "ctrl"}
    assert roles(sample=mixed("s1", "s2", "s3"), donor=mixed("a", "b"))["batch"] == "donor"
    assert roles(orig__ident=mixed("lib1", "lib2"))["batch"] == "orig.ident"


def test_kinds_of_columns() -> None:
    def kind(values: object, name: str = "x") -> ColumnInfo:
        return describe(pd.Series(values, name=name))

    assert kind([f"AAAC{i}" for i in range(N)]).kind == "id"
    assert kind(list(range(N))).kind == "id"
    assert kind(RNG.integers(0, 5000, N)).kind == "continuous"
    assert kind(RNG.normal(size=N)).kind == "continuous"
    assert kind(["a"] * N).kind == "constant" and kind([np.nan] * N).kind == "constant"
    assert kind(pick(True, False)).kind == "categorical"
    info = kind([0.0, 1.0, np.nan] * 80)
    assert (info.kind, info.n_missing, info.n_unique, info.values) == ("categorical", 80, 2, (("0", 80), ("1", 80)))
    info = kind(pd.Categorical(["b", "b", "a", None] * 60, categories=["z", "a", "b"]))
    assert info.values == (("b", 120), ("a", 60)) and info.n_missing == 60
    info = kind([f"g{i % 60}" for i in range(N)])
    assert info.kind == "categorical" and info.n_unique == 60 and len(info.values) == 50
    assert info.to_dict()["values"][0] == ["g0", 4]
    assert kind(["", "a", "nan", "b"] * 60).n_missing == 120


def test_controls_by_word() -> None:
    assert find_control([("NT5E", 9), ("CTRL", 1)]) == "CTRL"
    assert find_control([("NT5E", 9), ("CTNNB1", 1), ("DMSOX", 3)]) is None
    assert find_control([("normal", 5), ("x", 1)], sure=True) is None
    assert find_control([("non-targeting_00012", 5), ("non-targeting_7", 8), ("MYC", 1)]) == "non-targeting_7"


def test_wrong_roles_are_explained() -> None:
    obs = pd.DataFrame({"cell_type": TYPES, "condition": pick("ctrl", "stim"), "code": [f"x{i}" for i in range(N)],
                        "depth": RNG.normal(size=N), "void": [None] * N})
    validate_roles(Roles(cell_type="cell_type", perturbation="condition", control="ctrl"), obs)
    validate_roles(Roles(), obs)
    for wrong, words in ((Roles(cell_type="celltype"), "Did you mean 'cell_type'"),
                         (Roles(batch="zzz"), "The columns are cell_type"),
                         (Roles(perturbation="condition", control="control"), "no value 'control'"),
                         (Roles(perturbation="condition", control="ctr"), "Did you mean 'ctrl'"),
                         (Roles(control="ctrl"), "No perturbation column"),
                         (Roles(cell_type="cell_type", batch="cell_type"), "two parts"),
                         (Roles(cell_type="code"), "240 different values"), (Roles(batch="depth"), "different values"),
                         (Roles(dose="void"), "No cell has a value")):
        with pytest.raises(ScdiffError, match=words):
            validate_roles(wrong, obs)
