"""A trained model of perturbations, opened from its run directory alone: ask it, and get a population of cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from scdiff_core import keys
from scdiff_core.analysis.perturb.kernels import Item
from scdiff_core.analysis.perturb.response import Response, ResponseModel
from scdiff_core.config import PREDICT_CELLS, Roles, TrainConfig
from scdiff_core.data.perturbations import Perturbation, parse
from scdiff_core.data.prepared import to_log1p
from scdiff_core.data.vocab import Vocab
from scdiff_core.engine import checkpoint, move
from scdiff_core.engine.code_response import CodeResponse
from scdiff_core.engine.generate import sparse
from scdiff_core.engine.model import Sizes
from scdiff_core.engine.movers import Movers
from scdiff_core.engine.predicted import Controls, Predicted, together
from scdiff_core.engine.spread import Spread, build_sets, vector
from scdiff_core.engine.train_codec import build_codec
from scdiff_core.engine.train_perturb import restored
from scdiff_core.errors import ScdiffError, nearest
from scdiff_core.nn.codec import Codec
from scdiff_core.workspace import JobDir

MOVED, DIFFUSION = "moved controls", "diffusion"


@dataclass(frozen=True)
class PerturbModel:
    """A codec, the mean responses, and the control cells that populations start from."""

    run: str
    config: TrainConfig
    codec: Codec
    response: ResponseModel
    codes: CodeResponse
    spread: Spread | None
    controls: Controls
    genes: np.ndarray
    values: str
    vocab: Vocab
    roles: Roles
    step: int
    meta: dict[str, Any]
    movers: Movers = field(default_factory=Movers, compare=False, repr=False)

    @property
    def counts(self) -> bool:
        """Whether it makes counts, and not continuous values."""
        return self.values == keys.COUNTS

    @classmethod
    def load(cls, job: JobDir) -> PerturbModel:
        """Open the model of a run.

        Raises
        ------
        ScdiffError
            It is not trained yet, trained for another task, damaged, or from a newer version.
        """
        config = job.config()
        if config.task != "perturb":
            raise ScdiffError(f"The run '{job.id}' does not predict perturbations.",
                              "It was trained to generate cells.",
                              f"Train one with `train {config.dataset} --task perturb`.")
        state, meta = checkpoint.load(checkpoint.path_of(job, checkpoint.BEST))
        _, about = checkpoint.load(checkpoint.path_of(job, checkpoint.REFERENCE))
        sizes = Sizes.from_dict(about["sizes"])
        codec = build_codec(config.codec, sizes.n_genes, sizes.counts, sizes.positive, sizes.n_pca)
        try:
            codec.load_state_dict(checkpoint.under(state, "codec"))
            response = restored(checkpoint.under(state, "response"), meta["response"])
            codes = CodeResponse(restored(checkpoint.under(state, "codes"), meta["codes"]), meta["share"],
                                 meta["scale"])
            spread = None
            if meta.get("sets", {}).get("half") == "diffusion":
                network = build_sets(config.diffusion, codec.n_dims, int(meta["sets"]["n_pert"]))
                network.load_state_dict(checkpoint.under(state, "sets"))
                spread = Spread(network.eval().requires_grad_(False), config.perturb)
        except (RuntimeError, KeyError, TypeError, ValueError) as error:
            raise ScdiffError(f"The model of the run '{job.id}' cannot be opened.",
                              "Its weights do not fit its configuration, or are of an earlier version.",
                              "Restore config.yaml and the checkpoints from the same copy, or train again.") from error
        codec.eval().requires_grad_(False)
        kept = {k: v.numpy() for k, v in checkpoint.under(state, "control").items()}
        values = sp.csr_matrix((kept["data"], kept["indices"], kept["indptr"]),
                               shape=(len(kept["rows"]), sizes.n_genes))
        controls = Controls(move.Cells(values, kept["total"]), kept["rows"], kept["codes"], kept["conts"])
        return cls(run=job.id, config=config, codec=codec, response=response, codes=codes, spread=spread,
                   controls=controls, genes=np.array(about["genes"], dtype=str), values=about["values"],
                   vocab=Vocab.from_dict(about["vocab"]), roles=Roles(**about["roles"]), step=int(meta["step"]),
                   meta=meta)

    def read(self, label: str) -> Perturbation:
        """Read the label of a perturbation.

        Raises
        ------
        ScdiffError
            It is the control, or empty.
        """
        found = parse(label, self.roles.control, self._known())
        if found.is_control:
            raise ScdiffError("There is nothing to predict.", f"'{label}' is the control.",
                              "Name a perturbation, such as " + ", ".join(self._known()[:3]) + ".")
        return found

    def _known(self) -> tuple[str, ...]:
        return self.vocab.find(keys.PERTURBATION).values

    def log1p(self, cells: move.Cells) -> sp.csr_matrix:
        """Return cells as log1p csr [n, G]; continuous values as they are."""
        return to_log1p(cells.values, cells.total) if self.counts else cells.values

    def ask(self, perturbation: str | Perturbation, dose: float | None = None,
            where: Mapping[str, str] | None = None, n_cells: int = PREDICT_CELLS, seed: int = 0) -> Predicted:
        """Predict a population of cells under a perturbation.

        It starts from control cells of the conditions asked for. They are no pairs: the cell that one started from
        is not that cell perturbed. The same seed gives the same cells, and the same control cells for every
        perturbation.

        Parameters
        ----------
        where
            Cell type, batch or time of the cells (column or role -> value).

        Raises
        ------
        ScdiffError
            Nothing is known of the perturbation, a condition is unknown, or no control cell has it.
        """
        what = self.read(perturbation) if isinstance(perturbation, str) else perturbation
        pool = self.pool_of(where or {})
        generator = torch.Generator().manual_seed(seed)
        times = -(-n_cells // len(pool))
        order = torch.cat([torch.randperm(len(pool), generator=generator) for _ in range(times)])[:n_cells]
        rows = pool[order.numpy()]
        types = self.types_of(rows)
        totals = np.empty(n_cells, np.float32)
        parts: list[sp.csr_matrix] = []
        placed: list[np.ndarray] = []
        responses: list[tuple[int, Response]] = []
        means: list[np.ndarray] = []
        pool_types = self.types_of(pool)
        for kind in dict.fromkeys(types.tolist()):
            mine = np.flatnonzero(types == kind)
            mean = np.asarray(self.log1p(self.controls.cells.take(pool[pool_types == kind])).mean(0)).ravel()
            response = self.response.predict(what, dose, kind, mean)
            mover = self._mover(rows[mine], generator)
            item = Item(what, self.response.dose_of(what, dose), kind)
            response = self.codes.blend(response, item, mover)
            moved, total = self._cells(mover, item, response, generator)
            parts.append(sparse(moved.numpy()))
            placed.append(mine)
            totals[mine] = total.numpy()
            responses.append((len(mine), response))
            means.append(mean)
        back = np.argsort(np.concatenate(placed))
        values = sp.vstack(parts, format="csr")[back]
        weight = np.array([n for n, _ in responses], float) / n_cells
        response = together(responses)
        cells = move.Cells(values, totals)
        return Predicted(
            perturbation=what, dose=dose, counts=values, log1p=self.log1p(cells), total=totals, response=response,
            control_mean=np.tensordot(weight, np.array(means), 1), start_rows=self.controls.rows[rows],
            codes=self.controls.codes[rows], conts=self.controls.conts[rows],
            half=MOVED if self.spread is None else DIFFUSION, words=f"Mean: {response.how}. Cells: {self.why()}")

    def _mover(self, rows: np.ndarray, generator: torch.Generator) -> move.Mover:
        """Return what moves some of the control cells; kept for the next question about the same."""
        def make(generator: torch.Generator) -> move.Mover:
            return move.Mover(self.codec, move.tensors(self.controls.cells.take(rows), self.counts), generator)

        return self.movers.get(self.controls.rows[rows], generator, make)

    def why(self) -> str:
        """Say in a sentence which half makes the cells, and what it was held against."""
        sets = self.meta.get("sets", {})
        figures = ""
        if sets.get("n_judged"):
            figures = (f" (E-distance to {sets['n_judged']} left-out populations, by the diffusion and by moved "
                       f"controls: {sets['e_diffusion']:.3g} and {sets['e_moved']:.3g} round the predicted means")
            if "spread_moved" in sets:
                figures += f", {sets['spread_diffusion']:.3g} and {sets['spread_moved']:.3g} round the measured ones"
            figures += ")"
        if self.spread is not None:
            return f"the diffusion, round the predicted mean{figures}."
        depths = " and the predicted depth" if self.counts else ""
        held = "; the diffusion was not better round both" if sets.get("n_judged") else ""
        return f"control cells moved by the predicted mean{depths}{held}{figures}."

    def _cells(self, mover: move.Mover, item: Item, response: Response,
               generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the cells round a mean: values [n, G] and total counts [n]."""
        shift = torch.from_numpy(np.asarray(response.mean - response.control, np.float32))
        delta = self.codes.model.estimate(item, mover.centre.double().numpy())[0]
        if self.spread is None:
            return mover.to(shift, move.depth_of(self.codec, delta))
        pert = torch.from_numpy(vector(self.response.space.embeddings, item.perturbation))
        z = self.spread.codes(mover, torch.from_numpy(delta.astype(np.float32)), pert, generator)
        return mover.drawn(z, shift, generator)

    def pool_of(self, where: Mapping[str, str]) -> np.ndarray:
        """Return the control cells of the conditions asked for, as indices into `controls`."""
        fits = np.ones(len(self.controls.rows), bool)
        for name, value in where.items():
            if value in (keys.ANY, keys.AS_IN_DATA):
                continue
            covariate = self.vocab.find(name)
            if covariate.role in (keys.PERTURBATION, keys.DOSE):
                raise ScdiffError(f"'{name}' is no condition of the cells to start from.",
                                  "They are control cells.", "Name the perturbation and its dose by themselves.")
            if covariate in self.vocab.continuous:
                at = covariate.standard(_number(name, value))
                column = self.controls.conts[:, self.vocab.continuous.index(covariate)]
                fits &= np.abs(column - at) < 1e-4
            else:
                code = self.vocab.index(covariate.column, value)
                fits &= self.controls.codes[:, self.vocab.categorical.index(covariate)] == code
        asked = ", ".join(f"{k} = {v}" for k, v in where.items())
        if not fits.any():
            raise ScdiffError("There are no control cells to start from.", f"No control cell has {asked}.",
                              "Leave one of the conditions out, or choose another value.")
        kinds = self.types_of(np.arange(len(fits)))
        known = fits & (kinds != "")
        return np.flatnonzero(known if known.any() else fits)

    def types_of(self, rows: np.ndarray) -> np.ndarray:
        """Return the cell types of control cells as text [n], "" where there is none."""
        found = [i for i, c in enumerate(self.vocab.categorical) if c.role == keys.CELL_TYPE]
        if not found:
            return np.full(len(rows), "", dtype=object)
        names = np.array([*self.vocab.categorical[found[0]].values, ""], dtype=object)
        return names[self.controls.codes[rows, found[0]]]


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ScdiffError(f"'{name}' cannot be '{text}'.", "It is a number for each cell.",
                          f"Give a number for '{name}'. {nearest(text, [keys.ANY])}".strip()) from None
