"""The full report of a run: the thorough card, each type, figures with their tables, data, recipe and versions.

It lies in the run's directory as `report/report.json`, `report/report.html` and `report/figures/*.svg`, and is read
without torch. The JSON is written last: where it is, the report is complete.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

import scdiff_core
from scdiff_core import keys
from scdiff_core.config import GenerateConfig, TrainConfig, to_yaml, validate
from scdiff_core.engine import cards, outputs
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir, atomic_write, read_json, write_json, write_text

if TYPE_CHECKING:
    from scdiff_core.data.prepared import Prepared

FOLDER, JSON, PAGE, FIGURES = "report", "report.json", "report.html", "figures"
GENERATE, PERTURB = "generate", "perturb"  # kinds of reports: of generated cells (this module), `report_perturb`
CELLS = 1000
FORMAT = 1
Tell = Callable[[str, float], None]


@dataclass(frozen=True)
class Figure:
    """One figure of a report: an SVG, what it shows, what it looks like in words, and the table behind it."""

    key: str
    title: str
    caption: str
    alt: str
    svg: bytes
    table: pd.DataFrame

    def to_dict(self) -> dict[str, Any]:
        """Return all but the picture as plain JSON values."""
        return {"key": self.key, "title": self.title, "caption": self.caption, "alt": self.alt,
                "columns": [str(c) for c in self.table.columns],
                "rows": [[plain(v) for v in row] for row in self.table.itertuples(index=False)]}


@dataclass(frozen=True)
class FullReport:
    """A full report: `values` are plain JSON (the card's own keys on top), figures stand apart."""

    values: dict[str, Any]
    figures: tuple[Figure, ...] = field(default=(), compare=False)

    def page(self) -> str:
        """Return the report as one HTML page that needs nothing else."""
        if self.values.get("kind") == PERTURB:
            from scdiff_core.engine.report_perturb_page import perturb_page

            return perturb_page(self.values, {f.key: f.svg for f in self.figures})
        from scdiff_core.engine.report_page import full_page

        return full_page(self.values, {f.key: f.svg for f in self.figures})


def plain(value: Any) -> Any:
    """Return a value as JSON takes it: numbers with five digits, None for what is no number."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.5g}") if value == value and abs(value) != float("inf") else None
    return value


def folder(job: JobDir) -> Path:
    """Return where a run's full report lies."""
    return job.path / FOLDER


def read_report(job: JobDir, kind: str = GENERATE) -> dict[str, Any] | None:
    """Return the values of a run's full report, None if there is no complete one of that kind."""
    values = read_json(folder(job) / JSON)
    good = isinstance(values, dict) and values.get("format") == FORMAT and values.get("kind", GENERATE) == kind
    return values if good else None


def read_figures(job: JobDir) -> dict[str, bytes]:
    """Return key -> SVG of a run's full report."""
    return {p.stem: p.read_bytes() for p in sorted((folder(job) / FIGURES).glob("*.svg"))}


def stale(job: JobDir) -> str:
    """Say in one line why a run's full report is out of date; empty where it is not, or where there is none."""
    values = read_json(folder(job) / JSON)
    if not isinstance(values, dict):
        return ""
    if values.get("format") != FORMAT:
        return "This report was made by another version of scDiff Studio: make it anew."
    # by its steps, not by times of files, which a copied run does not keep
    if values["training"]["step"] != job.status().get("step"):
        return "The model has been trained on since this report was made: make it anew."
    return ""


def ready(job: JobDir) -> str:
    """Say in one line why no report can be made of a run; empty where it can."""
    if not (job.checkpoints / "best.safetensors").exists():
        return "There is nothing to report on yet: this run has no trained model."
    return ""


def find(job: JobDir, config: GenerateConfig) -> dict[str, Any] | None:
    """Return the report that was made by the same request from the model as it is now, None if there is none."""
    values = read_report(job)
    asked = config.model_dump(mode="json")
    if values is None or stale(job) or values.get("generated", {}).get("config") != asked:
        return None
    return values if (folder(job) / PAGE).is_file() else None


def full_report(job: JobDir, prepared: Prepared, made: outputs.GeneratedSet,
                progress: Tell | None = None) -> FullReport:
    """Make the full report of a generated set of a run; its card (thorough) is kept with the set as well.

    Raises
    ------
    ScdiffError
        There are no real cells of the conditions asked for, or the cells are of another dataset.
    """
    from scdiff_core.analysis.report_card import Report
    from scdiff_core.engine.report_figures import Compared, draw

    tell = progress or (lambda words, share: None)
    recipe = made.recipe()
    asked = GenerateConfig.model_validate(recipe.get("config", {}))
    card = made.report()
    if card is None or not _complete(card):
        card = cards.write_report(made, prepared, asked, lambda w, s: tell(w, 0.75 * s), thorough=True).to_dict()
    report = Report.from_dict(card)
    tell("Looking at each cell type", 0.76)
    compared = Compared.of(made, prepared, asked)
    tables = compared.tables(lambda w, s: tell(w, 0.76 + 0.12 * s))
    figures = draw(compared, tables, lambda w, s: tell(w, 0.88 + 0.1 * s))
    config: TrainConfig = job.config()
    values = {
        "format": FORMAT, **report.to_dict(), "version": scdiff_core.__version__, "run": job.id,
        "title": job.notes().get("title") or job.id,
        "made": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "types": tables.types, "confusion": tables.confusion, "cfgen": tables.cfgen,
        "genes": {c: [plain(v) for v in tables.genes[c]] for c in tables.genes.columns},
        "figures": [f.to_dict() for f in figures], "data": data_facts(prepared),
        "recipe": config.model_dump(mode="json"), "recipe_yaml": to_yaml(config),
        "training": training_facts(job),
        "generated": {**{k: v for k, v in recipe.items() if k != "training"}, "set": made.id},
        "environment": read_json(job.path / "env.json", {})}
    tell("Done", 1.0)
    return FullReport(values, tuple(figures))


def _complete(card: dict[str, Any]) -> bool:
    """Say whether a set's card is a thorough one with every row that a full report needs."""
    return bool(card.get("settings", {}).get("thorough")) and any(r["key"] == "wasserstein2" for r in card["rows"])


def data_facts(prepared: Prepared) -> dict[str, Any]:
    """Return what the data was: source, sizes, split, the steps of its preparation, and what was found in it."""
    told = read_json(prepared.path / "report.json", {}) if prepared.path is not None else {}
    return {"dataset": prepared.name, "source": Path(str(told.get("source", ""))).name, "values": prepared.values,
            "kind": told.get("kind", ""), "fingerprint": prepared.fingerprint, "n_cells": prepared.n_cells,
            "n_genes": prepared.n_genes, "n_train": len(prepared.rows(keys.TRAIN)),
            "n_test": len(prepared.rows(keys.TEST)),
            "roles": prepared.roles.columns(), "steps": [s["words"] for s in told.get("steps", ())],
            "findings": [" ".join(p for p in (f"{f['title']}:", f["detail"]) if p) for f in told.get("findings", ())
                         if f.get("level") != "ok"], "filters": told.get("qc", {})}


def training_facts(job: JobDir) -> dict[str, Any]:
    """Return how the training went: steps, seconds, device, held-out loss."""
    status = job.status()
    tested = [r["loss_test"] for r in job.metrics() if r.get("phase") == "diffusion" and r.get("loss_test") is not None]
    return {**{k: status.get(k) for k in ("state", "step", "total", "seconds", "used_device", "memory_mb")},
            "loss_test": min(tested) if tested else None}


def write_full(job: JobDir, report: FullReport) -> Path:
    """Write a full report into its run and return the path of its page."""
    where = folder(job)
    (where / JSON).unlink(missing_ok=True)  # it is incomplete until this is back
    drawn = {f"{f.key}.svg": f.svg for f in report.figures}
    for old in (where / FIGURES).glob("*.svg"):
        if old.name not in drawn:
            old.unlink()
    for name, svg in drawn.items():
        atomic_write(where / FIGURES / name, lambda path, svg=svg: path.write_bytes(svg))  # type: ignore[misc]
    write_text(where / PAGE, report.page())
    write_json(where / JSON, report.values)
    return where / PAGE


def make(job: JobDir, prepared: Prepared, generate: Callable[[GenerateConfig, Tell], Any], *, n_cells: int = CELLS,
         seed: int = 0, progress: Tell | None = None) -> dict[str, Any]:
    """Return the values of a run's full report: the one on disk, or one made now with cells of its own.

    That of a model of perturbations is another one (`report_perturb`).

    Parameters
    ----------
    generate
        Makes the cells of a request, as `engine.generate` does; asked only where no set of the run fits.
    n_cells, seed
        Of the cells to generate.

    Raises
    ------
    ScdiffError
        The run has no model, or its dataset is not at hand.
    """
    tell = progress or (lambda words, share: None)
    reason = ready(job)
    if reason:
        raise ScdiffError(f"No report can be made of '{job.id}'.", reason, "Train it first, or choose another run.")
    if job.config().task == "perturb":
        from scdiff_core.engine import report_perturb

        return report_perturb.make(job, prepared, seed=seed, progress=tell)
    asked = validate(GenerateConfig, {"run": job.id, "n_cells": n_cells, "seed": seed}, "The request")
    known = find(job, asked)
    if known is not None:
        return known
    made = outputs.find_set(job, asked)
    if made is None:
        adata = generate(asked, lambda words, share: tell(words, 0.1 * share))
        tell("placing the cells", 0.1)
        made = outputs.write_set(outputs.new_path(job), adata, asked, prepared)
    report = full_report(job, prepared, made, lambda words, share: tell(words, 0.1 + 0.9 * share))
    write_full(job, report)
    return report.values


