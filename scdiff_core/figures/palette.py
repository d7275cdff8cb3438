"""Colours of groups and of values, safe for colour-blind people.

Smallest difference of any two colours of a palette, in CIEDE2000, under normal vision and simulated protanopia,
deuteranopia and tritanopia (Machado, Oliveira and Fernandes 2009, severity 1): Okabe-Ito 7.5, Tol bright 8.6, Tol
vibrant 8.6, Tol muted 11.5, Tol light 7.5, Many groups 9.2; the tests measure it anew. Sources: Okabe and Ito 2008,
"Color universal design"; Tol 2021, "Colour schemes", SRON/EPS/TN/09-002 (without his greys, which are for what is
missing); "Many groups" was grown here for the largest smallest difference (as Glasbey et al. 2007, with all four kinds
of sight). Tol muted and Tol bright are for white pages; his light one is for areas with text on them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from scdiff_core.errors import ScdiffError, nearest

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

DEFAULT, MANY = "Okabe-Ito", "Many groups"
PALETTES: dict[str, tuple[str, ...]] = {
    DEFAULT: OKABE_ITO,
    "Tol bright": ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377"),
    "Tol vibrant": ("#EE7733", "#0077BB", "#33BBEE", "#EE3377", "#CC3311", "#009988"),
    "Tol muted": ("#CC6677", "#332288", "#DDCC77", "#117733", "#88CCEE", "#882255", "#44AA99", "#999933", "#AA4499"),
    "Tol light": ("#77AADD", "#EE8866", "#EEDD88", "#FFAABB", "#99DDFF", "#44BB99", "#BBCC33", "#AAAA00"),
    MANY: ("#4488FF", "#AA7700", "#00FF99", "#554455", "#5500CC", "#CCDDEE", "#998888", "#445544",
           "#CC99CC", "#CCEE00", "#FF8800", "#DD3399", "#116611", "#0055FF", "#EEDDCC", "#33CCFF",
           "#778866", "#447777", "#991188", "#776644", "#33BB88", "#BBBB66", "#8877BB", "#BB2222"),
}

# stops of the maps of values, low to high, joined by straight lines in sRGB, for plotly and matplotlib alike
CONTINUOUS: dict[str, tuple[str, ...]] = {
    # viridis without its darkest fifth, which is lost on dark pages
    "viridis_light": ("#414487", "#355F8D", "#2A788E", "#21918C", "#22A884", "#44BF70", "#7AD151", "#BDDF26",
                      "#FDE725"),
    "viridis": ("#440154", "#481769", "#472A7A", "#433D84", "#3D4E8A", "#355E8D", "#2E6D8E", "#297B8E", "#23898E",
                "#1F978B", "#21A585", "#2EB37C", "#46C06F", "#65CB5E", "#89D548", "#B0DD2F", "#D8E219", "#FDE725"),
    "cividis": ("#00224E", "#002D68", "#163770", "#2E416D", "#3F4C6C", "#4E566C", "#5C616E", "#696B71", "#767676",
                "#838179", "#928C78", "#A09875", "#AFA471", "#BFB06B", "#CFBD62", "#DFCA57", "#F0D846", "#FEE838"),
    "magma": ("#000004", "#090720", "#1A1042", "#311165", "#4A1079", "#621980", "#792282", "#912B81", "#AA337D",
              "#C23B75", "#D9466B", "#EC5860", "#F7725C", "#FC8E64", "#FEAA74", "#FEC68A", "#FDE2A3", "#FCFDBF"),
    # blue, pale, red (ColorBrewer): for values with a sign, such as fold changes; its middle stands for 0
    "rdbu": ("#053061", "#2166AC", "#4393C3", "#92C5DE", "#D1E5F0", "#F7F7F7", "#FDDBC7", "#F4A582", "#D6604D",
             "#B2182B", "#67001F"),
}
PLAIN_MAP, DIVERGING = "viridis_light", "rdbu"

MISSING = "#C4C4C4"  # cells without a label
REAL, GENERATED = "#8C8C8C", "#D55E00"  # where only the two are compared; shape or panel differs too
KEPT, LOST = "#0072B2", "#D55E00"
LOWER, HIGHER = "#0072B2", "#D55E00"  # of a fold change


def colours(n: int, palette: str = DEFAULT) -> list[str]:
    """Return `n` colours for categories as #RRGGBB.

    Where `palette` is too short, all are taken from "Many groups" (24), so that none lies near another;
    the default one is continued with a longer list. After 48 they repeat, and only labels tell.

    Raises
    ------
    ScdiffError
        There is no such palette.
    """
    own = _named(PALETTES, palette, "palette")
    if palette != DEFAULT:
        if n <= len(own):
            return list(own[:n])
        if n <= len(PALETTES[MANY]):
            return list(PALETTES[MANY][:n])
    known = [*OKABE_ITO, *LONGER]
    return [known[i % len(known)] for i in range(n)]


def colour_map(values: Iterable[str], palette: str = DEFAULT) -> dict[str, str]:
    """Return value -> colour in the order given; the missing value "" is always grey."""
    names = [v for v in dict.fromkeys(map(str, values)) if v]
    return {**dict(zip(names, colours(len(names), palette), strict=True)), "": MISSING}


def stops(name: str | None = None) -> list[str]:
    """Return the stops of a map of values, low to high, as plotly's colour scales take them.

    Raises
    ------
    ScdiffError
        There is no such map.
    """
    return list(_named(CONTINUOUS, name or PLAIN_MAP, "colour map"))


def matplotlib_map(name: str | None = None) -> Any:
    """Return the same map for matplotlib."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list(name or PLAIN_MAP, stops(name))


def _named(known: dict[str, tuple[str, ...]], name: str, kind: str) -> tuple[str, ...]:
    if name not in known:
        raise ScdiffError(f"There is no {kind} '{name}'.", f"Known are {', '.join(known)}.",
                          nearest(name, list(known)) or "Choose one of them.")
    return known[name]
