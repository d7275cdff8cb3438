"""What a figure of the report card says: judged from the floor and the baselines, then put in words."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

SOME_CELLS = 100  # a side; with fewer, only large differences show
MIN_CELLS = 20  # a side; with fewer, chance alone explains anything
LOWER, HIGHER, NEAR = "lower", "higher", "near floor"
GOOD, FAIR, POOR, UNCLEAR = "good", "fair", "poor", "unclear"


@dataclass(frozen=True)
class Row:
    """One metric of a report card.

    `floor` is what real training cells score in the place of the generated ones (where the figure should
    equal that of real cells, the held-out cells' own figure). `noise` is how far real cells vary by chance.
    `verdict` is good, fair, poor, or unclear where there are too few cells to judge.
    """

    key: str
    title: str
    better: str  # lower | higher | near floor
    unit: str
    about: str  # what is measured, in one sentence
    value: float | None = None
    floor: float | None = None
    baselines: dict[str, float | None] = field(default_factory=dict)
    noise: float = 0.0
    verdict: str = UNCLEAR
    sentence: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain JSON values."""
        return asdict(self)

    def show(self, value: float | None) -> str:
        """Return one of the row's figures in its unit, as text."""
        if value is None:
            return "-"
        if self.unit == "%":
            return f"{100 * value:.1f} %"
        if self.unit == "counts":
            return f"{value:,.0f}"
        return f"{value:.3g}" if abs(value) < 0.1 else f"{value:.2f}"


METRICS = {row.key: row for row in (
    Row("rf_genes", "Told apart by genes", LOWER, "AUC",
        "How often a random forest picks out the generated one of a generated and a real cell, by genes."),
    Row("rf_pca", "Told apart by components", LOWER, "AUC",
        "The same with 50 principal components of the two sets together."),
    Row("mmd", "MMD", LOWER, "",
        "Squared maximum mean discrepancy in 30 principal components: 0 for the same population."),
    Row("energy", "Energy distance", LOWER, "",
        "Euclidean energy distance in 30 principal components: 0 for the same population."),
    Row("sinkhorn", "Sinkhorn divergence", LOWER, "",
        "Entropic optimal transport between the two sets less that within each (squared distance in 30 principal "
        "components, regularised by a tenth of the median cost): 0 for the same population."),
    Row("wasserstein2", "2-Wasserstein distance", LOWER, "",
        "How far cells must be moved at least to become the others (exact transport in 30 principal components)."),
    Row("nn_accuracy", "Nearest neighbour is alike", LOWER, "",
        "How often a cell's nearest neighbour is of its own set (generated or real): 0.5 cannot tell, 1 always."),
    Row("precision", "Precision", HIGHER, "%",
        "The share of generated cells that lie where real cells are (among their 5 nearest neighbours)."),
    Row("recall", "Recall", HIGHER, "%",
        "The share of real cells that lie where generated cells are (among their 5 nearest neighbours)."),
    Row("density", "Density", HIGHER, "",
        "How thickly real cells lie round generated ones (number of real balls of 5 neighbours, over 5)."),
    Row("coverage", "Coverage", HIGHER, "%",
        "The share of real cells with a generated one within reach of their 5 nearest real neighbours."),
    Row("zero_share", "Share of zeros", NEAR, "%", "The share of genes without a count, over all cells."),
    Row("library_size", "Library size", NEAR, "counts", "The median of the total counts of a cell."),
    Row("gene_variance", "Genes vary as much", NEAR, "×",
        "Each gene's variance in generated cells over that in real ones (log1p), the median over genes."),
    Row("gene_correlation", "Genes vary together", HIGHER, "r",
        "Agreement of the gene-gene correlations with those of real cells, 500 most variable genes."),
    Row("gene_correlation_all", "All genes vary together", HIGHER, "r",
        "The same over every pair of the compared genes (upper triangle, Pearson)."),
    Row("log2fc_slope", "Fold changes: slope", NEAR, "",
        "Log2 fold changes of each type against the rest, generated on real (orthogonal regression, genes with at "
        "least 1 count per 10,000): below 1, types are less different than in real cells."),
    Row("log2fc_r", "Fold changes: agreement", HIGHER, "r",
        "Pearson's correlation of these fold changes with those of real cells."),
    Row("label_agreement", "Cell type as asked", HIGHER, "%",
        "How often a classifier that learned from real cells finds the label that was asked for."),
    Row("copy_rate", "Near-copies", LOWER, "%",
        "The share as near to a training cell as only the nearest 5 % of new real cells are."),
)}


# distances: a good one exceeds its floor by this share of it (a shuffle lies so far off that it says nothing)
DISTANCES = {"mmd": 0.25, "energy": 0.25, "sinkhorn": 0.25, "wasserstein2": 0.1}
NEIGHBOURS = ("nn_accuracy", "precision", "recall", "density", "coverage")  # judged three times as strictly
SAYINGS = {  # of the rows that no general sentence fits
    "nn_accuracy": "{value}; real against real {floor}; 0.5 is the same population, below it copies.",
    "precision": "{value} of the generated cells lie where real cells are; of other real cells {floor} do.",
    "recall": "{value} of the real cells lie where generated cells are; where other real cells are, {floor}.",
    "density": "Generated cells have {value} times as many real cells round them as expected; other real ones {floor}.",
    "coverage": "{value} of the real cells have a generated one near by; of other real cells near by, {floor}.",
    "gene_variance": "Genes have {value} times the variance of real cells; in other real cells {floor}.",
    "log2fc_slope": "What sets types apart comes out {value} times as large as in real cells; in other real cells "
                    "{floor}.",
}


def worse(row: Row, value: float | None) -> float:
    """Return how far `value` lies from the row's floor in the bad direction, in its unit (0 or more)."""
    if value is None or row.floor is None:
        return 0.0
    apart = value - row.floor
    return {LOWER: max(0.0, apart), HIGHER: max(0.0, -apart)}.get(row.better, abs(apart))


def judge(row: Row, n: int) -> Row:
    """Return the row with its verdict and sentence, from the floor, the baselines and chance.

    Good: within twice the chance variation of the floor, or within a third of the way from there to the
    worst baseline with no baseline clearly nearer (figures of neighbours: a tenth). Fair: within two thirds of that
    way (a third), or within four times the chance variation. Distances are good up to a quarter above their floor
    (2-Wasserstein: a tenth), and fair up to three times it or nearer than every baseline. Copies are held against
    the floor alone: good up to twice its rate, fair up to four times.
    """
    if row.value is None or row.floor is None or n < MIN_CELLS:
        return replace(row, verdict=UNCLEAR, sentence=f"{row.show(row.value)}, real cells "
                       f"{row.show(row.floor)}: too few cells to judge.")
    d, chance = worse(row, row.value), row.noise
    if row.key == "copy_rate":
        scale = max(row.floor, chance)
        verdict = GOOD if d <= max(scale, 2 * chance) else FAIR if d <= 3 * scale else POOR
    elif row.key in DISTANCES:
        nearest = min((worse(row, b) for b in row.baselines.values() if b is not None), default=0.0)
        near = max(2 * chance, DISTANCES[row.key] * row.floor)
        verdict = GOOD if d <= near else FAIR if d <= max(4 * chance, 2 * row.floor, nearest) else POOR
    else:
        far = max((worse(row, b) for b in row.baselines.values()), default=0.0)
        best = min((worse(row, b) for b in row.baselines.values()), default=0.0)
        # The Gaussian has each gene's distribution by construction, which is most of what a forest sees.
        beaten = row.unit == "AUC" or d <= best + chance
        good, fair = (0.1, 1 / 3) if row.key in NEIGHBOURS else (1 / 3, 2 / 3)
        near, middling = max(2 * chance, good * far if beaten else 0.0), max(4 * chance, fair * far)
        verdict = GOOD if d <= near else FAIR if d <= middling else POOR
    return replace(row, verdict=verdict, sentence=_sentence(row, d))


def _sentence(row: Row, d: float) -> str:
    """Return what the figure says, in words."""
    value, floor = row.show(row.value), row.show(row.floor)
    if row.key == "copy_rate":
        return (f"{value} of the generated cells lie very near to a training cell; of new real cells "
                f"{floor} do.")
    if row.key == "label_agreement":
        return (f"{value} of the generated cells are of the type that was asked for; of real cells "
                f"{floor} are.")
    if row.key in SAYINGS:
        return SAYINGS[row.key].format(value=value, floor=floor)
    if row.better == NEAR:
        return f"{value} in generated cells, {floor} in real ones."
    near = "as near as real cells are to each other" if d <= 2 * row.noise else ""
    beaten = [k for k, b in row.baselines.items() if b is not None and worse(row, b) > d + row.noise]
    lost = [k for k, b in row.baselines.items() if b is not None and worse(row, b) < d - row.noise]
    words = near or (f"further off than {' and '.join(lost)}" if lost
                     else f"nearer than {' and '.join(beaten)}" if beaten else
                     "about as far as the baselines")
    return f"{value}; real against real {floor}; {words}."


def overall(rows: tuple[Row, ...], n: int) -> str:
    """Return one plain sentence on what the rows say together."""
    by = {row.key: row for row in rows}
    if n < MIN_CELLS:
        return (f"There are too few cells ({n} a side) to say whether generated cells are like real ones: "
                "compare at least fifty, better several hundred.")
    forests = [by[k] for k in ("rf_genes", "rf_pca") if k in by]
    verdicts = [r.verdict for r in forests]
    figure = ""
    if forests:
        genes = max(forests, key=lambda r: r.value or 0)
        figure = (f" (shown one of each, a classifier picks the generated cell "
                  f"{100 * (genes.value or 0):.0f} % of the time; guessing is 50 %)")
    if verdicts and all(v == GOOD for v in verdicts):
        start = "Generated cells are hard to tell from real ones"
    elif POOR in verdicts:
        start = "Generated cells are easy to tell from real ones"
    else:
        start = "Generated cells resemble real ones, but a classifier tells some of them apart"
    faults = [words for row in rows if row.verdict in (FAIR, POOR) for words in [_fault(row)] if words]
    if n < SOME_CELLS:
        start = f"As far as {n} cells a side can tell, g{start[1:]}"
    if not faults:
        return f"{start}{figure}."
    return f"{start}{figure}; {'but ' if start.endswith('ones') and POOR not in verdicts else ''}" \
           + _listed(faults[:3]) + "."


def _fault(row: Row) -> str:
    """Return the clause that names what is wrong with one row; empty where the first clause says it."""
    more = (row.value or 0) > (row.floor or 0)
    value, floor = row.show(row.value), row.show(row.floor)
    return {
        "copy_rate": f"{value} of them lie suspiciously near to a training cell (copies, or too "
                     f"smooth; new real cells {floor})",
        "label_agreement": f"only {value} are of the type that was asked for (real cells {floor})",
        "zero_share": f"they have {'more' if more else 'fewer'} zeros ({value} against {floor})",
        "library_size": f"they are sequenced {'deeper' if more else 'shallower'} ({value} counts a cell "
                        f"against {floor})",
        "gene_correlation": f"genes do not vary together as in real cells (r {value} against {floor})",
        "gene_variance": f"genes vary {'more' if more else 'less'} from cell to cell ({value} times the real variance)",
        "log2fc_slope": f"types differ {'more' if more else 'less'} than real ones (fold changes {value} times as "
                        f"large, real cells {floor})",
        "recall": f"they leave out some of the variety of real cells (recall {value}, real cells {floor})",
        "precision": f"some lie where no real cells are (precision {value}, real cells {floor})",
        "mmd": "their population is shifted from the real one (MMD)" if row.verdict == POOR else "",
    }.get(row.key, "")


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
