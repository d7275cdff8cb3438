"""The building blocks of pages that need nothing else: no script, no network; light, dark and on paper."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

STYLE = """
:root{color-scheme:light dark;--ink:#1c1e21;--soft:#5a6068;--line:#d9dce0;--back:#fff;--pane:#f5f6f8;--link:#0060a8;
--good:#006d4e;--fair:#8a5a00;--poor:#a33c00}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--soft:#a9b0b8;--line:#3c4148;--back:#14161a;--pane:#1e2126;
--link:#7cc0ff;--good:#4cd3a5;--fair:#f0b429;--poor:#ff8a5c}}
body{font:15px/1.55 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1.2rem;color:var(--ink);
background:var(--back)}
h1{font-size:1.6rem;margin:0 0 .4rem}h2{font-size:1.2rem;margin:2.4rem 0 .5rem;border-bottom:1px solid var(--line);
padding-bottom:.2rem}h3{font-size:1rem;margin:1.6rem 0 .3rem}a{color:var(--link)}
.tag{background:#e69f00;color:#000;border-radius:4px;padding:.1em .5em;font-size:.8rem;font-weight:600;
vertical-align:middle}
.lead{font-size:1.05rem;max-width:60rem}small,.soft{color:var(--soft)}
nav{margin:1rem 0;font-size:.9rem}nav a{margin-right:1rem}
.wide{overflow-x:auto}table{border-collapse:collapse;margin:.6rem 0 1rem;font-size:.9rem}
table.full{width:100%}th,td{padding:.35em .65em;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
thead th{border-bottom:2px solid var(--line);font-weight:600;vertical-align:bottom}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}td.n{white-space:nowrap}table.full th.n{max-width:6.5em}
table.full td:last-child:not(.n){width:42%}
.verdict{font-weight:600;white-space:nowrap}.good{color:var(--good)}.fair{color:var(--fair)}.poor{color:var(--poor)}
.unclear{color:var(--soft)}
figure{margin:1.4rem 0;break-inside:avoid}figure img{max-width:100%;height:auto;background:#fff;border-radius:6px;
padding:8px;box-sizing:border-box;border:1px solid var(--line)}figcaption{max-width:60rem;margin-bottom:.4rem}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:1rem}.pair img{width:100%}
details{margin:.3rem 0 .8rem}summary{cursor:pointer;color:var(--link)}
pre{background:var(--pane);padding:.8rem;overflow-x:auto;font-size:.82rem;border-radius:6px}
.note{background:var(--pane);border-left:4px solid #e69f00;padding:.4rem .8rem;margin:.4rem 0}
@media print{:root{--ink:#000;--soft:#444;--line:#bbb;--back:#fff;--pane:#f5f5f5;--link:#000;--good:#006d4e;
--fair:#8a5a00;--poor:#a33c00}body{margin:0;max-width:none;font-size:10.5pt}nav{display:none}
.wide{overflow:visible}table{font-size:8pt}tr{break-inside:avoid}h2,h3{break-after:avoid}details:not([open]){display:none}
@page{margin:15mm}}
"""
MARKS = {"good": "● good", "fair": "◐ fair", "poor": "○ poor", "unclear": "– unclear"}


def shell(title: str, body: str) -> str:
    """Return a whole page."""
    return (f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
            f'content="width=device-width,initial-scale=1"><title>{escape(title)}</title>\n<style>{STYLE}</style>'
            f"</head><body>\n{body}\n</body></html>\n")


def number(value: Any, unit: str = "") -> str:
    """Return a figure as text in its unit; a dash where there is none; text as it is."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return escape(str(value))
    if unit == "%":
        return f"{100 * value:.1f}&nbsp;%"
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3g}"


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], *, wide: bool = False, caption: str = "") -> str:
    """Return a table; numbers stand to the right, text is escaped, `Raw` is taken as it is."""
    lines = [list(row) for row in rows]
    right = [bool(lines) and all(_is_number(row[i]) for row in lines) for i in range(len(head))]
    top = "".join(f'<th scope="col"{" class=n" if r else ""}>{escape(h)}</th>'
                  for h, r in zip(head, right, strict=True))
    body = "".join("<tr>" + "".join(_cell(v, r) for v, r in zip(row, right, strict=True)) + "</tr>" for row in lines)
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (f'<div class="wide"><table{" class=full" if wide else ""}>{title}<thead><tr>{top}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>")


class Raw(str):
    """Text that is HTML already."""


class RawNumber(Raw):
    """HTML of a number, to stand to the right."""


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, RawNumber) or (
        isinstance(value, int | float) and not isinstance(value, bool))


def _cell(value: Any, right: bool) -> str:
    text = str(value) if isinstance(value, Raw) else number(value)
    return f'<td class="n">{text}</td>' if right else f"<td>{text}</td>"


def whole(text: str) -> str:
    """Return text as HTML in which no line breaks between a number and its percent sign."""
    return escape(text).replace(" %", "&nbsp;%")


def verdict(word: str) -> Raw:
    """Return a verdict with its mark and colour."""
    return Raw(f'<span class="verdict {escape(word)}">{escape(MARKS.get(word, word))}</span>')


def picture(svg: bytes, alt: str) -> str:
    """Return an SVG as an image within the page."""
    return f'<img alt="{escape(alt, quote=True)}" src="data:image/svg+xml;base64,{base64.b64encode(svg).decode()}">'


def folded(summary: str, inside: str) -> str:
    """Return a part that opens when it is asked for; it is left out on paper while it is closed."""
    return f"<details><summary>{escape(summary)}</summary>{inside}</details>"


def facts(pairs: Iterable[tuple[str, Any]]) -> str:
    """Return a table of names and what they are; empty ones are left out."""
    rows = "".join(f'<tr><th scope="row">{escape(k)}</th><td>{number(v)}</td></tr>' for k, v in pairs
                   if v not in (None, "", [], {}))
    return f'<div class="wide"><table><tbody>{rows}</tbody></table></div>'


def flat(values: dict[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Return a configuration as names with dots and values as text."""
    found: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{before}{key}"
        if isinstance(value, dict):
            found += flat(value, f"{name}.")
        else:
            found.append((name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return found
