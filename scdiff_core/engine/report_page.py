"""The report card as one small page that needs nothing else: no script, no network."""

from __future__ import annotations

from html import escape
from typing import Any

from scdiff_core import __version__
from scdiff_core.config import TrainConfig

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
body{color:#222;background:#fff}h1{font-size:1.5rem;margin:0}
.tag{background:#e69f00;color:#000;border-radius:4px;padding:0 .5em;font-size:.85rem}
table{border-collapse:collapse;width:100%;margin:1.5rem 0}th,td{padding:.45em .7em;text-align:left;
vertical-align:top;border-bottom:1px solid #ddd}td.n{text-align:right;font-variant-numeric:tabular-nums}
.good{color:#006d4e}.fair{color:#8a5a00}.poor{color:#a33c00}.verdict{font-weight:600}small{color:#555}
@media(prefers-color-scheme:dark){body{background:#111;color:#eee}th,td{border-color:#444}small{color:#aaa}
.good{color:#4cd3a5}.fair{color:#f0b429}.poor{color:#ff8a5c}}
"""


def page(card: dict[str, Any], recipe: dict[str, Any], config: TrainConfig) -> str:
    """Return the page of a report card.

    Parameters
    ----------
    card
        What `Report.to_dict` returned.
    recipe
        Of the generated set that was scored.
    config
        Of the run.
    """
    asked = recipe.get("config", {})
    names = list(dict.fromkeys(name for row in card["rows"] for name in row.get("baselines", {})))
    head = "".join(f"<th>{escape(h)}</th>" for h in ("", "generated", "floor", *names, "verdict"))
    facts = [f"{card['n_cells']:,} generated cells", f"dataset {config.dataset}", f"preset {config.preset}",
             f"run {asked.get('run', '')}",
             f"sampler {asked.get('sampler', '')}, {asked.get('steps', '')} steps",
             f"seed {asked.get('seed', '')}", f"scDiff Studio {__version__}"]
    rows = "".join(_row(row, names) for row in card["rows"])
    notes = "".join(f"<li>{escape(str(w))}</li>" for w in card.get("warnings", ()))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Report card of {escape(str(asked.get('run', '')))}</title><style>{STYLE}</style></head><body>
<h1>Report card <span class="tag">synthetic cells</span></h1>
<p>{escape(card['sentence'])}</p>
<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>
<p><small>The floor is the same figure for real training cells held against real held-out cells: the best that
can be expected. The baselines are what simple statistics reach.</small></p>
{f'<ul>{notes}</ul>' if notes else ''}
<p><small>{escape(' · '.join(facts))}</small></p>
</body></html>
"""


def _row(row: dict[str, Any], names: list[str]) -> str:
    """Return one figure as a line of the table."""
    numbers = [row["value"], row["floor"], *(row.get("baselines", {}).get(name) for name in names)]
    cells = "".join(f'<td class="n">{_number(n, row.get("unit") or "")}</td>' for n in numbers)
    verdict = escape(str(row["verdict"]))
    return (f"<tr><td>{escape(row['title'])}<br><small>{escape(row['sentence'])}</small></td>{cells}"
            f'<td class="verdict {verdict}">{verdict}</td></tr>')


def _number(value: float | None, unit: str) -> str:
    """Return a figure as text; a dash where there is none."""
    if value is None:
        return "–"
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return text + (f"&nbsp;{escape(unit)}" if unit else "")
