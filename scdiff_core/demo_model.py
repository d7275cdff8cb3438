"""The small model that comes with the app: put into a workspace, so that it is used like any other."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir, Workspace

ASSETS = Path(__file__).resolve().parent.parent / "assets" / "demo"
NAME = "demo-pbmc68k"
RECIPES = ("prepare.yaml", "config.yaml")


def install(workspace: Workspace, assets: Path = ASSETS) -> tuple[JobDir, JobDir]:
    """Copy the demo's dataset and run into a workspace, where they are not there yet.

    A demo of another version of the product, which may not open any more, goes to the trash first.

    Returns
    -------
    tuple
        The dataset's and the run's directory.

    Raises
    ------
    ScdiffError
        The demo's files are missing from this installation.
    """
    made = []
    for kind, part in (("prepare", "dataset"), ("train", "run")):
        source, target = assets / part, workspace.folder(kind) / NAME
        if not source.is_dir():
            raise ScdiffError("The demo cannot be shown.", f"Its files are missing ('assets/demo/{part}').",
                              "Fetch the project again, or type `make demo` to build them anew.")
        if target.exists() and _recipe(target) != _recipe(source):
            workspace.trash(JobDir(target, kind))
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f".{NAME}.{os.getpid()}")
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.copytree(source, temporary)
            try:
                os.replace(temporary, target)
            except OSError:  # another visitor was quicker
                shutil.rmtree(temporary, ignore_errors=True)
        made.append(JobDir(target, kind))
    return made[0], made[1]


def _recipe(folder: Path) -> list[str]:
    """Return what a dataset or run was made from: the text of its configuration."""
    return [f.read_text(encoding="utf-8") for name in RECIPES if (f := folder / name).is_file()]
