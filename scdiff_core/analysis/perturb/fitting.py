"""What fitting the response model needs: the noise of arms, the choice of kernels, and which arms to leave out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from scdiff_core.analysis.perturb import gaussian
from scdiff_core.analysis.perturb.arms import Arms
from scdiff_core.analysis.perturb.kernels import IDENTITY, Item, Parts, Space, squared_distances

WIDTHS = (0.5, 1.0, 2.0)  # of the median distance between types' controls
SHARES = (0.05, 0.2, 0.5, 0.9)  # of a part's own weight that embeddings are tried with
SURE = 2.0  # standard errors
FOLDS = 5
UNIT_CELLS, UNIT_LEAST = 50.0, 0.5  # cells like those of all types, added to a type's own; the least of its noise
MOST_TYPES = 6  # left out one at a time for the intervals


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

    Every part is left out in turn with all its combinations; each embedding alone and all together are tried. The best
    of them has to be better than none by more than two standard errors of the difference over parts: with a dozen
    parts, one of many embeddings is always better by chance.
    """
    tokens = dict.fromkeys(p for i in items for p in i.perturbation.parts)
    groups = [np.array([a for a, i in enumerate(items) if t in i.perturbation.parts]) for t in tokens]
    groups = [g for g in groups if len(g) < len(items)]
    names = list(parts.what_names)
    own = names.index(IDENTITY)
    at = [i for i, name in enumerate(names) if name not in gaussian.USUAL]

    def error(tried: gaussian.Weights) -> np.ndarray:
        basis = gaussian.Basis.of(parts.join(tried.what, tried.types, tried.arm), whiten)
        return gaussian.left_out_error(basis, scores, groups)

    if not groups:
        return weights
    without = error(weights)
    best, least = weights, 0.0
    for chosen in [*([at] if len(at) > 1 else []), *[[i] for i in at]]:
        for share in SHARES:
            what = weights.what.copy()
            what[chosen] = share * what[own] / max(len(chosen), 1)
            what[own] *= 1 - share
            tried = replace(weights, what=what)
            gained = error(tried) - without
            surely = float(gained.mean() + SURE * gained.std() / np.sqrt(len(gained)))
            if surely < 0 and gained.mean() < least:
                best, least = tried, float(gained.mean())
    return best


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


def noise_variance(arms: Arms, cell_type: str | None = None) -> np.ndarray:
    """Return the variance of a gene within arms (of one type), over all of them [G], log1p."""
    chosen = np.array([cell_type in (None, a.cell_type) for a in arms.arms])
    free = (np.maximum(arms.n - 1, 0) * chosen)[:, None]
    return np.asarray((free * arms.var).sum(axis=0) / max(free.sum(), 1))


def noise_level(arms: Arms, scale: np.ndarray) -> dict[str, float]:
    """Return how much the cells of each type vary, as a multiple of `scale` squared, over genes."""
    return {t: float(np.maximum((noise_variance(arms, t) / scale**2).mean(), 1e-3)) for t in arms.cell_types}


def noise_unit(arms: Arms, scale: np.ndarray, level: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Return how much each gene of a type varies, level aside, as multiples of `scale` [G]; drawn to 1 by few cells."""
    out = {}
    for t in arms.cell_types:
        free = sum(max(n - 1, 0) for a, n in zip(arms.arms, arms.n, strict=True) if a.cell_type == t)
        own = noise_variance(arms, t) / level[t] / scale**2
        out[t] = np.sqrt(np.maximum((free * own + UNIT_CELLS) / (free + UNIT_CELLS), UNIT_LEAST**2))
    return out


def noise_scale(arms: Arms) -> np.ndarray:
    """Return the standard deviation of a gene within arms [G], log1p, never far below that of the noisiest genes."""
    sd = np.sqrt(noise_variance(arms))
    return np.asarray(np.maximum(sd, 0.1 * np.quantile(sd, 0.9) + 1e-9))


def widths_of(controls: Mapping[str, np.ndarray]) -> list[float]:
    if len(controls) < 3:
        return [0.0]
    x = np.array(list(controls.values()))
    d = np.sqrt(squared_distances(x, x)[np.triu_indices(len(x), 1)])
    return [w * float(np.median(d)) for w in WIDTHS]
