"""Programs of a change of expression: against decoupler, and against a regression by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from scdiff_core.analysis.perturb import programs
from scdiff_core.errors import ScdiffError


@pytest.fixture
def changes() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, (3, 200))
    values[0, :20] += 2
    return pd.DataFrame(values, index=["A", "B", "A+B"], columns=[f"GENE{i}" for i in range(200)])


NET = {"up": dict.fromkeys([f"GENE{i}" for i in range(20)], 1.0),
       "signed": {f"GENE{i}": 1.0 if i % 2 else -1.0 for i in range(15, 40)},
       "weighted": {f"GENE{i}": 0.1 * (i - 45) for i in range(50, 60)},
       "small": dict.fromkeys(["GENE1", "GENE2"], 1.0)}


def test_activity_is_that_of_a_regression_by_hand(changes: pd.DataFrame) -> None:
    t, p = programs.activity(changes, NET)
    assert list(t.columns) == ["up", "signed", "weighted"]  # one of two genes is left out
    raw = np.empty(3)
    for i, name in enumerate(t.columns):
        weights = np.array([NET[name].get(g, 0.0) for g in changes.columns])
        found = stats.linregress(weights, changes.loc["A"])
        assert t.loc["A", name] == pytest.approx(found.slope / found.stderr, rel=1e-6)
        raw[i] = found.pvalue
    np.testing.assert_allclose(p.loc["A"], stats.false_discovery_control(raw), rtol=1e-6)
    assert t.loc["A"].idxmax() == "up"


def test_activity_is_that_of_decoupler(changes: pd.DataFrame) -> None:
    decoupler = pytest.importorskip("decoupler")
    net = pd.DataFrame([(s, g, w) for s, genes in NET.items() for g, w in genes.items()],
                       columns=["source", "target", "weight"])
    theirs_t, theirs_p = decoupler.mt.ulm(data=changes, net=net, tmin=programs.LEAST)
    t, p = programs.activity(changes, NET)
    np.testing.assert_allclose(t, theirs_t[t.columns], rtol=1e-5)
    np.testing.assert_allclose(p, theirs_p[p.columns], rtol=1e-5)


def test_genes_are_found_in_any_case_and_what_is_not_there_is_told(changes: pd.DataFrame) -> None:
    lower = programs.from_sets({"up": tuple(f"gene{i}" for i in range(20))})
    assert programs.activity(changes, lower)[0].loc["A", "up"] == programs.activity(changes, NET)[0].loc["A", "up"]
    with pytest.raises(ScdiffError, match="none has 5 genes in this data"):
        programs.activity(changes, {"other": dict.fromkeys(["Actb", "Gapdh"], 1.0)})


def test_a_perturbation_that_changes_nothing_moves_no_program(changes: pd.DataFrame) -> None:
    changes.loc["none"] = 0.0
    t, p = programs.activity(changes, NET)
    assert (t.loc["none"] == 0).all() and (p.loc["none"] == 1).all()


def test_regulons_are_read_by_either_names_of_their_columns() -> None:
    assert programs.read_regulons("tf\tconfidence\ttarget\tmor\nA\tC\tX\t1\nA\tC\tY\t-1\n") == {"A": {"X": 1, "Y": -1}}
    assert programs.read_regulons("source,target\nA,X\n") == {"A": {"X": 1.0}}
    with pytest.raises(ScdiffError, match="no columns 'source'"):
        programs.read_regulons("a,b\n1,2\n")
    with pytest.raises(ScdiffError, match="Line 2: 'much' is no number"):
        programs.read_regulons("source,target,weight\nA,X,much\n")


def test_the_table_has_a_row_for_each_and_the_strongest_first(changes: pd.DataFrame) -> None:
    t, p = programs.activity(changes, NET)
    table = programs.table(t, p)
    assert list(table.columns) == ["perturbation", "program", "activity", "pval_adj"] and len(table) == 9
    own = table[table["perturbation"] == "A"]
    assert own["activity"].abs().is_monotonic_decreasing
    assert own.set_index("program")["pval_adj"]["up"] == p.loc["A", "up"]
