"""The six scores of the 2026 Virtual Cell Challenge over a panel of conditions, by the package `cell-eval2`.

Scaled: 0 is the mean response (or whatever baseline is named), 1 is a replicate: one half of the real cells against
the other, each with its own half of the controls. Values are handed over as log1p, normalised over all genes of the
source: the kept genes alone would have to be normalised to themselves. So profiles are means of log1p values, and no
gene is left out for low counts. The perturbed genes of the whole panel are taken out before anything is scored.

`cell_eval2` imports scanpy and numba: the first call of a process compiles (half a minute to two), so call `warm` once.
"""

from __future__ import annotations

import contextlib
import logging
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scdiff_core.analysis.metrics import dense
from scdiff_core.analysis.perturb.scores import target_mask

SIX = {"pds_cosine": "PDS (cosine)", "expr_mse_unbiased_capped_norm": "MSE (capped, unbiased, normalised)",
       "de_wilcoxon_direction_fidelity_yield_raw": "direction fidelity", "de_wilcoxon_direction_reach_raw":
       "direction reach", "de_wilcoxon_sig_jaccard": "significant-set Jaccard", "de_wilcoxon_lfc_nmae":
       "log-fold-change nMAE"}
HIGHER = {"pds_cosine": True, "expr_mse_unbiased_capped_norm": False, "de_wilcoxon_direction_fidelity_yield_raw": True,
          "de_wilcoxon_direction_reach_raw": True, "de_wilcoxon_sig_jaccard": True, "de_wilcoxon_lfc_nmae": False}
MSE, OVER, UNDER = "expr_mse_unbiased_capped_norm", "expr_mse_unbiased_capped", "expr_distance_unbiased"
PDS, NMAE = "pds_cosine", "de_wilcoxon_lfc_nmae"
PANEL_ONLY = (PDS, MSE)  # they compare conditions with one another, and say nothing of a single one
CONTROL, COLUMN = "control", "target"

Table = dict[str, dict[str, float]]  # metric -> condition -> value


@dataclass(frozen=True)
class Panel:
    """The real cells of several conditions and the controls they share.

    Attributes
    ----------
    real
        Conditions to real cells [M, G], log1p.
    control
        Real control cells [C, G], log1p.
    genes, targets
        Names [G], and every perturbed gene of the panel.
    """

    real: Mapping[str, Any]
    control: Any
    genes: np.ndarray
    targets: Sequence[str] = ()
    keep: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keep", ~target_mask(self.genes, self.targets))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The scores that can be had: all six from two conditions on, the four of differential expression of one."""
        return tuple(m for m in SIX if len(self.real) > 1 or m not in PANEL_ONLY)

    def _adata(self, cells: Mapping[str, Any], control: Any) -> Any:
        import pandas as pd
        from anndata import AnnData

        blocks = [dense(cells[name])[:, self.keep] for name in cells] + [dense(control)[:, self.keep]]
        obs = pd.DataFrame({COLUMN: np.repeat([*cells, CONTROL], [len(b) for b in blocks])})
        obs.index = obs.index.astype(str)
        return AnnData(np.vstack(blocks), obs=obs,
                       var=pd.DataFrame(index=pd.Index(np.asarray(self.genes, str)[self.keep])))

    def _config(self, **more: Any) -> Any:
        from cell_eval2 import EvalConfig
        from cell_eval2.config import DEParams

        components = [OVER, UNDER] if MSE in self.metrics else []
        return EvalConfig(metrics=[*self.metrics, *components], pert_col=COLUMN, control=CONTROL, version="v2",
                          input_type="lognorm", validate_input=False, target_gene_map={"*": None}, num_threads=1,
                          device="cpu", de=DEParams(backend="scanpy"), **more)

    def score(self, predicted: Mapping[str, Any]) -> Table:
        """Return the scores of predicted cells [n, G] of every condition; a condition may lack one that has no answer.

        ``expr_mse_unbiased_capped_norm`` of a condition is its error over the panel's mean size of effect, so that the
        mean over conditions is the panel's score.
        """
        from cell_eval2 import compute_metrics

        with _quiet():
            found = compute_metrics(self._adata({k: predicted[k] for k in self.real}, self.control),
                                    self._adata(self.real, self.control), config=self._config())
        return self._table(found)

    def _table(self, found: Any) -> Table:
        table: Table = {m: {} for m in self.metrics}
        raw: Table = {OVER: {}, UNDER: {}}
        for name, metric, value in found.select(["perturbation", "metric", "value"]).iter_rows():
            if value is not None and math.isfinite(value):
                (raw if metric in raw else table).setdefault(metric, {})[name] = float(value)
        if MSE in table and raw[UNDER]:
            size = float(np.mean(list(raw[UNDER].values())))
            table[MSE] = {k: v / size for k, v in raw[OVER].items()} if size > 0 else {}
        return table

    def replicate(self, splits: int = 5, seed: int = 0) -> dict[str, float]:
        """Return what one half of the real cells scores against the other, the mean over splits; NaN: no answer.

        nMAE takes its genes from all cells, as `cell_eval2` has it (`compute_lfc_nmae_reference`).
        """
        from cell_eval2 import compute_lfc_nmae_reference, compute_metrics

        whole = self._adata(self.real, self.control)
        found: dict[str, list[float]] = {m: [] for m in self.metrics}
        for i in range(splits):
            rng = np.random.default_rng([seed, i])
            a, b = _halves(self.real, rng), _halves({CONTROL: self.control}, rng)
            halves = [self._adata({k: v[side] for k, v in a.items()}, b[CONTROL][side]) for side in (0, 1)]
            with _quiet():
                table = self._table(compute_metrics(halves[1], halves[0], config=self._config(control_source="pred")))
                try:
                    _, reference = compute_lfc_nmae_reference(whole, config=self._config(), seed=seed * 1000 + i)
                    row = dict(zip(reference["statistic"], reference["nmae_ref_raw"], strict=True))
                    table[NMAE] = {"": float("nan") if row.get("mean") is None else float(row["mean"])}
                except ValueError:  # no gene of any condition is significant
                    table[NMAE] = {}
            for metric in self.metrics:
                found[metric].append(mean(table[metric]))
        return {m: float(np.nanmean(v)) if np.isfinite(v).any() else float("nan") for m, v in found.items()}


def mean(values: Mapping[str, float]) -> float:
    """Return the mean over conditions; NaN for none."""
    return float(np.mean(list(values.values()))) if values else float("nan")


def scaled(value: float, baseline: float, replicate: float) -> float:
    """Return (u − b) / (r − b): 0 as the baseline, 1 as a replicate; NaN where the two cannot be told apart."""
    span = replicate - baseline
    return (value - baseline) / span if np.isfinite(span) and abs(span) > 1e-9 else float("nan")


def discrimination(predicted: Mapping[str, np.ndarray], real: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return the perturbation discrimination score of each predicted change among the changes of *all* conditions.

    1 − k/(n − 1), k the conditions whose real change is nearer by cosine than the right one, ties counting half: the
    PDS of `cell_eval2`, with all measured conditions to be told apart and not only the held-out ones.

    Parameters
    ----------
    predicted, real
        Conditions to changes of the mean [G], log1p, without the perturbed genes.
    """
    names = list(real)
    table = np.array([real[k] for k in names])
    table = table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12)
    out = {}
    for name, change in predicted.items():
        size = np.linalg.norm(change)
        near = table @ change / size if size > 1e-6 else np.zeros(len(names))
        right = near[names.index(name)]
        ahead = float((near > right + 1e-12).sum()) + 0.5 * float((np.abs(near - right) <= 1e-12).sum() - 1)
        out[name] = 1.0 - ahead / max(len(names) - 1, 1)
    return out


def _halves(cells: Mapping[str, Any], rng: np.random.Generator) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    out = {}
    for name, block in cells.items():
        order = rng.permutation(block.shape[0])
        half = len(order) // 2
        out[name] = (dense(block[order[:half]]), dense(block[order[half:2 * half]]))
    return out


def warm() -> None:
    """Let numba compile, once for a process, on a handful of made-up cells."""
    rng = np.random.default_rng(0)
    cells = {k: rng.poisson(1.0, (8, 20)) * 0.7 for k in ("A", "B", CONTROL)}
    genes = np.array([f"g{i}" for i in range(20)])
    with contextlib.suppress(ValueError):  # cells of noise have no effect to divide by
        Panel({k: cells[k] for k in "AB"}, cells[CONTROL], genes).score({k: cells[k] + 0.1 for k in "AB"})


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what the package says of each panel: what has no answer is told by its absence."""
    logger = logging.getLogger("cell_eval2")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
