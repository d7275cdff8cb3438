"""The methods paragraphs of a paper, written from the recipe of what was really done, with the papers to cite.

Reads configurations and plain dictionaries only. What a recipe does not hold is not written; a paper is cited only
where its method was used, in the order of the text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from scdiff_core import keys
from scdiff_core.config import TrainConfig
from scdiff_core.methods_choices import grid_words
from scdiff_core.methods_model import codec_words, data_words, diffusion_words, listed
from scdiff_core.references import Citations, Reference

Facts = Mapping[str, Any]

RATIO_MIN, RATIO_MAX = 0.1, 20.0  # noise to signal in sampling, as the engine has them (tests/test_methods_text.py)
SAMPLERS = {
    "dpm": ("DPM-Solver++(2M)", ("lu2022dpm",)),
    "heun": ("Heun's second-order method for the probability-flow ODE", ("karras2022elucidating",)),
    "ode": ("the classical fourth-order Runge-Kutta method for the probability-flow ODE", ("song2021score",)),
    "sde": ("SDE-DPM-Solver++(2M) for the reverse-time SDE", ("lu2022dpm", "song2021score")),
    "ddim": ("DDIM", ("song2021denoising",)),
    "ddpm": ("ancestral sampling (DDPM)", ("ho2020denoising",)),
}
# figures of the report that are told, in this order, with what to cite for each
FIGURES: dict[str, tuple[str, tuple[str, ...]]] = {
    "rf_genes": ("area under the ROC curve of a random forest on genes", ("breiman2001random",)),
    "rf_pca": ("the same on 50 joint principal components", ("breiman2001random",)),
    "mmd": ("squared maximum mean discrepancy", ("gretton2012kernel",)),
    "energy": ("energy distance", ("szekely2013energy",)),
    "wasserstein2": ("2-Wasserstein distance", ()),
    "sinkhorn": ("Sinkhorn divergence", ("feydy2019interpolating",)),
    "nn_accuracy": ("leave-one-out 1-nearest-neighbour accuracy", ("lopezpaz2017revisiting",)),
    "precision": ("precision", ("kynkaanniemi2019improved",)),
    "recall": ("recall", ("kynkaanniemi2019improved",)),
    "coverage": ("coverage", ("naeem2020reliable",)),
    "zero_share": ("share of zeros", ()),
    "gene_correlation": ("agreement of gene-gene correlations", ()),
    "log2fc_slope": ("slope of the types' log2 fold changes on the real ones", ()),
    "label_agreement": ("cells classified as the type asked for", ()),
    "copy_rate": ("near-copies of training cells", ()),
}
UNITS: dict[str, Callable[[float], str]] = {
    "%": lambda v: f"{100 * v:.1f} %", "counts": lambda v: f"{v:,.0f}"}


@dataclass(frozen=True)
class Methods:
    """Paragraphs by heading, with numbered citations, and the papers in the order of their numbers."""

    parts: tuple[tuple[str, str], ...]
    references: tuple[Reference, ...]

    @property
    def text(self) -> str:
        """The paragraphs and the list of references as plain text."""
        body = "\n\n".join(f"{head}. {words}" for head, words in self.parts)
        return f"{body}\n\nReferences\n" + "\n".join(self.numbered()) + "\n"

    @property
    def markdown(self) -> str:
        """The same as markdown."""
        body = "\n\n".join(f"**{head}.** {words}" for head, words in self.parts)
        return f"## Methods\n\n{body}\n\n## References\n\n" + "\n".join(
            f"{i}. {r.text()}" for i, r in enumerate(self.references, 1)) + "\n"

    @property
    def bibtex(self) -> str:
        """The papers as BibTeX."""
        return "\n".join(r.bibtex() for r in self.references)

    def numbered(self) -> list[str]:
        """Return one line for each paper, with its number."""
        return [f"[{i}] {r.text()}" for i, r in enumerate(self.references, 1)]


def methods(data: Facts | None, run: TrainConfig, training: Facts, generated: Facts | None = None,
            report: Facts | None = None, environment: Facts | None = None) -> Methods:
    """Write the methods of a run and of one set of cells that it generated.

    Parameters
    ----------
    data
        `report.json` of the prepared dataset with its settings under `config`; None where it is not at hand.
    training
        `seconds`, `used_device`, `state`, and `step`: steps of all phases that were really taken.
    generated
        The recipe of the generated set.
    report
        Its report card.
    environment
        `versions`, `threads`, `cores` of the training.
    """
    cite = Citations()
    environment = environment or {}
    parts = []
    if data:
        parts.append(("Data", data_words(data, cite)))
    values = str((data or {}).get("values") or (generated or {}).get("values") or "")
    covariates = covariates_of(data, generated)
    parts.append(("Model", f"{codec_words(run, values, data, cite)} "
                           f"{diffusion_words(run, training, covariates, data, cite)}"))
    if generated:
        parts.append(("Generated cells", generated_words(generated, covariates, values, cite, run)))
    if report:
        parts.append(("Evaluation", report_words(report, cite)))
    parts.append(("Software and reproducibility", software_words(run, training, generated, report, environment, cite)))
    return Methods(tuple(parts), tuple(cite.papers))


def covariates_of(data: Facts | None, generated: Facts | None) -> dict[str, str]:
    """Return role -> column of what the model is conditioned on."""
    roles = (data or {}).get("roles") or (generated or {}).get("roles") or {}
    return {k: v for k, v in roles.items() if v and k != "control"}


def generated_words(recipe: Facts, covariates: Mapping[str, str], values: str, cite: Citations,
                    run: TrainConfig) -> str:
    """Return which cells were generated, and how."""
    asked = recipe.get("config") or {}
    n = int(recipe.get("n_cells") or asked.get("n_cells") or 0)
    where = {k: v for k, v in (asked.get("where") or {}).items() if v != keys.AS_IN_DATA}
    named = [f"{k} {v}" for k, v in where.items() if v != keys.ANY]
    unknown = [k for k, v in where.items() if v == keys.ANY]
    out = [f"{n:,} cells were generated" + (f" with {listed(named)}" if named else "")
           + (f", {listed(unknown)} left open" if unknown else "")
           + (", all else in the proportions of the training cells" if len(covariates) > len(where) and where else
              ", in the proportions of the training cells" if covariates and not where else "") + "."]
    name, papers = SAMPLERS.get(str(asked.get("sampler")), (str(asked.get("sampler", "")), ()))
    eta = asked.get("eta") or 0
    if name:
        what = "Cells" if run.codec.kind == "genes" else "Codes"
        out.append(f"{what} were sampled by {name}" + (f" with eta {eta:g}" if asked.get("sampler") == "ddim" else "")
                   + f"{cite(*papers)} in {asked.get('steps')} steps along "
                   f"{grid_words(run.diffusion.schedule, RATIO_MIN, RATIO_MAX, cite)}, "
                   f"from Latin hypercube draws of noise{cite('mckay1979comparison')}.")
    scale = float(asked.get("guidance_scale", 1))
    if covariates and scale == 0:
        out.append("The conditions were not used (guidance scale 0).")
    elif covariates and scale == 1:
        out.append("Sampling was plainly conditional (guidance scale 1).")
    elif covariates:
        out.append(f"Classifier-free guidance{cite('ho2022classifier')} with scale {scale:g} (1 is none)"
                   + (" was applied to all dimensions but that of the library size." if values == keys.COUNTS
                      else " was applied."))
    what = "counts" if values == keys.COUNTS else "values"
    out.append(f"The decoded distributions were sampled, so generated cells hold {what}; they are marked as synthetic.")
    return " ".join(out)


def report_words(report: Facts, cite: Citations) -> str:
    """Return how the cells were judged, each figure with its floor."""
    rows = {r["key"]: r for r in report.get("rows") or ()}
    settings = report.get("settings") or {}
    told = []
    for key, (name, papers) in FIGURES.items():
        row = rows.get(key)
        if row is None or row.get("value") is None:
            continue
        show = UNITS.get(row.get("unit", ""), lambda v: f"{v:.3g}")
        floor = f" ({show(row['floor'])})" if row.get("floor") is not None else ""
        told.append(f"{name}{cite(*papers)} {show(row['value'])}{floor}")
    forests = (f" Forests had {settings['trees']} trees and {settings['folds']} folds."
               if "rf_genes" in rows and settings.get("trees") else "")
    return (f"{report.get('n_cells', 0):,} generated cells were held against as many held-out real ones; in brackets "
            "the floor, which is the same for real training cells in the place of the generated ones (where a figure "
            f"should equal that of real cells, the held-out cells' own): {'; '.join(told)}.{forests} Distances and "
            "neighbours are in 30 joint principal components.")


def software_words(run: TrainConfig, training: Facts, generated: Facts | None, report: Facts | None,
                   environment: Facts, cite: Citations) -> str:
    """Return versions, device, time and seeds."""
    versions = dict(environment.get("versions") or {})
    own = versions.pop("scdiff_core", "") or (generated or {}).get("version") or ""
    out = [f"All was done with scDiff Studio{' ' + own if own else ''} and PyTorch{cite('paszke2019pytorch')}"
           + (f"; the evaluation used scikit-learn{cite('pedregosa2011scikit')}" if report else "") + "."]
    if versions:
        out.append("Versions: " + ", ".join(f"{k} {v}" for k, v in versions.items()) + ".")
    device = training.get("used_device") or ""
    seconds = float(training.get("seconds") or 0)
    took = f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min" if seconds < 5400 else \
        f"{seconds / 3600:.1f} h"
    if seconds:
        out.append(f"Training took {took}" + (f" on {device.upper() if device in ('cpu', 'cuda', 'mps') else device}"
                                              if device else "")
                   + (f" with {environment['threads']} threads" if device == "cpu" and environment.get("threads", 0) > 1
                      else "") + ".")
    seeds = [f"training {run.seed}"]
    if generated:
        seeds.append(f"generation {(generated.get('config') or {}).get('seed', generated.get('seed', 0))}")
    if report and "seed" in (report.get("settings") or {}):
        seeds.append(f"evaluation {report['settings']['seed']}")
    out.append(f"Random seeds: {listed(seeds)}. The data has the fingerprint {run.fingerprint[:16]} (SHA-256).")
    return " ".join(out)
