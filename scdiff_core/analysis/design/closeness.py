"""How near a candidate brings cells to a design: the rules that can rank candidates, and intervals of the distance.

All values are log1p. A candidate's own genes are left out of its comparison: raising a gene by activating that gene is
no finding. Candidates that leave out different genes are therefore compared by what they gain over doing nothing, in
the same genes; a distance alone would be shorter for whoever leaves out the most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.distance import cdist

from scdiff_core.analysis.perturb.scores import Space

ENERGY, LIKELY, DISTANCE, CENTRED, COSINE = "energy", "likely", "distance", "centred", "cosine"
RULES = {
    ENERGY: "E-distance of the predicted cells to the designed ones",
    LIKELY: "likelihood of the wanted change under the prediction and its uncertainty",
    DISTANCE: "expected distance of the means, in units of the cells' own spread, with the prediction's uncertainty",
    CENTRED: "cosine of the changes, each less what perturbations do on average (Systema)",
    COSINE: "cosine of the changes (the plain signature)"}
DRAWS = 60  # of cells and of errors, for an interval
BOUNDS = (0.05, 0.95)


@dataclass(frozen=True)
class Shifts:
    """What C candidates are predicted to do to the mean of G genes, log1p.

    Attributes
    ----------
    move
        Predicted mean less that of the control cells it starts from [C, G].
    shift
        The change by the perturbation itself [C, G] (`Response.shift`).
    sd
        Standard error of the prediction [C, G].
    own
        Columns of each candidate's own genes.
    """

    move: np.ndarray
    shift: np.ndarray
    sd: np.ndarray
    own: tuple[tuple[int, ...], ...]


def closed_form(found: Shifts, wanted: np.ndarray, noise: np.ndarray, cell_sd: np.ndarray, typical: np.ndarray,
                keep: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Return the rules that need means alone: rule -> score [C], more is nearer.

    `LIKELY` is the log of a normal density: a sure prediction that is wrong falls behind an unsure one that may be
    right, and an unsure one behind a sure one that is right.

    Parameters
    ----------
    wanted, noise
        The change that is wanted of the mean, and its sampling variance, from the cells at both ends [G].
    cell_sd
        Standard deviation of single cells [G], the unit of `DISTANCE`.
    typical
        The mean change over measured perturbations [G], taken off for `CENTRED`.
    keep
        Genes that are compared, bool [G]; None: all.
    """
    use = np.ones(found.move.shape, bool) if keep is None else np.repeat(keep[None], len(found.move), axis=0)
    for row, columns in enumerate(found.own):
        use[row, list(columns)] = False
    gain = (2 * found.move * wanted - found.move**2 - found.sd**2) / cell_sd**2  # |w|² − E|w − s|², gene by gene
    var = found.sd**2 + noise
    like = -0.5 * ((wanted - found.move) ** 2 / var + np.log(var))
    # a gene that a candidate leaves out tells neither for nor against it: it counts as for the others on average
    like -= np.where(use, like, 0.0).sum(axis=0) / np.maximum(use.sum(axis=0), 1)
    return {LIKELY: np.where(use, like, 0.0).sum(axis=1), DISTANCE: np.where(use, gain, 0.0).sum(axis=1),
            CENTRED: _cosines(found.shift - typical, wanted - typical, use),
            COSINE: _cosines(found.shift, wanted, use)}


def _cosines(a: np.ndarray, b: np.ndarray, use: np.ndarray) -> np.ndarray:
    """Return the cosine of each row of a [C, G] with b [G], over the genes in use; 0 where one is nothing."""
    a, b = np.where(use, a, 0.0), np.where(use, b, 0.0)
    size = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.divide((a * b).sum(axis=1), size, out=np.zeros(len(a)), where=size > 1e-9)


def ranks(scores: np.ndarray) -> np.ndarray:
    """Return the rank of each score [C] from 1, the highest first; equal ones share the mean of their ranks."""
    from scipy.stats import rankdata  # half a second, which pages without a ranking need not wait for

    return np.asarray(rankdata(-np.nan_to_num(scores, nan=-np.inf)))


def prefilter(scores: dict[str, np.ndarray], most: int) -> np.ndarray:
    """Return the at most `most` candidates, best first, whose cells are worth making: near the top by any rule."""
    places = np.stack([ranks(scores[r]) for r in RULES if r in scores])
    return np.lexsort((places.mean(axis=0), places.min(axis=0)))[:most]


@dataclass(frozen=True)
class Way:
    """E-distances with 90 % intervals: of predicted cells to the goal, of the start to the goal, and the share gone."""

    energy: tuple[float, float, float]
    nothing: float
    way: tuple[float, float, float]
    gain_low: float


@dataclass(frozen=True)
class Populations:
    """The cells at the start and the goal, laid out to hold predicted cells against them.

    Attributes
    ----------
    goal, start
        log1p [M, G] and [S, G].
    space
        Components in which distances are taken; those of genes that are left out are 0.
    """

    goal: np.ndarray
    start: np.ndarray
    space: Space
    kept: dict[tuple[int, ...], tuple[np.ndarray, ...]] = field(default_factory=dict, compare=False, repr=False)

    def place(self, cells: np.ndarray, own: Sequence[int]) -> np.ndarray:
        """Return the components [n, P] of cells [n, G] without some genes."""
        columns = list(own)
        return self.space.place(cells) - cells[:, columns] @ self.space.components[:, columns].T

    def _base(self, own: tuple[int, ...]) -> tuple[np.ndarray, ...]:
        if own not in self.kept:
            goal, start = self.place(self.goal, own), self.place(self.start, own)
            self.kept[own] = goal, cdist(goal, goal), cdist(start, goal), cdist(start, start)
        return self.kept[own]

    def energy(self, cells: np.ndarray, own: tuple[int, ...]) -> tuple[float, float]:
        """Return the E-distance to the goal of predicted cells [n, G], and of the start, without some genes."""
        goal, gg, sg, ss = self._base(own)
        at = self.place(cells, own)
        return (_energy(cdist(at, goal), cdist(at, at), gg), _energy(sg, ss, gg))

    def way(self, cells: np.ndarray, own: tuple[int, ...], errors: np.ndarray, rng: np.random.Generator,
            draws: int = DRAWS) -> Way:
        """Return the E-distance of predicted cells [n, G] and the share of the way, with intervals.

        Parameters
        ----------
        errors
            Errors that the predicted mean may have, log1p [E, G]: one is drawn each time and added to all cells.
        """
        goal, gg, sg, ss = self._base(own)
        at = self.place(cells, own)
        xx, xy = cdist(at, at), cdist(at, goal)
        value, nothing = _energy(xy, xx, gg), _energy(sg, ss, gg)
        moved = self.direction(errors, own) if len(errors) else np.zeros((1, at.shape[1]))
        x_moved, y_moved, size = at @ moved.T, goal @ moved.T, (moved**2).sum(axis=1)
        squared = xy**2
        found = []
        for e in rng.integers(len(moved), size=draws):
            x, y, s = (rng.multinomial(n, np.full(n, 1 / n)).astype(float) for n in (len(at), len(goal), len(ss)))
            # |x + e - y|² without another look at the components
            apart = squared + 2 * (x_moved[:, e, None] - y_moved[None, :, e]) + size[e]
            found.append((_energy(np.sqrt(np.maximum(apart, 0.0)), xx, gg, x, y), _energy(sg, ss, gg, s, y)))
        drawn = np.array(found)
        energies, base = drawn[:, 0], np.maximum(drawn[:, 1], 1e-9)
        share = 1 - value / nothing if nothing > 0 else 0.0
        return Way(_around(value, energies), nothing, _around(share, 1 - energies / base),
                   float(np.quantile(drawn[:, 1] - energies, BOUNDS[0])))

    def direction(self, change: np.ndarray, own: Sequence[int]) -> np.ndarray:
        """Return changes of the mean [E, G] in the components [E, P], without some genes."""
        columns = list(own)
        return np.asarray(change @ self.space.components.T - change[:, columns] @ self.space.components[:, columns].T)


def _around(value: float, drawn: np.ndarray) -> tuple[float, float, float]:
    """Return a value and its interval; an error always takes cells away from where they are best, hence both ends."""
    low, high = np.quantile(drawn, BOUNDS)
    return float(value), float(min(low, value)), float(max(high, value))


def _energy(xy: np.ndarray, xx: np.ndarray, yy: np.ndarray, x: np.ndarray | None = None,
            y: np.ndarray | None = None) -> float:
    """Return the E-distance from distances [n, m], [n, n], [m, m], as a U-statistic; x, y: how often each cell counts.

    A cell that is drawn twice is no pair with itself.
    """
    if x is None or y is None:
        n, m = xy.shape
        return float(2 * xy.mean() - xx.sum() / (n * (n - 1)) - yy.sum() / (m * (m - 1)))

    def own(d: np.ndarray, w: np.ndarray) -> float:
        return float(w @ d @ w / max(w.sum() ** 2 - (w**2).sum(), 1.0))

    return float(2 * (x @ xy @ y) / (x.sum() * y.sum()) - own(xx, x) - own(yy, y))
