"""What the worker and the commands do for the further modes of generation: paths, and cells changed in one respect."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from scdiff_core import config as cfg
from scdiff_core.config_modes import ChangeConfig, TrajectoryConfig
from scdiff_core.engine.generate import GenerateProgress
from scdiff_core.engine.steps import follow
from scdiff_core.errors import ScdiffError

if TYPE_CHECKING:
    from anndata import AnnData

    from scdiff_core.data.prepared import Prepared
    from scdiff_core.engine.model import Model
    from scdiff_core.engine.worker import Service, Tell

Config = TrajectoryConfig | ChangeConfig
KINDS: dict[str, type[Config]] = {"trajectory": TrajectoryConfig, "change": ChangeConfig}


def steps_of(model: Model, config: Config, prepared: Prepared | None) -> Generator[GenerateProgress, None, AnnData]:
    """Return the steps of what is asked; the AnnData is their return value."""
    from scdiff_core.engine.from_cells import change
    from scdiff_core.engine.trajectory import trajectory

    if isinstance(config, TrajectoryConfig):
        return trajectory(model, config, prepared)
    if prepared is None:
        raise ScdiffError("The cells cannot be changed.", "The run's dataset is not in this workspace.",
                          "Prepare the dataset here.")
    return change(model, prepared, config)


def make(service: Service, tell: Tell, run: str, kind: str, config: dict[str, Any], out_dir: str) -> dict[str, Any]:
    """Make a path or changed cells into a directory, as `outputs.write_set` does."""
    began = time.monotonic()
    job = service.job(run)
    asked: Config = cfg.validate(KINDS[kind], {**config, "run": job.id}, "The request")
    tell("loading the model", 0.0)
    model = service.model(job)
    prepared, _ = service.beside(job.config())
    adata = follow(steps_of(model, asked, prepared), lambda step, share: tell("generating", 0.85 * share))
    tell("placing the cells", 0.88)
    return service.put(job, adata, asked, out_dir, began)
