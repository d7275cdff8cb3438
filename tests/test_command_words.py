"""A configuration, as the command that a page copies, is read back by the command line as the same configuration."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scdiff_core import cli, cli_generate, cli_perturb, cli_run, cli_tools, cli_uses
from scdiff_core import config as cfg
from scdiff_core import config_uses as uses
from scdiff_core.command_words import PROGRAM, command
from scdiff_core.engine.presets import preset
from scdiff_core.workspace import JobDir

TEXT = st.text(min_size=1, max_size=8).filter(lambda t: "\x00" not in t)
NAME = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,9}", fullmatch=True)
NUMBER = st.integers(0, 10**6)
RULE = st.builds(cfg.HoldOut, column=TEXT, values=st.lists(TEXT, min_size=1, max_size=3).map(tuple))


@pytest.fixture(scope="module")
def taken() -> Iterator[list[Any]]:
    """What the commands would do, instead of doing it."""
    found: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli_run, "prepare", lambda space, asked: found.append(asked) or {})
        for module in (cli_generate, cli_perturb, cli_uses):
            patch.setattr(module, "make", lambda space, job, asked, *out: found.append(asked) or {})
        patch.setattr(cli_tools, "find_run", lambda space, run: JobDir(Path("runs") / run, "train"))
        patch.setattr(cli_tools, "source", lambda text: text)
        yield found


def check(config: Any, taken: list[Any]) -> None:
    """Run the command of a configuration, and see that it asks for the same."""
    words = shlex.split(command(config))
    assert words[:3] == list(PROGRAM)
    if words[3] == "run":  # the options cannot say it, and the yaml does
        return
    taken.clear()
    assert cli.main(words[3:]) == 0
    assert taken == [config]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(config=st.builds(
    cfg.PrepareConfig, source=st.one_of(NAME, st.just("/data/my cells.h5ad"), st.just("demo:pbmc3k")), name=NAME,
    read=st.builds(cfg.ReadConfig, layer=st.none() | TEXT, genome=st.none() | NAME,
                   orientation=st.sampled_from([None, "cells_in_rows", "genes_in_rows"])),
    roles=st.none() | st.builds(cfg.Roles, cell_type=st.none() | TEXT, perturbation=st.none() | TEXT,
                                control=st.none() | TEXT, dose=st.none() | NAME, time=st.none() | NAME),
    qc=st.none() | st.builds(cfg.QC, min_genes=st.none() | NUMBER, max_counts=st.none() | st.floats(0, 1e7),
                             max_pct_mt=st.none() | st.floats(0, 100), remove_doublets=st.booleans()),
    genes=st.one_of(st.just("all"), st.integers(1, 9999)), keep_genes=st.lists(TEXT, max_size=3).map(tuple),
    hold_out=st.lists(RULE | RULE.flatmap(lambda r: RULE.map(lambda o: r.model_copy(update={"also": (o,)}))),
                      max_size=2).map(tuple),
    unseen=st.sampled_from([(), ("unseen-pair-both",), ("unseen-type", "unseen-dose")]),
    test_fraction=st.floats(0.01, 0.99), seed=NUMBER))
def test_preparing(config: cfg.PrepareConfig, taken: list[Any]) -> None:
    check(config, taken)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(config=st.builds(cfg.GenerateConfig, run=NAME, n_cells=st.integers(1, 9999),
                        where=st.dictionaries(TEXT, TEXT, max_size=3), guidance_scale=st.floats(0, 5),
                        sampler=st.sampled_from(list(cfg.SAMPLER_STEPS)), steps=st.integers(1, 200), seed=NUMBER))
def test_generating(config: cfg.GenerateConfig, taken: list[Any]) -> None:
    check(config, taken)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(config=st.builds(cfg.PredictConfig, run=NAME, perturbations=st.lists(TEXT, min_size=1, max_size=3).map(tuple),
                        dose=st.none() | st.floats(0, 1e6), where=st.dictionaries(TEXT, TEXT, max_size=2),
                        n_cells=st.integers(1, 999), seed=NUMBER))
def test_predicting(config: cfg.PredictConfig, taken: list[Any]) -> None:
    check(config, taken)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(config=st.one_of(
    st.builds(uses.DenoiseConfig, run=NAME, where=st.dictionaries(TEXT, TEXT, max_size=2),
              split=st.sampled_from(["all", "train", "test"]), seed=NUMBER),
    st.builds(uses.FillConfig, run=NAME, column=st.just("") | NAME, to=st.none() | st.integers(1, 999),
              numbers=st.dictionaries(TEXT, st.integers(1, 999), max_size=3), guidance_scale=st.floats(0, 5),
              sampler=st.sampled_from(list(cfg.SAMPLER_STEPS)), steps=st.integers(1, 200), seed=NUMBER),
    st.builds(uses.TypicalConfig, run=NAME, split=st.sampled_from(["all", "train", "test"]), seed=NUMBER)))
def test_uses_of_real_cells(config: cfg.Frozen, taken: list[Any]) -> None:
    check(config, taken)


def test_training_names_what_the_preset_does_not_give() -> None:
    codec, diffusion = preset("quick")
    base = cfg.TrainConfig(dataset="d", fingerprint="f", preset="quick", codec=codec, diffusion=diffusion)
    changed = cfg.override(base, ["diffusion.steps=700", "codec.hidden=[64, 32]", "name='a title: mine'", "seed=3"])
    words = shlex.split(command(changed, base))
    told = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    assert cfg.override(base, [*told, f"seed={words[words.index('--seed') + 1]}"]) == changed
    assert len(told) == 3
    assert "--set" not in command(base, base)


def test_what_options_cannot_say_is_run_from_its_yaml() -> None:
    odd = cfg.PrepareConfig(source="s", name="n", hold_out=(cfg.HoldOut(column="type", values=("B, naive",)),))
    assert command(odd).endswith("run prepare.yaml")
    assert command(cfg.GenerateConfig(run="r", where={"type": " B"})).endswith("run generate.yaml")
