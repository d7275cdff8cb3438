"""Configurations of jobs as they lie on disk, whichever kind they are of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from scdiff_core.config import (
    FORMAT,
    Frozen,
    GenerateConfig,
    InspectConfig,
    PredictConfig,
    PrepareConfig,
    TrainConfig,
    validate,
)
from scdiff_core.config_modes import ChangeConfig, TrajectoryConfig
from scdiff_core.config_screen import ScreenConfig
from scdiff_core.config_uses import DenoiseConfig, FillConfig, TypicalConfig
from scdiff_core.errors import ScdiffError

KINDS: dict[str, type[Frozen]] = {
    "inspect": InspectConfig,
    "prepare": PrepareConfig,
    "train": TrainConfig,
    "generate": GenerateConfig,
    "predict": PredictConfig,
    "screen": ScreenConfig,
    "trajectory": TrajectoryConfig,
    "change": ChangeConfig,
    "denoise": DenoiseConfig,
    "fill": FillConfig,
    "typical": TypicalConfig,
}


def from_yaml(path: Path) -> Any:
    """Read the configuration of a job from its yaml file.

    Raises
    ------
    ScdiffError
        The file is missing, is not yaml, comes from a newer version, or has a bad field.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ScdiffError(f"'{path.parent.name}' has no {path.name}.", "The file is missing.",
                          "Restore it from a copy, or move the folder away and start anew.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        at = f" at line {mark.line + 1}" if mark else ""
        raise ScdiffError(f"{path.name} of '{path.parent.name}' cannot be read.",
                          f"It is not valid yaml{at}.",
                          "Put the line right, or start the run anew.") from None
    if not isinstance(values, dict) or values.get("kind") not in KINDS:
        raise ScdiffError(f"{path.name} of '{path.parent.name}' cannot be read.",
                          "It does not say which kind of job it is (kind: train, prepare, ...).",
                          "Restore the file from a copy, or start the run anew.")
    version = values.get("format", FORMAT)
    if not isinstance(version, int) or version > FORMAT:
        raise ScdiffError(f"'{path.parent.name}' cannot be opened.",
                          f"It was written by a newer version of scDiff Studio (format {version}, "
                          f"this one reads up to {FORMAT}).", "Update scDiff Studio, then open it again.")
    return validate(KINDS[values["kind"]], values, f"{path.name} of '{path.parent.name}'")
