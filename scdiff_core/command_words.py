"""A configuration as the command that does the same: what pages copy. Imports nothing heavy."""

from __future__ import annotations

import shlex
from typing import Any

import yaml

from scdiff_core import config as cfg
from scdiff_core import config_uses as uses

PROGRAM = ("python", "-m", "scdiff_core")
ROLES = ("cell_type", "perturbation", "control", "batch", "dose", "time")
READ = ("layer", "genome", "orientation")
THRESHOLDS = ("min_genes", "max_genes", "min_counts", "max_counts", "max_pct_mt")


class _CannotSay(Exception):
    """An option of the command line cannot take this value."""


def command(config: Any, base: cfg.TrainConfig | None = None) -> str:
    """Return the command line of a configuration; where options cannot say it, `run` with its yaml file.

    Parameters
    ----------
    base
        Of a training: what its preset alone would give, so that only other settings are named.
    """
    try:
        if isinstance(config, cfg.PrepareConfig):
            words = _prepare(config)
        elif isinstance(config, cfg.TrainConfig) and base is not None:
            words = _train(config, base)
        elif isinstance(config, cfg.GenerateConfig):
            words = _generate(config)
        elif isinstance(config, cfg.PredictConfig):
            words = _predict(config)
        elif isinstance(config, uses.DenoiseConfig):
            words = _denoise(config)
        elif isinstance(config, uses.FillConfig):
            words = _fill(config)
        elif isinstance(config, uses.TypicalConfig):
            words = _typical(config)
        else:
            raise _CannotSay
    except _CannotSay:
        words = ["run", file_name(config)]
    return shlex.join([*PROGRAM, *words])


def file_name(config: Any) -> str:
    """Return under which name the yaml of a configuration is saved."""
    return f"{config.kind}.yaml"


def settings(config: cfg.Frozen, base: cfg.Frozen) -> list[str]:
    """Return the `key=value` settings (values as yaml) that make `base` into `config` (see `config.override`)."""
    return _differences(config.model_dump(mode="json"), base.model_dump(mode="json"), "")


def _differences(new: dict[str, Any], old: dict[str, Any], prefix: str) -> list[str]:
    found = []
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, dict) and isinstance(before, dict) and value.keys() == before.keys() and value:
            found += _differences(value, before, f"{prefix}{key}.")
        elif value != before:
            text = yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("\n...\n").strip()
            found.append(f"{prefix}{key}={text}")
    return found


def _plain(text: str, without: str = "") -> str:
    """Return a text that an option takes as it is; refuses spaces round it and what divides the option's parts."""
    if text != text.strip() or not text or set(without) & set(text):
        raise _CannotSay
    return text


def _option(name: str, value: Any) -> list[str]:
    """Return an option and its value; a value that begins with a hyphen is tied to it."""
    text = _plain(repr(value) if isinstance(value, float) else str(value))
    return [f"--{name}={text}"] if text.startswith("-") else [f"--{name}", text]


def _pairs(name: str, values: dict[str, str]) -> list[str]:
    return [w for column, value in values.items() for w in _option(name, f"{_plain(column, '=')}={_plain(value)}")]


def _rule(rule: cfg.HoldOut) -> str:
    parts = [rule, *rule.also]
    if any(r.also for r in rule.also) or not all(r.values for r in parts):
        raise _CannotSay
    return " & ".join(f"{_plain(r.column, '=&')}={','.join(_plain(v, '=&,') for v in r.values)}" for r in parts)


def _prepare(config: cfg.PrepareConfig) -> list[str]:
    if config.source.startswith("-"):
        raise _CannotSay
    words = ["prepare", config.source, *_option("name", config.name)]
    if config.roles is not None:
        given = {r: v for r in ROLES if (v := getattr(config.roles, r)) is not None}
        if not given or ("control" in given and "perturbation" not in given):
            raise _CannotSay  # the command would look for roles itself, or refuse
        words += [w for r, v in given.items() for w in _option(r.replace("_", "-"), v)]
    words += [w for r in READ if (v := getattr(config.read, r)) is not None for w in _option(r, v)]
    if str(config.genes) != "2000":
        words += _option("genes", config.genes)
    if config.keep_genes:
        words += _option("keep-genes", ",".join(_plain(gene, ",") for gene in config.keep_genes))
    words += [w for rule in config.hold_out for w in _option("hold-out", _rule(rule))]
    words += [w for word in config.unseen for w in _option("hold-out", word)]
    if config.test_fraction != 0.3:
        words += _option("test-fraction", config.test_fraction)
    if config.qc is not None:
        given = {t: v for t in THRESHOLDS if (v := getattr(config.qc, t)) is not None}
        if config.qc.min_cells_per_gene != cfg.QC().min_cells_per_gene:
            given["min_cells_per_gene"] = config.qc.min_cells_per_gene
        words += [w for t, v in given.items() for w in _option(t.replace("_", "-"), v)]
        words += ["--remove-doublets"] * config.qc.remove_doublets
        if not given and not config.qc.remove_doublets:
            words.append("--no-qc")
    return words + _seed(config.seed)


def _train(config: cfg.TrainConfig, base: cfg.TrainConfig) -> list[str]:
    words = ["train", config.dataset, "--task", config.task, "--preset", config.preset]
    for setting in settings(config, base.model_copy(update={"seed": config.seed, "device": config.device})):
        words += _option("set", setting)
    if config.device != "auto":
        words += _option("device", config.device)
    return words + _seed(config.seed)


def _generate(config: cfg.GenerateConfig) -> list[str]:
    usual = cfg.GenerateConfig(run=config.run, n_cells=config.n_cells, where=config.where, seed=config.seed,
                               guidance_scale=config.guidance_scale, sampler=config.sampler, steps=config.steps)
    if usual != config:
        raise _CannotSay
    words = ["generate", config.run, *_option("cells", config.n_cells), *_pairs("where", config.where)]
    if config.guidance_scale != cfg.GUIDANCE:
        words += _option("guidance-scale", config.guidance_scale)
    words += _option("sampler", config.sampler)
    if config.steps != cfg.SAMPLER_STEPS[config.sampler]:
        words += _option("steps", config.steps)
    return words + _seed(config.seed)


def _predict(config: cfg.PredictConfig) -> list[str]:
    words = ["predict", config.run, *[w for p in config.perturbations for w in _option("perturbation", p)]]
    if config.dose is not None:
        words += _option("dose", config.dose)
    return [*words, *_pairs("where", config.where), *_option("cells", config.n_cells), *_seed(config.seed)]


def _denoise(config: uses.DenoiseConfig) -> list[str]:
    if config.draws != uses.DRAWS:
        raise _CannotSay
    return ["denoise", config.run, *_pairs("cells", config.where), *_split(config.split), *_seed(config.seed)]


def _fill(config: uses.FillConfig) -> list[str]:
    if config.steps != cfg.SAMPLER_STEPS[config.sampler]:
        raise _CannotSay
    words = ["fill", config.run, *(_option("column", config.column) if config.column else [])]
    words += [] if config.to is None else _option("to", config.to)
    words += [w for kind, n in config.numbers.items() for w in _option("type", f"{_plain(kind)}={n}")]
    if config.guidance_scale != cfg.GUIDANCE:
        words += _option("guidance-scale", config.guidance_scale)
    return [*words, *_option("sampler", config.sampler), *_seed(config.seed)]


def _typical(config: uses.TypicalConfig) -> list[str]:
    if config.steps != uses.FLOW_STEPS:
        raise _CannotSay
    return ["typical", config.run, *_split(config.split), *_seed(config.seed)]


def _split(split: str) -> list[str]:
    return [] if split == "all" else _option("split", split)


def _seed(seed: int) -> list[str]:
    return _option("seed", seed) if seed else []
