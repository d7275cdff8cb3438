"""The report of a model of perturbations as one page that needs nothing else, and its tables for the Runs page."""

from __future__ import annotations

from html import escape
from typing import Any

from scdiff_core.analysis.perturb import judged, panel
from scdiff_core.analysis.perturb.card import FLOOR
from scdiff_core.analysis.perturb.scores import E_DISTANCE
from scdiff_core.engine.report_html import Raw, RawNumber, facts, number, shell, table, whole
from scdiff_core.engine.report_page import data, figure, settings, trained

SECTIONS = {"scores": "Every score", "six": "The six scaled scores", "halves": "Which half earned what",
            "conditions": "Each condition", "leakage": "What training still knew", "pictures": "Pictures",
            "data": "The data", "recipe": "The recipe", "versions": "Seeds and versions"}
OURS = "this model"
LEFT_OUT = {"unseen": "unseen perturbation", "type": "unseen cell type", "dose": "unseen dose",
            "both": "pair with both members seen", "some": "pair with some member seen",
            "none": "pair with no member seen", "measured": "measured"}  # `ResponseModel.kind`
EARNED = ("pearson", "pearson_cells", "e_distance", "variance_ratio")
ABOUT = {
    "this model": "what Predict gives: the predicted mean, and cells round it",
    "its mean alone": "control cells to which its predicted change is added",
    "its mean, moved controls": "its predicted mean with control cells moved to it, in the diffusion's place",
    "latent arithmetic": "codes of control cells moved by a mean shift of codes, and decoded",
    "control": "control cells as they are", "mean response": "control cells moved by the mean of all training changes",
    "mean response of the type": "the same, of the cell type alone",
    "same in other types": "the same perturbation's change in other cell types",
    "additive": "the sum of what the members of a pair do alone", "nearest": "the change of the nearest training "
    "perturbation", "linear": "the linear model of Ahlmann-Eltze, Huber and Anders (2025)",
    FLOOR: "half of the real cells against the other half: the best that could be expected"}
SCORES = (
    "<p><small>Means over conditions, ± their standard error. ▲ marks a baseline that is better than this model by "
    "more than the standard error of the difference. <b>Pearson of change</b>: over genes, of the change of the mean "
    "against control cells, or (<b>centroid</b>, Systema) against the mean of all perturbed cells, where a mean "
    "response has 0 by definition. <b>PDS</b>: how rarely another perturbation of the data is nearer to the prediction "
    "than the right one. <b>Overlap</b>: of the 20 or 50 genes that differ most. <b>Variance ratio</b>: 1 is right. "
    "Perturbed genes are left out of all of them. <b>E-distance</b>: {}.</small></p>")
SIX = ("<p><small>The six of the 2026 Virtual Cell Challenge, by cell-eval2, scaled: 0 is the mean response, 1 a "
       "replicate (half of the real cells). {} Below 0 is worse than the mean response.</small></p>")


def perturb_page(values: dict[str, Any], figures: dict[str, bytes]) -> str:
    """Return the page of a report; `values` as `report_perturb.make` returns them, figures by their keys."""
    parts = {"scores": scores(values), "six": six(values), "halves": halves(values), "conditions": conditions(values),
             "leakage": leakage(values), "pictures": "".join(figure(f, figures.get(f["key"]))
                                                             for f in values["figures"]),
             "data": data(values["data"]), "recipe": f"<h3>Training</h3>{trained(values)}{settings(values)}",
             "versions": versions(values)}
    parts = {key: inside for key, inside in parts.items() if inside}
    links = "".join(f'<a href="#{key}">{escape(SECTIONS[key])}</a>' for key in parts)
    body = (f'<header><h1>{escape(values["title"])} <span class="tag">synthetic cells</span></h1>'
            f'<p class="lead">{whole(values["sentence"])}</p>{lines(values)}'
            f'<p class="soft">Run {escape(values["run"])}, preset {escape(str(values["recipe"].get("preset", "")))}, '
            f'on <b>{escape(values["data"]["dataset"])}</b>.</p></header><nav aria-label="Parts">{links}</nav>')
    body += "".join(f'<section id="{key}"><h2>{SECTIONS[key]}</h2>{inside}</section>' for key, inside in parts.items())
    return shell(f"Report: {values['title']}", body)


def lines(values: dict[str, Any]) -> str:
    """Return where the model is below a baseline, and what else has to be known, as paragraphs."""
    said = "".join(f"<li>{whole(line)}</li>" for line in values["lines"])
    return f"<ul>{said}</ul>" + "".join(f'<p class="note">{whole(note)}</p>' for note in values["notes"])


def scores(values: dict[str, Any]) -> str:
    """Return every method's scores, one table a kind of what is unseen."""
    better = {(b["method"], b["title"]) for b in (*values["below"], *values["below_own"]) if not b["scaled"]}
    out = []
    for kind in values["kinds"]:
        keys = [k for k in judged.TITLES if any(m.get(k) for m in kind["methods"])]
        rows = [[_method(m, kind["n"]), *(_score(m.get(k), (m["method"], judged.TITLES[k]) in better) for k in keys)]
                for m in kind["methods"]]
        out.append(f"<h3>{escape(kind['kind'][:1].upper() + kind['kind'][1:])}: {kind['n']} conditions</h3>"
                   + table(["method", *(judged.TITLES[k] for k in keys)], rows, wide=True))
    return "".join(out) + SCORES.format(escape(E_DISTANCE))


def six(values: dict[str, Any]) -> str:
    """Return the six scaled scores of every method."""
    if not values["six"]:
        return ""
    better = {(b["method"], b["title"]) for b in values["below"] if b["scaled"]}
    keys = [k for k in panel.SIX if any(m.get(k) for m in values["six"])]
    rows = [[_method(m, 0), *(_score(m.get(k), (m["method"], panel.SIX[k]) in better, 2) for k in keys)]
            for m in values["six"]]
    asked = values["settings"]["six"]
    of = f"{asked['conditions']} conditions" + (f" of {asked['cell_type']}" if asked["cell_type"] else "")
    return table(["scaled", *(panel.SIX[k] for k in keys)], rows, wide=True) + SIX.format(escape(
        f"Here: {of}; methods that have no answer to some of them are left out."))


def halves(values: dict[str, Any]) -> str:
    """Return what the mean and the cells round it earned, on held-out conditions and on those left out in training."""
    told = values["halves"]
    said = (f"<p>The cells are {whole(told['made'])} The diffusion is used where, on left-out populations, it is "
            "nearer to the real cells round the predicted mean by more than the standard error of the difference, and "
            "no farther from them round the measured one; everywhere else control cells are moved.</p>")
    rows = []
    for kind in values["kinds"]:
        by = {m["method"]: m for m in kind["methods"]}
        rows += [[kind["kind"], Raw(f"<b>{escape(name)}</b><br><small>{escape(ABOUT[name])}</small>"),
                  *(_score(by[name].get(k), False) for k in EARNED)]
                 for name in ABOUT if name in by and (name == OURS or name.startswith("its mean") or name == "control")]
    said += table(["held out", "cells", "Pearson of the mean", "Pearson of its cells", "E-distance", "variance ratio"],
                  rows, wide=False)
    if values["left_out"]:
        said += ("<p>While it was trained, perturbations were left out in turn (out of fold); nothing of what is "
                 "judged above took part in it:</p>"
                 + table(["kind", "Pearson of change", "mean response", "arms"],
                         [[LEFT_OUT.get(r["kind"], r["kind"]), _two(r["pearson"]), _two(r["mean_response"]), r["n"]]
                          for r in values["left_out"]]))
    return said


def conditions(values: dict[str, Any]) -> str:
    """Return one line a condition, the worst first."""
    order = sorted(values["conditions"], key=lambda c: 9.0 if c["pearson"] is None else c["pearson"])
    doses, types = (any(c[k] not in (None, "") for c in order) for k in ("dose", "cell_type"))
    head = ["perturbation", *(["dose"] if doses else []), *(["cell type"] if types else []), "real cells",
            "Pearson of change", "best baseline", "E-distance", "best baseline ", "floor", "variance ratio",
            "within intervals", "effect", "reach", "mean from"]
    rows = [[Raw(f"<b>{escape(c['perturbation'])}</b>"), *([c["dose"]] if doses else []),
             *([c["cell_type"]] if types else []), c["n_real"], _two(c["pearson"]),
             _rival(c["best_pearson"], c["best"]), _two(c["e_distance"]),
             _rival(c["nearest_e_distance"], c["nearest"]), _two(c["e_floor"]), _two(c["variance_ratio"]),
             RawNumber(number(c.get("coverage"), "%")), c.get("effect", ""), _two(c.get("reach")),
             Raw(f"<small>{escape(c.get('how') or c.get('refused') or '')}</small>")] for c in order]
    return table(head, rows) + (
        "<p><small>The best baseline is that for this very condition, which nobody knows beforehand. Within intervals: "
        "measured log2 fold changes within the 90 % interval of what an experiment with as many cells would measure."
        "</small></p>")


def leakage(values: dict[str, Any]) -> str:
    """Return what the held-out conditions share with the cells that were learnt from."""
    said = "".join(f"<li>{escape(line[:1].upper() + line[1:])}.</li>" for line in values["leakage"])
    return f"<ul>{said}</ul>" if said else ""


def versions(values: dict[str, Any]) -> str:
    """Return seeds, packages and machine."""
    environment = values["environment"]
    packages = ", ".join(f"{k} {v}" for k, v in environment.get("versions", {}).items())
    return facts([("seeds", f"training {values['recipe'].get('seed')}, report {values['settings']['seed']}"),
                  ("report by", f"scDiff Studio {values['version']}"), ("trained with", packages),
                  ("made", values["made"])])


def _method(entry: dict[str, Any], n: int) -> Raw:
    name = entry["method"]
    few = f" ({entry['n']} of {n})" if n and entry["n"] < n else ""
    strong = f"<b>{escape(name)}</b>" if name == OURS else escape(name)
    return Raw(f"{strong}{few}<br><small>{escape(ABOUT.get(name, ''))}</small>")


def _score(value: Any, better: bool, digits: int = 3) -> RawNumber:
    if not value:
        return RawNumber("–")
    mean, error = value
    return RawNumber(("▲ " if better else "") + f"{mean:.{digits}f}"
                     + (f"<br><small>± {error:.{digits}f}</small>" if error is not None else ""))


def _two(value: float | None) -> RawNumber:
    return RawNumber("–" if value is None else f"{value:.2f}")


def _rival(value: float | None, name: str) -> RawNumber:
    return RawNumber(f"{_two(value)}<br><small>{escape(name)}</small>")
