"""A model of perturbations without a codec: the predicted mean, and control cells moved by it, for `engine.routes`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from benchmarks import perturb_methods
from scdiff_core import keys
from scdiff_core.analysis.metrics import dense, subsample
from scdiff_core.data.perturbations import Perturbation, parse


class Remembered:
    """Mean responses that are kept: the goals of a fold are all looked for in the same lists, from the same cells."""

    def __init__(self, response: Any) -> None:
        self.response = response
        self.known: dict[Any, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.response, name)

    def predict(self, what: Perturbation, dose: float | None = None, kind: str = "",
                control: np.ndarray | None = None) -> Any:
        """Predict the change of the mean, as `ResponseModel.predict` does."""
        key = what, dose, kind, None if control is None else control.tobytes()
        if key not in self.known:
            self.known[key] = self.response.predict(what, dose, kind, control)
        return self.known[key]


@dataclass(frozen=True)
class MeanAlone:
    """What `engine.routes` needs of a model, without a codec: the predicted mean, and control cells moved by it."""

    fitted: perturb_methods.Fitted

    def __getattr__(self, name: str) -> Any:
        return getattr(self.fitted.task.prepared, name)

    @cached_property
    def response(self) -> Any:
        """The mean responses; what was asked once is not reckoned again."""
        return Remembered(self.fitted.response)

    @cached_property
    def controls(self) -> Any:
        """Rows of the control cells to start from."""
        prepared = self.fitted.task.prepared
        rows = prepared.rows(keys.TRAIN)
        rows = rows[prepared.labels(keys.PERTURBATION)[rows] == prepared.roles.control]
        return argparse.Namespace(rows=rows, cells=argparse.Namespace(take=lambda some: rows[some]))

    def read(self, label: str) -> Perturbation:
        """Read a label as the model does."""
        return parse(label, self.roles.control, self.vocab.find(keys.PERTURBATION).values)

    def log1p(self, rows: np.ndarray) -> Any:
        """Return the values of cells, log1p."""
        return self.fitted.task.prepared.log1p(rows)

    def pool_of(self, where: dict[str, str]) -> np.ndarray:
        kinds = self.types_of(np.arange(len(self.controls.rows)))
        wanted = next(iter(where.values()), None)
        return np.flatnonzero(kinds != "" if wanted is None and (kinds != "").any() else kinds == (wanted or ""))

    def types_of(self, some: np.ndarray) -> np.ndarray:
        prepared = self.fitted.task.prepared
        known = prepared.roles.cell_type is not None
        return prepared.labels(keys.CELL_TYPE)[self.controls.rows[some]] if known else np.full(len(some), "", object)

    def ask(self, what: Perturbation, dose: float | None, where: dict[str, str], n_cells: int, seed: int) -> Any:
        """Return control cells moved by the predicted mean."""
        kind = next(iter(where.values()), "")
        found = self.response.predict(what, dose, kind)
        pool = self.controls.rows[self.pool_of(where)]
        start = dense(self.log1p(pool[subsample(len(pool), n_cells, np.random.default_rng(seed))]))
        return argparse.Namespace(log1p=np.maximum(start + (found.mean - found.control).astype(np.float32), 0))
