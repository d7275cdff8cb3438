"""The experiment that a list of routes leads to: which arms, with how many cells, beside which controls."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import pandas as pd

from scdiff_core.analysis.design.candidates import HYPOTHESES, Route, Routes, side_words
from scdiff_core.data.perturbations import Perturbation

LEVEL, POWER = 0.05, 0.8
GENES = 20  # that an arm is planned to show
FEWEST, MOST, STEP = 30, 2000, 10  # cells of an arm


def cells_needed(shift: np.ndarray, cell_sd: np.ndarray) -> int:
    """Return how many cells an arm (and its controls) need to show a predicted change [G], log1p.

    Of the 20 genes that change most in units of single cells' standard deviation [G], half are found with a power of
    80 % by a two-sided test at 5 %, corrected for 20 genes (normal approximation, Cohen 1988): at least 30, at most
    2,000, in steps of 10.
    """
    size = np.sort(np.abs(shift) / np.maximum(cell_sd, 1e-9))[::-1][:GENES]
    typical = float(np.median(size))
    if typical <= 0:
        return MOST
    z = NormalDist().inv_cdf(1 - LEVEL / GENES / 2) + NormalDist().inv_cdf(POWER)
    return int(np.clip(STEP * np.ceil(2 * (z / typical) ** 2 / STEP), FEWEST, MOST))


def controls_beside(what: Perturbation, dose: float | None, control: str, doses: Sequence[float]) -> tuple[str, ...]:
    """Return the arms that an experiment needs beside a candidate: the control, each part alone, the doses next to it.

    Parameters
    ----------
    control
        The label of the unperturbed cells.
    doses
        Those of the same perturbation that were measured.
    """
    found = [control]
    if len(what.parts) > 1:
        found += [f"{part} alone" for part in what.parts]
    if dose is not None:
        below, above = [d for d in doses if d < dose], [d for d in doses if d > dose]
        found += [f"{what.label} @ {d:g}" for d in (*below[-1:], *above[:1])]
    return tuple(found)


def table(routes: Routes, chosen: Sequence[str] | None = None, most: int = 5) -> pd.DataFrame:
    """Return the plan, one row an arm: the chosen candidates (by name; None: the best that go some of the way).

    Columns arm, role (candidate or control), for (which candidates need it), cells, and what is predicted of it.
    """
    picked = pick(routes, chosen, most)
    rows = [{"arm": r.name, "role": "candidate", "for": "", "cells": r.n_cells, "rank": r.rank, "answer": r.word,
             "way": r.way, "way_low": r.way_low, "way_high": r.way_high, "e_distance": r.energy,
             "e_distance_low": r.energy_low, "e_distance_high": r.energy_high, "e_distance_unmoved": r.nothing,
             "cosine": r.cosine, "reach": r.reach, "rests_on": r.how, "side_effects": side_words(r.side_effects)}
            for r in picked]
    wanted: dict[str, list[Route]] = {}
    for r in picked:
        for arm in r.controls:
            wanted.setdefault(arm.removesuffix(" alone"), []).append(r)
    names = {r.name for r in picked}
    rows += [{"arm": arm, "role": "control", "for": "; ".join(r.name for r in of),
              "cells": max(r.n_cells for r in of)} for arm, of in wanted.items() if arm not in names]
    columns = ["arm", "role", "for", "cells", "rank", "answer", "way", "way_low", "way_high", "e_distance",
               "e_distance_low", "e_distance_high", "e_distance_unmoved", "cosine", "reach", "rests_on", "side_effects"]
    return pd.DataFrame(rows, columns=columns)


def pick(routes: Routes, chosen: Sequence[str] | None, most: int) -> list[Route]:
    """Return the candidates of a plan, the best first."""
    if chosen is not None:
        return [r for r in routes.rows if r.name in set(chosen)]
    return [r for r in routes.rows if r.useful][:most]


def text(routes: Routes, chosen: Sequence[str] | None = None, most: int = 5) -> str:
    """Return the plan as a short text for a notebook."""
    picked = pick(routes, chosen, most)
    lines = ["# A plan", "", f"From {routes.start} ({routes.n_start:,} cells) to {routes.goal} "
             f"({routes.n_goal:,} cells).", "", routes.words]
    for r in picked:
        said = [f"## {r.rank}. {r.name}", f"Rests on: {r.how}."]
        if r.way is not None:
            said.append(f"Predicted to go {_percent(r.way)} of the way (90 % interval {_percent(r.way_low)} to "
                        f"{_percent(r.way_high)}); E-distance to the designed cells {r.energy:.3g} "
                        f"({r.energy_low:.3g} to {r.energy_high:.3g}), {r.nothing:.3g} if nothing is done.")
        said.append(f"Unasked changes ({r.n_side}): {side_words(r.side_effects) or 'none beyond doubt'}.")
        said.append(f"{r.n_cells} cells of each arm; beside it: {', '.join(r.controls)}.")
        lines += ["", *said]
    lines += ["", f"Ranked by: {routes.rule_words}."]
    if routes.trust is not None:
        lines.append(routes.trust.words())
    return "\n".join([*lines, HYPOTHESES]) + "\n"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"
