"""What the worker does for those who look at cells: differential expression, and scores of gene sets."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
import scipy.sparse as sp

from scdiff_core import __version__, keys
from scdiff_core import config as cfg
from scdiff_core.analysis import differential, gene_sets
from scdiff_core.analysis.markers import find_genes
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine import outputs
from scdiff_core.errors import ScdiffError
from scdiff_core.selection import REAL, check_source, unpack_rows
from scdiff_core.workspace import atomic_write, write_json

if TYPE_CHECKING:
    from scdiff_core.engine.worker import Service, Tell

TABLE, RECIPE = "table.csv", "recipe.json"


class Side(cfg.Frozen):
    """One of the two sets of cells: a source, and which of its cells (`pack_rows`; None: all)."""

    source: str = REAL
    rows: str | None = None


def compare(service: Service, tell: Tell, dataset: str, fingerprint: str, a: dict[str, Any], b: dict[str, Any],
            out_dir: str, names: dict[str, str] | None = None) -> dict[str, Any]:
    """Compare two sets of cells gene by gene: the recipe, and then the table, into a directory.

    Raises
    ------
    ScdiffError
        The dataset or a set is another one by now, cells are on both sides, or a side has fewer than three.
    """
    began = time.monotonic()
    tell("opening the cells", 0.0)
    prepared = open_dataset(service, dataset, fingerprint)
    sides = {side: cfg.validate(Side, asked, "The request") for side, asked in (("a", a), ("b", b))}
    called = {side: (names or {}).get(side) or side for side in sides}
    masks = {side: _mask(asked, n_cells(service, prepared, asked.source)) for side, asked in sides.items()}
    if sides["a"].source == sides["b"].source and (both := int((masks["a"] & masks["b"]).sum())):
        raise ScdiffError("The two sets of cells cannot be compared.",
                          f"{both:,} cell{'s are' if both > 1 else ' is'} in both '{called['a']}' and '{called['b']}'.",
                          "Take these cells out of one of the two, or compare with the rest.")
    tell("opening the cells", 0.1)
    x = {side: log1p(service, prepared, asked.source, np.flatnonzero(masks[side])) for side, asked in sides.items()}
    tell("opening the cells", 0.2)
    table = differential.compare(x["a"], x["b"], prepared.genes, lambda words, share: tell(words, 0.2 + 0.75 * share))
    tell("writing the table", 0.95)
    where = Path(out_dir)
    write_json(where / RECIPE, {  # first: who finds the table finds its recipe
        "op": "compare", "dataset": dataset, "fingerprint": fingerprint,
        **{side: {"name": called[side], "source": sides[side].source, "n_cells": int(masks[side].sum()),
                  "of": len(masks[side]), "rows": sides[side].rows} for side in sides},
        "n_genes": prepared.n_genes, "values": "log1p", "test": differential.TEST,
        "correction": differential.CORRECTION, "made": time.time(), "versions": _versions()})
    atomic_write(where / TABLE, lambda p: differential.write_table(p, table))
    return {"path": str(where / TABLE), "n_a": int(masks["a"].sum()), "n_b": int(masks["b"].sum()),
            "seconds": round(time.monotonic() - began, 3)}


def score(service: Service, tell: Tell, dataset: str, fingerprint: str, sources: list[str], name: str,
          genes: list[str], out_dir: str, seed: int = 0) -> dict[str, Any]:
    """Score a gene set in the cells of all sources together, so that they are on one scale; float32 a source.

    Raises
    ------
    ScdiffError
        The dataset or a set is another one by now, or none of the genes is known.
    """
    began = time.monotonic()
    tell("opening the cells", 0.0)
    prepared = open_dataset(service, dataset, fingerprint)
    found, missing = find_genes(genes, prepared.genes)
    sources = list(dict.fromkeys(sources))
    if not sources:
        raise ScdiffError("The gene set cannot be scored.", "No cells are named.", "Name 'real', or a generated set.")
    parts = []
    for i, source in enumerate(sources):
        tell("opening the cells", 0.4 * i / len(sources))
        parts.append(log1p(service, prepared, source))
    tell(f"scoring {name}", 0.4)
    scores = gene_sets.score(sp.vstack(parts, format="csr"), prepared.genes, genes, seed).astype(np.float32)
    tell("writing the scores", 0.95)
    where, ends = Path(out_dir), np.cumsum([x.shape[0] for x in parts])
    write_json(where / RECIPE, {
        "op": "score", "dataset": dataset, "fingerprint": fingerprint, "name": name, "sources": sources,
        "found": found, "missing": missing, "seed": seed, "method": "scanpy.tl.score_genes", "made": time.time(),
        "versions": _versions()})
    for source, values in zip(sources, np.split(scores, ends[:-1]), strict=True):
        atomic_write(where / score_file(source), partial(_save, values))
    return {"found": found, "missing": missing, "path": str(where), "seconds": round(time.monotonic() - began, 3)}


def score_file(source: str) -> str:
    """Return the name of the file that holds the scores of a source."""
    return check_source(source).replace("/", "__") + ".npy"


def open_dataset(service: Service, name: str, fingerprint: str) -> Prepared:
    """Return a prepared dataset, loaded once; raises `ScdiffError` where it was prepared again since."""

    def checked() -> Prepared:
        prepared = Prepared.open(service.workspace.open("prepare", name))
        if prepared.fingerprint != fingerprint:
            raise ScdiffError(f"The dataset '{name}' was prepared again meanwhile.",
                              "The cells that were selected are those of the earlier preparation.",
                              "Load the page again and select the cells anew.")
        return prepared

    return service.datasets.get((name, fingerprint, service.changed(name)), checked)


def n_cells(service: Service, prepared: Prepared, source: str) -> int:
    """Return how many cells a source has."""
    return prepared.n_cells if source == REAL else int(_generated(service, prepared, source).shape[0])


def log1p(service: Service, prepared: Prepared, source: str, rows: np.ndarray | None = None) -> sp.csr_matrix:
    """Return the log1p values of some or all cells of a source; csr float32 [n, G]."""
    if source == REAL:
        return prepared.log1p(rows)
    x = _generated(service, prepared, source)
    return x if rows is None else x[rows]


def _generated(service: Service, prepared: Prepared, source: str) -> sp.csr_matrix:
    """Return the log1p values of a generated set, loaded once, checked against the dataset.

    Raises
    ------
    ScdiffError
        There is no such set, or its genes are not the dataset's.
    """
    run, _, made = check_source(source).partition("/")
    chosen = outputs.GeneratedSet(service.workspace.open("train", run).outputs / made)
    if not (chosen.path / outputs.CELLS).is_file():
        raise ScdiffError(f"There are no generated cells '{made}' in the run '{run}'.", "They were deleted meanwhile.",
                          "Choose another set, or generate the cells again.")

    def read() -> tuple[sp.csr_matrix, np.ndarray]:
        adata = chosen.cells()
        return sp.csr_matrix(adata.layers[keys.LOG1P], dtype=np.float32), adata.var_names.to_numpy(str)

    x, genes = service.sets.get((chosen.path, (chosen.path / outputs.CELLS).stat().st_mtime_ns), read)
    if not np.array_equal(genes, prepared.genes):
        raise ScdiffError("The generated cells do not go with the dataset.",
                          f"Their {len(genes):,} genes are not the {prepared.n_genes:,} of '{prepared.name}'.",
                          "Choose cells of a run that was trained on this dataset.")
    return x


def _mask(side: Side, n: int) -> np.ndarray:
    return np.ones(n, dtype=bool) if side.rows is None else unpack_rows(side.rows, n)


def _save(values: np.ndarray, path: Path) -> None:
    with open(path, "wb") as handle:  # under exactly this name: numpy would add an ending
        np.save(handle, values)


def _versions() -> dict[str, str]:
    import scanpy

    return {"scdiff_studio": __version__, "numpy": np.__version__, "scipy": scipy.__version__,
            "scanpy": scanpy.__version__}
