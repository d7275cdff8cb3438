"""The order by clustering, against what is known by construction and against scipy's own tools."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import pdist

from scdiff_core.figures.order import order_by_clustering


def test_blocks_that_were_shuffled_stand_together_again() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.permutation(np.repeat([0, 1, 2], 6))
    x = rng.normal(size=(3, 12))[kinds] * 3 + rng.normal(0, 0.2, (18, 12))
    ordered = order_by_clustering(pd.DataFrame(x, index=[f"{k}-{i}" for i, k in enumerate(kinds)]))
    of = [name[0] for name in ordered]
    assert sum(a != b for a, b in pairwise(of)) == 2 and len(set(ordered)) == 18


def test_the_order_is_scipys() -> None:
    x = np.random.default_rng(1).normal(size=(25, 8))
    apart = pdist(x, "correlation")
    theirs = leaves_list(optimal_leaf_ordering(linkage(apart, "average"), apart))
    assert order_by_clustering(pd.DataFrame(x)) == [str(i) for i in theirs]


def test_constant_rows_gaps_and_few_rows() -> None:
    x = pd.DataFrame({"a": [1.0, 2.0, 5.0, 1.1, np.nan], "b": [2.0, 2.0, 1.0, 2.1, 3.0],
                      "c": [3.0, 2.0, 0.0, 3.0, 3.0]}, index=list("uvwxy"))
    ordered = order_by_clustering(x)
    assert sorted(ordered) == list("uvwxy") and abs(ordered.index("u") - ordered.index("x")) == 1
    assert order_by_clustering(x.iloc[:2]) == ["u", "v"] and order_by_clustering(x.iloc[:, :1]) == list("uvwxy")
    assert sorted(order_by_clustering(pd.DataFrame(np.ones((4, 3))))) == ["0", "1", "2", "3"]
