"""What the report of a model of perturbations says in sentences: how good it is, where a baseline is better, and how
it was judged.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from scdiff_core.analysis.perturb import card
from scdiff_core.analysis.perturb.baselines import LATENT

OURS, MEAN, MOVED = "this model", "its mean alone", "its mean, moved controls"
OWN = (OURS, MEAN, MOVED)
VARIANCE = (0.9, 1.1)  # of real cells: within it the spread counts as right
FLOOR_WORDS = "(against the other half)"
NAMES = {"control": "control cells as they are", "mean response": "the mean response",
         "mean response of the type": "the mean response of the cell type",
         "same in other types": "the same perturbation in other types", "additive": "the additive model",
         "nearest": "the nearest perturbation", "linear": "the linear model", LATENT: LATENT}


def sentence(values: dict[str, Any]) -> str:
    """Return in one sentence how good the model is on the first (largest) kind of held-out condition."""
    kind = max(values["kinds"], key=lambda k: k["n"])
    by = {m["method"]: m for m in kind["methods"]}
    if OURS not in by or by[OURS]["pearson"] is None:
        return "The model refused every held-out perturbation: nothing is known about them."
    rest = [m for m in by if m not in (*OWN, card.FLOOR) and by[m]["pearson"] is not None
            and by[m]["n"] == by[OURS]["n"]]
    best = max(rest, key=lambda m: by[m]["pearson"][0])
    near = min(rest, key=lambda m: by[m]["e_distance"][0])

    def of(method: str, key: str) -> str:
        value = by[method][key][0]
        return "0 (reckoned a little below it, by chance)" if key == "e_distance" and value < 0 else f"{value:.2f}"
    return (f"On {kind['n']} conditions ({kind['kind']}) the Pearson of change is {of(OURS, 'pearson')}; the best "
            f"baseline, {NAMES.get(best, best)}, has {of(best, 'pearson')}, half of the real cells {FLOOR_WORDS} "
            f"{of(card.FLOOR, 'pearson')}. The E-distance is {of(OURS, 'e_distance')}; the best baseline there, "
            f"{NAMES.get(near, near)}, has {of(near, 'e_distance')}, the floor {of(card.FLOOR, 'e_distance')}.")


def said_below(values: dict[str, Any]) -> list[str]:
    """Say each place where this model is below a baseline; in one sentence that there is none."""
    none = ["Nowhere below a baseline by more than the standard error of the difference."]
    return [*([_below(b) for b in values["below"]] or none), *(_below(b) for b in values["below_own"])]


def _below(entry: dict[str, Any]) -> str:
    name = NAMES.get(entry["method"], entry["method"])
    own = ", a part of this model itself," if entry["method"] in OWN else ""
    error = f"standard error {entry['se']:.3f}" if math.isfinite(entry["se"]) else \
        "one condition, so without a standard error"
    title = entry["title"] + (" (scaled)" if entry["scaled"] else "")
    return f"Below {name}{own} on {title} by {entry['by']:.3f} ({error})."


def notes(values: dict[str, Any]) -> list[str]:
    """Return what has to be said about how it was judged, the variance, the intervals and the halves."""
    said = []
    if not values["unseen"]:
        said.append("No perturbation was held out as a whole: these are other cells of perturbations that the model "
                    "was trained on. It says how well they are remembered, not how well an unseen one is predicted. "
                    "Prepare the data with --hold-out unseen-perturbation to know that.")
    if values["n_asked"] > values["n_conditions"]:
        said.append(f"{values['n_conditions']} of {values['n_asked']} held-out conditions were judged, evenly drawn, "
                    "so that the report does not take long.")
    refused = [c["perturbation"] for c in values["conditions"] if c.get("refused")]
    if refused:
        said.append(f"{len(refused)} conditions were refused, since nothing is known about them: "
                    f"{', '.join(dict.fromkeys(refused))}.")
    known = [c for c in values["conditions"] if c.get("coverage") is not None]
    if known:
        inside = sum(VARIANCE[0] <= number(c["variance_ratio"], 0.0) <= VARIANCE[1] for c in known)
        ratio, covered = np.median([c["variance_ratio"] for c in known]), np.mean([c["coverage"] for c in known])
        said.append(f"Genes vary {ratio:.2f} times as much in predicted as in real cells (the median); between "
                    f"{VARIANCE[0]} and {VARIANCE[1]} in {inside} of {len(known)} conditions.")
        said.append(f"{100 * covered:.0f} % of the measured log2 fold changes lie within the 90 % interval of what an "
                    "experiment with as many cells would measure.")
    said.append(f"The cells are {values['halves']['made']}")
    return said


def number(value: Any, otherwise: float) -> float:
    """Return a value that may be missing as a number."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else otherwise
