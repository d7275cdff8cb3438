"""Which programs differ between designed cells and real ones: those of the target, and any gene sets at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scdiff_core.analysis.gene_sets import read_gmt
from scdiff_core.analysis.perturb import programs
from scdiff_core.errors import ScdiffError

FOLDER = "gene_sets"  # in the workspace
SHOWN = 50  # besides those that the target asks for


def of_folder(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return every gene set of a folder's .gmt files, name -> genes; a file that cannot be read is left out."""
    found: dict[str, tuple[str, ...]] = {}
    for path in sorted(folder.glob("*.gmt")):
        try:
            found |= read_gmt(path.read_text(encoding="utf-8"))
        except (ScdiffError, OSError, UnicodeDecodeError):
            continue
    return found


def compare(designed: np.ndarray, reference: np.ndarray, genes: Sequence[str], asked: Mapping[str, Sequence[str]],
            sets: Mapping[str, Sequence[str]] | None = None, most: int = SHOWN) -> tuple[dict[str, Any], ...]:
    """Return programs with their levels in designed and in real cells, those of the target first, then the clearest.

    Parameters
    ----------
    designed, reference
        Mean of log1p over the cells of either side, [G].
    asked, sets
        Program -> genes: of the target, and others to be looked at. A set with fewer than
        `analysis.perturb.programs.LEAST` genes in the data is left out, unless the target asks for it.

    Returns
    -------
    program, asked, n_genes, designed and reference (log1p, the mean of its genes), activity (t of the univariate linear
    model, as decoupler's) and pval_adj (Benjamini-Hochberg over all); None where too few genes are measured.
    """
    names, place = [str(g) for g in genes], {str(g): i for i, g in enumerate(genes)}
    every = {**(sets or {}), **asked}
    t, p = _activity(designed - reference, names, every)
    found: list[dict[str, Any]] = []
    for name, members in every.items():
        at = [place[g] for g in members if g in place]
        if at and (name in asked or name in t):
            found.append({"program": name, "asked": name in asked, "n_genes": len(at),
                          "designed": float(designed[at].mean()), "reference": float(reference[at].mean()),
                          "activity": t.get(name), "pval_adj": p.get(name)})
    found.sort(key=lambda row: (not row["asked"], -abs(row["activity"] or 0.0)))
    return tuple(found[:len(asked) + most])


def _activity(change: np.ndarray, names: list[str], sets: Mapping[str, Sequence[str]],
              ) -> tuple[dict[str, float], dict[str, float]]:
    """Return activity and adjusted p by program; nothing where no set has enough genes."""
    network = programs.from_sets({name: tuple(members) for name, members in sets.items()})
    try:
        t, p = programs.activity(pd.DataFrame([change], ["designed"], names), network)
    except ScdiffError:
        return {}, {}
    return ({str(k): float(v) for k, v in t.iloc[0].items()}, {str(k): float(v) for k, v in p.iloc[0].items()})
