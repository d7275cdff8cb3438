"""Between codec and diffusion: latents of unit spread, and what the likelihood gets wrong, tabulated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scdiff_core.engine.batches import CHUNK, Cells
from scdiff_core.engine.phase import Phase
from scdiff_core.keys import TARGET_SUM
from scdiff_core.nn import quantiles
from scdiff_core.nn.codec import Codec

TABLE_CELLS = 4000  # cells from which the table of quantiles is made
DRAWN_CELLS, DRAWS = 500, 6  # held-out cells on which it is judged, and draws from the codes of each
WEIGHTS = (0.0, 0.5, 1.0)  # how much of the table may be taken
WITHIN = 0.025  # share by which the best score may be missed: a few held-out cells cannot tell better


@dataclass(frozen=True)
class Latents:
    """Mean and standard deviation of the latents of N cells, [N, D]; drawn anew for each minibatch."""

    mean: Tensor
    std: Tensor

    def sample(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return one draw of the latents of some cells (CPU indices), [B, D]."""
        at = rows.to(self.mean.device)
        noise = torch.randn((len(rows), self.mean.shape[1]), generator=generator)
        return self.mean[at] + self.std[at] * noise.to(self.mean.device)


@torch.no_grad()
def encode(codec: Codec, cells: Cells) -> Latents:
    """Return the latents of all cells, unit spread once the codec is calibrated."""
    codec.eval()
    done = [codec.encode(m.log1p, m.total) for m in cells.chunks()]
    return Latents(torch.cat([p.mean for p in done]), torch.cat([p.std for p in done]))


@torch.no_grad()
def draw_codes(codec: Codec, cells: Cells, generator: torch.Generator, size: int = CHUNK) -> Tensor:
    """Return one draw of the codes of all cells, [N, D], so many cells at a time."""
    return torch.cat([codec.encode(b.log1p, b.total).sample(generator) for b in cells.chunks(size)])


@torch.no_grad()
def transforms(codec: Codec, cells: Cells, n_max: int, generator: torch.Generator) -> Tensor:
    """Return the probability integral transforms of cells given their own latents, [n, G]."""
    rows = np.arange(len(cells))
    if len(rows) > n_max:
        rows = torch.randperm(len(rows), generator=generator)[:n_max].sort().values.numpy()
    out = []
    for start in range(0, len(rows), CHUNK):
        m = cells.take(rows[start:start + CHUNK])
        z = codec.encode(m.log1p, m.total).sample(generator)
        out.append(codec.decode(z).pit(m.values, generator))
    return torch.cat(out)


@torch.no_grad()
def redrawn(codec: Codec, cells: Cells, table: Tensor) -> Tensor:
    """Return cells drawn anew from the codes of real ones through a table, log1p [DRAWS N, G].

    The same random numbers are used whatever the table, so that tables can be compared.
    """
    generator = torch.Generator().manual_seed(0)
    before = codec.table.clone()
    codec.table.copy_(table)
    out = []
    for _ in range(DRAWS):
        for m in cells.chunks():
            values, total = codec.sample(codec.encode(m.log1p, m.total).sample(generator), generator)
            out.append(torch.log1p(values * (TARGET_SUM / total)[:, None]) if codec.counts else values)
    codec.table.copy_(before)
    return torch.cat(out)


class CalibratePhase(Phase):
    """One step that trains nothing: it scales the latents and makes the table of quantiles.

    The table is made on the cells that were learnt from, and taken as far as it brings cells drawn from the
    codes of held-out cells nearer to those cells, gene by gene (or no further, within their noise).
    """

    def __init__(self, codec: Codec, cells: Cells, held_out: Cells, seed: int) -> None:
        super().__init__("calibrate", 1, {"codec": codec}, None, seed)
        self.codec, self.cells, self.kept = codec, cells, held_out

    @torch.no_grad()
    def advance(self) -> Tensor:
        """Do it all; the loss is the disagreement with held-out cells that is left (`quantiles.disagreement`)."""
        codec = self.codec
        codec.eval()
        latents = encode(codec, self.cells)
        k = codec.n_latent
        mean, spread = latents.mean[:, :k], latents.std[:, :k]
        variance = mean.var(0, correction=0) + (spread**2).mean(0)
        codec.whiten(codec.shift + codec.scale * mean.mean(0), codec.scale**2 * variance)
        table = quantiles.tabulate(transforms(codec, self.cells, TABLE_CELLS, self.generator))
        few = self.kept.some(DRAWN_CELLS)
        real = torch.cat([m.log1p for m in few.chunks()])
        trials = [quantiles.blend(table, w) for w in WEIGHTS]
        scores = [quantiles.disagreement(real, redrawn(codec, few, t)) for t in trials]
        best = max(i for i, score in enumerate(scores) if score <= min(scores) * (1 + WITHIN))
        codec.table.copy_(trials[best])
        self.score = scores[best]
        self.step = 1
        return torch.tensor(self.score)

    def held_out(self) -> float:
        """Return what `advance` found."""
        return self.score
