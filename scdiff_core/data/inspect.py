"""A look at a source before it is prepared: what it is, what is odd, which columns mean what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from scdiff_core.config import InspectConfig
from scdiff_core.data import gene_ids, plain_obs, qc
from scdiff_core.data.check import check
from scdiff_core.data.prepare import known_totals
from scdiff_core.data.read import read
from scdiff_core.data.roles import detect_roles
from scdiff_core.data.sniff import sniff
from scdiff_core.workspace import JobDir, atomic_write, write_json, write_text

FINDINGS = "findings.json"
CELLS = "cells.parquet"
GENES = "genes.txt"
N_PREVIEW = 20


def inspect(config: InspectConfig, job: JobDir, progress: Callable[[str, float], None]) -> None:
    """Read and check a source, and write what was found into the job's directory.

    findings.json: kind, values, n_cells, n_genes, findings, roles, columns, proposed_qc, has_mitochondrial,
    genes_preview, gene_id_kind, sniffed. cells.parquet: the columns of obs and the QC figures of each cell.
    genes.txt: a gene a line.

    Parameters
    ----------
    progress
        Called with a phase in words and the share done (0 to 1) before each phase; may raise to stop.

    Raises
    ------
    ScdiffError
        The source cannot be used.
    """
    progress("Reading the data", 0.05)
    demo = config.source.startswith("demo:")
    sniffed = {} if demo else sniff(Path(config.source)).to_dict()
    source = read(config.source, config.read, progress=lambda words: progress(words, 0.2))
    progress("Checking the data", 0.4)
    checked = check(source)
    adata = checked.adata
    progress("Looking at columns and cells", 0.7)
    roles, columns = detect_roles(adata)
    table = qc.metrics(adata, known_totals(checked, config.source))
    cells = plain_obs.plain(plain_obs.safe_names(adata.obs, table)[0]).join(table)
    progress("Saving", 0.95)
    atomic_write(job.path / CELLS, cells.to_parquet)
    write_text(job.path / GENES, "".join(f"{name}\n" for name in adata.var_names))
    write_json(job.path / FINDINGS, {
        "kind": checked.kind, "values": checked.values, "n_cells": adata.n_obs, "n_genes": adata.n_vars,
        "findings": [f.to_dict() for f in checked.findings], "roles": roles.model_dump(),
        "columns": [c.to_dict() for c in columns],
        "proposed_qc": qc.propose(table, checked.values).model_dump(),
        "has_mitochondrial": bool(qc.mitochondrial(adata.var).any()),
        "genes_preview": adata.var_names[:N_PREVIEW].tolist(),
        "gene_id_kind": gene_ids.kind_of(adata.var_names), "sniffed": sniffed})
    progress("Done", 1.0)
