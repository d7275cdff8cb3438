"""The tables of the benchmark of designed cells."""

from __future__ import annotations

from typing import Any

import numpy as np

METHODS = ("ours", "gradient guidance", "rejection", "latent editing", "codec alone", "floor", "held-out cells")
UNITS = 0.006  # the floor in the units in which a distance must be at most ENERGY
ENERGY, UNREAL, DIVERSITY, SECONDS = 0.1, 0.05, 0.9, 10.0


def text(found: dict[str, Any]) -> str:
    """Return all tables as markdown."""
    rows, about = found["rows"], found["about"]
    parts = ["## Inverse design",
             f"{about['cells']} cells, preset {about['preset']}, seeds {', '.join(map(str, about['seeds']))}: means, "
             "± standard deviation. E-distance: in the principal components of denoised expression, equally many cells "
             "of each, and the same as a multiple of the floor (one half of the true cells against the other) times "
             f"{UNITS}; of cells: with their counts. Unreal: share beyond the 95th percentile of held-out cells' "
             "10-nearest-neighbour distance, in cells with their counts and in codes; the floor's is that of true "
             "cells, which on PBMC3k are the model's own; held-out cells are all real ones that meet the target and "
             "were never trained on. Codec alone: true cells encoded and drawn again, in which no sampler has a part. "
             "Diversity: mean distance between two cells over that of true ones, of denoised expression and of cells "
             "with their counts (in which the codec's own counting noise is compared as well). Seconds: CPU, one "
             "thread; of rejection, reckoned from its share."]
    for name in dict.fromkeys(r["data"] for r in rows):
        parts.append(f"### {name}\n\n" + _table([r for r in rows if r["data"] == name]))
    parts.append("### Musts\n\n" + musts(rows))
    if found.get("questions"):
        parts.append("### Two questions\n\n| asked | seed | feasibility | said | nearest real cells are monocytes or "
                     "DC |\n|---|---|---|---|---|\n" + "\n".join(
                         f"| {q['what']} | {q['seed']} | {q['word']} | {q['words']} | "
                         f"{'' if 'believable' not in q else format(100 * q['believable'], '.0f') + ' %'} |"
                         for q in found["questions"]))
    return "\n\n".join(parts)


def scaled(row: dict[str, Any], rows: list[dict[str, Any]], key: str = "energy") -> float | None:
    """Return a distance in units where the floor of the same truth is `UNITS`."""
    floor = next((r[key] for r in rows if r["method"] == "floor" and (r["data"], r["seed"], r["rate"]) ==
                  (row["data"], row["seed"], row["rate"])), None)
    return None if floor is None or row.get(key) is None else row[key] / floor * UNITS


def _table(rows: list[dict[str, Any]]) -> str:
    head = ("| base rate | method | hits | E-distance | in units | E of cells | unreal | in codes | diversity | "
            "of cells | ancestors | s |\n"
            "|---|---|---|---|---|---|---|---|---|---|---|---|")
    lines = []
    for rate in dict.fromkeys(r["rate"] for r in rows):
        for method in METHODS:
            own = [r for r in rows if r["rate"] == rate and r["method"] == method]
            if own:
                cells = [_many([r["hits"] for r in own], 100, " %"), _many([r.get("energy") for r in own]),
                         _many([scaled(r, rows) for r in own]), _many([r.get("energy_cells") for r in own]),
                         _many([r["unreal"] for r in own], 100, " %"),
                         _many([r.get("unreal_codes") for r in own], 100, " %"),
                         _many([r.get("diversity_mild") for r in own]), _many([r.get("diversity") for r in own]),
                         _many([r.get("ancestors") for r in own], digits=0),
                         _many([r.get("seconds") for r in own], digits=1)]
                lines.append(f"| {100 * rate:g} % | {method} | " + " | ".join(cells) + " |")
    return "\n".join([head, *lines])


def _many(values: list[float | None], times: float = 1.0, unit: str = "", digits: int | None = None) -> str:
    known = np.array([v for v in values if v is not None], float) * times
    if not len(known):
        return "–"
    digits = digits if digits is not None else 1 if unit else 3
    more = f" ± {known.std():.{digits}f}" if len(known) > 1 else ""
    return f"{known.mean():.{digits}f}{unit}{more}"


def musts(rows: list[dict[str, Any]]) -> str:
    """Return which musts hold for ours down to a base rate of 0.25 %, by data set: the worst of the means."""
    lines = ["| data | what | must | worst base rate | holds | floor | held-out cells |",
             "|---|---|---|---|---|---|---|"]
    for name in dict.fromkeys(r["data"] for r in rows):
        here = [r for r in rows if r["data"] == name and r["rate"] > 0]
        own = [r for r in here if r["method"] == "ours"]

        def worst(values: dict[float, list[float]], highest: bool) -> tuple[float, float] | None:
            means = {rate: float(np.mean(v)) for rate, v in values.items() if v}
            return (max if highest else min)(((v, k) for k, v in means.items()), default=None)

        def by_rate(value: Any, own: list[dict[str, Any]] = own) -> dict[float, list[float]]:
            out: dict[float, list[float]] = {}
            for r in own:
                if (v := value(r)) is not None:
                    out.setdefault(r["rate"], []).append(v)
            return out

        def beside(method: str, value: Any, rate: float, here: list[dict[str, Any]] = here) -> str:
            found = [v for r in here if r["method"] == method and r["rate"] == rate
                     and (v := value(r)) is not None]
            return f"{np.mean(found):.3f}" if found else "–"

        for what, must, value, highest in (
                ("hits", 1.0, lambda r: r["hits"], False), ("unreal", UNREAL, lambda r: r.get("unreal"), True),
                ("E-distance in units", ENERGY, lambda r: scaled(r, rows), True),
                ("diversity", DIVERSITY, lambda r: r.get("diversity_mild"), False),
                ("diversity of cells with their counts", DIVERSITY, lambda r: r.get("diversity"), False),
                ("CPU seconds", SECONDS, lambda r: r.get("seconds"), True)):
            found = worst(by_rate(value), highest)
            if found is not None:
                holds = found[0] <= must if highest else found[0] >= must
                lines.append(f"| {name} | {what} | {'≤' if highest else '≥'} {must:g} | {found[0]:.3f} at "
                             f"{100 * found[1]:g} % | {'yes' if holds else '✗'} | "
                             f"{beside('floor', value, found[1])} | {beside('held-out cells', value, found[1])} |")
    return "\n".join(lines)
