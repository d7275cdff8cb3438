"""A codec that begins with the weights of another run's, gene by gene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scdiff_core.data.prepared import Prepared
from scdiff_core.engine import checkpoint
from scdiff_core.errors import ScdiffError
from scdiff_core.nn.codec import Codec
from scdiff_core.workspace import JobDir, Workspace

LEAST = 0.5  # share of the genes that the other run has to know
# what is read off the cells at hand, or made by calibration
LEARNT_ANEW = ("shift", "scale", "table", "library.", "centre", "components", "smallest")


def find(name: str, prepared: Prepared) -> JobDir:
    """Return a run by its name beside the dataset, by the path of its folder, or of its best.safetensors."""
    path = Path(name).expanduser()
    if path.suffix == ".safetensors":
        path = path.parent.parent
    if "/" in name:
        return JobDir(path, "train")
    assert prepared.path is not None
    return Workspace(prepared.path.parent.parent).open("train", name)


def begin_with(codec: Codec, prepared: Prepared, name: str, same_genes: bool = False) -> int:
    """Put the codec of another run into a new one, to be trained further; returns how many genes it knew.

    What belongs to a gene goes to the gene of that name; genes that the other run did not have stay as they began.

    Parameters
    ----------
    same_genes
        Whether both have to have the same genes in the same order.

    Raises
    ------
    ScdiffError
        The run is not there or not trained, its codec has another shape, or too few genes are the same.
    """
    job = find(name, prepared)
    state, _ = checkpoint.load(checkpoint.path_of(job, checkpoint.BEST))
    _, about = checkpoint.load(checkpoint.path_of(job, checkpoint.REFERENCE))
    genes = np.array(about["genes"], str)
    what = f"The codec of '{job.id}' cannot be trained further on '{prepared.name}'."
    shared = len(np.intersect1d(genes, prepared.genes))
    if same_genes and not np.array_equal(genes, prepared.genes):
        raise ScdiffError(what, f"They have to have the same {prepared.n_genes:,} genes in the same order; "
                          f"{shared:,} are shared.", "Prepare both data sets with the same genes (--keep-genes).")
    if shared < LEAST * prepared.n_genes:
        raise ScdiffError(what, f"It knows {shared:,} of the {prepared.n_genes:,} genes; at least "
                          f"{100 * LEAST:.0f} % are needed.",
                          "Check that both name genes alike, or prepare the data with the genes of that run.")
    own = codec.state_dict()
    old = {k: v for k, v in checkpoint.under(state, "codec").items() if not k.startswith(LEARNT_ANEW)}
    place = {gene: i for i, gene in enumerate(genes)}
    rows = np.array([place.get(str(gene), -1) for gene in prepared.genes])
    fits = set(old) == {k for k in own if not k.startswith(LEARNT_ANEW)}
    moved = {k: _moved(k, own[k], old[k], rows, len(genes)) for k in old} if fits else {}
    if not fits or any(v is None for v in moved.values()):
        raise ScdiffError(what, "Its codec has another shape.",
                          "Use the same preset and the same codec settings for both.")
    codec.load_state_dict(own | {k: v for k, v in moved.items() if v is not None})
    return shared


def _axis(name: str) -> int | None:
    """Return which axis of a codec's parameter has the genes."""
    if name == "encoder.0.weight":
        return 1
    with_genes = name.startswith("head.") or name.split(".")[0] in ("offset", "theta", "slope", "zero", "zero_slope",
                                                                    "spread")
    return 0 if with_genes and not name.endswith((".stray", ".stray_sizes")) else None


def _moved(name: str, own: Tensor, old: Tensor, rows: np.ndarray, n_old: int) -> Tensor | None:
    """Return a parameter with what `old` has of the genes, along the axis that has them; None where it does not fit.

    `rows` says which gene of the old ones each is, -1 for none. The axis may have one entry more than genes (the
    library size, or all other genes).
    """
    d = _axis(name)
    if d is None or not own.numel():
        return old if own.shape == old.shape else None
    more = own.shape[d] - len(rows)
    rest = [i for i in range(own.dim()) if i != d]
    if own.dim() != old.dim() or old.shape[d] != n_old + more or any(own.shape[i] != old.shape[i] for i in rest):
        return None
    new = own.clone()
    new.index_copy_(d, torch.from_numpy(np.flatnonzero(rows >= 0)),
                    old.index_select(d, torch.from_numpy(rows[rows >= 0])))
    if more:
        new.select(d, len(rows)).copy_(old.select(d, n_old))
    return new
