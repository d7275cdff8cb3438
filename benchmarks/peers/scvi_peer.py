"""Cells from scVI (scvi-tools), made in three ways: one peer script, run by the Python of the peers' environment.

    python scvi_peer.py FOLDER

FOLDER holds `train.npz` (counts csr of the training cells), `train_cells.npz` (their cell types and groups, and the
totals over all genes) and `request.json` ({"rows": training cells whose type and library size are asked for, "seed":
..., "epochs": null or a number}). For each method it writes `METHOD.npz` (counts csr) and at the end `result.json`:
the CPU seconds of training and of generating, and the versions. A peer knows nothing else of the benchmark.

Every model has the package's own defaults: 10 latents, one hidden layer of 128, zero-inflated negative binomial, 90 %
of the given cells to learn from, and as many epochs as it chooses itself (400 for up to 20,000 cells). Library sizes
are those of training cells of the group asked for.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch: CPU seconds are compared

import numpy as np
import scipy.sparse as sp
import torch

CHUNK = 500  # cells decoded together


def quiet() -> None:
    """Leave stderr to errors."""
    warnings.filterwarnings("ignore")
    for name in ("scvi", "lightning", "pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)


class Clock:
    """CPU seconds of this process since it was made."""

    def __init__(self) -> None:
        self.began = time.process_time()

    def __call__(self) -> float:
        return round(time.process_time() - self.began, 2)


def codes_of(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted names and each cell's index among them."""
    names, codes = np.unique(labels, return_inverse=True)
    return names, codes


def decode(module: object, z: np.ndarray, library: np.ndarray, cats: np.ndarray | None) -> sp.csr_matrix:
    """Sample counts [n, G] from codes [n, D], log library sizes [n, 1] and categories [n, 1]."""
    parts = []
    for start in range(0, len(z), CHUNK):
        rows = slice(start, start + CHUNK)
        place = torch.as_tensor(z[rows], dtype=torch.float32)
        batch = torch.zeros(len(place), 1, dtype=torch.long)
        cat = None if cats is None else torch.as_tensor(cats[rows], dtype=torch.long)
        size = torch.as_tensor(library[rows], dtype=torch.float32)
        out = module.generative(z=place, library=size, batch_index=batch, cat_covs=cat)
        parts.append(sp.csr_matrix(out["px"].sample().numpy().astype(np.float32)))
    return sp.vstack(parts, format="csr")


def main(folder: Path) -> None:
    """Train what is needed and write the cells of each method."""
    import anndata
    import scvi

    quiet()
    asked = json.loads((folder / "request.json").read_text())
    seed, epochs, rows = int(asked["seed"]), asked["epochs"], np.asarray(asked["rows"])
    counts = sp.load_npz(folder / "train.npz").tocsr().astype(np.float32)
    with np.load(folder / "train_cells.npz", allow_pickle=False) as cells:
        groups = cells["groups"].astype(str)
    torch.set_num_threads(1)
    scvi.settings.seed = seed
    rng = np.random.default_rng(seed)
    library = np.log(np.maximum(np.asarray(counts.sum(1)).ravel(), 1))[rows, None]
    how = {"accelerator": "cpu", "devices": 1, "enable_progress_bar": False, "logger": False,
           "enable_checkpointing": False}
    done: dict[str, dict[str, object]] = {}

    def put(name: str, made: sp.csr_matrix, train_s: float, generate_s: float, labelled: bool) -> None:
        sp.save_npz(folder / f"{name}.npz", made)
        done[name] = {"train_s": train_s, "generate_s": round(generate_s * 1000 / len(rows), 2), "labelled": labelled}
        print(f"{name}: {train_s:.0f} CPU s", file=sys.stderr, flush=True)

    # 1. scVI without labels: its prior, and the posterior codes of training cells of the type
    adata = anndata.AnnData(counts.copy())
    adata.obs["group"] = groups
    clock = Clock()
    scvi.model.SCVI.setup_anndata(adata)
    plain = scvi.model.SCVI(adata)
    plain.train(max_epochs=epochs, **how)
    train_s = clock()
    plain.module.eval()
    with torch.no_grad():
        clock = Clock()
        z = rng.standard_normal((len(rows), plain.module.n_latent))
        put("scvi_prior", decode(plain.module, z, library, None), train_s, clock(), False)
        clock = Clock()
        mean, variance = plain.get_latent_representation(return_dist=True)
        z = mean[rows] + np.sqrt(variance[rows]) * rng.standard_normal((len(rows), mean.shape[1]))
        put("scvi_posterior", decode(plain.module, z, library, None), train_s, clock(), True)

    # 2. scVI with the group as a covariate of the decoder: a conditional VAE's prior
    if len(np.unique(groups)) > 1:
        clock = Clock()
        scvi.model.SCVI.setup_anndata(adata, categorical_covariate_keys=["group"])
        conditional = scvi.model.SCVI(adata)
        conditional.train(max_epochs=epochs, **how)
        train_s = clock()
        conditional.module.eval()
        _, codes = codes_of(groups)
        with torch.no_grad():
            clock = Clock()
            z = rng.standard_normal((len(rows), conditional.module.n_latent))
            put("scvi_by_type", decode(conditional.module, z, library, codes[rows, None]), train_s, clock(), True)

    (folder / "result.json").write_text(json.dumps({
        "methods": done, "epochs": epochs, "seed": seed, "python": sys.version.split()[0],
        "versions": {"scvi-tools": scvi.__version__, "torch": torch.__version__, "numpy": np.__version__}}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
