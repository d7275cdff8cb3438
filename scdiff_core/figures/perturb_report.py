"""The figures of a report on a model of perturbations: every method's scores, and each condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scdiff_core.figures.palette import HIGHER, LOWER, REAL
from scdiff_core.figures.paper import Size, new_figure, save_figure

ROW = 0.19  # inches of a method or a condition


def export_methods(scores: Sequence[Mapping[str, Any]], titles: Mapping[str, str], ours: Sequence[str],
                   floor: str, *, fmt: str = "svg", size: Size | None = None) -> bytes:
    """Return each score of all methods: the mean over conditions with its standard error.

    Parameters
    ----------
    scores
        One entry a method: ``method``, and for each score [mean, standard error] or None (`judged.shown`).
    titles
        The scores to draw, with their titles.
    ours, floor
        The methods that are drawn in colour, and that which is the floor.
    """
    names = [s["method"] for s in scores]
    figure, axes = new_figure(1.2 + 1.75 * len(titles), ROW * len(names) + 0.9, 1, len(titles), sharey=True)
    rows = np.arange(len(names))
    for place, (key, title) in zip(axes[0], titles.items(), strict=True):
        for row, one in zip(rows, scores, strict=True):
            if one.get(key) is None:
                continue
            mean, error = one[key]
            known = error is not None and np.isfinite(error)
            colour, mark = (HIGHER, "o") if one["method"] in ours else (LOWER, "D") if one["method"] == floor \
                else (REAL, "s")
            place.errorbar(mean, row, xerr=error if known else None, fmt=mark, color=colour, markersize=4, elinewidth=1,
                           capsize=2)
        best = next((s[key][0] for s in scores if s["method"] == floor and s.get(key) is not None), None)
        if best is not None:
            place.axvline(best, color=LOWER, linewidth=0.6, linestyle=":")
        place.set(title=title.replace(", ", ",\n"), ylim=(len(names) - 0.4, -0.6))
        place.grid(axis="x", linewidth=0.3, color="#dddddd")
    axes[0, 0].set(yticks=rows)
    axes[0, 0].set_yticklabels(names)
    return save_figure(figure, fmt, True, size)


def export_conditions(table: Sequence[Mapping[str, Any]], key: str, rival: str, floor: str, title: str, *,
                      words: tuple[str, str, str] = ("this model", "the best baseline", "floor"), fmt: str = "svg",
                      size: Size | None = None) -> bytes:
    """Return one score of each condition: of the model, of the best baseline, and of half the real cells.

    Parameters
    ----------
    table
        One entry a condition: ``name``, and the three scores (None for none) under `key`, `rival` and `floor`.
    """
    rows = np.arange(len(table))
    figure, axes = new_figure(5.2, ROW * len(table) + 0.9)
    place = axes[0, 0]
    for field, mark, colour, word in ((floor, "D", LOWER, words[2]), (rival, "s", REAL, words[1]),
                                      (key, "o", HIGHER, words[0])):
        values = np.array([np.nan if one.get(field) is None else one[field] for one in table], float)
        place.scatter(values, rows, s=18, marker=mark, color=colour, label=word, zorder=3)
    place.set(yticks=rows, ylim=(len(rows) - 0.4, -0.6), xlabel=title)
    place.set_yticklabels([str(one["name"]) for one in table], fontsize=6.5)
    place.grid(axis="x", linewidth=0.3, color="#dddddd")
    place.legend(loc="lower left", bbox_to_anchor=(0, 1.0), fontsize=7, ncols=3)
    return save_figure(figure, fmt, True, size)
