"""Regulons from the internet, where somebody asks for them: CollecTRI and DoRothEA. Nothing else here goes online.

The tables are those that decoupler takes (`decoupler.op.collectri`, `.dorothea`), of human genes, without installing
it: as source, target and weight, where the regulators of an analysis are read from (`regulators.read`).
"""

from __future__ import annotations

import csv
import io
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scdiff_core.analysis.perturb import programs
from scdiff_core.errors import ScdiffError, nearest
from scdiff_core.workspace import write_text

TIMEOUT, LARGEST = 60, 100 * 2**20  # s without a byte; bytes
LEVELS = ("A", "B", "C")  # of DoRothEA's confidence; the weight is the sign over 1, 2 and 3
YES = ("1", "true")
Open = Callable[..., Any]  # as `urllib.request.urlopen`


@dataclass(frozen=True)
class Source:
    """A collection of regulons: where it is, and what has to be said of it."""

    name: str
    url: str
    host: str
    about: str


SOURCES = {source.name: source for source in (
    Source("CollecTRI", "https://zenodo.org/records/8192729/files/CollecTRI_regulons.csv?download=1", "zenodo.org",
           "curated regulons of about 1,200 human transcription factors (Müller-Dott et al. 2023)"),
    Source("DoRothEA", "https://omnipathdb.org/interactions/?genesymbols=1&datasets=dorothea&dorothea_levels="
           f"{','.join(LEVELS)}&fields=dorothea_level&license=academic", "omnipathdb.org",
           "human regulons of confidence A to C (Garcia-Alonso et al. 2019); for academic use"))}


def download(name: str, folder: Path, open_url: Open | None = None) -> tuple[Path, int]:
    """Fetch a collection into a folder as NAME.tsv; returns the file and how many regulators it has.

    Raises
    ------
    ScdiffError
        There is no such collection, its host cannot be reached, or what it sends is no such table.
    """
    known = {n.casefold(): s for n, s in SOURCES.items()}
    source = known.get(name.casefold())
    if source is None:
        raise ScdiffError(f"There are no regulons '{name}' to download.", nearest(name, SOURCES) or
                          f"Known are {' and '.join(SOURCES)}.", "Bring a table of regulator, target and weight.")
    text = _fetch(source, open_url or urllib.request.urlopen)
    try:
        network = _dorothea(text) if source.name == "DoRothEA" else programs.read_regulons(text)
        network = {tf: {g: w for g, w in targets.items() if w} for tf, targets in network.items()}
    except (ScdiffError, KeyError, ValueError):
        network = {}
    if not network:
        raise ScdiffError(f"{source.name} could not be used.", f"What {source.host} sent is no table of regulons.",
                          _by_hand(source))
    lines = ["source\ttarget\tweight", *(f"{tf}\t{gene}\t{weight:.6g}" for tf, targets in network.items()
                                         for gene, weight in targets.items())]
    path = folder / f"{source.name}.tsv"
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, "\n".join(lines) + "\n")
    return path, len(network)


def _fetch(source: Source, open_url: Open) -> str:
    asked = urllib.request.Request(source.url, headers={"User-Agent": "scDiff-Studio"})
    try:
        with open_url(asked, timeout=TIMEOUT) as answer:
            data = answer.read(LARGEST + 1)
    except OSError as error:  # also no name, no route, a refusal, a time that is up
        why = getattr(error, "reason", None) or error
        raise ScdiffError(f"{source.name} could not be downloaded.",
                          f"{source.host} cannot be reached from here ({why}).", _by_hand(source)) from None
    return str(data[:LARGEST].decode("utf-8", "replace"))


def _by_hand(source: Source) -> str:
    return f"Try again later, or open {source.url} where there is internet, and bring the file as gene sets."


def _dorothea(text: str) -> dict[str, dict[str, float]]:
    """Return regulons of OmniPath's table: +1 or -1 over the rank of the confidence, the best where a pair has two."""
    found: dict[tuple[str, str], tuple[int, float]] = {}
    for row in csv.DictReader(io.StringIO(text), delimiter="\t"):
        level = LEVELS.index(row["dorothea_level"].split(";")[0]) + 1
        up, down = (row[k].casefold() in YES for k in ("is_stimulation", "is_inhibition"))
        sign = -1 if down and not (up and row["consensus_stimulation"].casefold() in YES) else 1
        pair = row["source_genesymbol"], row["target_genesymbol"]
        if all(pair) and (pair not in found or level < found[pair][0]):
            found[pair] = level, sign / level
    out: dict[str, dict[str, float]] = {}
    for (tf, gene), (_, weight) in found.items():
        out.setdefault(tf, {})[gene] = weight
    return out
