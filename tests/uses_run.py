"""A small trained run on disk, with its dataset, for the tests of commands and pages."""

from __future__ import annotations

from pathlib import Path

from helpers import prepared_tiny

from scdiff_core.config import CodecConfig, DiffusionConfig, TrainConfig
from scdiff_core.engine.train import train
from scdiff_core.workspace import JobDir, Workspace


def small_run(root: Path, name: str = "run") -> JobDir:
    """Prepare the tiny cells (B, Monocyte, T) into a workspace and train on them for a second."""
    prepared = prepared_tiny(root, n_cells=240, n_genes=80)
    config = TrainConfig(dataset="tiny", fingerprint=prepared.fingerprint, device="cpu", threads=1,
                         codec=CodecConfig(n_latent=6, hidden=(24,), steps=40, minibatch=32),
                         diffusion=DiffusionConfig(width=24, depth=2, steps=40, minibatch=32),
                         checkpoint_every_s=1000.0, preview_every_s=1000.0)
    job = Workspace(root).create(config, name)
    for _ in train(job, prepared, config, resume=False):
        pass
    job.write_status(state="finished")
    return job
