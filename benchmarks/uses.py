"""What a model of cells is good for besides new cells: denoising, odd cells and doublets, rare types filled up.

    python -m benchmarks.uses [--seeds 0 1 2] [--preset quick] [--parts denoise doublets fill unseen] [--quick]

Every seed trains a model of its own and splits, simulates and draws anew. `denoise`: molecular cross-validation on
PBMC3k's held-out cells, beside simple ways (parameters chosen on training cells; the package magic-impute too, where
it is installed). `doublets`: sums of two held-out cells of different types, thinned, told from single held-out cells.
`fill`: classifiers of the rarest types of PBMC3k, taught with and without generated cells. `unseen`: a type held out of
training, told from held-out cells of the other types, on PBMC3k and the pancreas. Floors: for areas under the curve
0.5; for denoising the mean of all cells. Prints markdown tables; writes uses.json and uses.md. What has been trained
is taken from `.bench/`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import scipy.sparse as sp

from benchmarks import stages, tables
from scdiff_core import keys
from scdiff_core.analysis import denoising, filling, typicality
from scdiff_core.config import HoldOut, PrepareConfig, Roles
from scdiff_core.data.prepared import Prepared, to_log1p
from scdiff_core.workspace import JobDir, Workspace, read_json, write_json, write_text

PBMC, PANCREAS = "pbmc3k_counts.h5ad", "pancreas_e15_timecourse.h5ad"
UNSEEN = ((PBMC, "cell_type", "B", "B"), (PBMC, "cell_type", "NK", "NK"),
          (PBMC, "cell_type", "FCGR3A+ Mono", "FCGR3A+ Mono"), (PANCREAS, "clusters", "5", "Alpha"),
          (PANCREAS, "clusters", "7", "Epsilon"), (PANCREAS, "clusters", "6", "Delta"))
PARTS = ("denoise", "doublets", "fill", "unseen")
RAREST, TO, DOUBLETS, NEAREST = 3, 300, 300, 15
MAGIC = ((5, 2), (5, 3), (15, 2), (15, 3))


def hold_out(workspace: Workspace, source: str, column: str, value: str, fresh: bool) -> JobDir:
    """Return a dataset with all cells of one type, and a share of the others, held out."""
    name = f"{source.split('_')[0]}-without-{value.lower().replace(' ', '-').replace('+', '')}"
    config = PrepareConfig(source=str(stages.DATA / source), name=name, roles=Roles(cell_type=column),
                           hold_out=(HoldOut(column=column, values=(value,)),))
    path = workspace.folder("prepare") / name
    if fresh or read_json(path / "bench.json") is None:
        import shutil

        from scdiff_core.data import prepare

        shutil.rmtree(path, ignore_errors=True)
        job = workspace.create(config, name)
        prepare.prepare(config, job, lambda words, share: None)
        write_json(path / "bench.json", {"name": name})
    return JobDir(path, "prepare")


def trained(workspace: Workspace, dataset: JobDir, preset: str, seed: int, fresh: bool) -> tuple[Any, Prepared]:
    """Return a model, and the dataset it learnt from."""
    from scdiff_core.engine.model import Model

    job, _ = stages.train(workspace, dataset, preset, seed, ("preview_every_s=100000", "checkpoint_every_s=100000"),
                          fresh)
    return Model.load(job, "cpu"), Prepared.open(dataset)


def quiet(step: Any, share: float) -> None:
    """Say nothing of progress."""


def with_magic() -> dict[str, dict[str, denoising.Way]]:
    """Return the ways of the package magic-impute with their parameters; nothing where it is not installed."""
    try:
        import magic
    except ImportError:
        stages.say("magic-impute is not installed: left out (pip install magic-impute).")
        return {}
    from scdiff_core.analysis import smoothing

    def way(k: int, t: int) -> denoising.Way:
        def smooth(company: smoothing.Company) -> np.ndarray:
            both = sp.vstack([smoothing.shares(company.own_counts, company.own_total),
                              smoothing.shares(company.counts, company.total)])
            root = np.sqrt(keys.TARGET_SUM * both.toarray())  # the square root of the package's own tutorial
            found = magic.MAGIC(knn=k, t=t, verbose=0, random_state=0, n_jobs=1).fit_transform(root)
            return np.maximum(found[:len(company.own)], 0) ** 2 / keys.TARGET_SUM

        return smooth

    return {"MAGIC (magic-impute)": {f"knn {k}, t {t}": way(k, t) for k, t in MAGIC}}


def denoise(model: Any, prepared: Prepared, seed: int) -> list[dict[str, Any]]:
    """Return one row a way of denoising."""
    from scdiff_core.engine.impute import shares
    from scdiff_core.engine.steps import follow

    def ours(halves: Any) -> dict[str, np.ndarray]:
        best, plain = follow(shares(model, halves.seen, halves.total_seen, seed=seed), quiet)
        return {denoising.OURS: best, denoising.PLAIN: plain}

    found = follow(denoising.study(prepared, prepared.rows(keys.TRAIN), prepared.rows(keys.TEST), ours, seed,
                                   with_magic()), quiet)
    return [{"part": "denoise", "n_cells": found["n_cells"], **row} for row in found["rows"]]


def area(odd: np.ndarray, score: np.ndarray) -> float:
    """Return the area under the receiver operating characteristic."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(odd, score))


def _near(prepared: Prepared, learnt: np.ndarray, counts: Any, total: np.ndarray) -> np.ndarray:
    """Return each cell's mean distance to the nearest training cells in PCA."""
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=NEAREST).fit(prepared.X_pca[learnt])
    return near.kneighbors(prepared.project(to_log1p(counts, total)))[0].mean(1)


def doublets(model: Any, prepared: Prepared, seed: int) -> list[dict[str, Any]]:
    """Return the areas of telling doublets of two types from single cells, one row a score."""
    import scanpy as sc
    from anndata import AnnData

    from scdiff_core.engine import typical

    test, learnt = prepared.rows(keys.TEST), prepared.rows(keys.TRAIN)
    types = prepared.labels(keys.CELL_TYPE)[test]
    made, depth, pairs = typicality.doublets(prepared.counts[test], prepared.total_counts[test], DOUBLETS, seed + 100,
                                             "like_cells")
    mixed = (types[pairs[:, 0]] != types[pairs[:, 1]]) & (types[pairs] != "").all(1)
    counts = sp.vstack([prepared.counts[test], made[mixed]]).tocsr()
    total = np.concatenate([prepared.total_counts[test], depth[mixed]])
    odd = np.arange(len(total)) >= len(test)
    codes = typical.encode(model, counts, total)
    rows = np.concatenate([test, np.full(int(mixed.sum()), -1)])
    simulated, sim_total, _ = typicality.doublets(prepared.counts[learnt], prepared.total_counts[learnt],
                                                  2 * len(learnt), seed)
    pca = [prepared.project(to_log1p(c, t)) for c, t in ((counts, total), (simulated, sim_total))]
    adata = AnnData(counts.copy())
    sc.pp.scrublet(adata, random_state=seed, verbose=False)
    scores = {"ours: share of simulated doublets among codes": typical.doublet_scores(model, prepared, codes, rows,
                                                                                     learnt, seed),
              "the same in PCA": typicality.doublet_share(pca[0], prepared.X_pca[learnt], pca[1]),
              "Scrublet": adata.obs["doublet_score"].to_numpy(),
              "distance to training cells in PCA": _near(prepared, learnt, counts, total), "total counts": total}
    return [{"part": "doublets", "score": name, "auc": area(odd, values), "n": int(odd.sum())}
            for name, values in scores.items()]


def fill(model: Any, prepared: Prepared, seed: int) -> list[dict[str, Any]]:
    """Return what classifiers of the rarest types reach, one row a type and a way of teaching."""
    import tempfile

    from scdiff_core.engine.uses_ops import carry_out_study

    labels = prepared.labels(keys.CELL_TYPE)
    names = sorted(set(labels.tolist()) - {""}, key=lambda v: int((labels == v).sum()))[:RAREST]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for rare in names:
            found = carry_out_study(JobDir(Path(folder), "train"), model, prepared, "fill", quiet, rare, to=TO,
                                    seed=seed)
            rows += [{"part": "fill", "type": rare, "n_train": found["n_train"], "n_test": found["n_test"], **row}
                     for row in found["rows"]]
    return rows


def unseen(model: Any, prepared: Prepared, value: str, name: str) -> list[dict[str, Any]]:
    """Return the areas of telling a type that was held out from held-out cells of the others, one row a score."""
    from scdiff_core.engine import typical
    from scdiff_core.engine.batches import split_training
    from scdiff_core.engine.steps import follow

    learnt, aside = split_training(prepared, model.config.seed)
    test = prepared.rows(keys.TEST)
    rows = np.concatenate([test, aside])
    total = prepared.total_counts[rows]
    reference = np.arange(len(rows)) >= len(test)
    found = follow(typical.parts(model, prepared.counts[rows], total), quiet)
    odd = (prepared.labels(keys.CELL_TYPE)[rows] == value)[~reference]
    near = _near(prepared, learnt, prepared.counts[rows], total)
    scores = {"ours: noise and surprise": typical.score(found, total, reference),
              "surprise alone": typicality.standardised(found.surprise, total, reference),
              "noise alone": typicality.standardised(found.noise, total, reference),
              "log density of the code (lower is odder)": -found.log_density,
              "log likelihood of the counts alone (lower is odder)": -found.log_likelihood,
              "the same, for its depth": typicality.standardised(-found.log_likelihood, total, reference),
              "distance to training cells in PCA": near,
              "the same, for its depth ": typicality.standardised(np.log(near), total, reference),
              "total counts": total}
    return [{"part": "unseen", "data": prepared.name.split("-")[0], "type": name, "score": key, "n": int(odd.sum()),
             "auc": area(odd, values[~reference])} for key, values in scores.items()]


def spread(values: list[float], digits: int = 3) -> str:
    """Return the mean of values and, of several, their standard deviation."""
    said = f"{np.mean(values):.{digits}f}"
    return said if len(values) < 2 else f"{said} ± {np.std(values, ddof=1):.{digits}f}"


def show(rows: list[dict[str, Any]]) -> str:
    """Return the tables of what was measured, means over seeds."""
    def of(part: str, **fits: Any) -> list[dict[str, Any]]:
        return [r for r in rows if r["part"] == part and all(r[k] == v for k, v in fits.items())]

    def order(part: str, key: str) -> list[str]:
        return list(dict.fromkeys(r[key] for r in of(part)))

    words = ["## Uses: denoising, odd cells, doublets, rare types", f"Mean ± standard deviation over models: "
             f"{', '.join(sorted({r['model'] for r in rows}))}."]
    if of("denoise"):
        names = sorted(order("denoise", "method"),
                       key=lambda m: float(np.mean([r["deviance"] for r in of("denoise", method=m)])))
        lines = [["way of denoising", "deviance of the hidden half (lower is better)", "better than the mean cell",
                  "gap to the model, ± s.e. over cells", "error of log1p", "parameters chosen"]]
        lines += [[m, spread([r["deviance"] for r in of("denoise", method=m)], 1),
                   f"{np.mean([r['gain'] for r in of('denoise', method=m)]):.1%}",
                   f"{np.mean([r['gap'] for r in of('denoise', method=m)]):+.1f} ± "
                   f"{np.mean([r['gap_se'] for r in of('denoise', method=m)]):.1f}",
                   spread([r["error_log1p"] for r in of("denoise", method=m)]),
                   "; ".join(sorted({r["parameters"] for r in of("denoise", method=m)} - {""}))] for m in names]
        words += ["### Denoising: PBMC3k, held-out cells, half of the molecules hidden", tables.markdown(lines)]
    if of("unseen"):
        types = list(dict.fromkeys((r["data"], r["type"]) for r in of("unseen")))
        lines = [["score", *(f"{t}, {d}" for d, t in types), "mean"]]
        for s in order("unseen", "score"):
            each = [[r["auc"] for r in of("unseen", data=d, type=t, score=s)] for d, t in types]
            lines.append([s.strip(), *map(spread, each), f"{np.mean([np.mean(v) for v in each]):.3f}"])
        lines.append(["models", *(str(len(of("unseen", data=d, type=t, score=lines[1][0]))) for d, t in types), ""])
        words += ["### Odd cells: area under the curve for a type that training never saw", tables.markdown(lines)]
    if of("doublets"):
        lines = [["score", "area under the curve"]]
        lines += [[s, spread([r["auc"] for r in of("doublets", score=s)])] for s in order("doublets", "score")]
        words += ["### Doublets of two types among held-out cells of PBMC3k", tables.markdown(lines)]
    if of("fill"):
        lines = [["type (training, held out)", "taught on training cells", *filling.FIGURES.values()]]
        for t in order("fill", "type"):
            for w in order("fill", "way"):
                some = of("fill", type=t, way=w)
                lines.append([f"{t} ({some[0]['n_train']}, {some[0]['n_test']})", w,
                              *(spread([r[k] for r in some]) for k in filling.FIGURES)])
        words += [f"### Rare types of PBMC3k filled up to {TO}: classifiers on held-out cells", tables.markdown(lines)]
    return "\n\n".join(words)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="Denoising, odd cells, doublets and rare types.")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--preset", default="quick", help="of the models")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="one seed and one unseen type")
    parser.add_argument("--fresh", action="store_true", help="train anew")
    parser.add_argument("--results", type=Path, default=stages.RESULTS)
    asked = parser.parse_args()
    seeds, types = (asked.seeds[:1], UNSEEN[:1]) if asked.quick else (asked.seeds, UNSEEN)
    workspace = Workspace(stages.CACHE)
    rows: list[dict[str, Any]] = []

    def take(found: list[dict[str, Any]], seed: int, preset: str) -> None:
        rows.extend({**row, "seed": seed, "model": f"{preset}, seed {seed}"} for row in found)
        write_json(asked.results / "uses.json", {"rows": rows})

    work: dict[str, Callable[..., list[dict[str, Any]]]] = {"denoise": denoise, "doublets": doublets, "fill": fill}
    if (stages.DATA / PBMC).is_file():
        base, _ = stages.prepare(workspace, stages.DATA / PBMC)
        for seed in seeds:
            model, prepared = trained(workspace, base, asked.preset, seed, asked.fresh)
            for part in (p for p in asked.parts if p in work):
                stages.say(f"{part}, seed {seed}")
                take(work[part](model, prepared, seed), seed, asked.preset)
    for seed in seeds if "unseen" in asked.parts else ():
        for source, column, value, name in types:
            if (stages.DATA / source).is_file():
                stages.say(f"without {name}, seed {seed}")
                dataset = hold_out(workspace, source, column, value, asked.fresh)
                take(unseen(*trained(workspace, dataset, asked.preset, seed, asked.fresh), value, name), seed,
                     asked.preset)
    words = show(rows)
    write_text(asked.results / "uses.md", words + "\n")
    print(words)


if __name__ == "__main__":
    main()
