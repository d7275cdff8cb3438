"""Colours are told apart, on the page and by colour-blind eyes."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from scdiff_core.errors import ScdiffError
from scdiff_core.figures.palette import (
    CONTINUOUS,
    LONGER,
    MANY,
    MISSING,
    OKABE_ITO,
    PALETTES,
    colour_map,
    colours,
    matplotlib_map,
    stops,
)

# Machado, Oliveira and Fernandes 2009, table of severity 1.0; for linear RGB
SIGHT = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
# the smallest CIEDE2000 difference under any of them that the docstring claims
CLAIMED = {"Okabe-Ito": 7.5, "Tol bright": 8.6, "Tol vibrant": 8.6, "Tol muted": 11.5, "Tol light": 7.5, MANY: 9.2}


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255


def seen(names: tuple[str, ...], sight: str) -> np.ndarray:
    """CIELAB of colours as somebody sees them."""
    v = np.array([rgb(c) for c in names])
    linear = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4) @ np.array(SIGHT[sight]).T
    linear = np.clip(linear, 0, 1)
    return rgb2lab(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)[None])[0]


def contrast(a: str, b: str) -> float:
    """The contrast ratio of WCAG 2."""
    def light(c: str) -> float:
        v = rgb(c)
        return float(np.where(v <= 0.03928, v / 12.92, ((v + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])

    high, low = sorted((light(a), light(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_all_pairs_are_far_apart_in_lab() -> None:
    lab = rgb2lab(np.array([rgb(c) for c in colours(48)])[None])[0]
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=2) + 1e3 * np.eye(48)
    assert apart[:30, :30].min() > 25 and apart.min() > 20
    assert len(set(colours(48))) == 48


@pytest.mark.parametrize("name", PALETTES)
def test_every_pair_is_told_apart_by_colour_blind_eyes(name: str) -> None:
    least = {}
    for sight in SIGHT:
        lab = seen(PALETTES[name], sight)
        least[sight] = float((deltaE_ciede2000(lab[:, None], lab[None]) + 1e3 * np.eye(len(lab))).min())
    assert round(min(least.values()), 1) == CLAIMED[name], least
    # Okabe-Ito and Many groups, which are for any page, keep away from the grey of cells without a label too
    if name in ("Okabe-Ito", MANY):
        assert min(deltaE_ciede2000(seen(PALETTES[name], s), seen((MISSING,), s)).min() for s in SIGHT) > 9


def test_colours_show_on_light_and_dark_pages() -> None:
    for colour in (*OKABE_ITO, *LONGER, *PALETTES[MANY]):
        assert contrast(colour, "#FFFFFF") > 1.2 and contrast(colour, "#10181D") > 1.8, colour


def test_up_to_eight_are_okabe_ito_and_any_number_is_given() -> None:
    assert colours(8) == list(OKABE_ITO) and colours(0) == []
    assert len(colours(100)) == 100 and colours(100)[48] == OKABE_ITO[0]


def test_more_groups_than_a_palette_has_get_a_longer_one() -> None:
    assert next(iter(PALETTES)) == "Okabe-Ito"
    assert colours(6, "Tol bright") == list(PALETTES["Tol bright"])
    assert colours(10, "Tol bright") == list(PALETTES[MANY][:10])
    assert len(set(colours(48, "Tol muted"))) == 48
    with pytest.raises(ScdiffError, match="no palette 'tol brigt'"):
        colours(3, "tol brigt")


def test_colour_map_keeps_order_and_greys_what_is_missing() -> None:
    named = colour_map(["T", "", "B", "T"])
    assert named == {"T": OKABE_ITO[0], "B": OKABE_ITO[1], "": MISSING}
    assert colour_map(["T"], "Tol bright")["T"] == "#4477AA"


@pytest.mark.parametrize(("name", "theirs"), [("viridis", "viridis"), ("cividis", "cividis"), ("magma", "magma"),
                                              ("rdbu", "RdBu_r")])
def test_maps_of_values_are_matplotlibs(name: str, theirs: str) -> None:
    at = np.linspace(0, 1, 256)
    off = np.abs(matplotlib_map(name)(at)[:, :3] - matplotlib.colormaps[theirs](at)[:, :3]) * 255
    assert off.max() < 12 and off.mean() < 1.5


def test_maps_of_values_grow_lighter_or_are_pale_in_the_middle() -> None:
    for name in CONTINUOUS:
        light = rgb2lab(np.array([rgb(c) for c in stops(name)])[None])[0][:, 0]
        if name == "rdbu":
            assert light.argmax() == len(light) // 2
        else:
            assert (np.diff(light) > 0).all(), name
    with pytest.raises(ScdiffError, match="no colour map 'jet'"):
        stops("jet")
