"""What the benchmark of designed cells is asked about: data, models, targets at given base rates, and their truth."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch: CPU seconds, not cores, are compared

import numpy as np
import scipy.sparse as sp

from benchmarks import stages
from scdiff_core import keys
from scdiff_core.config import PrepareConfig, Roles
from scdiff_core.data.prepared import Prepared, to_log1p
from scdiff_core.workspace import JobDir, Workspace

PBMC = "pbmc3k_counts.h5ad"
RATES = (0.1, 0.01, 0.0025, 0.0)  # of the training cells
SAMPLE = 100_000  # cells of the simulation that stand for the truth
ROWS = 3  # of a target of the simulation
# what a trained model follows from besides the data's fingerprint: a changed sampler trains nothing again
LEARN = ("keys.py", "nn", "diffusion/denoiser.py", "diffusion/schedule.py", "diffusion/loss.py",
         *(f"engine/{name}.py" for name in ("batches", "calibrate", "phase", "train_codec", "train_diffusion")))


@dataclass(frozen=True)
class Case:
    """A data set with a trained model of it."""

    name: str
    seed: int
    dataset: JobDir
    run: JobDir
    train_s: float
    truth: Any = field(default=None, repr=False)  # `simulate.Truth`, where there is one

    @cached_property
    def prepared(self) -> Prepared:
        """The prepared dataset."""
        return Prepared.open(self.dataset)

    @cached_property
    def model(self) -> Any:
        """The model."""
        from scdiff_core.engine.model import Model

        return Model.load(self.run, "cpu")


def demo(workspace: Workspace, seed: int, preset: str = "standard", settings: tuple[str, ...] = ()) -> Case:
    """The simulated experiment: `demo:perturb` with another draw of its truth for each seed."""
    from scdiff_core.data.simulate import Truth, simulate

    path = stages.CACHE / "perturb" / f"demo-{seed}-{stages.source_hash(('data/simulate.py',))}.h5ad"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        simulate(seed=seed).write_h5ad(path)
    roles = Roles(perturbation=keys.PERTURBATION, control="control", dose=keys.DOSE, cell_type=keys.CELL_TYPE,
                  batch=keys.BATCH)
    dataset = _prepare(workspace, PrepareConfig(source=str(path), name=f"design-demo-{seed}", roles=roles))
    run, seconds = _train(workspace, dataset, preset, seed, settings)
    return Case("demo:perturb", seed, dataset, run, seconds, Truth.build(seed=seed))


def pbmc(workspace: Workspace, seed: int, preset: str = "standard", settings: tuple[str, ...] = ()) -> Case | None:
    """The blood cells, whose truth is what the model makes when it is asked long enough; None without the file."""
    found = stages.paths_of([PBMC])
    if not found:
        return None
    dataset = _prepare(workspace, PrepareConfig(source=str(found[0]), name="design-pbmc3k"))
    run, seconds = _train(workspace, dataset, preset, seed, settings)
    return Case("PBMC3k", seed, dataset, run, seconds)


def _prepare(workspace: Workspace, asked: PrepareConfig) -> JobDir:
    key = stages.digest(Path(asked.source).name, asked.model_dump(mode="json", exclude={"source"}),
                        stages.source_hash(("data/prepare.py", "data/genes.py", "data/split.py", "data/recover.py")))
    config = asked.model_copy(update={"name": f"{asked.name}-{key}"})
    return stages.prepared(workspace, config)[0]


def _train(workspace: Workspace, dataset: JobDir, preset_name: str, seed: int,
           settings: tuple[str, ...]) -> tuple[JobDir, float]:
    cells = Prepared.open(dataset)
    config = stages.training(cells, dataset, preset_name, seed, settings)
    key = stages.digest(config.model_dump(mode="json", exclude={"name", "preset"}), stages.source_hash(LEARN))
    return stages.learn(workspace, cells, config, f"design-{preset_name}-{seed}-{key}")


@dataclass(frozen=True)
class Sample:
    """Many cells of the truth: counts in a codec's genes, library sizes, codes drawn as those of real cells are."""

    log1p: sp.csr_matrix
    z: np.ndarray
    obs: Any


def simulated(case: Case, n: int = SAMPLE) -> Sample:
    """Draw many more cells of the same experiment, and encode them with the model's codec; kept on disk."""
    import pandas as pd
    import torch

    from scdiff_core.engine.batches import CHUNK

    key = stages.digest(case.run.id, n, stages.source_hash(("data/simulate.py",)))
    path = stages.CACHE / "design" / f"sample-{key}.npz"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        rng, source = np.random.default_rng([case.seed, 99]), case.prepared.obs
        place = {g: i for i, g in enumerate(case.truth.genes)}
        kept = np.array([place[g] for g in case.prepared.genes])
        generator = torch.Generator().manual_seed(case.seed)
        # the mix of conditions is that of the cells that the model has learnt from
        known = case.prepared.rows(keys.TRAIN)
        known = known[(case.prepared.labels(keys.CELL_TYPE)[known] != "")]
        rows = rng.choice(known, n)
        zs, parts = [], []
        for start in range(0, n, 2000):
            obs = source.iloc[rows[start:start + 2000]]
            obs = pd.DataFrame({k: obs[k].astype(object).to_numpy() for k in
                                (keys.CELL_TYPE, keys.PERTURBATION, keys.DOSE, keys.BATCH)})
            obs[keys.DOSE] = pd.to_numeric(obs[keys.DOSE])
            counts = case.truth.sample(obs, rng)
            total = counts.sum(1).astype(np.float32)
            log1p = to_log1p(sp.csr_matrix(counts[:, kept], dtype=np.float32), total)
            for first in range(0, len(obs), CHUNK):
                piece = slice(first, first + CHUNK)
                with torch.no_grad():
                    zs.append(case.model.codec.encode(torch.from_numpy(log1p[piece].toarray()),
                                                      torch.from_numpy(total[piece])).sample(generator).numpy())
            parts.append(log1p)
        log1p = sp.vstack(parts, format="csr")
        with open(path, "wb") as out:
            np.savez(out, z=np.concatenate(zs), rows=rows, data=log1p.data, indices=log1p.indices,
                     indptr=log1p.indptr, shape=np.array(log1p.shape))
    with np.load(path, allow_pickle=False) as arrays:
        log1p = sp.csr_matrix((arrays["data"], arrays["indices"], arrays["indptr"]), shape=tuple(arrays["shape"]))
        return Sample(log1p, arrays["z"], case.prepared.obs.iloc[arrays["rows"]])
