"""Small pictures of a training: generated cells among the real ones, written as it goes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from scdiff_core import keys
from scdiff_core.data.embed import Landmarks
from scdiff_core.data.prepared import Prepared, to_log1p
from scdiff_core.diffusion.sampler import DPMSolver
from scdiff_core.engine.batches import Cells
from scdiff_core.engine.schedules import denoiser_of
from scdiff_core.engine.train_diffusion import DiffusionPhase
from scdiff_core.workspace import JobDir, atomic_write, read_json, write_json

N_CELLS = 300
STEPS = 6  # of DPM-Solver++: enough for a picture
SHARE = 0.12  # of the time that pictures may take
REAL_MAX = 20_000  # real cells in the picture
KEEP = 120  # snapshots; beyond, every second of the older ones goes


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays as one npz, atomically."""
    def write(target: Path) -> None:
        with open(target, "wb") as handle:
            np.savez(handle, **arrays)  # type: ignore[arg-type]

    atomic_write(path, write)


class Preview:
    """Writes `real.npz` once, and `snap_<step>.npz` with `index.json` at intervals.

    The same noise and the same conditions are used each time, so that a cell can be followed from
    snapshot to snapshot. Cells are placed by their nearest real ones (`Landmarks`), with the distance to
    real beside it.

    Parameters
    ----------
    every
        Seconds between two snapshots; more where a snapshot would cost over an eighth of the time.
    """

    def __init__(self, job: JobDir, prepared: Prepared, cells: Cells, train_rows: np.ndarray, every: float,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.job, self.prepared, self.every, self.clock = job, prepared, every, clock
        self.landmarks = Landmarks(prepared.X_pca[train_rows], prepared.X_umap[train_rows])
        generator = torch.Generator().manual_seed(0)
        self.rows = torch.randint(len(cells), (N_CELLS,), generator=generator)
        self.condition = cells.condition.rows(self.rows.to(cells.device))
        codes, self.names = self._codes(prepared)
        self.codes = codes[train_rows][self.rows.numpy()]
        shown = train_rows
        if len(shown) > REAL_MAX:
            shown = np.sort(np.random.default_rng(0).choice(shown, REAL_MAX, replace=False))
        write_arrays(job.preview / "real.npz", {
            "xy": prepared.X_umap[shown].astype(np.float32), "pca2": prepared.X_pca[shown, :2].astype(np.float32),
            "codes": codes[shown], "names": np.array(json.dumps(self.names))})
        self.next = -np.inf

    @staticmethod
    def _codes(prepared: Prepared) -> tuple[np.ndarray, list[str]]:
        """Return the code of each cell's type (or of the first covariate there is), and what codes mean."""
        covariates = prepared.vocab.categorical
        if not covariates:
            return np.zeros(prepared.n_cells, np.int32), ["cells"]
        chosen = next((i for i, c in enumerate(covariates) if c.role == keys.CELL_TYPE), 0)
        codes, _ = prepared.vocab.encode(prepared.obs)
        return codes[:, chosen].astype(np.int32), list(covariates[chosen].values)

    def due(self) -> bool:
        """Say whether it is time for a snapshot."""
        return self.clock() >= self.next

    @torch.no_grad()
    def write(self, step: int, phase: DiffusionPhase) -> None:
        """Write the snapshot of a step, drawn from the average weights of now."""
        began = self.clock()
        generator = torch.Generator().manual_seed(1)
        denoiser = denoiser_of(phase.averaged(), phase.config, phase.table)
        sampler = DPMSolver(denoiser, denoiser.schedule, STEPS)
        x = sampler.start(N_CELLS, phase.codec.n_dims, generator, phase.device)
        z = sampler.sample(x, self.condition, generator)
        values, total = (v.cpu().numpy() for v in phase.codec.sample(z, generator))
        if phase.codec.counts:
            import scipy.sparse as sp

            values = to_log1p(sp.csr_matrix(values), total)
        pca = self.prepared.project(values)
        xy, distance = self.landmarks.place(pca)
        write_arrays(self.job.preview / f"snap_{step}.npz", {
            "xy": xy.astype(np.float32), "pca2": pca[:, :2].astype(np.float32), "codes": self.codes,
            "distance": distance.astype(np.float32), "step": np.array(step)})
        self._index([*(s for s in self.steps() if s < step), step])
        spent = self.clock() - began
        self.next = began + max(self.every, spent / SHARE)

    def steps(self) -> list[int]:
        """Return the steps of the snapshots so far."""
        index = read_json(self.job.preview / "index.json", {})
        return [int(s) for s in index.get("snapshots", [])]

    def _index(self, steps: list[int]) -> None:
        """Write which snapshots there are, thinning the older ones out; files of no entry are removed."""
        if len(steps) > KEEP:
            steps = steps[:KEEP // 2:2] + steps[KEEP // 2:]
        write_json(self.job.preview / "index.json", {"snapshots": steps})
        kept = {f"snap_{s}.npz" for s in steps}
        for path in self.job.preview.glob("snap_*.npz"):
            if path.name not in kept:
                path.unlink(missing_ok=True)
