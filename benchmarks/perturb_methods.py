"""The predictions that are compared: ours, whole and its mean alone, and every baseline, from the same cells."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from benchmarks import stages
from benchmarks.perturb_data import Task, knowledge
from scdiff_core.analysis.perturb.baselines import Guess
from scdiff_core.analysis.perturb.card import Answer, name_of
from scdiff_core.analysis.perturb.splits import Condition
from scdiff_core.config import PerturbConfig
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir, Workspace

OURS, MEAN = "ours", "ours, mean alone"
LEARN = (*stages.LEARN, "analysis/perturb")
LEARN_NOT = (*stages.LEARN_NOT, "scores.py", "panel.py", "baselines.py", "latent.py", "splits.py", "card.py",
             "judged.py", "multiplied", "programs.py", "gain.py", "words.py", "predict.py", "prediction.py", "screen",
             "perturb_ops.py", "explore_ops.py", "routes", "design")


@lru_cache
def learn_hash() -> str:
    """Return what code a trained model follows from, as it was when the benchmark began."""
    return stages.source_hash(LEARN, LEARN_NOT)


@dataclass(frozen=True)
class Fitted:
    """Everything fitted on one fold: the run of ours, and what the baselines need.

    `said` takes what ours says of a condition besides cells and mean, and how long that took.
    """

    task: Task
    seed: int
    job: JobDir | None
    train_s: float
    said: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    @cached_property
    def model(self) -> Any:
        """The trained model of ours."""
        from scdiff_core.engine.perturb_model import PerturbModel

        assert self.job is not None
        return PerturbModel.load(self.job)

    @cached_property
    def response(self) -> Any:
        """The mean of ours: that of the run, or, without one, fitted here with the same embeddings."""
        if self.job is not None:
            return self.model.response
        from scdiff_core.analysis.perturb.effects import detect
        from scdiff_core.analysis.perturb.response import ResponseModel
        from scdiff_core.engine.train_perturb import read_embeddings

        known = self.task.bench.known
        controls = np.concatenate([a.rows for a in known.arms.arms if a.perturbation.is_control])
        vectors = read_embeddings(self.task.prepared, controls, knowledge() if is_genes(self.task) else PerturbConfig())
        return ResponseModel.fit(known.arms, known.genes.tolist(), vectors, seed=self.seed,
                                 detected=detect(known.log1p, known.arms, seed=self.seed))

    def answers(self, methods: Sequence[str]) -> dict[str, Answer]:
        """Return the methods as callables."""
        every: dict[str, Answer] = {OURS: self._ours, MEAN: self._mean} | self.task.bench.baselines(
            self.seed, self.codec if self.job is not None else None)
        return {m: every[m] for m in methods if m in every}

    def _mean(self, condition: Condition, n: int) -> Guess | None:
        from scdiff_core.engine.report_answers import mean_alone

        try:
            guess, found = mean_alone(self.response, self.task.bench.known, condition, n, self.seed)
        except ScdiffError as error:
            self.said[MEAN, name_of(condition)] = {"refused": str(error)}
            return None
        self.said[MEAN, name_of(condition)] = {"effect": found.effect, "reach": found.reach}
        return guess

    def _ours(self, condition: Condition, n: int) -> Guess | None:
        from scdiff_core.engine.report_answers import whole

        began = time.perf_counter(), time.process_time()
        try:
            guess, found = whole(self.model, condition, n, self.seed)
        except ScdiffError as error:
            self.said[OURS, name_of(condition)] = {"refused": str(error)}
            return None
        self.said[OURS, name_of(condition)] = {
            "effect": found.response.effect, "reach": found.response.reach, "half": found.half,
            "seconds": time.perf_counter() - began[0], "cpu_s": time.process_time() - began[1]}
        return guess

    @cached_property
    def codec(self) -> tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray, int], Any]]:
        """Rows to codes, and codes to log1p cells, by the codec of our own run."""
        from scdiff_core.engine.report_answers import codec_calls

        return codec_calls(self.task.prepared, self.model.codec, self.seed)


def is_genes(task: Task) -> bool:
    """Say whether what is perturbed are genes that gene sets know."""
    return task.case.name.startswith(("norman", "mcfaline"))


def fit(workspace: Workspace, task: Task, seed: int, preset_name: str, settings: tuple[str, ...] = (),
        with_ours: bool = True, fresh: bool = False) -> Fitted:
    """Train ours on a fold with a preset as it is (and, for genes, the gene sets that stand ready)."""
    if not with_ours:
        return Fitted(task, seed, None, 0.0)
    known = knowledge()
    more = (f"perturb.gene_sets={list(known.gene_sets)}", f"perturb.regulons={list(known.regulons)}") \
        if is_genes(task) else ()
    job, seconds = train(workspace, task, seed, preset_name, (*more, *settings), fresh)
    return Fitted(task, seed, job, seconds)


def train(workspace: Workspace, task: Task, seed: int, preset_name: str, settings: tuple[str, ...],
          fresh: bool = False) -> tuple[JobDir, float]:
    """Train one run for perturbations; returns it and its CPU seconds."""
    config = stages.training(task.prepared, task.dataset, preset_name, seed, settings, "perturb")
    key = stages.digest(config.model_dump(mode="json", exclude={"name", "preset"}), learn_hash())
    return stages.learn(workspace, task.prepared, config, f"perturb-{seed}-{key}", fresh)
