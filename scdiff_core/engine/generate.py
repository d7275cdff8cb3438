"""Cells from a model: conditions by name, sampling step by step, and an AnnData at the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from torch import Tensor

import scdiff_core
from scdiff_core import keys
from scdiff_core.config import FORMAT, Frozen, GenerateConfig
from scdiff_core.data.prepared import to_log1p
from scdiff_core.diffusion import sampler
from scdiff_core.diffusion.denoiser import Denoiser
from scdiff_core.diffusion.guidance import ByClassifier, ClassifierFree
from scdiff_core.engine.device import autocast
from scdiff_core.engine.model import Model
from scdiff_core.nn.condition import Condition

if TYPE_CHECKING:
    from anndata import AnnData

    from scdiff_core.engine.classifier import LabelClassifier

CHUNK = 2000  # cells sampled together
DECODE = 500  # cells decoded together


@dataclass(frozen=True)
class GenerateProgress:
    """Steps done of all steps; between two of them a caller may let go."""

    done: int
    total: int


Decode = Callable[[Tensor, slice], tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class Plan:
    """How cells are drawn where that is not the plain way; rows are those of the conditions.

    Parameters
    ----------
    denoiser
        rows -> what estimates their clean codes, in place of the model's own denoiser under guidance.
    z, t
        Clean codes [n, D] to start from, noised to the time t in (0, 1]; None: from noise.
    decode
        (codes [m, D], rows) -> values [m, G] and library sizes [m], in place of a draw from the codec.
    """

    denoiser: Callable[[slice], Denoiser] | None = None
    z: Tensor | None = None
    t: float = 1.0
    decode: Decode | None = None


PLAIN = Plan()


def generate(model: Model, config: GenerateConfig, classifiers: Sequence[LabelClassifier] = ()
             ) -> Generator[GenerateProgress, None, AnnData]:
    """Generate cells; the AnnData is the generator's return value.

    Counts are integers in X (csr float32), `log1p` a layer; obs has the conditions under their original
    names (missing where they were `any`), `total_counts` over all genes of the source, and `synthetic`;
    uns["scdiff"] is the recipe as one JSON string. The same seed gives the same cells.

    Parameters
    ----------
    classifiers
        Those of the labels that the configuration has cells guided to (`engine.classifier.classifiers_for`).

    Raises
    ------
    ScdiffError
        A covariate or a value is unknown.
    """
    generator = torch.Generator().manual_seed(config.seed)
    codes, conts = conditions(model, config, generator)
    plan: Plan = PLAIN
    if config.classifier:
        towards: Denoiser = guided(model, config)
        for label, classifier in zip(config.classifier, classifiers, strict=True):
            towards = ByClassifier(towards, model.denoiser.schedule, classifier,
                                   classifier.index(label.value, label.column), label.scale)
        plan = Plan(lambda rows: towards)
    values, totals = yield from draw_cells(model, codes, conts, config, generator, plan)
    adata = assemble(model, config, values, totals, codes, conts)
    for label in config.classifier:
        if model.roles.columns().get(label.column, label.column) in adata.obs:
            continue  # a condition too
        adata.obs[label.column] = pd.Categorical([label.value] * adata.n_obs)
    return adata


def guided(model: Model, how: GenerateConfig) -> ClassifierFree:
    """Return a model's denoiser under classifier-free guidance; raises `ScdiffError` where a covariate is unknown."""
    order = (*model.vocab.categorical, *model.vocab.continuous)
    scales = {order.index(model.vocab.find(name)): scale for name, scale in how.guidance.items()}
    return ClassifierFree(model.denoiser, how.guidance_scale, plain=int(model.codec.counts), scales=scales)


def draw_cells(model: Model, codes: np.ndarray, conts: np.ndarray, how: GenerateConfig, generator: torch.Generator,
               plan: Plan = PLAIN) -> Generator[GenerateProgress, None, tuple[sp.csr_matrix, np.ndarray]]:
    """Draw one cell for each row of conditions; values [n, G] and library sizes [n] are the generator's return value.

    Parameters
    ----------
    codes, conts
        The conditions, int64 [n, Ccat] and float32 [n, Ccont], as `conditions` gives them.
    how
        Sampler, steps and guidance; what it says of conditions, number of cells and seed is not looked at.
    plan
        What is not drawn in the plain way.
    """
    plain = None if plan.denoiser is not None else guided(model, how)
    starts = range(0, len(codes), CHUNK)
    total, done = len(starts) * (how.steps + 1), 0
    values: list[sp.csr_matrix] = []
    totals: list[np.ndarray] = []
    for begin in starts:
        rows = slice(begin, min(begin + CHUNK, len(codes)))
        denoiser = plain if plan.denoiser is None else plan.denoiser(rows)
        assert denoiser is not None
        walk = sampler.make(how.sampler, denoiser, model.denoiser.schedule, how.steps, how.eta, plan.t)
        condition = condition_of(model, codes[rows], conts[rows])
        if plan.z is None:
            z = walk.start(len(condition), model.codec.n_dims, generator, model.device)
        else:
            z = walk.noised(plan.z[rows].to(model.device), generator)
        steps = walk.iterate(z, condition, generator)
        while True:
            with torch.no_grad(), autocast(model.device):
                step = next(steps, None)
            if step is None:
                break
            z, done = step.x, done + 1
            yield GenerateProgress(done, total)
        for first in range(0, len(z), DECODE):
            part = z[first:first + DECODE].float()
            with torch.no_grad():
                cells, sums = model.codec.sample(part, generator) if plan.decode is None else \
                    plan.decode(part, slice(begin + first, begin + first + len(part)))
            values.append(sparse(cells.cpu().numpy()))
            totals.append(sums.cpu().numpy())
        done += 1
        yield GenerateProgress(done, total)
    return sp.vstack(values, format="csr"), np.concatenate(totals)


def sparse(values: np.ndarray) -> sp.csr_matrix:
    """Return dense float32 values [n, G] as csr; four times as quick as scipy, by one look for non-zeros."""
    n, g = values.shape
    at = np.flatnonzero(values != 0)
    starts = np.searchsorted(at, np.arange(n + 1) * g)
    columns = at - np.repeat(np.arange(n) * g, np.diff(starts))
    return sp.csr_matrix((values.reshape(-1)[at], columns.astype(np.int32), starts.astype(np.int32)), shape=(n, g))


def condition_of(model: Model, codes: np.ndarray, conts: np.ndarray) -> Condition:
    """Return conditions as `engine.generate.conditions` gives them, for a denoiser."""
    sizes = tuple(len(c.values) for c in model.vocab.categorical)
    return Condition(torch.from_numpy(codes), torch.from_numpy(conts), sizes).to(model.device)


def conditions(model: Model, config: GenerateConfig, generator: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes int64 [n, Ccat] and conts float32 [n, Ccont] of the cells asked for.

    Covariates `as in the data` are drawn together, from a training cell that has the values asked for of
    the others (from any training cell where none has), in the proportions that these cells have.

    Raises
    ------
    ScdiffError
        A covariate or a value is unknown.
    """
    vocab, n = model.vocab, config.n_cells
    fits = np.ones(len(model.codes), bool)
    fixed: list[tuple[np.ndarray, int, float | int]] = []
    # one draw from each n-th of the cells, so that the mix is that of the data as nearly as n cells can have it
    draws = (torch.randperm(n, generator=generator) + torch.rand(n, generator=generator, dtype=torch.float64)) / n
    codes, conts = np.empty((n, model.codes.shape[1]), np.int64), np.empty((n, model.conts.shape[1]), np.float32)
    for name, value in config.where.items():
        if value == keys.AS_IN_DATA:
            continue
        covariate = vocab.find(name)
        continuous = covariate in vocab.continuous
        column = (vocab.continuous if continuous else vocab.categorical).index(covariate)
        wanted: float | int
        if value == keys.ANY:
            wanted = np.nan if continuous else covariate.null
        elif continuous:
            wanted = covariate.standard(covariate.number(value, f", or '{keys.ANY}'"))
            fits &= np.abs(model.conts[:, column] - wanted) < 1e-4
        else:
            wanted = vocab.index(covariate.column, value)
            fits &= model.codes[:, column] == wanted
        fixed.append((conts if continuous else codes, column, wanted))
    pool = np.flatnonzero(fits) if fits.any() else np.arange(len(fits))
    pool = pool[np.lexsort((*model.conts[pool].T, *model.codes[pool].T))] if vocab.categorical or conts.size else pool
    rows = pool[(draws.numpy() * len(pool)).astype(np.int64)]
    codes[:], conts[:] = model.codes[rows], model.conts[rows]
    for target, column, wanted in fixed:
        target[:, column] = wanted
    return codes, conts


def assemble(model: Model, config: Frozen, values: sp.csr_matrix, totals: np.ndarray,
              codes: np.ndarray, conts: np.ndarray) -> AnnData:
    """Put cells, conditions and recipe (a configuration with a `seed`) together."""
    from anndata import AnnData

    if not model.counts:
        totals = np.full(len(totals), keys.TARGET_SUM, np.float32)
    obs = model.vocab.decode(codes, conts)
    obs.index = pd.Index([f"synthetic_{i:06d}" for i in range(len(obs))])
    obs[keys.TOTAL_COUNTS] = totals.astype(np.float32)
    obs[keys.SYNTHETIC] = True
    adata = AnnData(values.astype(np.float32), obs=obs, var=pd.DataFrame(index=pd.Index(model.genes)))
    adata.layers[keys.LOG1P] = to_log1p(values, totals) if model.counts else values.astype(np.float32)
    kind = getattr(config, "kind", "generate")
    adata.uns[keys.SCDIFF] = json.dumps({
        **({} if kind == "generate" else {"kind": kind}), "synthetic": True,
        "format": FORMAT, "version": scdiff_core.__version__, "run": model.run,
        "step": model.step, "seed": getattr(config, "seed", 0), "dataset": model.config.dataset,
        "fingerprint": model.config.fingerprint, "values": model.values, "roles": model.roles.model_dump(),
        "config": config.model_dump(mode="json"), "training": model.config.model_dump(mode="json")})
    return adata
