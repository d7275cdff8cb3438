"""Real cells as a codec sees them: their codes, and the expression that these say, without the noise of counting."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from scdiff_core import keys
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine.batches import Cells
from scdiff_core.engine.calibrate import draw_codes
from scdiff_core.engine.model import Model
from scdiff_core.nn.codec import VAE, Codec, CountHead

MOST = 50_000  # real cells that are looked at
CHUNK = 1024


def levels(codec: Codec, z: Tensor, genes: Tensor) -> Tensor:
    """Return the denoised expression [B, k] of some genes at codes z [B, D]; log1p at 10,000 counts a cell.

    Of counts it is log1p(10,000 · the gene's share), whatever the library size; of continuous values their mean.
    """
    if not codec.counts:
        return codec.decode(z).mean.index_select(1, genes)
    return torch.log1p(keys.TARGET_SUM * codec.log_share(z, genes).exp())


@dataclass(frozen=True, eq=False)
class Denoised:
    """The cells of a split of a model's dataset, at most `MOST`, drawn evenly.

    Attributes
    ----------
    rows
        Which cells of the prepared dataset, int64 [N].
    z
        One draw of their codes, [N, D]: a cell's own code is known as well as its counts say, no better.
    types
        Their cell types as text [N]; "" where there is none.
    codes, conts
        Their conditions, int64 [N, Ccat] and float32 [N, Ccont].
    """

    model: Model
    rows: np.ndarray
    z: Tensor
    types: np.ndarray
    codes: np.ndarray
    conts: np.ndarray
    known: dict[str, np.ndarray] = field(default_factory=dict, repr=False)  # gene -> levels: edited again and again
    kept: dict[str, Tensor] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, model: Model, prepared: Prepared, split: str = keys.TRAIN, seed: int = 0,
           rows: np.ndarray | None = None) -> Denoised:
        """Encode the cells of a split, or some rows."""
        cells = Cells(prepared, prepared.rows(split) if rows is None else rows, model.device).some(MOST)
        z = draw_codes(model.codec, cells, torch.Generator().manual_seed(seed), CHUNK)
        known = prepared.roles.cell_type is not None
        types = prepared.labels(keys.CELL_TYPE)[cells.rows] if known else np.full(len(cells.rows), "")
        return cls(model, cells.rows, z, types, cells.condition.codes.cpu().numpy(),
                   cells.condition.conts.cpu().numpy())

    def __len__(self) -> int:
        return len(self.rows)

    @torch.no_grad()
    def levels(self, genes: tuple[str, ...]) -> dict[str, np.ndarray]:
        """Return gene -> denoised expression [N] (log1p) of known genes; each is reckoned once."""
        new = tuple(g for g in dict.fromkeys(genes) if g not in self.known)
        if new:
            place = {str(g): i for i, g in enumerate(self.model.genes)}
            index = torch.tensor([place[g] for g in new], dtype=torch.int64, device=self.z.device)
            found = self._levels(index).cpu().numpy()
            self.known.update({g: np.ascontiguousarray(found[:, i]) for i, g in enumerate(new)})
        return {g: self.known[g] for g in genes}

    def _levels(self, index: Tensor) -> Tensor:
        """Return the levels [N, k] of some genes; of counts by features that are kept, since their sums take long."""
        codec = self.model.codec
        if not (isinstance(codec, VAE) and isinstance(codec.head, CountHead)):
            return torch.cat([levels(codec, self.z[i:i + CHUNK], index) for i in range(0, len(self.z), CHUNK)])
        head = codec.head.logits
        if not self.kept:
            hidden, norm = [], []
            for i in range(0, len(self.z), CHUNK):
                z = self.z[i:i + CHUNK]
                raw = torch.cat([z[:, :codec.n_latent] * codec.scale + codec.shift, z[:, codec.n_latent:]], 1)
                hidden.append(codec.decoder(raw))
                norm.append(head(hidden[-1]).logsumexp(1))
            self.kept.update(hidden=torch.cat(hidden), norm=torch.cat(norm))
        logits = self.kept["hidden"] @ head.weight[index].T + head.bias[index]
        return torch.log1p(keys.TARGET_SUM * (logits - self.kept["norm"][:, None]).exp())
