"""Colours of categories: Okabe-Ito up to eight, then a longer list with every pair told apart."""

from __future__ import annotations

from collections.abc import Iterable

# Okabe and Ito 2008, safe with colour blindness; its black is a grey here, so that it shows on dark pages
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#8C8C8C")

# grown colour by colour (Glasbey et al. 2007): each the farthest in CIELAB, plainly seen and as a
# deuteranope sees it, from all before it, among those that show on white and on dark pages
LONGER = (
    "#4B00FF", "#00E13C", "#3C4BD2", "#FF005A", "#FF00D2", "#5A5A00", "#FFB487", "#873C2D",
    "#A50078", "#C35AFF", "#2D8700", "#00E1E1", "#A596FF", "#B4C378", "#694B87", "#3C5A3C",
    "#FF7887", "#FF87F0", "#1EE187", "#FF0000", "#FF5A4B", "#96D22D", "#008796", "#4B3CF0",
    "#B40F4B", "#B40FFF", "#784B5A", "#B4782D", "#FF3C96", "#D2C3FF", "#0069D2", "#87960F",
    "#871EA5", "#87875A", "#FFB4B4", "#87C3A5", "#A55AB4", "#5A873C", "#8787B4", "#A51E0F",
)

MISSING = "#C4C4C4"  # cells without a label
REAL, GENERATED = "#8C8C8C", "#D55E00"  # where only the two are compared; shape or panel differs too
KEPT, LOST = "#0072B2", "#D55E00"


def colours(n: int) -> list[str]:
    """Return `n` colours for categories as #RRGGBB; after 48 they repeat, and only labels tell."""
    known = [*OKABE_ITO, *LONGER]
    return [known[i % len(known)] for i in range(n)]


def colour_map(values: Iterable[str]) -> dict[str, str]:
    """Return value -> colour in the order given; the missing value "" is always grey."""
    names = [v for v in dict.fromkeys(map(str, values)) if v]
    return {**dict(zip(names, colours(len(names)), strict=True)), "": MISSING}
