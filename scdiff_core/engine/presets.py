"""How long to learn: three sets of settings that need no thought. Imports no torch: pages show them."""

from __future__ import annotations

from scdiff_core import keys
from scdiff_core.config import CodecConfig, DiffusionConfig
from scdiff_core.errors import ScdiffError, nearest

PRESETS: dict[str, tuple[CodecConfig, DiffusionConfig]] = {
    "quick": (CodecConfig(steps=450, hidden=(192,), lr=2e-3),
              DiffusionConfig(steps=600, width=256, ema=0.995, patience=10)),
    "standard": (CodecConfig(steps=1100), DiffusionConfig(steps=1500, width=384, patience=15)),
    "thorough": (CodecConfig(steps=4000, hidden=(384,)),
                 DiffusionConfig(steps=8000, width=512, depth=4, ema=0.9995, patience=20)),
}

# of the set diffusion, which has the predicted mean to begin with and less to learn
SETS: dict[str, DiffusionConfig] = {
    "quick": DiffusionConfig(steps=200, width=128, depth=2, ema=0.99),
    "standard": DiffusionConfig(steps=600, width=192, depth=2, ema=0.995),
    "thorough": DiffusionConfig(steps=3000, width=256, depth=3, ema=0.999),
}


def preset(name: str, values: str = keys.COUNTS, task: str = "generate") -> tuple[CodecConfig, DiffusionConfig]:
    """Return the settings of a preset for counts or continuous values, and for a task.

    Raises
    ------
    ScdiffError
        There is no preset of that name.
    """
    if name not in PRESETS:
        raise ScdiffError(f"There is no preset '{name}'.", nearest(name, PRESETS) or
                          "The presets are " + ", ".join(PRESETS) + ".", "Choose one of those.")
    codec, diffusion = PRESETS[name]
    if task == "perturb":
        diffusion = SETS[name]
    if values != keys.COUNTS:  # there are no molecules to thin
        codec = codec.model_copy(update={"thin": 1.0, "dropout": 0.2})
    return codec, diffusion
