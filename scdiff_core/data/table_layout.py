"""How a text table is laid out, found out from its first lines: separator, header, row names and what its rows are."""

from __future__ import annotations

import csv
import itertools
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from scdiff_core.data.gene_ids import ENSEMBL, fold
from scdiff_core.data.stores import damaged
from scdiff_core.data.table_text import encoding_of, open_text
from scdiff_core.errors import ScdiffError

HEAD_LINES = 60
MOST_HEAD = 256_000_000  # bytes of the first lines: more is no table
MISSING = {"", "na", "nan", "n/a", "null", "none", "-nan", "#n/a"}
GENE_WORDS = {"gene", "genes", "genename", "genenames", "genesymbol", "genesymbols", "symbol", "geneid", "geneids",
              "ensembl", "ensemblid", "ensemblgeneid", "ensg", "feature", "features", "hgnc", "hgncsymbol"}
CELL_WORDS = {"cell", "cells", "cellid", "cellids", "cellname", "cellnames", "barcode", "barcodes", "cellbarcode",
              "sample", "samples", "sampleid", "well", "obs", "obsnames"}
INDEX_WORDS = GENE_WORDS | CELL_WORDS | {"", "index", "id", "ids", "name", "names", "it", "row", "rownames", "unnamed0"}
BARCODE = re.compile(r"(?:.*[_:.\-#])?[ACGTN]{8,}(?:[-_.].*)?")
GENE_STEMS = {"gene", "genes", "g", "feature", "var", "ensg"}
SYMBOL = re.compile(r"(?:MT|mt|HLA|H2|Rp[ls]|RP[LS])-?[A-Z0-9]\w*|[A-Z][A-Z0-9]{1,9}(?:[-.][A-Z0-9.]+)*"
                    r"|[A-Z][a-z][a-z0-9]{0,9}(?:-[A-Za-z0-9]+)*|C\d+orf\d+|Pu\.1|cJun|[A-Z]{2}\w*[Rr]ik")
Orientation = Literal["cells_in_rows", "genes_in_rows"]


@dataclass(frozen=True)
class Layout:
    """How a table is laid out.

    Attributes
    ----------
    separator
        The pandas separator; `\\s+` for any run of blanks.
    decimal
        '.' or ','.
    skip
        Lines before the first line of values: comments and the header.
    columns
        Names of the value columns (made up where there is no header).
    index
        Whether the first column holds the names of the rows.
    orientation, reason
        What the rows are, and by what it was recognised.
    n_columns
        Fields in a line of values, with the row names.
    """

    separator: str
    decimal: str
    skip: int
    columns: tuple[str, ...] = field(repr=False)
    index: bool
    orientation: Orientation
    reason: str
    n_columns: int

    @property
    def separator_name(self) -> str:
        """The separator in words."""
        return {",": "comma", "\t": "tab", ";": "semicolon", r"\s+": "blanks"}[self.separator]


def _head(path: Path, encoding: str) -> list[str]:
    lines: list[str] = []
    size = 0
    with open_text(path, encoding) as text:
        while len(lines) < HEAD_LINES:
            line = text.readline(MOST_HEAD)
            size += len(line)
            if size >= MOST_HEAD:
                raise damaged(path, "its first lines do not end")
            if not line:
                break
            lines.append(line.rstrip("\r\n"))
    return lines


def _split(line: str, separator: str) -> list[str]:
    if separator == r"\s+":
        return line.split()
    return [f.strip() for f in next(csv.reader([line], delimiter=separator), [])]


def _separator(lines: Sequence[str]) -> str | None:
    """Return the separator that cuts most lines into the same number of fields, more than one."""
    best, best_score = None, (0.0, 0)
    for separator in ("\t", ",", ";", r"\s+"):
        sizes = [len(_split(line, separator)) for line in lines]
        common = max(set(sizes), key=sizes.count)
        share = sizes.count(common) / len(sizes)
        fields = [f for line in lines[1:20] for f in _split(line, separator)[1:21]]
        numbers = sum(is_number(f) for f in fields) / max(1, len(fields))
        if common > 1 and (share * (0.2 + numbers), common) > best_score:
            best, best_score = separator, (share * (0.2 + numbers), common)
    return best


def is_number(text: str, decimal: str = ".") -> bool:
    """Say whether a field holds a number, or says that there is none."""
    if text.casefold() in MISSING:
        return True
    try:
        float(text.replace(decimal, ".") if decimal == "," else text)
    except ValueError:
        return False
    return True


def _is_value(text: str, decimal: str) -> bool:
    return text != "" and text.casefold() not in MISSING and is_number(text, decimal)


def _has_index(rows: list[list[str]], names: list[str] | None, decimal: str) -> bool:
    """Say whether the first column names the rows: by its title, its text, or as a running number."""
    first = [r[0] for r in rows]
    if names is not None and len(names) == len(rows[0]) - 1:
        return True
    if not all(is_number(v, decimal) for v in first):
        return True
    if names is not None and len(names) == len(rows[0]) and fold(names[0]) in INDEX_WORDS:
        return True
    if len(rows[0]) < 3 or not all(re.fullmatch(r"\d+", v) for v in first):
        return False
    run = [int(v) for v in first]
    return len(run) > 2 and run[0] in (0, 1) and all(b - a == 1 for a, b in itertools.pairwise(run))


def _score(names: Sequence[str]) -> tuple[float, float]:
    """Return how much names look like genes and like cells, each 0 to 1."""
    names = [n for n in names if n][:5000]
    if not names:
        return 0.0, 0.0
    n = len(names)
    ensembl = sum(ENSEMBL.fullmatch(x) is not None for x in names) / n
    barcode = sum(BARCODE.fullmatch(x) is not None or x.isdigit() for x in names) / n
    stems = [re.sub(r"[\d_.\-]+$", "", x) for x in names]
    # 'cell_1, cell_2, ...' or 'A1 ... H12': few stems, many numbers
    few = len(set(stems)) <= max(1, n / 12) and n >= 4
    stem = max(set(stems), key=stems.count)
    numbered = 1.0 if few and stem.casefold() not in GENE_STEMS else 0.0
    made_up = 1.0 if few and stem.casefold() in GENE_STEMS else 0.0
    symbols = sum(SYMBOL.fullmatch(x) is not None and BARCODE.fullmatch(x) is None for x in names) / n
    known = sum(re.fullmatch(r"(?:MT-|RP[LS]\d)\w*|ACTB|GAPDH|B2M|MALAT1|CD\d+\w?|TP53", x, re.I) is not None
                for x in names)
    gene = max(ensembl, made_up, 0.0 if numbered else 0.7 * symbols, 0.95 if known >= 3 else 0.0)
    return gene, max(barcode, 0.8 * numbered)


def guess_orientation(columns: Sequence[str], rows: Sequence[str], title: str, named: bool) -> tuple[Orientation, str]:
    """Return what the rows of a table are, and the reason in words.

    `columns` and `rows` are names, `title` heads the column of row names, `named` says whether the names
    are the file's own.
    """
    if fold(title) in GENE_WORDS:
        return "genes_in_rows", f"the row names are headed '{title}'"
    if fold(title) in CELL_WORDS:
        return "cells_in_rows", f"the row names are headed '{title}'"
    if named:
        (column_gene, column_cell), (row_gene, row_cell) = _score(columns), _score(rows)
        lead = (column_gene + row_cell) - (row_gene + column_cell)
        if abs(lead) > 0.15:
            genes, cells = (columns, rows) if lead > 0 else (rows, columns)
            where = "columns" if lead > 0 else "rows"
            by_gene = max(column_gene, row_gene) >= max(column_cell, row_cell)
            example = (genes if by_gene else cells)[:3]
            what = "genes" if by_gene else "cells"
            place = where if by_gene else ("rows" if where == "columns" else "columns")
            return ("cells_in_rows" if lead > 0 else "genes_in_rows",
                    f"the names of the {place} look like {what} ({', '.join(example)})")
    return "cells_in_rows", "the names do not tell, and one cell a line is the common way"


def detect(path: Path, orientation: Orientation | None = None) -> Layout:
    """Find out how a table is laid out from its first lines.

    Raises
    ------
    ScdiffError
        The file is empty, binary, or has no columns.
    """
    encoding = encoding_of(path)
    try:
        lines = _head(path, encoding)
    except (OSError, EOFError, zlib.error) as error:
        raise damaged(path, error) from error
    comments = 0
    while comments < len(lines) and (lines[comments].lstrip().startswith(("#", "%")) or not lines[comments].strip()):
        comments += 1
    body = [line for line in lines[comments:] if line.strip()]
    if not body:
        raise ScdiffError(f"'{path.name}' is empty.", "It has no line of values.",
                          "Choose the table that holds the expression values.")
    separator = _separator(body)
    if separator is None:
        raise ScdiffError(f"'{path.name}' is not a table that can be read.",
                          "Its lines are not cut into columns by commas, tabs, semicolons or blanks.",
                          "Export it as .csv, with one line a cell or a gene.")
    split = [_split(line, separator) for line in body]
    decimal = "."
    if separator != ",":
        values = [f for r in split[1:] for f in r[1:]]
        comma = sum(re.fullmatch(r"-?\d+,\d+", f) is not None for f in values)
        decimal = "," if comma > 0.02 * len(values) and not any(re.fullmatch(r"-?\d+\.\d+", f) for f in values) else "."
    names: list[str] | None = None
    title, header = "", 0
    sizes = [len(r) for r in split[1:] or split]
    width = max(set(sizes), key=sizes.count)
    if not all(_is_value(f, decimal) for f in split[0][1:]) or (split[0][0] == "" and len(split) > 1):
        names, header = split[0], 1
    elif comments and len(split) > 1:
        # a header may be the last comment, as in '# it Gata2 Gata1'
        last = _split(lines[comments - 1].lstrip("#% "), separator)
        if len(last) in (width, width - 1) and not all(_is_value(f, decimal) for f in last):
            names = last
    rows = split[header:]
    if not rows:
        raise ScdiffError(f"'{path.name}' has no values.", "There is a header but no line below it.",
                          "Choose the table that holds the expression values.")
    rows = [r for r in rows if len(r) == width] or rows
    index = _has_index(rows, names, decimal)
    n_values = width - int(index)
    if names is not None and len(names) == width and index:
        title, names = names[0], names[1:]
    columns = tuple(names) if names is not None else tuple(f"column_{i}" for i in range(n_values))
    if len(columns) != n_values:
        # a trailing separator on the header or on the lines
        if len(columns) == n_values + 1 and columns[-1] == "":
            columns = columns[:-1]
        else:
            raise ScdiffError(f"'{path.name}' cannot be read.",
                              f"Its header has {len(columns) + int(bool(title))} names, its lines {width} values.",
                              "Put the header right, so that each column has one name.")
    guessed, reason = guess_orientation(columns, [r[0] for r in rows] if index else [], title, names is not None)
    if orientation:
        guessed, reason = orientation, "as chosen"
    return Layout(separator, decimal, comments + header + sum(not s.strip() for s in lines[comments:comments + header]),
                  columns, index, guessed, reason, width)
