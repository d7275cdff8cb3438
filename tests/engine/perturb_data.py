"""A small experiment with known effects: two types, three single perturbations and a pair."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp
from engine_data import GENES

from scdiff_core import keys
from scdiff_core.config import Roles
from scdiff_core.data.prepared import Prepared, fingerprint, project, to_log1p
from scdiff_core.data.vocab import Vocab

LABELS = ("ctrl", "G1", "G2", "G3", "G1+G2")
FACTORS = {"G1": (10, 20, 4.0), "G2": (20, 30, 0.25), "G3": (30, 40, 6.0)}  # genes from, to, and times what


def factor(label: str) -> np.ndarray:
    """Return what a perturbation multiplies each gene's rate by [G]."""
    out = np.ones(GENES)
    for part in label.split("+"):
        if part in FACTORS:
            low, high, times = FACTORS[part]
            out[low:high] *= times
    return out


def perturbed(n: int = 600, values: str = keys.COUNTS, seed: int = 0) -> Prepared:
    """Return the experiment; all cells of `G1+G2` are held out."""
    rng = np.random.default_rng(seed)
    label = np.array(LABELS)[rng.integers(len(LABELS), size=n)]
    kind = rng.integers(2, size=n)
    rates = np.full((2, GENES), 1.0)
    rates[0, :8], rates[1, 40:48] = 6.0, 6.0
    mean = rates[kind] * np.array([factor(c) for c in label]) * rng.lognormal(0, 0.3, (n, 1))
    x = rng.poisson(mean * rng.gamma(4, 0.25, (n, GENES))).astype(np.float32)
    counts, total = sp.csr_matrix(x), (x.sum(1) + 60).astype(np.float32)
    if values == keys.CONTINUOUS:
        counts, total = to_log1p(counts, total), np.full(n, keys.TARGET_SUM, np.float32)
    obs = pd.DataFrame({"type": np.array(["A", "B"])[kind], "condition": label,
                        keys.SPLIT: np.where(label == "G1+G2", keys.TEST, keys.TRAIN)},
                       index=[f"cell{i}" for i in range(n)])
    obs[keys.TOTAL_COUNTS] = total
    roles = Roles(cell_type="type", perturbation="condition", control="ctrl")
    vocab, genes = Vocab.from_obs(obs, roles), np.array([f"G{i}" for i in range(GENES)])
    log1p = counts.toarray() if values == keys.CONTINUOUS else to_log1p(counts, total).toarray()
    train = (obs[keys.SPLIT] == keys.TRAIN).to_numpy()
    centre = log1p[train].mean(0).astype(np.float32)
    components = np.linalg.svd(log1p[train] - centre, full_matrices=False)[2][:8].astype(np.float32)
    pca = project(log1p, centre, components)
    return Prepared(name="small", counts=counts, total_counts=total, obs=obs, genes=genes, values=values, roles=roles,
                    vocab=vocab, fingerprint=fingerprint(counts, total, genes, vocab, obs, roles), pca_mean=centre,
                    pca_components=components, X_pca=pca, X_umap=pca[:, :2].copy())
