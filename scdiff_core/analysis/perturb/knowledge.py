"""Files that relate perturbations to one another, checked before anything is learnt with them.

A training reads them at its very end: what is wrong with one has to be told at its beginning, or where it is brought.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from scdiff_core import keys
from scdiff_core.analysis.gene_sets import decode_gmt
from scdiff_core.analysis.perturb import embeddings
from scdiff_core.data.perturbations import parse_all
from scdiff_core.errors import ScdiffError

REGULONS = "Give a table with the columns tf (or source), target and, if known, mor (or weight)."


def names_in(path: Path, regulons: bool = False) -> set[str]:
    """Return the names that a file of gene sets, regulons or vectors knows, in small letters.

    Raises
    ------
    ScdiffError
        It cannot be read, is not what its ending says, or cannot be used (a row without a number, a name twice).
    """
    try:
        if path.suffix.lower() == ".gmt":
            return _of_sets(decode_gmt(path.read_bytes()))
        if regulons:
            return _of_regulons(path.read_bytes())
    except OSError:
        raise ScdiffError(f"'{path.name}' cannot be read.", "There is no such file.", "Check the path.") from None
    return {n.casefold() for n in embeddings.read_table(path).names}


def _of_sets(sets: dict[str, tuple[str, ...]]) -> set[str]:
    low, high = embeddings.SMALLEST, embeddings.LARGEST
    chosen = [genes for genes in sets.values() if low <= len(genes) <= high]
    if len(chosen) < 2:
        raise ScdiffError("The gene sets cannot be used.", f"{len(chosen)} of {len(sets)} sets have {low} to {high} "
                          "genes.", "Take a larger collection, for example GO or Reactome from MSigDB.")
    return {g.casefold() for genes in chosen for g in genes}


def _of_regulons(data: bytes) -> set[str]:
    what = "The regulons cannot be read."
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ScdiffError(what, "The file is no text.", REGULONS) from None
    try:
        table = pd.read_csv(io.StringIO(text), sep="\t" if "\t" in text.partition("\n")[0] else ",", dtype=str)
    except (pd.errors.ParserError, pd.errors.EmptyDataError):
        raise ScdiffError(what, "The file is empty." if not text.strip() else "It is no table with equally long rows.",
                          REGULONS) from None
    columns = {"tf" if c == "source" else c for c in table}
    lost = [c for c in ("tf", "target") if c not in columns]
    if lost:
        raise ScdiffError(what, f"The table has no column '{lost[0]}' (it has {', '.join(map(str, table))}).", REGULONS)
    source = "tf" if "tf" in table else "source"
    return {n.casefold() for c in (source, "target") for n in table[c].dropna()}


def check(config: Any, prepared: Any) -> None:
    """Check the files of a training (`config.PerturbConfig`) before it begins.

    Raises
    ------
    ScdiffError
        One of them cannot be used, or names nothing that was perturbed in the data.
    """
    wanted: set[str] | None = None
    for paths, regulons in ((config.gene_sets, False), (config.regulons, True), (config.tables, False)):
        for text in paths:
            path = Path(text).expanduser()
            found = names_in(path, regulons)
            wanted = wanted or _perturbed(prepared)
            if not found & wanted:
                raise ScdiffError(
                    f"Nothing can be learnt from '{path.name}'.",
                    f"None of its {len(found):,} names (such as {_some(found)}) is a perturbation of '{prepared.name}' "
                    f"(such as {_some(wanted)}).",
                    "Write the names as the data writes its genes or drugs (symbols, not Ensembl ids; the same "
                    "organism), or leave the file out.")


def _perturbed(prepared: Any) -> set[str]:
    """Return the parts and the targets of all perturbations of a dataset, in small letters."""
    labels: Iterable[str] = dict.fromkeys(prepared.labels(keys.PERTURBATION).tolist())
    read = parse_all([v for v in labels if v], prepared.roles.control).values()
    return {n.casefold() for p in read for n in (*p.parts, *p.targets)}


def _some(names: Collection[str]) -> str:
    few = sorted(names)[:3]
    return ", ".join(few) + (", …" if len(names) > len(few) else "")
