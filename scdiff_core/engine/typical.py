"""How typical real cells are of what a model has learnt: odd cells and doublets, by code and by counts."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from torch import Tensor

from scdiff_core import keys
from scdiff_core.analysis import typicality
from scdiff_core.config_uses import FLOW_STEPS, TypicalConfig
from scdiff_core.data.chosen import evenly, rows_of
from scdiff_core.data.prepared import Prepared, to_log1p
from scdiff_core.diffusion.log_density import FlowLikelihood
from scdiff_core.engine.batches import split_training
from scdiff_core.engine.impute import Share, check_counts
from scdiff_core.engine.model import Model
from scdiff_core.nn import quantiles
from scdiff_core.nn.condition import Condition
from scdiff_core.nn.likelihood import Values
from scdiff_core.nn.negative_binomial import NegativeBinomial

CHUNK = 512
AGAIN = 4  # times that a cell is drawn anew from its code, to know how likely its counts ought to be
MOST_COMPARED = 5000  # training cells that doublets are made of
ODD = 0.99  # share of like cells that are less odd, from which a cell is marked
COLUMNS = {
    "score": "how odd the cell is, in standard deviations of ordinary cells of its depth: `surprise` and `noise`, each "
             "put on that scale, together",
    "percentile": "share of ordinary cells of like depth that are less odd",
    "log_density": "log density of the cell's code under the probability-flow ODE, nats",
    "noise": "length of the noise that the flow makes of the code; 1 is ordinary",
    "surprise": "by how many nats the counts are less likely, given the code, than counts drawn from it",
    "distance": "distance to the nearest training cells in PCA, in standard deviations of ordinary cells of its depth; "
                "no model is needed for it",
    "doublet": "how much of the code's neighbourhood is simulated doublets and not cells (0 to 1)",
}


@dataclass(frozen=True)
class Parts:
    """What a model says of n cells: codes [n, D], and [n] each of log density, noise and surprise (see `COLUMNS`).

    `log_likelihood` is that of the counts given the code, in nats: deep cells have less of it, whatever they are.
    """

    codes: np.ndarray
    log_likelihood: np.ndarray
    log_density: np.ndarray
    noise: np.ndarray
    surprise: np.ndarray


def encode(model: Model, counts: sp.csr_matrix, total_counts: np.ndarray) -> np.ndarray:
    """Return the means of the codes of cells, float32 [n, D]."""
    out = []
    for start in range(0, counts.shape[0], CHUNK):
        rows = slice(start, start + CHUNK)
        total = np.maximum(np.asarray(total_counts[rows], np.float32), 1)
        with torch.no_grad():
            log1p = torch.from_numpy(to_log1p(counts[rows], total).toarray()).to(model.device)
            out.append(model.codec.encode(log1p, torch.from_numpy(total).to(model.device)).mean.cpu().numpy())
    return np.concatenate(out)


def parts(model: Model, counts: sp.csr_matrix, total_counts: np.ndarray, steps: int = FLOW_STEPS, seed: int = 0
          ) -> Generator[Share, None, Parts]:
    """Hold cells, csr [n, G] with total counts [n], against a model of counts.

    The code is the posterior's mean. A code that the model does not know is no less likely under its density (the
    density of what was never seen may be anything: Nalisnick et al. 2019), but the flow makes longer noise of it than
    the D dimensions of a normal have; and counts that the code cannot explain are less likely than counts drawn from
    it, which is what the code is asked for, whatever the depth.
    """
    check_counts(model, "say what is typical")
    n = counts.shape[0]
    generator = torch.Generator().manual_seed(seed)
    flow = FlowLikelihood(model.denoiser, model.denoiser.schedule, steps, 1)
    sizes = tuple(len(c.values) for c in model.vocab.categorical)
    codes = encode(model, counts, total_counts)
    found: dict[str, list[Tensor]] = {"likely": [], "density": [], "noise": [], "surprise": []}
    for start in range(0, n, CHUNK):
        z = torch.from_numpy(codes[start:start + CHUNK]).to(model.device)
        with torch.no_grad():
            likely, expected = likelihoods(model, z, counts[start:start + CHUNK], generator)
        found["likely"].append(likely)
        found["surprise"].append(expected - likely)
        free = Condition(torch.zeros((len(z), len(sizes)), dtype=torch.int64),
                         torch.zeros((len(z), len(model.vocab.continuous))), sizes).to(model.device).null()
        walk = flow.log_prob(z, free, generator)
        while True:
            try:
                at = next(walk)
            except StopIteration as end:
                density, noise = end.value
                break
            yield Share(start * steps + at * len(z), n * steps)
        alpha, sigma = model.denoiser.schedule(torch.ones(()))
        spread = float(noise.shape[1] - 1) * float(1 + (sigma / alpha) ** 2)
        found["density"].append(density)
        found["noise"].append((noise[:, :-1].square().sum(1) / spread).sqrt())
    return Parts(codes, *(torch.cat(v).float().cpu().numpy() for v in found.values()))


def likelihoods(model: Model, z: Tensor, counts: sp.csr_matrix, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the log likelihood of counts [B, G] given codes z [B, D], and that of counts drawn from them; [B], nats.

    Their difference is a posterior predictive check (Gelman, Meng and Stern 1996) with the likelihood as its measure.
    """
    said = model.codec.decode(z)
    assert isinstance(said, NegativeBinomial)
    likely = said.log_likelihood(_values(torch.from_numpy(counts.toarray()).to(z.device)))
    expected = torch.zeros_like(likely)
    for _ in range(AGAIN):
        draw = torch.rand(said.log_mean.shape, generator=generator).to(z)
        again = said.sample(quantiles.look_up(model.codec.table, draw), generator)
        expected += said.log_likelihood(_values(again)) / AGAIN
    return likely, expected


def _values(x: Tensor) -> Values:
    at = torch.nonzero(x.reshape(-1) > 0).squeeze(1)
    return Values((x.shape[0], x.shape[1]), at, x.reshape(-1).index_select(0, at))


def doublet_scores(model: Model, prepared: Prepared, codes: np.ndarray, rows: np.ndarray, learnt: np.ndarray,
                   seed: int = 0) -> np.ndarray:
    """Return how much the neighbourhood of codes [n, D] of cells `rows` is simulated doublets of training cells, [n].

    The library size is left out of the codes: doublets are to be told by what they express.
    """
    some = evenly(learnt, MOST_COMPARED)
    made, depth, _ = typicality.doublets(prepared.counts[some], prepared.total_counts[some],
                                         typicality.PER_CELL * len(some), seed)
    known = encode(model, prepared.counts[some], prepared.total_counts[some])[:, :-1]
    place = {int(row): i for i, row in enumerate(some)}
    own = np.array([place.get(int(row), -1) for row in rows])
    return typicality.doublet_share(codes[:, :-1], known, encode(model, made, depth)[:, :-1], own)


def score(found: Parts, total_counts: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return how odd cells are [n]: surprise and noise, each against reference cells of like depth, together."""
    return sum((typicality.standardised(v, total_counts, reference) for v in (found.surprise, found.noise)),
               np.zeros(len(total_counts))) / np.sqrt(2)


def typical(model: Model, prepared: Prepared, config: TypicalConfig) -> Generator[Share, None, pd.DataFrame]:
    """Say how typical the cells of a split are; one row a cell, with the columns of `COLUMNS`.

    A cell that the model learnt from is held against other such cells, any other one against training cells that were
    kept aside while it learnt (`batches.split_training`): what was learnt from always looks more typical.

    Raises
    ------
    ScdiffError
        The model is one of continuous values.
    """
    check_counts(model, "say what is typical")
    asked = rows_of(prepared, {}, split=config.split)
    learnt, aside = split_training(prepared, model.config.seed)
    if len(aside) < typicality.FEWEST:
        aside = learnt
    few = evenly(learnt, MOST_COMPARED)
    rows = np.union1d(asked, np.union1d(aside, few))
    total = prepared.total_counts[rows]
    found = yield from parts(model, prepared.counts[rows], total, config.steps, config.seed)
    is_learnt, compared = np.isin(rows, learnt), {True: np.isin(rows, few), False: np.isin(rows, aside)}
    near = np.log(np.maximum(typicality.distance(prepared.X_pca, rows, learnt), 1e-9))
    odd, rank, far = np.zeros((3, len(rows)))
    for own, reference in compared.items():
        mine = is_learnt == own
        scores = score(found, total, reference)
        far[mine] = typicality.standardised(near, total, reference)[mine]
        odd[mine], rank[mine] = scores[mine], typicality.rank_among_like(scores, total, reference)[mine]
    table = pd.DataFrame({
        "cell": prepared.obs.index[rows].astype(str), "row": rows,
        "split": prepared.obs[keys.SPLIT].to_numpy(str)[rows], "total_counts": total, "score": odd,
        "percentile": rank, "log_density": found.log_density, "noise": found.noise, "surprise": found.surprise,
        "distance": far,
        "doublet": doublet_scores(model, prepared, found.codes, rows, learnt, config.seed)})
    if prepared.roles.cell_type is not None:
        table.insert(3, "cell_type", prepared.labels(keys.CELL_TYPE)[rows])
    table.insert(3, "reference", np.where(is_learnt, compared[True], compared[False]))
    return table[np.isin(rows, asked)].reset_index(drop=True)
