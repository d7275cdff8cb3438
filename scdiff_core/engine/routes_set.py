"""Ranked routes on disk as pages read them, and the check of a run that they rest on: no torch, no scanpy."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from scdiff_core.analysis.design import plan
from scdiff_core.analysis.design.candidates import Checked, Routes, Trust
from scdiff_core.engine.outputs import RECIPE, savez
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir, atomic_write, read_json, write_json, write_text

FOLDER, ROUTES, RANKING, PLAN, TEXT, CHECK = ("routes", "routes.json", "ranking.csv", "plan.csv", "plan.md",
                                              "routes-check.npz")


@dataclass(frozen=True)
class RoutesSet:
    """A directory that holds one ranking."""

    path: Path

    @property
    def id(self) -> str:
        """The directory's name."""
        return self.path.name

    def recipe(self) -> dict[str, Any]:
        """Return what was asked for."""
        found = read_json(self.path / RECIPE, {})
        return found if isinstance(found, dict) else {}

    def routes(self) -> Routes:
        """Return the ranking; raises `ScdiffError` where its file is missing or damaged."""
        try:
            return Routes.from_dict(read_json(self.path / ROUTES))
        except (TypeError, KeyError, AttributeError) as error:
            raise ScdiffError("The ranking cannot be opened.", f"{ROUTES} is missing or damaged.",
                              "Rank the candidates again.") from error


def list_routes(job: JobDir) -> list[RoutesSet]:
    """Return the complete rankings of a run, the newest first."""
    folder = job.path / FOLDER
    if not folder.is_dir():
        return []
    done = [p for p in folder.iterdir() if (p / RECIPE).is_file()]
    return [RoutesSet(p) for p in sorted(done, key=lambda p: (p / RECIPE).stat().st_mtime, reverse=True)]


def write(path: Path, found: Routes, recipe: dict[str, Any]) -> RoutesSet:
    """Write a ranking: routes.json, ranking.csv, plan.csv, plan.md and, last, recipe.json."""
    write_json(path / ROUTES, found.to_dict())
    atomic_write(path / RANKING, lambda p: found.table().to_csv(p, index=False, float_format="%.6g"))
    atomic_write(path / PLAN, lambda p: plan.table(found).to_csv(p, index=False, float_format="%.6g"))
    write_text(path / TEXT, plan.text(found))
    write_json(path / RECIPE, {"kind": "routes", "synthetic": True, **recipe})
    return RoutesSet(path)


def save_check(job: JobDir, key: str, checked: Checked) -> None:
    """Keep what the check of a run found, for the run as it is now (`key`)."""
    told = json.dumps({"key": key, "trust": None if checked.trust is None else asdict(checked.trust)})
    arrays = {"about": np.array(told), **{f"errors {kind}": v for kind, v in checked.errors.items()}}
    atomic_write(job.path / CHECK, lambda p: savez(p, arrays))


def read_check(job: JobDir, key: str) -> Checked | None:
    """Return what was kept by `save_check` under the same key, None if there is nothing."""
    try:
        with np.load(job.path / CHECK, allow_pickle=False) as arrays:
            told = json.loads(str(arrays["about"]))
            if told["key"] != key:
                return None
            errors = {n.removeprefix("errors "): arrays[n] for n in arrays.files if n.startswith("errors ")}
        return Checked(None if told["trust"] is None else Trust(**told["trust"]), errors)
    except (OSError, ValueError, KeyError, TypeError, BadZipFile):
        return None
