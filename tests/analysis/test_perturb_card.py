"""The report card: which conditions count as held out, and every method on them beside the floor."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from scdiff_core import keys
from scdiff_core.analysis.perturb import card, splits
from scdiff_core.analysis.perturb.baselines import Guess
from scdiff_core.errors import ScdiffError

GENES = np.array([f"g{i}" for i in range(30)])
SIZES = {"ctrl": [], "A": [0, 1, 2, 3], "B": [4, 5, 6, 7], "C": [8, 9], "A+B": range(8), "A+Z": [0, 1, 2, 3, 20]}


@pytest.fixture(scope="module")
def bench() -> card.Bench:
    rng = np.random.default_rng(0)
    blocks, rows = [], []
    for kind in "xy":
        for name, genes in SIZES.items():
            rate = np.full(30, 3.0)
            rate[list(genes)] = 12.0
            blocks.append(np.log1p(rng.poisson(rate, (30, 30))))
            test = name in ("A+B", "A+Z") or (name, kind) == ("C", "y")
            rows += [(name, kind, keys.TEST if test else keys.TRAIN)] * 30
    obs = pd.DataFrame(rows, columns=["p", "t", keys.SPLIT])
    roles = SimpleNamespace(perturbation="p", control="ctrl", cell_type="t", dose=None, batch=None, time=None)
    values = sp.csr_matrix(np.vstack(blocks))
    return card.Bench(SimpleNamespace(obs=obs, roles=roles, genes=GENES, log1p=lambda: values,
                                      rows=lambda s: np.flatnonzero((obs[keys.SPLIT] == s).to_numpy())))


def test_held_out_conditions_and_what_is_unseen_of_them(bench: card.Bench) -> None:
    found = {card.name_of(c): bench.kind(c) for c in bench.unseen()}
    assert found == {"A+B|x": splits.PAIR_BOTH, "A+B|y": splits.PAIR_BOTH, "A+Z|x": splits.PAIR_ONE,
                     "A+Z|y": splits.PAIR_ONE, "C|y": splits.TYPE}


def test_measure_and_six(bench: card.Bench) -> None:
    conditions = [c for c in bench.unseen() if c[2] == "x"]
    truth = {c: bench.truth(c).log1p for c in conditions}

    def perfect(condition: splits.Condition, n: int) -> Guess:
        return Guess(truth[condition], truth[condition].mean(axis=0), "told")

    rows, cells = card.measure(bench, conditions, {"perfect": perfect, **bench.baselines()})
    by = {(r["method"], r["condition"]): r for r in rows}
    assert by["perfect", "A+B|x"]["pearson"] == pytest.approx(1) and by["perfect", "A+B|x"]["pds"] == 1
    assert by["additive", "A+B|x"]["pearson"] > 0.95 > by["mean response", "A+B|x"]["pearson"]
    assert by["control", "A+B|x"]["pearson"] == 0 and by["control", "A+B|x"]["e_distance"] > 1
    assert abs(by["floor", "A+B|x"]["e_distance"]) < 0.3 and by["floor", "A+B|x"]["spread"]["e_distance"] > 0
    assert ("linear", "A+Z|x") not in by and ("nearest", "A+Z|x") in by
    found = card.six(bench, conditions, cells)
    assert "linear" not in found["methods"]
    assert found["methods"]["perfect"]["pds_cosine"] == {"A+B|x": 1.0, "A+Z|x": 1.0}


def test_six_scores_are_of_one_type(bench: card.Bench) -> None:
    with pytest.raises(ScdiffError, match="different cell types: x, y"):
        card.six(bench, bench.unseen(), {})
