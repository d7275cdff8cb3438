"""Markdown tables of the quality benchmark, from its results as plain JSON. No figure is typed here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from benchmarks import targets

Result = dict[str, Any]
MISSING = "not measured"
BASELINES = ("gene-wise shuffle", "Gaussian per type")


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Return rows of cells, the first one the head, as a markdown table."""
    text = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([text[0], "|" + "---|" * len(lines[0]), *text[1:]])


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are known; None where none is."""
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


def rows_of(results: Sequence[Result], key: str, method: str | None = None) -> list[dict[str, Any]]:
    """Return one figure's row of every result, or of those of one method."""
    return [row for r in results if method in (None, r["method"]) for row in r["report"]["rows"] if row["key"] == key]


def ours(results: Sequence[Result]) -> list[Result]:
    """Return the results of the product's own presets."""
    return [r for r in results if r["kind"] == "preset"]


def figure(results: Sequence[Result], key: str, method: str) -> tuple[float | None, float | None, dict[str, Any]]:
    """Return the mean over seeds of one figure of one method, of its floor, and a row to show them by."""
    rows = rows_of(results, key, method)
    return (mean(r["value"] for r in rows), mean(r["floor"] for r in rows), rows[0] if rows else {})


def show(row: dict[str, Any], value: float | None, spread: Sequence[float | None] = ()) -> str:
    """Return a figure in its unit, with its standard deviation over seeds where there are several."""
    if value is None:
        return ""
    known = [v for v in spread if v is not None]
    sd = float(np.std(known, ddof=1)) if len(known) > 1 else None
    if row["unit"] == "%":
        return f"{100 * value:.1f} %" + (f" ± {100 * sd:.1f}" if sd is not None else "")
    if row["unit"] == "counts":
        return f"{value:,.0f}" + (f" ± {sd:,.0f}" if sd is not None else "")
    digits = 3 if abs(value) >= 0.01 else 5
    return f"{value:.{digits}f}" + (f" ± {sd:.{digits}f}" if sd is not None else "")


def methods(results: Sequence[Result]) -> dict[str, str]:
    """Return the methods in the order in which they were measured, with their titles."""
    return {r["method"]: r["title"] for r in results}


def judged(results: Sequence[Result]) -> str:
    """Return the preset that the musts are held against: standard, or else the last one measured."""
    names = [r["method"] for r in ours(results)]
    return "standard" if "standard" in names else names[-1]


def verdicts(results: Sequence[Result], method: str) -> dict[str, dict[str, Any]]:
    """Return for each figure with a target: mean, floor, holds (bool or None), reached (bool or None)."""
    found = {}
    for key, target in targets.TARGETS.items():
        value, floor, _ = figure(results, key, method)
        known = value is not None
        found[key] = {"value": value, "floor": floor,
                      "holds": target.holds(value, floor) if value is not None else None,
                      "reached": target.reached(value, floor) if value is not None else None,
                      "must": target.show(value, floor, target.must) if value is not None else MISSING,
                      "aim": target.show(value, floor, target.aim) if known and value is not None and target.aim
                      else ""}
    return found


def yes(holds: bool | None) -> str:
    """Return a verdict in words."""
    return {True: "holds", False: "does not hold", None: MISSING}[holds]


def quality(results: Sequence[Result]) -> str:
    """Return the whole table of one dataset: presets, peers, floor, baselines, must and aim."""
    names, preset = methods(results), judged(results)
    judgement = verdicts(results, preset)
    keys = list(dict.fromkeys(row["key"] for r in results for row in r["report"]["rows"]))
    lines = [["figure", *names.values(), "floor", *BASELINES, "must", f"{preset}: must", "aim", f"{preset}: aim"]]
    for key in keys:
        every = rows_of(results, key)
        line = [every[0]["title"]]
        for name in names:
            values = [r["value"] for r in rows_of(results, key, name)]
            line.append(show(every[0], mean(values), values) or "–")
        own = rows_of(ours(results), key) or every
        line += [show(own[0], mean(r["floor"] for r in own)),
                 *(show(own[0], mean(r["baselines"].get(b) for r in own)) for b in BASELINES)]
        target, said = targets.TARGETS.get(key), judgement.get(key)
        if target is None or said is None:
            line += ["", "", "", ""]
        else:
            line += [target.words(target.must), f"{yes(said['holds'])} ({said['must']})"
                     if said["must"] not in ("yes", MISSING) else yes(said["holds"]), target.words(target.aim),
                     _aim(said)]
        lines.append(line)
    lines += [_seconds("training, CPU s", "train_s", results, targets.TRAINING.get(preset), preset, names),
              _seconds("1,000 cells, CPU s", "generate_s", results, targets.THOUSAND_CELLS, preset, names)]
    return markdown(lines)


def _aim(said: dict[str, Any]) -> str:
    if said["reached"] is None:
        return ""
    return "reached" if said["reached"] else said["aim"]


def _seconds(title: str, key: str, results: Sequence[Result], must: float | None, preset: str,
             names: Iterable[str]) -> list[str]:
    means = {n: mean(r[key] for r in results if r["method"] == n) for n in names}
    taken = means.get(preset)
    verdict = yes(taken <= must) if must is not None and taken is not None else ""
    return [title, *("–" if v is None else f"{v:.1f}" for v in means.values()), "", *[""] * len(BASELINES),
            "" if must is None else f"≤ {must:g}", verdict, "", ""]


def cfgen(results: Sequence[Result], dataset: str) -> str:
    """Return the table of CFGen's protocol: ours and the peers' beside our own floor, and what others published."""
    names = methods(results)
    floors = [r["report"]["extra"].get("cfgen_w2_floor") for r in ours(results)]
    lines = [["2-Wasserstein, type by type", "here, on our split", "as published, on theirs"]]
    for name, title in names.items():
        value = mean(r["report"]["extra"].get("cfgen_w2") for r in results if r["method"] == name)
        if value is not None:
            lines.append([title, f"{value:.2f}", ""])
    floor = mean(floors)
    if floor is None:
        return ""
    lines.append(["real training cells (floor)", f"{floor:.2f}", ""])
    published = targets.PUBLISHED_W2.get(dataset, {})
    lines += [[title, "", f"{value:.2f}"] for title, value in published.items()]
    return markdown(lines if published else [line[:2] for line in lines])


def ideas(results: Sequence[Result], keys: Sequence[str]) -> str:
    """Return one row an idea: the mean over datasets' seeds of the figures named by `keys`, floors in the first row."""
    head = [rows_of(results, k)[0]["title"] for k in keys]
    floors = ["floor", *(show(rows_of(results, k)[0], mean(r["floor"] for r in rows_of(results, k))) for k in keys),
              "", ""]
    lines = [["idea", *head, "training, CPU s", "seeds"], floors]
    for name, title in methods(results).items():
        own = [r for r in results if r["method"] == name]
        cells = []
        for key in keys:
            values = [r["value"] for r in rows_of(own, key)]
            cells.append(show(rows_of(own, key)[0], mean(values), values) if values else "–")
        lines.append([title, *cells, f"{mean(r['train_s'] for r in own):.0f}", str(len(own))])
    return markdown(lines)


def summary(by_dataset: dict[str, list[Result]]) -> str:
    """Return the table for the front page: one figure a row, one dataset a column, the peers of the first beside it."""
    first = next(iter(by_dataset))
    own, short = ours(by_dataset[first]), first.split("_")[0]
    peers = {k: t for k, t in methods(by_dataset[first]).items() if k not in methods(own)}
    columns = {d: judged(results) for d, results in by_dataset.items()}
    lines = [["figure", "must", *(f"{d.split('_')[0]}, {columns[d]} (floor)" for d in by_dataset),
              *(f"{title}, {short}" for title in (*peers.values(), *BASELINES))]]
    keys = [k for k in dict.fromkeys(row["key"] for r in by_dataset[first] for row in r["report"]["rows"])
            if k in targets.TARGETS]
    for key in keys:
        target, rows = targets.TARGETS[key], rows_of(by_dataset[first], key)
        line = [rows[0]["title"], target.words(target.must)]
        for dataset, results in by_dataset.items():
            value, floor, row = figure(results, key, columns[dataset])
            if value is None:
                line.append(MISSING)
                continue
            mark = "" if target.holds(value, floor) else " ✗"
            line.append(f"{show(row, value)} ({show(row, floor)}){mark}")
        line += [show(rows[0], figure(by_dataset[first], key, p)[0]) or "–" for p in peers]
        line += [show(rows[0], mean(r["baselines"].get(b) for r in rows_of(own, key))) for b in BASELINES]
        lines.append(line)
    for title, key in (("training, CPU s", "train_s"), ("1,000 cells, CPU s", "generate_s")):
        limits = {"train_s": targets.TRAINING.get(columns[first]), "generate_s": targets.THOUSAND_CELLS}
        line = [title, "" if limits[key] is None else f"≤ {limits[key]:g}"]
        for dataset, results in by_dataset.items():
            taken = mean(r[key] for r in results if r["method"] == columns[dataset])
            mark = " ✗" if limits[key] is not None and taken is not None and taken > (limits[key] or 0) else ""
            line.append(MISSING if taken is None else f"{taken:.1f}{mark}")
        line += ["–" if (s := mean(r[key] for r in by_dataset[first] if r["method"] == p)) is None else f"{s:.1f}"
                 for p in peers]
        lines.append([*line, *[""] * len(BASELINES)])
    return markdown(lines)


def count(by_dataset: dict[str, list[Result]]) -> dict[str, tuple[int, int]]:
    """Return how many musts hold of how many that were measured, for each dataset."""
    found = {}
    for dataset, results in by_dataset.items():
        said = [v["holds"] for v in verdicts(results, judged(results)).values() if v["holds"] is not None]
        found[dataset] = (sum(said), len(said))
    return found
