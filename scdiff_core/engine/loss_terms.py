"""The terms that a configuration adds to the denoising loss, for a codec and its genes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scdiff_core.analysis.gene_sets import decode_gmt
from scdiff_core.config import LossTerms
from scdiff_core.diffusion.terms import Terms, Weights
from scdiff_core.errors import ScdiffError
from scdiff_core.nn.codec import Codec

FEWEST = 3  # genes that a set has to share with the data


def terms_of(config: LossTerms, codec: Codec, genes: list[str]) -> Terms | None:
    """Return the terms; None where all are off.

    Raises
    ------
    ScdiffError
        A file of gene sets cannot be read, or none of its sets has genes of the data.
    """
    if not config.on:
        return None
    weights = Weights(config.sparsity, config.non_negativity, config.pathways, config.mmd)
    sets = set_weights(config.gene_sets, genes) if config.pathways > 0 else None
    device = codec.shift.device
    return Terms(weights, codec.level, None if sets is None else sets.to(device))


def set_weights(files: tuple[str, ...], genes: list[str]) -> Tensor:
    """Return gene sets as rows of weights that add up to 1, float32 [K, G]; sets of few known genes are left out.

    Raises
    ------
    ScdiffError
        A file cannot be read, or no set has `FEWEST` genes of the data.
    """
    place = {gene.upper(): i for i, gene in enumerate(genes)}
    rows = []
    for name in files:
        try:
            raw = Path(name).expanduser().read_bytes()
        except OSError:
            raise ScdiffError(f"The gene sets '{name}' cannot be read.", "There is no such file.",
                              "Check the path.") from None
        for members in decode_gmt(raw).values():
            at = sorted({place[g.upper()] for g in members if g.upper() in place})
            if len(at) >= FEWEST:
                row = np.zeros(len(genes), np.float32)
                row[at] = 1 / len(at)
                rows.append(row)
    if not rows:
        raise ScdiffError("The pathways cannot be held to.",
                          f"No gene set of {', '.join(Path(n).name for n in files)} has {FEWEST} genes of the dataset.",
                          "Check that both name genes alike (symbols, the same species), or leave the term out.")
    return torch.from_numpy(np.stack(rows))
