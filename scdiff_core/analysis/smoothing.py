"""Simple ways to denoise cells, each by its neighbours: what a model has to beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

NEAR = 3  # the neighbour whose distance is the width of a cell's kernel (MAGIC's ka is a third of its k)


@dataclass(frozen=True)
class Company:
    """Cells to be denoised, and others that may help: places in PCA, counts and total counts of both.

    Attributes
    ----------
    own, own_counts, own_total
        [n, P], csr [n, G], [n]: the cells, as they were seen.
    others, counts, total
        [m, P], csr [m, G], [m]: other cells; none of the former is among them.
    """

    own: np.ndarray
    own_counts: sp.csr_matrix
    own_total: np.ndarray
    others: np.ndarray
    counts: sp.csr_matrix
    total: np.ndarray


def shares(counts: sp.csr_matrix, total: np.ndarray) -> sp.csr_matrix:
    """Return counts [n, G] as shares of their cells' totals."""
    return sp.csr_matrix(sp.diags_array(1 / np.maximum(np.asarray(total, np.float64), 1)) @ counts)


def scaled(company: Company, pseudo: float) -> np.ndarray:
    """Return the cells' own counts as shares [n, G], with `pseudo` counts in all spread as other cells' counts are."""
    level = np.asarray(company.counts.sum(0)).ravel() / company.total.sum()
    return (company.own_counts.toarray() + pseudo * level) / (company.own_total[:, None] + pseudo)


def nearest_summed(company: Company, k: int) -> np.ndarray:
    """Return shares [n, G] of the counts of each cell and its k nearest others together.

    kNN smoothing (Wagner, Yan and Yanai 2018, algorithm 1, in one step).
    """
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=min(k, len(company.others))).fit(company.others)
    graph = near.kneighbors_graph(company.own)
    summed = (graph @ company.counts).toarray() + company.own_counts.toarray()
    return summed / (graph @ company.total + company.own_total)[:, None]


def diffused(company: Company, k: int, steps: int) -> np.ndarray:
    """Return shares [n, G] that were diffused over the graph of nearest neighbours of all cells together.

    The idea of MAGIC (van Dijk et al. 2018, eq. 1 to 4): a Gaussian kernel whose width is each cell's distance to a
    near neighbour, made symmetric, its rows made to sum to one, and raised to the power `steps`.
    """
    from sklearn.neighbors import NearestNeighbors

    n = len(company.own)
    every = np.vstack([company.own, company.others])
    k = min(k, len(every) - 1)
    distance, at = NearestNeighbors(n_neighbors=k + 1).fit(every).kneighbors(every)
    width = np.maximum(distance[:, min(max(1, k // NEAR), k)], 1e-12)
    weight = np.exp(-(distance / width[:, None]) ** 2)
    graph = sp.csr_matrix((weight.ravel(), (np.repeat(np.arange(len(every)), k + 1), at.ravel())),
                          shape=(len(every),) * 2)
    graph = sp.csr_matrix(graph + graph.T)
    walk = sp.csr_matrix(sp.diags_array(1 / np.asarray(graph.sum(1)).ravel()) @ graph)
    reached = walk[:n].toarray()
    for _ in range(steps - 1):
        reached = np.asarray(reached @ walk)
    both = sp.vstack([shares(company.own_counts, company.own_total), shares(company.counts, company.total)])
    return np.asarray(reached @ sp.csr_matrix(both))
