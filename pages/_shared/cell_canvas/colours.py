"""The colours that the cell canvas knows by name, and the range that they span."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Okabe and Ito 2008, told apart with every common kind of colour blindness
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")

# stops of each map, joined by straight lines in sRGB (matplotlib's maps to within 5 %)
_MAPS: dict[str, tuple[str, ...]] = {
    "viridis": (
        "#440154", "#481769", "#472a7a", "#433d84", "#3d4e8a", "#355e8d", "#2e6d8e", "#297b8e", "#23898e",
        "#1f978b", "#21a585", "#2eb37c", "#46c06f", "#65cb5e", "#89d548", "#b0dd2f", "#d8e219", "#fde725",
    ),
    "magma": (
        "#000004", "#090720", "#1a1042", "#311165", "#4a1079", "#621980", "#792282", "#912b81", "#aa337d",
        "#c23b75", "#d9466b", "#ec5860", "#f7725c", "#fc8e64", "#feaa74", "#fec68a", "#fde2a3", "#fcfdbf",
    ),
    "cividis": (
        "#00224e", "#002d68", "#163770", "#2e416d", "#3f4c6c", "#4e566c", "#5c616e", "#696b71", "#767676",
        "#838179", "#928c78", "#a09875", "#afa471", "#bfb06b", "#cfbd62", "#dfca57", "#f0d846", "#fee838",
    ),
    # blue, pale, red: for values with a sign
    "rdbu": ("#053061", "#2166ac", "#4393c3", "#92c5de", "#d1e5f0", "#f7f7f7", "#fddbc7", "#f4a582",
             "#d6604d", "#b2182b", "#67001f"),
}


def colour_stops(colour_map: str | Sequence[str]) -> tuple[str, ...]:
    """Return the stops of a map, low to high: a known name, or a list of hex colours as it is.

    Raises
    ------
    ValueError
        On an unknown name, or fewer than two colours.
    """
    if isinstance(colour_map, str):
        if colour_map not in _MAPS:
            raise ValueError(f"no colour map '{colour_map}': there are {', '.join(_MAPS)}")
        return _MAPS[colour_map]
    if len(colour_map) < 2:
        raise ValueError("a colour map needs two colours at least")
    return tuple(colour_map)


def gentle_range(*values: np.ndarray) -> tuple[float, float]:
    """Return where the colours of these values begin and end at first.

    The lowest and the highest value; or the 99th percentile of those above the lowest, where a few outliers
    would otherwise take more than half of the colours. A gene that most cells lack keeps its own scale so.
    """
    low, high = whole_range(*values)
    above = np.concatenate([v[np.isfinite(v) & (v > low)] for v in values]) if values else np.empty(0)
    top = float(np.percentile(above, 99)) if above.size else high
    return (low, top) if low < top < (low + high) / 2 else (low, high)


def whole_range(*values: np.ndarray) -> tuple[float, float]:
    """Return the lowest and the highest finite value; 0 and 1 where there is none."""
    seen = np.concatenate([v[np.isfinite(v)] for v in values]) if values else np.empty(0)
    return (float(seen.min()), float(seen.max())) if seen.size else (0.0, 1.0)
