"""The tables of the benchmark of the modes: the mean of the seeds with their range."""

from __future__ import annotations

from typing import Any

import numpy as np

Row = dict[str, Any]
COMBINATION = {"both": ("both labels", "{:.0%}"), "type": ("cell type", "{:.0%}"), "arm": ("condition", "{:.0%}"),
               "energy": ("energy distance to held-out cells", "{:.2f}")}
COLUMNS: dict[str, tuple[str, tuple[str, ...], dict[str, tuple[str, str]]]] = {
    # part: title, what a line is of, column -> (heading, format)
    "alone": ("A combination that training never showed (Kang)", ("combination", "cells"), COMBINATION),
    "combinations": ("Three combinations at once that training never showed (Kang)", ("combination", "cells"),
                     COMBINATION),
    "choosing": ("Combinations by which the page's way was chosen, each alone (Kang)", ("combination", "cells"),
                 COMBINATION),
    "labels": ("A label that the model was not trained with (pancreas, classifier guidance)", ("label", "cells"), {
        "share": ("cells with the label", "{:.0%}"), "energy": ("energy distance to held-out cells", "{:.2f}"),
        "draws": ("cells made for each kept", "{:.1f}")}),
    "path": ("The middle of Ductal to Beta, Ngn3-high cells held out (pancreas)", ("cells",), {
        "energy": ("energy distance to held-out cells", "{:.2f}"),
        "order": ("order in which markers rise (Spearman)", "{:.2f}")}),
    "change": ("Real control cells made stimulated (Kang)", ("cells", "strength"), {
        "new": ("new label", "{:.0%}"), "type": ("cell type kept", "{:.0%}"),
        "kept": ("what a cell is beyond its type, kept (correlation)", "{:.2f}"),
        "energy": ("energy distance to stimulated cells", "{:.2f}")}),
}


def tables(found: dict[str, list[Row]]) -> str:
    """Return all tables as markdown."""
    parts = dict(found)
    if "time" in parts:
        parts["path"] = parts.get("path", [])[:] + parts.pop("time")
        names = list(dict.fromkeys(r["cells"] for r in parts["path"]))
        names.sort(key=lambda name: not name.startswith(("gradient", "stage")))  # ours first; stable otherwise
        parts["path"].sort(key=lambda r: names.index(r["cells"]))
    return "\n\n".join(_table(part, parts[part]) for part in COLUMNS if parts.get(part))


def _table(part: str, rows: list[Row]) -> str:
    title, keys, columns = COLUMNS[part]
    lines = [f"## {title}", "", "| " + " | ".join([*keys, *(c[0] for c in columns.values())]) + " |",
             "|" + "---|" * (len(keys) + len(columns))]
    for group in dict.fromkeys(tuple(r[k] for k in keys) for r in rows):
        mine = [r for r in rows if tuple(r[k] for k in keys) == group]
        cells = [_cell([r[c] for r in mine if r.get(c) is not None], form) for c, (_, form) in columns.items()]
        lines.append("| " + " | ".join(["" if g is None else str(g) for g in group] + cells) + " |")
    return "\n".join(lines)


def _cell(values: list[float], form: str) -> str:
    """Return the mean, with the least and the most of several seeds."""
    if not values:
        return ""
    mean = form.format(float(np.mean(values)))
    if len(values) < 2 or form.format(min(values)) == form.format(max(values)):
        return mean
    return f"{mean} ({form.format(min(values))} to {form.format(max(values))})"
