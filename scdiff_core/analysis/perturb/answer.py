"""What the model answers: the predicted change of the mean, its interval and what it rests on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scdiff_core.analysis.perturb import interval

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
        return measured(self.control + self.shift + self.control_bias, self.sd**2 + self.control_error, self.cell_sd,
                        self.control, n_cells)


def measured(mean: np.ndarray, error: np.ndarray, cell_sd: np.ndarray, control: np.ndarray,
             n_cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Return `Response.measured` of what it is made of: the expected mean, its variance and the cells' spread [G]."""
    half = interval.Z * np.sqrt(error + cell_sd**2 / max(n_cells, 1))
    return log2_fold_change(mean - half, control), log2_fold_change(mean + half, control)


def log2_fold_change(mean: np.ndarray, control: np.ndarray, added: float = ADDED) -> np.ndarray:
    """Return log2((expm1(mean) + added) / (expm1(control) + added)) of log1p means, below zero taken as zero."""
    over, under = (np.expm1(np.maximum(v, 0.0)) + added for v in (mean, control))
    return np.asarray(np.log2(over / under))
