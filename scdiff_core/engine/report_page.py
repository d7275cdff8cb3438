"""The full report of a run as one page that needs nothing else: no script, no network."""

from __future__ import annotations

from html import escape
from typing import Any

from scdiff_core.analysis.report_card import COPIES, Report
from scdiff_core.engine.report_html import (
    Raw,
    RawNumber,
    facts,
    flat,
    folded,
    number,
    picture,
    shell,
    table,
    verdict,
    whole,
)

SECTIONS = {"figures": "Every figure", "types": "Each type", "pictures": "Pictures", "data": "The data",
            "recipe": "The recipe", "versions": "Seeds and versions"}
FLOOR = ("The floor puts as many real training cells in the place of the generated ones: the best that can be "
         "expected (where a figure should equal that of real cells, it is the held-out cells' own). Baselines are what "
         "simple tricks reach. Good: no further from the floor than chance explains, or than a third of the way to the "
         "worst baseline (a tenth for neighbours; distances: a quarter above the floor, 2-Wasserstein a tenth). Fair: "
         "within two thirds of that way (a third; distances: three times the floor, or nearer than every baseline).")


def full_page(values: dict[str, Any], figures: dict[str, bytes]) -> str:
    """Return the page of a full report.

    Parameters
    ----------
    values
        As `FullReport.values`.
    figures
        Key -> SVG of its figures.
    """
    report = Report.from_dict(values)
    links = "".join(f'<a href="#{key}">{escape(words)}</a>' for key, words in SECTIONS.items()
                    if key != "types" or values["types"])
    notes = "".join(f'<p class="note">{escape(w)}</p>' for w in report.warnings)
    asked = values["generated"].get("config", {})
    told = (f"{report.n_cells:,} generated cells against as many held-out real ones of "
            f"<b>{escape(values['data']['dataset'])}</b>. Run {escape(values['run'])}, preset "
            f"{escape(str(values['recipe'].get('preset', '')))}, {escape(str(asked.get('sampler', '')))} sampler with "
            f"{escape(str(asked.get('steps', '')))} steps.")
    parts = [f'<header><h1>{escape(values["title"])} <span class="tag">synthetic cells</span></h1>'
             f'<p class="lead">{whole(report.sentence)}</p><p class="soft">{told}</p>{notes}</header>'
             f'<nav aria-label="Parts">{links}</nav>',
             section("figures", card_table(report) + f"<p><small>{FLOOR}</small></p>" + cfgen(values["cfgen"]))]
    if values["types"]:
        parts.append(section("types", type_table(values["types"])))
    parts += [section("pictures", "".join(figure(f, figures.get(f["key"])) for f in values["figures"])),
              section("data", data(values["data"])), section("recipe", recipe(values)),
              section("versions", versions(values))]
    return shell(f"Report: {values['title']}", "".join(parts))


def section(key: str, inside: str) -> str:
    """Return one part of the page under its heading."""
    return f'<section id="{key}"><h2>{SECTIONS[key]}</h2>{inside}</section>'


def card_table(report: Report) -> str:
    """Return every figure beside its floor and baselines, with what it says and what it is."""
    names = [n for n in dict.fromkeys(name for row in report.rows for name in row.baselines) if n != COPIES]
    rows = [[Raw(f"<b>{escape(row.title)}</b>"), verdict(row.verdict),
             *(RawNumber(escape(row.show(v))) for v in (row.value, row.floor)),
             *(RawNumber(escape(row.show(row.baselines.get(n)))) for n in names),
             Raw(f"{whole(row.sentence)}<br><small>{whole(row.about)}</small>")] for row in report.rows]
    return table(["figure", "verdict", "generated", "floor", *names, "what it says, and what it is"], rows, wide=True)


def cfgen(found: dict[str, Any] | None) -> str:
    """Return the figures by the protocol of CFGen, beside the floor."""
    if not found:
        return ""
    return (f"<p>By the protocol of CFGen (30 principal components of the held-out cells alone, type by type, then the "
            f"mean over {found['types']} types): exact 2-Wasserstein distance <b>{number(found['w2'])}</b>, real "
            f"training cells {number(found['w2_floor'])}; MMD {number(found['mmd'])}, real training cells "
            f"{number(found['mmd_floor'])}. Such components favour the very cells they were fitted on, and rare types "
            "count as much as common ones: compare with the floor beside it only.</p>")


TYPE_COLUMNS = (
    ("told apart (AUC)", "rf_auc", "rf_auc_floor", ""), ("energy distance", "energy", "energy_floor", ""),
    ("type as asked", "agreement", "agreement_real", "%"), ("fold changes: slope", "slope", "slope_floor", ""),
    ("zeros", "zeros", "zeros_real", "%"), ("library size", "library", "library_real", ""))


def type_table(rows: list[dict[str, Any]]) -> str:
    """Return one line for each type, each figure with that of real cells under it."""
    head = ["type", "cells: generated", "held out", "to learn from", *(c[0] for c in TYPE_COLUMNS)]
    lines = [[Raw(f"<b>{escape(row['label'])}</b>"), row["generated"], row["test"], row["train"],
              *(RawNumber(f"{number(row[a], unit)}<br><small>{number(row[b], unit)}</small>")
                for _, a, b, unit in TYPE_COLUMNS)] for row in rows]
    return table(head, lines, wide=True) + (
        "<p><small>Under each figure the same for real cells: training cells in the generated ones' place for the "
        "first two and the slope, held-out cells for the others. A dash: too few cells (10 a side for a distance, 20 "
        "for fold changes, 50 for a forest).</small></p>")


def figure(told: dict[str, Any], svg: bytes | None) -> str:
    """Return one figure with its caption and the table behind it."""
    if svg is None:
        return ""
    rows = [[None if v is None else v for v in row] for row in told["rows"]]
    return (f'<figure id="figure-{escape(told["key"])}"><figcaption><h3>{escape(told["title"])}</h3>'
            f'<p class="soft">{escape(told["caption"])}</p></figcaption>{picture(svg, told["alt"])}'
            + folded(f"The table behind it ({len(rows)} rows)", table(told["columns"], rows)) + "</figure>")


def data(told: dict[str, Any]) -> str:
    """Return what the data was."""
    roles = ", ".join(f"{column} ({role.replace('_', ' ')})" for role, column in told["roles"].items())
    filters = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in (told.get("filters") or {}).items()
                        if v not in (None, False))
    steps = "".join(f"<li>{escape(s)}</li>" for s in told["steps"])
    found = "".join(f"<li>{escape(s)}</li>" for s in told["findings"])
    return facts([("dataset", told["dataset"]), ("source", told["source"]), ("values", told["kind"] or told["values"]),
                  ("cells", told["n_cells"]), ("genes", told["n_genes"]),
                  ("split", f"{told['n_train']:,} cells to learn from, {told['n_test']:,} held out"),
                  ("columns", roles), ("filters", filters), ("fingerprint", told["fingerprint"])]) \
        + (f"<h3>How it was prepared</h3><ol>{steps}</ol>" if steps else "") \
        + (f"<h3>What was found in it</h3><ul>{found}</ul>" if found else "")


def trained(values: dict[str, Any]) -> str:
    """Return how the training went."""
    told = values["training"]
    return facts([("state", told["state"]), ("steps", told["step"]),
                  ("time", f"{told['seconds']:.0f} s" if told.get("seconds") else None),
                  ("device", told["used_device"]), ("held-out loss", told["loss_test"])])


def settings(values: dict[str, Any]) -> str:
    """Return the whole configuration of the training, folded."""
    rows = "".join(f"<tr><td><code>{escape(k)}</code></td><td>{escape(v)}</td></tr>" for k, v in flat(values["recipe"]))
    return (folded("Every setting of the training", f'<div class="wide"><table><tbody>{rows}</tbody></table></div>')
            + folded("The same as YAML (config.yaml)", f"<pre>{escape(values['recipe_yaml'])}</pre>"))


def recipe(values: dict[str, Any]) -> str:
    """Return how the model was trained and the cells were made; the whole configuration folded."""
    asked = values["generated"].get("config", {})
    made = facts((k.replace("_", " "), ", ".join(f"{a}: {b}" for a, b in v.items()) if isinstance(v, dict) else v)
                 for k, v in asked.items() if k not in ("kind", "format", "run"))
    return f"<h3>Training</h3>{trained(values)}<h3>Generation</h3>{made}{settings(values)}"


def versions(values: dict[str, Any]) -> str:
    """Return seeds, packages and machine."""
    environment = values["environment"]
    packages = ", ".join(f"{k} {v}" for k, v in environment.get("versions", {}).items())
    seeds = (f"training {values['recipe'].get('seed')}, generation "
             f"{values['generated'].get('config', {}).get('seed')}, report {values['settings'].get('seed')}")
    judge = values["settings"]
    return facts([
        ("seeds", seeds), ("report by", f"scDiff Studio {values['version']}"), ("trained with", packages),
        ("machine", " · ".join(str(environment[k]) for k in ("platform", "cores", "threads") if k in environment)),
        ("forests", f"{judge.get('trees')} trees, depth 5, {judge.get('folds')} folds, {judge.get('genes'):,} genes"),
        ("made", values["made"])])
