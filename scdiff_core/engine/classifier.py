"""A classifier of noisy codes for a column that a model was not trained with, fitted in seconds and kept in the run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from scdiff_core.config import ByLabel, GenerateConfig
from scdiff_core.data.label_columns import check
from scdiff_core.data.prepared import Prepared
from scdiff_core.data.vocab import as_labels
from scdiff_core.engine import checkpoint
from scdiff_core.engine.denoised import Denoised
from scdiff_core.engine.model import Model
from scdiff_core.engine.objectives import Types
from scdiff_core.errors import ScdiffError, nearest
from scdiff_core.workspace import JobDir

FOLDER = "classifiers"


class LabelClassifier(Types):
    """Which label of a column noisy codes have, by linear discriminant analysis at every level of noise (`Types`).

    The library size, the last dimension of codes of counts, takes no part: labels are not asked of the depth.
    """

    def __init__(self, z: Tensor, labels: np.ndarray, n_latent: int) -> None:
        super().__init__(z[:, :n_latent], labels)
        self.n_latent = n_latent

    def gradient(self, x: Tensor, sigma: Tensor, label: int) -> Tensor:
        """Return the gradient [B, D] of log P(label | x) in codes x with noise of spread sigma.

        With w_k = (S + sigma^2)^-1 mean_k it is w_label - sum_k P(k | x) w_k.
        """
        weights = (self.means / (self.spread + sigma**2)) @ self.axes.T
        share = self.log_prob(x[:, :self.n_latent], sigma).exp()
        out = torch.zeros_like(x)
        out[:, :self.n_latent] = weights[label] - share @ weights
        return out

    def index(self, value: str, column: str) -> int:
        """Return the place of a label; raises `ScdiffError` where it is unknown."""
        if value not in self.names:
            raise ScdiffError(f"'{column}' has no value '{value}' to guide towards.",
                              nearest(value, self.names) or "Its values with enough cells are "
                              + ", ".join(self.names[:10]) + ".", "Use one of these.")
        return self.names.index(value)

    def save(self, path: Path, about: dict[str, object]) -> None:
        """Write it as safetensors, with its labels and what it belongs to."""
        tensors = {"spread": self.spread, "axes": self.axes, "means": self.means, "log_share": self.log_share}
        checkpoint.save(path, tensors, {**about, "names": self.names, "n_latent": self.n_latent})

    @classmethod
    def load(cls, path: Path, device: torch.device) -> tuple[LabelClassifier, dict[str, object]]:
        """Open what `save` wrote, and what it belongs to; raises `ScdiffError` where it is damaged."""
        tensors, about = checkpoint.load(path)
        made = cls.__new__(cls)
        made.names, made.n_latent = list(about["names"]), int(about["n_latent"])
        made.spread, made.axes, made.means, made.log_share = (
            tensors[k].to(device) for k in ("spread", "axes", "means", "log_share"))
        return made, about


def ready(model: Model, job: JobDir, prepared: Prepared | None, asked: ByLabel,
          where: Mapping[str, str] = MappingProxyType({})) -> LabelClassifier:
    """Return the classifier for a column: the one kept in the run, or a new one, which is kept; `where`: conditions.

    Raises
    ------
    ScdiffError
        As `check`; or the dataset of the run is not at hand, and no classifier was kept.
    """
    if prepared is None:
        raise ScdiffError(f"There is no classifier for '{asked.column}'.",
                          "It is trained on the cells of the run's dataset, which is not in this workspace.",
                          "Prepare the dataset here, or leave the classifier out.")
    column, able = check(prepared, asked, where)
    path = job.path / FOLDER / f"{hashlib.sha256(column.encode()).hexdigest()[:16]}.safetensors"
    about = {"column": column, "fingerprint": prepared.fingerprint, "step": model.step}
    if path.exists():
        try:
            kept, its = LabelClassifier.load(path, model.device)
        except ScdiffError:
            kept, its = None, {}  # damaged: fitted anew below
        if kept is not None and all(its.get(k) == v for k, v in about.items()):
            return kept
    real = Denoised.of(model, prepared)
    labels = as_labels(prepared.obs[column])[real.rows]
    labels = np.where(np.isin(labels, able), labels, "")
    made = LabelClassifier(real.z, labels, model.codec.n_latent)
    path.parent.mkdir(exist_ok=True)
    made.save(path, about)
    return made


def classifiers_for(model: Model, job: JobDir, config: GenerateConfig, dataset: Callable[[], Prepared | None],
                    tell: Callable[[str, float], object] = lambda phase, share: None) -> tuple[LabelClassifier, ...]:
    """Return the classifiers that a request needs, in its order; `dataset` opens the dataset of the run."""
    if not config.classifier:
        return ()
    tell("training the classifier", 0.0)
    prepared = dataset()
    return tuple(ready(model, job, prepared, label, config.where) for label in config.classifier)
