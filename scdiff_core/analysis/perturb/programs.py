"""Which programs (gene sets, regulons) a change of expression speaks of: a univariate linear model of each.

The figures are those of `decoupler.mt.ulm` (Badia-i-Mompel et al. 2022, doi:10.1093/bioadv/vbac016), which the tests
hold them against. They are reckoned here, in closed form, since importing decoupler takes 8 s in each new process and
30 s in the first (it compiles with numba), and this takes milliseconds on a page.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import sparse

from scdiff_core.errors import ScdiffError

LEAST = 5  # genes of a program that the data must have (decoupler's `tmin`)
TINY = 2.2e-16  # decoupler's own, which keeps the t of a perfect fit finite
SOURCES, TARGETS = ("source", "tf", "regulator"), ("target", "gene")
WEIGHTS = ("weight", "mor", "mode")

Network = Mapping[str, Mapping[str, float]]  # program -> gene -> weight


def from_sets(sets: Mapping[str, tuple[str, ...]]) -> dict[str, dict[str, float]]:
    """Return gene sets as a network: every member weighs 1."""
    return {name: dict.fromkeys(genes, 1.0) for name, genes in sets.items()}


def read_regulons(text: str) -> dict[str, dict[str, float]]:
    """Return the regulons of a table (tabs or commas) with the columns source (or tf), target, and weight (or mor).

    Raises
    ------
    ScdiffError
        A column is missing, or a weight is no number.
    """
    first = text.removeprefix("\ufeff").splitlines()[:1]
    rows = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), delimiter="\t" if "\t" in "".join(first) else ",")
    known = {str(name).strip().casefold(): name for name in rows.fieldnames or []}
    source, target = (next((known[n] for n in names if n in known), None) for names in (SOURCES, TARGETS))
    weight = next((known[n] for n in WEIGHTS if n in known), None)
    if source is None or target is None:
        raise ScdiffError("The regulons cannot be read.", "The table has no columns 'source' (or 'tf') and 'target'.",
                          "Take a table of regulator, target and weight, for example DoRothEA or CollecTRI.")
    out: dict[str, dict[str, float]] = {}
    for number, row in enumerate(rows, 2):
        name, gene = str(row[source] or "").strip(), str(row[target] or "").strip()
        if not name or not gene:
            continue
        try:
            out.setdefault(name, {})[gene] = float(row[weight]) if weight is not None else 1.0
        except (TypeError, ValueError):
            raise ScdiffError("The regulons cannot be read.", f"Line {number}: '{row[weight]}' is no number.",
                              "Write each weight as a number (1 activates, -1 represses).") from None
    return out


def activity(changes: pd.DataFrame, network: Network, least: int = LEAST) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return activity t and adjusted p [perturbations, programs] of changes [perturbations, genes].

    For each program the changes of all genes are regressed on its weights (0 for genes outside of it); t is that of
    the slope, p is two-sided with G − 2 degrees of freedom and corrected (Benjamini-Hochberg) within a perturbation.
    Genes are matched by name, in any case where no gene is written exactly so.

    Parameters
    ----------
    changes
        Log1p differences or log2 fold changes; a gene without a value counts as unchanged.
    least
        Programs with fewer genes in the data are left out.

    Raises
    ------
    ScdiffError
        No program has enough genes in the data.
    """
    from scipy import stats  # half a second, which pages without programs need not wait for

    genes = changes.columns.astype(str).tolist()
    names, weights = _weights(genes, network, least)
    y = np.nan_to_num(changes.to_numpy(float))
    n = len(genes)
    total, squares = np.asarray(weights.sum(axis=1)).ravel(), np.asarray(weights.multiply(weights).sum(axis=1)).ravel()
    spread_x = np.sqrt(np.maximum(squares - total**2 / n, 0.0))
    centred = y - y.mean(axis=1, keepdims=True)
    spread_y = np.linalg.norm(centred, axis=1)
    size = spread_y[:, None] * spread_x[None, :]
    r = np.divide(np.asarray((weights @ centred.T).T), size, out=np.zeros_like(size), where=size > 0)
    t = r * np.sqrt((n - 2) / ((1 - r + TINY) * (1 + r + TINY)))
    p = 2 * stats.t.sf(np.abs(t), n - 2)
    p = np.vstack([stats.false_discovery_control(row) for row in p]) if len(names) else p
    return pd.DataFrame(t, changes.index, names), pd.DataFrame(p, changes.index, names)


def _weights(genes: list[str], network: Network, least: int) -> tuple[list[str], sparse.csr_matrix]:
    """Return the programs with enough genes in the data, and their weights, csr [programs, genes]."""
    exact = {g: i for i, g in enumerate(genes)}
    folded = {g.casefold(): i for g, i in reversed(exact.items())}
    names: list[str] = []
    rows: list[dict[int, float]] = []
    best = 0
    for name, members in network.items():
        found = {}
        for gene, weight in members.items():
            at = exact.get(gene, folded.get(gene.casefold()))
            if at is not None and weight:
                found[at] = float(weight)
        best = max(best, len(found))
        if len(found) >= least:
            names.append(name)
            rows.append(found)
    if not names:
        raise ScdiffError("No program can be told.",
                          f"Of {len(network):,} gene sets none has {least} genes in this data (the best has {best}).",
                          "Bring gene sets of the same organism, or prepare the data with more genes.")
    which = [i for i, found in enumerate(rows) for _ in found]
    columns = [c for found in rows for c in found]
    values = [v for found in rows for v in found.values()]
    return names, sparse.csr_matrix((values, (which, columns)), shape=(len(names), len(genes)))


def table(t: pd.DataFrame, p: pd.DataFrame) -> pd.DataFrame:
    """Return activities as one row a perturbation and program: perturbation, program, activity, pval_adj."""
    long = t.rename_axis("perturbation").reset_index().melt("perturbation", var_name="program", value_name="activity")
    sure = p.rename_axis("perturbation").reset_index().melt("perturbation", var_name="program", value_name="pval_adj")
    return long.assign(pval_adj=sure["pval_adj"]).sort_values(
        ["perturbation", "activity"], key=lambda c: -c.abs() if c.name == "activity" else c, ignore_index=True)
