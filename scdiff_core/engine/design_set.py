"""One set of designed cells on disk: what a generated set has, and the target, the report and its arrays.

Importing this needs neither torch nor scanpy, so a page may read a set.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scdiff_core import target as targets
from scdiff_core.analysis.design import report as reports
from scdiff_core.analysis.design.report import DesignReport
from scdiff_core.engine import outputs
from scdiff_core.errors import ScdiffError
from scdiff_core.selection import REAL
from scdiff_core.selections import Selections
from scdiff_core.target import Target
from scdiff_core.workspace import JobDir, Workspace, atomic_write, read_json, write_json, write_text

if TYPE_CHECKING:
    from anndata import AnnData

    from scdiff_core.data.embed import UmapModel
    from scdiff_core.data.prepared import Prepared
    from scdiff_core.engine.design_config import DesignConfig

KIND = "design"
TARGET, ARRAYS, LIVE = "target.yaml", "design.npz", "live.npz"
FIGURES, SIDE_EFFECTS, NEIGHBOURS, PROGRAMS = "figures.csv", "side_effects.csv", "neighbours.csv", "programs.csv"


@dataclass(frozen=True)
class DesignSet:
    """A directory that holds one set of designed cells."""

    path: Path

    @property
    def id(self) -> str:
        """The directory's name."""
        return self.path.name

    @property
    def made(self) -> outputs.GeneratedSet:
        """The same as a generated set."""
        return outputs.GeneratedSet(self.path)

    def cells(self) -> AnnData:
        """Read the cells; raises `ScdiffError` where the file is missing or damaged."""
        return self.made.cells()

    def recipe(self) -> dict[str, Any]:
        """Return how the cells were made."""
        return self.made.recipe()

    def view(self) -> dict[str, np.ndarray] | None:
        """Return what the page draws (`outputs.GeneratedSet.view`)."""
        return self.made.view()

    def target(self) -> Target:
        """Return the target with its levels filled in; raises `ScdiffError` where the file is damaged."""
        return targets.read(self.path / TARGET)

    def report(self) -> DesignReport | None:
        """Return what is said of the cells, None where there is nothing."""
        values = read_json(self.path / outputs.REPORT)
        return None if not isinstance(values, dict) else DesignReport.from_dict(values)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays beside the report (`engine.realism.Measured.arrays`), empty where there are none."""
        try:
            with np.load(self.path / ARRAYS, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except (FileNotFoundError, ValueError, OSError):
            return {}


def list_sets(job: JobDir) -> list[DesignSet]:
    """Return the designs of a run that are complete, the newest first."""
    return [DesignSet(made.path) for made in outputs.list_sets(job, KIND)]


def saved_selection(workspace: Workspace, prepared: Prepared, name: str) -> np.ndarray:
    """Return which cells of a dataset are in a saved selection, bool [N]; raises `ScdiffError` where it has none."""
    job = workspace.open("prepare", prepared.name)
    mask = Selections(job, prepared.fingerprint, prepared.n_cells).by_name(name).mask(REAL, prepared.n_cells)
    if not mask.any():
        raise ScdiffError(f"There are no cells to begin from in '{name}'.", "It holds generated cells only.",
                          "Choose a selection with real cells.")
    return mask


def write(path: Path, adata: AnnData, target: Target, report: DesignReport, arrays: dict[str, np.ndarray],
          config: DesignConfig, prepared: Prepared | None, umap: UmapModel | None = None) -> DesignSet:
    """Write a design into a directory; the recipe comes last but for the view, so that what is listed is whole."""
    path.mkdir(parents=True, exist_ok=True)
    write_text(path / TARGET, targets.write(target))
    atomic_write(path / ARRAYS, lambda p: outputs.savez(p, arrays))
    write_json(path / outputs.REPORT, report.to_dict())
    for name, text in ((FIGURES, reports.figures_table(report)), (SIDE_EFFECTS, reports.side_effects_table(report)),
                       (NEIGHBOURS, reports.neighbours_table(report)), (PROGRAMS, reports.programs_table(report))):
        write_text(path / name, text)
    outputs.write_set(path, adata, config, prepared, umap)
    (path / LIVE).unlink(missing_ok=True)
    return DesignSet(path)
