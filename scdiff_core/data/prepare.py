"""From a source to a prepared dataset; everything that is fitted is fitted on the training cells only."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scdiff_core import __version__, keys
from scdiff_core.analysis.perturb import hold_out as unseen
from scdiff_core.config import FORMAT, HoldOut, PrepareConfig, Roles
from scdiff_core.data import cells, embed, genes, plain_obs, qc, split
from scdiff_core.data.check import Checked, check
from scdiff_core.data.log import Log
from scdiff_core.data.prepared import (
    FILE,
    MARKER_COLUMNS,
    MARKERS,
    Prepared,
    fingerprint,
    is_ours,
    project,
    to_log1p,
)
from scdiff_core.data.read import read
from scdiff_core.data.roles import detect_roles, validate_roles
from scdiff_core.data.vocab import CATEGORICAL, Vocab, as_labels
from scdiff_core.workspace import JobDir, atomic_write, write_json

N_PCA = 50
REPORT = "report.json"
MIN_PER_TYPE = 3  # cells of a type that markers are computed for

Progress = Callable[[str, float], None]


def prepare(config: PrepareConfig, job: JobDir, progress: Progress) -> Prepared:
    """Prepare a source and write prepared.h5ad, report.json and markers.csv into the job's directory.

    Read and check, choose cells (QC, doublets), split, choose genes, normalise, PCA, neighbours, UMAP,
    markers. Genes, PCA, UMAP and markers come from the training cells; the test cells are projected and
    transformed.

    Parameters
    ----------
    progress
        Called with a phase in words and the share done (0 to 1) before each phase; may raise to stop.

    Raises
    ------
    ScdiffError
        The source cannot be used, a name in `config` is unknown, or too few cells or genes are left.
    """
    started, cpu = time.time(), time.process_time()
    log = Log()
    progress("Reading the data", 0.02)
    source = read(config.source, config.read, progress=lambda words: progress(words, 0.05))
    progress("Checking the data", 0.08)
    checked = check(source)
    del source
    adata, values = checked.adata, checked.values
    log.findings += checked.findings
    log.step("read", f"{adata.n_obs:,} cells and {adata.n_vars:,} genes read ({checked.kind}).", adata.shape,
             adata.shape)

    progress("Choosing cells", 0.12)
    table = qc.metrics(adata, known_totals(checked, config.source))
    adata.obs, roles, hold_out = _names(adata, table, config, log)
    used = config.qc or qc.propose(table, values)
    keep = cells.choose(adata, table, values, used, roles.batch, config.seed, log)
    adata, table = adata[keep], table[keep]
    obs = adata.obs.copy()
    for column in table:
        obs[column] = table[column].to_numpy()
    if values == keys.CONTINUOUS:
        obs[keys.TOTAL_COUNTS] = keys.TARGET_SUM
    total = obs[keys.TOTAL_COUNTS].to_numpy(np.float32)
    for word in config.unseen:
        hold_out += unseen.propose(obs, roles, word, config.seed)
    obs[keys.SPLIT] = split.split(obs, [c for c in (roles.cell_type, roles.perturbation) if c], hold_out,
                                  config.test_fraction, config.seed)
    train = (obs[keys.SPLIT] == keys.TRAIN).to_numpy()
    cells.enough(int(train.sum()), "training cells")
    log.step("split", f"{int(train.sum()):,} cells to learn from, {int((~train).sum()):,} to test.", adata.shape,
             adata.shape)
    vocab = Vocab.from_obs(obs, roles)

    progress("Choosing genes", 0.25)
    every = sp.csr_matrix(adata.X, dtype=np.float32)
    chosen, words = genes.choose(every[train], adata.var_names.to_numpy(str), obs[train], roles, vocab, values,
                                 config, used.min_cells_per_gene, log)
    log.step("genes", words, adata.shape, (adata.n_obs, int(chosen.sum())))
    counts, var = every[:, chosen], adata.var[chosen]
    names = var.index.to_numpy(str)
    progress("Normalising, PCA", 0.4)
    log1p = counts if values == keys.CONTINUOUS else to_log1p(counts, total)
    mean, components = embed.fit_pca(log1p[train], N_PCA, config.seed)
    X_pca = project(log1p, mean, components)
    progress("Neighbours and UMAP", 0.5)
    X_umap = np.empty((len(obs), 2), np.float32)
    X_umap[train] = embed.fit_umap(X_pca[train], config.seed)
    progress("Placing the test cells in the UMAP", 0.8)
    X_umap[~train] = embed.UmapModel(X_pca[train], X_umap[train]).transform(X_pca[~train])
    progress("Marker genes", 0.87)
    markers = _markers(log1p[train], names, obs[train], roles)

    progress("Saving", 0.94)
    meta = {"format": FORMAT, "version": __version__, "values": values, "kind": checked.kind,
            "roles": roles.model_dump(), "qc": used.model_dump(),
            "fingerprint": fingerprint(counts, total, names, vocab, obs, roles)}
    everything = {**meta, "vocab": vocab.to_dict(), "config": config.model_dump(mode="json"),
                  "umap": {"n_neighbors": embed.N_NEIGHBORS, "min_dist": embed.MIN_DIST}}
    _write(job, counts, log1p, plain_obs.plain(obs, vocab), var, everything,
           varm={keys.PCS: components.T}, obsm={keys.PCA: X_pca, keys.UMAP: X_umap}, mean=mean)
    atomic_write(job.path / MARKERS, lambda path: markers.to_csv(path, index=False))
    missing = {c.column: int((as_labels(obs[c.column]) == "").sum()) for c in vocab}
    sizes = (len(obs), int(train.sum()), int((~train).sum()), len(names))
    write_json(job.path / REPORT, {
        **meta, "name": config.name, "source": config.source,
        **dict(zip(("n_cells", "n_train", "n_test", "n_genes"), sizes, strict=True)),
        "n_pca": len(components), "steps": log.steps, "hold_out": [rule.model_dump() for rule in hold_out],
        "summary": _summary(vocab, missing, sizes, hold_out) + unseen.leakage_lines(obs, roles, hold_out),
        "findings": [f.to_dict() for f in log.findings], "missing_labels": missing,
        "seconds": round(time.time() - started, 2), "cpu_seconds": round(time.process_time() - cpu, 2)})
    progress("Done", 1.0)
    return Prepared.open(job)


def known_totals(checked: Checked, source: str) -> np.ndarray | None:
    """Return the cells' totals over all genes [N] where they are known to be over more genes than X has.

    That is where `check` won them back from the scale, and in files that scDiff Studio wrote, which hold the
    kept genes only. None elsewhere: a column of that name could be anything.
    """
    obs = checked.adata.obs
    sure = "recovered" in checked.kind or (checked.values == keys.COUNTS and is_ours(source))
    if not sure or keys.TOTAL_COUNTS not in obs:
        return None
    total = pd.to_numeric(obs[keys.TOTAL_COUNTS], errors="coerce").to_numpy(np.float64)
    sums = np.asarray(checked.adata.X.sum(axis=1)).ravel()
    return total if np.all(np.isfinite(total)) and np.all(total >= sums * 0.999) else None


def _names(adata: Any, table: pd.DataFrame, config: PrepareConfig, log: Log,
           ) -> tuple[pd.DataFrame, Roles, tuple[HoldOut, ...]]:
    """Settle the roles, and rename columns whose names the prepared file needs."""
    roles = detect_roles(adata)[0] if config.roles is None else config.roles
    validate_roles(roles, adata.obs)
    obs, renamed = plain_obs.safe_names(adata.obs, table)
    for old, new in renamed.items():
        log.note("note", f"Column '{old}' is now '{new}'",
                 f"The prepared file needs the name '{old}' for its own figures, or cannot hold it.")
    played = {role: renamed.get(column, column) for role, column in roles.columns().items()}
    hold_out = tuple(h.columns(lambda column: renamed.get(column, column)) for h in config.hold_out)
    split.held_out(obs, hold_out)  # unknown names are told before the long work
    for word in config.unseen:
        unseen.read_word(word)
    return obs, Roles(**played, control=roles.control), hold_out


def _summary(vocab: Vocab, missing: dict[str, int], sizes: tuple[int, ...],
             hold_out: tuple[HoldOut, ...]) -> list[str]:
    """Say in a few sentences what the dataset is."""
    lines = [f"{sizes[0]:,} cells of {sizes[3]:,} genes: {sizes[1]:,} to learn from, {sizes[2]:,} to test."]
    for rule in hold_out:
        lines.append(f"All cells with {split.words(rule)} are test cells; the others "
                     "were split at random within each type.")
    for c in vocab:
        what = f"{len(c.values)} values" if c.kind == CATEGORICAL else "a number for each cell"
        lines.append(f"'{c.column}' plays the part of {c.role.replace('_', ' ')} ({what})" + (
            f"; {missing[c.column]:,} cells have no label there and train the unconditional part."
            if missing[c.column] else "."))
    lines.append("Genes, PCA, UMAP and markers were found on the cells to learn from; the test cells were "
                 "projected.")
    return lines


def _markers(log1p: sp.csr_matrix, names: np.ndarray, obs: pd.DataFrame, roles: Roles) -> pd.DataFrame:
    """Return the markers of the cell types; an empty table where there are not two types to compare."""
    if roles.cell_type is not None:
        labels = as_labels(obs[roles.cell_type])
        found, n = np.unique(labels[labels != ""], return_counts=True)
        rows = np.flatnonzero(np.isin(labels, found[n >= MIN_PER_TYPE]))
        if (n >= MIN_PER_TYPE).sum() >= 2:
            from scdiff_core.analysis.markers import rank_markers

            return rank_markers(log1p[rows], names, labels[rows])
    return pd.DataFrame(columns=list(MARKER_COLUMNS))


def _write(job: JobDir, counts: sp.csr_matrix, log1p: sp.csr_matrix, obs: pd.DataFrame, var: pd.DataFrame,
           meta: dict[str, Any], varm: dict[str, np.ndarray], obsm: dict[str, np.ndarray],
           mean: np.ndarray) -> None:
    from anndata import AnnData

    plain_var = plain_obs.safe_names(plain_obs.plain(var), reserved=())[0]
    out = AnnData(counts, obs=obs, var=plain_var.assign(**{keys.PCA_MEAN: mean}), obsm=obsm, varm=varm,
                  layers={keys.LOG1P: log1p}, uns={keys.SCDIFF: json.dumps(meta)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        atomic_write(job.path / FILE,
                     lambda path: out.write_h5ad(path, compression="gzip", compression_opts=1))
