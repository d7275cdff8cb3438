"""The order of genes and groups by clustering, so that what goes together stands together."""

from __future__ import annotations

import numpy as np
import pandas as pd


def order_by_clustering(means: pd.DataFrame) -> list[str]:
    """Return the rows' names of a table of means [rows, columns] (log1p) in the order of their clusters.

    Average linkage on 1 − Pearson's r of the rows, leaves ordered so that neighbours are most alike
    (`scipy.cluster.hierarchy.optimal_leaf_ordering`, Bar-Joseph et al. 2001). A row without any
    variation has no correlation: it counts as unrelated (r = 0) to all others. What is missing counts
    as the row's mean. Fewer than three rows, or two columns, stay as they are.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    names = [str(n) for n in means.index]
    x = means.to_numpy(float)
    if len(names) < 3 or x.shape[1] < 2:
        return names
    centre = np.array([row[np.isfinite(row)].mean() if np.isfinite(row).any() else 0.0 for row in x])[:, None]
    x = np.where(np.isfinite(x), x - centre, 0.0)
    size = np.linalg.norm(x, axis=1, keepdims=True)
    flat = size[:, 0] <= 1e-9 * np.maximum(1.0, np.abs(centre[:, 0]))
    unit = np.where(flat[:, None], 0.0, x / np.where(size > 0, size, 1.0))
    apart = np.clip(1 - unit @ unit.T, 0, 2)
    np.fill_diagonal(apart, 0)
    tree = linkage(squareform((apart + apart.T) / 2, checks=False), "average", optimal_ordering=True)
    return [names[i] for i in leaves_list(tree)]
