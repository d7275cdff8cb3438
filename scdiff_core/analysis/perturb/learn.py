"""Fitting the response model to arms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from scdiff_core.analysis.perturb import by_type, gaussian, learn_types, programs_of_arms
from scdiff_core.analysis.perturb.arms import Arms
from scdiff_core.analysis.perturb.dose import fit_curves, pooled
from scdiff_core.analysis.perturb.effects import Detected
from scdiff_core.analysis.perturb.embeddings import Embedding, told_apart
from scdiff_core.analysis.perturb.fitting import (
    choose_embeddings,
    choose_width,
    noise_level,
    noise_scale,
    noise_unit,
    widths_of,
)
from scdiff_core.analysis.perturb.kernels import Item, Space
from scdiff_core.analysis.perturb.own_gene import measure
from scdiff_core.analysis.perturb.response import ResponseModel
from scdiff_core.analysis.perturb.typical import typical

ROUNDS = 3  # of programs and weights in turn
HELD_BACK = 4  # one in so many types of a perturbation is left out to see whether types differ


def fit_arms(arms: Arms, genes: Sequence[str], embeddings: Sequence[Embedding],
             like: ResponseModel | None = None, typed: bool | None = None) -> ResponseModel:
    """Fit to arms; with `like`, the weights and the width of an earlier fit are kept.

    `typed`: whether each type has its own view of the programs (`by_type`); None: as in `like`, or by validation.
    """
    where = {a.cell_type: i for i, a in enumerate(arms.arms) if a.perturbation.is_control}
    controls = {t: arms.mean[i] for t, i in where.items()}
    used = arms.take(~arms.is_control)
    scale, own = noise_scale(arms), measure(used, genes)
    y = used.shift / scale
    for a, arm in enumerate(used.arms):
        y[a, own.columns(arm.perturbation)] = 0.0
    items = tuple(Item(a.perturbation, a.dose, a.cell_type) for a in used.arms)
    types = [i.cell_type for i in items]
    level = noise_level(arms, scale)
    louder = np.array([level[t] for t in types])  # cells of a type that vary more count as fewer cells
    n, control_n = used.n / louder, used.control_n / louder
    whiten = gaussian.whitener(n, control_n, types)
    doses = np.array([np.nan if i.dose is None else i.dose for i in items])
    curves = fit_curves([i.perturbation for i in items], doses, [i.cell_type for i in items], y, n)
    first = programs_of_arms.start(whiten @ y)
    widths = widths_of(controls) if like is None else [like.space.width]
    space = Space(told_apart(embeddings), controls, widths[len(widths) // 2], curves, pooled(curves))
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
    programs = programs_of_arms.fit_programs(basis, y, first, sparse=True)
    found = programs_of_arms.decompose(basis, y, programs)
    model = ResponseModel(tuple(map(str, genes)), items, n, space, weights, found, scale, own, controls,
                          {t: arms.var[i] / arms.n[i] for t, i in where.items()},
                          {t: float(arms.n[i]) for t, i in where.items()}, {}, level)
    if typed is None:
        typed = _types_differ(arms, model) if like is None else like.typed is not None
    if typed and by_type.several_types(items):
        model = replace(model, typed=learn_types.fit(
            parts, weights, items, whiten, y, found, controls, noise_unit(arms, scale, level), n, basis, scale,
            used.together, learn_types.TURNS if like is None else 1))
    said = model.at_arms(parts)
    bias = gaussian.common_noise(whiten, control_n, types, y - said)
    return replace(model, typical=typical(items, said * scale), control_bias={t: b * scale for t, b in bias.items()})


def _types_differ(arms: Arms, model: ResponseModel) -> bool:
    """Say whether arms left out are better told when each type has its own view of the programs.

    Some types of each perturbation are left out, and predicted both ways from the others; the gain has to be more than
    its standard error.
    """
    if not by_type.several_types(model.items):
        return False
    rng = np.random.default_rng(4)
    where: dict[tuple[Any, float | None], list[int]] = {}
    for a in np.flatnonzero(~arms.is_control):
        where.setdefault((arms.arms[a].perturbation, arms.arms[a].dose), []).append(int(a))
    keep = np.ones(len(arms), bool)
    for rows in where.values():
        if len(rows) > 1:
            some = len(rows) // HELD_BACK + (rng.random() < len(rows) % HELD_BACK / HELD_BACK)
            keep[rng.permutation(rows)[:min(some, len(rows) - 1)]] = False
    if keep.all():
        return False
    part = fit_arms(arms.take(keep), model.genes, model.space.embeddings, model, True)
    gained = []
    for a in np.flatnonzero(~keep):
        arm = arms.arms[a]
        weight = 1 / (1 / arms.n[a] + 1 / arms.control_n[a])
        item = Item(arm.perturbation, arm.dose, arm.cell_type)
        shifts = [one.estimate(item, arms.control[a])[0] for one in (replace(part, typed=None), part)]
        alike, with_types = (float((((arms.shift[a] - s) / model.scale) ** 2).sum()) for s in shifts)
        gained.append(weight * (alike - with_types))
    return bool(np.mean(gained) > np.std(gained) / np.sqrt(len(gained)))


def tested(arms: Arms, detected: Detected) -> dict[str, Any]:
    verdicts: dict[Item, str] = {}
    by_type: dict[str, list[float]] = {}
    for i, arm in enumerate(arms.arms):
        if arm.perturbation.is_control:
            continue
        verdicts[Item(arm.perturbation, arm.dose, arm.cell_type)] = detected.verdict[i]
        share = 1 / arms.n[i] + 1 / arms.control_n[i]
        by_type.setdefault(arm.cell_type, []).append(float(detected.null_sd[i] / share))
    return {"verdicts": verdicts, "null_sd": {t: float(np.median(v)) for t, v in by_type.items()}}
