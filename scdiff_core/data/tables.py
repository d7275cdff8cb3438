"""Read text tables of expression, a bounded piece at a time."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from scdiff_core.data.stores import NOTES, damaged
from scdiff_core.data.table_layout import Layout, Orientation, detect, is_number
from scdiff_core.data.table_text import encoding_of, open_text
from scdiff_core.errors import ScdiffError

SUFFIXES = (".csv", ".tsv", ".txt", ".tab", ".csv.gz", ".tsv.gz", ".txt.gz", ".tab.gz")
CHUNK_VALUES = 8_000_000


def is_table(path: Path) -> bool:
    """Say whether the name is that of a text table."""
    return path.name.lower().endswith(SUFFIXES)


def _chunks(path: Path, layout: Layout, dtype: type) -> pd.io.parsers.TextFileReader:
    kinds = {i: (str if layout.index and i == 0 else dtype) for i in range(layout.n_columns)}
    rows = max(1, CHUNK_VALUES // max(1, layout.n_columns))
    return pd.read_csv(open_text(path, encoding_of(path)), sep=layout.separator, decimal=layout.decimal, header=None,
                       names=list(range(layout.n_columns)), skiprows=layout.skip, dtype=kinds, index_col=False,
                       chunksize=rows, skipinitialspace=layout.separator != r"\s+", engine="c",
                       keep_default_na=dtype is not str, na_values=None if dtype is str else ["None", "none", "na"])


def _first_text(path: Path, layout: Layout) -> ScdiffError:
    """Find the first value that is no number and name its column and row."""
    done = 0
    with _chunks(path, layout, str) as reader:
        for chunk in reader:
            for i in range(int(layout.index), layout.n_columns):
                values = chunk[i].fillna("").str.strip()
                bad = ~values.map(lambda v: is_number(v, layout.decimal)).astype(bool).to_numpy()
                if not bad.any():
                    continue
                row = int(np.flatnonzero(bad)[0])
                column = layout.columns[i - int(layout.index)]
                name = f"row '{chunk[0].iloc[row]}'" if layout.index else f"row {done + row + 1}"
                whole = bool(bad.all()) and len(chunk) > 1
                return ScdiffError(
                    f"'{path.name}' has text among its values.",
                    f"Column '{column}', {name} holds '{str(values.iloc[row])[:40]}'"
                    + (", and every other line of that column holds text too." if whole else "."),
                    f"Remove the column '{column}' from the table, and give labels in an .h5ad instead." if whole
                    else "Put a number there, or remove that line or column, and read the table again.")
            done += len(chunk)
    return ScdiffError(f"'{path.name}' cannot be read.", "A value in it is not a number.",
                       "Look for text among the values, and remove it.")


def read_table(path: Path, orientation: Orientation | None = None,
               progress: Callable[[str], None] | None = None) -> ad.AnnData:
    """Read a text table as csr float32 [N, G], a bounded piece at a time; missing values become NaN.

    Raises
    ------
    ScdiffError
        There is text among the values (says where), a line has too many fields, or the file is empty.
    """
    layout = detect(path, orientation)
    parts, names = [], []
    try:
        with _chunks(path, layout, np.float32) as reader:
            for chunk in reader:
                if layout.index:
                    names += [str(v) for v in chunk[0].fillna("")]
                parts.append(sp.csr_matrix(chunk.iloc[:, int(layout.index):].to_numpy(np.float32)))
                if progress:
                    progress(f"{sum(p.shape[0] for p in parts)} lines read")
    except pd.errors.ParserError as error:
        found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        why = (f"Line {found[2]} has {found[3]} fields, the lines before it have {found[1]}." if found
               else "Its lines cannot be cut into columns.")
        raise ScdiffError(f"'{path.name}' cannot be read.", why,
                          "Put that line right; a file that was cut off or edited by hand looks like this.") from error
    except (ValueError, OverflowError) as error:
        raise _first_text(path, layout) from error
    except (OSError, EOFError, zlib.error) as error:
        raise damaged(path, error) from error
    X = sp.vstack(parts, format="csr", dtype=np.float32)
    rows = names if layout.index else [f"row_{i}" for i in range(X.shape[0])]
    genes, cells = list(layout.columns), rows
    if layout.orientation == "genes_in_rows":
        genes, cells, X = cells, genes, X.T.tocsr()
    out = ad.AnnData(X, obs=pd.DataFrame(index=pd.Index(cells, dtype=str)),
                     var=pd.DataFrame(index=pd.Index(genes, dtype=str)))
    out.uns[NOTES] = [[
        "Cells in rows" if layout.orientation == "cells_in_rows" else "Genes in rows",
        f"{out.n_obs} cells and {out.n_vars} genes, because {layout.reason}; columns are cut by "
        f"{layout.separator_name}. Turn the table round if this is wrong."
        if layout.reason != "as chosen" else f"{out.n_obs} cells and {out.n_vars} genes, as chosen."]]
    return out
