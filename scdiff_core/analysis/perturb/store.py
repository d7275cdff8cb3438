"""The response model as arrays and plain JSON, and back: nothing is pickled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from scdiff_core.analysis.perturb.by_type import ByType
from scdiff_core.analysis.perturb.dose import Curve, pooled
from scdiff_core.analysis.perturb.embeddings import Embedding
from scdiff_core.analysis.perturb.gaussian import Solution, Weights
from scdiff_core.analysis.perturb.interval import Calibration
from scdiff_core.analysis.perturb.kernels import Item, Space
from scdiff_core.analysis.perturb.own_gene import OwnGene
from scdiff_core.analysis.perturb.programs_of_arms import Decomposition, Programs
from scdiff_core.analysis.perturb.response import ResponseModel
from scdiff_core.analysis.perturb.typical import Typical
from scdiff_core.data.perturbations import Perturbation

FORMAT = 2
PARTS = ("gain", "spread", "signal")
TYPED = ("gain", "local", "signal", "dual", "loadings", "spread", "usual", "unit", "offset")


def _item(item: Item) -> list[Any]:
    return [list(item.perturbation.parts), item.dose, item.cell_type]


def _read_item(value: list[Any]) -> Item:
    return Item(Perturbation(tuple(value[0])), value[1], value[2])


def to_arrays(model: ResponseModel) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays (float32, but for the solution's float64) and the rest as plain JSON."""
    types = list(model.controls)
    found = model.found
    arrays = {
        "n": model.n, "weights_what": model.weights.what, "weights_types": model.weights.types,
        "turn": found.scores.turn, "loadings": found.programs.loadings, "uncertain": found.programs.uncertain,
        **{f"scores_{k}": getattr(found.scores, k) for k in PARTS},
        **{f"own_{k}": getattr(found.own, k).astype(np.float32) for k in PARTS}, "scale": model.scale,
        "controls": np.array([model.controls[t] for t in types]),
        "control_error": np.array([model.control_error[t] for t in types]),
        "control_bias": np.array([model.control_bias.get(t, np.zeros(len(model.genes))) for t in types])}
    typed, common = model.typed, model.typical
    if typed is not None:
        arrays |= {f"typed_{k}": getattr(typed, k) for k in TYPED}
        arrays |= {f"rest_{k}": getattr(typed.own, k).astype(np.float32) for k in PARTS}
    if common.shift:
        arrays["typical"] = np.array(list(common.shift.values()))
    for i, e in enumerate(model.space.embeddings):
        arrays[f"embedding_{i}"] = e.vectors.astype(np.float32)
    meta = {
        "format": FORMAT, "genes": list(model.genes), "items": [_item(i) for i in model.items], "types": types,
        "weight_arm": model.weights.arm, "what_names": list(model.weights.what_names),
        "type_names": list(model.weights.type_names), "width": model.space.width,
        "curves": [[list(p.parts), c.ec50, c.slope, c.top, c.lowest] for p, c in model.space.curves.items()],
        "embeddings": [{"name": e.name, "names": list(e.names)} for e in model.space.embeddings],
        "own": {"measured": dict(model.own.measured), "usual": dict(model.own.usual)},
        "control_n": dict(model.control_n), "level": dict(model.level), "null_sd": dict(model.null_sd),
        "calibration": {"factor": dict(model.calibration.factor), "coverage": dict(model.calibration.coverage),
                        "n": dict(model.calibration.n)},
        "verdicts": [[_item(i), word] for i, word in model.verdicts.items()],
        "typed": None if typed is None else list(typed.types),
        "typical": {"types": list(common.shift), "times": [[n, v] for n, v in common.times.items()]},
        "left_out": {k: dict(v) for k, v in model.left_out.items()}}
    return arrays, meta


def _solution(arrays: Mapping[str, np.ndarray], which: str) -> Solution:
    gain, spread, signal = (np.asarray(arrays[f"{which}_{k}"], float) for k in PARTS)
    return Solution(gain, spread, signal, np.asarray(arrays["turn"], float))


def _typed(arrays: Mapping[str, np.ndarray], types: list[str] | None) -> ByType | None:
    if types is None:
        return None
    return ByType(tuple(types), **{k: np.asarray(arrays[f"typed_{k}"], float) for k in TYPED},
                  own=_solution(arrays, "rest"))


def _typical(arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> Typical:
    if not about["types"]:
        return Typical()
    return Typical(dict(zip(about["types"], np.asarray(arrays["typical"], float), strict=True)),
                   {int(n): float(v) for n, v in about["times"]})


def from_arrays(arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> ResponseModel:
    """Return the model of `to_arrays`."""
    types = meta["types"]
    controls = dict(zip(types, np.asarray(arrays["controls"], float), strict=True))
    curves = {Perturbation(tuple(parts)): Curve(*rest) for parts, *rest in meta["curves"]}
    embeddings = tuple(Embedding(e["name"], tuple(e["names"]), np.asarray(arrays[f"embedding_{i}"], float))
                       for i, e in enumerate(meta["embeddings"]))
    genes = tuple(meta["genes"])
    own = OwnGene({g.casefold(): i for i, g in reversed(list(enumerate(genes)))}, meta["own"]["measured"],
                  meta["own"]["usual"])
    return ResponseModel(
        genes=genes, items=tuple(_read_item(i) for i in meta["items"]), n=np.asarray(arrays["n"], float),
        space=Space(embeddings, controls, float(meta["width"]), curves, pooled(curves)),
        weights=Weights(arrays["weights_what"], arrays["weights_types"], float(meta["weight_arm"]),
                        tuple(meta["what_names"]), tuple(meta["type_names"])),
        found=Decomposition(Programs(arrays["loadings"], arrays["uncertain"]),
                            _solution(arrays, "scores"), _solution(arrays, "own")),
        scale=np.asarray(arrays["scale"], float), own=own,
        controls=controls,
        control_error=dict(zip(types, np.asarray(arrays["control_error"], float), strict=True)),
        control_bias=dict(zip(types, np.asarray(arrays["control_bias"], float), strict=True)),
        control_n=meta["control_n"], level=meta["level"],
        calibration=Calibration(**meta["calibration"]), null_sd=meta["null_sd"],
        verdicts={_read_item(i): word for i, word in meta["verdicts"]}, left_out=meta["left_out"],
        typed=_typed(arrays, meta.get("typed")),
        typical=_typical(arrays, meta.get("typical", {"types": [], "times": []})))
