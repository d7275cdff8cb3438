"""Data that needs no file of one's own."""

from __future__ import annotations

import os
import urllib.request
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scdiff_core.errors import ScdiffError, nearest
from scdiff_core.workspace import atomic_write

DEMOS: dict[str, tuple[str, str]] = {
    "pbmc68k": ("Blood cells, 700 (offline)",
                "700 peripheral blood mononuclear cells of ten types, 765 genes (10x Genomics, bundled with "
                "scanpy). Log-normalised; the counts are recovered exactly."),
    "pbmc3k": ("Blood cells, 2,700 (download)",
               "2,700 peripheral blood mononuclear cells, 32,738 genes, raw counts without labels "
               "(10x Genomics, CC BY 4.0; 6 MB from the scanpy data site)."),
    "perturb": ("A simulated Perturb-seq (offline)",
                "5,000 simulated cells of four types with knock-downs, activations, pairs, a dose series and "
                "a stimulus, whose true effects are known."),
}
PBMC3K_URL = "https://falexwolf.de/data/pbmc3k_raw.h5ad"  # where `scanpy.datasets.pbmc3k` takes it from


def load_demo(name: str, progress: Callable[[str], None] | None = None) -> Any:
    """Return the AnnData of a demo: ``pbmc68k``, ``pbmc3k`` or ``perturb``, as a file would give it.

    Raises
    ------
    ScdiffError
        There is no such demo, or `pbmc3k` cannot be downloaded.
    """
    say = progress or (lambda words: None)
    if name == "pbmc68k":
        return _pbmc68k()
    if name == "pbmc3k":
        return _pbmc3k(say)
    if name == "perturb":
        from scdiff_core.data.simulate import simulate

        say("Simulating 5,000 cells")
        return simulate()
    raise ScdiffError(f"There is no demo '{name}'.",
                      nearest(name, DEMOS) or "The demos are " + ", ".join(DEMOS) + ".",
                      "Use demo:pbmc68k, demo:pbmc3k or demo:perturb.")


def _pbmc68k() -> Any:
    """Return the 700 cells × 765 genes of `.raw` (log1p), with the labels a user would give."""
    import scanpy as sc
    from anndata import AnnData

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = sc.datasets.pbmc68k_reduced()
    obs = source.obs[["bulk_labels", "louvain", "phase", "n_counts", "n_genes", "percent_mito"]].copy()
    return AnnData(source.raw.X.copy(), obs=obs, var=source.raw.var[[]].copy())


def _pbmc3k(say: Callable[[str], None]) -> Any:
    import anndata

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scdiff-studio"
    path = cache / "pbmc3k_raw.h5ad"
    if not path.exists():
        try:
            atomic_write(path, lambda temporary: _download(PBMC3K_URL, temporary, say))
        except OSError as error:
            raise ScdiffError("PBMC3k could not be downloaded.",
                              f"{PBMC3K_URL} did not answer ({error}); this computer may be offline.",
                              "Connect it and try again, or use demo:pbmc68k, which needs no network."
                              ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return anndata.read_h5ad(path)
    except Exception as error:
        path.unlink(missing_ok=True)
        raise ScdiffError("The downloaded PBMC3k file cannot be read.",
                          "What came is not the data (a login page of the network, perhaps); it was removed.",
                          "Try again on an open network, or use demo:pbmc68k.") from error


def _download(url: str, path: Path, say: Callable[[str], None]) -> None:
    """Stream `url` into `path`, telling the share done; raises OSError where the network fails."""
    with urllib.request.urlopen(url, timeout=30) as answer, open(path, "wb") as out:
        size = int(answer.headers.get("Content-Length") or 0)
        done = 0
        while chunk := answer.read(1 << 18):
            out.write(chunk)
            done += len(chunk)
            say(f"Downloading PBMC3k: {done / 1e6:.1f} of {size / 1e6:.1f} MB")
        if size and done < size:
            raise OSError(f"only {done} of {size} bytes came")
