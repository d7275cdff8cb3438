"""A small trained model of perturbations in a workspace, for tests of what is done with one."""

from __future__ import annotations

from pathlib import Path

from fake_perturb import perturb_dataset

from scdiff_core.config import TrainConfig, validate
from scdiff_core.data.prepared import Prepared
from scdiff_core.data.simulate import Truth
from scdiff_core.engine.train import train
from scdiff_core.workspace import JobDir, Workspace

PAIR, *PAIRS = (c for c in Truth.build(n_genes=250).conditions() if "+" in c)
SMALL = {"codec": {"steps": 20, "hidden": [16], "n_latent": 4}, "diffusion": {"steps": 5, "width": 16}}


def trained_run(root: Path, hold_out: tuple[str, ...] = (PAIR,), name: str = "run",
                **options: object) -> tuple[Prepared, JobDir]:
    """Prepare a simulated experiment with some perturbations held out, and train on it for some steps.

    `options` are of `PerturbConfig`.
    """
    prepared, _ = perturb_dataset(root, n_cells=900, n_genes=250, hold_out=hold_out)
    config = validate(TrainConfig, {"dataset": "screen", "fingerprint": prepared.fingerprint, "task": "perturb",
                                    "device": "cpu", "perturb": {"spread": "moved", **options}, **SMALL}, "The test")
    job = Workspace(root).create(config, name)
    step = total = 0
    for event in train(job, prepared, config, resume=False):
        step, total = event.step, event.total
    job.write_status(state="finished", step=step, total=total)
    return prepared, job
