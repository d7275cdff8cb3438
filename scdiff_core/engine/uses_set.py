"""What denoising, filling up and typicality leave in a run: their results and studies. Pages read them: no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scdiff_core import keys
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine import outputs
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir, read_json, write_json

if TYPE_CHECKING:
    from anndata import AnnData

TABLE = "typical.csv"
STUDIES = "studies.json"
DENOISED = "denoised"


def write_study(job: JobDir, name: str, step: int, found: dict[str, Any]) -> None:
    """Keep a study of the model as it was at a step of its training."""
    known = read_json(job.path / STUDIES, {})
    write_json(job.path / STUDIES, {**known, name: {"step": step, **found}})


def read_study(job: JobDir, name: str) -> dict[str, Any] | None:
    """Return a study that was made of the model as it is now (of its last checkpoint's time), None if there is none."""
    found = read_json(job.path / STUDIES, {}).get(name)
    if found is None:
        return None
    return found if (job.path / STUDIES).stat().st_mtime_ns >= job.saved_ns else None


@dataclass(frozen=True)
class UsesSet:
    """A directory that holds denoised cells, or how typical cells are."""

    path: Path

    @property
    def id(self) -> str:
        """The directory's name."""
        return self.path.name

    def recipe(self) -> dict[str, Any]:
        """Return how it was made."""
        return read_json(self.path / outputs.RECIPE, {})

    def table(self) -> pd.DataFrame:
        """Return the table of a result about typical cells; raises `ScdiffError` where it is damaged."""
        try:
            return pd.read_csv(self.path / TABLE, dtype={"cell": str, "cell_type": str}, keep_default_na=False,
                               na_values={"score": [""]})
        except (OSError, ValueError) as error:
            raise ScdiffError("These figures cannot be opened.", f"{TABLE} is missing or damaged.",
                              "Make them again.") from error

    def before_after(self, gene: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return counts, total counts and denoised log1p of one gene (by its place) in all cells, float32 [n] each.

        One column is read from the file, so that a page need not hold all of it.
        """
        import h5py
        from anndata.io import read_elem

        try:
            with h5py.File(self.path / outputs.CELLS, "r") as file:
                counts = read_elem(file["X"])[:, [gene]].toarray().ravel()
                return (counts.astype(np.float32), np.asarray(file["obs/total_counts"], np.float32),
                        np.asarray(file[f"layers/{DENOISED}"][:, gene], np.float32))
        except (OSError, KeyError, ValueError) as error:
            raise ScdiffError("The denoised cells cannot be opened.", f"{outputs.CELLS} is missing or damaged.",
                              "Denoise them again.") from error

    def cells(self) -> list[str]:
        """Return the names of the denoised cells."""
        import h5py
        from anndata.io import read_elem

        with h5py.File(self.path / outputs.CELLS, "r") as file:
            return [str(v) for v in read_elem(file["obs"]).index]


def results(job: JobDir, kind: str) -> list[UsesSet]:
    """Return the results of one kind (`denoise`, `typical`) in a run, the newest first."""
    return [UsesSet(p) for p in outputs.complete(job, kind, TABLE if kind == "typical" else outputs.CELLS)]


def filled(prepared: Prepared, made: AnnData, rows: np.ndarray | None = None) -> AnnData:
    """Return real and generated cells in one: counts in X, log1p in a layer, `synthetic` says which are which."""
    import anndata

    rows = np.arange(prepared.n_cells) if rows is None else rows
    obs = prepared.obs.iloc[rows].copy()
    obs[keys.SYNTHETIC] = False
    real = anndata.AnnData(prepared.counts[rows], obs=obs, var=pd.DataFrame(index=pd.Index(prepared.genes)),
                           layers={keys.LOG1P: prepared.log1p(rows)})
    both = anndata.concat([real, made], join="outer")
    both.obs[keys.SYNTHETIC] = both.obs[keys.SYNTHETIC].astype(bool)
    both.uns[keys.SCDIFF] = made.uns[keys.SCDIFF]
    return both
