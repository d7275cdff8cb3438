"""Colours are told apart, on the page and by colour-blind eyes."""

from __future__ import annotations

import numpy as np
from skimage.color import rgb2lab

from scdiff_core.figures.palette import LONGER, MISSING, OKABE_ITO, colour_map, colours


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255


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


def test_colours_show_on_light_and_dark_pages() -> None:
    for colour in (*OKABE_ITO, *LONGER):
        assert contrast(colour, "#FFFFFF") > 1.2 and contrast(colour, "#10181D") > 1.8, colour


def test_up_to_eight_are_okabe_ito_and_any_number_is_given() -> None:
    assert colours(8) == list(OKABE_ITO) and colours(0) == []
    assert len(colours(100)) == 100 and colours(100)[48] == OKABE_ITO[0]


def test_colour_map_keeps_order_and_greys_what_is_missing() -> None:
    named = colour_map(["T", "", "B", "T"])
    assert named == {"T": OKABE_ITO[0], "B": OKABE_ITO[1], "": MISSING}
