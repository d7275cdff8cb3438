"""What needs no diffusion model: the simple generators that a report holds generated cells against."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from scdiff_core import keys
from scdiff_core.analysis.metrics import dense


def gene_shuffle(counts: Any, rng: np.random.Generator) -> Any:
    """Return the cells with each gene's values dealt anew to the cells: [N, G], units kept.

    Every gene keeps its distribution exactly, and nothing else is kept: no cell types, no programs, no
    library sizes. A generator that is no better has learned no biology. Sparse stays sparse.
    """
    if not sparse.issparse(counts):
        return rng.permuted(np.asarray(counts), axis=0)
    columns = counts.tocsc(copy=True)
    for start, end in zip(columns.indptr[:-1], columns.indptr[1:], strict=True):
        columns.indices[start:end] = rng.choice(columns.shape[0], end - start, replace=False)
    columns.has_sorted_indices = False
    return columns.tocsr()


def gaussian_per_type(log1p: Any, labels: np.ndarray | None, total_counts: np.ndarray, n: int,
                      rng: np.random.Generator, *, components: int = 50, counts: bool = True,
                      ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return `n` cells drawn from one Gaussian for each label in the space of principal components.

    Parameters
    ----------
    log1p
        Training cells [N, G], log1p.
    labels
        Their labels [N]; None for one Gaussian over all. The drawn cells keep their proportions.
    total_counts
        Their library sizes [N], counts; a drawn cell takes that of a training cell of its label.
    counts
        Whether log1p comes from counts, so that counts can be made from it.

    Returns
    -------
    The cells' counts [n, G] (the log1p values where there are no counts), log1p [n, G], total counts [n]
    and labels [n]. Each gene's values are replaced, rank for rank, by values drawn from the training cells
    (so every gene has its true distribution); what remains to be wrong is how genes vary together.
    """
    from sklearn.decomposition import PCA

    x = dense(log1p)
    labels = np.repeat("", len(x)) if labels is None else np.asarray(labels)
    p = max(1, min(components, len(x) - 1, x.shape[1]))
    pca = PCA(p, svd_solver="randomized" if p < min(x.shape) // 2 else "full",
              random_state=int(rng.integers(2**31)))
    z = pca.fit_transform(x)
    pooled = np.cov(z, rowvar=False).reshape(p, p)
    drawn = labels[rng.integers(len(x), size=n)]
    latent, total = np.empty((n, p)), np.empty(n)
    for label in np.unique(drawn):
        of, to = np.flatnonzero(labels == label), np.flatnonzero(drawn == label)
        # a type with few cells has no covariance of its own: lean on the pooled one
        own = np.cov(z[of], rowvar=False).reshape(p, p) if len(of) > 1 else pooled
        weight = p / (p + len(of))
        scale = min(1.0, np.trace(own) / max(np.trace(pooled), 1e-12))
        spread = (1 - weight) * own + weight * scale * pooled
        latent[to] = rng.multivariate_normal(z[of].mean(0), spread, size=len(to), check_valid="ignore")
        total[to] = np.asarray(total_counts)[rng.choice(of, len(to))]
    # what the components leave out is noise of each gene's own (probabilistic PCA, Tipping and Bishop 1999)
    left = np.sqrt(np.maximum(x.var(0) - (z.var(0)[:, None] * pca.components_**2).sum(0), 0))
    drawn_values = latent @ pca.components_ + left * rng.standard_normal((n, x.shape[1]))
    ranks = np.argsort(np.argsort(drawn_values, axis=0), axis=0)
    real = np.sort(x[rng.integers(len(x), size=(n, x.shape[1])), np.arange(x.shape[1])], axis=0)
    values = np.take_along_axis(real, ranks, axis=0)
    if not counts:
        return values, values, total, drawn
    made = np.rint(np.expm1(values) * (total / keys.TARGET_SUM)[:, None])
    made = np.where(values > 0, np.maximum(made, 1), 0).astype(np.float32)  # a value above 0 is a count
    return made, values, total, drawn
