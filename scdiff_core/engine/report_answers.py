"""What a model of perturbations answers when it is judged: whole, its mean alone, and by its codec (latent arithmetic).

What a report and the benchmark ask are these; nothing here looks at a held-out cell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from scdiff_core.analysis.metrics import dense
from scdiff_core.analysis.perturb.baselines import Guess, Known, moved
from scdiff_core.analysis.perturb.splits import Condition
from scdiff_core.data.prepared import Prepared, to_log1p
from scdiff_core.engine.batches import Cells
from scdiff_core.engine.generate import sparse
from scdiff_core.engine.perturb_model import PerturbModel, Predicted

Encode = Callable[[np.ndarray], np.ndarray]
Decode = Callable[[np.ndarray, int], Any]


def whole(model: PerturbModel, condition: Condition, n: int, seed: int) -> tuple[Guess, Predicted]:
    """Ask a model for `n` cells of a condition.

    Raises
    ------
    ScdiffError
        It refuses.
    """
    what, dose, kind = condition
    where = {str(model.roles.cell_type): kind} if kind else {}
    found = model.ask(what, dose, where, n_cells=n, seed=seed)
    change = found.response.mean - found.response.control
    return Guess(dense(found.log1p), found.control_mean + change, found.response.how), found


def mean_alone(response: Any, known: Known, condition: Condition, n: int, seed: int) -> tuple[Guess, Any]:
    """Move control cells by the predicted mean as every baseline moves them; returns them and the response.

    Raises
    ------
    ScdiffError
        The model refuses.
    """
    found = response.predict(*condition)
    rng = np.random.default_rng(seed)
    return moved(known, condition[2], found.mean - found.control, n, rng, found.how), found


def codec_calls(prepared: Prepared, codec: Any, seed: int) -> tuple[Encode, Decode]:
    """Return what latent arithmetic needs of a calibrated codec; the library size moves with the rest."""
    @torch.no_grad()
    def encode(rows: np.ndarray) -> np.ndarray:
        cells = Cells(prepared, rows, torch.device("cpu"))
        generator = torch.Generator().manual_seed(seed)
        return torch.cat([codec.encode(m.log1p, m.total).sample(generator) for m in cells.chunks()]).numpy()

    @torch.no_grad()
    def decode(z: np.ndarray, seed: int) -> Any:
        values, total = codec.sample(torch.from_numpy(z.astype(np.float32)), torch.Generator().manual_seed(seed))
        made = sparse(values.numpy())
        return to_log1p(made, total.numpy()) if codec.counts else made

    return encode, decode
