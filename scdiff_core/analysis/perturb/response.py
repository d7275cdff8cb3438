"""What a perturbation does to the mean: kernel ridge over perturbations, doses and types, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from scdiff_core.analysis.perturb import gaussian, interval, programs_of_arms, words
from scdiff_core.analysis.perturb.arms import Arms
from scdiff_core.analysis.perturb.dose import fit_curves, pooled
from scdiff_core.analysis.perturb.effects import NONE, POWER_Z, TYPICAL_CELLS, Detected, verdict
from scdiff_core.analysis.perturb.embeddings import Embedding, refuse
from scdiff_core.analysis.perturb.kernels import IDENTITY, MEAN, Item, Parts, Space, squared_distances
from scdiff_core.analysis.perturb.own_gene import OwnGene, measure
from scdiff_core.data.perturbations import Perturbation
from scdiff_core.errors import ScdiffError, nearest

WIDTHS = (0.5, 1.0, 2.0)  # of the median distance between types' controls
SHARES = (0.05, 0.2, 0.5, 0.9)  # of a part's own weight that embeddings are tried with
LEAST = 0.1  # of the usual size of a gene's change
SAME_CONTROL = 1e-3  # log1p: control means no further apart are of the same cells
FOLDS = 5
ROUNDS = 3  # of programs and weights in turn
MOST_TYPES = 6  # left out one at a time for the intervals
ADDED = 0.01  # to means on the scale of 10,000 counts, before a ratio of them is taken


@dataclass(frozen=True)
class Response:
    """The predicted change of the mean of G genes.

    Attributes
    ----------
    shift, low, high
        Against control, log1p [G], with a 90 % interval of the true change.
    how
        What it rests on, in words.
    reach
        0: near to what was measured; 1: far from all of it.
    effect
        ``"none"`` (no detectable effect), ``"weak"``, ``"clear"`` or ``"strong"``.
    log2fc, log2fc_low, log2fc_high
        log2 of expm1(mean) over expm1(control mean), 0.01 added to both [G].
    kind
        See `ResponseModel.kind`.
    control
        The control mean that it starts from, log1p [G].
    sd
        Standard error of `shift` as a prediction of the true change [G], calibrated.
    cell_sd, control_error
        Standard deviation of single cells, and sampling variance of the control mean [G].
    control_bias
        By how much the control mean is too low, as far as the perturbed cells show [G] (see `mean`).
    """

    shift: np.ndarray
    low: np.ndarray
    high: np.ndarray
    how: str
    reach: float
    effect: str
    log2fc: np.ndarray
    log2fc_low: np.ndarray
    log2fc_high: np.ndarray
    kind: str
    control: np.ndarray
    sd: np.ndarray
    cell_sd: np.ndarray
    control_error: np.ndarray
    control_bias: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """The mean that the perturbed cells will have, log1p [G].

        Not quite `control` + `shift`: the mean of a limited number of control cells is a little off, the perturbed
        cells show by how much, and `shift` is the change against what it should be.
        """
        out = self.control + self.shift + self.control_bias
        return np.maximum(out, 0.0) if self.control.min() >= 0 else out

    def measured(self, n_cells: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the 90 % interval of log2fc that an experiment of so many cells would measure: low, high [G]."""
        half = interval.Z * np.sqrt(self.sd**2 + self.control_error + self.cell_sd**2 / max(n_cells, 1))
        centre = self.control + self.shift + self.control_bias
        return log2_fold_change(centre - half, self.control), log2_fold_change(centre + half, self.control)


def log2_fold_change(mean: np.ndarray, control: np.ndarray, added: float = ADDED) -> np.ndarray:
    """Return log2((expm1(mean) + added) / (expm1(control) + added)) of log1p means, below zero taken as zero."""
    over, under = (np.expm1(np.maximum(v, 0.0)) + added for v in (mean, control))
    return np.asarray(np.log2(over / under))


@dataclass(frozen=True)
class ResponseModel:
    """Kernel ridge over A measured arms of G genes (see `gaussian` for the mathematics, `kernels` for the kernel).

    Attributes
    ----------
    items, n
        What the arms are, and their cells.
    found, scale
        The posterior of the arms' shifts in units of noise, and these units, log1p [G].
    controls, control_error, control_bias
        Cell type -> control mean, its sampling variance, and by how much the perturbed cells say that it is too low,
        log1p [G].
    null_sd
        Cell type -> null standard deviation of an arm's distance for one cell on each side (see `effects`).
    verdicts
        Arm -> word, where the cells were tested.
    left_out
        Kind -> how out-of-fold predictions did: Pearson of the change, that of the mean response, number of arms.
    """

    genes: tuple[str, ...]
    items: tuple[Item, ...]
    n: np.ndarray
    space: Space
    weights: gaussian.Weights
    found: programs_of_arms.Decomposition
    scale: np.ndarray
    own: OwnGene
    controls: Mapping[str, np.ndarray]
    control_error: Mapping[str, np.ndarray]
    control_n: Mapping[str, float]
    control_bias: Mapping[str, np.ndarray]
    calibration: interval.Calibration = interval.NONE
    null_sd: Mapping[str, float] = field(default_factory=dict)
    verdicts: Mapping[Item, str] = field(default_factory=dict)
    left_out: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @classmethod
    def fit(cls, arms: Arms, genes: Sequence[str], embeddings: Sequence[Embedding] = (), seed: int = 0,
            detected: Detected | None = None, calibrate: bool = True) -> ResponseModel:
        """Learn from arms (training cells only); with `detected`, measured arms answer by their own test."""
        model = _fit(arms, genes, embeddings)
        if detected is not None:
            model = replace(model, **_tested(arms, detected))
        return model.calibrated(arms, seed) if calibrate else model

    def calibrated(self, arms: Arms, seed: int = 0) -> ResponseModel:
        """Return the model with intervals whose width is learnt from arms that were left out in turn."""
        kinds, error, variance, noise = [], [], [], []
        scores: dict[str, list[tuple[float, float]]] = {}
        within = noise_variance(arms)
        for mask in folds(arms, seed):
            part = _fit(arms.take(mask), self.genes, self.space.embeddings, self)
            known = arms.take(mask & ~arms.is_control)
            typical = known.shift.mean(axis=0)
            for a in np.flatnonzero(~mask):
                arm = arms.arms[a]
                item = Item(arm.perturbation, arm.dose, arm.cell_type)
                shift, var, _ = part.estimate(item, arms.control[a])
                kind = part.kind(item)
                kinds.append(kind)
                error.append(arms.shift[a] - shift)
                variance.append(var)
                noise.append(within * (1 / arms.n[a] + 1 / arms.control_n[a]))
                scores.setdefault(kind, []).append((_pearson(shift, arms.shift[a]),
                                                    _pearson(typical, arms.shift[a])))
        left_out = {k: {"pearson": float(np.mean([s[0] for s in v])),
                        "mean_response": float(np.mean([s[1] for s in v])), "n": len(v)} for k, v in scores.items()}
        found = interval.calibrate(kinds, np.array(error), np.array(variance), np.array(noise))
        return replace(self, calibration=found, left_out=left_out)

    @property
    def parts_seen(self) -> tuple[str, ...]:
        """Parts that some measured perturbation has."""
        return tuple(dict.fromkeys(p for i in self.items for p in i.perturbation.parts))

    @property
    def cell_types(self) -> tuple[str, ...]:
        """Types that have controls."""
        return tuple(self.controls)

    def kind(self, item: Item) -> str:
        """Return what a prediction rests on.

        ``"measured"``, ``"dose"`` (measured at other doses in this type), ``"type"`` (measured in other types),
        ``"both"``, ``"some"``, ``"none"`` (a combination of which all, some or no parts were measured alone) or
        ``"unseen"``.
        """
        if item in self.items:
            return "measured"
        same = [i for i in self.items if i.perturbation == item.perturbation]
        if same:
            return "dose" if any(i.cell_type == item.cell_type for i in same) else "type"
        if len(item.perturbation.parts) < 2:
            return "unseen"
        alone = {i.perturbation for i in self.items}
        seen = sum(p in alone for p in item.perturbation.singles())
        return "both" if seen == len(item.perturbation.parts) else "some" if seen else "none"

    def check(self, perturbations: Sequence[Perturbation]) -> None:
        """Raise `ScdiffError` where one is the control or nothing is known about a part of it."""
        if any(p.is_control for p in perturbations):
            raise ScdiffError("There is nothing to predict.", "The control is not a perturbation.",
                              "Name a perturbation.")
        refuse(perturbations, self.space.embeddings, self.parts_seen)

    def estimate(self, item: Item, control: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Return shift and its variance before calibration (log1p [G]), and the reach, of an arm."""
        more = {} if item.cell_type in self.space.profiles else {item.cell_type: control}
        w = self.weights
        cross = self.space.between([item], self.items, more).join(w.what, w.types, w.arm)
        own = self.space.between([item], [item], more).join(w.what, w.types, w.arm)
        shift = self.found.mean(cross)[0] * self.scale
        var = self.found.variance(cross, np.diag(own))[0] * self.scale**2
        self.own.put(shift, item.perturbation, control)
        if control.min() >= 0:
            shift = np.maximum(shift, -control)
        return shift, var, float(self.found.unknown(cross, np.diag(own))[0])

    def predict(self, perturbation: Perturbation, dose: float | None = None, cell_type: str = "",
                control_mean: np.ndarray | None = None) -> Response:
        """Predict the change of the mean for cells of a type; `control_mean` log1p [G] is where they start.

        Raises
        ------
        ScdiffError
            Nothing is known about a part, the dose cannot be chosen, or the type has no controls.
        """
        self.check([perturbation])
        control = self._control(cell_type) if control_mean is None else np.asarray(control_mean, float)
        item = Item(perturbation, self._dose(perturbation, dose), cell_type)
        shift, var, reach = self.estimate(item, control)
        kind = self.kind(item)
        var = var * self.calibration.of(kind)
        half = interval.Z * np.sqrt(var)
        low, high = shift - half, shift + half
        if control.min() >= 0:
            low, high = np.maximum(low, -control), np.maximum(high, -control)
        fold = [log2_fold_change(control + s, control) for s in (shift, low, high)]
        return Response(shift, low, high, words.how(self, item, kind), reach, self._effect(item, shift),
                        log2fc=fold[0], log2fc_low=fold[1], log2fc_high=fold[2], kind=kind,
                        control=control, sd=np.sqrt(var), cell_sd=self.scale, control_error=self._error(cell_type),
                        control_bias=self._bias(cell_type, control))

    def nearest(self, perturbation: Perturbation, k: int = 5) -> list[tuple[str, float]]:
        """Return the measured perturbations most like one, with their likeness (a correlation, 0 to 1)."""
        measured = list(dict.fromkeys(i.perturbation for i in self.items if i.perturbation != perturbation))
        a = [Item(perturbation, None, "")]
        b = [Item(p, None, "") for p in measured]
        flat = replace(self.space, profiles={}, width=0.0)

        def kernel(x: list[Item], y: list[Item]) -> np.ndarray:
            parts = flat.between(x, y)
            rest = [i for i, name in enumerate(parts.what_names) if name != MEAN]
            return np.asarray(np.tensordot(self.weights.what[rest], parts.what[rest], 1))

        own = np.array([kernel([i], [i])[0, 0] for i in b])
        like = kernel(a, b)[0] / np.sqrt(np.maximum(own * kernel(a, a)[0, 0], 1e-12))
        return [(measured[i].label, float(like[i])) for i in np.argsort(-like, kind="stable")[:k]]

    def _control(self, cell_type: str) -> np.ndarray:
        if cell_type in self.controls:
            return self.controls[cell_type]
        raise ScdiffError(f"There are no control cells of '{cell_type}'.",
                          nearest(cell_type, self.controls) or "There are some of " + ", ".join(self.controls) + ".",
                          "Choose one of these types.")

    def _error(self, cell_type: str) -> np.ndarray:
        error = self.control_error.get(cell_type)
        return np.mean(list(self.control_error.values()), axis=0) if error is None else error

    def _bias(self, cell_type: str, control: np.ndarray) -> np.ndarray:
        known = self.controls.get(cell_type)
        if cell_type not in self.control_bias or known is None or np.abs(known - control).max() > SAME_CONTROL:
            return np.zeros_like(control)  # other cells than those the perturbed ones were compared with
        return self.control_bias[cell_type]

    def _dose(self, perturbation: Perturbation, dose: float | None) -> float | None:
        curves = self.space.curves
        if dose is None:
            curve = curves.get(perturbation)
            undosed = any(i.perturbation == perturbation and i.dose is None for i in self.items)
            return curve.top if curve is not None and not undosed else None
        seen = [i for i in self.items if i.perturbation == perturbation]
        if not curves or (seen and all(i.dose is None for i in seen)):
            raise ScdiffError(f"A dose of '{perturbation}' cannot be chosen.",
                              "It was measured without one." if curves else "No dose was measured in this data.",
                              "Leave the dose out.")
        if not dose > 0:
            raise ScdiffError(f"A dose of {dose:g} cannot be used.", "It has to be above zero.",
                              "Give the dose as a number in the units of the data.")
        return float(dose)

    def _effect(self, item: Item, shift: np.ndarray) -> str:
        if item in self.verdicts:
            return self.verdicts[item]
        distance = float((shift**2 / self.scale**2).sum())
        null = self.null_sd.get(item.cell_type, float(np.mean(list(self.null_sd.values()))) if self.null_sd else 0.0)
        n_control = self.control_n.get(item.cell_type, float(TYPICAL_CELLS))
        if distance < POWER_Z * null * (1 / TYPICAL_CELLS + 1 / n_control):
            return NONE
        return verdict(float((shift**2).sum() / (self.scale**2).sum()))

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return everything as arrays and plain JSON, for `from_arrays`."""
        from scdiff_core.analysis.perturb.store import to_arrays

        return to_arrays(self)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> ResponseModel:
        """Return the model that `to_arrays` took apart."""
        from scdiff_core.analysis.perturb.store import from_arrays

        return from_arrays(arrays, meta)


def _fit(arms: Arms, genes: Sequence[str], embeddings: Sequence[Embedding],
         like: ResponseModel | None = None) -> ResponseModel:
    """Fit to arms; with `like`, the weights and the width of an earlier fit are kept."""
    where = {a.cell_type: i for i, a in enumerate(arms.arms) if a.perturbation.is_control}
    controls = {t: arms.mean[i] for t, i in where.items()}
    used = arms.take(~arms.is_control)
    scale, own = noise_scale(arms), measure(used, genes)
    y = used.shift / scale
    for a, arm in enumerate(used.arms):
        y[a, own.columns(arm.perturbation)] = 0.0
    items = tuple(Item(a.perturbation, a.dose, a.cell_type) for a in used.arms)
    n = used.n.astype(float)
    whiten = gaussian.whitener(n, used.control_n, [i.cell_type for i in items])
    doses = np.array([np.nan if i.dose is None else i.dose for i in items])
    curves = fit_curves([i.perturbation for i in items], doses, [i.cell_type for i in items], y, n)
    first = programs_of_arms.start(whiten @ y)
    widths = _widths(controls) if like is None else [like.space.width]
    space = Space(tuple(embeddings), controls, widths[len(widths) // 2], curves, pooled(curves))
    parts = space.between(items, items)
    weights = gaussian.usual(parts) if like is None else like.weights.match(parts)
    for _ in range(ROUNDS if like is None else 0):
        basis = gaussian.Basis.of(parts.join(weights.what, weights.types, weights.arm), whiten)
        scores = programs_of_arms.fit_programs(basis, y, first).scores(y)
        weights = gaussian.fit_weights(parts, whiten, scores, weights)
    if len(widths) > 1:
        space, parts, weights = choose_width(space, widths, weights, whiten, scores, items)
    if like is None and embeddings:
        weights = choose_embeddings(parts, weights, whiten, scores, items)
    basis = gaussian.Basis.of(parts.join(weights.what, weights.types, weights.arm), whiten)
    programs = programs_of_arms.fit_programs(basis, y, first, usual=usual_size(controls, scale))
    found = programs_of_arms.decompose(basis, y, programs)
    rest = y - found.mean(parts_of(space, weights, items))
    bias = gaussian.common_noise(whiten, used.control_n, [i.cell_type for i in items], rest)
    return ResponseModel(tuple(map(str, genes)), items, n, space, weights, found, scale, own, controls,
                         {t: arms.var[i] / arms.n[i] for t, i in where.items()},
                         {t: float(arms.n[i]) for t, i in where.items()}, {t: b * scale for t, b in bias.items()})


def usual_size(controls: Mapping[str, np.ndarray], scale: np.ndarray) -> np.ndarray:
    """Return how large a gene's change is expected to be, in units of its noise and against that of others [G].

    If perturbations multiply the expression x of genes alike, log1p means move by x / (1 + x) as much.
    """
    typical = np.mean(list(controls.values()), axis=0)
    if typical.min() < 0:
        return np.ones_like(scale)
    size = -np.expm1(-typical) / scale
    return np.asarray(np.maximum(size / np.sqrt((size**2).mean()), LEAST))


def choose_width(space: Space, widths: Sequence[float], weights: gaussian.Weights, whiten: np.ndarray,
                 scores: np.ndarray, items: Sequence[Item]) -> tuple[Space, Parts, gaussian.Weights]:
    """Return the width of likeness between types under which the scores are most probable, with its weights."""
    best: tuple[float, Space, Parts, gaussian.Weights] | None = None
    for width in widths:
        tried = replace(space, width=width)
        parts = tried.between(items, items)
        fitted = gaussian.fit_weights(parts, whiten, scores, weights)
        basis = gaussian.Basis.of(parts.join(fitted.what, fitted.types, fitted.arm), whiten)
        value = float(gaussian.evidence(basis.eigen, basis.turn @ scores).max(axis=0).sum())
        if best is None or value > best[0]:
            best = (value, tried, parts, fitted)
    assert best is not None
    return best[1:]


def parts_of(space: Space, weights: gaussian.Weights, items: Sequence[Item]) -> np.ndarray:
    """Return the kernel of arms with each other [A, A]."""
    return space.between(items, items).join(weights.what, weights.types, weights.arm)


def choose_embeddings(parts: Parts, weights: gaussian.Weights, whiten: np.ndarray, scores: np.ndarray,
                      items: Sequence[Item]) -> gaussian.Weights:
    """Return weights in which embeddings have the share of a part's own weight that predicts left-out parts best.

    Every part is left out in turn with all its combinations; each embedding alone and all together are tried.
    """
    tokens = dict.fromkeys(p for i in items for p in i.perturbation.parts)
    groups = [np.array([a for a, i in enumerate(items) if t in i.perturbation.parts]) for t in tokens]
    groups = [g for g in groups if len(g) < len(items)]
    names = list(parts.what_names)
    own = names.index(IDENTITY)
    at = [i for i, name in enumerate(names) if name not in gaussian.USUAL]
    best = (np.inf, weights)
    for chosen in [*([at] if len(at) > 1 else []), *[[i] for i in at]]:
        for share in SHARES:
            what = weights.what.copy()
            what[chosen] = share * what[own] / max(len(chosen), 1)
            what[own] *= 1 - share
            tried = replace(weights, what=what)
            basis = gaussian.Basis.of(parts.join(tried.what, tried.types, tried.arm), whiten)
            error = float(gaussian.left_out_error(basis, scores, groups).mean()) if groups else 0.0
            if error < best[0]:
                best = (error, tried)
    return best[1]


def _tested(arms: Arms, detected: Detected) -> dict[str, Any]:
    verdicts: dict[Item, str] = {}
    by_type: dict[str, list[float]] = {}
    for i, arm in enumerate(arms.arms):
        if arm.perturbation.is_control:
            continue
        verdicts[Item(arm.perturbation, arm.dose, arm.cell_type)] = detected.verdict[i]
        share = 1 / arms.n[i] + 1 / arms.control_n[i]
        by_type.setdefault(arm.cell_type, []).append(float(detected.null_sd[i] / share))
    return {"verdicts": verdicts, "null_sd": {t: float(np.median(v)) for t, v in by_type.items()}}


def folds(arms: Arms, seed: int = 0) -> list[np.ndarray]:
    """Return which arms to keep [A], fold by fold: perturbations, types and doses left out in turn.

    Controls are always kept, and every fold keeps at least one perturbed arm.
    """
    perturbed = ~arms.is_control
    labels = np.array([a.perturbation.label for a in arms.arms])
    types = np.array([a.cell_type for a in arms.arms])
    doses = np.array([np.nan if a.dose is None else a.dose for a in arms.arms])
    rng = np.random.default_rng([seed, 3])
    names = rng.permutation(np.unique(labels[perturbed]))
    left_out = [np.isin(labels, names[f::FOLDS]) for f in range(min(FOLDS, len(names)))]
    kinds = np.unique(types[perturbed])
    if len(kinds) > 1:
        left_out += [types == t for t in rng.permutation(kinds)[:MOST_TYPES]]
    levels = np.unique(doses[np.isfinite(doses)])
    if len(levels) > 2:
        left_out += [doses == d for d in levels[1:-1]]
    keep = [~(out & perturbed) for out in left_out]
    return [mask for mask in keep if (mask & perturbed).any() and (~mask).any()]


def noise_variance(arms: Arms) -> np.ndarray:
    """Return the variance of a gene within arms, over all of them [G], log1p."""
    free = np.maximum(arms.n - 1, 0)[:, None]
    return np.asarray((free * arms.var).sum(axis=0) / max(free.sum(), 1))


def noise_scale(arms: Arms) -> np.ndarray:
    """Return the standard deviation of a gene within arms [G], log1p, never far below that of the noisiest genes."""
    sd = np.sqrt(noise_variance(arms))
    return np.asarray(np.maximum(sd, 0.1 * np.quantile(sd, 0.9) + 1e-9))


def _widths(controls: Mapping[str, np.ndarray]) -> list[float]:
    if len(controls) < 3:
        return [0.0]
    x = np.array(list(controls.values()))
    d = np.sqrt(squared_distances(x, x)[np.triu_indices(len(x), 1)])
    return [w * float(np.median(d)) for w in WIDTHS]


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1]) if x.std() > 0 and y.std() > 0 else 0.0
