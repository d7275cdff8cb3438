"""What the methods say of the choices of training: schedule, prediction, network and added loss terms."""

from __future__ import annotations

from scdiff_core.config import DiffusionConfig, TrainConfig
from scdiff_core.references import Citations

# as the engine has them (tests/test_methods_text.py holds them against it)
NOISE_MEAN, NOISE_STD, EDM_MEAN, EDM_STD = -0.4, 1.4, -0.507, 1.2
LEARNT_MIN, LEARNT_MAX = 0.02, 100.0  # noise to signal in training with even times


def noise_words(d: DiffusionConfig, cite: Citations) -> str:
    """Return what the network was asked for, and at which noise levels."""
    kind = d.prediction if d.prediction != "auto" else "flow" if d.schedule == "flow" else "edm"
    asked = {
        "edm": lambda: f"with the preconditioning and loss weights of EDM{cite('karras2022elucidating')}",
        "eps": lambda: f"to predict the noise{cite('ho2020denoising')}",
        "x0": lambda: "to predict the clean codes",
        "v": lambda: f"to predict v{cite('salimans2022progressive')}",
        "flow": lambda: f"to predict the velocity of flow matching{cite('lipman2023flow', 'liu2023flow')}",
    }[kind]()
    even = f"times uniform, noise-to-signal ratios from {LEARNT_MIN:g} to {LEARNT_MAX:g}"
    levels = {
        "standard": lambda: f"log noise level normal with mean {NOISE_MEAN:g} and standard deviation {NOISE_STD:g}",
        "edm": lambda: f"log noise level normal with mean {EDM_MEAN:g} and standard deviation {EDM_STD:g}"
                       f"{cite('karras2022elucidating')}",
        "linear": lambda: f"linear variance-preserving schedule{cite('ho2020denoising', 'song2021score')}, {even}",
        "cosine": lambda: f"cosine schedule{cite('nichol2021improved')}, {even}",
        "flow": lambda: f"straight paths between cells and noise{cite('lipman2023flow', 'liu2023flow')}, {even}",
        "custom": lambda: f"a schedule of our own, {d.schedule_file}, times uniform",
    }[d.schedule]()
    return f"{asked} ({levels})"


def grid_words(schedule: str, ratio_min: float, ratio_max: float, cite: Citations) -> str:
    """Return on which grid of noise levels cells were sampled."""
    if schedule == "custom":
        return "even times of that schedule"
    grid = {"linear": lambda: f"even times of a linear variance-preserving schedule{cite('song2021score')}",
            "edm": lambda: f"the grid of EDM{cite('karras2022elucidating')}",
            "flow": lambda: f"even times of straight paths{cite('lipman2023flow')}"}.get(
                schedule, lambda: f"a cosine schedule{cite('nichol2021improved')}")()
    return f"{grid} with noise-to-signal ratios from {ratio_max:g} to {ratio_min:g}"


def network_words(d: DiffusionConfig, cite: Citations) -> str:
    """Return what the network is."""
    if d.backbone == "transformer":
        return (f"the network is a transformer of {d.depth} blocks over {d.programs} programs of {d.program_width} "
                f"units with adaptive layer normalisation{cite('peebles2023scalable')}")
    return (f"the network has {d.depth} residual blocks of {d.width} units with adaptive layer normalisation"
            f"{cite('peebles2023scalable')}")


def term_words(d: DiffusionConfig, cite: Citations) -> str:
    """Return what was added to the loss; empty for nothing."""
    t = d.terms
    said = [words() for weight, words in (
        (t.sparsity, lambda: f"the mean absolute decoded expression (weight {t.sparsity:g})"),
        (t.non_negativity, lambda: f"the mean squared decoded expression below zero (weight {t.non_negativity:g})"),
        (t.pathways, lambda: f"the mean squared difference of the mean expression over gene sets from the cell's own "
                             f"(weight {t.pathways:g})"),
        (t.mmd, lambda: f"the squared maximum mean discrepancy{cite('gretton2012kernel')} between denoised and real "
                        f"codes (weight {t.mmd:g})")) if weight > 0]
    if not said:
        return ""
    return f" To its loss were added, where noise was less than signal, {' and '.join(said)}."


def machine_words(run: TrainConfig) -> str:
    """Return how the arithmetic differed from the usual; empty where it did not."""
    return " Networks ran in bfloat16 mixed precision." if run.precision == "bf16" else ""
