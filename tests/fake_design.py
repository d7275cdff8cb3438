"""A worker that answers what the Design page asks, out of the real cells' own log1p values: no model, no process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from scdiff_core import keys
from scdiff_core import target as targets
from scdiff_core.analysis.design import feasibility, pictures
from scdiff_core.data.prepared import Prepared
from scdiff_core.errors import ScdiffError
from scdiff_core.selection import pack_rows, unpack_rows
from scdiff_core.target import Target
from scdiff_core.workspace import JobDir, write_json, write_text


class FakeWorker:
    """Answers `submit` as `pages._shared.worker` does, at once; what was asked stands in `asked`."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared, self.asked = prepared, []
        self.open: dict[str, Any] = {}
        self.offline = False  # whether there is no internet
        self.ends = False  # whether a design has ended when it is looked at first

    def submit(self, key: str, op: str, note: str = "", **values: Any) -> Asked:
        self.asked.append((op, values))
        self.open[key] = Asked(self, op, values, note)
        return self.open[key]

    def under_way(self, key: str) -> Asked | None:
        return self.open.get(key)

    def forget(self, key: str) -> None:
        self.open.pop(key, None)

    def levels(self, target: Target) -> dict[str, np.ndarray]:
        place = {str(g): i for i, g in enumerate(self.prepared.genes)}
        x = self.prepared.log1p()
        return {g: x[:, [place[g]]].toarray().ravel() for g in target.needed()}

    def answer(self, op: str, values: dict[str, Any]) -> dict[str, Any]:
        if op == "feasibility":
            return self.feasibility(values["target"])
        if op == "propose":
            return self.propose(**values)
        if op == "fetch_regulons":
            return self.fetch_regulons(**values)
        return {}

    def fetch_regulons(self, name: str) -> dict[str, Any]:
        if self.offline:
            raise ScdiffError(f"{name} could not be downloaded.", "zenodo.org cannot be reached from here.",
                              "Bring it.")
        assert self.prepared.path is not None
        path = self.prepared.path.parents[1] / "gene_sets" / f"{name}.tsv"
        write_text(path, "source\ttarget\tweight\n" + "".join(f"TP53\tGENE{i}\t1\n" for i in range(9)))
        return {"path": str(path), "name": name, "n": 1}

    def feasibility(self, values: dict[str, Any]) -> dict[str, Any]:
        target = targets.check(targets.parse(values), self.prepared.genes.tolist())
        levels = self.levels(target)
        types = self.prepared.labels(keys.CELL_TYPE)
        fits = np.ones(len(types), bool) if target.cell_type is None else types == target.cell_type
        target = feasibility.fill(target, levels, fits)
        found = feasibility.assess(target, levels, types)
        met = fits.copy()
        for row in target.rows:
            met &= feasibility.meets(row, feasibility.values_of(row, levels)) | (not row.hard)
        joints = [pictures.joint(target, levels, fits, 0, 1)] if found.conflicts else []
        return {"target": target.model_dump(mode="json"), "feasibility": found.to_dict(), "met": pack_rows(met),
                "histograms": pictures.histograms(target, levels, fits), "joints": joints, "nearest": []}

    def propose(self, rows: str | None, cell_type: str | None, n: int, run: str) -> dict[str, Any]:
        mask = unpack_rows(rows, self.prepared.n_cells) if rows else \
            self.prepared.labels(keys.CELL_TYPE) == cell_type
        if mask.sum() < 5:
            raise ScdiffError("There are too few cells.", f"{int(mask.sum())} are selected.", "Select more.")
        x = self.prepared.log1p().toarray()
        order = np.argsort(-(x[mask].mean(0) - x[~mask].mean(0)))[:n]
        return {"n_cells": int(mask.sum()), "rows": [
            {"gene": str(self.prepared.genes[i]), "direction": "up", "hard": True, "share_in": 0.8, "share_out": 0.1,
             "level": round(float(np.quantile(x[mask, i], 0.25)), 3), "score": 1.0} for i in order]}


class Asked:
    """One answered request; `hold` keeps it from ending, as a design under way."""

    def __init__(self, worker: FakeWorker, op: str, values: dict[str, Any], note: str) -> None:
        self.note, self.request = note, self
        self.ended = worker.ends or op not in ("design", "design_open", "routes")
        self.cancelled = False
        try:
            self.said = json.loads(json.dumps(worker.answer(op, values)))
        except ScdiffError as error:
            self.said = {"error": error.to_dict()}

    def cancel(self) -> None:
        self.cancelled = self.ended = True
        self.said = {"cancelled": True}

    def look(self, patience: float = 0.0) -> dict[str, Any]:
        return self.said

    def seconds(self) -> float:
        return 5.0


def write_fake_design(run: JobDir, prepared: Prepared, n: int = 60, kind: str = "B") -> Path:
    """Write a designed set as the engine does: real cells of a type that say they were designed."""
    from scdiff_core.engine import outputs

    gene, other = (str(g) for g in prepared.genes[:2])
    target = targets.parse({"genes": [{"gene": gene, "direction": "up", "level": 0.5},
                                      {"gene": other, "direction": "down", "level": 1.5, "hard": False}],
                            "cell_type": kind})
    rows = np.flatnonzero(prepared.labels(keys.CELL_TYPE) == kind)
    rows = np.resize(rows, n)
    obs = pd.DataFrame({"cell_type": kind, "batch": "one", keys.TOTAL_COUNTS: prepared.total_counts[rows],
                        keys.SYNTHETIC: True, "meets_target": np.arange(n) > 2, "looks_unreal": np.arange(n) % 9 == 8},
                       index=[f"synthetic_{i}" for i in range(n)])
    adata = AnnData(prepared.counts[rows], obs=obs, var=pd.DataFrame(index=prepared.genes))
    adata.layers[keys.LOG1P] = prepared.log1p(rows)
    words = f"{n - 3} of {n} meet the target; 11 % look unreal; 4.2 % of your cells already do this."
    told = [{"name": r.name, "words": r.words(), "direction": r.direction, "level": r.level, "upper": r.upper,
             "hard": r.hard, "designed": 0.95, "real": 0.3} for r in target.rows]
    figure = {"n": n, "met": 0.95, "rows": [0.95, 0.9], "unreal": 0.11, "auc": 0.6, "diversity": 0.93, "energy": 0.05}
    report = {
        "words": words, "n_cells": n, "met": n - 3, "ancestors": 40, "seconds": 3.2, "rows": told,
        "feasibility": {"rows": told, "share": 0.042, "n": 12, "n_cells": prepared.n_cells, "conflicts": [],
                        "word": "common"},
        "figures": [{"name": "designed", **figure}, {"name": "real cells that meet it", **figure},
                    {"name": "plain latent editing", **figure, "unreal": 0.98, "energy": None, "note": "too few cells"},
                    {"name": "floor", **figure, "energy": 0.006}],
        "unreal_limit": 2.0, "reference": f"real cells of {kind}", "warnings": ["A word of warning."],
        "side_effects": [{"gene": str(g), "log2fc": 2.0 - i / 5, "score": 9.0 - i / 2, "pval_adj": 1e-4,
                          "mean_designed": 2.0, "mean_reference": 1.0, "asked": i == 0}
                         for i, g in enumerate(prepared.genes[:20])],
        "neighbours": {"types": {kind: 0.9, "T": 0.1}, "batches": {"one": 0.7, "two": 0.3}, "columns": {},
                       "distance": {"median": 1.1, "p95": 2.2},
                       "cells": [{"row": int(r), "id": str(prepared.obs.index[r]), "times": 3} for r in rows[:5]]},
        "moved": {"t": 0.4, "tried": [[0.2, 0.1], [0.4, 0.95]], "distance": 3.0, "from": 20}}
    rng = np.random.default_rng(0)
    path = outputs.new_path(run)
    config = {"kind": "design", "run": run.id, "n_cells": n, "method": "smc", "seed": 0,
              "target": target.model_dump(mode="json")}
    adata.uns[keys.SCDIFF] = json.dumps({"synthetic": True, "run": run.id, "dataset": prepared.name})
    outputs.write_cells(path / outputs.CELLS, adata)
    outputs.write_view(path, {"xy": prepared.X_umap[rows], "pca": prepared.X_pca[rows, :2], "exact": np.array(True),
                              "distance": np.ones(n, np.float32), "codes": np.zeros((n, 2), np.int32)})
    outputs.savez(path / "design.npz", {
        "values": rng.normal(2, 0.5, (n, 2)).astype(np.float32), "real_fits": np.ones(100, bool),
        "real_values": rng.normal(1, 0.5, (100, 2)).astype(np.float32),
        "edited_values": rng.normal(2, 0.1, (n, 2)).astype(np.float32), "knn": rng.gamma(9, 0.15, n),
        "real_knn": rng.gamma(9, 0.13, 80), "nearest": rows, "unreal": obs["looks_unreal"].to_numpy(),
        "z": rng.normal(size=(n, 4)).astype(np.float32)})
    write_text(path / "target.yaml", targets.write(target))
    write_json(path / outputs.REPORT, report)
    write_json(path / outputs.RECIPE, {"kind": "design", "run": run.id, "config": config, "summary": report})
    return path
