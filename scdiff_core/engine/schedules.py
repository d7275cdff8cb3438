"""What `diffusion.schedule` and `diffusion.prediction` mean: the noise levels that are learnt and gone through."""

from __future__ import annotations

from torch import Tensor

from scdiff_core.config import DiffusionConfig
from scdiff_core.diffusion.denoiser import Preconditioned, preconditioning
from scdiff_core.diffusion.loss import EvenTimes, NoiseLevels
from scdiff_core.diffusion.schedule import Cosine, Flow, Karras, Linear, Schedule, Tabulated
from scdiff_core.nn.backbone import Conditioned

# where sampling begins and ends, whatever the schedule: less noise than a tenth tells nothing, since the latents of a
# cell are not known that well (benchmarks/samplers.py); and what is learnt goes a little further at both ends
SAMPLED, LEARNT = (0.1, 20.0), (0.02, 100.0)
STANDARD = Cosine(*SAMPLED)  # points even in the angle serve data of unit spread best
KINDS: dict[str, type[Linear] | type[Cosine] | type[Flow]] = {"linear": Linear, "cosine": Cosine, "flow": Flow}
LEVELS = NoiseLevels()
EDM_LEVELS = NoiseLevels(-0.507, 1.2)  # Karras et al. 2022, table 1 (-1.2 and 1.2, for data of half the spread)


def sampled(config: DiffusionConfig, table: Tensor | None = None) -> Schedule:
    """Return the schedule that samplers walk; `table` is that of a custom one (`custom_schedule.tabulate`)."""
    if config.schedule == "custom" and table is not None:
        return Tabulated(table)
    if config.schedule == "edm":
        return Karras(*SAMPLED)
    return KINDS.get(config.schedule, Cosine)(*SAMPLED)


def levels(config: DiffusionConfig, table: Tensor | None = None) -> NoiseLevels | EvenTimes:
    """Return the distribution of noise levels in training."""
    if config.schedule == "custom" and table is not None:
        return EvenTimes(Tabulated(table))
    if config.schedule in KINDS:
        return EvenTimes(KINDS[config.schedule](*LEARNT))
    return EDM_LEVELS if config.schedule == "edm" else LEVELS


def denoiser_of(network: Conditioned, config: DiffusionConfig, table: Tensor | None = None) -> Preconditioned:
    """Return a network as the denoiser that a configuration asks for."""
    kind = config.prediction
    if kind == "auto":
        kind = "flow" if config.schedule == "flow" else "edm"
    return Preconditioned(network, sampled(config, table), preconditioning(kind))
