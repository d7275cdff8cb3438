"""A small prepared dataset with known types, made in memory: for the tests of the engine."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scdiff_core import keys
from scdiff_core.config import CodecConfig, DiffusionConfig, Roles, TrainConfig
from scdiff_core.data.prepared import Prepared, fingerprint, project, to_log1p
from scdiff_core.data.vocab import Vocab

GENES = 60


def small_prepared(n: int = 240, values: str = keys.COUNTS, seed: int = 0, labels: bool = True) -> Prepared:
    """Three types with their own marker genes, two batches, a dose; some labels missing."""
    rng = np.random.default_rng(seed)
    kind, batch = rng.integers(3, size=n), rng.integers(2, size=n)
    dose = rng.choice([0.0, 1.0, 10.0], n)
    rates = np.full((3, GENES), 0.4)
    for k in range(3):
        rates[k, k * 15:(k + 1) * 15] = 4.0
    depth = rng.lognormal(0, 0.3, (n, 1))
    x = rng.poisson(rates[kind] * depth * rng.gamma(4, 0.25, (n, GENES))).astype(np.float32)
    counts = sp.csr_matrix(x)
    total = (x.sum(1) * 2 + 1).astype(np.float32)
    if values == keys.CONTINUOUS:
        counts, total = to_log1p(counts, total), np.full(n, keys.TARGET_SUM, np.float32)
    obs = pd.DataFrame({"celltype": np.array(["B", "CD4 T", "NK"])[kind], "donor": np.array(["d1", "d2"])[batch],
                        "dose": dose, keys.SPLIT: np.where(rng.random(n) < 0.7, keys.TRAIN, keys.TEST)},
                       index=[f"cell{i}" for i in range(n)])
    obs.loc[obs.index[:10], "celltype"] = np.nan
    obs[keys.TOTAL_COUNTS] = total
    roles = Roles(cell_type="celltype", batch="donor", dose="dose") if labels else Roles()
    vocab = Vocab.from_obs(obs, roles)
    genes = np.array([f"G{i}" for i in range(GENES)])
    log1p = counts.toarray() if values == keys.CONTINUOUS else to_log1p(counts, total).toarray()
    train = (obs[keys.SPLIT] == keys.TRAIN).to_numpy()
    mean = log1p[train].mean(0).astype(np.float32)
    components = np.linalg.svd(log1p[train] - mean, full_matrices=False)[2][:8].astype(np.float32)
    pca = project(log1p, mean, components)
    return Prepared(name="small", counts=counts, total_counts=total, obs=obs, genes=genes, values=values,
                    roles=roles, vocab=vocab, fingerprint=fingerprint(counts, total, genes, vocab, obs, roles),
                    pca_mean=mean, pca_components=components, X_pca=pca, X_umap=pca[:, :2].copy())


def small_config(prepared: Prepared, **changes: object) -> TrainConfig:
    """A configuration that trains in about a second."""
    codec = {"n_latent": 6, "hidden": (24,), "steps": 30, "minibatch": 32, **changes.pop("codec", {})}  # type: ignore[dict-item]
    diffusion = {"width": 24, "depth": 2, "steps": 40, "minibatch": 32, "dropout": 0.1,
                 **changes.pop("diffusion", {})}  # type: ignore[dict-item]
    return TrainConfig(**{"dataset": prepared.name, "fingerprint": prepared.fingerprint, "device": "cpu",
                          "threads": 1, "codec": CodecConfig(**codec), "diffusion": DiffusionConfig(**diffusion),
                          "checkpoint_every_s": 1000.0, **changes})
