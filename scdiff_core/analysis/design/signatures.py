"""Small molecules by a user's table of signatures (gene × drug): whose change is most like the one that is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from scdiff_core.errors import ScdiffError, nearest

LEAST = 20  # genes that table and data must share
ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".parquet")
WORDS = "Likeness of signatures, not a prediction for these cells: a drug's table was measured in others."


def read(path: Path | str, genes: Sequence[str]) -> pd.DataFrame:
    """Return a table of signatures as genes × drugs float64, for the genes [G] that it shares with the data.

    Genes may stand in the rows (in the first column, or the index of a parquet file) or in the columns; they are
    matched by name, in any case where no gene is written exactly so.

    Raises
    ------
    ScdiffError
        The file cannot be read, has text, missing or infinite values, a gene or drug twice, fewer than 20 genes of the
        data, or a drug that changes nothing.
    """
    table = _table(Path(path).expanduser())
    name = Path(path).name
    rows, columns = (_matched(list(map(str, names)), genes) for names in (table.index, table.columns))
    if len(columns) > len(rows):
        table, rows = table.T, columns
    if len(rows) < LEAST:
        first = str(table.index[0]) if len(table.index) else ""
        raise ScdiffError(f"The signatures in '{name}' do not go with this data.",
                          f"Of its {len(table.index):,} rows {len(rows)} are genes of the data; {LEAST} are the least. "
                          + nearest(first, genes),
                          "Bring a table of genes × drugs with the gene names of the data (symbols, not Ensembl ids, "
                          "if the data has symbols).")
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise ScdiffError(f"The signatures in '{name}' cannot be used.", f"The drug '{twice[0]}' stands there twice.",
                          "Give every column a name of its own.")
    kept = table.iloc[[at for at, _ in rows]]
    values = kept.apply(pd.to_numeric, errors="coerce").to_numpy(float)
    if not np.isfinite(values).all():
        gene, drug = (int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise ScdiffError(f"The signatures in '{name}' cannot be used.",
                          f"The value of '{kept.index[gene]}' for '{kept.columns[drug]}' is missing, no number or "
                          f"infinite, and so are {int((~np.isfinite(values)).sum()) - 1:,} more.",
                          "Fill them in, or take these genes or drugs out of the table.")
    found = pd.DataFrame(values, [genes[g] for _, g in rows], kept.columns.astype(str))
    flat = found.columns[(found.to_numpy() == found.to_numpy()[:1]).all(axis=0)]
    if len(flat):
        raise ScdiffError(f"The signatures in '{name}' cannot be used.",
                          f"The drug '{flat[0]}' has the same value for every gene.", "Take it out of the table.")
    return found


def _table(path: Path) -> pd.DataFrame:
    if not path.name.endswith(ENDINGS):
        raise ScdiffError(f"'{path.name}' cannot be read as signatures.", "Its ending says no table.",
                          "Use .csv, .tsv or .parquet.")
    try:
        if path.name.endswith(".parquet"):
            table = pd.read_parquet(path)
            first = table.columns[0] if len(table.columns) else None
            named = first is not None and not pd.api.types.is_numeric_dtype(table[first])
            return table.set_index(first) if named else table
        separator = "," if ".csv" in path.name else "\t"
        table = pd.read_csv(path, sep=separator, index_col=0)
        names = pd.read_csv(path, sep=separator, header=None, nrows=1, dtype=str).iloc[0, 1:]
        return table.set_axis(names.tolist(), axis=1)  # pandas gives a second drug of a name another one
    except FileNotFoundError:
        raise ScdiffError(f"'{path}' cannot be read.", "There is no such file.", "Check the path.") from None
    except (OSError, ValueError, ImportError) as error:
        raise ScdiffError(f"'{path.name}' cannot be read as signatures.",
                          f"It is damaged, or no table ({str(error).splitlines()[0][:120]}).",
                          "Save it again as .csv with genes in the first column and one column a drug.") from None


def _matched(names: Sequence[str], genes: Sequence[str]) -> list[tuple[int, int]]:
    """Return (place among the names, place among the genes) of those that both have; refuses a gene twice."""
    exact = {str(g): i for i, g in enumerate(genes)}
    folded = {g.casefold(): i for g, i in reversed(exact.items())}
    found: dict[int, int] = {}
    for at, name in enumerate(names):
        gene = exact.get(name.strip(), folded.get(name.strip().casefold()))
        if gene is None:
            continue
        if gene in found:
            raise ScdiffError("The signatures cannot be used.", f"The gene '{genes[gene]}' stands there twice.",
                              "Join its rows, for example by their mean.")
        found[gene] = at
    return [(at, gene) for gene, at in found.items()]


def score(table: pd.DataFrame, wanted: pd.Series) -> pd.DataFrame:
    """Return drugs by how much their signature is like the wanted change: rank, drug, cosine, rank_score, n_genes.

    Parameters
    ----------
    table
        Genes × drugs, as `read` gives it: log fold changes or z scores; each drug's scale does not matter.
    wanted
        The change of the mean that is wanted of each gene, log1p, by gene name.

    Notes
    -----
    `cosine` is of the values, `rank_score` Spearman's correlation; both 1 (does just that) to -1 (the opposite). Sorted
    by the mean of the two.
    """
    from scipy import stats  # half a second, which pages without signatures need not wait for

    change = wanted.reindex(table.index).to_numpy(float)
    if not np.abs(change).max() > 1e-9:
        raise ScdiffError("There is no change to look for.", "The cells are at the start as they are to be.",
                          "Choose other cells to start from, or another design.")
    x = table.to_numpy(float)
    cosine = change @ x / np.maximum(np.linalg.norm(x, axis=0) * np.linalg.norm(change), 1e-12)
    ranked, goal = stats.rankdata(x, axis=0), stats.rankdata(change)
    ranked, goal = ranked - ranked.mean(axis=0), goal - goal.mean()
    rank_score = goal @ ranked / np.maximum(np.linalg.norm(ranked, axis=0) * np.linalg.norm(goal), 1e-12)
    out = pd.DataFrame({"drug": table.columns, "cosine": cosine, "rank_score": rank_score, "n_genes": len(table)})
    out = out.assign(both=(cosine + rank_score) / 2).sort_values("both", ascending=False, kind="stable",
                                                                ignore_index=True).drop(columns="both")
    return out.assign(rank=np.arange(1, len(out) + 1))[["rank", "drug", "cosine", "rank_score", "n_genes"]]
