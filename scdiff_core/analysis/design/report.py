"""What is said of designed cells: the figures of one design beside the real cells' and a baseline's, and a sentence."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

DESIGNED, REAL, EDITED, FLOOR = "designed", "real cells that meet it", "plain latent editing", "floor"
FEW_DIVERSE, FEW_ENERGY = 10, 30  # real cells that a diversity, and a distance, can be held against


@dataclass(frozen=True)
class Figures:
    """The figures of one set of cells.

    Attributes
    ----------
    name, n
        ``"designed"``, ``"real cells that meet it"``, ``"plain latent editing"`` or ``"floor"`` (one half of the real
        cells that meet it against the other), and how many cells.
    met, rows
        Share that meets all hard rows, and each row.
    unreal
        Share that lies farther from the training cells than 95 % of held-out real cells do, in principal components; of
        real cells, that of held-out ones that meet the target, None where these are too few.
    unreal_codes
        The same in the model's codes, before counts are drawn.
    auc
        How well a forest tells them from the real cells of their neighbourhood (0.5: not at all).
    diversity
        Their mean distance from each other over that of the real cells that meet the target, in denoised expression.
    energy
        Their E-distance to the real cells that meet the target, in denoised expression.
    note
        Why a figure is missing.
    """

    name: str
    n: int
    met: float
    rows: tuple[float, ...]
    unreal: float | None
    auc: float | None = None
    diversity: float | None = None
    energy: float | None = None
    note: str = ""
    unreal_codes: float | None = None


@dataclass(frozen=True)
class DesignReport:
    """Everything that is shown of a design; plain values only.

    Attributes
    ----------
    rows
        For each row: name, words, direction, level, upper, hard, and the shares of designed and of real cells.
    figures
        Of the designed cells, and of what stands beside them.
    unreal_limit
        The 95th percentile of held-out cells' 10-nearest-neighbour distance.
    side_effects
        Genes that differ from the reference besides those asked for, the strongest first.
    reference
        In words, the real cells that side effects and programs are told against.
    programs
        Gene sets, those of the target first (`analysis.design.programs_of.compare`).
    neighbours
        Shares of types, batches and other labels among the nearest real cells, and which these are most often.
    moved
        Of cells that were started from: how far they went.
    """

    words: str
    n_cells: int
    met: int
    ancestors: int
    seconds: float
    rows: tuple[dict[str, Any], ...]
    feasibility: dict[str, Any]
    figures: tuple[Figures, ...]
    unreal_limit: float
    side_effects: tuple[dict[str, Any], ...] = ()
    reference: str = ""
    programs: tuple[dict[str, Any], ...] = ()
    neighbours: dict[str, Any] = field(default_factory=dict)
    moved: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()

    def of(self, name: str) -> Figures | None:
        """Return the figures of a set, None where it has none."""
        return next((f for f in self.figures if f.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> DesignReport:
        """Make it of what `to_dict` returned; fields of a newer version are left out."""
        known = {f.name for f in fields(cls)}
        figure = {f.name for f in fields(Figures)}
        kept = {k: v for k, v in values.items() if k in known}
        for name in ("rows", "side_effects", "programs", "warnings"):
            kept[name] = tuple(kept.get(name, ()))
        found: list[dict[str, Any]] = [{k: v for k, v in f.items() if k in figure} for f in kept["figures"]]
        kept["figures"] = tuple(Figures(**{**f, "rows": tuple(f["rows"])}) for f in found)
        return cls(**kept)


def sentence(met: int, n: int, unreal: float, feasibility: dict[str, Any]) -> str:
    """Return the whole in one sentence: hits, realism, and how many real cells do it already."""
    share, some = 100 * feasibility["share"], feasibility["n"] > 0
    if not feasibility["rows"]:  # a custom objective alone, of which real cells were not asked
        return f"{n:,} cells follow the custom objective; {percent(unreal)} % look unreal."
    return (f"{met:,} of {n:,} meet the target; {percent(unreal)} % look unreal; "
            + (f"{share:.2g} % of your cells already do this." if some else
               "none of your cells does this: it is beyond the data."))


def percent(share: float) -> str:
    """Return a share in percent, in as many digits as are told apart."""
    value = 100 * share
    return f"{value:.0f}" if value >= 10 or value == 0 else f"{value:.1f}"


def figures_table(report: DesignReport) -> str:
    """Return the figures as csv text, one set a line."""
    names = [row["words"] for row in report.rows]
    header = ["cells", "n", "meet all", *names, "look unreal", "look unreal in codes", "auc", "diversity", "e_distance",
              "note"]
    return _csv(header, [[f.name, f.n, f.met, *f.rows, f.unreal, f.unreal_codes, f.auc, f.diversity, f.energy, f.note]
                         for f in report.figures])


def side_effects_table(report: DesignReport) -> str:
    """Return the genes that changed as csv text."""
    names = ["gene", "log2fc", "score", "pval_adj", "mean_designed", "mean_reference", "asked"]
    return _csv(names, [[row[n] for n in names] for row in report.side_effects])


def programs_table(report: DesignReport) -> str:
    """Return the programs as csv text."""
    names = ["program", "asked", "n_genes", "designed", "reference", "activity", "pval_adj"]
    return _csv(names, [[row[n] for n in names] for row in report.programs])


def neighbours_table(report: DesignReport) -> str:
    """Return the labels of the nearest real cells as csv text: column, label, share."""
    rows = [[column, label, share] for column, shares in report.neighbours.get("columns", {}).items()
            for label, share in shares.items()]
    return _csv(["column", "label", "share"], rows)


def _csv(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([["" if v is None else f"{v:.6g}" if isinstance(v, float) else v for v in row] for row in rows])
    return out.getvalue()
