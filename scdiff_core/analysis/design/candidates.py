"""What would move cells towards a design: the candidates, how near each one comes, and how far that can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import pandas as pd

THERE, PART, NOTHING, FAR, SILENT = ("gets there", "part of the way", "no better than doing nothing",
                                     "far from all that was seen", "no effect is predicted")
NONE_OF_THESE = "None of these gets there."
FIRST = 10  # of a ranking, for the share that is found again
HYPOTHESES = "Predicted by a model; an experiment has to show it."


@dataclass(frozen=True)
class Side:
    """A gene that a candidate is predicted to move and the target did not ask for.

    Attributes
    ----------
    log2fc, low, high
        Against the cells at the start, with the 90 % interval.
    wanted
        What the target asks of it: the change of its mean, log1p.
    """

    gene: str
    log2fc: float
    low: float
    high: float
    wanted: float


@dataclass(frozen=True)
class Route:
    """One candidate, held against the designed cells; its own genes are left out of every comparison.

    Attributes
    ----------
    rank
        From 1, by the rule in `Routes.rule`.
    kind, how
        What the prediction rests on: a key (`ResponseModel.kind`) and words.
    energy, energy_low, energy_high
        E-distance of its predicted cells to the designed ones, and the 90 % interval over cells and over errors as
        large as those of predictions of this kind; None where its cells were not made (far down the list).
    nothing
        The same distance for the cells as they are.
    way, way_low, way_high
        Share of the distance that is gone: 1 all of it, 0 none, below 0 farther off than before.
    cosine, cosine_rank
        The plain signature: cosine of its predicted change with the wanted one, and the rank by that alone.
    ranks
        Rule (a key of `closeness.RULES`) -> its rank by that rule.
    reach
        0: near to what was measured; 1: far from all of it.
    word
        ``THERE``, ``PART``, ``NOTHING``, ``FAR`` or ``SILENT``; "" where its cells were not made.
    met
        Share of the wanted genes that are predicted to move the wanted way, beyond doubt.
    side_effects, n_side
        The strongest unasked changes that are beyond doubt, and how many there are.
    own
        Its own genes, left out.
    n_cells, controls
        For the experiment: cells of each arm, and the arms to have beside it.
    """

    rank: int
    perturbation: str
    dose: float | None
    kind: str
    how: str
    energy: float | None
    energy_low: float | None
    energy_high: float | None
    nothing: float | None
    way: float | None
    way_low: float | None
    way_high: float | None
    cosine: float
    cosine_rank: int
    ranks: Mapping[str, int]
    reach: float
    effect: str
    word: str
    met: float
    side_effects: tuple[Side, ...]
    n_side: int
    own: tuple[str, ...]
    n_cells: int
    controls: tuple[str, ...]

    @property
    def name(self) -> str:
        """How it is called in tables: the perturbation, and its dose where it has one."""
        return self.perturbation if self.dose is None else f"{self.perturbation} @ {self.dose:g}"

    @property
    def useful(self) -> bool:
        """Whether it goes at least part of the way, beyond doubt."""
        return self.word in (THERE, PART)


@dataclass(frozen=True)
class Trust:
    """How often known perturbations of the training data were found again, each hidden from the model in turn.

    Attributes
    ----------
    rule
        Which ranking did best there, and is used (a key of `closeness.RULES`).
    n, candidates
        Perturbations that were hidden, and how many each was looked for among (the median).
    area, recall, chance
        Rule -> area under the hit-rate curve (.5: chance); rule -> share of hidden ones among the first 10; and that
        share by chance.
    """

    rule: str
    n: int
    candidates: int
    area: Mapping[str, float]
    recall: Mapping[str, float]
    chance: float

    def words(self) -> str:
        """Say it in one sentence."""
        if self.candidates < 2 * FIRST:  # most would be among the first ten
            return (f"Each of {self.n} perturbations of this data, hidden from the model in turn, came before "
                    f"{100 * self.area[self.rule]:.0f} % of the other {self.candidates - 1} on average (by chance "
                    f"50 %; by the plain signature {100 * self.area['cosine']:.0f} %).")
        return (f"Of {self.n} perturbations of this data, each hidden from the model in turn, "
                f"{100 * self.recall[self.rule]:.0f} % were among the first {FIRST} of {self.candidates} "
                f"(by chance {100 * self.chance:.0f} %; by the plain signature {100 * self.recall['cosine']:.0f} %).")


@dataclass(frozen=True)
class Checked:
    """What the check inside the training data found.

    Attributes
    ----------
    trust
        None where no cell type has enough perturbations.
    errors
        Kind of prediction -> errors of the predicted mean, log1p [E, G], as far as there are any.
    """

    trust: Trust | None
    errors: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Routes:
    """All candidates, the best first.

    Attributes
    ----------
    rule
        What they are ranked by (a key of `closeness.RULES`), in `rule_words` in words.
    words
        The answer in a sentence or two.
    gets_there
        Whether any candidate does, or goes part of the way beyond doubt; else ``NONE_OF_THESE`` begins the words.
    start, goal, n_start, n_goal
        Which cells are to be moved and where to, in words, and their numbers.
    n_genes, left_out
        Genes compared, and those left out for every candidate.
    refused
        Candidate -> why it cannot be predicted.
    """

    rows: tuple[Route, ...]
    rule: str
    rule_words: str
    words: str
    gets_there: bool
    start: str
    goal: str
    n_start: int
    n_goal: int
    n_genes: int
    left_out: tuple[str, ...]
    refused: Mapping[str, str]
    trust: Trust | None
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Routes:
        """Return what `to_dict` wrote; fields of later versions are left out."""
        rows = tuple(_made(Route, {**r, "side_effects": tuple(_made(Side, s) for s in r["side_effects"]),
                                   "own": tuple(r["own"]), "controls": tuple(r["controls"])}) for r in values["rows"])
        trust = None if values.get("trust") is None else _made(Trust, values["trust"])
        return _made(cls, {**values, "rows": rows, "trust": trust, "left_out": tuple(values["left_out"]),
                           "warnings": tuple(values.get("warnings", ()))})

    def table(self) -> pd.DataFrame:
        """Return one row a candidate; side effects as text."""
        keep = [f.name for f in fields(Route) if f.name not in ("side_effects", "own", "controls", "ranks")]
        rows = [{**{k: getattr(r, k) for k in keep}, "own": " ".join(r.own), "side_effects": side_words(r.side_effects),
                 "controls": "; ".join(r.controls)} for r in self.rows]
        return pd.DataFrame(rows, columns=[*keep, "own", "side_effects", "controls"])


def _made(kind: Any, values: Mapping[str, Any]) -> Any:
    known = {f.name for f in fields(kind)}
    return kind(**{k: v for k, v in values.items() if k in known})


def side_words(sides: Sequence[Side]) -> str:
    """Return unasked changes as text: ``"CD69 +1.2, IL7R -0.8"`` (log2 fold changes)."""
    return ", ".join(f"{s.gene} {s.log2fc:+.1f}" for s in sides)
