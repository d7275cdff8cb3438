"""Choices of training that do not go together, told before a run begins."""

from __future__ import annotations

from scdiff_core import keys
from scdiff_core.config import TrainConfig
from scdiff_core.errors import ScdiffError

SCHEDULES = "schedules"  # the folder of a workspace for schedules of one's own, and how one is written
SCHEDULE_EXAMPLE = ("import torch\n\nclass Schedule:\n    def __call__(self, t):\n        angle = 0.05 + 1.45 * t\n"
                    "        return torch.cos(angle), torch.sin(angle)")


def check(config: TrainConfig, values: str) -> None:
    """Check the choices of a run for data whose values are counts or continuous.

    Raises
    ------
    ScdiffError
        Two of them cannot be had together; says which, and what to do.
    """
    codec, diffusion = config.codec, config.diffusion
    if config.task == "perturb":
        if codec.kind == "genes":
            raise ScdiffError("A model of perturbations cannot be of the genes themselves.",
                              "It moves the codes of control cells, and so needs a codec.",
                              "Set the codec to vae or pca, or train for generating cells.")
        if diffusion.terms.on or diffusion.schedule != "standard" or diffusion.backbone != "mlp" or \
                diffusion.prediction != "auto":
            raise ScdiffError("A model of perturbations cannot be trained with these choices.",
                              "Schedule, prediction, backbone and added loss terms are for generating cells; its own "
                              "diffusion works on sets of cells.",
                              "Leave them at their standard, or train for generating cells.")
    if codec.kind == "genes" and codec.start_from is not None:
        raise ScdiffError("There is no codec to start from.", "A diffusion of the genes themselves has none.",
                          "Leave codec.start_from out, or choose the codec vae.")
    if diffusion.terms.non_negativity > 0 and codec.kind == "vae" and values == keys.COUNTS:
        raise ScdiffError("The term for non-negativity has nothing to act on.",
                          "The autoencoder decodes counts to rates, which are never below zero.",
                          "Leave diffusion.terms.non_negativity out, or choose the codec genes or pca.")
