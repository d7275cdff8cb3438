"""How fast differential expression is: a selection against the rest, and half against half, beside scanpy's own.

    python -m benchmarks.differential [--quick]

Simulated counts (negative binomial) of 50,000 cells and 2,000 genes, log1p of counts per 10,000, about 10 % and about
20 % of the values not zero. On one thread: seconds of the CPU and on the clock, of `analysis.differential.compare` with
the two sides already taken out, and of the whole as the worker does it (taking them out included); scanpy's
`rank_genes_groups` on the same matrix, its compiled parts warm. The greatest difference of any score tells whether they
are the same test. Writes benchmarks/results/differential.json and differential.md.
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"  # before anything that reads it

import argparse  # noqa: E402
import time  # noqa: E402
import warnings  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import anndata  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import scanpy as sc  # noqa: E402
import scipy.sparse as sp  # noqa: E402

from benchmarks import stages, tables  # noqa: E402
from scdiff_core.analysis.differential import compare  # noqa: E402
from scdiff_core.data.prepared import to_log1p  # noqa: E402
from scdiff_core.workspace import write_json, write_text  # noqa: E402

CELLS, GENES = 50_000, 2_000
SHARES = (0.1, 0.2)  # of values that are not zero, about
MUST = 10.0  # s
REPEATS = 3
BLOCK = 5_000  # cells simulated at a time


def simulate(n_cells: int, n_genes: int, share: float, seed: int = 0) -> sp.csr_matrix:
    """Return log1p values [N, G] of negative-binomial counts of which about `share` are not zero."""
    rng = np.random.default_rng(seed)
    levels = rng.lognormal(0, 1.2, n_genes)
    levels *= _scale(levels, share)
    parts = []
    for start in range(0, n_cells, BLOCK):
        n = min(BLOCK, n_cells - start)
        rates = levels * rng.lognormal(0, 0.3, (n, 1)) * rng.gamma(1.0, 1.0, (n, n_genes))  # of dispersion 1
        parts.append(sp.csr_matrix(rng.poisson(rates).astype(np.float32)))
    counts = sp.vstack(parts, format="csr")
    return to_log1p(counts, np.asarray(counts.sum(1)).ravel() + 1)


def _scale(levels: np.ndarray, share: float) -> float:
    """Return the factor by which a negative binomial of these means has this share of values that are not zero."""
    low, high = 1e-6, 1e6
    for _ in range(60):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if (1 - 1 / (1 + levels * middle)).mean() < share else (low, middle)
    return low


def timed(act: Callable[[], Any], repeats: int) -> tuple[dict[str, float], Any]:
    """Return the best seconds, of the CPU and on the clock, and what came of it."""
    spent: list[tuple[float, float]] = []
    result = None
    for _ in range(repeats):
        cpu, clock = time.process_time(), time.perf_counter()
        result = act()
        spent.append((time.process_time() - cpu, time.perf_counter() - clock))
    return {"cpu": min(s[0] for s in spent), "clock": min(s[1] for s in spent)}, result


def by_scanpy(x: sp.csr_matrix, mine: np.ndarray) -> pd.DataFrame:
    """Return scanpy's table, gene -> scores, of the cells that are `mine` against the others."""
    cells = anndata.AnnData(x, obs=pd.DataFrame({"side": pd.Categorical(np.where(mine, "a", "b"))},
                                                index=np.arange(x.shape[0]).astype(str)),
                            var=pd.DataFrame(index=np.arange(x.shape[1]).astype(str)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sc.tl.rank_genes_groups(cells, "side", groups=["a"], reference="b", method="wilcoxon", tie_correct=True,
                                use_raw=False)
        return sc.get.rank_genes_groups_df(cells, "a").set_index("names")


def measure(x: sp.csr_matrix, mine: np.ndarray, what: str, repeats: int) -> dict[str, Any]:
    """Return the figures of one comparison."""
    genes = np.arange(x.shape[1]).astype(str)
    inside, outside = np.flatnonzero(mine), np.flatnonzero(~mine)
    a, b = x[inside], x[outside]
    ours, table = timed(lambda: compare(a, b, genes), repeats)
    whole, _ = timed(lambda: compare(x[inside], x[outside], genes), repeats)
    scanpys, theirs = timed(lambda: by_scanpy(x, mine), 1)
    table = table.set_index("gene")
    result = {"what": what, "n_cells": x.shape[0], "n_genes": x.shape[1], "n_a": len(inside), "n_b": len(outside),
              "not_zero": x.nnz / (x.shape[0] * x.shape[1]), "ours": ours, "whole": whole, "scanpy": scanpys,
              "difference": float(np.abs(table["score"] - theirs["scores"].loc[table.index]).max()),
              "must": MUST, "holds": max(whole["cpu"], whole["clock"]) <= MUST}
    stages.say(f"{what}: {result}")
    return result


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as markdown."""
    lines = [["cells", "genes", "not zero", "compared", "compare, CPU s", "with the cells taken out, CPU s",
              "on the clock, s", "must", "scanpy, CPU s", "on the clock, s", "ratio of CPU s",
              "greatest difference of z"]]
    for r in results:
        lines.append([f"{r['n_cells']:,}", f"{r['n_genes']:,}", f"{100 * r['not_zero']:.0f} %",
                      f"{r['n_a']:,} against {r['n_b']:,}", f"{r['ours']['cpu']:.2f}", f"{r['whole']['cpu']:.2f}",
                      f"{r['whole']['clock']:.2f}", f"{tables.yes(r['holds'])} ({r['must']:.0f} s)",
                      f"{r['scanpy']['cpu']:.1f}", f"{r['scanpy']['clock']:.1f}",
                      f"{r['scanpy']['cpu'] / r['whole']['cpu']:.0f}", f"{r['difference']:.0e}"])
    return tables.markdown(lines)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="How fast differential expression is.")
    parser.add_argument("--results", type=Path, default=stages.RESULTS)
    parser.add_argument("--quick", action="store_true", help="a tenth of the cells and genes, to try it")
    asked = parser.parse_args()
    n_cells, n_genes = (CELLS // 10, GENES // 10) if asked.quick else (CELLS, GENES)
    small = simulate(200, 20, 0.2)
    by_scanpy(small, np.arange(200) < 50)  # compiles what it compiles at first use
    results = []
    for share in SHARES:
        x = simulate(n_cells, n_genes, share)
        chosen = np.zeros(n_cells, dtype=bool)
        chosen[np.random.default_rng(1).choice(n_cells, n_cells // 10, replace=False)] = True
        half = np.arange(n_cells) % 2 == 0
        for what, mine in (("a selection against the rest", chosen), ("half against half", half)):
            results.append(measure(x, mine, what, REPEATS))
    words = ("## Differential expression: simulated cells, one thread\n\n" + table(results) + "\n\nThe best of "
             f"{REPEATS} (scanpy: one). The Wilcoxon test with correction for ties, of all genes, in both.\n")
    write_json(asked.results / "differential.json", {"cores": os.cpu_count(), "results": results})
    write_text(asked.results / "differential.md", words)
    print(words)


if __name__ == "__main__":
    main()
