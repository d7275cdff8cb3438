"""Which regulators are more, or less, active in designed cells than in those at the start: hypotheses, not causes.

For data without perturbations. Regulons (DoRothEA, CollecTRI, or a table of one's own) come from a file; nothing is
fetched. The figures are those of decoupleR's univariate linear model (see `analysis.perturb.programs`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from scdiff_core.analysis.perturb import programs
from scdiff_core.errors import ScdiffError

WORDS = "Hypotheses from observation, not causes: a regulator may follow from what changes these cells."
SURE = 0.05
RAISE, LOWER, UNSURE = "more active in the designed cells", "less active in the designed cells", "no clear difference"
COLUMNS = ("rank", "regulator", "activity", "pval_adj", "reading", "n_targets", "own_change", "targets")
SHOWN = 5


def read(paths: Sequence[Path | str]) -> dict[str, dict[str, float]]:
    """Return the regulons of one file or several (tables of source, target and weight; or .gmt, all weights 1).

    Raises
    ------
    ScdiffError
        No file is given, one is missing or is no such table, or none has a regulon.
    """
    if not paths:
        raise ScdiffError("There are no regulons.", "No file of them is given.",
                          "Bring a table of regulator, target and weight, for example DoRothEA or CollecTRI.")
    out: dict[str, dict[str, float]] = {}
    for path in map(Path, paths):
        try:
            text = path.expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise ScdiffError(f"'{path}' cannot be read.", "There is no such file, or it is no text.",
                              "Check the path.") from None
        if path.name.endswith(".gmt"):
            from scdiff_core.analysis.gene_sets import read_gmt

            out |= programs.from_sets(read_gmt(text))
        else:
            out |= programs.read_regulons(text)
    if not out:
        raise ScdiffError("There are no regulons.", "The file has no row with a regulator and a target.",
                          "Bring a table of regulator, target and weight, for example DoRothEA or CollecTRI.")
    return out


def rank(wanted: np.ndarray, genes: Sequence[str], network: Mapping[str, Mapping[str, float]],
         least: int = programs.LEAST) -> pd.DataFrame:
    """Return regulators by how much their activity differs between designed cells and the start, the clearest first.

    Parameters
    ----------
    wanted
        Mean of the designed cells less that of the cells at the start, log1p [G].
    least
        Regulators with fewer targets in the data are left out.

    Returns
    -------
    Columns rank, regulator, activity (t of the slope: above 0 more active in the designed cells), pval_adj, reading (in
    words), n_targets, own_change (of the regulator's own transcript, log1p; NaN where it is not measured) and targets
    (the few that speak most for it).

    Raises
    ------
    ScdiffError
        No regulator has enough targets in the data, or nothing changes.
    """
    change = np.asarray(wanted, float)
    if not np.abs(change).max() > 1e-9:
        raise ScdiffError("There is no change to look for.", "The cells are at the start as they are to be.",
                          "Choose other cells to start from, or another design.")
    names = [str(g) for g in genes]
    t, p = programs.activity(pd.DataFrame([change], ["designed"], names), network, least)
    place = {g.casefold(): i for i, g in reversed(list(enumerate(names)))}
    rows = []
    figures = zip(t.columns, t.to_numpy(float)[0].tolist(), p.to_numpy(float)[0].tolist(), strict=True)
    for name, value, sure in figures:
        at = {place[g.casefold()]: w for g, w in network[name].items() if g.casefold() in place and w}
        speak = sorted(at, key=lambda i: -np.sign(value) * at[i] * change[i])[:SHOWN]
        own = place.get(name.casefold())
        rows.append({"regulator": name, "activity": value, "pval_adj": sure,
                     "reading": UNSURE if sure > SURE else RAISE if value > 0 else LOWER, "n_targets": len(at),
                     "own_change": float("nan") if own is None else float(change[own]),
                     "targets": " ".join(names[i] for i in speak)})
    table = pd.DataFrame(rows).sort_values("activity", key=lambda c: -c.abs(), kind="stable", ignore_index=True)
    return table.assign(rank=np.arange(1, len(table) + 1))[list(COLUMNS)]
