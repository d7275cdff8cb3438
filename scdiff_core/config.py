"""What a run was asked to do: frozen pydantic models, one for each kind of job (read from files by `config_files`)."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import Field, ValidationError

from scdiff_core.config_base import FORMAT as FORMAT
from scdiff_core.config_base import Frozen as Frozen
from scdiff_core.config_base import T
from scdiff_core.config_train import CodecConfig as CodecConfig
from scdiff_core.config_train import DiffusionConfig as DiffusionConfig
from scdiff_core.config_train import LossTerms as LossTerms
from scdiff_core.config_train import PerturbConfig as PerturbConfig
from scdiff_core.config_train import TrainConfig as TrainConfig
from scdiff_core.errors import ScdiffError, nearest


class Roles(Frozen):
    """Which obs column plays which part; None where there is none."""

    cell_type: str | None = None
    batch: str | None = None
    perturbation: str | None = None
    control: str | None = None  # the label of unperturbed cells in `perturbation`
    dose: str | None = None
    time: str | None = None

    def columns(self) -> dict[str, str]:
        """Return role -> column for the roles that are played, without `control`."""
        return {k: v for k, v in self.model_dump(exclude={"control"}).items() if v is not None}


class ReadConfig(Frozen):
    """How to read a source where the file alone does not say."""

    layer: str | None = None  # a layer of an .h5ad to take instead of X
    genome: str | None = None  # of a 10x .h5 with several
    orientation: Literal["cells_in_rows", "genes_in_rows"] | None = None  # of a table; None: detected


class QC(Frozen):
    """Thresholds a cell must keep to; None means no bound. Shares are in percent."""

    min_genes: int | None = None
    max_genes: int | None = None
    min_counts: float | None = None
    max_counts: float | None = None
    max_pct_mt: float | None = None
    min_cells_per_gene: int = Field(default=3, ge=0)
    remove_doublets: bool = False


class HoldOut(Frozen):
    """Cells with one of `values` in `column`, and what `also` asks for, go to the test split, all of them."""

    column: str
    values: tuple[str, ...]
    also: tuple[HoldOut, ...] = ()  # so that a perturbation can be held out in one cell type alone

    def columns(self, name: Callable[[str], str]) -> HoldOut:
        """Return the rule with every column under another name."""
        return self.model_copy(update={"column": name(self.column), "also": tuple(a.columns(name) for a in self.also)})


class InspectConfig(Frozen):
    """A look at a source before it is prepared."""

    kind: Literal["inspect"] = "inspect"
    format: int = FORMAT
    source: str
    read: ReadConfig = ReadConfig()


class PrepareConfig(Frozen):
    """From a source to a prepared dataset."""

    kind: Literal["prepare"] = "prepare"
    format: int = FORMAT
    source: str
    name: str
    read: ReadConfig = ReadConfig()
    roles: Roles | None = None  # None: detected
    qc: QC | None = None  # None: proposed from the data (median and MAD)
    genes: int | Literal["all"] = 2000
    keep_genes: tuple[str, ...] = ()
    hold_out: tuple[HoldOut, ...] = ()
    unseen: tuple[str, ...] = ()  # what of the perturbations a model is to guess (`analysis.perturb.hold_out.KINDS`)
    test_fraction: float = Field(default=0.3, gt=0, lt=1)
    seed: int = 0


# as many as each sampler needs, by benchmarks/samplers.py
GUIDANCE = 1.15  # 1 is plain conditional, 0 unconditional; at 1 close cell types blur into each other a little
CLASSIFIER_SCALE = 1.0  # 1: cells as the classifier's probabilities have it (Bayes)
# where no training cell has all the values asked for: of a condition, and of its classifier (benchmarks/modes.py)
UNSEEN_GUIDANCE, UNSEEN_SCALE = 3.0, 4.0
SAMPLER_STEPS = {"dpm": 8, "heun": 14, "ode": 10, "sde": 30, "ddim": 50, "ddpm": 100}


class ByLabel(Frozen):
    """Guidance by a classifier of noisy cells towards a label, of a column that the model was not trained with too."""

    column: str
    value: str
    scale: float = Field(default=CLASSIFIER_SCALE, ge=0)


class GenerateConfig(Frozen):
    """What cells to generate. A covariate that `where` does not name is `as in the data`."""

    kind: Literal["generate"] = "generate"
    format: int = FORMAT
    run: str
    n_cells: int = Field(default=1000, ge=1)
    where: dict[str, str] = Field(default_factory=dict)
    guidance_scale: float = Field(default=GUIDANCE, ge=0)
    guidance: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)  # covariate -> a scale of its own
    classifier: tuple[ByLabel, ...] = ()
    sampler: Literal["dpm", "heun", "ode", "sde", "ddim", "ddpm"] = "dpm"
    steps: int = Field(default=SAMPLER_STEPS["dpm"], ge=1)
    eta: float = Field(default=0.0, ge=0, le=1)  # of ddim
    seed: int = 0


PREDICT_CELLS = 200  # of each perturbation, unless another number is asked for


class PredictConfig(Frozen):
    """Which perturbations to predict, for which cells. A covariate that `where` does not name is as in the controls."""

    kind: Literal["predict"] = "predict"
    format: int = FORMAT
    run: str
    perturbations: tuple[str, ...] = Field(min_length=1)  # "A", "A+B"
    dose: float | None = Field(default=None, ge=0)
    where: dict[str, str] = Field(default_factory=dict)
    n_cells: int = Field(default=PREDICT_CELLS, ge=1)  # of each
    seed: int = 0


def _field_names(model: Any, prefix: str = "") -> list[str]:
    """Return every dotted field name of a model and of the models within it."""
    names: list[str] = []
    for key, info in model.model_fields.items():
        names.append(prefix + key)
        kinds = [info.annotation, *get_args(info.annotation)]
        if get_origin(info.annotation) in (types.UnionType, None):
            names += [n for k in kinds if isinstance(k, type) and issubclass(k, Frozen)
                      for n in _field_names(k, f"{prefix}{key}.")]
    return names


def validate(model: type[T], values: dict[str, Any], where: str) -> T:
    """Make a configuration of `values`; `where` names the file or command for the error.

    Raises
    ------
    ScdiffError
        A field is unknown, missing or out of range; says which, and the nearest known one.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(p) for p in first["loc"]) or model.__name__
        if not first["loc"]:  # settings that do not go together
            raise ScdiffError(f"{where} cannot be used.", f"{first['msg'].removeprefix('Value error, ')}.",
                              "Give both or none of them.") from None
        if first["type"] == "extra_forbidden":
            why = f"There is no setting '{name}'. {nearest(name, _field_names(model))}".strip()
        else:
            why = f"'{name}': {first['msg']}" + (
                f" (it is {first['input']!r})." if first["type"] != "missing" else "."
            )
        raise ScdiffError(f"{where} cannot be used.", why, f"Correct '{name}' and try again.") from None


def override(config: T, settings: list[str] | tuple[str, ...]) -> T:
    """Return `config` with dotted `key=value` settings put in; values are read as yaml.

    Raises
    ------
    ScdiffError
        A setting has no `=`, names no field, or its value does not fit.
    """
    values = config.model_dump()
    known = _field_names(type(config))
    for setting in settings:
        key, eq, text = setting.partition("=")
        if not eq:
            raise ScdiffError(f"The setting '{setting}' cannot be read.", "It has no '='.",
                              "Write it as key=value, for example diffusion.steps=1000.")
        if key not in known:
            raise ScdiffError(f"There is no setting '{key}'.",
                              nearest(key, known) or "No known setting is near that name.",
                              "Known settings: " + ", ".join(known) + ".")
        target = values
        *parents, leaf = key.split(".")
        for parent in parents:
            target = target[parent]
        try:
            target[leaf] = yaml.safe_load(text)
        except yaml.YAMLError:
            target[leaf] = text
    return validate(type(config), values, "The settings")


def to_yaml(config: Frozen) -> str:
    """Return the configuration as yaml text."""
    # non-ASCII text is escaped: some of it (U+0085) would read back as a line end
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
