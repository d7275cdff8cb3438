"""The last phase of a model of perturbations: the mean of each, and how control cells are moved by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from torch import Tensor

from scdiff_core import keys
from scdiff_core.analysis.gene_sets import decode_gmt
from scdiff_core.analysis.perturb import embeddings as emb
from scdiff_core.analysis.perturb.arms import Arms, collect
from scdiff_core.analysis.perturb.effects import detect
from scdiff_core.analysis.perturb.response import ResponseModel
from scdiff_core.config import PerturbConfig, TrainConfig
from scdiff_core.data.chosen import evenly
from scdiff_core.data.perturbations import check
from scdiff_core.data.prepared import Prepared
from scdiff_core.data.vocab import as_labels
from scdiff_core.engine import checkpoint, move
from scdiff_core.engine.batches import CHUNK
from scdiff_core.engine.code_response import CELLS, CodeResponse
from scdiff_core.engine.phase import Phase
from scdiff_core.errors import ScdiffError
from scdiff_core.nn.codec import Codec

MOST_CONTROLS = 20_000  # control cells that a model keeps to start from


def check_task(prepared: Prepared) -> tuple[str, ...]:
    """Check that a dataset can teach what perturbations do; returns warnings. Raises `ScdiffError` if not."""
    return check(prepared)


def read_embeddings(prepared: Prepared, rows: np.ndarray, config: PerturbConfig) -> tuple[emb.Embedding, ...]:
    """Return all vectors of perturbations that a run may learn from; those from the data use control cells alone.

    Raises
    ------
    ScdiffError
        A file is missing, or is not what it should be.
    """
    found = [emb.from_control(prepared.log1p(rows), prepared.genes.tolist())]
    for name in config.gene_sets:
        found.append(emb.from_gene_sets(decode_gmt(_bytes(name))))
    for name in config.regulons:
        _bytes(name)
        found.append(emb.from_regulons(pd.read_csv(name, sep=None, engine="python")))
    found += [emb.read_table(Path(name)) for name in config.tables]
    return tuple(found)


def _bytes(name: str) -> bytes:
    try:
        return Path(name).expanduser().read_bytes()
    except OSError:
        raise ScdiffError(f"'{name}' cannot be read.", "There is no such file.", "Check the path.") from None


def control_rows(prepared: Prepared, seed: int, most: int = MOST_CONTROLS) -> np.ndarray:
    """Return the control cells of the training split, at most so many, evenly drawn."""
    rows = prepared.rows(keys.TRAIN)
    roles = prepared.roles
    assert roles.perturbation is not None
    rows = rows[as_labels(prepared.obs[roles.perturbation])[rows] == roles.control]
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:most])
    return rows


class ResponsePhase(Phase):
    """One step: the mean responses are fitted, and what the model needs of the control cells is gathered.

    Parameters
    ----------
    codec
        Calibrated; it is not trained any more.
    """

    def __init__(self, codec: Codec, prepared: Prepared, config: TrainConfig, seed: int) -> None:
        super().__init__("response", 1, {"codec": codec}, None, seed)
        self.codec, self.prepared, self.config, self.seed = codec, prepared, config, seed
        self.score = 0.0

    def advance(self) -> Tensor:
        """Do it all."""
        prepared = self.prepared
        rows = prepared.rows(keys.TRAIN)
        self.controls = control_rows(prepared, self.seed)
        log1p = prepared.log1p()
        self.arms: Arms = collect(log1p, prepared.obs, prepared.roles, rows)
        vectors = read_embeddings(prepared, self.controls, self.config.perturb)
        batch = prepared.roles.batch
        tested = detect(log1p, self.arms, as_labels(prepared.obs[batch]) if batch else None, seed=self.config.seed)
        self.response = ResponseModel.fit(self.arms, prepared.genes.tolist(), vectors, seed=self.config.seed,
                                          detected=tested)
        self.codes = self._codes(rows, vectors)
        self.step = 1
        return torch.tensor(self.score)

    def _codes(self, rows: np.ndarray, vectors: tuple[emb.Embedding, ...]) -> CodeResponse:
        """Learn how codes change, and how much that tells beside the genes."""
        prepared, counts = self.prepared, self.prepared.values == keys.COUNTS
        found = np.zeros((prepared.n_cells, self.codec.n_dims), np.float32)
        for start in range(0, len(rows), CHUNK):
            some = rows[start:start + CHUNK]
            found[some] = move.codes(self.codec, move.tensors(cells_of(prepared, some), counts)).numpy()
        self.code_values = found
        self.code_arms = arms = collect(sp.csr_matrix(found), prepared.obs, prepared.roles, rows)
        controls = {arm.cell_type: arm.rows for arm in self.arms.arms if arm.perturbation.is_control}
        movers = {kind: move.Mover(self.codec, move.tensors(cells_of(prepared, evenly(own, CELLS)), counts),
                                   self.generator) for kind, own in controls.items()}
        return CodeResponse.fit(self.arms, arms, self.response, vectors, movers, self.config.seed)

    def held_out(self) -> float:
        """Return what `advance` found."""
        return self.score

    def restore(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        """Put back the codec; the one step is taken again, with the same draws."""
        super().restore(tensors, meta)
        self.step = 0
        self.generator.manual_seed(self.generator.initial_seed())

    def result(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return what predicting needs: the codec, the responses and the control cells; and their names."""
        genes, latents = stored(self.response), stored(self.codes.model)
        values = self.prepared.counts[self.controls]
        codes, conts = self.prepared.vocab.encode(self.prepared.obs.iloc[self.controls])
        control = {"data": values.data.astype(np.float32), "indices": values.indices.astype(np.int32),
                   "indptr": values.indptr.astype(np.int64), "rows": self.controls.astype(np.int64),
                   "total": np.asarray(self.prepared.total_counts[self.controls], np.float32),
                   "codes": codes.astype(np.int64), "conts": conts.astype(np.float32)}
        tensors = (checkpoint.named(self.codec.state_dict(), "codec") | checkpoint.named(genes[0], "response")
                   | checkpoint.named(latents[0], "codes")
                   | checkpoint.named({k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in control.items()},
                                      "control"))
        meta = {"response": genes[1], "codes": latents[1], "share": dict(self.codes.share),
                "scale": dict(self.codes.scale), "left_out": list(self.arms.left_out)}
        return tensors, meta


def stored(model: ResponseModel) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return a model of responses as tensors and plain JSON; text among its arrays is in the latter."""
    arrays, about = model.to_arrays()
    texts = {k: v.tolist() for k, v in arrays.items() if v.dtype.kind in "OSU"}
    numbers = {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in arrays.items() if k not in texts}
    return numbers, json.loads(json.dumps({"about": about, "texts": texts}))


def restored(tensors: dict[str, Tensor], meta: dict[str, Any]) -> ResponseModel:
    """Return the model that `stored` took apart."""
    arrays = {k: v.numpy() for k, v in tensors.items()} | {k: np.array(v, str) for k, v in meta["texts"].items()}
    return ResponseModel.from_arrays(arrays, meta["about"])


def cells_of(prepared: Prepared, rows: np.ndarray) -> move.Cells:
    """Return cells of a dataset, to be moved."""
    return move.Cells(prepared.counts[rows], np.asarray(prepared.total_counts[rows], np.float32))
