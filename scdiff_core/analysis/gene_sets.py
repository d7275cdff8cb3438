"""Gene sets: reading them from a .gmt file, and how strongly each cell shows one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from scdiff_core.analysis.markers import find_genes
from scdiff_core.errors import ScdiffError, nearest

BINS = 25  # of genes by their mean, from which the genes to compare with are drawn (scanpy's)
FIX = ("Take a .gmt file, for example from MSigDB: each line has the name of a set, a description and the genes, "
       "with tabs between them.")
HTML = ("<!doctype", "<html", "<?xml", "<head", "<body")


def decode_gmt(data: bytes) -> dict[str, tuple[str, ...]]:
    """Return the gene sets of an uploaded .gmt file; raises `ScdiffError` where it is none."""
    try:
        return read_gmt(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        packed = data.startswith((b"\x1f\x8b", b"PK"))
        raise ScdiffError("The gene sets cannot be read.",
                          "The file is packed (.gz or .zip)." if packed else "The file is no text, so no .gmt.",
                          "Unpack it first." if packed else FIX) from None


def read_gmt(text: str) -> dict[str, tuple[str, ...]]:
    """Return the gene sets of a .gmt text, name -> genes, each gene once, in the order of the file.

    Raises
    ------
    ScdiffError
        It is no .gmt: binary, a web page, a table with commas, a line without genes, a name that stands twice.
    """
    text = text.removeprefix("\ufeff")
    lines = [(i, line) for i, line in enumerate(text.splitlines(), 1) if line.strip()]
    reason = ""
    if "\0" in text or text.count("\ufffd") > len(text) // 100 + 1:
        reason = "The file is no text, so no .gmt."
    elif not lines:
        reason = "The file is empty."
    elif lines[0][1].lstrip().casefold().startswith(HTML):
        reason = "It is a web page, not the file that the page offers."
    elif "\t" not in lines[0][1]:
        by = next((word for sign, word in ((",", "commas"), (";", "semicolons"), (" ", "spaces"))
                   if sign in lines[0][1].strip()), "")
        reason = f"Line {lines[0][0]} has no tab" + (f" (but {by})" if by else "") + "."
    if reason:
        raise ScdiffError("The gene sets cannot be read.", reason, FIX)
    sets: dict[str, tuple[str, ...]] = {}
    for number, line in lines:
        name, *rest = (part.strip() for part in line.split("\t"))
        genes = tuple(dict.fromkeys(gene for gene in rest[1:] if gene))
        if not name or not genes:
            why = f"Line {number} has no name." if not name else \
                f"Line {number} ('{name[:60]}') has no genes after the name and the description."
            raise ScdiffError("The gene sets cannot be read.", why, FIX)
        if sets.get(name, genes) != genes:
            raise ScdiffError("The gene sets cannot be read.",
                              f"Two sets are named '{name[:60]}' (the second one in line {number}).",
                              "Give one of them another name.")
        sets[name] = genes
    return sets


def score(log1p: Any, genes: np.ndarray, wanted: list[str] | tuple[str, ...], seed: int = 0) -> np.ndarray:
    """Return how strongly each cell shows a set of genes; float64 [N].

    By `scanpy.tl.score_genes`: the mean of the set minus that of genes drawn from those of like expression. Scores
    of cells that were scored apart are not on one scale: put them into one matrix.

    Parameters
    ----------
    log1p
        Cells [N, G], natural log1p.
    genes
        Names [G].
    wanted
        The set, in any case (`markers.find_genes` tells which are found); unknown genes are left out.
    seed
        Of the draw.

    Raises
    ------
    ScdiffError
        None of the genes is known, or no other gene is left to compare with.
    """
    import anndata
    import scanpy as sc

    genes = np.asarray(genes).astype(str)
    found, _ = find_genes(list(wanted), genes)
    if not found:
        first = next((w for w in map(str.strip, wanted) if w), "")
        raise ScdiffError("The gene set cannot be scored.",
                          f"None of its {len(wanted):,} genes is in the data. "
                          + (nearest(first, genes) if first else ""),
                          "Choose a set of the same organism, or prepare the data with all genes.")
    names = [str(i) for i in range(len(genes))]  # gene names may stand twice
    position = dict(zip(genes[::-1], names[::-1], strict=True))
    x = sparse.csr_matrix(log1p, dtype=np.float32)
    cells = anndata.AnnData(x, obs=pd.DataFrame(index=[str(i) for i in range(x.shape[0])]),
                            var=pd.DataFrame(index=pd.Index(names)))
    bins = int(min(BINS, max(2, len(genes) // 2)))  # fewer genes than bins would leave bins without any
    state = np.random.get_state()  # noqa: NPY002 - scanpy draws from this one and seeds it
    try:
        sc.tl.score_genes(cells, [position[gene] for gene in found], n_bins=bins, random_state=seed, use_raw=False)
    except RuntimeError as error:
        raise ScdiffError("The gene set cannot be scored.",
                          f"With {len(found):,} of {len(genes):,} genes in the set, no gene of like expression is left "
                          "to compare with.", "Choose a smaller set, or prepare the data with more genes.") from error
    finally:
        np.random.set_state(state)  # noqa: NPY002
    return cells.obs["score"].to_numpy(np.float64)
