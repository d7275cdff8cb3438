"""What a training was asked to do: the codec, the diffusion, and how the machine is used."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from scdiff_core.config_base import FORMAT, Frozen


class CodecConfig(Frozen):
    """The codec: cells to latents and back."""

    kind: Literal["vae", "pca", "genes"] = "vae"
    n_latent: int = Field(default=64, ge=2)
    hidden: tuple[int, ...] = (256,)
    steps: int = Field(default=2000, ge=1)
    minibatch: int = Field(default=256, ge=2)
    lr: float = Field(default=1.5e-3, gt=0)
    kl_weight: float = Field(default=1.0, ge=0)  # below 1 the codes hold more of each cell's own noise
    prior: int = Field(default=64, ge=1)  # normals that the prior of the codes is a mixture of
    dropout: float = Field(default=0.1, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    thin: float = Field(default=0.5, ge=0, le=1)  # least share of counts the encoder sees in training; 1: all
    stray: float = Field(default=2.5e-3, ge=0, lt=0.5)  # share of values that are strays, to begin with; 0: none
    start_from: str | None = None  # a run, by name or path, whose codec it begins with; genes are matched by name


class LossTerms(Frozen):
    """What may be added to the denoising loss, each with its weight; 0: left out (`diffusion.terms`)."""

    sparsity: float = Field(default=0.0, ge=0)  # mean absolute expression
    non_negativity: float = Field(default=0.0, ge=0)  # squared expression below zero
    pathways: float = Field(default=0.0, ge=0)  # how far the means over gene sets are from the cell's own
    mmd: float = Field(default=0.0, ge=0)  # between the latents of a minibatch, denoised and real
    gene_sets: tuple[str, ...] = ()  # .gmt files of the pathways

    @property
    def on(self) -> bool:
        """Whether any of them is used."""
        return max(self.sparsity, self.non_negativity, self.pathways, self.mmd) > 0


class DiffusionConfig(Frozen):
    """The diffusion model of the latents."""

    backbone: Literal["mlp", "transformer"] = "mlp"
    width: int = Field(default=512, ge=8)
    depth: int = Field(default=3, ge=1)
    programs: int = Field(default=16, ge=2)  # tokens of the transformer
    program_width: int = Field(default=64, ge=8, multiple_of=4)  # of each of them
    steps: int = Field(default=2500, ge=1)
    minibatch: int = Field(default=256, ge=2)
    lr: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    drop_condition: float = Field(default=0.1, ge=0, le=1)  # each covariate on its own
    ema: float = Field(default=0.999, gt=0, lt=1)
    patience: int = Field(default=0, ge=0)  # held-out checks without improvement before it stops; 0: never
    # which noise levels are learnt, and which are gone through in sampling (`diffusion.schedule`)
    schedule: Literal["standard", "linear", "cosine", "edm", "flow", "custom"] = "standard"
    schedule_file: str | None = None  # of custom: Python in the workspace's folder schedules (`engine.custom_schedule`)
    # what the network is asked for (`diffusion.denoiser`); auto: the velocity for flow matching, else EDM's mixture
    prediction: Literal["auto", "edm", "eps", "x0", "v", "flow"] = "auto"
    terms: LossTerms = LossTerms()


class PerturbConfig(Frozen):
    """What a model of perturbations learns from besides the cells, and how it makes the spread of cells."""

    pretrained: str | None = None  # a run on the same genes whose codec it begins with
    gene_sets: tuple[str, ...] = ()  # .gmt files: genes are alike that share sets
    regulons: tuple[str, ...] = ()  # tables of regulator, target and weight
    tables: tuple[str, ...] = ()  # a user's own vectors of perturbations
    spread: Literal["auto", "moved", "diffusion"] = "auto"  # auto: the diffusion where it beats moved controls
    set_size: int = Field(default=32, ge=2)  # control cells that are looked at together
    distribution_loss: Literal["none", "energy", "mmd"] = "none"  # beside the denoising loss, over sets
    distribution_weight: float = Field(default=0.1, ge=0)
    unconditional: float = Field(default=0.2, ge=0, le=1)  # share of minibatches without a condition


class TrainConfig(Frozen):
    """A training run, written once before the start."""

    kind: Literal["train"] = "train"
    format: int = FORMAT
    dataset: str
    fingerprint: str  # of the prepared dataset
    task: Literal["generate", "perturb"] = "generate"
    preset: Literal["quick", "standard", "thorough"] = "standard"
    name: str = ""
    codec: CodecConfig = CodecConfig()
    diffusion: DiffusionConfig = DiffusionConfig()
    perturb: PerturbConfig = PerturbConfig()
    seed: int = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    threads: int = Field(default=0, ge=0)  # 0: one less than there are cores
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 on CUDA, fp32 elsewhere
    gradient_checkpointing: bool = False  # less memory, about a third more time
    compile: bool = False  # torch.compile for the diffusion's network; without a compiler it goes on as it is
    run_code: bool = False  # whether the file of a custom schedule may be run
    checkpoint_every_s: float = Field(default=20.0, gt=0)
    preview_every_s: float = Field(default=2.0, gt=0)

    @model_validator(mode="after")
    def _together(self) -> TrainConfig:
        """Refuse settings that do not go together."""
        d = self.diffusion
        if (d.schedule == "custom") != (d.schedule_file is not None):
            raise ValueError("diffusion.schedule=custom and diffusion.schedule_file go together")
        if (d.terms.pathways > 0) != bool(d.terms.gene_sets):
            raise ValueError("diffusion.terms.pathways and diffusion.terms.gene_sets (.gmt files) go together")
        return self
