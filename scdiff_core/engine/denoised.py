"""Real cells as a codec sees them: their codes, and the expression that these say, without the noise of counting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scdiff_core import keys
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine.batches import Cells
from scdiff_core.engine.model import Model
from scdiff_core.nn.codec import Codec

MOST = 20_000  # real cells that are looked at
CHUNK = 1024


def levels(codec: Codec, z: Tensor, genes: Tensor) -> Tensor:
    """Return the denoised expression [B, k] of some genes at codes z [B, D]; log1p at 10,000 counts a cell.

    Of counts it is log1p(10,000 · the gene's share), whatever the library size; of continuous values their mean.
    """
    likelihood = codec.decode(z)
    if not codec.counts:
        return likelihood.mean.index_select(1, genes)
    log_total = codec.library.log_total(z[:, -1:])
    share = (likelihood.log_mean.index_select(1, genes) - log_total).exp()  # type: ignore[union-attr]
    return torch.log1p(keys.TARGET_SUM * share)


@dataclass(frozen=True)
class Denoised:
    """The training cells of a model, at most `MOST`, drawn evenly.

    Attributes
    ----------
    rows
        Which cells of the prepared dataset, int64 [N].
    z
        One draw of their codes, [N, D]: a cell's own code is known as well as its counts say, no better.
    types
        Their cell types as text [N]; "" where there is none.
    """

    model: Model
    rows: np.ndarray
    z: Tensor
    types: np.ndarray

    @classmethod
    def of(cls, model: Model, prepared: Prepared, split: str = keys.TRAIN, seed: int = 0) -> Denoised:
        """Encode the cells of a split."""
        cells = Cells(prepared, prepared.rows(split), model.device).some(MOST)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            z = torch.cat([model.codec.encode(b.log1p, b.total).sample(generator) for b in cells.chunks(CHUNK)])
        known = prepared.roles.cell_type is not None
        types = prepared.labels(keys.CELL_TYPE)[cells.rows] if known else np.full(len(cells.rows), "")
        return cls(model, cells.rows, z, types)

    @torch.no_grad()
    def levels(self, genes: tuple[str, ...]) -> dict[str, np.ndarray]:
        """Return gene -> denoised expression [N] (log1p) of known genes."""
        place = {str(g): i for i, g in enumerate(self.model.genes)}
        index = torch.tensor([place[g] for g in genes], dtype=torch.int64, device=self.z.device)
        found = torch.cat([levels(self.model.codec, self.z[i:i + CHUNK], index)
                           for i in range(0, len(self.z), CHUNK)]).cpu().numpy()
        return {g: found[:, i] for i, g in enumerate(genes)}
