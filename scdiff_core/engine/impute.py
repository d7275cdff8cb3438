"""The expression of real cells without the noise of counting: its posterior mean given each cell's counts."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

import scdiff_core
from scdiff_core import keys
from scdiff_core.config import FORMAT
from scdiff_core.config_uses import DRAWS, DenoiseConfig
from scdiff_core.data.chosen import rows_of
from scdiff_core.data.prepared import Prepared, to_log1p
from scdiff_core.engine.model import Model
from scdiff_core.errors import ScdiffError
from scdiff_core.nn.negative_binomial import NegativeBinomial

if TYPE_CHECKING:
    from anndata import AnnData

DENOISED, MEASURED = "denoised", "measured"
UNITS = "log1p of the expected counts in 10,000; estimates of a model, not measurements"
CHUNK = 256  # cells at a time
MOST_VALUES = 600_000_000  # cells times genes: a denoised value is kept for every gene of every cell


@dataclass(frozen=True)
class Share:
    """How much of some work is done."""

    done: int
    total: int


def given_counts(likelihood: NegativeBinomial, counts: Tensor) -> Tensor:
    """Return the expected rate [B, G], in counts, of cells that a code says so much of, and that had these counts.

    A negative binomial is a Poisson whose rate is gamma distributed, with shape theta and mean mu, so the rate's mean
    given the count x is mu (theta + x) / (theta + mu) (Gelman et al. 2013, section 2.6): where the gene varies
    little round its mean the code decides, where it varies much the count does. A count that is more likely a stray
    (`nn.strays`) is in so far taken as it stands: nothing that the code knows speaks of it.
    """
    mean, theta = likelihood.log_mean.exp(), likelihood.log_theta.exp()
    rate = mean * (theta + counts) / (theta + mean)
    if likelihood.strays is None:
        return rate
    at = torch.nonzero(counts.reshape(-1) > 0).squeeze(1)
    x = counts.reshape(-1).index_select(0, at)
    own_mean = likelihood.log_mean.reshape(-1).index_select(0, at)
    log_theta = likelihood.log_theta.reshape(-1).index_select(0, at)
    t, log_zero = log_theta.exp(), (own_mean - log_theta).exp().log1p()
    ours = (torch.lgamma(x + t) - torch.lgamma(t) - torch.lgamma(x + 1) + x * (own_mean - log_theta)
            - (x + t) * log_zero)
    some = (-torch.expm1(-t * log_zero)).clamp(min=1e-12).log()
    odds = likelihood.strays.log_odds((x - own_mean.exp()).round(), at % counts.shape[1]) + some
    stray = torch.sigmoid(odds - ours)
    flat = rate.reshape(-1)
    return flat.index_copy(0, at, (1 - stray) * flat.index_select(0, at) + stray * x).view(counts.shape)


@torch.no_grad()
def shares(model: Model, counts: sp.csr_matrix, total_counts: np.ndarray, draws: int = DRAWS, seed: int = 0
           ) -> Generator[Share, None, tuple[np.ndarray, np.ndarray]]:
    """Return what share of its counts each gene is expected to have in each cell, float32 [n, G], twice.

    First the posterior mean given the code and the counts (`given_counts`), then given the code alone; both are
    averaged over draws of the code, which is known only as well as the counts tell.

    Parameters
    ----------
    counts, total_counts
        csr [n, G], and over all genes of the source [n].

    Raises
    ------
    ScdiffError
        The model is one of continuous values.
    """
    check_counts(model, "denoise cells")
    n, total = counts.shape[0], np.maximum(np.asarray(total_counts, np.float32), 1)
    generator = torch.Generator().manual_seed(seed)
    log1p = to_log1p(counts, total)
    best, plain = np.zeros((2, n, counts.shape[1]), np.float32)
    for start in range(0, n, CHUNK):
        rows = slice(start, start + CHUNK)
        x = torch.from_numpy(counts[rows].toarray()).to(model.device)
        depth = torch.from_numpy(total[rows]).to(model.device)
        code = model.codec.encode(torch.from_numpy(log1p[rows].toarray()).to(model.device), depth)
        for _ in range(draws):
            said = model.codec.decode(code.sample(generator))
            assert isinstance(said, NegativeBinomial)
            best[rows] += (given_counts(said, x) / depth[:, None]).cpu().numpy() / draws
            plain[rows] += (said.log_mean.exp() / depth[:, None]).cpu().numpy() / draws
        yield Share(min(start + CHUNK, n), n)
    return best, plain


def check_counts(model: Model, what: str) -> None:
    """Raise `ScdiffError` where a model is one of continuous values."""
    if not model.counts:
        raise ScdiffError(f"The run '{model.run}' cannot {what}.",
                          "It was trained on values that are no counts, and what is noise of counting in them is not "
                          "known.", "Prepare the dataset from its counts, and train on that.")


def impute(model: Model, prepared: Prepared, config: DenoiseConfig) -> Generator[Share, None, AnnData]:
    """Denoise real cells: their counts in X as they were measured, the estimates in a layer.

    `layers["denoised"]` is log1p at 10,000 counts, float32 [n, G]; obs is that of the dataset with
    `denoised` True; uns["scdiff"] is the recipe. Nothing in it is a new cell.

    Raises
    ------
    ScdiffError
        The model is one of continuous values, no cell is asked for, or they are too many for one file.
    """
    import pandas as pd
    from anndata import AnnData

    check_counts(model, "denoise cells")
    rows = rows_of(prepared, config.where, split=config.split)
    if len(rows) * prepared.n_genes > MOST_VALUES:
        raise ScdiffError(f"{len(rows):,} cells are too many for one file.",
                          f"Each of their {prepared.n_genes:,} genes gets a value, which would take "
                          f"{len(rows) * prepared.n_genes * 4 / 1e9:.0f} GB.",
                          f"Ask for at most {MOST_VALUES // prepared.n_genes:,} cells, a type or a batch at a time.")
    total = prepared.total_counts[rows]
    best, _ = yield from shares(model, prepared.counts[rows], total, config.draws, config.seed)
    obs = prepared.obs.iloc[rows].copy()
    obs[DENOISED] = True
    adata = AnnData(sp.csr_matrix(prepared.counts[rows], dtype=np.float32), obs=obs,
                    var=pd.DataFrame(index=pd.Index(prepared.genes)))
    adata.layers[DENOISED] = np.log1p(keys.TARGET_SUM * best).astype(np.float32)
    adata.obsm[keys.UMAP] = prepared.X_umap[rows]
    adata.uns[keys.SCDIFF] = json.dumps({
        "kind": "denoise", "synthetic": False, "format": FORMAT, "version": scdiff_core.__version__, "run": model.run,
        "step": model.step, "seed": config.seed, "dataset": model.config.dataset,
        "fingerprint": model.config.fingerprint, "values": model.values, "layers": {DENOISED: UNITS},
        "X": "counts as they were measured", "config": config.model_dump(mode="json"),
        "training": model.config.model_dump(mode="json")})
    return adata
