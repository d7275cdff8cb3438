"""What the names of genes are: symbols or Ensembl ids, versioned or not, human or mouse."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

ENSEMBL = re.compile(r"ENS[A-Z]{0,5}G\d{9,12}(?:\.\d+)?(?:_PAR_Y)?", re.IGNORECASE)
VERSION = re.compile(r"\.\d+(?=$|_PAR_Y$)", re.IGNORECASE)

# var columns that hold symbols, the surest first; compared without case, dots, blanks and underscores
SYMBOL_COLUMNS = ("gene_symbols", "gene_symbol", "feature_name", "gene_name", "gene_names", "gene_short_name",
                  "symbol", "symbols", "hgnc_symbol", "mgi_symbol", "external_gene_name", "SYMBOL", "gene",
                  "genes", "name", "names", "original_gene_symbols")

SYMBOL, ENSEMBL_ID, ENSEMBL_VERSIONED, NUMBER = "symbols", "Ensembl ids", "Ensembl ids with version", "numbers"


def fold(name: object) -> str:
    """Return a name without case, blanks and punctuation, so that 'Cell Type' equals 'cell_type'."""
    return re.sub(r"[^a-z0-9]+", "", str(name).casefold())


def kind_of(names: pd.Index | np.ndarray | list[str]) -> str:
    """Return what most of the gene names are: symbols, Ensembl ids (with or without version) or numbers."""
    text = [str(n) for n in names]
    if not text:
        return SYMBOL
    ensembl = [n for n in text if ENSEMBL.fullmatch(n)]
    if len(ensembl) > len(text) / 2:
        versioned = sum(bool(VERSION.search(n)) for n in ensembl)
        return ENSEMBL_VERSIONED if versioned > len(ensembl) / 2 else ENSEMBL_ID
    if sum(re.fullmatch(r"\d+(\.0)?", n) is not None for n in text) > len(text) / 2:
        return NUMBER
    return SYMBOL


def strip_version(names: pd.Index) -> tuple[pd.Index, int]:
    """Return Ensembl names without their version ('ENSG00000141510.18' -> 'ENSG00000141510'), and how many had one.

    Names that are no Ensembl ids keep their dots ('RP11-34P13.7' is a symbol).
    """
    new = [VERSION.sub("", n) if ENSEMBL.fullmatch(n) else n for n in map(str, names)]
    changed = sum(a != b for a, b in zip(new, map(str, names), strict=True))
    return pd.Index(new, name=names.name), changed


def symbol_column(var: pd.DataFrame) -> str | None:
    """Return the var column that holds gene symbols (for names that are Ensembl ids), or None."""
    folded = {fold(c): str(c) for c in reversed(list(var.columns))}
    for name in SYMBOL_COLUMNS:
        column = folded.get(fold(name))
        if column is None or pd.api.types.is_numeric_dtype(var[column].dtype):
            continue
        values = var[column].dropna().astype(str)
        good = (values != "") & ~values.map(lambda v: ENSEMBL.fullmatch(v) is not None).astype(bool)
        if len(var) and good.sum() > len(var) / 2:
            return column
    return None


def species_of(names: pd.Index | np.ndarray | list[str]) -> str:
    """Return 'human', 'mouse' or '' by the spelling of the symbols or the prefix of the Ensembl ids."""
    text = [str(n) for n in names][:20_000]
    if kind_of(text) != SYMBOL:
        if sum(n.upper().startswith("ENSMUSG") for n in text) > len(text) / 2:
            return "mouse"
        return "human" if sum(n.upper().startswith("ENSG") for n in text) > len(text) / 2 else ""
    letters = [n for n in text if len(n) > 2 and n[0].isalpha()]
    if not letters:
        return ""
    upper = sum(n.upper() == n or "orf" in n for n in letters) / len(letters)
    title = sum(n[0].isupper() and n[1:].lower() == n[1:] and n[1:].upper() != n[1:] for n in letters) / len(letters)
    return "human" if upper > 0.7 else "mouse" if title > 0.6 else ""
