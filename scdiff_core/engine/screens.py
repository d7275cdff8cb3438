"""Screens on disk as pages read them, and what is reckoned from tables of predicted effects: no torch, no scanpy.

A screen is the prediction of a whole list: one row a perturbation, the effects of all of them, and their cells.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scdiff_core.analysis.perturb import interval
from scdiff_core.config_screen import ScreenConfig
from scdiff_core.engine.outputs import RECIPE
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import CONFIG, JobDir, create_job, new_id, read_json

SCREENS, RANKING, ARRAYS, PAIRS, NEXT = "screens", "ranking.csv", "effects.npz", "pairs.csv", "next.csv"
NUMBERS = ("dose", "strength", "reach", "distance", "genes_up", "genes_down", "additivity", "x", "y", "gain",
           "additive", "predicted", "difference")
TEXT = ("perturbation", "pair", "gene", "kind", "how", "half", "effect", "a", "b", "reason", "alike")
FAR = 0.8  # a reach beyond this is told as out of reach


def certainty(effects: pd.DataFrame) -> pd.Series:
    """Return how sure each change is, as an adjusted p value out of the width of its 90 % interval.

    The number of predicted cells, which anybody can choose, has no part in it: the interval is taken as that of a
    normal about the log2 fold change, p is two-sided, and corrected (Benjamini-Hochberg) within each perturbation.
    """
    from scipy import special, stats  # half a second, which pages without a prediction need not wait for

    spread = ((effects["high"] - effects["low"]) / (2 * interval.Z)).to_numpy(float)
    change = np.abs(effects["log2fc"].to_numpy(float))
    z = np.divide(change, spread, out=np.where(change > 0, np.inf, 0.0), where=spread > 0)
    p = np.where(np.isfinite(change), 2 * special.ndtr(-z), np.nan)
    out = pd.Series(np.nan, index=effects.index)
    for _, rows in effects.groupby("perturbation", sort=False).indices.items():
        known = rows[np.isfinite(p[rows])]
        out.iloc[known] = stats.false_discovery_control(p[known])
    return out


def matrix(effects: pd.DataFrame, value: str = "log2fc") -> pd.DataFrame:
    """Return effects as perturbations by genes, both in the order in which they stand."""
    wide = effects.pivot_table(index="perturbation", columns="gene", values=value, sort=False, dropna=False)
    return wide.reindex(index=effects["perturbation"].drop_duplicates(), columns=effects["gene"].drop_duplicates())


@dataclass(frozen=True)
class Screen:
    """A directory that holds the predictions of a whole list."""

    path: Path

    @property
    def id(self) -> str:
        """The directory's name."""
        return self.path.name

    def recipe(self) -> dict[str, Any]:
        """Return what was asked for, and how it was done."""
        found = read_json(self.path / RECIPE, {})
        return found if isinstance(found, dict) else {}

    def ranking(self) -> pd.DataFrame:
        """Return one row a perturbation: strength, effect, how, reach, energy distance, additivity, x and y."""
        return self._table(RANKING)

    def pairs(self) -> pd.DataFrame:
        """Return the genes of pairs that are not additive: pair, gene, additive, predicted, kind, sure."""
        return self._table(PAIRS)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return `names` [P], `genes` [G], and float32 [P, G]: `log2fc`, `low`, `high`, `shift` (log1p)."""
        try:
            with np.load(self.path / ARRAYS, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except (OSError, ValueError) as error:
            raise ScdiffError("The screen cannot be opened.", f"{ARRAYS} is missing or damaged.",
                              "Screen the list again.") from error

    def _table(self, name: str) -> pd.DataFrame:
        try:
            return pd.read_csv(self.path / name, dtype=dict.fromkeys(TEXT, str), keep_default_na=False,
                               na_values={c: [""] for c in NUMBERS})
        except (OSError, ValueError) as error:
            raise ScdiffError("The screen cannot be opened.", f"{name} is missing or damaged.",
                              "Screen the list again.") from error


def create(run: JobDir, config: ScreenConfig) -> JobDir:
    """Make the directory of a screen in its run, ready for `jobs.start`."""
    return create_job(run.path / SCREENS / new_id(), config)


def run_of(job: JobDir) -> JobDir:
    """Return the run whose model a screen asks."""
    return JobDir(job.path.parent.parent, "train")


def unfinished(run: JobDir) -> list[JobDir]:
    """Return the screens of a run that have not come to an end: under way, stopped or failed; the newest first."""
    folder = run.path / SCREENS
    found = [p for p in folder.iterdir() if (p / CONFIG["screen"]).is_file() and not (p / RECIPE).is_file()] \
        if folder.is_dir() else []
    return [JobDir(p, "screen") for p in sorted(found, key=lambda p: p.name, reverse=True)]


def discard(job: JobDir) -> None:
    """Take away a screen that came to nothing."""
    shutil.rmtree(job.path, ignore_errors=True)


def list_screens(job: JobDir) -> list[Screen]:
    """Return the complete screens of a run, the newest first."""
    folder = job.path / SCREENS
    if not folder.is_dir():
        return []
    done = [p for p in folder.iterdir() if (p / RECIPE).is_file()]
    return [Screen(p) for p in sorted(done, key=lambda p: (p / RECIPE).stat().st_mtime, reverse=True)]
