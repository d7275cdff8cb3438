"""Markdown tables of the benchmark of perturbations, from its results as plain JSON. No figure is typed here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks import perturb_halves
from benchmarks.tables import markdown
from scdiff_core.analysis.perturb import card, panel
from scdiff_core.analysis.perturb.judged import (
    TITLES,
    Row,
    below,
    below_scaled,
    by_condition,
    leaks,
    mean_se,
    methods,
    scaled_rows,
)

OURS, MEAN, FLOOR, BASE = "ours", "ours, mean alone", card.FLOOR, card.SCALED_BY
VARIANCE = (0.9, 1.1)


def plain(value: Any) -> Any:
    """Return results as plain JSON: numpy numbers as Python's, and what is not finite as null."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def flags(rows: Sequence[Row], panels: Sequence[dict[str, Any]], who: str = OURS) -> list[str]:
    """Say every place where `who` is below a baseline by more than the standard error of their difference."""
    others = [m for m in methods(rows) if m not in (OURS, MEAN, FLOOR)]
    return [b.words() for b in (*below(rows, who, others), *below_scaled(panels, who, others))]


def show(values: Sequence[float], digits: int = 3) -> str:
    """Return mean ± standard error; a dash for nothing."""
    if not len(values):
        return "–"
    mean, se = mean_se(values)
    return f"{mean:.{digits}f}" + (f" ± {se:.{digits}f}" if math.isfinite(se) else "")


def scores_table(rows: Sequence[Row], who: str) -> str:
    """Return one table of all methods and scores, over the conditions that `who` answered.

    Where a method has no answer to some of them, their number stands behind its name.
    """
    asked = {r["condition"] for r in rows if r["method"] == who}
    rows = [r for r in rows if r["condition"] in asked]
    keys = [k for k in TITLES if any(r.get(k) is not None for r in rows)]
    lines = [["", *(TITLES[k] for k in keys)]]
    for method in methods(rows):
        n = len({r["condition"] for r in rows if r["method"] == method})
        lines.append([method + (f" ({n})" if n < len(asked) else ""),
                      *(show(list(by_condition(rows, method, k).values())) for k in keys)])
    return markdown(lines)


def six_table(panels: Sequence[dict[str, Any]]) -> str:
    """Return the six scaled scores of all methods, with what 0 and 1 stand for."""
    rows = scaled_rows(panels)
    lines = [["scaled: 0 mean response, 1 replicate", *panel.SIX.values()]]
    for method in dict.fromkeys(m for one in panels for m in one["methods"]):
        lines.append([method, *(show(list(by_condition(rows, method, k).values()), 2) for k in panel.SIX)])
    for name, of in (("(mean response, unscaled)", lambda one, k: panel.mean(one["methods"].get(BASE, {}).get(k, {}))),
                     ("(replicate, unscaled)", lambda one, k: one["replicate"].get(k))):
        cells = []
        for key in panel.SIX:
            known = [v for one in panels if (v := of(one, key)) is not None and math.isfinite(v)]
            cells.append(f"{np.mean(known):.3f}" if known else "no answer")
        lines.append([name, *cells])
    return markdown(lines)


def section(part: str, found: dict[str, Any]) -> str:
    """Return the section of one part that consists of folds."""
    rows, panels = found["rows"], found["panels"]
    words = [f"## {part}", f"{_said(found)} ± is the standard error over conditions, of means over seeds."]
    for kind in dict.fromkeys(r["kind"] for r in rows):
        mine = [r for r in rows if r["kind"] == kind]
        conditions = dict.fromkeys(r["condition"] for r in mine)
        who = OURS if any(r["method"] == OURS for r in mine) else MEAN
        words += [f"### {part}: {kind} ({len(conditions)} conditions)", scores_table(mine, who)]
        of_kind = [p for p in panels if p["kind"] == kind]
        if of_kind:
            words.append(six_table(of_kind))
        said = flags(mine, of_kind, who)
        words.append(_list(said) if said else f"No place where {who} is below a baseline by more than the SE.")
        variance = by_condition(mine, who, "variance_ratio")
        if variance:
            inside = sum(VARIANCE[0] <= v <= VARIANCE[1] for v in variance.values())
            words.append(f"Per-gene variance of {who} within {VARIANCE[0]} to {VARIANCE[1]}: {inside} of "
                         f"{len(variance)} conditions, mean {np.mean(list(variance.values())):.2f}.")
    if part == "kang":
        words.append(kang_table(rows, panels))
    names = sorted({line.partition(": ")[0] for line in found.get("refused", [])})
    words += [f"Refused by ours, for want of an embedding: {', '.join(names)}." if names else "", _leaks(found),
              _times(found)]
    return "\n\n".join(w for w in words if w)


def kang_table(rows: Sequence[Row], panels: Sequence[dict[str, Any]]) -> str:
    """Return what each type gets: Pearson of change and E-distance by method, mean ± standard deviation over seeds."""
    conditions = list(dict.fromkeys(r["condition"] for r in rows))
    words = []
    for key in ("pearson", "e_distance"):
        lines = [[TITLES[key], *conditions]]
        for method in methods(rows):
            cells = []
            for condition in conditions:
                known = [r[key] for r in rows if r["method"] == method and r["condition"] == condition
                         and r.get(key) is not None]
                sd = f" ± {np.std(known, ddof=1):.3f}" if len(known) > 1 else ""
                cells.append(f"{np.mean(known):.3f}{sd}" if known else "–")
            lines.append([method, *cells])
        if key == "e_distance":
            lines.append(["spread of the floor", *(f"{_spread(rows, c, key):.3f}" for c in conditions)])
        words.append(markdown(lines))
    verdicts = [words_of for c in conditions if (words_of := _kang_verdict(rows, c))]
    return "\n\n".join([*words, _list(verdicts)])


def _spread(rows: Sequence[Row], condition: str, key: str) -> float:
    return float(np.mean([r["spread"][key] for r in rows if r["method"] == FLOOR and r["condition"] == condition]))


def _kang_verdict(rows: Sequence[Row], condition: str) -> str:
    values = {m: [r["e_distance"] for r in rows if r["method"] == m and r["condition"] == condition]
              for m in (OURS, "latent arithmetic")}
    if not all(values.values()):
        return ""
    ours, latent = (float(np.mean(v)) for v in values.values())
    spread = _spread(rows, condition, "e_distance")
    return (f"{condition}: E-distance {ours:.3f}, {ours / latent:.2f} of latent arithmetic's {latent:.3f}; "
            f"{'within' if ours <= 2 * spread else 'not within'} twice the floor's spread ({2 * spread:.3f})")


def mcfaline_section(found: dict[str, Any]) -> str:
    """Return how often each answer was given."""
    lines = [["", "no detectable effect", "weak", "clear", "strong"]]
    for held, name in ((False, "measured"), (True, "held out in turn")):
        rows = [r for r in found["rows"] if r["held_out"] == held]
        lines.append([f"{name}: perturbation × line", *(str(sum(r["effect"] == e for r in rows))
                                                        for e in ("none", "weak", "clear", "strong"))])
        for seed in dict.fromkeys(r["seed"] for r in rows):
            mine = [r for r in rows if r["seed"] == seed]
            names = {r["perturbation"] for r in mine}
            kinds = {p: [r["effect"] for r in mine if r["perturbation"] == p] for p in names}
            most = [max(v, key=v.count) for v in kinds.values()]
            lines.append([f"{name}: of nine perturbations (most lines), seed {seed}",
                          *(str(most.count(e)) for e in ("none", "weak", "clear", "strong"))])
    return "\n\n".join(["## mcfaline", _said(found), markdown(lines)])


def demo_section(found: dict[str, Any]) -> str:
    """Return agreement with the truth, coverage and how well synergy is found."""
    rows = found["rows"]
    kinds = {r["what"]: [other for other in rows if other["what"] == r["what"]] for r in rows}
    lines = [["Pearson of change with the truth", *kinds]]
    for method in methods(rows):
        lines.append([method, *(show(list(by_condition(mine, method, "pearson").values())) for mine in kinds.values())])
    for key, title in (("coverage", "coverage of the 90 % intervals of log2fc"), ("coverage_shift", "of the change")):
        lines.append([title, *(show(list(by_condition(mine, MEAN, key).values())) for mine in kinds.values())])
    seeds = dict.fromkeys(r["seed"] for r in found["synergy"])
    aucs = ", ".join(f"{_auc([r for r in found['synergy'] if r['seed'] == s]):.2f}" for s in seeds)
    return "\n\n".join(["## demo", _said(found), markdown(lines), _coverage(kinds),
                        f"Synergistic pairs among the measured ones, AUC by seed: {aucs}."])


def _coverage(kinds: dict[str, list[Row]]) -> str:
    """Return the coverage of log2 fold changes seed by seed: one screen differs from the next by more than the SE."""
    known = [r for mine in kinds.values() for r in mine if r.get("coverage") is not None]
    seeds = sorted({r["seed"] for r in known})
    each = {kind: [np.mean([r["coverage"] for r in known if r["what"] == kind and r["seed"] == s]) for s in seeds]
            for kind in kinds}
    said = "; ".join(f"{kind} {', '.join(f'{v:.3f}' for v in values)}" for kind, values in each.items())
    return f"Coverage by seed ({', '.join(map(str, seeds))}): {said}."


def _auc(rows: Sequence[Row]) -> float:
    yes = [r["multiple"] for r in rows if r["kind"] == "synergistic"]
    no = [r["multiple"] for r in rows if r["kind"] != "synergistic"]
    return float(np.mean([(a > b) + 0.5 * (a == b) for a in yes for b in no])) if yes and no else float("nan")


def check_section(found: dict[str, Any]) -> str:
    """Return the known figures beside those found here."""
    lines = [["figure", "known", "here"]]
    for row in found["figures"]:
        here = row["here"]
        values = ", ".join(f"{v:.3f}" for v in here) if isinstance(here, list) else f"{here:.3f}"
        lines.append([row["what"], row["known"], values])
    return "\n\n".join(["## The protocol against known figures", f"E-distance: {found['about']['e_distance']}.",
                        markdown(lines)])


def text(parts: dict[str, dict[str, Any]]) -> str:
    """Return all parts as one page."""
    words = ["# What a perturbation would do", "Written by `python -m benchmarks.perturb`."]
    for part, found in parts.items():
        special = {"check": check_section, "mcfaline": mcfaline_section, "demo": demo_section,
                   "halves": perturb_halves.section}.get(part)
        words.append(special(found) if special else section(part, found))
    return "\n\n".join(words)


def _said(found: dict[str, Any]) -> str:
    about = found["about"]
    return f"Seeds {', '.join(map(str, about['seeds']))}; preset {about['preset']}" + (
        "." if about["ours"] else "; nothing trained (baselines, and the mean of ours alone).")


def _times(found: dict[str, Any]) -> str:
    trained = [t["train_s"] for t in found["trained"] if t["train_s"]]
    asked = [r["seconds"] for r in found["rows"] if r["method"] == OURS and r.get("seconds") is not None]
    if not trained:
        return ""
    return (f"Training: {np.mean(trained):.0f} CPU s a run (at most {max(trained):.0f}). A prediction: median "
            f"{np.median(asked):.2f} s.")


def _leaks(found: dict[str, Any]) -> str:
    """Return what the held-out conditions share with the cells that are learnt from, like ones together."""
    said = leaks(found.get("leakage", []))
    return "Leakage: " + "; ".join(said) + "." if said else ""


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
