"""How long a training will take here, from timing a few of its steps."""

from __future__ import annotations

import time

import torch

from scdiff_core import keys, process
from scdiff_core.config import TrainConfig
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine.calibrate import TABLE_CELLS, encode
from scdiff_core.engine.phase import Phase
from scdiff_core.engine.preview import SHARE
from scdiff_core.engine.train import Training

WARM, TIMED = 2, 5  # steps
SOME = 512  # cells to time with
RESPONSE_SECONDS = 15.0  # the mean of perturbations is fitted, and the ways to move cells are tried


def estimate_seconds(prepared: Prepared, config: TrainConfig) -> float:
    """Return the seconds that a training would take on this machine, as it is now.

    Parameters
    ----------
    prepared, config
        What would be trained, and how.

    Raises
    ------
    ScdiffError
        The device is not there, or there is nothing to learn from.
    """
    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.set_num_threads(process.threads_for(config.threads))
            training = Training(prepared, config, n_max=SOME)
            codec_phase = training.phase("codec")
            codec = _step_seconds(codec_phase)
            began = time.perf_counter()
            encode(training.codec, training.cells)
            encoding = (time.perf_counter() - began) / len(training.cells)
            last = RESPONSE_SECONDS
            if config.task == "generate":
                diffusion = training.phase("diffusion")
                last = _step_seconds(diffusion) * diffusion.steps * (1 + SHARE)
    finally:
        torch.set_num_threads(threads)
    n = len(prepared.rows(keys.TRAIN))
    calibration = encoding * (2 * n + 4 * min(n, TABLE_CELLS))
    return codec * codec_phase.steps + calibration + last


def _step_seconds(phase: Phase) -> float:
    """Return the seconds of one step; the first few, which are slower, do not count."""
    for _ in range(WARM):
        phase.advance()
    times = []
    for _ in range(TIMED):
        began = time.perf_counter()
        float(phase.advance())
        times.append(time.perf_counter() - began)
    return sorted(times)[len(times) // 2]
