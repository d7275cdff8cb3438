"""How long a training will take here, from timing a few of its steps."""

from __future__ import annotations

import time

import numpy as np
import torch

from scdiff_core import keys, process
from scdiff_core.analysis.perturb.arms import collect
from scdiff_core.analysis.perturb.effects import detect
from scdiff_core.analysis.perturb.response import fit_arms, folds
from scdiff_core.config import TrainConfig
from scdiff_core.data.chosen import evenly
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine.calibrate import TABLE_CELLS, encode
from scdiff_core.engine.device import adam
from scdiff_core.engine.phase import Phase
from scdiff_core.engine.preview import SHARE
from scdiff_core.engine.spread import build_sets
from scdiff_core.engine.train import Training
from scdiff_core.engine.train_codec import codec_steps
from scdiff_core.nn.control_set import SetCondition

WARM, TIMED = 2, 5  # steps
SOME = 512  # cells to time with
FEW_ARMS = 8  # perturbed arms whose test is timed
FITS = 60  # refits that the rest of the response phase, and the judging of sets, take about as long as
N_PERT = 32  # length of a perturbation's vector, about
_RESPONSE: dict[str, float] = {}  # fingerprint -> seconds, as measured in this process


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
            codec = 0.0
            if codec_steps(config.codec):
                codec_phase = training.phase("codec")
                codec = _step_seconds(codec_phase) * codec_phase.steps
            began = time.perf_counter()
            encode(training.codec, training.cells)
            encoding = (time.perf_counter() - began) / len(training.cells)
            if config.task == "perturb":
                last = _response_seconds(prepared) + _sets_seconds(config, training.codec.n_dims)
            else:
                diffusion = training.phase("diffusion")
                last = _step_seconds(diffusion) * diffusion.steps * (1 + SHARE)
    finally:
        torch.set_num_threads(threads)
    n = len(prepared.rows(keys.TRAIN))
    calibration = encoding * (2 * n + 4 * min(n, TABLE_CELLS))
    return codec + calibration + last


def _response_seconds(prepared: Prepared) -> float:
    """Return the seconds that the mean responses take, from a few tests and one refit of them.

    They are the same for every preset, and timing them takes seconds: it is done once for each dataset.
    """
    if prepared.fingerprint in _RESPONSE:
        return _RESPONSE[prepared.fingerprint]
    log1p = prepared.log1p()
    arms = collect(log1p, prepared.obs, prepared.roles, prepared.rows(keys.TRAIN))
    perturbed = np.flatnonzero(~arms.is_control)
    timed, few = evenly(perturbed, FEW_ARMS), arms.is_control.copy()
    few[timed] = True
    some = arms.take(few)
    began = time.perf_counter()
    detect(log1p, some)
    tests = (time.perf_counter() - began) * len(perturbed) / max(len(timed), 1)
    genes = prepared.genes.tolist()
    start = fit_arms(some, genes, ())
    began = time.perf_counter()
    fit_arms(arms, genes, (), start)
    refit = time.perf_counter() - began
    _RESPONSE[prepared.fingerprint] = tests + refit * (FITS + len(folds(arms)))
    return _RESPONSE[prepared.fingerprint]


def _sets_seconds(config: TrainConfig, n_dims: int) -> float:
    """Return the seconds that the set diffusion takes, from steps of a network of that size on noise."""
    if config.perturb.spread == "moved":
        return 0.0
    n, size = config.diffusion.minibatch, config.perturb.set_size
    network = build_sets(config.diffusion, n_dims, N_PERT)
    x, condition = torch.randn(n, n_dims), SetCondition(torch.randn(n, n_dims), torch.randn(n, N_PERT),
                                                        torch.randn(n, size, n_dims), torch.ones(n, dtype=torch.bool))
    optimiser = adam([{"params": list(network.parameters()), "lr": config.diffusion.lr}], torch.device("cpu"), 0.0)
    times = []
    for _ in range(WARM + TIMED):
        began = time.perf_counter()
        optimiser.zero_grad()
        network(x, torch.ones(n), condition).square().mean().backward()
        optimiser.step()
        times.append(time.perf_counter() - began)
    return sorted(times[WARM:])[TIMED // 2] * config.diffusion.steps


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
