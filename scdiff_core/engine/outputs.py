"""One set of generated cells on disk: the cells, their recipe, what the page draws, and their report card.

Importing this needs neither torch nor scanpy, so a page may read a set.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scdiff_core import keys
from scdiff_core.config import Frozen, GenerateConfig, TrainConfig
from scdiff_core.data.embed import Landmarks, UmapModel
from scdiff_core.data.prepared import Prepared
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir, Workspace, atomic_write, new_id, read_json, write_json

if TYPE_CHECKING:
    from anndata import AnnData


CELLS, RECIPE, VIEW, REPORT, TABLE = "cells.h5ad", "recipe.json", "view.npz", "report.json", "cells.csv.gz"
CELL_ID = "cell_id"  # the first column of a table of cells


@dataclass(frozen=True)
class GeneratedSet:
    """A directory that holds one set of generated cells."""

    path: Path

    @property
    def id(self) -> str:
        """The directory's name."""
        return self.path.name

    def cells(self) -> AnnData:
        """Read the cells; counts in X (values, where there were no counts).

        Raises
        ------
        ScdiffError
            The file is missing or damaged.
        """
        import anndata

        try:
            return anndata.read_h5ad(self.path / CELLS)
        except (OSError, KeyError, ValueError) as error:
            raise ScdiffError(f"The generated cells '{self.id}' cannot be opened.",
                              f"{CELLS} is missing or damaged.", "Generate them again.") from error

    def recipe(self) -> dict[str, Any]:
        """Return how the cells were made."""
        return read_json(self.path / RECIPE, {})

    def view(self) -> dict[str, np.ndarray] | None:
        """Return what the page draws, None where the dataset was not at hand.

        `xy` float32 [n, 2] by the true UMAP transform if `exact`, else (for a moment) among the nearest real
        cells, `pca` float32 [n, 2], `distance` float32 [n] to the
        nearest real training cell in PCA, `codes` int32 [n, C] of the categorical covariates in the order of
        the vocabulary, with as many as there are values meaning none.
        """
        try:
            with np.load(self.path / VIEW, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except (FileNotFoundError, ValueError, OSError):
            return None

    def report(self) -> dict[str, Any] | None:
        """Return the report card as `Report.to_dict` made it, None if there is none yet."""
        return read_json(self.path / REPORT)


def list_sets(job: JobDir, kind: str = "generate") -> list[GeneratedSet]:
    """Return the sets of a run that are complete, the newest first: generated ones, or those of another kind."""
    return [GeneratedSet(p) for p in complete(job, kind)]


def complete(job: JobDir, kind: str, file: str = CELLS) -> list[Path]:
    """Return the directories of a run's outputs that are of a kind and have its file and a recipe, the newest first."""
    if not job.outputs.is_dir():
        return []
    done = [p for p in job.outputs.iterdir() if (p / file).is_file() and (p / RECIPE).is_file()]
    done = [p for p in done if read_json(p / RECIPE, {}).get("kind", "generate") == kind]
    return sorted(done, key=lambda p: (p / RECIPE).stat().st_mtime, reverse=True)


def new_path(job: JobDir) -> Path:
    """Return where the next generated set of a run goes."""
    return job.outputs / new_id()


def find_set(job: JobDir, config: GenerateConfig) -> GeneratedSet | None:
    """Return a set that was made by the same request from the model as it is now, None if there is none."""
    saved = job.saved_ns
    for made in list_sets(job):
        # what a recipe of an earlier version does not name has its default
        if {**GenerateConfig(run=job.id).model_dump(mode="json"), **made.recipe().get("config", {})} \
                == config.model_dump(mode="json") and (made.path / RECIPE).stat().st_mtime_ns > saved:
            return made
    return None


def open_dataset(workspace: Workspace, name: str, fingerprint: str) -> Prepared:
    """Open the prepared dataset that a run was trained on.

    Raises
    ------
    ScdiffError
        There is none of that name in the workspace, or it is another one by now.
    """
    prepared = Prepared.open(workspace.open("prepare", name))
    if prepared.fingerprint != fingerprint:
        raise ScdiffError(
            f"The dataset '{name}' is not the one that this run was trained on.",
            f"Its fingerprint is {prepared.fingerprint[:8]}, the run's is {fingerprint[:8]}: "
            "it was prepared anew since then, or is another one of the same name.",
            "Bring the old dataset back (see the trash folder of the workspace), or train on the new one.")
    return prepared


def dataset_beside(workspace: Workspace, config: TrainConfig) -> tuple[Prepared | None, str]:
    """Return the dataset of a run; None and why where it is not at hand, since a copied run still opens."""
    try:
        return open_dataset(workspace, config.dataset, config.fingerprint), ""
    except ScdiffError as error:
        return None, f"The cells are not placed on the UMAP of the real ones. {error}"


def umap_of(prepared: Prepared) -> UmapModel:
    """Return the UMAP that was fitted on the training cells of a dataset."""
    train = prepared.rows(keys.TRAIN)
    return UmapModel(prepared.X_pca[train], prepared.X_umap[train])


def write_set(path: Path, adata: AnnData, config: Frozen, prepared: Prepared | None,
              umap: UmapModel | None = None) -> GeneratedSet:
    """Write a generated set: the cells, the recipe, and the view if the dataset is at hand.

    The first view places each cell among its nearest real ones, which takes no time; the true transform, which
    a new process must compile first, replaces it.

    Parameters
    ----------
    adata
        n cells as `engine.generate` made them: counts in X, log1p in a layer, the recipe in uns.
    umap
        That of the dataset where it is at hand and compiled; otherwise it is made.
    """
    write_cells(path / CELLS, adata)
    view: dict[str, np.ndarray] = {}
    if prepared is not None:
        umap = umap or umap_of(prepared)
        pca = prepared.project(aligned(adata, prepared).layers[keys.LOG1P])
        view = first_view(adata, prepared, pca, umap)
        write_view(path, view)
    recipe = {**json.loads(adata.uns[keys.SCDIFF]), "config": config.model_dump(mode="json"),
              "n_cells": int(adata.n_obs)}
    write_json(path / RECIPE, recipe)
    if prepared is not None and umap is not None:
        write_view(path, {**view, "xy": umap.transform(pca).astype(np.float32), "exact": np.array(True)})
    return GeneratedSet(path)


def write_cells(path: Path, adata: AnnData) -> None:
    """Write cells as .h5ad, or as a table by the ending .csv, .csv.gz, .tsv or .tsv.gz, atomically."""
    name = check_ending(path).name
    if name.endswith(".h5ad"):
        atomic_write(path, lambda p: adata.write_h5ad(p, compression="lzf"))
    else:
        atomic_write(path, lambda p: _write_table(p, adata, "\t" if ".tsv" in name else ",",
                                                  name.endswith(".gz")))


def check_ending(path: Path) -> Path:
    """Return a path to which cells can be written.

    Raises
    ------
    ScdiffError
        The ending is none that cells are written in.
    """
    if not path.name.endswith((".h5ad", ".csv", ".csv.gz", ".tsv", ".tsv.gz")):
        raise ScdiffError(f"'{path.name}' cannot be written.", "No cells are written under that ending.",
                          "End the name in .h5ad, .csv.gz or .tsv.gz.")
    return path


def savez(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays into one .npz under exactly this name (numpy would add an ending), not atomically."""
    with open(path, "wb") as handle:
        np.savez(handle, **arrays)  # type: ignore[arg-type]


def _write_table(path: Path, adata: AnnData, separator: str, packed: bool) -> None:
    """Write cells × genes, the conditions and `synthetic` in the first columns; counts as whole numbers."""
    values = sp.csr_matrix(adata.X)
    whole = bool(np.all(values.data == np.round(values.data)))
    obs = adata.obs.copy()
    obs.insert(0, CELL_ID, obs.index)
    open_table: Callable[..., Any] = gzip.open if packed else open
    options = {"compresslevel": 4} if packed else {}
    with open_table(path, "wt", encoding="utf-8", newline="", **options) as handle:
        writer = csv.writer(handle, delimiter=separator, lineterminator="\n")
        writer.writerow([*obs.columns, *adata.var_names])
        first = [["" if pd.isna(v) else str(v) for v in obs[c].astype(object)] for c in obs.columns]
        for start in range(0, adata.n_obs, 256):
            block = values[start:start + 256].toarray()
            text = (block.astype(np.int64) if whole else np.round(block, 5)).tolist()
            for i, row in enumerate(text, start):
                writer.writerow([column[i] for column in first] + row)


def first_view(adata: AnnData, prepared: Prepared, pca: np.ndarray, umap: UmapModel) -> dict[str, np.ndarray]:
    """Return the arrays of `GeneratedSet.view` for n generated cells, placed among their nearest real ones."""
    codes, _ = prepared.vocab.encode(adata.obs)
    xy, distance = Landmarks(umap.X_pca, umap.embedding).place(pca)
    return {"xy": xy.astype(np.float32), "pca": pca[:, :2].astype(np.float32), "exact": np.array(False),
            "distance": distance.astype(np.float32), "codes": codes.astype(np.int32)}


def write_view(path: Path, view: dict[str, np.ndarray]) -> None:
    """Write what the page draws (see `GeneratedSet.view`)."""
    atomic_write(path / VIEW, lambda p: savez(p, view))


def aligned(adata: AnnData, prepared: Prepared) -> AnnData:
    """Return the cells with the genes of a dataset; raises `ScdiffError` where they are others."""
    if np.array_equal(adata.var_names.to_numpy(str), prepared.genes):
        return adata
    raise ScdiffError("The generated cells do not go with the dataset.",
                      f"Their {adata.n_vars} genes are not the {prepared.n_genes} of '{prepared.name}'.",
                      "Generate them again.")
