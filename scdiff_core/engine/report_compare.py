"""Two full reports side by side: each figure of both beside its floor, and which is better by more than chance."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from scdiff_core.analysis.report_card import Report
from scdiff_core.analysis.verdict import Row, worse
from scdiff_core.engine.report_html import Raw, RawNumber, facts, flat, picture, shell, table, verdict

SAME = "no difference beyond chance"
UNCLEAR = "not judged"


@dataclass(frozen=True)
class Line:
    """One figure of two reports: either row may be missing; `better` is "a", "b" or "" (none beyond chance)."""

    title: str
    about: str
    a: Row | None
    b: Row | None
    better: str
    said: str


def compare(a: dict[str, Any], b: dict[str, Any]) -> list[Line]:
    """Return the lines of two full reports (`FullReport.values`), in the order of the first.

    A figure is better where it lies nearer to its own floor by more than twice the chance variation of real cells
    (a difference of two draws varies by root two; two standard deviations of it are called a difference).
    """
    first, second = (Report.from_dict(v) for v in (a, b))
    titles = tuple(v["title"] for v in (a, b))
    if titles[0] == titles[1]:
        titles = (a["run"], b["run"])
    lines = []
    for key in dict.fromkeys(r.key for r in (*first.rows, *second.rows)):
        x, y = first.row(key), second.row(key)
        one = x or y
        assert one is not None
        better, said = "", UNCLEAR
        if x is not None and y is not None and None not in (x.value, y.value, x.floor, y.floor):
            apart = worse(x, x.value) - worse(y, y.value)
            if abs(apart) > 2 * max(x.noise, y.noise, 1e-12):
                better = "b" if apart > 0 else "a"
            said = f"{titles['ab'.index(better)]} is better" if better else SAME
        lines.append(Line(one.title, one.about, x, y, better, said))
    return lines


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the settings in which the recipes of two reports differ: name, of the first, of the second."""
    x, y = (dict(flat(v["recipe"])) | {f"generation.{k}": t for k, t in flat(v["generated"].get("config", {}))}
            for v in (a, b))
    leave = {"name", "generation.run"}
    return [(k, x.get(k, "–"), y.get(k, "–")) for k in dict.fromkeys((*x, *y))
            if x.get(k) != y.get(k) and k not in leave]


def caution(a: dict[str, Any], b: dict[str, Any]) -> str:
    """Say in one line why two reports cannot be compared figure by figure; empty where they can."""
    if a["data"]["fingerprint"] != b["data"]["fingerprint"]:
        return ("These runs learned from different data: hold each figure against its own floor; what is called better "
                "lies nearer to it.")
    if a["n_cells"] != b["n_cells"]:
        return (f"{a['n_cells']:,} cells a side are compared in one and {b['n_cells']:,} in the other: figures that "
                "grow with cells (the forests, above all) are not quite on one scale.")
    return ""


def summary(lines: list[Line], a: dict[str, Any], b: dict[str, Any]) -> str:
    """Return in one sentence which of two is better in how many figures."""
    wins = {side: sum(line.better == side for line in lines) for side in "ab"}
    judged = sum(line.said != UNCLEAR for line in lines)
    return (f"Of {judged} figures, {a['title']} is better in {wins['a']} and {b['title']} in {wins['b']}; the others "
            "differ by no more than chance.")


def compare_page(a: dict[str, Any], b: dict[str, Any], figures_a: dict[str, bytes],
                 figures_b: dict[str, bytes]) -> str:
    """Return two full reports side by side as one page that needs nothing else."""
    lines = compare(a, b)
    names = [f"{v['title']}" if a["title"] != b["title"] else v["run"] for v in (a, b)]

    def shown(row: Row | None, value: str) -> RawNumber:
        return RawNumber(escape(row.show(getattr(row, value))) if row is not None else "–")

    rows = [[Raw(f"<b>{escape(line.title)}</b><br><small>{escape(line.about)}</small>"),
             *(cell for row in (line.a, line.b)
               for cell in (shown(row, "value"), shown(row, "floor"), verdict(row.verdict) if row else Raw("–"))),
             Raw(f"<b>{escape(line.said)}</b>" if line.better else escape(line.said))] for line in lines]
    head = ["figure", *(f"{name}{part}" for name in names for part in ("", ": floor", ": verdict")), "which is better"]
    warning = caution(a, b)
    other = differences(a, b)
    told = {f["key"]: f for v in (b, a) for f in v["figures"]}
    pictures = "".join(
        f'<figure><figcaption><h3>{escape(f["title"])}</h3></figcaption><div class="pair">'
        + "".join(f"<div><p><b>{escape(name)}</b></p>"
                  + (picture(own[key], f"{name}: {alts.get(key, '')}") if key in own else "<p>none</p>") + "</div>"
                  for name, own, alts in zip(names, (figures_a, figures_b), (_alts(a), _alts(b)), strict=True))
        + "</div></figure>" for key, f in told.items())
    body = (f'<header><h1>{escape(names[0])} and {escape(names[1])} <span class="tag">synthetic cells</span></h1>'
            f'<p class="lead">{escape(summary(lines, a, b))}</p>'
            + (f'<p class="note">{escape(warning)}</p>' if warning else "")
            + "".join(f"<p><b>{escape(n)}</b>: {escape(v['sentence'])}</p>" for n, v in zip(names, (a, b), strict=True))
            + f"</header><section><h2>Every figure</h2>{table(head, rows, wide=True)}</section>"
            + "<section><h2>What was done differently</h2>"
            + (table(["setting", *names], [list(row) for row in other]) if other else
               "<p>Nothing: both have the same settings.</p>")
            + f"</section><section><h2>Pictures</h2>{pictures}</section><section><h2>The data</h2>"
            + facts((n, f"{v['data']['dataset']}, {v['data']['n_train']:,} cells to learn from, "
                        f"{v['data']['n_test']:,} held out") for n, v in zip(names, (a, b), strict=True))
            + "</section>")
    return shell(f"{names[0]} and {names[1]}", body)


def _alts(values: dict[str, Any]) -> dict[str, str]:
    return {f["key"]: f["alt"] for f in values["figures"]}
