"""A trained model, opened from its run directory alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

import scdiff_core
from scdiff_core import keys
from scdiff_core.config import Roles, TrainConfig
from scdiff_core.data.prepared import Prepared
from scdiff_core.data.vocab import Vocab
from scdiff_core.diffusion.denoiser import Preconditioned
from scdiff_core.engine import checkpoint
from scdiff_core.engine.device import choose
from scdiff_core.engine.schedules import denoiser_of
from scdiff_core.engine.train_codec import build_codec
from scdiff_core.engine.train_diffusion import TABLE, build_backbone
from scdiff_core.errors import ScdiffError
from scdiff_core.nn.codec import Codec
from scdiff_core.workspace import JobDir


@dataclass(frozen=True)
class Sizes:
    """What the shapes of the networks follow from, besides the configuration."""

    n_genes: int
    n_pca: int
    counts: bool
    positive: bool
    n_values: tuple[int, ...]
    n_continuous: int

    def to_dict(self) -> dict[str, Any]:
        """Return the sizes as plain JSON."""
        return {**asdict(self), "n_values": list(self.n_values)}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Sizes:
        """Make the sizes from what `to_dict` returned."""
        return cls(**{**value, "n_values": tuple(value["n_values"])})


def write_reference(job: JobDir, prepared: Prepared, config: TrainConfig, sizes: Sizes,
                    rows: np.ndarray) -> None:
    """Write what a model needs to know of its data: genes, vocabulary, and the training cells' conditions."""
    codes, conts = prepared.vocab.encode(prepared.obs.iloc[rows])
    tensors = {"codes": torch.from_numpy(codes.astype(np.int32)), "conts": torch.from_numpy(conts),
               "total_counts": torch.from_numpy(np.asarray(prepared.total_counts[rows], np.float32))}
    checkpoint.save(checkpoint.path_of(job, checkpoint.REFERENCE), tensors, {
        "dataset": config.dataset, "fingerprint": config.fingerprint, "values": prepared.values,
        "genes": [str(g) for g in prepared.genes], "vocab": prepared.vocab.to_dict(),
        "roles": prepared.roles.model_dump(), "sizes": sizes.to_dict(), "version": scdiff_core.__version__})


@dataclass(frozen=True)
class Model:
    """A codec and a denoiser, with the names that their indices mean.

    Parameters
    ----------
    codes, conts, total_counts
        The conditions and library sizes of the training cells: int64 [N, Ccat], float32 [N, Ccont] and [N].
    """

    run: str
    config: TrainConfig
    codec: Codec
    denoiser: Preconditioned
    genes: np.ndarray
    values: str
    vocab: Vocab
    roles: Roles
    codes: np.ndarray
    conts: np.ndarray
    total_counts: np.ndarray
    device: torch.device
    step: int

    @property
    def counts(self) -> bool:
        """Whether it makes counts, and not continuous values."""
        return self.values == keys.COUNTS

    @classmethod
    def load(cls, job: JobDir, device: str = "auto", which: str = checkpoint.BEST) -> Model:
        """Open the model of a run.

        Parameters
        ----------
        which
            `best` on held-out cells, or `last`.

        Raises
        ------
        ScdiffError
            It is not trained yet, damaged, or from a newer version.
        """
        config = job.config()
        if config.task != "generate":
            raise ScdiffError(f"The run '{job.id}' does not generate cells.",
                              "It was trained to predict perturbations.",
                              "Ask it on the Perturb page, or with `predict`.")
        state, meta = checkpoint.load(checkpoint.path_of(job, which))
        if meta["phase"] != "diffusion":
            raise ScdiffError(f"The run '{job.id}' has no model yet.",
                              "It was stopped before the diffusion model began to learn.", "Resume it.")
        reference, about = checkpoint.load(checkpoint.path_of(job, checkpoint.REFERENCE))
        sizes = Sizes.from_dict(about["sizes"])
        where = choose(device)
        codec = build_codec(config.codec, sizes.n_genes, sizes.counts, sizes.positive, sizes.n_pca)
        network = build_backbone(config.diffusion, codec.n_dims, sizes.n_values, sizes.n_continuous)
        try:
            codec.load_state_dict(checkpoint.under(state, "codec"))
            network.load_state_dict(checkpoint.under(state, "average"))
        except RuntimeError as error:
            raise ScdiffError(f"The model of the run '{job.id}' cannot be opened.",
                              "Its weights do not fit its configuration.",
                              "Restore config.yaml and the checkpoints from the same copy. "
                              "A run of an earlier version of scDiff Studio has to be trained again.") from error
        table = state.get(TABLE)
        if config.diffusion.schedule == "custom" and table is None:
            raise ScdiffError(f"The model of the run '{job.id}' cannot be opened.", "Its own schedule is missing.",
                              "Restore config.yaml and the checkpoints from the same copy.")
        codec.to(where).eval().requires_grad_(False)
        network.to(where).eval().requires_grad_(False)
        return cls(run=job.id, config=config, codec=codec, denoiser=denoiser_of(network, config.diffusion, table),
                   genes=np.array(about["genes"], dtype=str), values=about["values"],
                   vocab=Vocab.from_dict(about["vocab"]), roles=Roles(**about["roles"]),
                   codes=reference["codes"].numpy().astype(np.int64), conts=reference["conts"].numpy(),
                   total_counts=reference["total_counts"].numpy(), device=where, step=int(meta["step"]))
